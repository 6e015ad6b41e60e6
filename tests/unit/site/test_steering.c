/* steering: what people say of how a site ships holds, at once, for as long as they were told. */
#include "slow_disk.h"
#include "territory_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* So slow that what the tests ship would take hours. */
#define CRAWL "64kbit"

static uint8_t noise[MIB];

static void set_rate(struct territory_fixture *t, const char *rate, uint64_t want, bool by_hand)
{
    Relais__RateState state;
    MUST(site_rate(t->site, rate, &state, &t->e), &t->e);
    assert_true(state.rate == want);
    assert_int_equal(state.by_hand, by_hand);
}

static void pause_group(struct territory_fixture *t, bool pause)
{
    uint64_t lag;
    MUST(site_pause(t->site, "records", pause, &lag, &t->e), &t->e);
}

static void await_committed(struct territory_fixture *t, uint64_t rp)
{
    uint64_t end = io_now(fiber_io()) + PATIENCE;
    while (group_of(t)->committed_rp < rp) {
        if (io_now(fiber_io()) > end)
            fail_msg("RP %d is not committed: %s", (int)rp, group_of(t)->state);
        (void)fiber_sleep(20 * IO_MS);
    }
}

/* Until the spool holds fewer deltas than that. */
static void await_fewer(struct territory_fixture *t, size_t count)
{
    uint64_t end = io_now(fiber_io()) + PATIENCE;
    while (spooled(t) >= count) {
        if (io_now(fiber_io()) > end)
            fail_msg("%zu files stay in the spool", spooled(t));
        (void)fiber_sleep(20 * IO_MS);
    }
}

static void paused(void *arg)
{
    struct territory_fixture *t = arg;
    uint64_t rp;
    hub_up(t);
    site_up(t);
    assert_int_equal(mark(t, "", true), 1);
    pause_group(t, true);
    fixture_fill(&t->f, 0, 3 * MIB, 8192, 2);
    rp = mark(t, "", false); /* cuts go on */
    (void)fiber_sleep(IO_S);
    assert_string_equal(group_of(t)->state, "paused");
    assert_true(group_of(t)->lag_bytes > 0);
    assert_int_equal(store_head(t), 1);
    site_stop(t->site);
    site_up(t);
    (void)fiber_sleep(IO_S);
    assert_string_equal(group_of(t)->state, "paused");
    assert_int_equal(store_head(t), 1);
    pause_group(t, false);
    await_committed(t, rp);
    site_stop(t->site);
    site_up(t);
    assert_false(group_of(t)->paused);
    site_stop(t->site);
    hub_down(t);
}
static void a_paused_group_is_cut_and_not_shipped_also_after_a_restart(void **state)
{
    (void)state;
    with_territory(paused);
}

struct pauser {
    struct territory_fixture *t;
    bool pause;
    uint64_t after;
};

static void pausing(void *arg)
{
    struct pauser *p = arg;
    struct err e = ERR_INIT;
    uint64_t lag;
    (void)fiber_sleep(p->after);
    (void)site_pause(p->t->site, "records", p->pause, &lag, &e);
}

static bool none_short(void *arg, int fd)
{
    (void)arg;
    (void)fd;
    return false;
}

/* Two people at once, on a disk whose syncs pass each other. */
static void both(void *arg)
{
    struct territory_fixture *t = arg;
    struct pauser pauser[2] = {{t, true, 0}, {t, false, 0}};
    struct slow_disk disk = {
        .is_short = none_short, .seed = 1, .usual_ns = 3 * IO_MS, .rare_ns = 3 * IO_MS};
    unsigned wrong = 0;
    slow_disk_begin(&disk, fiber_io());
    site_up(t);
    for (unsigned i = 0; i < 40; i++) {
        struct fiber *fibers[2];
        bool said;
        pauser[1].after = i % 10 * IO_MS / 2;
        for (unsigned k = 0; k < 2; k++)
            fibers[k] = fiber_spawn(fiber_io(), "pauser", pausing, &pauser[k]);
        for (unsigned k = 0; k < 2; k++)
            fiber_join(fibers[k]);
        said = group_of(t)->paused;
        site_stop(t->site);
        site_up(t);
        wrong += group_of(t)->paused != said;
    }
    site_stop(t->site);
    slow_disk_end(&disk);
    assert_int_equal(wrong, 0);
}
static void what_is_said_of_a_pause_holds_over_a_restart(void **state)
{
    (void)state;
    with_territory(both);
}

