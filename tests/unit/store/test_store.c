/* store: the one specification of both stores. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPS f->store->ops

static struct store_head entry(uint64_t rp, const char *text)
{
    struct store_head h = {.rp = rp, .len = (uint16_t)strlen(text)};
    memcpy(h.value, text, h.len);
    return h;
}

static void assert_head(struct fixture *f, const char *group, uint64_t rp, const char *text)
{
    struct err e = ERR_INIT;
    struct store_head h;
    ok(OPS->head(f->store, f->site, group, &h, &e), &e);
    assert_int_equal(h.rp, rp);
    assert_int_equal(h.len, strlen(text));
    assert_memory_equal(h.value, text, h.len);
}

SPEC(an_object_reads_back_in_any_range)
{
    static uint8_t data[PART_SIZE], back[PART_SIZE];
    struct err e = ERR_INIT;
    uint64_t size = 0;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    ok(OPS->put(f->store, f->site, "records/0000000000000001/0123abcd.0000", data, sizeof data, &e),
       &e);
    ok(OPS->size(f->store, f->site, "records/0000000000000001/0123abcd.0000", &size, &e), &e);
    assert_int_equal(size, sizeof data);
    ok(OPS->get(f->store, f->site, "records/0000000000000001/0123abcd.0000", 0, back, sizeof back,
                &e),
       &e);
    assert_memory_equal(back, data, sizeof data);
    ok(OPS->get(f->store, f->site, "records/0000000000000001/0123abcd.0000", sizeof data - 7, back,
                7, &e),
       &e);
    assert_memory_equal(back, data + sizeof data - 7, 7);
}

SPEC(an_empty_object_is_an_object)
{
    struct err e = ERR_INIT;
    uint64_t size = 1;
    ok(OPS->put(f->store, f->site, "empty", "", 0, &e), &e);
    ok(OPS->size(f->store, f->site, "empty", &size, &e), &e);
    assert_int_equal(size, 0);
}

SPEC(an_object_larger_than_a_part_is_refused)
{
    static const uint8_t data[PART_SIZE + 1];
    struct err e = ERR_INIT;
    fails(OPS->put(f->store, f->site, "a", data, sizeof data, &e), LIMIT);
}

SPEC(a_second_put_of_a_name_keeps_the_object_and_one_of_another_size_replaces_it)
{
    struct err e = ERR_INIT;
    char back[6];
    uint64_t size;
    ok(OPS->put(f->store, f->site, "a/b", "first", 5, &e), &e);
    ok(OPS->put(f->store, f->site, "a/b", "other", 5, &e), &e);
    ok(OPS->get(f->store, f->site, "a/b", 0, back, 5, &e), &e);
    assert_memory_equal(back, "first", 5);
    ok(OPS->put(f->store, f->site, "a/b", "longer", 6, &e), &e);
    ok(OPS->size(f->store, f->site, "a/b", &size, &e), &e);
    assert_int_equal(size, 6);
    ok(OPS->get(f->store, f->site, "a/b", 0, back, 6, &e), &e);
    assert_memory_equal(back, "longer", 6);
}

SPEC(what_is_not_there_is_NOENT_and_may_be_removed)
{
    struct err e = ERR_INIT;
    uint64_t size;
    char c;
    fails(OPS->get(f->store, f->site, "a/b/c", 0, &c, 1, &e), NOENT);
    fails(OPS->size(f->store, f->site, "a/b/c", &size, &e), NOENT);
    ok(OPS->remove(f->store, f->site, "a/b/c", &e), &e);
}

SPEC(a_removed_object_is_gone_and_may_be_put_again)
{
    struct err e = ERR_INIT;
    uint64_t size;
    ok(OPS->put(f->store, f->site, "group/0000000000000001/x", "1", 1, &e), &e);
    ok(OPS->remove(f->store, f->site, "group/0000000000000001/x", &e), &e);
    fails(OPS->size(f->store, f->site, "group/0000000000000001/x", &size, &e), NOENT);
    ok(OPS->put(f->store, f->site, "group/0000000000000001/x", "22", 2, &e), &e);
    ok(OPS->size(f->store, f->site, "group/0000000000000001/x", &size, &e), &e);
    assert_int_equal(size, 2);
}

SPEC(an_object_shorter_than_the_range_is_CORRUPT)
{
    struct err e = ERR_INIT;
    char back[8];
    ok(OPS->put(f->store, f->site, "short", "12345", 5, &e), &e);
    fails(OPS->get(f->store, f->site, "short", 0, back, 6, &e), CORRUPT);
    fails(OPS->get(f->store, f->site, "short", 5, back, 1, &e), CORRUPT);
    fails(OPS->get(f->store, f->site, "short", 1000, back, 1, &e), CORRUPT);
    assert_non_null(strstr(e.text, "short"));
}

SPEC(a_name_that_could_leave_its_place_is_refused)
{
    static const char *const names[] = {
        "",     "..",          "../a", "a/../b", "/etc/passwd",
        "a//b", "a/",          ".tmp", "a/.b",   "a b",
        "a\nb", "caf\xc3\xa9", "a+b",  "a\\b",   "1/2/3/4/5/6/7/8/9",
    };
    static const char *const sites[] = {"", "..", "a/b", "A", "-a", "a.b"};
    char longest[STORE_NAME_MAX + 1];
    struct err e = ERR_INIT;
    struct store_head h;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        fails(OPS->put(f->store, f->site, names[i], "1", 1, &e), INPUT);
        fails(OPS->remove(f->store, f->site, names[i], &e), INPUT);
    }
    for (size_t i = 0; i < sizeof sites / sizeof sites[0]; i++) {
        fails(OPS->put(f->store, sites[i], "a", "1", 1, &e), INPUT);
        fails(OPS->head(f->store, sites[i], "a", &h, &e), INPUT);
        fails(OPS->head(f->store, f->site, sites[i], &h, &e), INPUT);
    }
    memset(longest, 'a', STORE_NAME_MAX);
    longest[STORE_NAME_MAX] = '\0';
    fails(OPS->put(f->store, f->site, longest, "1", 1, &e), INPUT);
    longest[STORE_NAME_MAX - 1] = '\0';
    ok(OPS->put(f->store, f->site, longest, "1", 1, &e), &e);
}

SPEC(sites_do_not_see_each_other)
{
    char other[NAME_MAX_LEN + 1];
    struct store_head none = {0}, to = entry(1, "x");
    struct store_names names;
    struct err e = ERR_INIT;
    uint64_t size;
    (void)snprintf(other, sizeof other, "%.40s-b", f->site);
    ok(OPS->put(f->store, f->site, "a", "1", 1, &e), &e);
    ok(OPS->move_head(f->store, f->site, "records", &none, &to, &e), &e);
    fails(OPS->size(f->store, other, "a", &size, &e), NOENT);
    ok(OPS->list(f->store, other, "", "", &names, &e), &e);
    assert_int_equal(names.count, 0);
    free(names.names);
    ok(OPS->groups(f->store, other, &names, &e), &e);
    assert_int_equal(names.count, 0);
    free(names.names);
}

SPEC(a_group_begins_without_a_head_and_its_first_is_made_once)
{
    struct store_head none = {0}, one = entry(1, "one"), other = entry(2, "other");
    struct err e = ERR_INIT;
    assert_head(f, "records", 0, "");
    ok(OPS->move_head(f->store, f->site, "records", &none, &one, &e), &e);
    assert_head(f, "records", 1, "one");
    fails(OPS->move_head(f->store, f->site, "records", &none, &other, &e), CONFLICT);
    assert_head(f, "records", 1, "one");
}

SPEC(the_head_moves_only_from_exactly_what_it_is)
{
    struct store_head none = {0}, one = entry(1, "one"), two = entry(2, "two");
    struct store_head fake = entry(1, "0ne"), lost = entry(7, "seven"), eight = entry(8, "eight");
    struct err e = ERR_INIT;
    ok(OPS->move_head(f->store, f->site, "records", &none, &one, &e), &e);
    fails(OPS->move_head(f->store, f->site, "records", &fake, &two, &e), CONFLICT);
    fails(OPS->move_head(f->store, f->site, "records", &lost, &eight, &e), CONFLICT);
    fails(OPS->move_head(f->store, f->site, "imaging", &one, &two, &e), CONFLICT);
    assert_head(f, "records", 1, "one");
    ok(OPS->move_head(f->store, f->site, "records", &one, &two, &e), &e);
    fails(OPS->move_head(f->store, f->site, "records", &one, &two, &e), CONFLICT);
    assert_head(f, "records", 2, "two");
}

SPEC(an_entry_may_be_empty_or_of_full_length)
{
    struct store_head none = {0}, bare = entry(5, ""), full = {.rp = 9, .len = STORE_ENTRY_MAX}, h;
    struct store_head got[4];
    struct err e = ERR_INIT;
    uint32_t count;
    memset(full.value, 0xa5, sizeof full.value);
    ok(OPS->move_head(f->store, f->site, "g", &none, &bare, &e), &e);
    assert_head(f, "g", 5, "");
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
        to = entry(rp, text);
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
        struct store_head to = entry(rp, "as it was");
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
    struct store_head to[] = {entry(7, "new 7"), entry(12, "new 12")}, at = twenty(f);
    struct store_head next = entry(21, "as it was");
    struct err e = ERR_INIT;
    assert_int_equal(generation(f), 0);
    ok(OPS->splice(f->store, f->site, "records", 0, 3, 12, to, 2, &e), &e);
    assert_int_equal(generation(f), 1);
    assert_catalog(f, "1 2 7* 12* 13 14 15 16 17 18 19 20");
    assert_page(f, 20, 1, 0, 0);
    assert_head(f, "records", 20, "as it was");
    ok(OPS->move_head(f->store, f->site, "records", &at, &next, &e), &e);
    ok(OPS->splice(f->store, f->site, "records", 1, 1, 7, to, 1, &e), &e);
    ok(OPS->splice(f->store, f->site, "records", 2, 20, 20, &(struct store_head){.rp = 20}, 1, &e),
       &e);
    assert_catalog(f, "7* 12* 13 14 15 16 17 18 19 20 21");
    assert_int_equal(generation(f), 3);
}

SPEC(entries_are_replaced_only_in_the_generation_that_was_read)
{
    struct store_head to = entry(12, "new");
    struct err e = ERR_INIT;
    fails(OPS->splice(f->store, f->site, "records", 0, 0, 0, NULL, 0, &e), NOENT);
    (void)twenty(f);
    fails(OPS->splice(f->store, f->site, "records", 1, 3, 12, &to, 1, &e), CONFLICT);
    ok(OPS->splice(f->store, f->site, "records", 0, 3, 12, &to, 1, &e), &e);
    fails(OPS->splice(f->store, f->site, "records", 0, 3, 12, &to, 1, &e), CONFLICT);
    /* What began under generation 1 can be kept from ending. */
    ok(OPS->splice(f->store, f->site, "records", 1, 0, 0, NULL, 0, &e), &e);
    to = entry(14, "new");
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
    struct store_head to = entry(s->last, "new");
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
        struct store_head to = entry(rp, "as it was");
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
    struct store_head none = {0}, one = entry(1, "one"), two = entry(2, "two");
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

