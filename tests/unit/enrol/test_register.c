/* register: an invitation is used once, by one, in time; a key that was revoked never comes back;
 * and what is written is read back, or refused by name. */
#include "register.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1800000000

struct fixture {
    struct enrolled r;
    struct key_secret *keys[8];
    struct err e;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f || key_init(&f->e) != 0)
        return -1;
    for (int i = 0; i < 8; i++)
        f->keys[i] = key_generate(i < 3 ? KEY_LINK : i < 6 ? KEY_SIGN : KEY_RESTORE, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 8; i++)
        key_free(f->keys[i]);
    register_free(&f->r);
    free(f);
    return 0;
}

/* Sites have a link key each, and all the same others. */
static struct token_offer offer(const struct fixture *f, const char *site, int link)
{
    struct token_offer o = {.link = *key_public(f->keys[link]),
                            .sign = *key_public(f->keys[3]),
                            .restore = *key_public(f->keys[6])};
    (void)snprintf(o.site, sizeof o.site, "%s", site);
    return o;
}

static void invite(struct fixture *f, const char *site, int key, bool approved)
{
    if (register_invite(&f->r, site, key_public(f->keys[key]), NULL, approved, NOW, NOW + 3600,
                        &f->e) != 0)
        fail_msg("%s", f->e.text);
}

static int enrol(struct fixture *f, int key, const struct token_offer *o, int64_t now)
{
    uint8_t id[KEY_FP_LEN];
    struct register_member *m = NULL;
    key_fingerprint(id, key_public(f->keys[key]));
    struct register_invitation *inv = register_invitation(&f->r, id);
    assert_non_null(inv);
    f->e = (struct err)ERR_INIT;
    return register_enrol(&f->r, inv, o, now, &m, &f->e);
}

static void says(const struct fixture *f, const char *why)
{
    if (!strstr(f->e.text, why))
        fail_msg("\"%s\" does not say \"%s\"", f->e.text, why);
}

static enum register_state state_of(const struct fixture *f, const char *site)
{
    const struct register_member *m = register_member(&f->r, site);
    assert_non_null(m);
    return m->state;
}

static void who_enrols_waits_for_approval_by_fingerprint(void **state)
{
    struct fixture *f = *state;
    struct token_offer o = offer(f, "lens", 0);
    char fp[TOKEN_FINGERPRINT];
    assert_false(register_open(&f->r, NOW));
    invite(f, "lens", 4, false);
    assert_true(register_open(&f->r, NOW));
    assert_null(register_member(&f->r, "lens"));
    assert_int_equal(enrol(f, 4, &o, NOW + 10), 0);
    assert_int_equal(state_of(f, "lens"), MEMBER_PENDING);
    assert_int_equal(register_approve(&f->r, "lens", "0000-1111-2222-3333-4444", NOW, &f->e),
                     -ERR_AUTH);
    assert_int_equal(state_of(f, "lens"), MEMBER_PENDING);
    token_fingerprint(fp, &o.link, &o.sign);
    assert_int_equal(register_approve(&f->r, "lens", fp, NOW + 20, &f->e), 0);
    assert_int_equal(state_of(f, "lens"), MEMBER_ACTIVE);
    assert_int_equal(register_approve(&f->r, "lens", fp, NOW + 20, &f->e), -ERR_EXISTS);
    assert_int_equal(register_approve(&f->r, "douai", fp, NOW + 20, &f->e), -ERR_NOENT);
}

static void an_invitation_is_used_once_and_by_one(void **state)
{
    struct fixture *f = *state;
    struct token_offer o = offer(f, "lens", 0), thief = offer(f, "lens", 1);
    invite(f, "lens", 4, true);
    assert_int_equal(enrol(f, 4, &o, NOW), 0);
    assert_int_equal(state_of(f, "lens"), MEMBER_ACTIVE);
    assert_int_equal(enrol(f, 4, &o, NOW + 5), 0); /* the answer was lost */
    assert_int_equal(f->r.member_count, 1);
    assert_int_equal(enrol(f, 4, &thief, NOW + 5), -ERR_AUTH);
    says(f, "used already");
    assert_memory_equal(register_member(&f->r, "lens")->link.b, o.link.b, KEY_LEN);
    /* Nor may its bearer change the other keys by asking again. */
    o.sign = *key_public(f->keys[5]);
    assert_int_equal(enrol(f, 4, &o, NOW + 5), -ERR_AUTH);
}

