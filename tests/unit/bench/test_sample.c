/* Medians, spreads and quantiles of what was measured. */
#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_median_of_odd_is_the_middle_one(void **state)
{
    double v[] = {9, 1, 5};
    struct sample s = sample_of(v, 3);
    (void)state;
    assert_true(s.median == 5 && s.min == 1 && s.max == 9);
}

static void test_median_of_even_is_between_the_middle_two(void **state)
{
    double v[] = {4, 1, 8, 2};
    struct sample s = sample_of(v, 4);
    (void)state;
    assert_true(s.median == 3 && s.min == 1 && s.max == 8);
}

static void test_one_value_is_all_there_is(void **state)
{
    double v[] = {7};
    struct sample s = sample_of(v, 1);
    (void)state;
    assert_true(s.median == 7 && s.min == 7 && s.max == 7);
    assert_true(sample_quantile(v, 1, 0) == 7 && sample_quantile(v, 1, 1) == 7);
}

static void test_quantile_is_a_value_that_was_measured(void **state)
{
    double v[100];
    (void)state;
    for (int i = 0; i < 100; i++)
        v[i] = i + 1;
    assert_true(sample_quantile(v, 100, 0.5) == 50);
    assert_true(sample_quantile(v, 100, 0.99) == 99);
    assert_true(sample_quantile(v, 100, 0.991) == 100);
    assert_true(sample_quantile(v, 100, 1) == 100);
    assert_true(sample_quantile(v, 100, 0) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_median_of_odd_is_the_middle_one),
        cmocka_unit_test(test_median_of_even_is_between_the_middle_two),
        cmocka_unit_test(test_one_value_is_all_there_is),
        cmocka_unit_test(test_quantile_is_a_value_that_was_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