SPEC(a_listing_is_sorted_and_starts_after_what_was_seen)
{
    /* In no order; and "c" beside "c000/x", whose files the dir store keeps in "c+". */
    static const char *const put[] = {"c000/x",
                                      "b/2/x",
                                      "a",
                                      "b/1/y",
                                      "b-c/1/z",
                                      "b/0000000000000001/f.0000",
                                      "b/0000000000000001/f.0001",
                                      "b/0000000000001001/e.0000",
                                      "c"};
    static const char *const all[] = {"a",
                                      "b-c/1/z",
                                      "b/0000000000000001/f.0000",
                                      "b/0000000000000001/f.0001",
                                      "b/0000000000001001/e.0000",
                                      "b/1/y",
                                      "b/2/x",
                                      "c",
                                      "c000/x"};
    struct store_names names;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < 9; i++)
        ok(OPS->put(f->store, f->site, put[i], put[i], strlen(put[i]), &e), &e);
    ok(OPS->list(f->store, f->site, "", "", &names, &e), &e);
    assert_int_equal(names.count, 9);
    for (size_t i = 0; i < 9; i++)
        assert_string_equal(names.names[i], all[i]);
    free(names.names);
    ok(OPS->list(f->store, f->site, "b/00", all[2], &names, &e), &e);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.names[0], all[3]);
    assert_string_equal(names.names[1], all[4]);
    free(names.names);
    ok(OPS->list(f->store, f->site, "b/0000000000000001/", "", &names, &e), &e);
    assert_int_equal(names.count, 2);
    free(names.names);
    ok(OPS->list(f->store, f->site, "zzz", "", &names, &e), &e);
    assert_int_equal(names.count, 0);
    free(names.names);
    fails(OPS->list(f->store, f->site, "../", "", &names, &e), INPUT);
}

