/* What is foretold of a link is what arithmetic says where arithmetic can say it. */
#include "model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MIB 1048576.0
#define GIB 1073741824.0

static struct plan_is one_group(double interval, double budget)
{
    struct plan_is is = {.rtt_s = 0.02,
                         .spool_budget = budget,
                         .seal_rate = 1e12,
                         .group_count = 1,
                         .groups = {{interval, 0.5, 4, (uint64_t)64 << 20}}};
    return is;
}

static void assert_near(double got, double want, double share)
{
    if (!(fabs(got - want) <= share * fabs(want)))
        fail_msg("got %g, wanted %g within %g %%", got, want, share * 100);
}

/* Writes so many bytes a second, that no one has written before, for so long. */
static void flow(struct plan_model *m, double rate, double seconds)
{
    double end = m->now + seconds;
    while (m->now < end - 1e-9) {
        plan_change(m, 0, rate * 0.1);
        plan_advance(m, m->now + 0.1);
    }
}

static void test_an_idle_volume_is_as_old_as_its_interval(void **state)
{
    struct plan_is is = one_group(5, GIB);
    struct plan_model m;
    double most = 0, least = 1e9;
    (void)state;
    plan_model_init(&m, &is, 10 * MIB);
    plan_advance(&m, 60);
    for (size_t i = 200; i < m.sample_count; i++) {
        most = fmax(most, (double)m.rpo[i]);
        least = fmin(least, (double)m.rpo[i]);
    }
    assert_near(most, 5.05, 0.03);
    assert_true(least < 0.2);
    plan_model_free(&m);
}

static void test_rpo_is_interval_and_shipping_time(void **state)
{
    struct plan_is is = one_group(5, GIB);
    struct plan_model m;
    (void)state;
    plan_model_init(&m, &is, 1 * MIB);
    flow(&m, 1 * MIB, 100); /* 2.5 MiB sealed a cut: 2.5 s of the link */
    double most = 0;
    for (size_t i = 300; i < m.sample_count; i++)
        most = fmax(most, (double)m.rpo[i]);
    assert_near(most, 7.6, 0.03);
    assert_near(m.shipped + plan_left(&m), 50 * MIB, 0.01);
    plan_model_free(&m);
}

static void test_a_link_that_is_too_thin_is_ever_further_behind(void **state)
{
    struct plan_is is = one_group(5, 100 * GIB);
    struct plan_model m;
    double early, late;
    (void)state;
    plan_model_init(&m, &is, 0.25 * MIB); /* half of what is sealed */
    flow(&m, 1 * MIB, 100);
    early = plan_rpo(&m);
    flow(&m, 1 * MIB, 100);
    late = plan_rpo(&m);
    assert_near(late - early, 50, 0.15);
    plan_model_free(&m);
}

static void test_catching_up_takes_the_backlog_over_what_is_spare(void **state)
{
    struct plan_is is = one_group(1, GIB);
    struct plan_model m;
    double end, began;
    (void)state;
    plan_model_init(&m, &is, 1 * MIB);
    flow(&m, 1 * MIB, 10);
    plan_link(&m, 0);
    flow(&m, 1 * MIB, 60); /* 30 MiB sealed */
    assert_near(plan_waiting(&m), 30 * MIB, 0.06);
    plan_link(&m, 1 * MIB);
    end = began = m.now;
    while (!plan_safe_since(&m, end))
        flow(&m, 1 * MIB, 0.1);
    /* Oldest first: what was cut by the end is all there when 30 MiB have been shipped. */
    assert_near(m.now - began, 31, 0.06);
    plan_model_free(&m);
}

static void test_a_place_counts_once_a_cut(void **state)
{
    struct plan_is is = one_group(5, GIB);
    struct plan_model m;
    (void)state;
    plan_model_init(&m, &is, 100 * MIB);
    for (int i = 0; i < 100; i++)
        plan_write(&m, 0, 8192, 4096);
    assert_true(m.changed == 4096);
    plan_write(&m, 0, 8191, 2); /* the sector before, and this one again */
    assert_true(m.changed == 8192);
    plan_advance(&m, 6);
    plan_write(&m, 0, 8192, 4096);
    assert_true(m.changed == 12288);
    plan_model_free(&m);
}

static void test_a_spool_that_fills_is_merged_and_never_overflows(void **state)
{
    struct plan_is is = one_group(1, 4 * MIB);
    struct plan_model m;
    double budget = 4 * MIB;
    (void)state;
    plan_model_init(&m, &is, 10 * MIB);
    plan_link(&m, 0);
    for (int s = 0; s < 120; s++) { /* the same 1 MiB again and again: 512 KiB sealed a cut */
        plan_write(&m, 0, 0, 1 << 20);
        plan_advance(&m, m.now + 1);
        assert_true(m.spool <= budget);
    }
    assert_false(m.held_back);     /* merged, it is never more than a few deltas */
    for (int s = 0; s < 60; s++) { /* nothing that could be merged */
        plan_write(&m, 0, (uint64_t)s << 20, 1 << 20);
        plan_advance(&m, m.now + 1);
        assert_true(m.spool <= budget);
    }
    assert_true(m.held_back);
    plan_model_free(&m);
}

static void test_urgent_groups_get_the_link_first(void **state)
{
    struct plan_is is = one_group(2, GIB);
    struct plan_model m;
    (void)state;
    is.group_count = 2;
    is.groups[0].weight = 16;
    is.groups[1] = (struct plan_group_is){2, 0.5, 1, (uint64_t)64 << 20};
    plan_model_init(&m, &is, 1 * MIB);
    for (int i = 0; i < 600; i++) { /* the second alone would fill the link */
        plan_change(&m, 0, 0.05 * MIB);
        plan_change(&m, 1, 0.30 * MIB);
        plan_advance(&m, m.now + 0.1);
    }
    assert_true(m.now - m.groups[0].safe_cut < 4);
    assert_true(m.now - m.groups[1].safe_cut > 10);
    plan_model_free(&m);
}

static void test_headers_take_their_share(void **state)
{
    (void)state;
    assert_near(plan_capacity(100e6, 1500) * 8, 93.5e6, 0.005); /* as bench/goodput measures it */
    assert_true(plan_capacity(100e6, 576) < plan_capacity(100e6, 1500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_idle_volume_is_as_old_as_its_interval),
        cmocka_unit_test(test_rpo_is_interval_and_shipping_time),
        cmocka_unit_test(test_a_link_that_is_too_thin_is_ever_further_behind),
        cmocka_unit_test(test_catching_up_takes_the_backlog_over_what_is_spare),
        cmocka_unit_test(test_a_place_counts_once_a_cut),
        cmocka_unit_test(test_a_spool_that_fills_is_merged_and_never_overflows),
        cmocka_unit_test(test_urgent_groups_get_the_link_first),
        cmocka_unit_test(test_headers_take_their_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
