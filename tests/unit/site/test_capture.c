/* capture: what clients write is in the next RP and is known until then; no more than that. */
#include "capture_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define CAPACITY (96 * MIB)

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
    c = bench_capture(&b, 0);
    fixture_bytes(p, sizeof p, 1);
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
    fixture_with(round_trip);
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
    c = bench_capture(&b, 0);
    assert_int_equal(capture_dirty_bytes(c), 40 * MIB + 4096);
    bench_cut_ok(&b);
    assert_int_equal(capture_dirty_bytes(c), 0);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    assert_int_equal(r.file_bytes < 700 * KIB, 1); /* holes cost nothing */
    bench_cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_int_equal(r.last_extents, 0);

    fixture_bytes(p, sizeof p, 3);
    assert_int_equal(capture_write(c, p, 512, 9 * MIB + 512, 0), 0);       /* a sector */
    assert_int_equal(capture_write(c, p, 2 * MIB, 15 * MIB + 8192, 0), 0); /* 2 regions: 3 */
    assert_int_equal(capture_trim(c, 64 * KIB, 5 * MIB, 0), 0);            /* zero */
    assert_int_equal(capture_write(c, p, 512, 40 * MIB, 0), 0);            /* the tail */
    bench_cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_int_equal(r.last_extents, 6);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
}

static void an_rp_holds_what_was_written_and_nothing_else(void **state)
{
    (void)state;
    fixture_with(only_changes);
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
    bench_cut_ok(&b);
    bench_close(&b);
    fixture_punch(f, 0, 33 * MIB, 1 * MIB); /* behind our back, which a lost log covers up for */
    path_format(path, "%s/records/data.log", f->state_dir);
    assert_int_equal(unlink(path), 0);
    bench_open(&b, f);
    assert_int_equal(capture_dirty_bytes(bench_capture(&b, 0)), 64 * MIB);
    bench_cut_ok(&b);
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
    assert_int_equal(capture_dirty_bytes(bench_capture(&b, 0)), 64 * MIB);
    bench_cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
}

static void without_its_log_or_its_history_a_volume_is_seeded_anew(void **state)
{
    (void)state;
    fixture_with(reseed);
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
        bench_cut_ok(&b);
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
    fixture_with(other_lives);
}

static void enormous(void *arg)
{
    struct fixture *f = arg;
    static uint8_t p[8192];
    struct bench b;
    uint64_t began;
    fixture_captured(f, "data", 10 * TIB);
    fixture_bytes(p, sizeof p, 1);
    fixture_write(f, 0, 7 * TIB + 4096, p, sizeof p);
    bench_open(&b, f);
    began = io_now(fiber_io());
    bench_cut_ok(&b);
    assert_int_equal(b.result.plain_bytes, 8192);
    assert_int_equal(capture_hot_regions(bench_capture(&b, 0)), 0);
    bench_close(&b);
    bench_open(&b, f);
    assert_int_equal(capture_dirty_bytes(bench_capture(&b, 0)), 0);
    assert_int_equal(capture_write(bench_capture(&b, 0), p, 8192, 9 * TIB, 0), 0);
    bench_cut_ok(&b);
    assert_int_equal(b.result.plain_bytes, 8192);
    print_message("%.1f s\n", (double)(io_now(fiber_io()) - began) / 1e9);
    assert_true(io_now(fiber_io()) - began < 30 * IO_S);
    bench_close(&b);
}

static void an_enormous_sparse_volume_costs_what_is_in_it(void **state)
{
    (void)state;
    fixture_with(enormous);
}

/* -- Hot and cold -- */