struct putter {
    struct fixture *f;
    unsigned from, to;
    size_t len;
    int failed;
};

static void put_many(void *arg)
{
    struct putter *p = arg;
    uint8_t *data = err_malloc(p->len);
    struct err e = ERR_INIT;
    char name[STORE_NAME_MAX];
    for (unsigned i = p->from; i < p->to; i++) {
        memset(data, (int)i, p->len);
        (void)snprintf(name, sizeof name, "group/%016x/%08x.0000", i * 37, i);
        if (p->f->store->ops->put(p->f->store, p->f->site, name, data, p->len, &e) != 0) {
            print_error("%s\n", e.text);
            p->failed++;
        }
    }
    free(data);
}

static void put_at_once(struct fixture *f, struct putter *p, unsigned fibers, unsigned each,
                        size_t len)
{
    struct fiber *running[64];
    for (unsigned i = 0; i < fibers; i++) {
        p[i] = (struct putter){.f = f, .from = i * each, .to = (i + 1) * each, .len = len};
        running[i] = fiber_spawn(fiber_io(), "put", put_many, &p[i]);
    }
    for (unsigned i = 0; i < fibers; i++) {
        fiber_join(running[i]);
        assert_int_equal(p[i].failed, 0);
    }
}

SPEC(a_listing_longer_than_a_page_continues)
{
    struct putter putters[40];
    struct store_names names;
    struct err e = ERR_INIT;
    char after[STORE_NAME_MAX] = "", want[STORE_NAME_MAX];
    unsigned seen = 0;
    put_at_once(f, putters, 40, 27, 1);
    for (;;) {
        ok(OPS->list(f->store, f->site, "group/", after, &names, &e), &e);
        if (names.count == 0)
            break;
        assert_in_range(names.count, 1, STORE_LIST_MAX);
        for (unsigned i = 0; i < names.count; i++, seen++) {
            (void)snprintf(want, sizeof want, "group/%016x/%08x.0000", seen * 37, seen);
            assert_string_equal(names.names[i], want);
        }
        memcpy(after, names.names[names.count - 1], sizeof after);
        free(names.names);
    }
    free(names.names);
    assert_int_equal(seen, 40 * 27);
}

