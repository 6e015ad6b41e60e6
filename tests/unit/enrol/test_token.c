/* token: an invitation is read back from whatever people make of it, a slip is found where it is,
 * and only its bearer can prove it, over one connection, for one set of keys. */
#include "token.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct key_secret *hub, *link_key, *sign_key, *restore_key;

static int setup(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    if (key_init(&e) != 0)
        return -1;
    hub = key_generate(KEY_LINK, NULL);
    link_key = key_generate(KEY_LINK, NULL);
    sign_key = key_generate(KEY_SIGN, NULL);
    restore_key = key_generate(KEY_RESTORE, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    key_free(hub);
    key_free(link_key);
    key_free(sign_key);
    key_free(restore_key);
    return 0;
}

static struct token example(void)
{
    struct token t = {.site = "lens", .addr_count = 2};
    (void)snprintf(t.addrs[0].host, sizeof t.addrs[0].host, "hub.arras.example");
    t.addrs[0].port = 7440;
    (void)snprintf(t.addrs[1].host, sizeof t.addrs[1].host, "2001:db8::1");
    t.addrs[1].port = 7441;
    token_draw(&t, key_public(hub));
    return t;
}

static void same(const struct token *a, const struct token *b)
{
    assert_string_equal(a->site, b->site);
    assert_int_equal(a->addr_count, b->addr_count);
    for (unsigned i = 0; i < a->addr_count; i++) {
        assert_string_equal(a->addrs[i].host, b->addrs[i].host);
        assert_int_equal(a->addrs[i].port, b->addrs[i].port);
    }
    assert_memory_equal(a->secret, b->secret, TOKEN_SECRET_LEN);
    assert_memory_equal(a->pin, b->pin, TOKEN_PIN_LEN);
}

static void refused(const char *text, const char *why)
{
    struct token t;
    struct err e = ERR_INIT;
    assert_int_equal(token_parse(&t, text, &e), -ERR_INPUT);
    if (!strstr(e.text, why))
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

static void it_is_read_back(void **state)
{
    struct token t = example(), back;
    char text[TOKEN_TEXT_MAX];
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(token_print(text, &t, &e), 0);
    assert_memory_equal(text, "lens@hub.arras.example:7440,[2001:db8::1]:7441/", 47);
    assert_int_equal(strlen(text), 47 + 12 * 5 + 11);
    assert_int_equal(token_parse(&back, text, &e), 0);
    same(&t, &back);
}

/* In small letters, O for 0 and l for 1, with blanks, in groups of other lengths, on lines. */
static void typing_is_forgiving_where_it_can_be(void **state)
{
    struct token t = example(), back;
    char text[TOKEN_TEXT_MAX], loose[2 * TOKEN_TEXT_MAX] = "  ";
    struct err e = ERR_INIT;
    size_t n = 2;
    bool code = false;
    (void)state;
    assert_int_equal(token_print(text, &t, &e), 0);
    for (const char *p = text; *p; p++) {
        char c = (char)(code ? tolower((unsigned char)*p) : toupper((unsigned char)*p));
        c = code && c == '0' ? 'o' : code && c == '1' ? 'l' : c;
        if (code && c == '-')
            continue;
        loose[n++] = c;
        if (code && n % 7 == 0)
            loose[n++] = ' ';
        if (code && n % 11 == 0)
            loose[n++] = '\n';
        code = code || c == '/';
    }
    loose[n++] = '\n';
    loose[n] = '\0';
    assert_int_equal(token_parse(&back, loose, &e), 0);
    same(&t, &back);
}

/* Every single wrong character of code, name or address is noticed; in the code the place is named.
 */
static void a_slip_is_noticed_wherever_it_is(void **state)
{
    static const char symbols[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    struct token t = example(), back;
    char text[TOKEN_TEXT_MAX], where[64];
    unsigned slips = 0, named = 0, group = 1, at = 0;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(token_print(text, &t, &e), 0);
    char *code = strrchr(text, '/') + 1;
    for (char *p = code; *p; p++) {
        char was = *p;
        if (was == '-') {
            group++;
            at = 0;
            continue;
        }
        at++;
        for (unsigned c = 0; c < 32; c++) {
            if (symbols[c] == was)
                continue;
            *p = symbols[c];
            e = (struct err)ERR_INIT;
            assert_int_equal(token_parse(&back, text, &e), -ERR_INPUT);
            (void)snprintf(where, sizeof where, "group %u does not fit: look at its character %u",
                           group, at);
            slips++;
            named += strstr(e.text, where) != NULL;
        }
        *p = was;
    }
    assert_int_equal(slips, 60 * 31);
    assert_true(named * 100 > slips * 95);
    /* The plain words are covered by the checks, too: another hub, or another member, is refused.
     */
    text[0] = 'm';
    refused(text, "group");
    text[0] = 'l';
    text[8] = 'p';
    refused(text, "group");
}

static void what_is_none_is_refused_by_what_is_wrong(void **state)
{
    struct token t = example();
    char text[TOKEN_TEXT_MAX], longer[2 * TOKEN_TEXT_MAX];
    struct err e = ERR_INIT;
    (void)state;
    refused("", "not an invitation");
    refused("lens@hub:7440", "not an invitation");
    refused("hub:7440/ABCDE", "not an invitation");
    refused("../x@hub:7440/ABCDE", "is not a name");
    refused("lens@hub/ABCDE", "has no port");
    refused("lens@a:1,b:2,c:3,d:4,e:5/ABCDE", "more than 4 addresses");
    refused("lens@hub:7440/", "ends early");
    refused("lens@hub:7440/ABCUE", "none that there can be");
    assert_int_equal(token_print(text, &t, &e), 0);
    (void)snprintf(longer, sizeof longer, "%s-AAAAA", text);
    refused(longer, "too long");
    text[strlen(text) - 6] = '\0';
    refused(text, "group");
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    longer[1500] = '/';
    refused(longer, "not an invitation");
}

static void only_the_bearer_proves_it(void **state)
{
    struct token t = example(), other = example();
    struct key_secret *k = token_key(&t), *again = token_key(&t), *wrong = token_key(&other);
    struct token_offer o = {.site = "lens",
                            .link = *key_public(link_key),
                            .sign = *key_public(sign_key),
                            .restore = *key_public(restore_key)};
    uint8_t binding[TOKEN_BINDING_LEN] = {1, 2, 3}, proof[TOKEN_PROOF_LEN];
    struct err e = ERR_INIT;
    (void)state;
    assert_memory_equal(key_public(k)->b, key_public(again)->b, KEY_LEN);
    token_prove(proof, k, &o, key_public(hub), binding);
    assert_int_equal(token_check(proof, key_public(k), &o, key_public(hub), binding, &e), 0);
    assert_int_equal(token_check(proof, key_public(wrong), &o, key_public(hub), binding, &e),
                     -ERR_AUTH);
    assert_int_equal(token_check(proof, key_public(k), &o, key_public(link_key), binding, &e),
                     -ERR_AUTH); /* to another hub */
    binding[31] ^= 1;            /* over another connection */
    assert_int_equal(token_check(proof, key_public(k), &o, key_public(hub), binding, &e),
                     -ERR_AUTH);
    binding[31] ^= 1;
    uint8_t *parts[] = {o.link.b, o.sign.b, o.restore.b, (uint8_t *)o.site};
    for (size_t i = 0; i < 4; i++) {
        parts[i][0] ^= 1;
        assert_int_equal(token_check(proof, key_public(k), &o, key_public(hub), binding, &e),
                         -ERR_AUTH);
        parts[i][0] ^= 1;
    }
    key_free(k);
    key_free(again);
    key_free(wrong);
}

static void a_fingerprint_is_compared_as_people_read_it(void **state)
{
    char fp[TOKEN_FINGERPRINT], other[TOKEN_FINGERPRINT], typed[64];
    (void)state;
    token_fingerprint(fp, key_public(link_key), key_public(sign_key));
    assert_int_equal(strlen(fp), 24);
    token_fingerprint(other, key_public(hub), key_public(sign_key));
    assert_string_not_equal(fp, other);
    assert_true(token_fingerprint_is(fp, fp));
    size_t n = 0;
    for (const char *p = fp; *p; p++)
        if (*p != '-') {
            typed[n++] = (char)toupper((unsigned char)*p);
            typed[n++] = ' ';
        }
    typed[n] = '\0';
    assert_true(token_fingerprint_is(fp, typed));
    assert_false(token_fingerprint_is(fp, other));
    assert_false(token_fingerprint_is(fp, ""));
    typed[n - 2] = '\0'; /* all but the last digit */
    assert_false(token_fingerprint_is(fp, typed));
    (void)snprintf(typed, sizeof typed, "%s0", fp);
    assert_false(token_fingerprint_is(fp, typed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_read_back),
        cmocka_unit_test(typing_is_forgiving_where_it_can_be),
        cmocka_unit_test(a_slip_is_noticed_wherever_it_is),
        cmocka_unit_test(what_is_none_is_refused_by_what_is_wrong),
        cmocka_unit_test(only_the_bearer_proves_it),
        cmocka_unit_test(a_fingerprint_is_compared_as_people_read_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
