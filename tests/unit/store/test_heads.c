/* store: the specification of heads, catalogs and claims, one for both stores. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPS f->store->ops

SPEC(a_group_begins_without_a_head_and_its_first_is_made_once)
{
    struct store_head none = {0}, one = fixture_entry(1, "one"), other = fixture_entry(2, "other");
    struct err e = ERR_INIT;
    fixture_head_is(f, "records", 0, "");
    ok(OPS->move_head(f->store, f->site, "records", &none, &one, &e), &e);
    fixture_head_is(f, "records", 1, "one");
    fails(OPS->move_head(f->store, f->site, "records", &none, &other, &e), CONFLICT);
    fixture_head_is(f, "records", 1, "one");
}

SPEC(the_head_moves_only_from_exactly_what_it_is)
{
    struct store_head none = {0}, one = fixture_entry(1, "one"), two = fixture_entry(2, "two");
    struct store_head fake = fixture_entry(1, "0ne"), lost = fixture_entry(7, "seven"),
                      eight = fixture_entry(8, "eight");
    struct err e = ERR_INIT;
    ok(OPS->move_head(f->store, f->site, "records", &none, &one, &e), &e);
    fails(OPS->move_head(f->store, f->site, "records", &fake, &two, &e), CONFLICT);
    fails(OPS->move_head(f->store, f->site, "records", &lost, &eight, &e), CONFLICT);
    fails(OPS->move_head(f->store, f->site, "imaging", &one, &two, &e), CONFLICT);
    fixture_head_is(f, "records", 1, "one");
    ok(OPS->move_head(f->store, f->site, "records", &one, &two, &e), &e);
    fails(OPS->move_head(f->store, f->site, "records", &one, &two, &e), CONFLICT);
    fixture_head_is(f, "records", 2, "two");
}

SPEC(an_entry_may_be_empty_or_of_full_length)
{
    struct store_head none = {0}, bare = fixture_entry(5, ""),
                      full = {.rp = 9, .len = STORE_ENTRY_MAX}, h;
    struct store_head got[4];
    struct err e = ERR_INIT;
    uint32_t count;
    memset(full.value, 0xa5, sizeof full.value);
    ok(OPS->move_head(f->store, f->site, "g", &none, &bare, &e), &e);
    fixture_head_is(f, "g", 5, "");
    ok(OPS->move_head(f->store, f->site, "g", &bare, &full, &e), &e);
    ok(OPS->head(f->store, f->site, "g", &h, &e), &e);
    assert_memory_equal(h.value, full.value, sizeof full.value);
    ok(OPS->catalog(f->store, f->site, "g", 0, got, 4, &count, &e), &e);
    assert_int_equal(count, 2);
    assert_int_equal(got[0].len, 0);
    assert_int_equal(got[1].len, STORE_ENTRY_MAX);
}

static void assert_page(struct fixture *f, uint64_t after, uint32_t max, uint64_t first,
                        uint32_t want)
{
    struct store_head *got = err_calloc(max, sizeof *got);
    struct err e = ERR_INIT;
    uint32_t count = 99;
    char text[32];
    ok(OPS->catalog(f->store, f->site, "records", after, got, max, &count, &e), &e);
    assert_int_equal(count, want);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(got[i].rp, first + 3 * i);
        (void)snprintf(text, sizeof text, "rp %u", (unsigned)got[i].rp);
        assert_int_equal(got[i].len, strlen(text));
        assert_memory_equal(got[i].value, text, got[i].len);
    }
    free(got);
}

SPEC(the_catalog_pages_through_every_rp_in_order)
{
    struct store_head at = {0};
    struct err e = ERR_INIT;
    char text[32];
    assert_page(f, 0, 10, 0, 0);
    for (uint64_t rp = 3; rp <= 300; rp += 3) {
        struct store_head to;
        (void)snprintf(text, sizeof text, "rp %u", (unsigned)rp);
        to = fixture_entry(rp, text);
        ok(OPS->move_head(f->store, f->site, "records", &at, &to, &e), &e);
        at = to;
    }
    assert_page(f, 0, STORE_LIST_MAX, 3, 100);
    assert_page(f, 0, 40, 3, 40);
    assert_page(f, 120, 40, 123, 40);
    assert_page(f, 121, 40, 123, 40);
    assert_page(f, 240, 40, 243, 20);
    assert_page(f, 299, 40, 300, 1);
    assert_page(f, 300, 40, 0, 0);
    assert_page(f, UINT64_MAX, 40, 0, 0);
}

/* ---- replacing entries ---- */

