/* store: the specification of objects and their listings, one for both stores. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPS f->store->ops

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
    struct store_head none = {0}, to = fixture_entry(1, "x");
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

SPEC(what_was_stored_is_there_after_reopening)
{
    struct store_head none = {0}, one = fixture_entry(1, "one"), two = fixture_entry(2, "two");
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
    fixture_head_is(f, "records", 1, "one");
    ok(OPS->move_head(f->store, f->site, "records", &one, &two, &e), &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(a_listing_is_sorted_and_starts_after_what_was_seen),
        cmocka_unit_test(a_listing_longer_than_a_page_continues),
        cmocka_unit_test(puts_in_many_fibers_all_arrive_whole),
        cmocka_unit_test(puts_of_one_name_at_once_all_succeed),
        cmocka_unit_test(a_cancelled_put_ends_and_the_next_one_succeeds),
        cmocka_unit_test(what_was_stored_is_there_after_reopening),
    };
    return cmocka_run_group_tests_name(getenv("RELAIS_TEST_CEPH_CONF") ? "store-objects: rados"
                                                                       : "store-objects: dir",
                                       tests, NULL, NULL);
}
