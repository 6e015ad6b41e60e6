/* capture: what clients write is in an RP as of one instant, and is not forgotten by any crash. */
#include "capture_own.h"
#include "lossy_disk.h"
#include "oracle.h"
#include "site_fixture.h"
#include "slow_disk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CAPACITY (96 * MIB)

static void with_fixture(void (*fn)(void *arg))
{
    struct fixture f;
    fixture_init(&f);
    fixture_run(fn, &f);
    fixture_done(&f);
}

static void cut_ok(struct bench *b)
{
    if (bench_cut(b, "") < 0)
        fail_msg("%s", b->err.text);
    assert_int_equal(b->result.end, b->catching_up ? CUT_SEALED : CUT_COMPLETE);
}

static struct capture *captured(struct bench *b, uint16_t number)
{
    assert_non_null(b->indexes.volumes[number].capture);
    return b->indexes.volumes[number].capture;
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(rand_r(&seed) >> 8 | 1);
}

/* -- One client -- */

static void round_trip(void *arg)
{
    struct fixture *f = arg;
    static uint8_t p[300000], q[300000];
    struct capture *c;
    struct bench b;
    struct io_run run;
    fixture_captured(f, "data", 9 * MIB + 1536);
    bench_open(&b, f);
    c = captured(&b, 0);
    fill(p, sizeof p, 1);
    assert_int_equal(capture_size(c), 9 * MIB + 1536);
    assert_int_equal(capture_write(c, p, 299520, 4 * MIB - 512, CAPTURE_FUA), 0);
    assert_int_equal(capture_write(c, p, 1024, 9 * MIB + 512, 0), 0);
    assert_int_equal(capture_zero(c, 512, 4 * MIB, 0), 0);
    memset(p + 512, 0, 512);
    assert_int_equal(capture_trim(c, 8192, 4 * MIB + 5120, 0), 0);
    memset(p + 5632, 0, 8192);
    assert_int_equal(capture_zero(c, 4096, 4 * MIB + 65536, CAPTURE_NO_HOLE), 0);
    memset(p + 66048, 0, 4096);
    assert_int_equal(capture_read(c, q, 299520, 4 * MIB - 512), 0);
    assert_memory_equal(p, q, 299520);
    assert_int_equal(capture_flush(c), 0);
    assert_int_equal(capture_run(c, 1 * MIB, &run), 0);
    assert_false(run.data);
    assert_int_equal(capture_run(c, 4 * MIB + 65536, &run), 0);
    assert_true(run.data);
    assert_int_equal(capture_zero(c, 4096, 0, CAPTURE_NO_HOLE | CAPTURE_FAST), -ENOTSUP);
    assert_int_equal(capture_write(c, p, 1024, 9 * MIB + 1024, 0), -ENOSPC);
    assert_int_equal(capture_trim(c, 1024, UINT64_MAX - 512, 0), -ENOSPC);
    assert_int_equal(capture_read(c, q, 1024, 9 * MIB + 1024), -EINVAL);
    bench_close(&b);
}

static void what_is_written_is_read_and_trimmed_is_zero(void **state)
{
    (void)state;
    with_fixture(round_trip);
}

static void only_changes(void *arg)
{
    struct fixture *f = arg;
    static uint8_t p[2 * MIB];
    struct capture *c;
    struct replay r;
    struct bench b;
    fixture_captured(f, "data", 40 * MIB + 512);
    fixture_fill(f, 0, 5 * MIB, 1 * MIB, 1);
    fixture_fill(f, 0, 40 * MIB, 512, 2);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    c = captured(&b, 0);
    assert_int_equal(capture_dirty_bytes(c), 40 * MIB + 4096);
    cut_ok(&b);
    assert_int_equal(capture_dirty_bytes(c), 0);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    assert_int_equal(r.file_bytes < 700 * KIB, 1); /* holes cost nothing */
    cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_int_equal(r.last_extents, 0);

    fill(p, sizeof p, 3);
    assert_int_equal(capture_write(c, p, 512, 9 * MIB + 512, 0), 0);       /* a sector */
    assert_int_equal(capture_write(c, p, 2 * MIB, 15 * MIB + 8192, 0), 0); /* 2 regions: 3 */
    assert_int_equal(capture_trim(c, 64 * KIB, 5 * MIB, 0), 0);            /* zero */
    assert_int_equal(capture_write(c, p, 512, 40 * MIB, 0), 0);            /* the tail */
    cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_int_equal(r.last_extents, 6);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
}

static void an_rp_holds_what_was_written_and_nothing_else(void **state)
{
    (void)state;
    with_fixture(only_changes);
}