/* In the middle of a delta, again and again: nothing is left half done at the hub. */
static void stuttering(void *arg)
{
    struct territory_fixture *t = arg;
    uint64_t rp;
    hub_up(t);
    site_up(t);
    set_rate(t, "100mbit", 12500000, true);
    rp = mark(t, "", false);
    for (unsigned i = 0; i < 10; i++) {
        pause_group(t, true);
        (void)fiber_sleep(30 * IO_MS);
        pause_group(t, false);
        (void)fiber_sleep(50 * IO_MS);
    }
    set_rate(t, "off", 0, true);
    await_committed(t, rp);
    assert_int_equal(store_head(t), rp);
    await_empty_spool(t);
    site_stop(t->site);
    hub_down(t);
}
static void pausing_in_the_middle_harms_nothing(void **state)
{
    (void)state;
    with_territory(stuttering);
}

static void steered(void *arg)
{
    struct territory_fixture *t = arg;
    struct err e = ERR_INIT;
    Relais__RateState state;
    uint64_t rp, start, due;
    MUST(rates_add(&t->f.config.rates, CRAWL, &t->e), &t->e);
    hub_up(t);
    site_up(t);
    set_rate(t, "", 8000, false);
    rp = mark(t, "", false);
    (void)fiber_sleep(IO_S);
    assert_int_equal(group_of(t)->committed_rp, 0);
    due = group_of(t)->lag_bytes * IO_S / 1000000; /* some of it has crawled along already */
    assert_true(due > IO_S);
    set_rate(t, "8mbit", 1000000, true);
    start = io_now(fiber_io());
    await_committed(t, rp);
    assert_in_range(io_now(fiber_io()) - start, due * 9 / 10, due + 3 * IO_S);
    set_rate(t, "off", 0, true);
    set_rate(t, "schedule", 8000, false);
    assert_int_equal(site_rate(t->site, "fast", &state, &e), -ERR_INPUT);
    assert_non_null(strstr(e.text, "not a rate"));
    set_rate(t, "", 8000, false); /* the refusal changed nothing */
    set_rate(t, "20mbit", 2500000, true);
    site_stop(t->site);
    site_up(t);
    set_rate(t, "", 8000, false); /* by hand is until the next start */
    site_stop(t->site);
    hub_down(t);
}
static void a_rate_holds_from_now_on_until_the_next_start(void **state)
{
    (void)state;
    with_territory(steered);
}

static void drained(void *arg)
{
    struct territory_fixture *t = arg;
    bool committed;
    uint64_t rp;
    MUST(rates_add(&t->f.config.rates, CRAWL, &t->e), &t->e);
    hub_up(t);
    site_up(t);
    pause_group(t, true);
    assert_int_equal(mark(t, "", false), 1);
    fixture_fill(&t->f, 0, 3 * MIB, 8192, 2);
    MUST(site_mark(t->site, "records", "", SITE_DRAINED, &rp, &committed, &t->e), &t->e);
    assert_true(committed);
    assert_int_equal(rp, 2); /* it was cut */
    assert_int_equal(store_head(t), 2);
    assert_true(group_of(t)->paused); /* what held before holds again */
    assert_false(group_of(t)->draining);
    site_stop(t->site);
    hub_down(t);
}
static void a_drain_goes_ahead_of_rate_and_pause_and_leaves_them_as_they_were(void **state)
{
    (void)state;
    with_territory(drained);
}

struct waiting {
    struct territory_fixture *t;
    uint64_t rp;
    bool committed;
};

static void waiting_fiber(void *arg)
{
    struct waiting *w = arg;
    MUST(site_mark(w->t->site, "records", "", SITE_COMMITTED, &w->rp, &w->committed, &w->t->e),
         &w->t->e);
}

/* The spool is small: while the hub is away, what came of the mark is merged with what follows. */
static void merged_away(void *arg)
{
    struct territory_fixture *t = arg;
    struct waiting w = {.t = t};
    struct fiber *f;
    uint64_t last = 0;
    t->f.config.spool_budget = 32 * MIB;
    site_up(t);
    (void)mark(t, "first", false);
    io_random(fiber_io(), noise, sizeof noise);
    for (unsigned i = 0; i < 2; i++)
        fixture_write(&t->f, 0, i * MIB, noise, sizeof noise);
    f = fiber_spawn(fiber_io(), "mark", waiting_fiber, &w);
    (void)fiber_sleep(IO_S);
    for (unsigned i = 0; i < 9; i++) {
        io_random(fiber_io(), noise, sizeof noise);
        for (unsigned j = 0; j < 2; j++)
            fixture_write(&t->f, 0, j * MIB, noise, sizeof noise);
        last = mark(t, "", false);
    }
    await_fewer(t, 8);
    hub_up(t);
    fiber_join(f);
    assert_true(w.committed);
    assert_in_range(w.rp, 3, last); /* 2 is no more: see what stands for it */
    site_stop(t->site);
    hub_down(t);
}
static void a_mark_that_was_merged_tells_what_stands_for_it(void **state)
{
    (void)state;
    with_territory(merged_away);
}

