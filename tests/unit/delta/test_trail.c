/* trail: an audit log whose entries were changed, taken out, put in or cut off is found out, and
 * where. */
#include "trail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 6u

struct log {
    struct trail_entry entry[N];
    uint8_t body[N][TRAIL_BODY_MAX];
    size_t len[N];
    struct digest link[N + 1]; /* after entry n */
};

static void make(struct log *l)
{
    memset(l, 0, sizeof *l);
    for (unsigned i = 0; i < N; i++) {
        struct trail_entry *t = &l->entry[i];
        t->seq = i + 1;
        t->time = 1000 + i;
        t->kind = i % 2 ? TRAIL_READ : TRAIL_CONNECT;
        t->outcome = i == 3 ? ERR_AUTH : ERR_OK;
        (void)snprintf(t->hub, sizeof t->hub, "arras");
        (void)snprintf(t->peer, sizeof t->peer, i < 3 ? "lens" : "bethune");
        (void)snprintf(t->subject, sizeof t->subject, "bethune/imaging");
        (void)snprintf(t->detail, sizeof t->detail, "entry %u", i);
        l->len[i] = trail_encode(l->body[i], t);
        trail_link(&l->link[i + 1], &l->link[i], l->body[i], l->len[i]);
    }
}

/* As it is sent; hidden: a bit per entry. */
static size_t page(uint8_t *dst, const struct log *l, unsigned from, unsigned to, unsigned hidden)
{
    uint8_t *at = dst;
    for (unsigned i = from; i < to; i++) {
        bool shown = !(hidden >> i & 1);
        memcpy(at, l->link[i].b, DIGEST_LEN);
        at += DIGEST_LEN;
        *at++ = shown;
        if (shown) {
            *at++ = (uint8_t)l->len[i];
            *at++ = (uint8_t)(l->len[i] >> 8);
            memcpy(at, l->body[i], l->len[i]);
            at += l->len[i];
        } else {
            struct digest d;
            digest_of(&d, l->body[i], l->len[i]);
            memcpy(at, d.b, DIGEST_LEN);
            at += DIGEST_LEN;
        }
    }
    return (size_t)(at - dst);
}

static void an_entry_is_read_back(void **state)
{
    struct log l;
    struct trail_entry t;
    struct err e = ERR_INIT;
    (void)state;
    make(&l);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(trail_decode(&t, l.body[i], l.len[i], &e), 0);
        assert_memory_equal(&t, &l.entry[i], sizeof t);
        assert_int_equal(trail_kind_parse(trail_kind_word(t.kind)), t.kind);
    }
    for (size_t n = 0; n < l.len[0]; n++)
        assert_int_equal(trail_decode(&t, l.body[0], n, &e), -ERR_CORRUPT);
    assert_int_equal(trail_kind_parse("nothing"), 0);
}

static int count(void *arg, const struct trail_entry *t)
{
    (void)t;
    ++*(unsigned *)arg;
    return 0;
}

static void a_log_is_followed_whatever_of_it_may_be_seen(void **state)
{
    struct log l;
    uint8_t buf[N * TRAIL_RECORD_MAX];
    struct err e = ERR_INIT;
    (void)state;
    make(&l);
    for (unsigned hidden = 0; hidden < 1u << N; hidden++)
        for (unsigned cut = 0; cut <= N; cut++) {
            unsigned seen = 0;
            struct trail_walk w = {.visit = count, .arg = &seen};
            struct trail_end end = {N, l.link[N]};
            assert_int_equal(trail_follow(&w, buf, page(buf, &l, 0, cut, hidden), &e), 0);
            assert_int_equal(trail_follow(&w, buf, page(buf, &l, cut, N, hidden), &e), 0);
            assert_int_equal(trail_check_end(&w.end, &end, &e), 0);
            assert_int_equal(seen, N - (unsigned)__builtin_popcount(hidden));
        }
}

