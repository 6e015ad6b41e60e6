/* rank: the guests go first, but nobody starves. */
#include "rank.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void who_gets_on_takes_what_nobody_wants(void **state)
{
    struct rank r = {.held_up = false};
    (void)state;
    for (uint64_t now = 1; now < 20 * IO_S; now += IO_S / 8) {
        assert_int_equal(rank_class(&r, now), IO_WORK_IDLE);
        rank_note(&r);
    }
}

static void who_starves_gets_a_share_every_other_period(void **state)
{
    struct rank r = {.held_up = false};
    (void)state;
    assert_int_equal(rank_class(&r, 1), IO_WORK_IDLE);
    for (unsigned i = 0; i < RANK_LEAST - 1; i++)
        rank_note(&r);
    assert_int_equal(rank_class(&r, RANK_PERIOD), IO_WORK_IDLE);
    assert_int_equal(rank_class(&r, RANK_PERIOD + 1), IO_WORK_LOW);
    assert_int_equal(rank_class(&r, 2 * RANK_PERIOD), IO_WORK_LOW);
    assert_int_equal(rank_class(&r, 2 * RANK_PERIOD + 1), IO_WORK_IDLE); /* tries it again */
    assert_int_equal(rank_class(&r, 3 * RANK_PERIOD + 1), IO_WORK_LOW);
}

static void whoever_is_waited_for_goes_on_at_once(void **state)
{
    struct rank asked = {.asked = true}, held_up = {.asked = true, .held_up = true};
    (void)state;
    assert_int_equal(rank_class(&asked, 1), IO_WORK_LOW);
    assert_int_equal(rank_class(&asked, 10 * RANK_PERIOD), IO_WORK_LOW);
    assert_int_equal(rank_class(&held_up, 1), IO_WORK_CPU);
    assert_int_equal(rank_class(&held_up, 10 * RANK_PERIOD), IO_WORK_CPU);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_gets_on_takes_what_nobody_wants),
        cmocka_unit_test(who_starves_gets_a_share_every_other_period),
        cmocka_unit_test(whoever_is_waited_for_goes_on_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