static void an_invitation_holds_for_its_time_and_its_site(void **state)
{
    struct fixture *f = *state;
    struct token_offer o = offer(f, "lens", 0), other = offer(f, "douai", 0);
    bool was;
    invite(f, "lens", 4, true);
    assert_int_equal(enrol(f, 4, &other, NOW), -ERR_AUTH);
    says(f, "for lens, not for douai");
    assert_int_equal(enrol(f, 4, &o, NOW + 3600), -ERR_AUTH);
    says(f, "has expired");
    assert_false(register_open(&f->r, NOW + 3600));
    register_withdraw(&f->r, "lens", NOW, &was);
    assert_true(was);
    assert_false(register_open(&f->r, NOW));
    assert_int_equal(enrol(f, 4, &o, NOW), -ERR_AUTH);
    says(f, "withdrawn");
    register_withdraw(&f->r, "lens", NOW, &was);
    assert_false(was);
    /* It is remembered for a while, so that its bearer is told why, and then forgotten. */
    register_expire(&f->r, NOW + 3600 + REGISTER_REMEMBER_S - 1);
    assert_int_equal(f->r.invitation_count, 1);
    register_expire(&f->r, NOW + 3600 + REGISTER_REMEMBER_S);
    assert_int_equal(f->r.invitation_count, 0);
}

static void the_newer_invitation_of_a_site_takes_the_place_of_the_older(void **state)
{
    struct fixture *f = *state;
    struct token_offer o = offer(f, "lens", 0);
    invite(f, "lens", 4, true);
    invite(f, "lens", 5, true);
    assert_int_equal(enrol(f, 4, &o, NOW), -ERR_AUTH);
    says(f, "withdrawn");
    assert_int_equal(enrol(f, 5, &o, NOW), 0);
    assert_int_equal(
        register_invite(&f->r, "lens", key_public(f->keys[4]), NULL, true, NOW, NOW + 60, &f->e),
        -ERR_EXISTS);
}

static void a_revoked_key_never_comes_back(void **state)
{
    struct fixture *f = *state;
    struct token_offer o = offer(f, "lens", 0), fresh = offer(f, "lens", 1),
                       elsewhere = offer(f, "douai", 0);
    char fp[TOKEN_FINGERPRINT];
    invite(f, "lens", 4, true);
    assert_int_equal(enrol(f, 4, &o, NOW), 0);
    assert_int_equal(register_revoke(&f->r, "lens", &o.link, "stolen", NOW + 10, &f->e), 0);
    assert_int_equal(register_revoke(&f->r, "lens", &o.link, "", NOW + 10, &f->e), -ERR_EXISTS);
    assert_int_equal(state_of(f, "lens"), MEMBER_REVOKED);
    assert_string_equal(register_revoked(&f->r, &o.link)->reason, "stolen");
    assert_int_equal(enrol(f, 4, &o, NOW + 20), -ERR_AUTH); /* the old invitation */
    token_fingerprint(fp, &o.link, &o.sign);
    assert_int_equal(register_approve(&f->r, "lens", fp, NOW, &f->e), -ERR_AUTH);
    invite(f, "lens", 5, true);
    assert_int_equal(enrol(f, 5, &o, NOW + 30), -ERR_AUTH);
    says(f, "was revoked");
    invite(f, "douai", 3, true);
    assert_int_equal(enrol(f, 3, &elsewhere, NOW + 30), -ERR_AUTH);
    assert_int_equal(enrol(f, 5, &fresh, NOW + 30), 0);
    assert_int_equal(state_of(f, "lens"), MEMBER_ACTIVE);
    assert_int_equal(f->r.member_count, 1);
}

static void a_key_belongs_to_one_member(void **state)
{
    struct fixture *f = *state;
    struct token_offer o = offer(f, "lens", 0), twin = offer(f, "douai", 0);
    invite(f, "lens", 4, true);
    invite(f, "douai", 5, true);
    assert_int_equal(enrol(f, 4, &o, NOW), 0);
    assert_int_equal(enrol(f, 5, &twin, NOW), -ERR_CONFLICT);
    says(f, "that of lens");
}