/* What trail_follow and trail_check_end say of a log that somebody had in his hands. */
static int judge(const struct log *l, unsigned n, const struct trail_end *known, struct err *e)
{
    uint8_t buf[N * TRAIL_RECORD_MAX];
    struct trail_walk w = {.known = known};
    struct log whole;
    make(&whole);
    struct trail_end end = {N, whole.link[N]};
    *e = (struct err)ERR_INIT;
    int rc = trail_follow(&w, buf, page(buf, l, 0, n, 0), e);
    return rc < 0 ? rc : trail_check_end(&w.end, &end, e);
}

static void what_was_changed_is_named(void **state)
{
    struct err e;
    (void)state;
    for (unsigned i = 0; i < N; i++) {
        struct log l;
        char word[32];
        make(&l);
        l.body[i][10] ^= 1; /* its time */
        assert_int_equal(judge(&l, N, NULL, &e), -ERR_CHAIN);
        (void)snprintf(word, sizeof word, "entry %u is not", i + 1);
        if (!strstr(e.text, word))
            fail_msg("entry %u was changed: %s", i + 1, e.text);
    }
}

static void what_was_taken_out_put_in_or_cut_off_is_found(void **state)
{
    struct log l;
    struct err e;
    (void)state;
    make(&l);
    assert_int_equal(judge(&l, N - 1, NULL, &e), -ERR_CHAIN);
    assert_non_null(strstr(e.text, "ends with entry 5"));
    make(&l); /* entry 3 is taken out */
    for (unsigned i = 2; i + 1 < N; i++) {
        memcpy(l.body[i], l.body[i + 1], sizeof l.body[i]);
        l.len[i] = l.len[i + 1];
        l.link[i] = l.link[i + 1];
    }
    assert_int_equal(judge(&l, N - 1, NULL, &e), -ERR_CHAIN);
    assert_non_null(strstr(e.text, "entry 2 is not the one that entry 3"));
}

/* All links are made anew: then only what was told before tells. */
static void a_log_that_was_written_anew_is_found_by_who_was_told(void **state)
{
    struct log l, whole;
    struct err e = ERR_INIT;
    uint8_t buf[N * TRAIL_RECORD_MAX];
    (void)state;
    make(&whole);
    l = whole;
    l.body[1][10] ^= 1;
    for (unsigned i = 0; i < N; i++)
        trail_link(&l.link[i + 1], &l.link[i], l.body[i], l.len[i]);
    for (unsigned told = 1; told <= N; told++) {
        struct trail_end known = {told, whole.link[told]};
        struct trail_walk w = {.known = &known};
        int rc = trail_follow(&w, buf, page(buf, &l, 0, N, 0), &e);
        assert_int_equal(rc, told == 1 ? 0 : -ERR_CHAIN); /* entry 1 is as it was */
        assert_int_equal(w.end.seq, told == 1 ? N : told);
    }
}

static void who_may_see_an_entry(void **state)
{
    struct trail_entry t = {.peer = "lens", .subject = "bethune/imaging@7"};
    (void)state;
    assert_true(trail_concerns(&t, "lens"));
    assert_true(trail_concerns(&t, "bethune"));
    assert_false(trail_concerns(&t, "beth"));
    assert_false(trail_concerns(&t, "douai"));
    t.subject[7] = '\0';
    assert_true(trail_concerns(&t, "bethune"));
}

static void words_of_strangers_end_on_terminals(void **state)
{
    char dst[8];
    (void)state;
    trail_text(dst, sizeof dst, "a\x1b[2J\n\x7f\xc3\xa9");
    assert_string_equal(dst, "a?[2J??");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_read_back),
        cmocka_unit_test(a_log_is_followed_whatever_of_it_may_be_seen),
        cmocka_unit_test(what_was_changed_is_named),
        cmocka_unit_test(what_was_taken_out_put_in_or_cut_off_is_found),
        cmocka_unit_test(a_log_that_was_written_anew_is_found_by_who_was_told),
        cmocka_unit_test(who_may_see_an_entry),
        cmocka_unit_test(words_of_strangers_end_on_terminals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