/* RPs 1 to 20 of "records". Returns the head. */
static struct store_head twenty(struct fixture *f)
{
    struct store_head at = {0};
    struct err e = ERR_INIT;
    for (uint64_t rp = 1; rp <= 20; rp++) {
        struct store_head to = fixture_entry(rp, "as it was");
        ok(OPS->move_head(f->store, f->site, "records", &at, &to, &e), &e);
        at = to;
    }
    return at;
}

static void assert_catalog(struct fixture *f, const char *want)
{
    struct store_head got[64];
    struct err e = ERR_INIT;
    uint32_t count = 0;
    char text[512] = "";
    ok(OPS->catalog(f->store, f->site, "records", 0, got, 64, &count, &e), &e);
    for (uint32_t i = 0; i < count; i++) {
        size_t at = strlen(text);
        (void)snprintf(text + at, sizeof text - at, "%s%u%s", i ? " " : "", (unsigned)got[i].rp,
                       memcmp(got[i].value, "new", 3) == 0 ? "*" : "");
    }
    assert_string_equal(text, want);
}

static uint64_t generation(struct fixture *f)
{
    struct err e = ERR_INIT;
    uint64_t out = 99;
    ok(OPS->generation(f->store, f->site, "records", &out, &e), &e);
    return out;
}

SPEC(entries_are_replaced_by_others_and_the_head_stays)
{
    struct store_head to[] = {fixture_entry(7, "new 7"), fixture_entry(12, "new 12")},
                      at = twenty(f);
    struct store_head next = fixture_entry(21, "as it was");
    struct err e = ERR_INIT;
    assert_int_equal(generation(f), 0);
    ok(OPS->splice(f->store, f->site, "records", 0, 3, 12, to, 2, &e), &e);
    assert_int_equal(generation(f), 1);
    assert_catalog(f, "1 2 7* 12* 13 14 15 16 17 18 19 20");
    assert_page(f, 20, 1, 0, 0);
    fixture_head_is(f, "records", 20, "as it was");
    ok(OPS->move_head(f->store, f->site, "records", &at, &next, &e), &e);
    ok(OPS->splice(f->store, f->site, "records", 1, 1, 7, to, 1, &e), &e);
    ok(OPS->splice(f->store, f->site, "records", 2, 20, 20, &(struct store_head){.rp = 20}, 1, &e),
       &e);
    assert_catalog(f, "7* 12* 13 14 15 16 17 18 19 20 21");
    assert_int_equal(generation(f), 3);
}

SPEC(entries_are_replaced_only_in_the_generation_that_was_read)
{
    struct store_head to = fixture_entry(12, "new");
    struct err e = ERR_INIT;
    fails(OPS->splice(f->store, f->site, "records", 0, 0, 0, NULL, 0, &e), NOENT);
    (void)twenty(f);
    fails(OPS->splice(f->store, f->site, "records", 1, 3, 12, &to, 1, &e), CONFLICT);
    ok(OPS->splice(f->store, f->site, "records", 0, 3, 12, &to, 1, &e), &e);
    fails(OPS->splice(f->store, f->site, "records", 0, 3, 12, &to, 1, &e), CONFLICT);
    /* What began under generation 1 can be kept from ending. */
    ok(OPS->splice(f->store, f->site, "records", 1, 0, 0, NULL, 0, &e), &e);
    to = fixture_entry(14, "new");
    fails(OPS->splice(f->store, f->site, "records", 1, 13, 14, &to, 1, &e), CONFLICT);
    assert_int_equal(generation(f), 2);
    assert_catalog(f, "1 2 12* 13 14 15 16 17 18 19 20");
}

struct splicer {
    struct fixture *f;
    struct store *store;
    uint64_t last;
    int r;
};