static void reseed(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    char path[PATH_CAP];
    fixture_captured(f, "data", 64 * MIB);
    fixture_fill(f, 0, 1 * MIB, 3 * MIB, 1);
    fixture_fill(f, 0, 33 * MIB, 1 * MIB, 1);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    cut_ok(&b);
    bench_close(&b);
    fixture_punch(f, 0, 33 * MIB, 1 * MIB); /* behind our back, which a lost log covers up for */
    path_format(path, "%s/records/data.log", f->state_dir);
    assert_int_equal(unlink(path), 0);
    bench_open(&b, f);
    assert_int_equal(capture_dirty_bytes(captured(&b, 0)), 64 * MIB);
    cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    assert_in_range(r.zero_extents, 1, 6);
    bench_close(&b);

    /* History goes another way: the record that ties the log to it does not fit. */
    fixture_punch(f, 0, 2 * MIB, 1 * MIB);
    path_format(path, "%s/records/scanned", f->state_dir);
    assert_int_equal(unlink(path), 0);
    bench_open(&b, f);
    assert_true(b.indexes.seeding);
    assert_int_equal(capture_dirty_bytes(captured(&b, 0)), 64 * MIB);
    cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
}

static void without_its_log_or_its_history_a_volume_is_seeded_anew(void **state)
{
    (void)state;
    with_fixture(reseed);
}

static void other_lives(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    fixture_captured(f, "data", 16 * MIB);
    fixture_fill(f, 0, 1 * MIB, 3 * MIB, 1);
    replay_init(&r, CAPACITY);
    for (unsigned i = 0; i < 4; i++) {
        f->volumes[0].source = i % 2 ? CONFIG_SCAN : CONFIG_NBD;
        bench_open(&b, f);
        cut_ok(&b);
        bench_close(&b);
        replay_upto(&r, f, b.result.rp);
        assert_true(replay_equals(&r, f, 0, 0));
        fixture_fill(f, 0, (i + 5) * MIB, 8192, i); /* each kind must find it, coming back */
    }
    replay_done(&r);
}

static void a_volume_may_go_from_capture_to_scan_and_back(void **state)
{
    (void)state;
    with_fixture(other_lives);
}

static void enormous(void *arg)
{
    struct fixture *f = arg;
    static uint8_t p[8192];
    struct bench b;
    uint64_t began;
    fixture_captured(f, "data", 10 * TIB);
    fill(p, sizeof p, 1);
    fixture_write(f, 0, 7 * TIB + 4096, p, sizeof p);
    bench_open(&b, f);
    began = io_now(fiber_io());
    cut_ok(&b);
    assert_int_equal(b.result.plain_bytes, 8192);
    assert_int_equal(capture_hot_regions(captured(&b, 0)), 0);
    bench_close(&b);
    bench_open(&b, f);
    assert_int_equal(capture_dirty_bytes(captured(&b, 0)), 0);
    assert_int_equal(capture_write(captured(&b, 0), p, 8192, 9 * TIB, 0), 0);
    cut_ok(&b);
    assert_int_equal(b.result.plain_bytes, 8192);
    print_message("%.1f s\n", (double)(io_now(fiber_io()) - began) / 1e9);
    assert_true(io_now(fiber_io()) - began < 30 * IO_S);
    bench_close(&b);
}

static void an_enormous_sparse_volume_costs_what_is_in_it(void **state)
{
    (void)state;
    with_fixture(enormous);
}

/* -- Hot and cold -- */

static void cool(struct bench *b, uint16_t number)
{
    if (capture_cool(captured(b, number), true, &b->err) < 0)
        fail_msg("%s", b->err.text);
}

static void heat_and_cool(void *arg)
{
    struct fixture *f = arg;
    static uint8_t p[4096];
    struct bench b;
    fixture_captured(f, "data", 40 * MIB);
    bench_open(&b, f);
    assert_int_equal(capture_hot_regions(captured(&b, 0)), 10);
    cool(&b, 0); /* nothing is sealed */
    assert_int_equal(capture_hot_regions(captured(&b, 0)), 10);
    cut_ok(&b);
    cool(&b, 0);
    assert_int_equal(capture_hot_regions(captured(&b, 0)), 0);
    bench_close(&b);
    bench_open(&b, f);
    assert_int_equal(capture_dirty_bytes(captured(&b, 0)), 0);
    fill(p, sizeof p, 1);
    assert_int_equal(capture_write(captured(&b, 0), p, 4096, 4 * MIB - 512, 0), 0);
    assert_int_equal(capture_hot_regions(captured(&b, 0)), 2);
    assert_int_equal(capture_dirty_bytes(captured(&b, 0)), 8192);
    cool(&b, 0);
    cool(&b, 0); /* idle, but not in a delta */
    assert_int_equal(capture_hot_regions(captured(&b, 0)), 2);
    bench_close(&b);
    bench_open(&b, f); /* after a crash: all of the hot regions */
    assert_int_equal(capture_dirty_bytes(captured(&b, 0)), 8 * MIB);
    assert_int_equal(capture_write(captured(&b, 0), p, 4096, 0, 0), 0);
    b.give_up = true;
    assert_true(bench_cut(&b, "") < 0); /* a cut that failed cleans nothing */
    b.give_up = false;
    assert_int_equal(capture_dirty_bytes(captured(&b, 0)), 8 * MIB);
    cut_ok(&b);
    assert_int_equal(capture_dirty_bytes(captured(&b, 0)), 0);
    cool(&b, 0); /* written to since the last time that anything cooled */
    cool(&b, 0);
    assert_int_equal(capture_hot_regions(captured(&b, 0)), 0);
    bench_close(&b);
    bench_open(&b, f);
    assert_int_equal(capture_dirty_bytes(captured(&b, 0)), 0);
    bench_close(&b);
}

