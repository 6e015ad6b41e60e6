/* capture: what may happen between two waits of a write, of the sealer, of cooling; on a disk that
 * answers when it is told to. */
#include "capture_fixture.h"
#include "slow_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
    s->c = bench_capture(&s->b, 0);
    s->disk.is_short = is_its;
    s->disk.arg = s;
    bench_cut_ok(&s->b);
    fixture_bytes(s->p, sizeof s->p, 1);
    fixture_bytes(s->q, sizeof s->q, 2);
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
    assert_int_equal(capture_take(s->c, &s->run, IO_WORK_LOW, s->plain, s->bits, &s->b.err), 0);
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
    fixture_bytes(newer, sizeof newer, 3);
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
    fixture_with(stale_copy);
}

static void take_fiber(void *arg)
{
    struct still *s = arg;
    s->res = capture_take(s->c, &s->run, IO_WORK_LOW, s->plain, s->bits, &s->b.err);
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
    bench_cool(&s.b, 0);
    bench_cool(&s.b, 0);
    assert_int_equal(capture_hot_regions(s.c), 1);
    capture_sealed(s.c, 2, 1);
    capture_sealed(s.c, 4, 1);
    bench_cool(&s.b, 0);
    assert_int_equal(capture_hot_regions(s.c), 0);
    capture_cut_end(s.c);
    assert_int_equal(capture_dirty_bytes(s.c), 0);
    still_end(&s);
}

static void what_is_written_while_it_is_read_for_the_cut_is_not_in_it(void **state)
{
    (void)state;
    fixture_with(raced);
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
    bench_cut_ok(&s.b);
    bench_cool(&s.b, 0);
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
    fixture_with(warmed);
}

static void trimmed(void *arg)
{
    struct still s;
    uint8_t *was = err_malloc(4 * MIB);
    still_begin(&s, arg);
    fixture_bytes(was, 4 * MIB, 7);
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
    fixture_with(trimmed);
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
    bench_cut_ok(&s.b);
    still_end(&s);
}

static void a_cut_that_breaks_at_its_very_end_is_not_complete(void **state)
{
    (void)state;
    fixture_with(broken_late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_read_for_one_cut_is_not_kept_for_the_next),
        cmocka_unit_test(what_is_written_while_it_is_read_for_the_cut_is_not_in_it),
        cmocka_unit_test(what_is_written_while_regions_cool_stays_hot),
        cmocka_unit_test(what_is_trimmed_after_the_cut_is_in_it),
        cmocka_unit_test(a_cut_that_breaks_at_its_very_end_is_not_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
