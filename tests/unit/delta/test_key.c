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
        assert_int_equal(key_file_save(path, k, NULL, &e), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(key_file_load(&l, (enum key_kind)kind, path, NULL, &e), 0);
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
    assert_int_equal(key_file_save(path, k, NULL, &e), 0);
    assert_int_equal(key_file_save(path, other, NULL, &e), -ERR_EXISTS);
    assert_int_equal(key_file_load(&l, KEY_HASH, path, NULL, &e), 0);
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
    assert_int_equal(key_file_save(path, k, NULL, &e), 0);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(key_file_load(&l, KEY_LINK, path, NULL, &e), -ERR_AUTH);
        assert_non_null(strstr(e.text, "chmod 600"));
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(key_file_load(&l, KEY_LINK, path, NULL, &e), 0);
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
    assert_int_equal(key_file_save(path, k, NULL, &e), 0);
    assert_int_equal(chown(path, 12345, 0), 0);
    assert_int_equal(key_file_load(&l, KEY_LINK, path, NULL, &e), -ERR_AUTH);
    assert_non_null(strstr(e.text, "12345"));
    key_free(k);
    assert_int_equal(unlink(path), 0);
}

static void things_that_are_no_files_are_refused(void **state)
{
    struct key_secret *l = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(key_file_load(&l, KEY_LINK, path, NULL, &e), -ERR_NOENT);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(key_file_load(&l, KEY_LINK, dir, NULL, &e), -ERR_AUTH);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(key_file_load(&l, KEY_LINK, path, NULL, &e), -ERR_AUTH);
    assert_int_equal(unlink(path), 0);
}

static size_t text_of(char text[KEY_FILE_MAX], const struct key_secret *k,
                      const struct key_passphrase *pass)
{
    struct err e = ERR_INIT;
    size_t n = 0;
    assert_int_equal(key_file_text(text, KEY_FILE_MAX, &n, k, pass, &e), 0);
    assert_int_equal(strlen(text), n);
    return n;
}

static void parse_refused(const char *text, size_t len, enum key_kind want, const char *why)
{
    struct key_secret *k = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(key_file_parse(&k, want, "x.key", text, len, NULL, &e), -ERR_INPUT);
    assert_null(k);
    if (!strstr(e.text, why))
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void wrong_texts_are_refused_with_file_and_line(void **state)
{
    struct key_secret *k = key_generate(KEY_SIGN, NULL), *other = key_generate(KEY_SIGN, NULL);
    char text[KEY_FILE_MAX], mixed[KEY_FILE_MAX];
    size_t n = text_of(text, k, NULL), secret_at;
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
    (void)text_of(mixed, other, NULL);
    memcpy(mixed + secret_at, text + secret_at, n - secret_at);
    parse_refused(mixed, n, KEY_SIGN, "do not belong together");
    key_free(other);
    key_free(k);
}

static void no_message_quotes_the_secret(void **state)
{
    struct key_secret *k = key_generate(KEY_RESTORE, NULL), *l = NULL;
    char text[KEY_FILE_MAX], secret[20];
    size_t n = text_of(text, k, NULL);
    struct err e = ERR_INIT;
    (void)state;
    memcpy(secret, strstr(text, "secret ") + 7, 19);
    secret[19] = '\0';
    text[n - 3] = '*';
    assert_int_equal(key_file_parse(&l, KEY_RESTORE, "x", text, n, NULL, &e), -ERR_INPUT);
    assert_null(strstr(e.text, secret));
    key_free(k);
}

/* ---- sealed under a passphrase ---- */

static const struct key_passphrase cheap = {"correct horse", 13, 1, KEY_KIB_MIN};

static unsigned asked;

static int answer(void *arg, const char *what, char *dst, size_t cap, size_t *len, struct err *e)
{
    const char *word = arg;
    asked++;
    if (!word)
        return err_set(e, ERR_CANCELED, "nobody typed a passphrase for %s", what);
    *len = strlen(word);
    assert_true(*len <= cap);
    memcpy(dst, word, *len);
    return 0;
}

static struct key_asker saying(const char *word)
{
    return (struct key_asker){answer, (void *)(uintptr_t)word};
}

static void a_passphrase_opens_what_it_sealed(void **state)
{
    const struct key_asker asker = saying("correct horse");
    (void)state;
    for (int kind = 0; kind < KEY_KINDS; kind++) {
        struct key_secret *k = key_generate((enum key_kind)kind, NULL), *l = NULL;
        struct err e = ERR_INIT;
        assert_int_equal(key_file_save(path, k, &cheap, &e), 0);
        assert_int_equal(key_file_load(&l, (enum key_kind)kind, path, &asker, &e), 0);
        assert_memory_equal(key_secret_bytes(k), key_secret_bytes(l), KEY_LEN);
        key_free(l);
        key_free(k);
        assert_int_equal(unlink(path), 0);
    }
}

static void a_sealed_file_shows_nothing_of_the_secret(void **state)
{
    struct key_secret *k = key_generate(KEY_RESTORE, NULL);
    char sealed[KEY_FILE_MAX], again[KEY_FILE_MAX], plain[KEY_FILE_MAX];
    (void)state;
    (void)text_of(plain, k, NULL);
    (void)text_of(sealed, k, &cheap);
    (void)text_of(again, k, &cheap);
    assert_null(strstr(sealed, strstr(plain, "secret ") + 7));
    assert_string_not_equal(sealed, again); /* a salt and a nonce of its own */
    key_free(k);
}

static void a_wrong_passphrase_or_none_is_said_so(void **state)
{
    const struct key_asker wrong = saying("wrong horse"), silent = saying(NULL);
    struct key_secret *k = key_generate(KEY_RESTORE, NULL), *l = NULL;
    char text[KEY_FILE_MAX];
    size_t n = text_of(text, k, &cheap);
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(key_file_parse(&l, KEY_RESTORE, "x", text, n, &wrong, &e), -ERR_AUTH);
    assert_non_null(strstr(e.text, "x: the passphrase does not open"));
    assert_int_equal(key_file_parse(&l, KEY_RESTORE, "x", text, n, NULL, &e), -ERR_AUTH);
    assert_non_null(strstr(e.text, "protected by a passphrase"));
    assert_int_equal(key_file_parse(&l, KEY_RESTORE, "x", text, n, &silent, &e), -ERR_CANCELED);
    assert_null(l);
    key_free(k);
}

/* Any character of it: the text before the secret is bound, a base64 has one form. */
static void a_changed_sealed_file_opens_never(void **state)
{
    const struct key_asker asker = saying("correct horse");
    struct key_secret *k = key_generate(KEY_RESTORE, NULL), *l = NULL;
    char text[KEY_FILE_MAX];
    size_t n = text_of(text, k, &cheap);
    struct err e = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < n; i++) {
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_true(key_file_parse(&l, KEY_RESTORE, "x", text, n, &asker, &e) < 0);
        assert_null(l);
        text[i] = was;
    }
    assert_int_equal(key_file_parse(&l, KEY_RESTORE, "x", text, n, &asker, &e), 0);
    key_free(l);
    key_free(k);
}