static void heat_and_cool(void *arg)
{
    struct fixture *f = arg;
    static uint8_t p[4096];
    struct bench b;
    fixture_captured(f, "data", 40 * MIB);
    bench_open(&b, f);
    assert_int_equal(capture_hot_regions(bench_capture(&b, 0)), 10);
    bench_cool(&b, 0); /* nothing is sealed */
    assert_int_equal(capture_hot_regions(bench_capture(&b, 0)), 10);
    bench_cut_ok(&b);
    bench_cool(&b, 0);
    assert_int_equal(capture_hot_regions(bench_capture(&b, 0)), 0);
    bench_close(&b);
    bench_open(&b, f);
    assert_int_equal(capture_dirty_bytes(bench_capture(&b, 0)), 0);
    fixture_bytes(p, sizeof p, 1);
    assert_int_equal(capture_write(bench_capture(&b, 0), p, 4096, 4 * MIB - 512, 0), 0);
    assert_int_equal(capture_hot_regions(bench_capture(&b, 0)), 2);
    assert_int_equal(capture_dirty_bytes(bench_capture(&b, 0)), 8192);
    bench_cool(&b, 0);
    bench_cool(&b, 0); /* idle, but not in a delta */
    assert_int_equal(capture_hot_regions(bench_capture(&b, 0)), 2);
    bench_close(&b);
    bench_open(&b, f); /* after a crash: all of the hot regions */
    assert_int_equal(capture_dirty_bytes(bench_capture(&b, 0)), 8 * MIB);
    assert_int_equal(capture_write(bench_capture(&b, 0), p, 4096, 0, 0), 0);
    b.give_up = true;
    assert_true(bench_cut(&b, "") < 0); /* a cut that failed cleans nothing */
    b.give_up = false;
    assert_int_equal(capture_dirty_bytes(bench_capture(&b, 0)), 8 * MIB);
    bench_cut_ok(&b);
    assert_int_equal(capture_dirty_bytes(bench_capture(&b, 0)), 0);
    bench_cool(&b, 0); /* written to since the last time that anything cooled */
    bench_cool(&b, 0);
    assert_int_equal(capture_hot_regions(bench_capture(&b, 0)), 0);
    bench_close(&b);
    bench_open(&b, f);
    assert_int_equal(capture_dirty_bytes(bench_capture(&b, 0)), 0);
    bench_close(&b);
}

static void a_region_is_hot_from_before_its_write_until_a_delta_has_it(void **state)
{
    (void)state;
    fixture_with(heat_and_cool);
}

/* The order of what is submitted: the log's sync, then the backing write. */
static struct {
    const struct io_ops *real;
    struct io_ops ops;
    const struct capture *capture;
    unsigned syncs, writes;
    bool fail_sync, unsynced, cooling;
    bool fail_once; /* the next sync */
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
    disk.real->sync(io, req, disk.fail_sync || disk.fail_once ? -1 : fd, data_only);
    disk.fail_once = false;
}

static void ordered(void *arg)
{
    struct fixture *f = arg;
    static uint8_t p[4096];
    struct io *io = fiber_io();
    struct bench b;
    fixture_captured(f, "data", 8 * MIB);
    bench_open(&b, f);
    bench_cut_ok(&b);
    disk.real = io->ops;
    disk.ops = *io->ops;
    disk.ops.write = watch_write;
    disk.ops.sync = watch_sync;
    disk.capture = bench_capture(&b, 0);
    disk.fail_sync = true;
    io->ops = &disk.ops;
    assert_true(capture_write(bench_capture(&b, 0), p, 4096, 0, 0) < 0); /* no log, no write */
    assert_int_equal(disk.writes, 0);
    disk.fail_sync = false;
    disk.syncs = 0;
    assert_int_equal(capture_write(bench_capture(&b, 0), p, 4096, 0, 0), 0);
    assert_int_equal(disk.writes, 1);
    assert_int_equal(disk.syncs, 1);
    assert_int_equal(capture_write(bench_capture(&b, 0), p, 4096, 8192, 0), 0);
    assert_int_equal(disk.syncs, 1); /* hot: costs nothing */
    assert_int_equal(capture_write(bench_capture(&b, 0), p, 4096, 8192, CAPTURE_FUA), 0);
    assert_int_equal(disk.syncs, 2);
    assert_int_equal(capture_write(bench_capture(&b, 0), p, 4096, 5 * MIB, 0), 0);
    disk.unsynced = false; /* what the cut's own files do is not watched */
    io->ops = disk.real;
    bench_cut_ok(&b);
    io->ops = &disk.ops;
    disk.unsynced = disk.cooling = true;
    bench_cool(&b, 0);
    bench_cool(&b, 0);
    disk.cooling = false;
    assert_int_equal(capture_hot_regions(bench_capture(&b, 0)), 0);
    assert_int_equal(capture_write(bench_capture(&b, 0), p, 4096, 0, 0), 0);
    disk.fail_sync = true;
    assert_true(capture_flush(bench_capture(&b, 0)) < 0);
    disk.fail_sync = false;
    assert_int_equal(capture_flush(bench_capture(&b, 0)), -EIO); /* what was lost stays lost */
    bench_cool(&b, 0);
    assert_int_equal(capture_hot_regions(bench_capture(&b, 0)), 1);
    io->ops = disk.real;
    bench_close(&b);
}

