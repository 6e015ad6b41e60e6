/* mend: after a sync that failed, the next start writes again what was not synced, before any flush
 * succeeds. */
#include "capture_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PLACE (5 * MIB + 8192)

static struct {
    const struct io_ops *real;
    struct io_ops ops;
    int fail_fd; /* its syncs fail; -1: none */
    bool fail_writes;
    uint8_t lost[4096];
    unsigned again;     /* how often what was lost was written */
    unsigned elsewhere; /* writes to the volume's cold regions */
    unsigned synced;    /* syncs since it was written last */
} disk;

static void watch_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    disk.synced++;
    disk.real->sync(io, req, fd == disk.fail_fd ? -1 : fd, data_only);
}

static void watch_write(struct io *io, struct io_req *req, int fd, const void *buf, size_t len,
                        uint64_t off)
{
    const uint8_t *p = buf;
    if (off <= PLACE && off + len >= PLACE + sizeof disk.lost) {
        disk.again += memcmp(p + (PLACE - off), disk.lost, sizeof disk.lost) == 0;
        disk.synced = 0;
        if (disk.fail_writes)
            fd = -1;
    }
    disk.elsewhere += off >= 12 * MIB;
    disk.real->write(io, req, fd, buf, len, off);
}

static void watch(struct io *io)
{
    memset(&disk, 0, sizeof disk);
    disk.real = io->ops;
    disk.ops = *io->ops;
    disk.ops.sync = watch_sync;
    disk.ops.write = watch_write;
    disk.fail_fd = -1;
    fixture_bytes(disk.lost, sizeof disk.lost, 7);
    io->ops = &disk.ops;
}

/* A volume of which 4 KiB were written, and the sync after it failed. The daemon ends. */
static void lose(struct fixture *f)
{
    struct bench b;
    struct capture *c;
    fixture_captured(f, "data", 16 * MIB);
    fixture_fill(f, 0, 12 * MIB, 4 * MIB, 3);
    bench_open(&b, f);
    bench_cut_ok(&b);
    bench_cool(&b, 0);
    bench_cool(&b, 0);
    watch(fiber_io());
    c = bench_capture(&b, 0);
    assert_int_equal(capture_hot_regions(c), 0);
    assert_int_equal(capture_write(c, disk.lost, sizeof disk.lost, PLACE, 0), 0);
    disk.fail_fd = c->fd;
    assert_true(capture_flush(c) < 0);
    disk.fail_fd = -1;
    assert_int_equal(capture_flush(c), -EIO);
    bench_close(&b);
    disk.again = disk.elsewhere = 0;
}

static void written_again(void *arg)
{
    struct bench b;
    lose(arg);
    bench_open(&b, arg);
    assert_int_equal(disk.again, 1);
    assert_int_equal(disk.elsewhere, 0); /* cold regions were synced */
    assert_true(disk.synced > 0);
    assert_int_equal(capture_flush(bench_capture(&b, 0)), 0);
    bench_close(&b);
    bench_open(&b, arg); /* once is enough */
    assert_int_equal(disk.again, 1);
    fiber_io()->ops = disk.real;
    bench_close(&b);
}

static void in_vain(void *arg)
{
    struct bench b;
    uint8_t p[4096];
    lose(arg);
    disk.fail_writes = true;
    bench_open(&b, arg);
    disk.fail_writes = false;
    assert_non_null(capture_failed(bench_capture(&b, 0)));
    assert_int_equal(capture_flush(bench_capture(&b, 0)), -EIO);
    assert_int_equal(capture_read(bench_capture(&b, 0), p, sizeof p, PLACE), 0);
    assert_memory_equal(p, disk.lost, sizeof p);
    bench_close(&b);
    bench_open(&b, arg); /* the disk is well again */
    assert_null(capture_failed(bench_capture(&b, 0)));
    assert_int_equal(capture_flush(bench_capture(&b, 0)), 0);
    fiber_io()->ops = disk.real;
    bench_close(&b);
}

static void what_a_failed_sync_may_have_lost_is_written_again_at_the_next_start(void **state)
{
    (void)state;
    fixture_with(written_again);
}

static void while_that_fails_the_volume_is_served_and_no_flush_succeeds(void **state)
{
    (void)state;
    fixture_with(in_vain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_failed_sync_may_have_lost_is_written_again_at_the_next_start),
        cmocka_unit_test(while_that_fails_the_volume_is_served_and_no_flush_succeeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
