/* level: it rises when the link holds shipping up and processors are idle, and at no other time. */
#include "level.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MB 1000000u

/* 20 Mbit/s, an hour behind, processors idle. */
static const struct level_input thin = {
    .lag = 9000u * (uint64_t)MB, .shipped = 5 * MB / 2, .link = 1, .workers = 0.1, .cut = 0.05};
/* A link that takes what is sealed at once. */
static const struct level_input fast = {
    .lag = 0, .shipped = 100 * MB, .link = 0.2, .workers = 0.9, .cut = 0.5};

static int run(struct level *l, const struct level_input *in, unsigned periods)
{
    while (periods-- > 0)
        (void)level_step(l, in);
    return l->now;
}

static void behind_on_a_thin_link_it_rises_to_its_bound(void **state)
{
    struct level l;
    (void)state;
    level_init(&l);
    assert_int_equal(l.now, LEVEL_LEAST);
    assert_int_equal(run(&l, &thin, LEVEL_UP_PERIODS - 1), LEVEL_LEAST);
    assert_true(run(&l, &thin, 1) > LEVEL_LEAST);
    assert_int_equal(run(&l, &thin, 600), LEVEL_MOST);
}

static void a_link_that_keeps_up_stays_at_the_least(void **state)
{
    struct level_input seeding = fast;
    struct level l;
    (void)state;
    level_init(&l);
    assert_int_equal(run(&l, &fast, 600), LEVEL_LEAST);
    seeding.link = 1; /* all of it is used, and sealing is what takes the time */
    seeding.lag = 50 * MB;
    assert_int_equal(run(&l, &seeding, 600), LEVEL_LEAST);
}

static void behind_with_busy_processors_it_does_not_rise(void **state)
{
    struct level_input in = thin;
    struct level l;
    (void)state;
    level_init(&l);
    in.workers = 0.7;
    assert_int_equal(run(&l, &in, 600), LEVEL_LEAST);
}

static void behind_with_long_cuts_it_does_not_rise(void **state)
{
    struct level_input in = thin;
    struct level l;
    (void)state;
    level_init(&l);
    in.cut = 0.6;
    assert_int_equal(run(&l, &in, 600), LEVEL_LEAST);
}

static void a_full_link_that_is_hardly_behind_is_left_alone(void **state)
{
    struct level_input in = thin;
    struct level l;
    (void)state;
    level_init(&l);
    in.lag = in.shipped; /* a second's worth: what is on its way */
    assert_int_equal(run(&l, &in, 600), LEVEL_LEAST);
}

static void a_link_that_carries_nothing_while_all_wait_is_behind(void **state)
{
    struct level_input in = thin;
    struct level l;
    (void)state;
    level_init(&l);
    in.shipped = 0;
    assert_int_equal(run(&l, &in, 600), LEVEL_MOST);
}

static void cuts_over_their_interval_bring_it_down_in_seconds(void **state)
{
    struct level_input in = thin;
    struct level l;
    (void)state;
    level_init(&l);
    (void)run(&l, &thin, 600);
    in.cut = 1.3;
    assert_true(run(&l, &in, LEVEL_DOWN_PERIODS) < LEVEL_MOST);
    assert_int_equal(run(&l, &in, 10), LEVEL_LEAST);
}

static void busy_processors_bring_it_down(void **state)
{
    struct level_input in = thin;
    struct level l;
    (void)state;
    level_init(&l);
    (void)run(&l, &thin, 600);
    in.workers = 0.95;
    assert_int_equal(run(&l, &in, 10), LEVEL_LEAST);
}

static void when_the_link_has_caught_up_it_falls(void **state)
{
    struct level_input in = thin;
    struct level l;
    (void)state;
    level_init(&l);
    (void)run(&l, &thin, 600);
    in.link = 0.3;
    in.lag = 0;
    assert_int_equal(run(&l, &in, LEVEL_IDLE_PERIODS - 1), LEVEL_MOST);
    assert_int_equal(run(&l, &in, 100), LEVEL_LEAST);
}

/* Between "room" and "full" nothing changes: no level makes the next look want the other. */
static void it_does_not_swing(void **state)
{
    struct level_input in = thin;
    struct level l;
    int was;
    (void)state;
    level_init(&l);
    was = run(&l, &thin, 2 * LEVEL_UP_PERIODS);
    in.workers = 0.7;
    in.cut = 0.6;
    assert_int_equal(run(&l, &in, 600), was);
    for (unsigned i = 0; i < 100; i++) { /* a good second now and then is no reason to rise */
        (void)run(&l, &thin, 1);
        (void)run(&l, &in, 1);
    }
    assert_int_equal(l.now, was);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behind_on_a_thin_link_it_rises_to_its_bound),
        cmocka_unit_test(a_link_that_keeps_up_stays_at_the_least),
        cmocka_unit_test(behind_with_busy_processors_it_does_not_rise),
        cmocka_unit_test(behind_with_long_cuts_it_does_not_rise),
        cmocka_unit_test(a_full_link_that_is_hardly_behind_is_left_alone),
        cmocka_unit_test(a_link_that_carries_nothing_while_all_wait_is_behind),
        cmocka_unit_test(cuts_over_their_interval_bring_it_down_in_seconds),
        cmocka_unit_test(busy_processors_bring_it_down),
        cmocka_unit_test(when_the_link_has_caught_up_it_falls),
        cmocka_unit_test(it_does_not_swing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
