/* retention: what the rules keep stays, the rest goes, and neither a clock that jumps nor a stretch
 * that is not complete makes anything go that should not. */
#include "retention.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S    INT64_C(1000000000)
#define MIN  (60 * S)
#define HOUR (60 * MIN)
#define DAY  (24 * HOUR)
#define YEAR (365 * DAY)
#define T0   (INT64_C(1767225600) * S) /* 2026-01-01T00:00:00Z, a Thursday */

#define POINTS 60000u

/* A group's history, as commits make it. */
struct history {
    struct retention_point p[POINTS];
    uint16_t why[POINTS];
    size_t n;
};
static struct history *h;

static int setup(void **state)
{
    (void)state;
    h = calloc(1, sizeof *h);
    return h ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(h);
    return 0;
}

static struct retention_point *commit(int64_t now)
{
    const struct retention_point *head = h->n ? &h->p[h->n - 1] : NULL;
    struct retention_point *p = &h->p[h->n];
    assert_true(h->n < POINTS);
    *p = (struct retention_point){
        .rp = head ? head->rp + 1 : 1, .committed_time = now, .complete = true};
    p->clock = retention_clock(head ? head->clock : 0, head ? head->committed_time : 0, now);
    h->n++;
    return p;
}

/* From `from` to before `to`. */
static void commits(int64_t from, int64_t to, int64_t every)
{
    for (int64_t t = from; t < to; t += every)
        commit(t);
}

static void judge(const char *keep, uint64_t lock, int64_t now)
{
    struct retention_policy policy = {.lock_ns = lock};
    struct err e = ERR_INIT;
    if (keep_parse(&policy.keep, keep, &e) < 0)
        fail_msg("%s", e.text);
    retention_judge(&policy, h->p, h->n, now, h->why);
}

static size_t kept(void)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++)
        n += h->why[i] != RETENTION_GOES;
    return n;
}

/* The pass: what goes is gone. */
static void drop(void)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++)
        if (h->why[i] != RETENTION_GOES)
            h->p[n++] = h->p[i];
    h->n = n;
}

static bool has(size_t i, enum retention_why why)
{
    return h->why[i] >> why & 1;
}

/* ---- rules ---- */

static void all_keeps_what_is_younger_than_its_span(void **state)
{
    (void)state;
    commits(T0, T0 + 100 * MIN, MIN);
    judge("all 30min", 0, T0 + 99 * MIN);
    assert_int_equal(kept(), 30); /* ages 0 to 29 minutes */
    assert_int_equal(h->why[69], RETENTION_GOES);
    assert_int_equal(h->why[70], 1u << RETENTION_ALL);
    judge("all 30min", 0, T0 + 99 * MIN + 1);
    assert_int_equal(kept(), 30);
    judge("all 30min", 0, T0 + 100 * MIN);
    assert_int_equal(kept(), 29);
}

static void a_bucket_keeps_its_last_complete_point(void **state)
{
    (void)state;
    commits(T0, T0 + 3 * HOUR + 30 * MIN, 10 * MIN); /* 18 and 4 */
    h->p[11].complete = false;                       /* 01:50 */
    judge("hourly 2d", 0, T0 + 3 * HOUR + 30 * MIN);
    for (size_t i = 0; i < h->n; i++)
        assert_int_equal(h->why[i] != RETENTION_GOES, i == 5 || i == 10 || i == 17 || i == 20);
    assert_true(has(5, RETENTION_HOURLY));
    assert_true(has(20, RETENTION_HOURLY));
    assert_true(has(20, RETENTION_NEWEST));
}

static void a_bucket_holds_its_first_nanosecond_and_not_its_end(void **state)
{
    (void)state;
    commit(T0 + HOUR - 2);
    commit(T0 + HOUR - 1); /* the last of 00 */
    commit(T0 + HOUR);     /* the first of 01 */
    commit(T0 + HOUR + 1);
    judge("hourly 2d", 0, T0 + 2 * HOUR);
    assert_int_equal(h->why[0], RETENTION_GOES);
    assert_true(has(1, RETENTION_HOURLY));
    assert_int_equal(h->why[2], RETENTION_GOES);
    assert_true(has(3, RETENTION_HOURLY));
}