static void replace(void *arg)
{
    struct splicer *s = arg;
    struct store_head to = fixture_entry(s->last, "new");
    struct err e = ERR_INIT;
    s->r = s->store->ops->splice(s->store, s->f->site, "records", 0, 2, s->last, &to, 1, &e);
}

SPEC(of_those_who_race_to_replace_one_wins_and_no_move_is_lost)
{
    struct store *second = fixture_second(f);
    struct store_head at = twenty(f);
    struct splicer s[8];
    struct fiber *running[8];
    struct err e = ERR_INIT;
    unsigned won = 0;
    for (unsigned i = 0; i < 8; i++) {
        s[i] = (struct splicer){.f = f, .store = i % 2 ? second : f->store, .last = 10 + i};
        running[i] = fiber_spawn(fiber_io(), "splice", replace, &s[i]);
    }
    for (uint64_t rp = 21; rp <= 30; rp++) {
        struct store_head to = fixture_entry(rp, "as it was");
        ok(OPS->move_head(f->store, f->site, "records", &at, &to, &e), &e);
        at = to;
    }
    for (unsigned i = 0; i < 8; i++) {
        fiber_join(running[i]);
        won += s[i].r == 0;
        if (s[i].r != 0)
            fails(s[i].r, CONFLICT);
    }
    assert_int_equal(won, 1);
    for (unsigned i = 0; i < 8; i++)
        if (s[i].r == 0) {
            struct store_head got[32];
            uint32_t count;
            ok(OPS->catalog(f->store, f->site, "records", 0, got, 32, &count, &e), &e);
            assert_int_equal(count, 30 - s[i].last + 2);
            assert_int_equal(got[1].rp, s[i].last);
            assert_int_equal(got[count - 1].rp, 30);
        }
    fixture_close_second(f, second);
}

SPEC(groups_with_a_head_are_listed_in_order)
{
    static const char *const groups[] = {"records", "a-z", "imaging", "records-2"};
    static const char *const sorted[] = {"a-z", "imaging", "records", "records-2"};
    struct store_head none = {0}, one = fixture_entry(1, "one"), two = fixture_entry(2, "two");
    struct store_names names;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < 4; i++)
        ok(OPS->move_head(f->store, f->site, groups[i], &none, &one, &e), &e);
    fails(OPS->move_head(f->store, f->site, "headless", &one, &two, &e), CONFLICT);
    ok(OPS->groups(f->store, f->site, &names, &e), &e);
    assert_int_equal(names.count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(names.names[i], sorted[i]);
    free(names.names);
}

struct mover {
    struct fixture *f;
    struct store *store;
    struct store_head from, to;
    int r;
};

static void move(void *arg)
{
    struct mover *m = arg;
    struct err e = ERR_INIT;
    m->r = m->store->ops->move_head(m->store, m->f->site, "race", &m->from, &m->to, &e);
}

SPEC(a_cancelled_move_is_CANCELED_and_not_CONFLICT)
{
    struct mover m = {.f = f, .store = f->store, .to = fixture_entry(1, "one")};
    struct fiber *running = fiber_spawn(fiber_io(), "move", move, &m);
    fiber_cancel(running);
    fiber_join(running);
    fails(m.r, CANCELED);
    fixture_head_is(f, "race", 0, "");
    for (unsigned turns = 0; turns < 8; turns++) {
        struct store_head h;
        struct err e = ERR_INIT;
        m.to = fixture_entry(m.from.rp + 1, "next");
        running = fiber_spawn(fiber_io(), "move", move, &m);
        (void)fiber_sleep(turns * 100000);
        fiber_cancel(running);
        fiber_join(running);
        assert_true(m.r == 0 || m.r == -(int)ERR_CANCELED);
        /* Whichever it was, the head is one of the two and moves on. */
        ok(OPS->head(f->store, f->site, "race", &h, &e), &e);
        assert_in_range(h.rp, m.from.rp, m.to.rp);
        if (m.r == 0)
            assert_int_equal(h.rp, m.to.rp);
        m.from = h;
    }
}