static void drain_fiber(void *arg)
{
    struct territory_fixture *t = arg;
    struct err e = ERR_INIT;
    bool committed;
    uint64_t rp;
    (void)site_mark(t->site, "records", "", SITE_DRAINED, &rp, &committed, &e);
}

static void interrupted(void *arg)
{
    struct territory_fixture *t = arg;
    struct fiber *f;
    site_up(t); /* there is no hub: it waits */
    f = fiber_spawn(fiber_io(), "drain", drain_fiber, t);
    (void)fiber_sleep(500 * IO_MS);
    assert_true(group_of(t)->draining);
    fiber_cancel(f);
    fiber_join(f);
    assert_false(group_of(t)->draining);
    site_stop(t->site);
}
static void a_drain_whose_asker_has_gone_is_over(void **state)
{
    (void)state;
    with_territory(interrupted);
}

/* -- Priorities -- */

struct race {
    struct config_group groups[2];
    struct config_volume volumes[2];
};

static void urgent(void *arg)
{
    struct territory_fixture *t = arg;
    struct race r;
    struct err e = ERR_INIT;
    Relais__Status st;
    bool committed;
    uint64_t rp, start;
    fixture_volume(&t->f, "small", 4 * MIB);
    for (unsigned i = 0; i < 2; i++) {
        r.groups[i] = t->f.group;
        r.volumes[i] = t->f.volumes[i];
        r.groups[i].volumes = &r.volumes[i];
        r.groups[i].volume_count = 1;
    }
    fixture_text(r.groups[0].name, sizeof r.groups[0].name, "imaging");
    r.groups[0].priority = CONFIG_LOW;
    r.groups[1].priority = CONFIG_HIGH;
    t->f.config.groups = r.groups;
    t->f.config.group_count = 2;
    MUST(rates_add(&t->f.config.rates, "8mbit", &t->e), &t->e);
    hub_up(t);
    site_up(t);
    /* 10 MiB at 1 MB/s: ten seconds, a part of it four. */
    io_random(fiber_io(), noise, sizeof noise);
    for (unsigned i = 0; i < 10; i++) {
        noise[0]++;
        fixture_write(&t->f, 0, i * MIB, noise, sizeof noise);
    }
    MUST(site_mark(t->site, "imaging", "", SITE_SEALED, &rp, &committed, &e), &e);
    (void)fiber_sleep(IO_S);
    for (unsigned i = 0; i < 4; i++) {
        fixture_fill(&t->f, 1, i * 64 * KIB, 64 * KIB, i + 9);
        start = io_now(fiber_io());
        MUST(site_mark(t->site, "records", "", SITE_COMMITTED, &rp, &committed, &e), &e);
        assert_in_range(io_now(fiber_io()) - start, 0, 1500 * IO_MS);
    }
    relais__status__init(&st);
    site_status(t->site, &st);
    assert_int_equal(st.groups[0]->committed_rp, 0); /* it would have held them up */
    assert_string_equal(st.groups[0]->priority, "low");
    site_stop(t->site);
    hub_down(t);
}
static void what_is_urgent_does_not_wait_for_what_drains(void **state)
{
    (void)state;
    with_territory(urgent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_paused_group_is_cut_and_not_shipped_also_after_a_restart),
        cmocka_unit_test(what_is_said_of_a_pause_holds_over_a_restart),
        cmocka_unit_test(pausing_in_the_middle_harms_nothing),
        cmocka_unit_test(a_rate_holds_from_now_on_until_the_next_start),
        cmocka_unit_test(a_drain_goes_ahead_of_rate_and_pause_and_leaves_them_as_they_were),
        cmocka_unit_test(a_drain_whose_asker_has_gone_is_over),
        cmocka_unit_test(a_mark_that_was_merged_tells_what_stands_for_it),
        cmocka_unit_test(what_is_urgent_does_not_wait_for_what_drains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
