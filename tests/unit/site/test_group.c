/* group: captured volumes are cut by its fiber: seeded, at its interval, on a mark, and in the end
 * even when they were outrun. */
#include "capture_own.h"
#include "group.h"
#include "site_fixture.h"

#include <errno.h>
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
    const struct io_ops *real;
};

static struct scene *sabotaged;

static void up(struct scene *s)
{
    struct fixture *f = s->f;
    spool_init(&s->spool, f->spool_dir, f->config.spool_budget, f->config.spool_reserve);
    workshop_init(&s->shop, &s->spool, f->sign, f->config.compression, f->config.delta_max, 3);
    if (group_open(&s->g, &f->config, &f->group, &s->shop, f->hash, &s->err) < 0)
        fail_msg("%s", s->err.text);
    if (group_recover(&s->g, &s->err) < 0)
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

static void write_at(struct scene *s, uint64_t off, uint32_t len, uint8_t with)
{
    uint8_t *p = err_malloc(len);
    memset(p, with, len);
    assert_int_equal(capture_write(its(s), p, len, off, 0), 0);
    free(p);
}

static void by_bytes(void *arg)
{
    struct scene *s = arg;
    uint64_t rp, began;
    s->f->group.interval_ns = 3600 * IO_S;
    s->f->group.cut_bytes = 2 * MIB;
    fixture_captured(s->f, "data", 8 * MIB);
    up(s);
    rp = mark(s, "");
    for (unsigned i = 0; i < 100; i++) /* the same again is no more */
        write_at(s, 0, 1 * MIB, (uint8_t)(i + 1));
    (void)fiber_sleep(1200 * IO_MS);
    assert_int_equal(chain_complete_rp(&s->g.chain), rp);
    began = io_now(fiber_io());
    write_at(s, 4 * MIB, 1 * MIB, 1);
    while (chain_complete_rp(&s->g.chain) == rp)
        (void)fiber_sleep(10 * IO_MS);
    assert_true(io_now(fiber_io()) - began < 5 * IO_S);
    assert_true(replay_upto(&s->replay, s->f, rp + 1));
    assert_true(replay_equals(&s->replay, s->f, 0, 0));
    while (capture_dirty_bytes(its(s)) > 0) /* until the record says so, too */
        (void)fiber_sleep(IO_MS);
    down(s);
}

static void enough_that_was_written_starts_a_cut(void **state)
{
    (void)state;
    with_scene(by_bytes);
}

static void too_much_fiber(void *arg)
{
    struct scene *s = arg;
    for (unsigned i = 0; !s->stop; i++) {
        write_at(s, 0, 4 * MIB, (uint8_t)i);
        (void)fiber_sleep(5 * IO_MS);
    }
}

static void too_much(void *arg)
{
    struct scene *s = arg;
    struct fiber *writer;
    uint64_t rp;
    s->f->group.cut_bytes = 1 * MIB;
    fixture_captured(s->f, "data", 8 * MIB);
    up(s);
    rp = mark(s, "");
    s->stop = false;
    writer = fiber_spawn(fiber_io(), "writer", too_much_fiber, s);
    (void)fiber_sleep(3500 * IO_MS);
    write_no_more(s, writer);
    rp = chain_complete_rp(&s->g.chain) - rp;
    assert_in_range(rp, 2, 4); /* once a second, though it is always due */
    down(s);
}

static void cuts_for_what_was_written_are_a_second_apart(void **state)
{
    (void)state;
    with_scene(too_much);
}

static void at_a_rate(void *arg)
{
    struct scene *s = arg;
    Relais__GroupStatus status;
    struct fiber *writer;
    uint64_t began = io_now(fiber_io()), rp = 0, paced;
    s->f->config.compression = 0;
    s->f->config.delta_max = 8 * MIB;
    s->f->group.interval_ns = 3600 * IO_S;
    s->f->group.seed_rate = 16 * MIB;
    fixture_captured(s->f, "data", 40 * MIB);
    fixture_fill(s->f, 0, 0, 40 * MIB, 1);
    up(s);
    writer = write_on(s);
    (void)fiber_sleep(1500 * IO_MS);
    group_status(&s->g, 0, &status);
    assert_string_equal(status.state, "seeding");
    assert_in_range(status.scan_done, 8 * MIB,
                    36 * MIB); /* slots read one region beyond the rate */
    assert_in_range(status.pass_eta_ns, IO_S / 10, 10 * IO_S);
    assert_true(status.seed_rate == 16 * MIB && status.complete_rp == 0 && status.first_rp == 0);
    rp = mark(s, "first");
    paced = io_now(fiber_io()) - began;
    assert_in_range(paced, 1600 * IO_MS, 10 * IO_S); /* 40 MiB, less what is on its way at once */
    group_status(&s->g, 0, &status);
    assert_int_equal(status.first_rp, s->replay.complete_rps == 1 ? rp : status.first_rp);
    assert_true(status.first_rp > 1 && status.first_rp <= rp);
    began = io_now(fiber_io());
    (void)mark(s, "a cut is not held up");
    write_no_more(s, writer);
    assert_true(io_now(fiber_io()) - began < 2 * IO_S);
    down(s);
}

static void seeding_leaves_the_disk_to_those_who_use_it(void **state)
{
    (void)state;
    with_scene(at_a_rate);
}

static void scanned_at_a_rate(void *arg)
{
    struct scene *s = arg;
    uint64_t began;
    s->f->group.seed_rate = 16 * MIB;
    fixture_volume(s->f, "archive", 40 * MIB);
    fixture_fill(s->f, 0, 0, 32 * MIB, 1);
    up(s);
    began = io_now(fiber_io());
    (void)mark(s, "");
    assert_in_range(io_now(fiber_io()) - began, 1200 * IO_MS, 10 * IO_S);
    assert_true(replay_equals(&s->replay, s->f, 0, 0));
    s->g.pace.rate = 0;
    s->shop.pace.rate = 16 * MIB; /* the site's holds as well */
    began = io_now(fiber_io());
    (void)mark(s, "");
    assert_in_range(io_now(fiber_io()) - began, 1200 * IO_MS, 10 * IO_S);
    fixture_text(s->f->group.freeze, sizeof s->f->group.freeze, "true");
    fixture_text(s->f->group.thaw, sizeof s->f->group.thaw, "true");
    began = io_now(fiber_io());
    (void)mark(s, "somebody stands still");
    assert_true(io_now(fiber_io()) - began < IO_S);
    down(s);
}

static void a_scan_keeps_the_rate_unless_somebody_stands_still(void **state)
{
    (void)state;
    with_scene(scanned_at_a_rate);
}

static void failing_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    struct scene *s = sabotaged;
    s->real->sync(io, req, fd == its(s)->fd ? -1 : fd, data_only);
}