static void what_costs_too_much_is_refused_before_anybody_is_asked(void **state)
{
    static const char *const costs[] = {"0 8",  "33 8",         "1 7",  "1 1048577", "4294967297 8",
                                        "-1 8", "1 4294967304", "01 8", "1  8",      "1 8 "};
    const struct key_asker asker = saying("correct horse");
    struct key_secret *k = key_generate(KEY_RESTORE, NULL), *l = NULL;
    char text[KEY_FILE_MAX], edited[2 * KEY_FILE_MAX];
    struct err e = ERR_INIT;
    (void)state;
    (void)text_of(text, k, &cheap);
    char *at = strstr(text, "argon2id ") + 9;
    asked = 0;
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++) {
        int len =
            snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - text), text, costs[i], at + 3);
        int rc = key_file_parse(&l, KEY_RESTORE, "x", edited, (size_t)len, &asker, &e);
        assert_true(rc == -ERR_LIMIT || rc == -ERR_INPUT);
        assert_non_null(strstr(e.text, "x:4"));
    }
    assert_int_equal(asked, 0);
    key_free(k);
}

static void a_passphrase_can_be_changed(void **state)
{
    const struct key_passphrase other = {"battery staple", 14, 2, 2 * KEY_KIB_MIN};
    const struct key_asker old_one = saying("correct horse"), new_one = saying("battery staple");
    struct key_secret *k = key_generate(KEY_RESTORE, NULL), *l = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(key_file_save(path, k, &cheap, &e), 0);
    assert_int_equal(key_file_replace(path, k, &other, &e), 0);
    assert_int_equal(key_file_load(&l, KEY_RESTORE, path, &old_one, &e), -ERR_AUTH);
    assert_int_equal(key_file_load(&l, KEY_RESTORE, path, &new_one, &e), 0);
    assert_memory_equal(key_secret_bytes(k), key_secret_bytes(l), KEY_LEN);
    key_free(l);
    key_free(k);
    assert_int_equal(unlink(path), 0);
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
        cmocka_unit_test(a_passphrase_opens_what_it_sealed),
        cmocka_unit_test(a_sealed_file_shows_nothing_of_the_secret),
        cmocka_unit_test(a_wrong_passphrase_or_none_is_said_so),
        cmocka_unit_test(a_changed_sealed_file_opens_never),
        cmocka_unit_test(what_costs_too_much_is_refused_before_anybody_is_asked),
        cmocka_unit_test(a_passphrase_can_be_changed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
