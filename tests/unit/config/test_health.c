/* health: what relais status answers a monitor. */
#include "health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define S   INT64_C(1000000000)
#define NOW (INT64_C(1795348800) * S)

static char idle[] = "idle", text[32], why[] = "store: no monitor answers";

/* A group that keeps up: cut every minute, the last one 50 s ago. */
static Relais__GroupStatus group(void)
{
    Relais__GroupStatus g;
    relais__group_status__init(&g);
    g.state = idle;
    g.complete_rp = 7;
    g.complete_cut = NOW - 50 * S;
    g.interval_ns = 60 * (uint64_t)S;
    return g;
}

static Relais__HubGroup hub_group(void)
{
    Relais__HubGroup g;
    relais__hub_group__init(&g);
    g.connected = true;
    g.complete_rp = 7;
    g.complete_cut_time = NOW - 50 * S;
    return g;
}

static enum health of_state(const char *state)
{
    Relais__GroupStatus g = group();
    (void)strcpy(text, state);
    g.state = text;
    return health_group(&g, NOW);
}

static void a_group_within_three_intervals_is_well(void **state)
{
    Relais__GroupStatus g = group();
    (void)state;
    assert_int_equal(health_group(&g, NOW), HEALTH_WELL);
    g.complete_cut = NOW - 180 * S;
    assert_int_equal(health_group(&g, NOW), HEALTH_WELL);
    g.complete_cut = NOW - 184 * S;
    assert_int_equal(health_group(&g, NOW), HEALTH_DEGRADED);
}

static void a_short_interval_has_thirty_seconds(void **state)
{
    Relais__GroupStatus g = group();
    (void)state;
    g.interval_ns = (uint64_t)S;
    g.complete_cut = NOW - 30 * S;
    assert_int_equal(health_group(&g, NOW), HEALTH_WELL);
    g.complete_cut = NOW - 31 * S;
    assert_int_equal(health_group(&g, NOW), HEALTH_DEGRADED);
}

static void a_group_cut_on_demand_may_be_old_but_not_empty(void **state)
{
    Relais__GroupStatus g = group();
    (void)state;
    g.interval_ns = 0;
    g.complete_cut = 0;
    assert_int_equal(health_group(&g, NOW), HEALTH_WELL);
    g.complete_rp = 0;
    assert_int_equal(health_group(&g, NOW), HEALTH_DEGRADED);
}

static void a_clock_that_stands_before_the_cut_is_no_age(void **state)
{
    Relais__GroupStatus g = group();
    (void)state;
    g.complete_cut = NOW + 3600 * S;
    assert_int_equal(health_group(&g, NOW), HEALTH_WELL);
    g.interval_ns = UINT64_MAX;
    g.complete_cut = INT64_MIN;
    assert_int_equal(health_group(&g, NOW), HEALTH_WELL);
}

static void states_count_as_the_manual_says(void **state)
{
    static const char *const fine[] = {"idle", "scanning", "sealed", "shipping"};
    static const char *const behind[] = {"seeding",  "offline",         "paused",   "spool-full",
                                         "hub-full", "frozen-too-long", "starting", "a-later-word"};
    (void)state;
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
        assert_int_equal(of_state(fine[i]), HEALTH_WELL);
    for (size_t i = 0; i < sizeof behind / sizeof behind[0]; i++)
        assert_int_equal(of_state(behind[i]), HEALTH_DEGRADED);
    assert_int_equal(of_state("broken"), HEALTH_BROKEN);
}

static void the_territory_is_judged_by_connection_and_age(void **state)
{
    Relais__HubGroup g = hub_group();
    (void)state;
    assert_int_equal(health_hub_group(&g, NOW), HEALTH_WELL);
    g.connected = false;
    assert_int_equal(health_hub_group(&g, NOW), HEALTH_DEGRADED);
    g.connected = true;
    g.complete_cut_time = NOW - 3601 * S;
    assert_int_equal(health_hub_group(&g, NOW), HEALTH_DEGRADED);
    g.complete_cut_time = NOW - 86401 * S;
    assert_int_equal(health_hub_group(&g, NOW), HEALTH_BROKEN);
    g.complete_rp = 0;
    assert_int_equal(health_hub_group(&g, NOW), HEALTH_DEGRADED);
}

static void the_worst_part_decides(void **state)
{
    Relais__GroupStatus well = group(), late = group(), *groups[] = {&late, &well};
    Relais__Status st;
    (void)state;
    relais__status__init(&st);
    assert_int_equal(health_status(&st, NOW), HEALTH_WELL);
    st.n_groups = 2;
    st.groups = groups;
    st.has_site = st.connected = true;
    assert_int_equal(health_status(&st, NOW), HEALTH_WELL);
    late.complete_cut = NOW - 3600 * S;
    assert_int_equal(health_status(&st, NOW), HEALTH_DEGRADED);
    late = well;
    st.connected = false;
    assert_int_equal(health_status(&st, NOW), HEALTH_DEGRADED);
    st.hub_error = why;
    assert_int_equal(health_status(&st, NOW), HEALTH_BROKEN);
}

static void a_quota_is_low_from_nine_parts_in_ten_on(void **state)
{
    Relais__Status st;
    (void)state;
    relais__status__init(&st);
    st.has_site = st.connected = true;
    st.quota_used = 1000; /* nobody said what the quota is */
    assert_int_equal(health_status(&st, NOW), HEALTH_WELL);
    st.quota = 1000;
    st.quota_used = 899;
    assert_int_equal(health_status(&st, NOW), HEALTH_WELL);
    st.quota_used = 900;
    assert_int_equal(health_status(&st, NOW), HEALTH_DEGRADED);
    st.quota = UINT64_MAX;
    assert_int_equal(health_status(&st, NOW), HEALTH_WELL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_within_three_intervals_is_well),
        cmocka_unit_test(a_short_interval_has_thirty_seconds),
        cmocka_unit_test(a_group_cut_on_demand_may_be_old_but_not_empty),
        cmocka_unit_test(a_clock_that_stands_before_the_cut_is_no_age),
        cmocka_unit_test(states_count_as_the_manual_says),
        cmocka_unit_test(the_territory_is_judged_by_connection_and_age),
        cmocka_unit_test(the_worst_part_decides),
        cmocka_unit_test(a_quota_is_low_from_nine_parts_in_ten_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
