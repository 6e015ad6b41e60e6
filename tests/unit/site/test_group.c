/* group: captured volumes are cut by its fiber: seeded, at its interval, on a mark, and in the end
 * even when they were outrun. */
#include "capture_own.h"
#include "group.h"
#include "site_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CAPACITY (64 * MIB)

struct scene {
    struct fixture *f;
    struct spool spool;
    struct workshop shop;
    struct group g;
    struct replay replay;
    struct err err;
    bool stop;
    unsigned sabotage; /* exact cuts that are still to be broken */
};

static void up(struct scene *s)
{
    struct fixture *f = s->f;
    spool_init(&s->spool, f->spool_dir, f->config.spool_budget, f->config.spool_reserve);
    workshop_init(&s->shop, &s->spool, f->sign, f->config.compression, f->config.delta_max, 3);
    if (group_open(&s->g, &f->config, &f->group, &s->shop, f->hash, &s->err) < 0)
        fail_msg("%s", s->err.text);
    group_start(&s->g);
}

static void down(struct scene *s)
{
    group_stop(&s->g);
    workshop_done(&s->shop);
}

static uint64_t mark(struct scene *s, const char *label)
{
    uint64_t rp = 0;
    if (group_mark(&s->g, label, &rp, &s->err) < 0)
        fail_msg("%s", s->err.text);
    assert_true(replay_upto(&s->replay, s->f, rp));
    return rp;
}

static void with_scene(void (*fn)(void *arg))
{
    struct fixture f;
    struct scene s = {.f = &f, .err = ERR_INIT};
    fixture_init(&f);
    replay_init(&s.replay, CAPACITY);
    fixture_run(fn, &s);
    replay_done(&s.replay);
    fixture_done(&f);
}

static struct capture *its(struct scene *s)
{
    return s->g.indexes.volumes[0].capture;
}

static void writer_fiber(void *arg)
{
    struct scene *s = arg;
    unsigned seed = 7;
    uint8_t p[8192];
    while (!s->stop) {
        uint64_t off = (uint64_t)rand_r(&seed) % (capture_size(its(s)) / 4096 - 1) * 4096;
        memset(p, rand_r(&seed) & 0xff, sizeof p);
        assert_int_equal(capture_write(its(s), p, sizeof p, off, 0), 0);
        (void)fiber_sleep(100 * 1000);
    }
}

static struct fiber *write_on(struct scene *s)
{
    s->stop = false;
    return fiber_spawn(fiber_io(), "writer", writer_fiber, s);
}

static void write_no_more(struct scene *s, struct fiber *writer)
{
    s->stop = true;
    fiber_join(writer);
}

static void in_use(void *arg)
{
    struct scene *s = arg;
    struct fiber *writer;
    uint64_t rp;
    s->f->config.compression = 0;
    s->f->config.delta_max = 8 * MIB;
    fixture_captured(s->f, "data", 40 * MIB);
    fixture_fill(s->f, 0, 0, 30 * MIB, 1);
    up(s);
    writer = write_on(s);
    rp = mark(s, "first");
    assert_true(rp > 2); /* seeding ends incomplete; then what was written meanwhile, cut */
    assert_int_equal(s->replay.complete_rps, 1);
    assert_string_equal(s->replay.last_label, "first");
    assert_true(s->replay.last_extents < 2000);
    (void)mark(s, "second");
    write_no_more(s, writer);
    rp = mark(s, "third");
    assert_true(replay_equals(&s->replay, s->f, 0, 0));
    assert_true(capture_hot_regions(its(s)) > 5);
    down(s);
    up(s); /* who stops in good order ships nothing twice */
    assert_int_equal(mark(s, "fourth"), rp + 1);
    assert_int_equal(s->g.last.plain_bytes, 0);
    assert_true(replay_equals(&s->replay, s->f, 0, 0));
    down(s);
}

static void a_volume_in_use_is_seeded_and_then_cut(void **state)
{
    (void)state;
    with_scene(in_use);
}