/* Whether a point at a and one at b are in different buckets. */
static bool apart(const char *rule, int64_t a, int64_t b)
{
    h->n = 0;
    commit(a);
    commit(b);
    judge(rule, 0, b);
    return h->why[0] != RETENTION_GOES;
}

static void buckets_are_those_of_the_calendar_in_utc(void **state)
{
    int64_t feb28 = T0 + 58 * DAY;
    (void)state;
    assert_true(apart("daily 9", T0 + DAY - 1, T0 + DAY));
    assert_false(apart("daily 9", T0, T0 + DAY - 1));
    assert_true(apart("weekly 9", T0 + 4 * DAY - 1, T0 + 4 * DAY)); /* Sunday, Monday */
    assert_false(apart("weekly 9", T0 + 4 * DAY, T0 + 11 * DAY - 1));
    assert_true(apart("monthly 9", feb28 + DAY - 1, feb28 + DAY)); /* 2026 has no leap day */
    assert_false(apart("monthly 9", T0, T0 + 31 * DAY - 1));
    assert_true(apart("yearly 9", T0 - 1, T0));
    assert_false(apart("yearly 9", T0, T0 + 365 * DAY - 1));
}

static void a_year_under_the_usual_rules(void **state)
{
    (void)state;
    commits(T0, T0 + 400 * DAY, 10 * MIN);
    judge("all 48h, hourly 14d, daily 90d, monthly 36", 0, T0 + 400 * DAY);
    /* 287 of 48 h (that of 48 h ago is too old), 288 hours before, 76 days before, and the ends of
     * 11 months: February 2027 is under way, January's end is among the days, as are November's and
     * December's; January to October 2026 are left. */
    size_t all = 0, hourly = 0, daily = 0, monthly = 0;
    for (size_t i = 0; i < h->n; i++) {
        if (has(i, RETENTION_ALL))
            all++;
        else if (has(i, RETENTION_HOURLY))
            hourly++;
        else if (has(i, RETENTION_DAILY))
            daily++;
        else if (has(i, RETENTION_MONTHLY))
            monthly++;
    }
    assert_int_equal(all, 287);
    assert_in_range(hourly, 287, 288);
    assert_in_range(daily, 75, 76);
    assert_in_range(monthly, 10, 11);
    assert_int_equal(kept(), all + hourly + daily + monthly);
}

static void passes_again_and_again_keep_what_one_pass_at_the_end_keeps(void **state)
{
    const char *rules = "all 3h, hourly 2d, daily 10d, monthly 3";
    size_t at_end, n = 0;
    uint64_t *rps = malloc(sizeof *rps * POINTS);
    (void)state;
    commits(T0, T0 + 60 * DAY, 7 * MIN);
    judge(rules, 0, T0 + 60 * DAY);
    at_end = kept();
    for (size_t i = 0; i < h->n; i++)
        if (h->why[i])
            rps[n++] = h->p[i].rp;
    h->n = 0;
    for (int64_t t = T0; t < T0 + 60 * DAY; t += 7 * MIN) {
        if (commit(t)->rp % 13 == 0) {
            judge(rules, 0, t + S);
            drop();
        }
    }
    judge(rules, 0, T0 + 60 * DAY);
    drop();
    assert_int_equal(h->n, at_end);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(h->p[i].rp, rps[i]);
    free(rps);
}

/* ---- what stays whatever the rules say ---- */

static void the_newest_complete_point_stays_however_old(void **state)
{
    (void)state;
    commits(T0, T0 + 10 * MIN, MIN);
    judge("all 1s", 0, T0 + 20 * YEAR);
    assert_int_equal(kept(), 1);
    assert_true(has(9, RETENTION_NEWEST));
}

static void a_stretch_at_the_head_stays_with_the_complete_point_before_it(void **state)
{
    (void)state;
    commits(T0, T0 + 30 * DAY, DAY);
    commits(T0 + 30 * DAY, T0 + 60 * DAY, DAY);
    for (size_t i = 30; i < 60; i++)
        h->p[i].complete = false;
    judge("all 1s", 0, T0 + 80 * DAY);
    assert_int_equal(kept(), 31);
    for (size_t i = 29; i < 60; i++)
        assert_true(has(i, RETENTION_NEWEST));
    commit(T0 + 81 * DAY); /* complete: the stretch is done with */
    judge("all 1s", 0, T0 + 81 * DAY);
    assert_int_equal(kept(), 1);
}

