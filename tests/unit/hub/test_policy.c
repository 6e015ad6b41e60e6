/* policy: what protects recovery points cannot be taken away at once, whatever is written into the
 * hub's configuration and whoever asks. */
#include "policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define H INT64_C(3600000000000)
#define D (24 * H)

static struct policy_entry entries[64];
static size_t n;
static struct policy p;

static int begin(void **state)
{
    (void)state;
    n = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    policy_free(&p);
    return 0;
}

static struct retention_policy rules(const char *keep, int64_t lock)
{
    struct retention_policy r = {.lock_ns = (uint64_t)lock};
    struct err e = ERR_INIT;
    if (keep_parse(&r.keep, keep, &e) < 0)
        fail_msg("%s", e.text);
    return r;
}

static void say(int64_t clock, const char *keep, int64_t lock)
{
    entries[n] = (struct policy_entry){.number = n + 1, .kind = POLICY_RULES, .clock = clock};
    entries[n++].to = rules(keep, lock);
}

static void pin(int64_t clock, enum policy_kind kind, uint64_t rp)
{
    entries[n] = (struct policy_entry){.number = n + 1, .kind = kind, .clock = clock, .rp = rp};
    n++;
}

static const struct policy *at(int64_t clock)
{
    policy_free(&p);
    policy_of(&p, entries, n, clock);
    return &p;
}

/* ---- rules ---- */

static void without_a_log_nothing_is_known(void **state)
{
    (void)state;
    assert_false(at(0)->known);
    assert_int_equal(p.in_force.lock_ns, 0);
}

static void the_first_rules_hold_at_once(void **state)
{
    (void)state;
    say(0, "all 48h", 30 * D);
    assert_true(at(0)->known);
    assert_int_equal(p.in_force.keep.span[KEEP_ALL], 48 * H);
    assert_int_equal(p.in_force.lock_ns, 30 * D);
    assert_true(p.until == INT64_MAX);
}

static void rules_that_keep_less_hold_a_lock_later(void **state)
{
    (void)state;
    say(0, "all 48h, daily 90d", 30 * D);
    say(100 * D, "all 1h", 30 * D);
    assert_int_equal(at(100 * D)->said.keep.span[KEEP_ALL], H);
    assert_int_equal(p.in_force.keep.span[KEEP_ALL], 48 * H);
    assert_int_equal(p.in_force.keep.span[KEEP_DAILY], 90 * D);
    assert_int_equal(p.until, 130 * D);
    assert_int_equal(at(130 * D - 1)->in_force.keep.span[KEEP_ALL], 48 * H);
    assert_int_equal(at(130 * D)->in_force.keep.span[KEEP_ALL], H);
    assert_int_equal(p.in_force.keep.span[KEEP_DAILY], 0);
    assert_true(p.until == INT64_MAX);
}

static void rules_that_keep_more_hold_at_once(void **state)
{
    (void)state;
    say(0, "all 1h", 30 * D);
    say(10 * D, "all 48h", 60 * D);
    assert_int_equal(at(10 * D)->in_force.keep.span[KEEP_ALL], 48 * H);
    assert_int_equal(p.in_force.lock_ns, 60 * D);
}

static void a_shorter_lock_holds_as_much_later_as_the_old_one_was_long(void **state)
{
    (void)state;
    say(0, "all 48h", 30 * D);
    say(D, "all 48h", 0);
    assert_int_equal(at(31 * D - 1)->in_force.lock_ns, 30 * D);
    assert_int_equal(at(31 * D)->in_force.lock_ns, 0);
}

static void in_steps_it_is_no_faster(void **state)
{
    (void)state;
    say(0, "all 48h", 30 * D);
    say(D, "all 40h", 20 * D); /* in force from day 31 on */
    say(2 * D, "all 1h", H);   /* what was said on day 1 ends with the lock of day 2: 30 days */
    say(3 * D, "all 1min", 0);
    assert_int_equal(at(31 * D - 1)->in_force.keep.span[KEEP_ALL], 48 * H);
    assert_int_equal(at(31 * D)->in_force.keep.span[KEEP_ALL], 40 * H);
    assert_int_equal(at(31 * D)->in_force.lock_ns, 20 * D);
    assert_int_equal(at(32 * D)->in_force.keep.span[KEEP_ALL], H);
    assert_int_equal(at(33 * D)->in_force.keep.span[KEEP_ALL], H / 60);
    assert_int_equal(at(33 * D)->in_force.lock_ns, 0);
}