static void sync_fails(void *arg)
{
    struct scene *s = arg;
    struct io *io = fiber_io();
    struct io_ops ops = *io->ops;
    Relais__GroupStatus status;
    fixture_captured(s->f, "data", 8 * MIB);
    up(s);
    (void)mark(s, "");
    sabotaged = s;
    s->real = io->ops;
    ops.sync = failing_sync;
    io->ops = &ops;
    write_at(s, 0, 4096, 1);
    assert_int_equal(capture_flush(its(s)), -EBADF);
    io->ops = s->real;
    assert_int_equal(capture_flush(its(s)), -EIO); /* what was lost stays lost */
    group_status(&s->g, 0, &status);
    assert_string_equal(status.state, "disk-failed");
    assert_non_null(strstr(status.error, "restart relaisd"));
    down(s);
    up(s);
    group_status(&s->g, 0, &status);
    assert_string_not_equal(status.state, "disk-failed");
    assert_int_equal(capture_dirty_bytes(its(s)), REGION_SIZE); /* nothing of it counts as safe */
    down(s);
}

static void a_sync_that_failed_is_in_the_status_until_a_restart(void **state)
{
    (void)state;
    with_scene(sync_fails);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enough_that_was_written_starts_a_cut),
        cmocka_unit_test(cuts_for_what_was_written_are_a_second_apart),
        cmocka_unit_test(seeding_leaves_the_disk_to_those_who_use_it),
        cmocka_unit_test(a_scan_keeps_the_rate_unless_somebody_stands_still),
        cmocka_unit_test(a_sync_that_failed_is_in_the_status_until_a_restart),
        cmocka_unit_test(a_volume_in_use_is_seeded_and_then_cut),
        cmocka_unit_test(a_group_of_both_kinds_is_cut_at_its_interval),
        cmocka_unit_test(a_cut_that_was_outrun_is_made_after_catching_up),
        cmocka_unit_test(a_freeze_lasts_for_the_instant_of_the_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