static void a_region_is_hot_from_before_its_write_until_a_delta_has_it(void **state)
{
    (void)state;
    with_fixture(heat_and_cool);
}

/* The order of what is submitted: the log's sync, then the backing write. */
static struct {
    const struct io_ops *real;
    struct io_ops ops;
    const struct capture *capture;
    unsigned syncs, writes;
    bool fail_sync, unsynced, cooling;
} disk;

static void watch_write(struct io *io, struct io_req *req, int fd, const void *buf, size_t len,
                        uint64_t off)
{
    if (fd == disk.capture->fd) {
        disk.writes++;
        disk.unsynced = true;
        assert_true(disk.syncs > 0);
        assert_true(actlog_is_hot(disk.capture->log, capture_region(off >> SECTOR_SHIFT), 1));
    } else if (disk.cooling) {
        assert_false(disk.unsynced); /* or a power cut could take it back, unseen */
    }
    disk.real->write(io, req, fd, buf, len, off);
}

static void watch_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    disk.syncs++;
    if (fd == disk.capture->fd)
        disk.unsynced = false;
    disk.real->sync(io, req, disk.fail_sync ? -1 : fd, data_only);
}

static void ordered(void *arg)
{
    struct fixture *f = arg;
    static uint8_t p[4096];
    struct io *io = fiber_io();
    struct bench b;
    fixture_captured(f, "data", 8 * MIB);
    bench_open(&b, f);
    cut_ok(&b);
    disk.real = io->ops;
    disk.ops = *io->ops;
    disk.ops.write = watch_write;
    disk.ops.sync = watch_sync;
    disk.capture = captured(&b, 0);
    disk.fail_sync = true;
    io->ops = &disk.ops;
    assert_true(capture_write(captured(&b, 0), p, 4096, 0, 0) < 0); /* no log, no write */
    assert_int_equal(disk.writes, 0);
    disk.fail_sync = false;
    disk.syncs = 0;
    assert_int_equal(capture_write(captured(&b, 0), p, 4096, 0, 0), 0);
    assert_int_equal(disk.writes, 1);
    assert_int_equal(disk.syncs, 1);
    assert_int_equal(capture_write(captured(&b, 0), p, 4096, 8192, 0), 0);
    assert_int_equal(disk.syncs, 1); /* hot: costs nothing */
    assert_int_equal(capture_write(captured(&b, 0), p, 4096, 8192, CAPTURE_FUA), 0);
    assert_int_equal(disk.syncs, 2);
    assert_int_equal(capture_write(captured(&b, 0), p, 4096, 5 * MIB, 0), 0);
    disk.unsynced = false; /* what the cut's own files do is not watched */
    io->ops = disk.real;
    cut_ok(&b);
    io->ops = &disk.ops;
    disk.unsynced = disk.cooling = true;
    cool(&b, 0);
    cool(&b, 0);
    disk.cooling = false;
    assert_int_equal(capture_hot_regions(captured(&b, 0)), 0);
    assert_int_equal(capture_write(captured(&b, 0), p, 4096, 0, 0), 0);
    disk.fail_sync = true;
    assert_true(capture_flush(captured(&b, 0)) < 0);
    disk.fail_sync = false;
    assert_int_equal(capture_flush(captured(&b, 0)), -EIO); /* what was lost stays lost */
    cool(&b, 0);
    assert_int_equal(capture_hot_regions(captured(&b, 0)), 1);
    io->ops = disk.real;
    bench_close(&b);
}

static void the_log_is_durable_before_the_first_write_to_a_region(void **state)
{
    (void)state;
    with_fixture(ordered);
}

/* -- Between two waits -- */

/* One captured volume behind a disk that reports reads when it is told to. */
struct still {
    struct bench b;
    struct slow_disk disk;
    struct capture *c;
    uint8_t p[4096], q[4096];
    struct capture_run_of_cut run;
    uint64_t bits[REGION_SECTORS / 64];
    uint8_t *plain;
    int res;
};

static bool is_its(void *arg, int fd)
{
    const struct still *s = arg;
    return s->c && s->c->fd == fd;
}

static void still_begin(struct still *s, struct fixture *f)
{
    *s = (struct still){.plain = err_malloc(REGION_SIZE)};
    fixture_captured(f, "data", 24 * MIB);
    fixture_fill(f, 0, 8 * MIB, 4 * MIB, 1);
    bench_open(&s->b, f);
    s->c = captured(&s->b, 0);
    s->disk.is_short = is_its;
    s->disk.arg = s;
    cut_ok(&s->b);
    fill(s->p, sizeof s->p, 1);
    fill(s->q, sizeof s->q, 2);
    slow_disk_begin(&s->disk, fiber_io());
}

static void still_end(struct still *s)
{
    slow_disk_end(&s->disk);
    bench_close(&s->b);
    free(s->plain);
}