static void all_stays_while_nothing_is_complete(void **state)
{
    (void)state;
    commits(T0, T0 + 40 * DAY, DAY);
    for (size_t i = 0; i < h->n; i++)
        h->p[i].complete = false;
    judge("all 1s", 0, T0 + 80 * DAY);
    assert_int_equal(kept(), 40);
}

static void nothing_younger_than_the_lock_goes(void **state)
{
    (void)state;
    commits(T0, T0 + 40 * DAY, HOUR);
    for (size_t i = 0; i < h->n; i += 3)
        h->p[i].complete = false;
    judge("all 1s", (uint64_t)(30 * DAY), T0 + 40 * DAY - HOUR);
    for (size_t i = 0; i < h->n; i++)
        assert_int_equal(h->why[i] != RETENTION_GOES, i >= 40 * 24 - 30 * 24);
    assert_true(has(h->n - 30 * 24, RETENTION_LOCKED));
}

static void pinned_and_labelled_points_stay(void **state)
{
    (void)state;
    commits(T0, T0 + 10 * DAY, HOUR);
    h->p[3].pinned = true;
    h->p[5].labelled = true;
    judge("all 1s", 0, T0 + 10 * DAY);
    assert_int_equal(kept(), 3);
    assert_int_equal(h->why[3], 1u << RETENTION_PINNED);
    assert_int_equal(h->why[5], 1u << RETENTION_LABELLED);
    judge("all 1s, labelled 9d", 0, T0 + 10 * DAY);
    assert_int_equal(h->why[5], RETENTION_GOES);
    assert_int_equal(h->why[3], 1u << RETENTION_PINNED);
}

static void no_points_no_verdict(void **state)
{
    (void)state;
    judge("all 1s", 0, T0);
    assert_int_equal(kept(), 0);
}

/* ---- clocks ---- */

#define RULES "all 48h, hourly 14d, daily 90d"

/* 30 days at 30 min, judged in the middle of the last hour. */
static size_t thirty_days(uint64_t lock)
{
    h->n = 0;
    commits(T0, T0 + 30 * DAY, 30 * MIN);
    judge(RULES, lock, T0 + 30 * DAY - 15 * MIN);
    drop();
    return h->n;
}

static void a_clock_that_jumps_forward_makes_everything_a_day_older_at_most(void **state)
{
    size_t before = thirty_days(0);
    (void)state;
    judge(RULES, 0, T0 + 10 * YEAR);
    /* A day of the last 48 hours is thinned to hours, a day of the hours to days. */
    assert_in_range(before - kept(), 20, 48 + 24);
    assert_int_equal(thirty_days((uint64_t)(30 * DAY)), 30 * 48);
    judge("all 1s", (uint64_t)(30 * DAY), T0 + 10 * YEAR);
    assert_in_range(kept(), 29 * 48 - 1, 29 * 48 + 1);
}

static void when_the_clock_is_set_right_again_nothing_is_older(void **state)
{
    size_t before = thirty_days(0);
    (void)state;
    commits(T0 + 10 * YEAR, T0 + 10 * YEAR + 6 * HOUR, 30 * MIN);
    judge(RULES, 0, T0 + 10 * YEAR + 6 * HOUR);
    assert_in_range(kept(), before + 12 - 72, before + 12);
    commits(T0 + 30 * DAY, T0 + 30 * DAY + 6 * HOUR, 30 * MIN);
    judge(RULES, 0, T0 + 30 * DAY + 6 * HOUR);
    /* 24 came, and 11 or 12 hours went by for those before. */
    assert_in_range(kept(), before + 24 - 24, before + 24 - 21);
}

static void a_clock_that_jumps_back_makes_nothing_older(void **state)
{
    size_t before = thirty_days(0);
    (void)state;
    judge(RULES, 0, 0);
    assert_int_equal(kept(), before);
    commits(0, 3 * HOUR, 30 * MIN); /* 1970 */
    judge(RULES, 0, 3 * HOUR);
    assert_int_equal(kept(), before + 6); /* a day younger: nothing goes */
    commits(T0 + 30 * DAY, T0 + 30 * DAY + HOUR, 30 * MIN);
    judge(RULES, 0, T0 + 30 * DAY + HOUR); /* set right: as old as if it had not been */
    assert_in_range(kept(), before, before + 8);
}

