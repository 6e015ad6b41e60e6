/* meter: a rate over minutes that neither jumps nor lags for ever. */
#include "meter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool about(double have, double want)
{
    return have > want * 0.99 - 1 && have < want * 1.01 + 1;
}

static void bursts_come_out_even(void **state)
{
    struct meter m = {0};
    uint64_t value = 0;
    (void)state;
    meter_note(&m, 0, 0);
    assert_true(meter_rate(&m) == 0); /* nothing is known yet */
    for (uint64_t s = 5; s <= 3600; s += 5) {
        value += s % 60 == 0 ? 60 * 1000 : 0; /* a delta a minute */
        meter_note(&m, s * IO_S, value);
        assert_true(m.count <= METER_SAMPLES);
        if (s > 600 && s % 60 == 0)
            assert_true(meter_rate(&m) > 900 && meter_rate(&m) < 1110);
    }
}

static void a_change_has_come_through_after_the_window(void **state)
{
    struct meter m = {0};
    uint64_t value = 1000000, s = 0;
    (void)state;
    for (; s <= 1200; s += 5)
        meter_note(&m, s * IO_S, value += 5 * 1000);
    assert_true(about(meter_rate(&m), 1000));
    for (; s <= 1500; s += 5)
        meter_note(&m, s * IO_S, value += 5 * 3000);
    assert_true(meter_rate(&m) > 1800 && meter_rate(&m) < 2200);
    for (; s <= 2400; s += 5)
        meter_note(&m, s * IO_S, value -= 5 * 2000);
    assert_true(about(-meter_rate(&m), 2000));
    meter_reset(&m);
    assert_true(meter_rate(&m) == 0);
}

static void what_shrinks_lasts_for_ever(void **state)
{
    (void)state;
    assert_true(meter_lasts(3600, 1) == 3600 * IO_S);
    assert_true(meter_lasts(3600, 0) == 0 && meter_lasts(3600, -1) == 0);
    assert_true(meter_lasts(-1, 1) == 0);
    assert_true(meter_lasts(1e30, 1e-9) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bursts_come_out_even),
        cmocka_unit_test(a_change_has_come_through_after_the_window),
        cmocka_unit_test(what_shrinks_lasts_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