static void still_cut(struct still *s)
{
    capture_cut(s->c, true);
    assert_int_equal(capture_settle(s->c, &s->b.err), 0);
}

/* What the cut under way says of a sector. */
static void expect_sector(struct still *s, uint32_t sector, const uint8_t *want)
{
    assert_int_equal(capture_next(s->c, sector, &s->run, &s->b.err), 1);
    assert_false(s->run.hole);
    assert_true(s->run.first <= sector && sector < s->run.first + s->run.sectors);
    assert_int_equal(capture_take(s->c, &s->run, s->plain, s->bits, &s->b.err), 0);
    sector -= (uint32_t)s->run.first;
    assert_true(s->bits[sector / 64] >> (sector % 64) & 1);
    assert_memory_equal(s->plain + (size_t)sector * SECTOR_SIZE, want, SECTOR_SIZE);
}

static void wait_held(struct still *s, unsigned n)
{
    while (slow_disk_held(&s->disk) < n)
        (void)fiber_yield();
}

static void write_q_fiber(void *arg)
{
    struct still *s = arg;
    s->res = capture_write(s->c, s->q, 4096, 8192, 0);
}

static void stale_copy(void *arg)
{
    struct still s;
    struct fiber *late;
    uint8_t newer[4096];
    still_begin(&s, arg);
    fill(newer, sizeof newer, 3);
    assert_int_equal(capture_write(s.c, s.p, 4096, 8192, 0), 0);
    still_cut(&s);
    s.disk.hold_reads = true;
    late = fiber_spawn(fiber_io(), "late", write_q_fiber, &s); /* reads s.p, to save it */
    wait_held(&s, 1);
    capture_cut_end(s.c);
    assert_int_equal(capture_write(s.c, newer, 4096, 8192, 0), 0);
    still_cut(&s);
    slow_disk_release(&s.disk);
    fiber_join(late);
    assert_int_equal(s.res, 0);
    expect_sector(&s, 2, newer); /* neither what was read for the cut before, nor s.q */
    capture_cut_end(s.c);
    still_end(&s);
}

static void a_copy_read_for_one_cut_is_not_kept_for_the_next(void **state)
{
    (void)state;
    with_fixture(stale_copy);
}

static void take_fiber(void *arg)
{
    struct still *s = arg;
    s->res = capture_take(s->c, &s->run, s->plain, s->bits, &s->b.err);
}

static void raced(void *arg)
{
    struct still s;
    struct fiber *sealer;
    still_begin(&s, arg);
    assert_int_equal(capture_write(s.c, s.p, 4096, 8192, 0), 0);
    assert_int_equal(capture_write(s.c, s.p, 4096, 16384, 0), 0);
    still_cut(&s);
    assert_int_equal(capture_next(s.c, 0, &s.run, &s.b.err), 1);
    assert_int_equal(capture_write(s.c, s.q, 4096, 8192, 0), 0); /* before the sealer reads */
    s.disk.hold_reads = true;
    sealer = fiber_spawn(fiber_io(), "sealer", take_fiber, &s);
    wait_held(&s, 1);
    s.disk.hold_reads = false;
    assert_int_equal(capture_write(s.c, s.q, 4096, 16384, 0), 0); /* and before it takes */
    slow_disk_release(&s.disk);
    fiber_join(sealer);
    assert_int_equal(s.res, 0);
    assert_memory_equal(s.plain + 8192, s.p, 4096);
    assert_memory_equal(s.plain + 16384, s.p, 4096);
    assert_int_equal(s.bits[0], 1u << 2 | 1u << 4);
    assert_int_equal(s.c->saves, 2);
    assert_int_equal(capture_write(s.c, s.p, 4096, 8192, 0), 0); /* taken: nothing to save */
    assert_int_equal(s.c->saves, 2);
    capture_cut_end(s.c);
    assert_int_equal(capture_dirty_bytes(s.c), 2 * 4096);

    /* Taken is not sealed: the region stays hot. */
    still_cut(&s);
    expect_sector(&s, 2, s.p);
    assert_int_equal(capture_dirty_bytes(s.c), 2 * 4096);
    cool(&s.b, 0);
    cool(&s.b, 0);
    assert_int_equal(capture_hot_regions(s.c), 1);
    capture_sealed(s.c, 2, 1);
    capture_sealed(s.c, 4, 1);
    cool(&s.b, 0);
    assert_int_equal(capture_hot_regions(s.c), 0);
    capture_cut_end(s.c);
    assert_int_equal(capture_dirty_bytes(s.c), 0);
    still_end(&s);
}

static void what_is_written_while_it_is_read_for_the_cut_is_not_in_it(void **state)
{
    (void)state;
    with_fixture(raced);
}

static void cool_fiber(void *arg)
{
    struct still *s = arg;
    s->res = capture_cool(s->c, true, &s->b.err);
}