static void the_log_is_durable_before_the_first_write_to_a_region(void **state)
{
    (void)state;
    fixture_with(ordered);
}

struct flusher {
    struct capture *capture;
    int res;
};

static void flush_fiber(void *arg)
{
    struct flusher *me = arg;
    me->res = capture_flush(me->capture);
}

static void failing_round(void *arg)
{
    struct flusher flushers[3];
    struct fiber *fibers[3];
    struct io *io = fiber_io();
    struct bench b;
    fixture_captured(arg, "data", 8 * MIB);
    bench_open(&b, arg);
    disk.real = io->ops;
    disk.ops = *io->ops;
    disk.ops.sync = watch_sync;
    disk.capture = bench_capture(&b, 0);
    disk.fail_once = true;
    io->ops = &disk.ops;
    for (unsigned i = 0; i < 3; i++) {
        flushers[i] = (struct flusher){bench_capture(&b, 0), 0};
        fibers[i] = fiber_spawn(io, "flush", flush_fiber, &flushers[i]);
    }
    for (unsigned i = 0; i < 3; i++)
        fiber_join(fibers[i]);
    io->ops = disk.real;
    bench_close(&b);
    for (unsigned i = 0; i < 3; i++)
        assert_true(flushers[i].res < 0);
}

/* Those who asked while it was under way would begin the next one, which succeeds. */
static void no_flush_succeeds_that_waited_for_a_sync_that_failed(void **state)
{
    (void)state;
    fixture_with(failing_round);
}

/* -- Old content in a file -- */

/* Takes all of the cut: each sector holds its number, xor `with`, as far as `end`. */
static void take_all(struct capture *c, uint64_t end, uint8_t with)
{
    struct capture_run_of_cut run;
    struct err e = ERR_INIT;
    uint8_t *plain = err_malloc(REGION_SIZE);
    uint64_t bits[REGION_SECTORS / 64], at = 0;
    while (capture_next(c, at, &run, &e) > 0) {
        assert_false(run.hole);
        assert_int_equal(capture_take(c, &run, IO_WORK_LOW, plain, bits, &e), 0);
        for (uint32_t i = 0; i < run.sectors && run.first + i < end; i++) {
            const uint8_t *p = plain + (size_t)i * SECTOR_SIZE;
            assert_int_equal(p[0], (uint8_t)((run.first + i) ^ with));
            assert_memory_equal(p, p + 1, SECTOR_SIZE - 1);
        }
        at = run.first + run.sectors;
        capture_sealed(c, run.first, run.sectors);
    }
    assert_null(capture_broken(c));
    assert_int_equal(at, end);
    free(plain);
}

static void write_numbers(struct capture *c, uint64_t first, uint64_t end, uint8_t with)
{
    uint8_t p[SECTOR_SIZE];
    for (uint64_t i = first; i < end; i++) {
        memset(p, (uint8_t)(i ^ with), sizeof p);
        assert_int_equal(capture_write(c, p, sizeof p, i << SECTOR_SHIFT, 0), 0);
    }
}

static void write_many(struct capture *c, uint64_t first, uint64_t end)
{
    uint8_t *p = err_calloc(64, SECTOR_SIZE);
    for (uint64_t i = first; i < end; i += 64)
        assert_int_equal(capture_write(c, p, 64 * SECTOR_SIZE, i << SECTOR_SHIFT, 0), 0);
    free(p);
}