SPEC(puts_in_many_fibers_all_arrive_whole)
{
    static uint8_t back[2 * MIB]; /* 96 of them are more than a store lets in at once */
    struct putter putters[48];
    struct err e = ERR_INIT;
    char name[STORE_NAME_MAX];
    put_at_once(f, putters, 48, 2, sizeof back);
    for (unsigned i = 0; i < 96; i++) {
        (void)snprintf(name, sizeof name, "group/%016x/%08x.0000", i * 37, i);
        ok(OPS->get(f->store, f->site, name, 0, back, sizeof back, &e), &e);
        assert_int_equal(back[0], i);
        assert_memory_equal(back, back + 1, sizeof back - 1);
    }
}

static void put_same(void *arg)
{
    struct putter *p = arg;
    struct err e = ERR_INIT;
    p->failed = p->f->store->ops->put(p->f->store, p->f->site, "same/0000000000000001/name",
                                      "content", 7, &e);
}

SPEC(puts_of_one_name_at_once_all_succeed)
{
    struct putter p[16];
    struct fiber *running[16];
    struct err e = ERR_INIT;
    uint64_t size;
    for (unsigned i = 0; i < 16; i++) {
        p[i] = (struct putter){.f = f};
        running[i] = fiber_spawn(fiber_io(), "put", put_same, &p[i]);
    }
    for (unsigned i = 0; i < 16; i++) {
        fiber_join(running[i]);
        assert_int_equal(p[i].failed, 0);
    }
    ok(OPS->size(f->store, f->site, "same/0000000000000001/name", &size, &e), &e);
    assert_int_equal(size, 7);
}