static void grants_stay_with_a_member_that_comes_back(void **state)
{
    struct fixture *f = *state;
    struct token_offer o = offer(f, "lens", 0), fresh = offer(f, "lens", 1);
    struct register_reads reads = {.count = 1, .grants = {"bethune/imaging"}};
    assert_int_equal(
        register_invite(&f->r, "lens", key_public(f->keys[4]), &reads, true, NOW, NOW + 60, &f->e),
        0);
    assert_int_equal(enrol(f, 4, &o, NOW), 0);
    assert_int_equal(register_revoke(&f->r, "lens", &o.link, "", NOW, &f->e), 0);
    invite(f, "lens", 5, true);
    assert_int_equal(enrol(f, 5, &fresh, NOW), 0);
    assert_int_equal(register_member(&f->r, "lens")->reads.count, 1);
    assert_string_equal(register_member(&f->r, "lens")->reads.grants[0], "bethune/imaging");
}

static void what_is_written_is_read_back(void **state)
{
    struct fixture *f = *state;
    struct token_offer o = offer(f, "lens", 0), p = offer(f, "douai", 1);
    struct enrolled back;
    char *text, *again;
    size_t len, len2;
    invite(f, "lens", 4, true);
    invite(f, "douai", 5, false);
    assert_int_equal(enrol(f, 4, &o, NOW), 0);
    assert_int_equal(enrol(f, 5, &p, NOW), 0);
    assert_int_equal(register_revoke(&f->r, "lens", &o.link, "volé, \"hier\"", NOW, &f->e), 0);
    invite(f, "lens", 3, false);
    assert_int_equal(register_text(&text, &len, &f->r, &f->e), 0);
    assert_int_equal(register_parse(&back, text, len, &f->e), 0);
    assert_int_equal(back.member_count, 2);
    assert_int_equal(back.invitation_count, 3);
    assert_string_equal(back.revoked[0].reason, "volé, \"hier\"");
    assert_int_equal(register_text(&again, &len2, &back, &f->e), 0);
    assert_string_equal(text, again);
    register_free(&back);
    free(text);
    free(again);
}

static void wrong(struct fixture *f, char *text, const char *from, const char *to, const char *why)
{
    struct enrolled back;
    char *at = strstr(text, from), *copy;
    size_t n, len;
    assert_non_null(at);
    n = (size_t)(at - text);
    len = strlen(text) - strlen(from) + strlen(to);
    copy = malloc(len + 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    (void)snprintf(copy + n, len + 1 - n, "%s%s", to, at + strlen(from));
    f->e = (struct err)ERR_INIT;
    assert_int_equal(register_parse(&back, copy, len, &f->e), -ERR_CONFIG);
    says(f, why);
    assert_null(back.members);
    free(copy);
}

static void what_somebody_spoilt_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    struct token_offer o = offer(f, "lens", 0), p = offer(f, "douai", 1);
    char *text;
    size_t len;
    invite(f, "lens", 4, true);
    invite(f, "douai", 5, true);
    assert_int_equal(enrol(f, 4, &o, NOW), 0);
    assert_int_equal(enrol(f, 5, &p, NOW), 0);
    assert_int_equal(register_text(&text, &len, &f->r, &f->e), 0);
    wrong(f, text, "\"lens\"", "\"../etc\"", "members, entry 1, \"name\": not a name");
    wrong(f, text, "\"lens\"", "\"douai\"", "share a name or a key");
    wrong(f, text, "\"active\"", "\"god\"", "not pending, active or revoked");
    wrong(f, text, "\"link:", "\"sign:", "\"link\"");
    wrong(f, text, "\"since\": 1800000000", "\"since\": -1", "not a time");
    wrong(f, text, "\"reads\": []", "\"reads\": [\"all\"]", "a grant is SITE/GROUP");
    wrong(f, text, "\"approved\": true", "\"approved\": 1", "neither true nor false");
    wrong(f, text, "\"relais-register\": 1", "\"relais-register\": 2", "of version 1");
    wrong(f, text, "\"revoked\": []", "\"revoked\": {}", "not a list");
    wrong(f, text, "{", "{,", "line 1");
    free(text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(who_enrols_waits_for_approval_by_fingerprint),
        T(an_invitation_is_used_once_and_by_one),
        T(an_invitation_holds_for_its_time_and_its_site),
        T(the_newer_invitation_of_a_site_takes_the_place_of_the_older),
        T(a_revoked_key_never_comes_back),
        T(a_key_belongs_to_one_member),
        T(grants_stay_with_a_member_that_comes_back),
        T(what_is_written_is_read_back),
        T(what_somebody_spoilt_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