static void spilled(void *arg)
{
    struct fixture *f = arg;
    const uint64_t sectors = 3 * REGION_SECTORS;
    struct capture *c;
    struct bench b;
    uint64_t used;
    fixture_captured(f, "data", sectors << SECTOR_SHIFT);
    bench_open(&b, f);
    c = bench_capture(&b, 0);
    used = b.spool.used;
    for (uint8_t round = 1; round < 4; round++) {
        saved_free(c->saved);
        c->saved = saved_new((uint64_t)(round - 1) * 100 * SECTOR_SIZE);
        write_numbers(c, 0, sectors, (uint8_t)(round + 100));
        capture_insist(c, true);
        capture_cut(c, true);
        assert_int_equal(capture_settle(c, &b.err), 0);
        write_numbers(c, 1000, sectors, (uint8_t)(round + 50)); /* upwards, one by one */
        for (uint64_t i = 0; i < 300; i += 2)                   /* and here and there */
            write_numbers(c, i, i + 1, (uint8_t)(round + 60));
        write_numbers(c, 500, 1500, round); /* what is kept is kept once */
        write_many(c, 0, sectors);          /* many at once, of which few are left */
        assert_true(b.spool.used > used);
        take_all(c, sectors, (uint8_t)(round + 100));
        capture_cut_end(c);
        capture_tidy(c);
        assert_int_equal(b.spool.used, used);
    }
    bench_close(&b);
}

static void old_content_that_memory_has_no_room_for_goes_to_a_file(void **state)
{
    (void)state;
    fixture_with(spilled);
}

static void no_room(void *arg)
{
    struct fixture *f = arg;
    const uint64_t sectors = 2 * REGION_SECTORS;
    struct capture *c;
    struct bench b;
    fixture_captured(f, "data", sectors << SECTOR_SHIFT);
    bench_open(&b, f);
    c = bench_capture(&b, 0);
    saved_free(c->saved);
    c->saved = saved_new(10 * SECTOR_SIZE);
    write_numbers(c, 0, sectors, 7);
    b.spool.budget = b.spool.used;
    capture_insist(c, true);
    capture_cut(c, true);
    assert_int_equal(capture_settle(c, &b.err), 0);
    write_numbers(c, 0, 10, 8);
    assert_null(capture_broken(c));
    write_many(c, 64, 128);
    assert_non_null(capture_broken(c));
    assert_non_null(strstr(capture_broken(c)->text, "spool's budget"));
    capture_cut_end(c);
    capture_tidy(c);
    bench_close(&b);
}

static void a_cut_that_the_spool_has_no_room_for_either_ends(void **state)
{
    (void)state;
    fixture_with(no_room);
}

/* -- A cut that is outrun -- */

static void outrun(void *arg)
{
    struct fixture *f = arg;
    const uint64_t size = SAVED_MAX + 8 * MIB;
    struct capture_run_of_cut run;
    struct capture *c;
    struct replay r;
    struct bench b;
    uint8_t *p = err_malloc(4 * MIB);
    fixture_bytes(p, 4 * MIB, 5);
    fixture_captured(f, "data", size);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    c = bench_capture(&b, 0);
    capture_cut(c, true);
    assert_int_equal(capture_settle(c, &b.err), 0);
    for (uint64_t off = 0; off < SAVED_MAX; off += 4 * MIB)
        assert_int_equal(capture_write(c, p, 4 * MIB, off, 0), 0);
    assert_null(capture_broken(c));
    assert_int_equal(capture_write(c, p, 4 * MIB, SAVED_MAX, 0), 0);
    assert_non_null(capture_broken(c));
    assert_int_equal(capture_write(c, p, 4 * MIB, SAVED_MAX + 4 * MIB, 0), 0);
    assert_int_equal(capture_next(c, 0, &run, &b.err), -ERR_AGAIN);
    assert_non_null(strstr(b.err.text, "records/data"));
    capture_cut_end(c);
    capture_tidy(c);
    assert_int_equal(capture_dirty_bytes(c), size);
    b.catching_up = true;
    bench_cut_ok(&b);
    b.catching_up = false;
    bench_cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
    free(p);
}

static void a_cut_that_is_outrun_ends_and_writes_go_on(void **state)
{
    (void)state;
    fixture_with(outrun);
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
        cmocka_unit_test(no_flush_succeeds_that_waited_for_a_sync_that_failed),
        cmocka_unit_test(old_content_that_memory_has_no_room_for_goes_to_a_file),
        cmocka_unit_test(a_cut_that_the_spool_has_no_room_for_either_ends),
        cmocka_unit_test(a_cut_that_is_outrun_ends_and_writes_go_on),
        cmocka_unit_test(a_million_scattered_sectors_take_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