SPEC(a_cancelled_put_ends_and_the_next_one_succeeds)
{
    struct err e = ERR_INIT;
    uint64_t size;
    /* Cancelled at different moments, by how many turns it had. */
    for (unsigned turns = 0; turns < 12; turns++) {
        struct putter p = {.f = f, .from = turns, .to = turns + 1, .len = 100000};
        struct fiber *running = fiber_spawn(fiber_io(), "put", put_many, &p);
        char name[STORE_NAME_MAX];
        for (unsigned i = 0; i < turns; i++)
            (void)fiber_sleep(100000);
        fiber_cancel(running);
        fiber_join(running);
        p.failed = 0;
        running = fiber_spawn(fiber_io(), "put", put_many, &p);
        fiber_join(running);
        assert_int_equal(p.failed, 0);
        (void)snprintf(name, sizeof name, "group/%016x/%08x.0000", turns * 37, turns);
        ok(OPS->size(f->store, f->site, name, &size, &e), &e);
        assert_int_equal(size, p.len);
    }
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
    struct mover m = {.f = f, .store = f->store, .to = entry(1, "one")};
    struct fiber *running = fiber_spawn(fiber_io(), "move", move, &m);
    fiber_cancel(running);
    fiber_join(running);
    fails(m.r, CANCELED);
    assert_head(f, "race", 0, "");
    for (unsigned turns = 0; turns < 8; turns++) {
        struct store_head h;
        struct err e = ERR_INIT;
        m.to = entry(m.from.rp + 1, "next");
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
            m[i] = (struct mover){.f = f, .from = at, .to = entry(rp, text)};
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

SPEC(what_was_stored_is_there_after_reopening)
{
    struct store_head none = {0}, one = entry(1, "one"), two = entry(2, "two");
    struct store *first = f->store;
    struct err e = ERR_INIT;
    uint64_t size;
    ok(OPS->put(f->store, f->site, "records/0000000000000001/d.0000", "12345", 5, &e), &e);
    ok(OPS->move_head(f->store, f->site, "records", &none, &one, &e), &e);
    if (f->rados) {
        f->store = fixture_second(f);
        first->ops->close(first);
    } else {
        first->ops->close(first);
        ok(store_dir_open(&f->store, f->root, &e), &e);
    }
    ok(OPS->size(f->store, f->site, "records/0000000000000001/d.0000", &size, &e), &e);
    assert_int_equal(size, 5);
    assert_head(f, "records", 1, "one");
    ok(OPS->move_head(f->store, f->site, "records", &one, &two, &e), &e);
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
        cmocka_unit_test(an_object_reads_back_in_any_range),
        cmocka_unit_test(an_empty_object_is_an_object),
        cmocka_unit_test(an_object_larger_than_a_part_is_refused),
        cmocka_unit_test(
            a_second_put_of_a_name_keeps_the_object_and_one_of_another_size_replaces_it),
        cmocka_unit_test(what_is_not_there_is_NOENT_and_may_be_removed),
        cmocka_unit_test(a_removed_object_is_gone_and_may_be_put_again),
        cmocka_unit_test(an_object_shorter_than_the_range_is_CORRUPT),
        cmocka_unit_test(a_name_that_could_leave_its_place_is_refused),
        cmocka_unit_test(sites_do_not_see_each_other),
        cmocka_unit_test(a_group_begins_without_a_head_and_its_first_is_made_once),
        cmocka_unit_test(the_head_moves_only_from_exactly_what_it_is),
        cmocka_unit_test(an_entry_may_be_empty_or_of_full_length),
        cmocka_unit_test(the_catalog_pages_through_every_rp_in_order),
        cmocka_unit_test(entries_are_replaced_by_others_and_the_head_stays),
        cmocka_unit_test(entries_are_replaced_only_in_the_generation_that_was_read),
        cmocka_unit_test(of_those_who_race_to_replace_one_wins_and_no_move_is_lost),
        cmocka_unit_test(groups_with_a_head_are_listed_in_order),
        cmocka_unit_test(a_listing_is_sorted_and_starts_after_what_was_seen),
        cmocka_unit_test(a_listing_longer_than_a_page_continues),
        cmocka_unit_test(puts_in_many_fibers_all_arrive_whole),
        cmocka_unit_test(puts_of_one_name_at_once_all_succeed),
        cmocka_unit_test(a_cancelled_put_ends_and_the_next_one_succeeds),
        cmocka_unit_test(a_cancelled_move_is_CANCELED_and_not_CONFLICT),
        cmocka_unit_test(of_those_who_race_for_a_head_exactly_one_wins),
        cmocka_unit_test(what_was_stored_is_there_after_reopening),
    };
    return cmocka_run_group_tests_name(
        getenv("RELAIS_TEST_CEPH_CONF") ? "store: rados" : "store: dir", tests, NULL, NULL);
}
