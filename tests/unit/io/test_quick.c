/* test_quick.c: the loop's thread writes by itself as long as that is quick, and no longer. */
#include "quick.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

static struct quick fresh(void)
{
    struct quick q = {0};
    quick_turn(&q);
    return q;
}

static void small_writes_are_done_large_ones_are_the_rings(void **state)
{
    struct quick q = fresh();
    (void)state;
    assert_true(quick_may(&q, 4096, S));
    assert_true(quick_may(&q, QUICK_MAX, S));
    assert_false(quick_may(&q, QUICK_MAX + 1, S));
}

static void a_slow_write_sends_all_to_the_ring_for_a_while(void **state)
{
    struct quick q = fresh();
    (void)state;
    quick_judge(&q, S, S + QUICK_SLOW_NS);
    assert_true(quick_may(&q, 512, S + QUICK_SLOW_NS));
    quick_judge(&q, S, S + QUICK_SLOW_NS + 1);
    assert_false(quick_may(&q, 512, S + QUICK_SLOW_NS + QUICK_PAUSE));
    assert_true(quick_may(&q, 512, S + QUICK_SLOW_NS + 1 + QUICK_PAUSE));
}

static void a_disk_that_stays_slow_is_tried_ever_less_often(void **state)
{
    struct quick q = fresh();
    uint64_t now = S, before = 0;
    (void)state;
    for (int i = 0; i < 12; i++) {
        quick_judge(&q, now, now + 5 * MS);
        assert_true(q.pause > before || q.pause == QUICK_PAUSE_MAX);
        assert_true(q.pause <= QUICK_PAUSE_MAX);
        before = q.pause;
        now = q.resume + MS;
    }
    assert_int_equal(before, QUICK_PAUSE_MAX);
}

static void what_went_well_for_as_long_as_the_last_pause_is_forgiven(void **state)
{
    struct quick q = fresh();
    (void)state;
    for (int i = 0; i < 4; i++)
        quick_judge(&q, q.resume + S, q.resume + S + 5 * MS);
    assert_int_equal(q.pause, QUICK_PAUSE);
    quick_judge(&q, q.resume, q.resume + 5 * MS);
    assert_int_equal(q.pause, 2 * QUICK_PAUSE);
    quick_judge(&q, q.resume + 2 * QUICK_PAUSE + 1, q.resume + 2 * QUICK_PAUSE + 5 * MS);
    assert_int_equal(q.pause, QUICK_PAUSE);
}

static void one_turn_has_its_share_and_the_next_a_new_one(void **state)
{
    char name[] = "/tmp/relais-quick-XXXXXX", *buf = calloc(1, QUICK_MAX);
    struct quick q = {0};
    int fd = mkstemp(name), res;
    size_t done = 0;
    (void)state;
    assert_non_null(buf);
    assert_true(fd >= 0);
    assert_false(quick_write(&q, fd, buf, 1, 0, &res)); /* no turn has begun */
    quick_turn(&q);
    while (quick_write(&q, fd, buf, QUICK_MAX, done, &res)) {
        assert_int_equal(res, QUICK_MAX);
        done += QUICK_MAX;
        q.resume = q.pause = 0; /* however slow this machine is now */
    }
    assert_int_equal(done, QUICK_TURN);
    assert_int_equal(lseek(fd, 0, SEEK_END), QUICK_TURN);
    quick_turn(&q);
    assert_true(quick_write(&q, fd, "relais", 6, 3, &res));
    assert_int_equal(res, 6);
    assert_int_equal(pread(fd, buf, 8, 2), 8);
    assert_memory_equal(buf, "\0relais\0", 8);
    (void)close(fd);
    (void)unlink(name);
    free(buf);
}

static void what_a_write_fails_with_is_its_result(void **state)
{
    struct quick q = fresh();
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC), res = 0;
    (void)state;
    assert_true(quick_write(&q, fd, "x", 1, 0, &res));
    assert_int_equal(res, -28); /* ENOSPC */
    (void)close(fd);
}

static void files_that_wait_for_the_device_and_bad_handles_are_the_rings(void **state)
{
    struct quick q = fresh();
    char name[] = "/tmp/relais-quick-XXXXXX";
    int fd = mkstemp(name), synced = open(name, O_WRONLY | O_DSYNC | O_CLOEXEC), res;
    (void)state;
    assert_false(quick_write(&q, synced, "x", 1, 0, &res));
    assert_false(quick_write(&q, -1, "x", 1, 0, &res));
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    (void)close(synced);
    (void)close(fd);
    (void)unlink(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_writes_are_done_large_ones_are_the_rings),
        cmocka_unit_test(a_slow_write_sends_all_to_the_ring_for_a_while),
        cmocka_unit_test(a_disk_that_stays_slow_is_tried_ever_less_often),
        cmocka_unit_test(what_went_well_for_as_long_as_the_last_pause_is_forgiven),
        cmocka_unit_test(one_turn_has_its_share_and_the_next_a_new_one),
        cmocka_unit_test(what_a_write_fails_with_is_its_result),
        cmocka_unit_test(files_that_wait_for_the_device_and_bad_handles_are_the_rings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
