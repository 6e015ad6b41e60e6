/* inspect: tells what is in a delta file, and finds every kind of damage in it. */
#include "example.h"
#include "inspect.h"
#include "tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

static char path[] = "/tmp/relais-inspect-XXXXXX";
static struct example x;

static int setup(void **state)
{
    struct err e = ERR_INIT;
    int fd;
    (void)state;
    if (key_init(&e) != 0 || (fd = mkstemp(path)) < 0)
        return -1;
    (void)close(fd);
    example_make(&x, 1, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    example_free(&x);
    return unlink(path);
}

static int inspect(const void *p, size_t len, const struct key_public *signer, bool json,
                   char **text, struct err *e)
{
    FILE *f = fopen(path, "w"), *out;
    size_t n = 0;
    int rc;
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    *text = NULL;
    out = open_memstream(text, &n);
    assert_non_null(out);
    rc = inspect_file(path, signer, json, true, out, e);
    assert_int_equal(fclose(out), 0);
    return rc;
}

static void assert_says(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("\"%s\" is not in:\n%s", what, text);
}

static void a_whole_delta_is_described_and_verified(void **state)
{
    struct err e = ERR_INIT;
    char *text;
    (void)state;
    assert_int_equal(inspect(x.file.p, x.file.len, key_public(x.sign), false, &text, &e), 0);
    assert_says(text, "site        bethune\n");
    assert_says(text, "group       records\n");
    assert_says(text, "RP          12\n");
    assert_says(text, "label       before moving\n");
    assert_says(text, "volume 0    pgdata, ");
    assert_says(text, "signature   good, by sign:");
    assert_says(text, "parts       2 of 2 match");
    assert_says(text, "overhead over the zstd frames: ");
    assert_says(text, "This delta is whole and genuine.");
    assert_says(text, "\nwal ");
    free(text);
    assert_int_equal(inspect(x.file.p, x.file.len, NULL, false, &text, &e), 0);
    assert_says(text, "NOT CHECKED");
    free(text);
}

static void json_tells_the_same(void **state)
{
    struct err e = ERR_INIT;
    json_error_t je;
    json_t *o, *parts;
    struct digest d;
    char *text, hex[DIGEST_HEX];
    (void)state;
    assert_int_equal(inspect(x.file.p, x.file.len, key_public(x.sign), true, &text, &e), 0);
    o = json_loads(text, JSON_REJECT_DUPLICATES, &je);
    if (!o)
        fail_msg("%s at line %d of:\n%s", je.text, je.line, text);
    assert_int_equal(json_integer_value(json_object_get(o, "rp")), 12);
    assert_int_equal(json_integer_value(json_object_get(o, "file_bytes")), x.file.len);
    assert_int_equal(json_array_size(json_object_get(o, "extents")), EXAMPLE_EXTENTS + 6);
    assert_string_equal(json_string_value(json_object_get(o, "signature")), "good");
    assert_true(json_is_null(json_object_get(o, "failure")));
    parts = json_object_get(o, "part_digests");
    assert_int_equal(json_array_size(parts), 2);
    digest_of(&d, x.file.p, PART_SIZE);
    digest_hex(hex, &d);
    assert_string_equal(json_string_value(json_array_get(parts, 0)), hex);
    json_decref(o);
    free(text);
}

static void damage_anywhere_is_found(void **state)
{
    const size_t at = x.file.len - DELTA_TRAILER_LEN - x.manifest_len;
    const struct {
        size_t at;
        int rc;
    } cases[] = {
        {0, -ERR_INPUT},                                 /* header */
        {DELTA_HEADER_LEN, -ERR_CORRUPT},                /* first extent */
        {PART_SIZE, -ERR_CORRUPT},                       /* second part */
        {(size_t)x.index_place, -ERR_CORRUPT},           /* index */
        {at - 1, -ERR_CORRUPT},                          /* tables */
        {at, -ERR_INPUT},                                /* magic of the manifest */
        {x.file.len - DELTA_TRAILER_LEN - 1, -ERR_AUTH}, /* signature */
        {x.file.len - DELTA_TRAILER_LEN, -ERR_INPUT},    /* length of the manifest */
        {x.file.len - 1, -ERR_INPUT},                    /* end mark */
        {at + 65, -ERR_AUTH},                            /* parent, in the manifest */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = ERR_INIT;
        char *text;
        x.file.p[cases[i].at] ^= 1;
        assert_int_equal(inspect(x.file.p, x.file.len, key_public(x.sign), false, &text, &e),
                         cases[i].rc);
        assert_says(e.text, path);
        if (cases[i].rc != -ERR_INPUT)
            assert_says(text, "BROKEN");
        x.file.p[cases[i].at] ^= 1;
        free(text);
    }
}

static void a_cut_or_grown_file_is_refused(void **state)
{
    const size_t lens[] = {0, 15, 16, 31, 32, 1000, x.file.len - 1};
    uint8_t *longer = err_malloc(x.file.len + 1);
    struct err e = ERR_INIT;
    char *text;
    (void)state;
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        assert_int_equal(inspect(x.file.p, lens[i], NULL, true, &text, &e), -ERR_INPUT);
        free(text);
    }
    memcpy(longer, x.file.p, DELTA_HEADER_LEN); /* a byte too many before the first extent */
    longer[DELTA_HEADER_LEN] = 0;
    memcpy(longer + DELTA_HEADER_LEN + 1, x.file.p + DELTA_HEADER_LEN,
           x.file.len - DELTA_HEADER_LEN);
    assert_int_equal(inspect(longer, x.file.len + 1, NULL, true, &text, &e), -ERR_INPUT);
    assert_says(e.text, "its manifest tells of");
    free(text);
    free(longer);
}

