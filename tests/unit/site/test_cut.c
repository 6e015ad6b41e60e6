/* cut: an RP is the volumes at the cut, byte for byte, and holds nothing that did not change. */
#include "site_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define CAPACITY (64 * MIB)

/* Every test: a fixture, and a fiber that does the rest. */
static void with_fixture(void (*fn)(void *arg))
{
    struct fixture f;
    fixture_init(&f);
    fixture_run(fn, &f);
    fixture_done(&f);
}

static void cut_ok(struct bench *b, const char *label)
{
    if (bench_cut(b, label) < 0)
        fail_msg("%s", b->err.text);
    assert_int_equal(b->result.end, CUT_COMPLETE);
}

static void seed_then_change(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    fixture_volume(f, "wal", 3 * MIB + 1234);
    fixture_volume(f, "data", 40 * MIB);
    fixture_fill(f, 0, 0, 3 * MIB + 1234, 1);
    fixture_fill(f, 1, 5 * MIB, 9 * MIB, 2);
    fixture_fill(f, 1, 33 * MIB + 4096, 100, 3);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    cut_ok(&b, "seed");
    replay_apply(&r, f, 1);
    assert_string_equal(r.last_label, "seed");
    assert_true(replay_equals(&r, f, 0, 1)); /* numbers go by name: data, wal */
    assert_true(replay_equals(&r, f, 1, 0));

    fixture_fill(f, 1, 7 * MIB + 8192, 4096, 4);
    fixture_fill(f, 1, 12 * MIB, 2 * MIB, 5);
    fixture_fill(f, 0, 3 * MIB + 1000, 234, 6);
    fixture_punch(f, 1, 6 * MIB, 64 * KIB);
    cut_ok(&b, "");
    replay_apply(&r, f, 2);
    assert_int_equal(r.last_extents, 5); /* hole, sector, two of 1 MiB, tail */
    assert_true(replay_equals(&r, f, 0, 1));
    assert_true(replay_equals(&r, f, 1, 0));
    bench_close(&b);
    replay_done(&r);
}

static void an_rp_is_the_volumes_byte_for_byte(void **state)
{
    (void)state;
    with_fixture(seed_then_change);
}

static void nothing(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    fixture_volume(f, "data", 24 * MIB);
    fixture_fill(f, 0, 0, 10 * MIB, 1);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    cut_ok(&b, "");
    cut_ok(&b, "");
    bench_close(&b);
    bench_open(&b, f); /* the index outlives the daemon */
    cut_ok(&b, "");
    for (uint64_t rp = 1; rp <= 3; rp++)
        replay_apply(&r, f, rp);
    assert_int_equal(r.last_extents, 0);
    assert_int_equal(r.complete_rps, 3);
    assert_int_equal(r.extents, 10);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
}

static void what_did_not_change_is_not_in_an_rp(void **state)
{
    (void)state;
    with_fixture(nothing);
}

static void sizes(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    static const uint64_t steps[] = {9 * MIB + 100, 4 * MIB + 1, 12 * MIB, 0, 8 * MIB + 4097};
    fixture_volume(f, "data", 9 * MIB);
    fixture_fill(f, 0, 0, 9 * MIB, 1);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    for (uint64_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        fixture_resize(f, 0, steps[i]);
        cut_ok(&b, "");
        replay_apply(&r, f, i + 1);
        assert_true(replay_equals(&r, f, 0, 0));
    }
    bench_close(&b);
    replay_done(&r);
}

static void a_volume_may_shrink_and_grow_again(void **state)
{
    (void)state;
    with_fixture(sizes);
}

static void many_deltas(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    f->config.delta_max = 1 * MIB;
    f->config.compression = 0;
    fixture_volume(f, "data", 60 * MIB);
    fixture_fill(f, 0, 0, 60 * MIB - 5, 1);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    cut_ok(&b, "big");
    for (uint64_t rp = 1; rp <= b.result.rp; rp++) {
        assert_string_equal(r.last_label, ""); /* only the complete one has it */
        replay_apply(&r, f, rp);
    }
    assert_true(r.rps >= 3);
    assert_int_equal(r.complete_rps, 1);
    assert_string_equal(r.last_label, "big");
    assert_true(replay_equals(&r, f, 0, 0));
    cut_ok(&b, "");
    replay_apply(&r, f, b.result.rp);
    assert_int_equal(r.last_extents, 0);
    bench_close(&b);
    replay_done(&r);
}

static void a_large_change_is_several_deltas_the_last_complete(void **state)
{
    (void)state;
    with_fixture(many_deltas);
}

/* Entries of an interrupted indexes_seal are lost; meanwhile the content went from A to B and back.
 */
