/* audit: who did what is in the hub's log, in order, chained, whatever the store does meanwhile and
 * however much comes at once; and a site that follows it finds out when it was changed. */
#include "audit.h"
#include "hub_fixture.h"
#include "witness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY   (16 * PART_SIZE)
#define GATHERED (AUDIT_GATHER_NS + 300 * IO_MS)

static uint8_t buf[PAYLOAD_MAX];

/* ---- what is in a log ---- */

#define SEEN_MAX 2000u
static struct seen {
    unsigned count;
    struct trail_entry entry[SEEN_MAX];
} seen;

static int see(void *arg, const struct trail_entry *t)
{
    (void)arg;
    assert_true(seen.count < SEEN_MAX);
    seen.entry[seen.count++] = *t;
    return 0;
}

/* Reads all that the viewer may see, following the chain to its end. */
static void read_all(struct audit *a, const char *viewer)
{
    struct audit_page page = {.bytes = buf};
    struct trail_walk w = {.visit = see};
    seen.count = 0;
    do {
        MUST(audit_read(a, w.end.seq, 0, viewer, &page, err));
        MUST(trail_follow(&w, page.bytes, page.len, err));
    } while (page.count > 0);
    MUST(trail_check_end(&w.end, &page.end, err));
}

/* Of the hub's log, by another reader of its store. */
static void read_hub(struct hub_fixture *f, const char *viewer)
{
    struct audit *a = audit_start(fiber_io(), f->real, "arras");
    (void)fiber_sleep(GATHERED);
    read_all(a, viewer);
    audit_stop(a);
}

static const struct trail_entry *find(enum trail_kind kind, const char *peer, const char *subject)
{
    for (unsigned i = 0; i < seen.count; i++)
        if (seen.entry[i].kind == kind && strcmp(seen.entry[i].peer, peer) == 0 &&
            strcmp(seen.entry[i].subject, subject) == 0)
            return &seen.entry[i];
    return NULL;
}

/* ---- a hub's day ---- */

static void day(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    const struct trail_entry *t;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 1);
    struct caller *bethune = client(&f, BETHUNE), *lens = client(&f, LENS);
    MUST(send_all(bethune, &d, err));
    MUST(ask_range(lens, "bethune", "records", &d, 0, buf, 1000, err));
    MUST(ask_range(lens, "bethune", "records", &d, 5000, buf, 500, err));
    REFUSED(ERR_AUTH, "may not read", ask_range(lens, "bethune", "imaging", &d, 0, buf, 100, err));
    caller_free(lens);
    caller_free(bethune);
    (void)fiber_sleep(IO_S / 5);

    read_hub(&f, NULL);
    assert_int_equal(seen.entry[0].kind, TRAIL_START);
    assert_non_null(find(TRAIL_CONNECT, "bethune", "bethune"));
    assert_non_null(find(TRAIL_LEAVE, "lens", "lens"));
    assert_non_null(find(TRAIL_READ, "lens", "bethune/records"));
    t = find(TRAIL_FETCH, "lens", "bethune/records");
    assert_non_null(t);
    assert_non_null(strstr(t->detail, "(1500 bytes) of the deltas of RP 1 to 1"));
    t = find(TRAIL_REFUSE, "lens", "bethune/imaging");
    assert_non_null(t);
    assert_int_equal(t->outcome, ERR_AUTH);

    read_hub(&f, "bethune"); /* sees what Lens did with its data, and not more of Lens */
    assert_non_null(find(TRAIL_FETCH, "lens", "bethune/records"));
    assert_non_null(find(TRAIL_REFUSE, "lens", "bethune/imaging"));
    assert_null(find(TRAIL_CONNECT, "lens", "lens"));
    read_hub(&f, "douai");
    assert_int_equal(seen.count, 0);
    fixture_stop(&f);
    delta_free(&d);
}
static void connections_reads_and_refusals_are_logged_and_shown_to_whom_they_concern(void **state)
{
    (void)state;
    hub_run(day, NULL);
}

static void restarts(void *arg)
{
    struct hub_fixture f;
    unsigned starts = 0, stops = 0;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    fixture_restart(&f);
    fixture_restart(&f);
    read_hub(&f, NULL); /* follows the chain, too */
    for (unsigned i = 0; i < seen.count; i++) {
        starts += seen.entry[i].kind == TRAIL_START;
        stops += seen.entry[i].kind == TRAIL_STOP;
    }
    assert_int_equal(starts, 3);
    assert_int_equal(stops, 2);
    fixture_stop(&f);
}
static void a_stop_writes_what_is_left_and_the_next_start_continues(void **state)
{
    (void)state;
    hub_run(restarts, NULL);
}

/* ---- stores and storms ---- */