static void warmed(void *arg)
{
    struct still s;
    struct fiber *cooler;
    still_begin(&s, arg);
    assert_int_equal(capture_write(s.c, s.p, 4096, 8192, 0), 0);
    assert_int_equal(capture_write(s.c, s.p, 4096, 4 * MIB, 0), 0);
    cut_ok(&s.b);
    cool(&s.b, 0);
    assert_int_equal(capture_hot_regions(s.c), 2);
    s.disk.hold_syncs = true;
    cooler = fiber_spawn(fiber_io(), "cooler", cool_fiber, &s);
    wait_held(&s, 1);
    assert_int_equal(capture_write(s.c, s.p, 4096, 8192, 0), 0);
    slow_disk_release(&s.disk);
    fiber_join(cooler);
    assert_int_equal(s.res, 0);
    assert_int_equal(capture_hot_regions(s.c), 1);
    assert_true(actlog_is_hot(s.c->log, 0, 1));
    still_end(&s);
}

static void what_is_written_while_regions_cool_stays_hot(void **state)
{
    (void)state;
    with_fixture(warmed);
}

static void trimmed(void *arg)
{
    struct still s;
    uint8_t *was = err_malloc(4 * MIB);
    still_begin(&s, arg);
    fill(was, 4 * MIB, 7);
    assert_int_equal(capture_write(s.c, was, 4 * MIB, 8 * MIB, 0), 0);
    assert_int_equal(capture_trim(s.c, 8 * MIB, 16 * MIB, 0), 0);
    still_cut(&s);
    assert_int_equal(capture_trim(s.c, 4 * MIB, 8 * MIB, 0), 0); /* now it is a hole, then not */
    expect_sector(&s, 2048, was);
    assert_memory_equal(s.plain, was, 4 * MIB);
    assert_int_equal(capture_next(s.c, 3072, &s.run, &s.b.err), 1);
    assert_true(s.run.hole);
    assert_int_equal(s.run.first, 4096);
    assert_int_equal(s.run.sectors, 2048);
    assert_int_equal(capture_next(s.c, 6144, &s.run, &s.b.err), 0);
    capture_cut_end(s.c);
    still_end(&s);
    free(was);
}

static void what_is_trimmed_after_the_cut_is_in_it(void **state)
{
    (void)state;
    with_fixture(trimmed);
}

static void cut_fiber(void *arg)
{
    struct still *s = arg;
    s->res = bench_cut(&s->b, "");
}

static void broken_late(void *arg)
{
    struct still s;
    struct fiber *cut;
    still_begin(&s, arg);
    assert_int_equal(capture_write(s.c, s.p, 4096, 8192, 0), 0);
    s.disk.hold_reads = true;
    cut = fiber_spawn(fiber_io(), "cut", cut_fiber, &s);
    wait_held(&s, 1); /* the only region is handed out, and not taken yet */
    (void)err_set(&s.c->broken, ERR_AGAIN, "volume records/data: broken by the test");
    capture_break(s.c);
    slow_disk_release(&s.disk);
    fiber_join(cut);
    assert_int_equal(s.res, -ERR_AGAIN);
    assert_true(s.b.result.overrun);
    assert_int_equal(s.b.result.end, CUT_SEALED);
    cut_ok(&s.b);
    still_end(&s);
}

static void a_cut_that_breaks_at_its_very_end_is_not_complete(void **state)
{
    (void)state;
    with_fixture(broken_late);
}

/* -- A cut that is outrun -- */

static void outrun(void *arg)
{
    struct fixture *f = arg;
    const uint64_t size = SAVED_MAX + 8 * MIB;
    struct capture_run_of_cut run;
    struct capture *c;
    uint64_t started;
    struct replay r;
    struct bench b;
    uint8_t *p = err_malloc(4 * MIB);
    fill(p, 4 * MIB, 5);
    fixture_captured(f, "data", size);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    c = captured(&b, 0);
    capture_cut(c, true);
    assert_int_equal(capture_settle(c, &b.err), 0);
    for (uint64_t off = 0; off < SAVED_MAX; off += 4 * MIB)
        assert_int_equal(capture_write(c, p, 4 * MIB, off, 0), 0);
    assert_null(capture_broken(c));
    started = io_now(fiber_io());
    assert_int_equal(capture_write(c, p, 4 * MIB, SAVED_MAX, 0), 0); /* late, not never */
    assert_in_range(io_now(fiber_io()) - started, CAPTURE_PATIENCE, 3 * CAPTURE_PATIENCE);
    assert_non_null(capture_broken(c));
    started = io_now(fiber_io());
    assert_int_equal(capture_write(c, p, 4 * MIB, SAVED_MAX + 4 * MIB, 0), 0);
    assert_true(io_now(fiber_io()) - started < CAPTURE_PATIENCE);
    assert_int_equal(capture_next(c, 0, &run, &b.err), -ERR_AGAIN);
    assert_non_null(strstr(b.err.text, "records/data"));
    capture_cut_end(c);
    assert_int_equal(capture_dirty_bytes(c), size);
    b.catching_up = true;
    cut_ok(&b);
    b.catching_up = false;
    cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
    free(p);
}

static void a_cut_that_is_outrun_ends_and_writes_go_on(void **state)
{
    (void)state;
    with_fixture(outrun);
}