static void a_clock_that_flaps_makes_nothing_go(void **state)
{
    size_t before = thirty_days(0);
    (void)state;
    for (int i = 0; i < 500; i++) /* two hubs that differ, say */
        commit(T0 + 30 * DAY + (i % 2 ? 10 * YEAR : 0) + i * S);
    judge(RULES, 0, T0 + 30 * DAY + 500 * S);
    assert_in_range(kept(), before + 500 - 2, before + 500);
}

static void the_history_of_a_silent_site_waits(void **state)
{
    size_t before = thirty_days(0);
    (void)state;
    for (int64_t days = 2; days < 2000; days += 100)
        judge(RULES, 0, T0 + (30 + days) * DAY);
    assert_true(kept() > before - 72);
    commits(T0 + 500 * DAY, T0 + 500 * DAY + 2 * HOUR, 30 * MIN); /* back, after years */
    judge(RULES, 0, T0 + 500 * DAY + 2 * HOUR);
    assert_true(kept() > before - 72);
}

static uint64_t seed = 1;
static uint64_t draw(uint64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % below;
}

static void a_second_pass_finds_nothing_more_whatever_the_clock_did(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        int64_t now = T0;
        h->n = 0;
        for (unsigned i = 0; i < 400; i++) {
            now += (int64_t)draw(draw(8) ? 3600 : 200000) * S;
            if (draw(20) == 0)
                now += ((int64_t)draw(4000) - 2000) * DAY;
            if (now < 0)
                now = 0;
            struct retention_point *p = commit(now);
            p->complete = draw(4) != 0;
            p->pinned = draw(50) == 0;
            p->labelled = draw(50) == 0;
        }
        judge("all 5h, hourly 2d, daily 9d, weekly 5, monthly 9, yearly 2, labelled 20d",
              draw(2) ? 0 : (uint64_t)DAY, now);
        drop();
        size_t left = h->n;
        judge("all 5h, hourly 2d, daily 9d, weekly 5, monthly 9, yearly 2, labelled 20d", 0, now);
        if (kept() != left) {
            /* Only the lock that the first pass had may make a difference. */
            drop();
            left = h->n;
            judge("all 5h, hourly 2d, daily 9d, weekly 5, monthly 9, yearly 2, labelled 20d", 0,
                  now);
        }
        assert_int_equal(kept(), left);
    }
}

static void reasons_are_named(void **state)
{
    char text[RETENTION_TEXT];
    (void)state;
    assert_string_equal(retention_text(text, RETENTION_GOES), "goes");
    assert_string_equal(retention_text(text, 1u << RETENTION_PINNED), "pinned");
    assert_string_equal(retention_text(text, 1u << RETENTION_ALL | 1u << RETENTION_DAILY),
                        "all, daily");
    assert_true(strlen(retention_text(text, 0xffff)) < RETENTION_TEXT - 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_keeps_what_is_younger_than_its_span),
        TEST(a_bucket_keeps_its_last_complete_point),
        TEST(a_bucket_holds_its_first_nanosecond_and_not_its_end),
        TEST(buckets_are_those_of_the_calendar_in_utc),
        TEST(a_year_under_the_usual_rules),
        TEST(passes_again_and_again_keep_what_one_pass_at_the_end_keeps),
        TEST(the_newest_complete_point_stays_however_old),
        TEST(a_stretch_at_the_head_stays_with_the_complete_point_before_it),
        TEST(all_stays_while_nothing_is_complete),
        TEST(nothing_younger_than_the_lock_goes),
        TEST(pinned_and_labelled_points_stay),
        TEST(no_points_no_verdict),
        TEST(a_clock_that_jumps_forward_makes_everything_a_day_older_at_most),
        TEST(when_the_clock_is_set_right_again_nothing_is_older),
        TEST(a_clock_that_jumps_back_makes_nothing_older),
        TEST(a_clock_that_flaps_makes_nothing_go),
        TEST(the_history_of_a_silent_site_waits),
        TEST(a_second_pass_finds_nothing_more_whatever_the_clock_did),
        TEST(reasons_are_named),
    };
    return cmocka_run_group_tests_name("retention", tests, NULL, NULL);
}