static void full_store(void *arg)
{
    struct hub_fixture f;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    struct audit *a = audit_start(fiber_io(), f.store, "lens");
    f.fail_audit = true;
    for (unsigned i = 0; i < AUDIT_QUEUE + 50; i++)
        audit_note(a, TRAIL_DAMAGE, NULL, "bethune/records", ERR_CORRUPT, "%u", i);
    (void)fiber_sleep(GATHERED);
    f.fail_audit = false;
    (void)fiber_sleep(3 * IO_S);
    read_all(a, NULL);
    assert_int_equal(seen.count, AUDIT_QUEUE + 1);
    for (unsigned i = 0; i < AUDIT_QUEUE; i++)
        assert_int_equal(atoi(seen.entry[i].detail), i);
    assert_int_equal(seen.entry[AUDIT_QUEUE].kind, TRAIL_LOST);
    assert_non_null(strstr(seen.entry[AUDIT_QUEUE].detail, "50 entries"));
    audit_stop(a);
    fixture_stop(&f);
}
static void
what_a_full_store_does_not_take_waits_within_bounds_and_what_is_lost_is_told(void **state)
{
    (void)state;
    hub_run(full_store, NULL);
}

static void storm(void *arg)
{
    struct hub_fixture f;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    struct audit *a = audit_start(fiber_io(), f.real, "lens");
    for (unsigned i = 0; i < 5000; i++) {
        audit_note(a, TRAIL_STRANGERS, NULL, "", ERR_AUTH, "%u", i);
        audit_note(a, TRAIL_REFUSE, "douai", "douai/x", ERR_AUTH, "%u", i);
    }
    audit_note(a, TRAIL_REFUSE, "lens", "lens", ERR_AUTH, "another's is not lost in it");
    audit_stop(a);
    a = audit_start(fiber_io(), f.real, "lens");
    read_all(a, NULL);
    assert_int_equal(seen.count, AUDIT_STRANGERS + AUDIT_BURST + 1 + 2);
    assert_non_null(find(TRAIL_REFUSE, "lens", "lens"));
    const struct trail_entry *t = find(TRAIL_REFUSE, "douai", "");
    assert_non_null(t);
    assert_non_null(strstr(t->detail, "and 4970 more"));
    audit_stop(a);
    fixture_stop(&f);
}
static void a_storm_costs_a_bounded_number_of_entries_and_is_counted(void **state)
{
    (void)state;
    hub_run(storm, NULL);
}

static void two_hubs(void *arg)
{
    struct hub_fixture f;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    struct audit *a = audit_start(fiber_io(), f.real, "lens");
    struct audit *b = audit_start(fiber_io(), f.real, "lens");
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 10; k++) {
            audit_note(a, TRAIL_RETENTION, NULL, "a", ERR_OK, "%u", 10 * i + k);
            audit_note(b, TRAIL_RETENTION, NULL, "b", ERR_OK, "%u", 10 * i + k);
        }
        (void)fiber_sleep(GATHERED);
    }
    read_all(a, NULL);
    assert_int_equal(seen.count, 60);
    unsigned next[2] = {0, 0};
    for (unsigned i = 0; i < 60; i++)
        assert_int_equal(atoi(seen.entry[i].detail), next[seen.entry[i].subject[0] - 'a']++);
    audit_stop(a);
    audit_stop(b);
    fixture_stop(&f);
}
static void two_hubs_of_one_name_write_one_log(void **state)
{
    (void)state;
    hub_run(two_hubs, NULL);
}

/* ---- a site that follows ---- */

static void look(struct hub_fixture *f, struct witness *w)
{
    struct caller *c = client(f, DOUAI); /* which sees nothing of it */
    MUST(witness_look(w, c, err));
    caller_free(c);
}

static void rewritten(void *arg)
{
    struct hub_fixture f, other;
    struct witness w, again;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    witness_init(&w, f.dir, "arras");
    (void)fiber_sleep(GATHERED);
    look(&f, &w);
    assert_true(w.known);
    uint64_t first = w.end.seq;
    (void)fiber_sleep(GATHERED);
    look(&f, &w);
    assert_true(w.end.seq > first);
    /* A restart of the site goes on from there. */
    witness_init(&again, f.dir, "arras");
    look(&f, &again);
    assert_true(again.end.seq >= w.end.seq);
    /* The hosting member puts another log in its place, of more entries. */
    fixture_start(&other, MEMORY, 8);
    struct audit *a = audit_start(fiber_io(), other.real, "arras");
    for (unsigned i = 0; i < 40; i++)
        audit_note(a, TRAIL_RETENTION, NULL, "", ERR_OK, "as if nothing had been");
    audit_stop(a);
    struct caller *c = client(&other, DOUAI);
    first = w.end.seq;
    REFUSED(ERR_CHAIN, "does not continue what this site was shown", witness_look(&w, c, err));
    assert_int_equal(w.end.seq, first);
    caller_free(c);
    fixture_stop(&other);
    look(&f, &w); /* the true one is as good as ever */
    fixture_stop(&f);
}
static void a_log_that_was_written_anew_is_found_out_by_a_site_that_follows_it(void **state)
{
    (void)state;
    hub_run(rewritten, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_reads_and_refusals_are_logged_and_shown_to_whom_they_concern),
        cmocka_unit_test(a_stop_writes_what_is_left_and_the_next_start_continues),
        cmocka_unit_test(
            what_a_full_store_does_not_take_waits_within_bounds_and_what_is_lost_is_told),
        cmocka_unit_test(a_storm_costs_a_bounded_number_of_entries_and_is_counted),
        cmocka_unit_test(two_hubs_of_one_name_write_one_log),
        cmocka_unit_test(a_log_that_was_written_anew_is_found_out_by_a_site_that_follows_it),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