/* -- Many clients, cuts and crashes -- */

#define CLIENTS 12
#define VOLUMES 2
#define OP_MAX  (512 * KIB)
#define ROUNDS  6
#define CUTS    5
#define NO_SCAN 2 /* number of the scanned volume: "old" sorts after "data", "logs" */

struct storm {
    struct fixture *f;
    struct bench b;
    struct oracle oracle;
    struct replay replay;
    struct slow_disk disk;
    uint64_t saves;
    unsigned complete, failed;
};

struct client {
    struct storm *s;
    unsigned seed;
};

static uint32_t pick_len(unsigned *seed, uint64_t most)
{
    unsigned kind = (unsigned)rand_r(seed) % 16;
    uint64_t len = kind < 8    ? 4096 * (1 + (uint64_t)rand_r(seed) % 4)
                   : kind < 15 ? 512 * (1 + (uint64_t)rand_r(seed) % 20)
                               : 512 * (1 + (uint64_t)rand_r(seed) % (OP_MAX / 512));
    return (uint32_t)(len < most ? len : most);
}

static int act(struct storm *s, unsigned *seed, uint8_t *buf)
{
    unsigned volume = (unsigned)rand_r(seed) % VOLUMES, kind = (unsigned)rand_r(seed) % 20;
    struct capture *c = captured(&s->b, (uint16_t)volume);
    uint64_t off = (uint64_t)rand_r(seed) % (capture_size(c) / 512) * 512;
    uint32_t len;
    size_t op;
    int res;
    if (rand_r(seed) % 4 == 0)
        off %= 128 * KIB; /* where they meet */
    if (rand_r(seed) % 2)
        off = off / 4096 * 4096;
    len = pick_len(seed, capture_size(c) - off);
    if (kind == 0)
        return capture_flush(c);
    op = oracle_issue(&s->oracle, volume, off, len, kind < 4 ? NULL : buf);
    if (kind == 1)
        res = capture_trim(c, len, off, 0);
    else if (kind < 4)
        res = capture_zero(c, len, off, kind == 2 ? CAPTURE_NO_HOLE : 0);
    else
        res = capture_write(c, buf, len, off, kind == 4 ? CAPTURE_FUA : 0);
    if (res == 0)
        oracle_ack(&s->oracle, op);
    return res;
}

static void client_fiber(void *arg)
{
    struct client *me = arg;
    uint8_t *buf = err_malloc(OP_MAX);
    for (;;) {
        int res = act(me->s, &me->seed, buf);
        if (res == -ECANCELED)
            break;
        if (res < 0)
            fail_msg("%s", strerror(-res));
        if (rand_r(&me->seed) % 8 == 0 && fiber_sleep((uint64_t)rand_r(&me->seed) % IO_MS) < 0)
            break;
    }
    free(buf);
}

static void check_storm(struct storm *s, uint64_t from)
{
    uint8_t *images[VOLUMES];
    uint64_t sizes[VOLUMES];
    uint64_t to = oracle_now(&s->oracle);
    assert_true(replay_upto(&s->replay, s->f, s->b.result.rp));
    for (unsigned i = 0; i < VOLUMES; i++) {
        images[i] = s->replay.images[i].bytes;
        sizes[i] = s->replay.images[i].size;
    }
    oracle_check(&s->oracle, images, sizes, VOLUMES, from, to);
    assert_true(replay_equals(&s->replay, s->f, NO_SCAN, NO_SCAN));
}

struct quitter {
    struct storm *s;
    uint64_t after;
};

static void quitter_fiber(void *arg)
{
    const struct quitter *q = arg;
    (void)fiber_sleep(q->after);
    q->s->b.give_up = true;
}

/* A cut that is given up in the middle, most times: all that was in it is in the next. */
static void quit_cut(struct storm *s, unsigned *seed)
{
    struct quitter q = {s, (uint64_t)rand_r(seed) % (10 * IO_MS)};
    struct fiber *fiber = fiber_spawn(fiber_io(), "quitter", quitter_fiber, &q);
    s->failed += bench_cut(&s->b, "") < 0;
    fiber_join(fiber);
    s->b.give_up = false;
}

static void one_cut(struct storm *s, unsigned *seed)
{
    unsigned kind = (unsigned)rand_r(seed) % 6;
    uint64_t from;
    if (kind % 2)
        (void)fiber_sleep((uint64_t)rand_r(seed) % (20 * IO_MS));
    if (kind == 0) {
        s->b.catching_up = true;
        cut_ok(&s->b);
        s->b.catching_up = false;
    } else if (kind < 3) {
        quit_cut(s, seed);
    }
    fixture_fill(s->f, NO_SCAN, (uint64_t)rand_r(seed) % (3 * MIB), 5000, *seed);
    from = oracle_now(&s->oracle);
    cut_ok(&s->b);
    s->complete++;
    check_storm(s, from);
}

static void failing_cut(void *arg)
{
    struct storm *s = arg;
    (void)bench_cut(&s->b, "");
}