static void a_mistake_that_is_taken_back_changes_nothing(void **state)
{
    (void)state;
    say(0, "all 48h", 30 * D);
    say(D, "all 1h", 0);
    say(2 * D, "all 48h", 30 * D);
    for (int64_t t = 0; t < 100 * D; t += D / 2) {
        assert_int_equal(at(t)->in_force.keep.span[KEEP_ALL], 48 * H);
        assert_int_equal(p.in_force.lock_ns, 30 * D);
    }
}

static void without_a_lock_all_holds_at_once(void **state)
{
    (void)state;
    say(0, "all 48h", 0);
    say(D, "all 1h", 0);
    assert_int_equal(at(D)->in_force.keep.span[KEEP_ALL], H);
}

/* ---- pins ---- */

static void a_pin_holds_until_a_lock_after_it_was_taken_away(void **state)
{
    (void)state;
    say(0, "all 48h", 30 * D);
    pin(D, POLICY_PIN, 9);
    pin(D, POLICY_PIN, 7);
    pin(D, POLICY_PIN, 8);
    assert_int_equal(at(D)->pin_count, 3);
    assert_non_null(policy_pin(&p, 7));
    assert_null(policy_pin(&p, 6));
    pin(2 * D, POLICY_UNPIN, 8);
    assert_int_equal(policy_pin(at(32 * D - 1), 8)->until, 32 * D);
    assert_int_equal(p.until, 32 * D);
    assert_null(policy_pin(at(32 * D), 8));
    assert_non_null(policy_pin(&p, 7));
    assert_non_null(policy_pin(&p, 9));
}

static void to_unpin_again_does_not_put_it_off(void **state)
{
    (void)state;
    say(0, "all 48h", 30 * D);
    pin(D, POLICY_PIN, 9);
    pin(2 * D, POLICY_UNPIN, 9);
    pin(20 * D, POLICY_UNPIN, 9);
    assert_null(policy_pin(at(32 * D), 9));
}

static void what_is_pinned_again_stays(void **state)
{
    (void)state;
    say(0, "all 48h", 30 * D);
    pin(D, POLICY_PIN, 9);
    pin(2 * D, POLICY_UNPIN, 9);
    pin(3 * D, POLICY_PIN, 9);
    assert_true(policy_pin(at(1000 * D), 9)->until == INT64_MAX);
}

static void a_lock_that_was_shortened_before_still_holds_for_pins(void **state)
{
    (void)state;
    say(0, "all 48h", 30 * D);
    pin(D, POLICY_PIN, 9);
    say(2 * D, "all 48h", 0);
    pin(2 * D, POLICY_UNPIN, 9);
    assert_non_null(policy_pin(at(32 * D - 1), 9));
    assert_null(policy_pin(at(32 * D), 9));
}

/* ---- entries ---- */

static void entries_round_trip_and_damaged_ones_are_corrupt(void **state)
{
    struct store_head raw, bad;
    struct policy_entry out;
    struct err e = ERR_INIT;
    (void)state;
    say(-5, "all 48h, daily ever, labelled 3d", 7 * D);
    pin(77, POLICY_PIN, UINT64_MAX);
    pin(78, POLICY_UNPIN, 3);
    strcpy(entries[1].by, "bethune");
    for (size_t i = 0; i < n; i++) {
        policy_encode(&raw, &entries[i]);
        assert_int_equal(policy_decode(&out, &raw, &e), 0);
        assert_memory_equal(&out, &entries[i], sizeof out);
        for (uint16_t len = 0; len < raw.len; len++) {
            bad = raw;
            bad.len = len;
            assert_int_equal(policy_decode(&out, &bad, &e), -ERR_CORRUPT);
        }
        bad = raw;
        bad.value[0] = 9;
        assert_int_equal(policy_decode(&out, &bad, &e), -ERR_CORRUPT);
        bad = raw;
        bad.value[1] = 4;
        assert_int_equal(policy_decode(&out, &bad, &e), -ERR_CORRUPT);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_log_nothing_is_known),
        TEST(the_first_rules_hold_at_once),
        TEST(rules_that_keep_less_hold_a_lock_later),
        TEST(rules_that_keep_more_hold_at_once),
        TEST(a_shorter_lock_holds_as_much_later_as_the_old_one_was_long),
        TEST(in_steps_it_is_no_faster),
        TEST(a_mistake_that_is_taken_back_changes_nothing),
        TEST(without_a_lock_all_holds_at_once),
        TEST(a_pin_holds_until_a_lock_after_it_was_taken_away),
        TEST(to_unpin_again_does_not_put_it_off),
        TEST(what_is_pinned_again_stays),
        TEST(a_lock_that_was_shortened_before_still_holds_for_pins),
        TEST(entries_round_trip_and_damaged_ones_are_corrupt),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
