/* capture: what the backing file can do, and what others do to it while nobody looks. */
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

static struct {
    const struct io_ops *real;
    struct io_ops ops;
} disk;

/* -- Zeroes, fast -- */

static int holeless;

static void without_holes(struct io *io, struct io_req *req, int fd, uint64_t off, uint64_t len,
                          bool fast)
{
    if (fast)
        fd = holeless; /* as a file system that can only write zeroes */
    disk.real->punch(io, req, fd, off, len, fast);
}

static void fast_zeroes(void *arg)
{
    struct fixture *f = arg;
    struct io *io = fiber_io();
    uint8_t p[4096], q[4096];
    struct capture *c;
    struct bench b;
    fixture_bytes(p, sizeof p, 1);
    fixture_captured(f, "data", 8 * MIB);
    bench_open(&b, f);
    c = bench_capture(&b, 0);
    assert_int_equal(capture_write(c, p, sizeof p, 0, 0), 0);
    disk.real = io->ops;
    disk.ops = *io->ops;
    disk.ops.punch = without_holes;
    io->ops = &disk.ops;
    holeless = fio_open("/dev/null", O_RDWR | O_CLOEXEC, 0);
    assert_true(holeless >= 0);
    assert_int_equal(capture_zero(c, sizeof p, 0, CAPTURE_FAST), -ENOTSUP);
    assert_int_equal(capture_read(c, q, sizeof q, 0), 0);
    assert_memory_equal(p, q, sizeof p);
    assert_int_equal(capture_zero(c, sizeof p, 0, 0), 0);
    assert_int_equal(capture_read(c, q, sizeof q, 0), 0);
    memset(p, 0, sizeof p);
    assert_memory_equal(p, q, sizeof p);
    fio_close_always(holeless);
    io->ops = disk.real;
    assert_int_equal(capture_zero(c, sizeof p, 0, CAPTURE_FAST), 0);
    bench_close(&b);
}

static void what_cannot_be_zeroed_fast_is_refused_and_not_touched(void **state)
{
    (void)state;
    fixture_with(fast_zeroes);
}

/* -- Somebody else -- */

static void leave(struct bench *b)
{
    assert_int_equal(capture_rest(bench_capture(b, 0), &b->err), 0);
    bench_close(b);
    (void)fiber_sleep(20 * IO_MS); /* older kernels' times of files are that coarse */
}

/* Opens it, says how much is dirty, makes an RP. */
static uint64_t come_back(struct bench *b, struct fixture *f)
{
    uint64_t dirty;
    bench_open(b, f);
    dirty = capture_dirty_bytes(bench_capture(b, 0));
    bench_cut_ok(b);
    return dirty;
}

static void others(void *arg)
{
    struct timespec times[2];
    struct fixture *f = arg;
    char path[256];
    struct replay r;
    struct stat st;
    struct bench b;
    fixture_captured(f, "data", 8 * MIB);
    fixture_fill(f, 0, 0, 8 * MIB, 1);
    replay_init(&r, CAPACITY);
    assert_int_equal(come_back(&b, f), 8 * MIB);
    leave(&b);
    assert_int_equal(come_back(&b, f), 0);
    leave(&b);
    fixture_fill(f, 0, 1 * MIB, 4096, 2);
    assert_int_equal(come_back(&b, f), 8 * MIB);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    leave(&b);
    /* Who sets the time back cannot hide it. */
    assert_int_equal(stat(f->volumes[0].path, &st), 0);
    times[0] = st.st_atim;
    times[1] = st.st_mtim;
    fixture_fill(f, 0, 2 * MIB, 4096, 3);
    assert_int_equal(utimensat(AT_FDCWD, f->volumes[0].path, times, 0), 0);
    assert_int_equal(come_back(&b, f), 8 * MIB);
    leave(&b);
    /* Another file in its place, old times and all, as a restore from a backup leaves it. */
    fixture_text(path, sizeof path, "%s/other", f->root);
    assert_int_equal(rename(f->volumes[0].path, path), 0);
    fixture_fill(f, 0, 0, 8 * MIB, 9);
    assert_int_equal(come_back(&b, f), 8 * MIB);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    /* After a crash there is nothing to compare with: what we wrote ourselves is no alarm. */
    assert_int_equal(capture_write(bench_capture(&b, 0), "x", 1, 0, 0), 0);
    bench_cut_ok(&b);
    bench_cool(&b, 0);
    bench_cool(&b, 0);
    bench_close(&b);
    assert_int_equal(come_back(&b, f), 0);
    leave(&b);
    assert_int_equal(come_back(&b, f), 0);
    bench_close(&b);
    replay_done(&r);
}