/* The daemon dies in the middle of everything: requests in flight get no answer, a cut is half
 * done. What memory knew is gone. */
static void crash(struct storm *s, struct fiber *clients[CLIENTS], unsigned *seed)
{
    struct fiber *cut = fiber_spawn(fiber_io(), "cut", failing_cut, s);
    (void)fiber_sleep((uint64_t)rand_r(seed) % (8 * IO_MS));
    fiber_cancel(cut);
    for (unsigned i = 0; i < CLIENTS; i++)
        fiber_cancel(clients[i]);
    fiber_join(cut);
    for (unsigned i = 0; i < CLIENTS; i++)
        fiber_join(clients[i]);
    for (uint16_t i = 0; i < VOLUMES; i++)
        s->saves += captured(&s->b, i)->saves;
    if (rand_r(seed) % 2) {
        cool(&s->b, 0);
        cool(&s->b, 0);
    }
    bench_close(&s->b);
    bench_open(&s->b, s->f);
}

static bool is_captured(void *arg, int fd)
{
    struct storm *s = arg;
    for (uint16_t i = 0; i < VOLUMES; i++) {
        const struct capture *c =
            s->b.indexes.count > VOLUMES ? s->b.indexes.volumes[i].capture : NULL;
        if (c && c->fd == fd)
            return true;
    }
    return false;
}

static void storm(void *arg)
{
    struct fixture *f = arg;
    struct storm s = {.f = f, .disk = {.usual_ns = IO_MS, .rare_ns = 20 * IO_MS}};
    struct client clients[CLIENTS];
    struct fiber *fibers[CLIENTS];
    const char *env = getenv("RELAIS_SEED");
    unsigned seed = env ? (unsigned)strtoul(env, NULL, 10) : (unsigned)time(NULL);
    print_message("RELAIS_SEED=%u\n", seed);
    fixture_captured(f, "data", 10 * MIB + 1536);
    fixture_captured(f, "logs", 5 * MIB);
    fixture_volume(f, "old", 4 * MIB);
    replay_init(&s.replay, CAPACITY);
    s.disk.seed = seed;
    s.disk.is_short = is_captured;
    s.disk.arg = &s;
    slow_disk_begin(&s.disk, fiber_io());
    bench_open(&s.b, f);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            clients[i] = (struct client){&s, (unsigned)rand_r(&seed)};
            fibers[i] = fiber_spawn(fiber_io(), "client", client_fiber, &clients[i]);
        }
        for (unsigned i = 0; i < CUTS; i++)
            one_cut(&s, &seed);
        crash(&s, fibers, &seed);
    }
    cut_ok(&s.b);
    check_storm(&s, oracle_now(&s.oracle));
    for (unsigned i = 0; i < VOLUMES; i++)
        assert_true(replay_equals(&s.replay, f, i, i));
    assert_true(s.saves > 0); /* else nothing of the copies was tested */
    assert_int_equal(s.disk.overlaps, 0);
    print_message(
        "%zu operations, %llu RPs, %u of them complete, %u given up, %llu sectors saved\n",
        s.oracle.count, (unsigned long long)s.replay.rps, s.complete, s.failed,
        (unsigned long long)s.saves);
    bench_close(&s.b);
    slow_disk_end(&s.disk);
    replay_done(&s.replay);
    oracle_free(&s.oracle);
}

static void every_rp_is_a_cut_of_what_clients_were_told(void **state)
{
    (void)state;
    with_fixture(storm);
}

/* -- Power cuts -- */

#define OUTAGES 25

struct outage {
    struct bench b;
    struct lossy_disk disk;
    bool stop;
    uint64_t window; /* where clients write, so that there are cold regions elsewhere */
    bool open;
    unsigned cold;
};

static bool is_lossy(void *arg, int fd)
{
    const struct outage *o = arg;
    const struct capture *c = o->open ? o->b.indexes.volumes[0].capture : NULL;
    return c && (fd == c->fd || fd == actlog_fd(c->log));
}

static void outage_client(void *arg)
{
    struct outage *o = arg;
    unsigned seed = (unsigned)o->disk.writes + 1;
    uint8_t p[16384];
    while (!o->stop) {
        struct capture *c = captured(&o->b, 0);
        uint32_t len = 512 * (1 + (uint32_t)rand_r(&seed) % 32);
        uint64_t off = o->window + (uint64_t)rand_r(&seed) % (6 * MIB / 512) * 512;
        unsigned kind = (unsigned)rand_r(&seed) % 32;
        int res;
        fill(p, len, (unsigned)rand_r(&seed));
        if (kind == 0)
            res = capture_flush(c);
        else if (kind < 4)
            res = capture_trim(c, len, off, 0);
        else
            res = capture_write(c, p, len, off, 0);
        if (res == -ECANCELED || fiber_sleep(200 * 1000) < 0)
            break;
        assert_int_equal(res, 0);
    }
}