static void back_again(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    char index[PATH_CAP], copy[PATH_CAP], cmd[3 * PATH_CAP];
    fixture_volume(f, "data", 8 * MIB);
    fixture_fill(f, 0, 0, 8 * MIB, 1);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    cut_ok(&b, "");
    path_format(index, "%s/records", f->state_dir);
    path_format(copy, "%s/before", f->root);
    fixture_text(cmd, sizeof cmd, "cp -a %s %s", index, copy);
    assert_int_equal(system(cmd), 0);
    fixture_fill(f, 0, 1 * MIB, 4096, 7);
    cut_ok(&b, "");
    bench_close(&b);
    fixture_text(cmd, sizeof cmd, "rm -r %s && mv %s %s", index, copy, index);
    assert_int_equal(system(cmd), 0); /* the state is as before the second cut, the spool is not */
    fixture_fill(f, 0, 0, 8 * MIB, 1);
    bench_open(&b, f);
    cut_ok(&b, "");
    for (uint64_t rp = 1; rp <= 3; rp++)
        replay_apply(&r, f, rp);
    assert_true(replay_equals(&r, f, 0, 0));
    assert_int_equal(r.last_extents, 1);
    bench_close(&b);
    replay_done(&r);
}

static void content_that_came_back_after_a_crash_is_not_missed(void **state)
{
    (void)state;
    with_fixture(back_again);
}

static void lost_index(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    char index[PATH_CAP];
    fixture_volume(f, "data", 16 * MIB);
    fixture_fill(f, 0, 0, 3 * MIB, 1);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    cut_ok(&b, "");
    bench_close(&b);
    path_format(index, "%s/records/data.index", f->state_dir);
    assert_int_equal(unlink(index), 0);
    fixture_punch(f, 0, 1 * MIB, 1 * MIB);
    bench_open(&b, f);
    assert_true(b.indexes.seeding);
    cut_ok(&b, "");
    replay_apply(&r, f, 1);
    replay_apply(&r, f, 2);
    assert_int_equal(r.last_extents, 4); /* 1 MiB data, the hole, 1 MiB data, zero to the end */
    assert_true(replay_equals(&r, f, 0, 0));
    cut_ok(&b, "");
    replay_apply(&r, f, 3);
    assert_int_equal(r.last_extents, 0);
    bench_close(&b);
    replay_done(&r);
}

static void a_lost_index_ships_the_volume_again(void **state)
{
    (void)state;
    with_fixture(lost_index);
}

/* While a volume is not configured, history goes another way: its index is of an RP that is gone.
 */
static void absent(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    fixture_volume(f, "data", 8 * MIB);
    fixture_volume(f, "wal", 4 * MIB);
    fixture_fill(f, 0, 0, 8 * MIB, 1);
    fixture_fill(f, 1, 0, 4 * MIB, 2);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    cut_ok(&b, "");
    bench_close(&b);
    f->group.volume_count = 1;
    bench_open(&b, f);
    assert_int_equal(indexes_forget(&b.indexes, &b.err), 0);
    assert_int_equal(chain_drop(&b.chain, 1, "test", &b.err), 0);
    assert_int_equal(indexes_recover(&b.indexes, &b.err), 0);
    cut_ok(&b, "");
    bench_close(&b);
    f->group.volume_count = 2;
    bench_open(&b, f);
    cut_ok(&b, "");
    replay_apply(&r, f, 1);
    replay_apply(&r, f, 2);
    assert_true(replay_equals(&r, f, 0, 0));
    assert_true(replay_equals(&r, f, 1, 1));
    bench_close(&b);
    replay_done(&r);
}

static void a_volume_that_comes_back_to_another_history_is_shipped_again(void **state)
{
    (void)state;
    with_fixture(absent);
}