static void another_signer_is_not_believed(void **state)
{
    struct key_secret *other = key_generate(KEY_SIGN, NULL);
    struct err e = ERR_INIT;
    char *text;
    (void)state;
    assert_int_equal(inspect(x.file.p, x.file.len, key_public(other), false, &text, &e), -ERR_AUTH);
    assert_says(text, "signature   BAD");
    free(text);
    key_free(other);
}

/* The whole way back: what the index tells opens to what was sealed. */
static void the_example_opens_to_its_volume(void **state)
{
    struct seal *s = seal_new();
    struct manifest m;
    struct index_reader r;
    struct index_entry it;
    struct seal_key k;
    struct err e = ERR_INIT;
    uint8_t key[SEAL_KEY_LEN], *plain = err_malloc(EXTENT_MAX);
    int rc;
    (void)state;
    assert_int_equal(manifest_decode(&m, x.file.p + x.file.len - DELTA_TRAILER_LEN - x.manifest_len,
                                     x.manifest_len, &e),
                     0);
    assert_int_equal(tables_decode(&m, x.file.p + manifest_tables_place(&m), m.tables_len, &e), 0);
    assert_int_equal(datakey_unwrap(key, &m.keys[0], &x.restore, 1, &e), 0);
    seal_key_derive(&k, key, m.sources[0].salt);
    index_reader_init(&r, x.file.p + x.index_place, x.index_len, m.extents, 2, 1, DELTA_HEADER_LEN,
                      x.index_place);
    while ((rc = index_next(&r, &it, &e)) == 1) {
        struct seal_ad ad = {.rp = m.sources[it.source].rp, .volume = it.volume};
        ad.sector = it.sector;
        ad.sectors = it.sectors;
        ad.codec = it.codec;
        if (it.kind == EXTENT_ZERO)
            continue;
        seal_group_id(ad.group_id, m.site, m.group);
        seal_volume_id(ad.volume_id, m.site, m.group, m.volumes[it.volume].name);
        assert_int_equal(
            seal_open(s, &k, &ad, x.file.p + it.place, it.sealed_len, it.tag, plain, &e), 0);
        assert_memory_equal(plain, x.plain + (size_t)it.sector * SECTOR_SIZE,
                            (size_t)it.sectors * SECTOR_SIZE);
    }
    assert_int_equal(rc, 0);
    free(plain);
    manifest_free(&m);
    seal_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_delta_is_described_and_verified),
        cmocka_unit_test(json_tells_the_same),
        cmocka_unit_test(damage_anywhere_is_found),
        cmocka_unit_test(a_cut_or_grown_file_is_refused),
        cmocka_unit_test(another_signer_is_not_believed),
        cmocka_unit_test(the_example_opens_to_its_volume),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
