/* key: words and files of keys are exact, private, and never overwritten. */
#include "bounds.h"
#include "key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

static char dir[] = "/tmp/relais-key-XXXXXX";
static char path[64];

static int setup(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    if (key_init(&e) != 0 || !mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/a.key", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(dir);
}

static void words_round_trip_for_every_kind(void **state)
{
    (void)state;
    for (int kind = 0; kind < KEY_HASH; kind++) {
        struct key_secret *k = key_generate((enum key_kind)kind, NULL);
        struct key_public p;
        struct err e = ERR_INIT;
        char word[KEY_WORD_MAX];
        key_public_word(word, key_public(k));
        assert_int_equal(key_public_parse(&p, (enum key_kind)kind, word, &e), 0);
        assert_memory_equal(p.b, key_public(k)->b, KEY_LEN);
        assert_int_equal(p.kind, kind);
        key_free(k);
    }
}

static void a_seed_makes_the_key_of_the_standard(void **state)
{
    /* RFC 8032, 7.1, test 1 */
    static const char seed_hex[] =
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    static const char pub_hex[] =
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    uint8_t seed[32], pub[32];
    size_t n;
    struct key_secret *k;
    (void)state;
    assert_int_equal(sodium_hex2bin(seed, 32, seed_hex, 64, NULL, &n, NULL), 0);
    assert_int_equal(sodium_hex2bin(pub, 32, pub_hex, 64, NULL, &n, NULL), 0);
    k = key_generate(KEY_SIGN, seed);
    assert_memory_equal(key_public(k)->b, pub, 32);
    key_free(k);
}

static void refused(enum key_kind want, const char *word, const char *why)
{
    struct key_public p;
    struct err e = ERR_INIT;
    assert_int_equal(key_public_parse(&p, want, word, &e), -ERR_INPUT);
    assert_non_null(strstr(e.text, why));
}

static void wrong_words_are_refused_with_the_reason(void **state)
{
    (void)state;
    refused(KEY_SIGN, "", "sign:BASE64");
    refused(KEY_SIGN, "nonsense", "sign:BASE64");
    refused(KEY_SIGN, "sgn:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "no kind \"sgn\"");
    refused(KEY_SIGN, "link:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "is a link key");
    refused(KEY_HASH, "hash:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "44 characters");
    refused(KEY_HASH, "hash:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", "44 characters");
    refused(KEY_HASH, "hash:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= ", "44 characters");
    refused(KEY_HASH, "hash:AAAA", "44 characters");
    /* all-zero points: of small order */
    refused(KEY_RESTORE, "restore:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not a safe");
    refused(KEY_SIGN, "sign:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not a safe");
}

static void a_key_has_one_word(void **state)
{
    struct key_secret *k = key_generate(KEY_RESTORE, NULL);
    char word[KEY_WORD_MAX], again[KEY_WORD_MAX];
    struct key_public p;
    struct err e = ERR_INIT;
    (void)state;
    key_public_word(word, key_public(k));
    for (size_t i = 0; word[i]; i++) {
        char was = word[i];
        for (int c = 1; c < 256; c++) {
            word[i] = (char)c;
            if (key_public_parse(&p, KEY_RESTORE, word, &e) != 0)
                continue;
            key_public_word(again, &p);
            assert_string_equal(again, word);
        }
        word[i] = was;
    }
    key_free(k);
}

static void files_round_trip_for_every_kind(void **state)
{
    (void)state;
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        struct key_secret *k = key_generate((enum key_kind)kind, NULL), *l = NULL;
        size_t len = kind == KEY_LINK || kind == KEY_SIGN ? 64 : 32;
        struct err e = ERR_INIT;
        struct stat st;
        assert_int_equal(key_file_save(path, k, &e), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(key_file_load(&l, (enum key_kind)kind, path, &e), 0);
        assert_memory_equal(key_secret_bytes(k), key_secret_bytes(l), len);
        assert_int_equal(key_kind(l), kind);
        key_free(l);
        key_free(k);
        assert_int_equal(unlink(path), 0);
    }
}

static void a_file_is_never_overwritten(void **state)
{
    struct key_secret *k = key_generate(KEY_HASH, NULL), *other = key_generate(KEY_HASH, NULL);
    struct key_secret *l = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(key_file_save(path, k, &e), 0);
    assert_int_equal(key_file_save(path, other, &e), -ERR_EXISTS);
    assert_int_equal(key_file_load(&l, KEY_HASH, path, &e), 0);
    assert_memory_equal(key_secret_bytes(k), key_secret_bytes(l), KEY_LEN);
    key_free(l);
    key_free(other);
    key_free(k);
    assert_int_equal(unlink(path), 0);
}

static void files_that_others_may_use_are_refused(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0777};
    struct key_secret *k = key_generate(KEY_LINK, NULL), *l = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(key_file_save(path, k, &e), 0);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(key_file_load(&l, KEY_LINK, path, &e), -ERR_AUTH);
        assert_non_null(strstr(e.text, "chmod 600"));
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(key_file_load(&l, KEY_LINK, path, &e), 0);
    key_free(l);
    key_free(k);
    assert_int_equal(unlink(path), 0);
}

static void files_of_other_users_are_refused(void **state)
{
    struct key_secret *k, *l = NULL;
    struct err e = ERR_INIT;
    (void)state;
    if (geteuid() != 0)
        skip();
    k = key_generate(KEY_LINK, NULL);
    assert_int_equal(key_file_save(path, k, &e), 0);
    assert_int_equal(chown(path, 12345, 0), 0);
    assert_int_equal(key_file_load(&l, KEY_LINK, path, &e), -ERR_AUTH);
    assert_non_null(strstr(e.text, "12345"));
    key_free(k);
    assert_int_equal(unlink(path), 0);
}

static void things_that_are_no_files_are_refused(void **state)
{
    struct key_secret *l = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(key_file_load(&l, KEY_LINK, path, &e), -ERR_NOENT);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(key_file_load(&l, KEY_LINK, dir, &e), -ERR_AUTH);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(key_file_load(&l, KEY_LINK, path, &e), -ERR_AUTH);
    assert_int_equal(unlink(path), 0);
}

static void parse_refused(const char *text, size_t len, enum key_kind want, const char *why)
{
    struct key_secret *k = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(key_file_parse(&k, want, "x.key", text, len, &e), -ERR_INPUT);
    assert_null(k);
    if (!strstr(e.text, why))
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void wrong_texts_are_refused_with_file_and_line(void **state)
{
    struct key_secret *k = key_generate(KEY_SIGN, NULL), *other = key_generate(KEY_SIGN, NULL);
    char text[KEY_FILE_MAX], mixed[KEY_FILE_MAX];
    size_t n = key_file_text(text, sizeof text, k), secret_at;
    (void)state;
    secret_at = (size_t)(strstr(text, "secret") - text);
    parse_refused(text, n, KEY_LINK, "x.key:2: this is a sign key");
    parse_refused("", 0, KEY_SIGN, "x.key:1:");
    parse_refused("relais key 2\n", 13, KEY_SIGN, "x.key:1:");
    parse_refused("relais key 1\nkind toy\n", 22, KEY_SIGN, "x.key:2:");
    parse_refused("relais key 1\nkind sign\npublic sign:AA\n", 38, KEY_SIGN, "x.key:3:");
    for (size_t cut = 0; cut < n; cut++)
        parse_refused(text, cut, KEY_SIGN, "x.key:");
    memcpy(mixed, text, n);
    mixed[n] = '\n';
    parse_refused(mixed, n + 1, KEY_SIGN, "x.key:5:");
    (void)key_file_text(mixed, sizeof mixed, other);
    memcpy(mixed + secret_at, text + secret_at, n - secret_at);
    parse_refused(mixed, n, KEY_SIGN, "do not belong together");
    key_free(other);
    key_free(k);
}

static void no_message_quotes_the_secret(void **state)
{
    struct key_secret *k = key_generate(KEY_RESTORE, NULL), *l = NULL;
    char text[KEY_FILE_MAX], secret[20];
    size_t n = key_file_text(text, sizeof text, k);
    struct err e = ERR_INIT;
    (void)state;
    memcpy(secret, strstr(text, "secret ") + 7, 19);
    secret[19] = '\0';
    text[n - 3] = '*';
    assert_int_equal(key_file_parse(&l, KEY_RESTORE, "x", text, n, &e), -ERR_INPUT);
    assert_null(strstr(e.text, secret));
    key_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_round_trip_for_every_kind),
        cmocka_unit_test(a_seed_makes_the_key_of_the_standard),
        cmocka_unit_test(wrong_words_are_refused_with_the_reason),
        cmocka_unit_test(a_key_has_one_word),
        cmocka_unit_test(files_round_trip_for_every_kind),
        cmocka_unit_test(a_file_is_never_overwritten),
        cmocka_unit_test(files_that_others_may_use_are_refused),
        cmocka_unit_test(files_of_other_users_are_refused),
        cmocka_unit_test(things_that_are_no_files_are_refused),
        cmocka_unit_test(wrong_texts_are_refused_with_file_and_line),
        cmocka_unit_test(no_message_quotes_the_secret),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