static void outage_round(struct outage *o, unsigned *seed)
{
    struct fiber *clients[4];
    unsigned cuts = 1 + (unsigned)rand_r(seed) % 3;
    o->stop = false;
    o->window = (uint64_t)rand_r(seed) % 32 * MIB;
    for (unsigned i = 0; i < 4; i++)
        clients[i] = fiber_spawn(fiber_io(), "client", outage_client, o);
    for (unsigned i = 0; i < cuts; i++) {
        (void)fiber_sleep((uint64_t)rand_r(seed) % (10 * IO_MS));
        cut_ok(&o->b);
        cool(&o->b, 0);
    }
    if (rand_r(seed) % 2) { /* most regions go cold before the lights go out */
        o->stop = true;
        for (unsigned i = 0; i < 4; i++)
            fiber_join(clients[i]);
        cut_ok(&o->b);
        cool(&o->b, 0);
        cool(&o->b, 0);
        o->cold += capture_hot_regions(captured(&o->b, 0)) == 0;
    } else {
        for (unsigned i = 0; i < 4; i++)
            fiber_cancel(clients[i]);
        for (unsigned i = 0; i < 4; i++)
            fiber_join(clients[i]);
    }
}

/* After it, the next RP is what the volume holds: what the power cut took back of the volume was in
 * hot regions. */
static void outages(void *arg)
{
    struct fixture *f = arg;
    struct outage o = {.stop = false};
    struct replay r;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    fixture_captured(f, "data", 40 * MIB);
    fixture_fill(f, 0, 0, 20 * MIB, 1);
    replay_init(&r, CAPACITY);
    o.disk.seed = seed;
    o.disk.is_lossy = is_lossy;
    o.disk.arg = &o;
    lossy_disk_begin(&o.disk, fiber_io());
    bench_open(&o.b, f);
    o.open = true;
    for (unsigned round = 0; round < OUTAGES; round++) {
        outage_round(&o, &seed);
        lossy_disk_cut_power(&o.disk);
        o.open = false;
        bench_close(&o.b);
        bench_open(&o.b, f);
        o.open = true;
        cut_ok(&o.b);
        replay_upto(&r, f, o.b.result.rp);
        if (!replay_equals(&r, f, 0, 0))
            fail_msg("round %u: RP %llu is not what the volume holds", round,
                     (unsigned long long)o.b.result.rp);
    }
    print_message("%llu of the grains written were lost, %u times all was cold\n",
                  (unsigned long long)o.disk.lost, o.cold);
    assert_true(o.disk.lost > 0 && o.cold > 0);
    bench_close(&o.b);
    lossy_disk_end(&o.disk);
    replay_done(&r);
}

static void what_a_power_cut_takes_back_is_known_as_changed(void **state)
{
    (void)state;
    with_fixture(outages);
}

/* -- Bounds -- */

static void a_million_scattered_sectors_take_little_memory(void **state)
{
    struct dirty *d = dirty_new();
    uint64_t x = 1;
    (void)state;
    for (unsigned i = 0; i < 1000000; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        dirty_add_range(d, (x >> 33) % (10 * TIB / SECTOR_SIZE),
                        (x >> 33) % (10 * TIB / SECTOR_SIZE) + 1);
    }
    assert_true(dirty_bytes(d) > UINT64_C(990000) * SECTOR_SIZE);
    assert_true(dirty_memory(d) < 8 * MIB);
    dirty_clear(d);
    dirty_add_range(d, 0, VOLUME_MAX / SECTOR_SIZE);
    assert_int_equal(dirty_bytes(d), VOLUME_MAX);
    assert_true(dirty_full(d, 0, VOLUME_MAX / SECTOR_SIZE));
    assert_true(dirty_memory(d) < 4 * MIB);
    dirty_remove(d, UINT32_MAX, 1);
    assert_false(dirty_full(d, 0, VOLUME_MAX / SECTOR_SIZE));
    dirty_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_and_trimmed_is_zero),
        cmocka_unit_test(an_rp_holds_what_was_written_and_nothing_else),
        cmocka_unit_test(without_its_log_or_its_history_a_volume_is_seeded_anew),
        cmocka_unit_test(a_volume_may_go_from_capture_to_scan_and_back),
        cmocka_unit_test(an_enormous_sparse_volume_costs_what_is_in_it),
        cmocka_unit_test(a_region_is_hot_from_before_its_write_until_a_delta_has_it),
        cmocka_unit_test(the_log_is_durable_before_the_first_write_to_a_region),
        cmocka_unit_test(a_copy_read_for_one_cut_is_not_kept_for_the_next),
        cmocka_unit_test(what_is_written_while_it_is_read_for_the_cut_is_not_in_it),
        cmocka_unit_test(what_is_written_while_regions_cool_stays_hot),
        cmocka_unit_test(what_is_trimmed_after_the_cut_is_in_it),
        cmocka_unit_test(a_cut_that_breaks_at_its_very_end_is_not_complete),
        cmocka_unit_test(a_cut_that_is_outrun_ends_and_writes_go_on),
        cmocka_unit_test(every_rp_is_a_cut_of_what_clients_were_told),
        cmocka_unit_test(what_a_power_cut_takes_back_is_known_as_changed),
        cmocka_unit_test(a_million_scattered_sectors_take_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