static void interval(void *arg)
{
    struct scene *s = arg;
    struct fiber *writer;
    uint64_t before;
    s->f->group.interval_ns = 50 * IO_MS;
    fixture_captured(s->f, "data", 8 * MIB);
    fixture_volume(s->f, "archive", 8 * MIB);
    up(s);
    writer = write_on(s);
    while (chain_complete_rp(&s->g.chain) == 0)
        (void)fiber_sleep(10 * IO_MS);
    before = chain_complete_rp(&s->g.chain);
    (void)fiber_sleep(IO_S);
    assert_true(chain_complete_rp(&s->g.chain) >= before + 5);
    write_no_more(s, writer);
    fixture_fill(s->f, 1, 1 * MIB, 1 * MIB, 1);
    (void)mark(s, "");
    assert_true(replay_equals(&s->replay, s->f, 0, 0));
    assert_true(replay_equals(&s->replay, s->f, 1, 1));
    down(s);
}

static void a_group_of_both_kinds_is_cut_at_its_interval(void **state)
{
    (void)state;
    with_scene(interval);
}

static void saboteur_fiber(void *arg)
{
    struct scene *s = arg;
    while (!s->stop) {
        struct capture *c = its(s);
        if (s->sabotage > 0 && capture_saves(c)) {
            s->sabotage--;
            (void)err_set(&c->broken, ERR_AGAIN, "volume records/data: outrun by the test");
            capture_break(c);
        }
        (void)fiber_yield();
    }
}

static void outrun(void *arg)
{
    struct scene *s = arg;
    struct fiber *saboteur;
    uint8_t p[4096] = {1};
    uint64_t rp;
    fixture_captured(s->f, "data", 8 * MIB);
    fixture_fill(s->f, 0, 0, 8 * MIB, 1);
    up(s);
    (void)mark(s, "");
    saboteur = fiber_spawn(fiber_io(), "saboteur", saboteur_fiber, s);
    s->sabotage = 2;
    assert_int_equal(capture_write(its(s), p, sizeof p, 4096, 0), 0);
    (void)mark(s, "after all");
    assert_int_equal(s->sabotage, 0);
    assert_string_equal(s->replay.last_label, "after all");
    assert_true(replay_equals(&s->replay, s->f, 0, 0));
    s->sabotage = 1000;
    assert_int_equal(capture_write(its(s), p, sizeof p, 8192, 0), 0);
    assert_int_equal(group_mark(&s->g, "never", &rp, &s->err), -ERR_AGAIN);
    assert_non_null(strstr(s->err.text, "outrun by the test"));
    s->sabotage = 0;
    (void)mark(s, "at last");
    assert_true(replay_equals(&s->replay, s->f, 0, 0));
    write_no_more(s, saboteur);
    down(s);
}

static void a_cut_that_was_outrun_is_made_after_catching_up(void **state)
{
    (void)state;
    with_scene(outrun);
}

static void thawed(void *arg)
{
    struct scene *s = arg;
    struct fiber *writer;
    /* The freeze holds; a captured volume needs it for an instant only. */
    fixture_text(s->f->group.freeze, sizeof s->f->group.freeze, "echo freeze >>%s/log", s->f->root);
    fixture_text(s->f->group.thaw, sizeof s->f->group.thaw, "echo thaw >>%s/log", s->f->root);
    s->f->group.freeze_max_ns = 1; /* a scan would be given up for this */
    fixture_captured(s->f, "data", 24 * MIB);
    fixture_fill(s->f, 0, 0, 24 * MIB, 1);
    up(s);
    writer = write_on(s);
    (void)mark(s, "frozen");
    write_no_more(s, writer);
    (void)mark(s, "again");
    assert_true(replay_equals(&s->replay, s->f, 0, 0));
    down(s);
}

static void a_freeze_lasts_for_the_instant_of_the_cut(void **state)
{
    (void)state;
    with_scene(thawed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_volume_in_use_is_seeded_and_then_cut),
        cmocka_unit_test(a_group_of_both_kinds_is_cut_at_its_interval),
        cmocka_unit_test(a_cut_that_was_outrun_is_made_after_catching_up),
        cmocka_unit_test(a_freeze_lasts_for_the_instant_of_the_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