SPEC(of_those_who_race_for_a_head_exactly_one_wins)
{
    struct store *second = fixture_second(f);
    struct store_head at = {0}, h;
    struct err e = ERR_INIT;
    for (uint64_t rp = 1; rp <= 10; rp++) {
        struct mover m[4];
        struct fiber *running[4];
        unsigned won = 99, wins = 0;
        char text[16];
        for (unsigned i = 0; i < 4; i++) {
            (void)snprintf(text, sizeof text, "hub %u", i);
            m[i] = (struct mover){.f = f, .from = at, .to = fixture_entry(rp, text)};
            m[i].store = i & 1 ? second : f->store;
            running[i] = fiber_spawn(fiber_io(), "move", move, &m[i]);
        }
        for (unsigned i = 0; i < 4; i++) {
            fiber_join(running[i]);
            if (m[i].r == 0) {
                wins++;
                won = i;
            } else {
                fails(m[i].r, CONFLICT);
            }
        }
        assert_int_equal(wins, 1);
        ok(second->ops->head(second, f->site, "race", &h, &e), &e);
        assert_int_equal(h.rp, rp);
        assert_memory_equal(h.value, m[won].to.value, m[won].to.len);
        at = m[won].to;
    }
    fixture_close_second(f, second);
}

static struct store_claim claim_of(uint64_t turn, const char *holder)
{
    struct store_claim c = {.turn = turn};
    (void)snprintf(c.holder, sizeof c.holder, "%s", holder);
    return c;
}

SPEC(a_claim_moves_only_from_where_it_is)
{
    struct store *second = fixture_second(f);
    struct store_claim none = {0}, a = claim_of(1, "hub-a"), b = claim_of(2, "hub-b"), now;
    struct store_claim other = claim_of(1, "hub-b"), free_again = claim_of(3, "");
    struct err e = ERR_INIT;
    ok(OPS->claim(f->store, f->site, &now, &e), &e);
    assert_int_equal(now.turn, 0);
    fails(OPS->move_claim(f->store, f->site, &a, &b, &e), CONFLICT);
    ok(OPS->move_claim(f->store, f->site, &none, &a, &e), &e);
    fails(second->ops->move_claim(second, f->site, &none, &other, &e), CONFLICT);
    fails(second->ops->move_claim(second, f->site, &other, &b, &e), CONFLICT);
    ok(second->ops->move_claim(second, f->site, &a, &b, &e), &e);
    fails(OPS->move_claim(f->store, f->site, &a, &b, &e), CONFLICT);
    ok(OPS->claim(f->store, f->site, &now, &e), &e);
    assert_int_equal(now.turn, 2);
    assert_string_equal(now.holder, "hub-b");
    ok(OPS->move_claim(f->store, f->site, &b, &free_again, &e), &e);
    ok(second->ops->claim(second, f->site, &now, &e), &e);
    assert_int_equal(now.turn, 3);
    assert_string_equal(now.holder, "");
    fails(OPS->claim(f->store, "../x", &now, &e), INPUT);
    fixture_close_second(f, second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_moves_only_from_where_it_is),
        cmocka_unit_test(a_group_begins_without_a_head_and_its_first_is_made_once),
        cmocka_unit_test(the_head_moves_only_from_exactly_what_it_is),
        cmocka_unit_test(an_entry_may_be_empty_or_of_full_length),
        cmocka_unit_test(the_catalog_pages_through_every_rp_in_order),
        cmocka_unit_test(entries_are_replaced_by_others_and_the_head_stays),
        cmocka_unit_test(entries_are_replaced_only_in_the_generation_that_was_read),
        cmocka_unit_test(of_those_who_race_to_replace_one_wins_and_no_move_is_lost),
        cmocka_unit_test(groups_with_a_head_are_listed_in_order),
        cmocka_unit_test(a_cancelled_move_is_CANCELED_and_not_CONFLICT),
        cmocka_unit_test(of_those_who_race_for_a_head_exactly_one_wins),
    };
    return cmocka_run_group_tests_name(getenv("RELAIS_TEST_CEPH_CONF") ? "store-heads: rados"
                                                                       : "store-heads: dir",
                                       tests, NULL, NULL);
}