static void what_others_wrote_while_nobody_looked_is_noticed(void **state)
{
    (void)state;
    fixture_with(others);
}

/* -- Growing -- */

static void enlarge(struct fixture *f, struct capture *c, uint64_t size)
{
    struct err e = ERR_INIT;
    assert_int_equal(truncate(f->volumes[0].path, (off_t)size), 0);
    if (capture_resize(c, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(capture_size(c), size);
}

/* What a cut takes when the volume grows, and is written where it is new, right after its instant.
 */
static void assert_cut_is_before_growth(struct fixture *f, struct capture *c, uint64_t size)
{
    struct capture_run_of_cut run;
    struct err e = ERR_INIT;
    uint64_t from = 0;
    uint8_t *plain = err_malloc(REGION_SIZE);
    uint64_t bits[REGION_SIZE / SECTOR_SIZE / 64];
    uint8_t new[4096];
    fixture_bytes(new, sizeof new, 9);
    capture_cut(c, true);
    enlarge(f, c, 2 * size);
    assert_int_equal(capture_write(c, new, sizeof new, 2 * size - sizeof new, 0), 0);
    assert_int_equal(capture_settle(c, &e), 0);
    while (capture_next(c, from, &run, &e) == 1) {
        from = run.first + run.sectors;
        assert_true(run.first * SECTOR_SIZE < size);
        if (run.hole)
            assert_true(from * SECTOR_SIZE <= size);
        else
            assert_int_equal(capture_take(c, &run, IO_WORK_CPU, plain, bits, &e), 0);
    }
    assert_int_equal(e.code, ERR_OK);
    capture_cut_end(c);
    free(plain);
}

static void grows(void *arg)
{
    struct fixture *f = arg;
    static uint8_t p[64 * 1024];
    struct err e = ERR_INIT;
    struct capture *c;
    struct replay r;
    struct bench b;
    fixture_captured(f, "data", 5 * MIB + 512);
    fixture_bytes(p, sizeof p, 3);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    c = bench_capture(&b, 0);
    assert_int_equal(capture_write(c, p, 1024, 5 * MIB - 512, 0), 0);
    bench_cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_cool(&b, 0);
    assert_int_equal(capture_write(c, p, 512, 5 * MIB + 512, 0), -ENOSPC);
    enlarge(f, c, 18 * MIB);
    assert_int_equal(capture_write(c, p, sizeof p, 5 * MIB + 512, 0), 0);
    assert_int_equal(capture_write(c, p, sizeof p, 17 * MIB, 0), 0);
    assert_cut_is_before_growth(f, c, 18 * MIB);
    bench_cut_ok(&b);
    replay_upto(&r, f, b.result.rp);
    assert_true(replay_equals(&r, f, 0, 0));
    assert_int_equal(truncate(f->volumes[0].path, 18 * MIB), 0);
    assert_int_equal(capture_resize(c, &e), -ERR_INPUT);
    assert_int_equal(capture_size(c), 36 * MIB);
    assert_int_equal(truncate(f->volumes[0].path, 36 * MIB), 0);
    replay_done(&r);
    bench_close(&b);
}

static void a_volume_grows_while_it_is_served(void **state)
{
    (void)state;
    fixture_with(grows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_zeroed_fast_is_refused_and_not_touched),
        cmocka_unit_test(what_others_wrote_while_nobody_looked_is_noticed),
        cmocka_unit_test(a_volume_grows_while_it_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