static void frozen(void *arg)
{
    struct fixture *f = arg;
    struct bench b;
    char path[PATH_CAP];
    struct stat st;
    fixture_volume(f, "data", 4 * MIB);
    path_format(path, "%s/frozen", f->root);
    fixture_text(f->group.freeze, sizeof f->group.freeze, "touch %s", path);
    fixture_text(f->group.thaw, sizeof f->group.thaw, "rm %s && touch %s.thawed", path, path);
    bench_open(&b, f);
    cut_ok(&b, "");
    assert_int_not_equal(stat(path, &st), 0);

    /* A volume that vanished fails before the freeze; a freeze that fails is thawed all the same.
     */
    fixture_text(f->group.freeze, sizeof f->group.freeze, "touch %s; exit 3", path);
    path_format(path, "%s/frozen.thawed", f->root);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(bench_cut(&b, ""), -ERR_IO);
    assert_non_null(strstr(b.err.text, "status 3"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(chain_tip_rp(&b.chain), 1);
    assert_int_equal(b.spool.used, spool_cost(chain_find(&b.chain, 1)->file_len));
    bench_close(&b);
}

static void a_freeze_is_thawed_whatever_happens(void **state)
{
    (void)state;
    with_fixture(frozen);
}

static void too_long(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    fixture_volume(f, "data", 48 * MIB);
    fixture_fill(f, 0, 0, 48 * MIB, 1);
    fixture_text(f->group.freeze, sizeof f->group.freeze, "true");
    fixture_text(f->group.thaw, sizeof f->group.thaw, "touch %s/thawed", f->root);
    f->group.freeze_max_ns = 1 * IO_MS;
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    assert_int_equal(bench_cut(&b, "x"), -ERR_AGAIN);
    assert_true(b.result.frozen_too_long);
    assert_int_equal(b.result.end, CUT_SEALED);
    f->group.freeze_max_ns = 60 * IO_S;
    cut_ok(&b, "x");
    replay_apply(&r, f, 1);
    replay_apply(&r, f, 2);
    assert_int_equal(r.complete_rps, 1); /* what was sealed in time was not sealed twice */
    assert_int_equal(r.extents, 48);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
}

static void a_cut_that_freezes_too_long_keeps_what_it_sealed(void **state)
{
    (void)state;
    with_fixture(too_long);
}

/* A disk that does not answer: the first read of a whole region waits until it is let go. */
static struct {
    const struct io_ops *real;
    struct io_ops ops;
    struct io *io;
    struct io_req *req;
    int fd;
    void *buf;
    size_t len;
    uint64_t off;
} hung;

static void hung_read(struct io *io, struct io_req *req, int fd, void *buf, size_t len,
                      uint64_t off)
{
    if (len != REGION_SIZE || hung.req) {
        hung.real->read(io, req, fd, buf, len, off);
        return;
    }
    hung.io = io;
    hung.req = req;
    hung.fd = fd;
    hung.buf = buf;
    hung.len = len;
    hung.off = off;
}

static void hang_a_read(struct io *io)
{
    memset(&hung, 0, sizeof hung);
    hung.real = io->ops;
    hung.ops = *io->ops;
    hung.ops.read = hung_read;
    io->ops = &hung.ops;
}

static void let_it_go(struct io *io)
{
    io->ops = hung.real;
    io->ops->read(hung.io, hung.req, hung.fd, hung.buf, hung.len, hung.off);
}

static void cut_fiber(void *arg)
{
    (void)bench_cut(arg, "");
}

static void hanging(void *arg)
{
    struct fixture *f = arg;
    struct bench b;
    struct io *io = fiber_io();
    char thawed[PATH_CAP];
    struct fiber *cut;
    fixture_volume(f, "data", 12 * MIB);
    fixture_fill(f, 0, 0, 12 * MIB, 1);
    path_format(thawed, "%s/thawed", f->root);
    fixture_text(f->group.freeze, sizeof f->group.freeze, "true");
    fixture_text(f->group.thaw, sizeof f->group.thaw, "touch %s", thawed);
    f->group.freeze_max_ns = 200 * IO_MS;
    bench_open(&b, f);
    hang_a_read(io);
    cut = fiber_spawn(io, "cut", cut_fiber, &b);
    uint64_t end = io_now(io) + 5 * IO_S;
    while (access(thawed, F_OK) != 0 && io_now(io) < end)
        (void)fiber_sleep(20 * IO_MS);
    bool in_time = access(thawed, F_OK) == 0;
    assert_non_null(hung.req);
    let_it_go(io);
    fiber_join(cut);
    assert_true(b.result.frozen_too_long);
    assert_int_equal(b.result.end, CUT_SEALED);
    bench_close(&b);
    assert_true(in_time);
}

static void a_disk_that_hangs_does_not_hold_the_freeze(void **state)
{
    (void)state;
    with_fixture(hanging);
}

static void key_wiped(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    struct io *io = fiber_io();
    struct fiber *cut;
    fixture_volume(f, "data", 60 * MIB);
    fixture_fill(f, 0, 0, 60 * MIB, 1);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    hang_a_read(io);
    cut = fiber_spawn(io, "cut", cut_fiber, &b);
    while (!hung.req)
        (void)fiber_sleep(IO_MS);
    keyring_rotate(&b.keyring);
    let_it_go(io);
    fiber_join(cut);
    assert_int_equal(b.result.end, CUT_COMPLETE);
    assert_int_equal(b.result.rp, 2);
    assert_true(replay_upto(&r, f, 2));
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
}

static void nothing_is_sealed_long_under_a_key_that_was_wiped(void **state)
{
    (void)state;
    with_fixture(key_wiped);
}

static void grown(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    fixture_volume(f, "data", 4 * MIB);
    fixture_fill(f, 0, 0, 4 * MIB, 1);
    /* What is written out to bring the volume to rest may make it longer, or replace it. */
    fixture_text(f->group.freeze, sizeof f->group.freeze,
                 "cp %s %s/new && truncate -s 9M %s/new && mv %s/new %s", f->volumes[0].path,
                 f->root, f->root, f->root, f->volumes[0].path);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    cut_ok(&b, "");
    replay_apply(&r, f, 1);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
}

static void a_cut_is_of_the_volumes_as_they_are_when_frozen(void **state)
{
    (void)state;
    with_fixture(grown);
}

static void vanished(void *arg)
{
    struct fixture *f = arg;
    struct bench b;
    fixture_volume(f, "data", 4 * MIB);
    bench_open(&b, f);
    cut_ok(&b, "");
    assert_int_equal(unlink(f->volumes[0].path), 0);
    assert_int_equal(bench_cut(&b, ""), -ERR_NOENT);
    assert_non_null(strstr(b.err.text, "volume records/data"));
    assert_int_equal(chain_tip_rp(&b.chain), 1);
    bench_close(&b);
}

static void a_volume_that_vanished_fails_the_cut_by_name(void **state)
{
    (void)state;
    with_fixture(vanished);
}

static void no_space(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    f->config.compression = 0;
    f->config.delta_max = 8 * MIB;
    f->config.spool_budget = 48 * MIB;
    fixture_text(f->group.freeze, sizeof f->group.freeze, "true"); /* so that it does not wait */
    fixture_volume(f, "data", 60 * MIB);
    fixture_fill(f, 0, 0, 60 * MIB, 1);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    assert_int_equal(bench_cut(&b, ""), -ERR_SPACE);
    assert_true(b.result.no_space);
    assert_true(b.spool.used <= f->config.spool_budget);
    for (uint64_t rp = 1; rp <= b.result.rp; rp++)
        replay_apply(&r, f, rp);
    assert_true(r.rps >= 1);
    assert_int_equal(r.complete_rps, 0);
    b.spool.budget = 256 * MIB;
    cut_ok(&b, "");
    (void)replay_upto(&r, f, b.result.rp);
    assert_int_equal(r.extents, 60);
    assert_true(replay_equals(&r, f, 0, 0));
    bench_close(&b);
    replay_done(&r);
}

static void the_budget_holds_and_what_did_not_fit_comes_later(void **state)
{
    (void)state;
    with_fixture(no_space);
}

static void overhead(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    fixture_volume(f, "data", 32 * MIB);
    for (uint64_t off = 0; off < 32 * MIB; off += 8192)
        fixture_fill(f, 0, off, 4096, (unsigned)off);
    replay_init(&r, CAPACITY);
    bench_open(&b, f);
    cut_ok(&b, "");
    replay_apply(&r, f, 1);
    assert_int_equal(r.last_extents, 4096);
    assert_true(replay_equals(&r, f, 0, 0));
    assert_true((double)r.file_bytes <= 1.02 * (double)r.frame_bytes);
    bench_close(&b);
    replay_done(&r);
}

static void sealing_single_sectors_adds_less_than_2_percent(void **state)
{
    (void)state;
    with_fixture(overhead);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_rp_is_the_volumes_byte_for_byte),
        cmocka_unit_test(what_did_not_change_is_not_in_an_rp),
        cmocka_unit_test(a_volume_may_shrink_and_grow_again),
        cmocka_unit_test(a_large_change_is_several_deltas_the_last_complete),
        cmocka_unit_test(content_that_came_back_after_a_crash_is_not_missed),
        cmocka_unit_test(a_lost_index_ships_the_volume_again),
        cmocka_unit_test(a_freeze_is_thawed_whatever_happens),
        cmocka_unit_test(a_cut_that_freezes_too_long_keeps_what_it_sealed),
        cmocka_unit_test(a_volume_that_comes_back_to_another_history_is_shipped_again),
        cmocka_unit_test(a_disk_that_hangs_does_not_hold_the_freeze),
        cmocka_unit_test(nothing_is_sealed_long_under_a_key_that_was_wiped),
        cmocka_unit_test(a_cut_is_of_the_volumes_as_they_are_when_frozen),
        cmocka_unit_test(a_volume_that_vanished_fails_the_cut_by_name),
        cmocka_unit_test(the_budget_holds_and_what_did_not_fit_comes_later),
        cmocka_unit_test(sealing_single_sectors_adds_less_than_2_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
