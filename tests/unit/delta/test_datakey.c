/* datakey: every reader it was wrapped for opens it, and nobody else. */
#include "bytes.h"
#include "datakey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

static struct key_secret *readers[READERS_MAX], *stranger;
static struct key_public pubs[READERS_MAX];
static uint8_t secret[SEAL_KEY_LEN];

static int setup(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    if (key_init(&e) != 0)
        return -1;
    for (size_t i = 0; i < READERS_MAX; i++) {
        readers[i] = key_generate(KEY_RESTORE, NULL);
        pubs[i] = *key_public(readers[i]);
    }
    stranger = key_generate(KEY_RESTORE, NULL);
    randombytes_buf(secret, sizeof secret);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < READERS_MAX; i++)
        key_free(readers[i]);
    key_free(stranger);
    return 0;
}

static void every_reader_opens_it(void **state)
{
    struct datakey *k = datakey_new(pubs, READERS_MAX, 5, secret);
    (void)state;
    assert_memory_equal(datakey_secret(k), secret, SEAL_KEY_LEN);
    assert_int_equal(datakey_wraps(k)->count, READERS_MAX);
    for (size_t i = 0; i < READERS_MAX; i++) {
        struct key_secret *mine[] = {stranger, readers[i]};
        uint8_t got[SEAL_KEY_LEN];
        struct err e = ERR_INIT;
        assert_int_equal(datakey_unwrap(got, datakey_wraps(k), mine, 2, &e), 0);
        assert_memory_equal(got, secret, SEAL_KEY_LEN);
    }
    datakey_free(k);
}

static void a_stranger_is_told_who_can_open_it(void **state)
{
    struct datakey *k = datakey_new(pubs, READERS_MAX, 5, secret);
    uint8_t got[SEAL_KEY_LEN], fp[KEY_FP_LEN];
    char hex[2 * KEY_FP_LEN + 1];
    struct err e = ERR_INIT;
    (void)state;
    memset(got, 0xee, sizeof got);
    assert_int_equal(datakey_unwrap(got, datakey_wraps(k), &stranger, 1, &e), -ERR_AUTH);
    assert_true(bytes_zero(got, sizeof got));
    key_fingerprint(fp, &pubs[READERS_MAX - 1]);
    bytes_hex(hex, fp, KEY_FP_LEN);
    assert_non_null(strstr(e.text, hex));
    assert_int_equal(datakey_unwrap(got, datakey_wraps(k), NULL, 0, &e), -ERR_AUTH);
    datakey_free(k);
}

static void a_changed_wrap_does_not_open(void **state)
{
    struct datakey *k = datakey_new(pubs, 1, 5, secret);
    struct datakey_wraps w = *datakey_wraps(k);
    uint8_t got[SEAL_KEY_LEN];
    (void)state;
    /* X25519 ignores the top bit of the ephemeral point, but the nonce is the hash of it as it
     * came. */
    for (size_t bit = 0; bit < DATAKEY_WRAP_LEN * 8; bit++) {
        struct err e = ERR_INIT;
        w.wraps[0].sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(datakey_unwrap(got, &w, readers, 1, &e), -ERR_AUTH);
        w.wraps[0].sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    datakey_free(k);
}

/* Whoever can make a wrap for a reader could give it another key: the id tells. */
static void a_wrap_of_another_key_is_found_out(void **state)
{
    struct datakey *k = datakey_new(pubs, 2, 5, secret);
    struct datakey_wraps w = *datakey_wraps(k);
    uint8_t other[SEAL_KEY_LEN], got[SEAL_KEY_LEN];
    struct err e = ERR_INIT;
    (void)state;
    randombytes_buf(other, sizeof other);
    datakey_wrap(&w.wraps[0], other, &pubs[0]);
    assert_int_equal(datakey_open(got, w.id, &w.wraps[0], readers[0]), -1);
    assert_true(bytes_zero(got, sizeof got));
    assert_int_equal(datakey_unwrap(got, &w, readers, 1, &e), -ERR_AUTH);
    datakey_wrap(&w.wraps[0], secret, &pubs[0]);
    assert_int_equal(datakey_open(got, w.id, &w.wraps[0], readers[0]), 0);
    assert_memory_equal(got, secret, SEAL_KEY_LEN);
    datakey_free(k);
}

static void the_id_is_the_keys(void **state)
{
    struct datakey *a = datakey_new(pubs, 1, 5, secret), *b = datakey_new(pubs + 1, 1, 6, secret);
    (void)state;
    assert_memory_equal(datakey_wraps(a)->id, datakey_wraps(b)->id, DATAKEY_ID_LEN);
    datakey_free(a);
    datakey_free(b);
}

static void it_expires_after_its_life(void **state)
{
    const uint64_t born = UINT64_C(77) * 1000000000u;
    struct datakey *k = datakey_new(pubs, 1, born, secret);
    (void)state;
    assert_false(datakey_expired(k, born));
    assert_false(datakey_expired(k, born + DATA_KEY_LIFE_NS - 1));
    assert_true(datakey_expired(k, born + DATA_KEY_LIFE_NS));
    datakey_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reader_opens_it),
        cmocka_unit_test(a_stranger_is_told_who_can_open_it),
        cmocka_unit_test(a_changed_wrap_does_not_open),
        cmocka_unit_test(a_wrap_of_another_key_is_found_out),
        cmocka_unit_test(the_id_is_the_keys),
        cmocka_unit_test(it_expires_after_its_life),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
