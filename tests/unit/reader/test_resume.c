/* resume: what an interrupted restore left is continued, and believed only as far as it still
 * holds. */
#include "reader_fixture.h"

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

static bool no_devices;

static void foreign_part(void *arg)
{
    struct world a, b;
    uint8_t byte = 0;
    (void)arg;
    world_start(&a);
    world_open(&a);
    const struct manifest *m = reader_manifest(a.r, 1);
    flip_byte(&a, 1, m->index_place - 1);
    REFUSED(ERR_AUTH, "@1, volume data", restore(&a, 1, a.target, false, NULL, err));
    assert_true(exists(a.part) && exists(a.state));
    /* The same volume, size and plan, but of another history: nothing in the part counts. */
    int fd = open(a.part, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 0), 1);
    close(fd);
    world_start(&b);
    world_open(&b);
    memcpy(b.target, a.target, sizeof b.target);
    MUST(restore(&b, 1, b.target, false, NULL, err));
    assert_restored(&b, 1);
    assert_false(exists(a.state));
    world_stop(&b);
    world_stop(&a);
}
static void a_part_of_another_history_is_not_continued(void **state)
{
    (void)state;
    hub_run(foreign_part, NULL);
}

struct interruption {
    struct world *w;
    struct fiber *fiber;
    unsigned units;
    struct err err;
    int rc;
};

static void interrupt(void *arg, const struct restore_progress *p)
{
    struct interruption *i = arg;
    (void)p;
    if (++i->units == 2)
        fiber_cancel(i->fiber);
}

static void interrupted_restore(void *arg)
{
    struct interruption *i = arg;
    struct key_secret *k[] = {restore_key(BETHUNE)};
    struct restore_options options = {
        .keys = k, .key_count = 1, .parallel = 1, .progress = interrupt, .arg = i};
    i->rc = reader_restore(i->w->r, 1, "data", i->w->target, &options, NULL, &i->err);
}

static void resuming(void *arg)
{
    struct world w;
    struct restore_progress whole, done;
    (void)arg;
    world_start(&w);
    world_open(&w);
    MUST(restore(&w, 1, NULL, false, &whole, err));
    /* The last extents are damaged, so that a restore ends in an error with most of it done. */
    const struct manifest *m = reader_manifest(w.r, 1);
    flip_byte(&w, 1, m->index_place - 1);
    REFUSED(ERR_AUTH, "@1, volume data", restore(&w, 1, w.target, false, NULL, err));
    flip_byte(&w, 1, m->index_place - 1);
    assert_true(exists(w.part) && exists(w.state));
    assert_false(exists(w.target));
    /* Another recovery point does not take the part for its own. */
    MUST(restore(&w, 5, w.target, false, NULL, err));
    assert_restored(&w, 5);
    flip_byte(&w, 1, m->index_place - 1);
    REFUSED(ERR_AUTH, "@1, volume data", restore(&w, 1, w.target, true, NULL, err));
    flip_byte(&w, 1, m->index_place - 1);
    MUST(restore(&w, 1, w.target, true, &done, err));
    assert_restored(&w, 1);
    assert_true(done.bytes_done == whole.bytes_done);
    assert_true(done.fetched > 0 && done.fetched < whole.fetched);
    world_stop(&w);
}
static void a_restore_that_failed_continues_where_it_was(void **state)
{
    (void)state;
    hub_run(resuming, NULL);
}

static void cancelling(void *arg)
{
    struct world w;
    struct interruption i = {.w = &w, .err = ERR_INIT};
    struct restore_progress whole, done;
    (void)arg;
    world_start(&w);
    world_open(&w);
    i.fiber = fiber_spawn(fiber_io(), "restore", interrupted_restore, &i);
    fiber_join(i.fiber);
    assert_int_equal(i.rc, -ERR_CANCELED);
    assert_false(exists(w.target));
    MUST(restore(&w, 1, NULL, false, &whole, err));
    MUST(restore(&w, 1, w.target, false, &done, err));
    assert_restored(&w, 1);
    assert_true(done.fetched > 0 && done.fetched < whole.fetched);
    world_stop(&w);
}
static void an_interrupted_restore_leaves_no_target_and_continues(void **state)
{
    (void)state;
    hub_run(cancelling, NULL);
}

/* ---- what somebody does to the target in between ---- */

static int restore_to(struct world *w, const char *target, const char *state, bool check,
                      struct restore_progress *done, struct err *e)
{
    struct key_secret *keys[] = {restore_key(BETHUNE)};
    struct restore_options options = {
        .keys = keys, .key_count = 1, .force = true, .check = check, .state = state};
    return reader_restore(w->r, 5, "data", target, &options, done, e);
}

/* An early extent of RP 1 is damaged, so that a restore of RP 5 ends in an error with the rest of
 * it done. */
static void restore_partly(struct world *w, const char *target, const char *state)
{
    flip_byte(w, 1, 300 * KIB);
    REFUSED(ERR_AUTH, "@5, volume data", restore_to(w, target, state, false, NULL, err));
    flip_byte(w, 1, 300 * KIB);
}

static void poke(const char *path, uint64_t off)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)off), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
    assert_int_equal(fsync(fd), 0);
    close(fd);
}

/* Where RP 5 has content that none but the delta of RP 5 (a small one, done for sure) or RP 4 has,
 * and where it has none at all. */
#define DONE_BYTE (UINT64_C(1999) * SECTOR_SIZE + 77)
#define GAP_BYTE  (UINT64_C(1700) * SECTOR_SIZE + 5)

static void poked_part(void *arg)
{
    struct world w;
    struct restore_progress done;
    (void)arg;
    world_start(&w);
    world_open(&w);
    restore_partly(&w, w.target, NULL);
    poke(w.part, DONE_BYTE);
    poke(w.part, GAP_BYTE);
    MUST(restore_to(&w, w.target, NULL, false, &done, err));
    assert_restored(&w, 5);
    assert_true(done.found > 0 && done.redone > 0);
    assert_true(done.bytes_done == done.bytes_total);
    world_stop(&w);
}
static void what_was_changed_in_a_part_in_between_is_done_again(void **state)
{
    (void)state;
    hub_run(poked_part, NULL);
}

static void poked_device(void *arg)
{
    struct world w;
    struct restore_progress done, whole;
    char path[100];
    (void)arg;
    world_start(&w);
    world_open(&w);
    no_devices = !device_make(&w, 12, path, sizeof path);
    if (!no_devices) {
        MUST(restore_to(&w, NULL, NULL, false, &whole, err));
        restore_partly(&w, path, w.state);
        assert_true(exists(w.state));
        poke(path, DONE_BYTE);
        poke(path, GAP_BYTE);
        MUST(restore_to(&w, path, w.state, true, &done, err));
        assert_device(&w, path, 5, 12 * MIB);
        assert_true(done.found > 0 && done.redone > 0);
        assert_true(done.fetched < whole.fetched);
        assert_true(done.bytes_checked == done.bytes_total);
        assert_false(exists(w.state));
        /* Another device under the same state: nothing on it holds, so all of it is written. */
        restore_partly(&w, path, w.state);
        device_free(path);
        assert_true(device_make(&w, 12, path, sizeof path));
        MUST(restore_to(&w, path, w.state, false, &done, err));
        assert_device(&w, path, 5, 12 * MIB);
        assert_true(done.found == 0 && done.redone > 0);
        device_free(path);
    }
    world_stop(&w);
}
static void a_restore_onto_a_device_continues_and_trusts_nothing_on_it(void **state)
{
    (void)state;
    hub_run(poked_device, NULL);
    if (no_devices) {
        print_message("no loop device to be had here (losetup needs root)\n");
        skip();
    }
}

static void small_device(void *arg)
{
    struct world w;
    struct restore_progress done;
    char path[100], small[100];
    (void)arg;
    world_start(&w);
    world_open(&w);
    no_devices = !device_make(&w, 12, path, sizeof path);
    if (!no_devices) {
        restore_partly(&w, path, w.state);
        char disk[160];
        (void)snprintf(disk, sizeof disk, "%s/disk", w.f.dir);
        assert_int_equal(unlink(disk), 0); /* the device keeps it */
        assert_true(device_make(&w, 2, small, sizeof small));

        /* Another recovery point, whose state would take the place of the one that is there. */
        struct key_secret *keys[] = {restore_key(BETHUNE)};
        struct restore_options options = {
            .keys = keys, .key_count = 1, .force = true, .state = w.state};
        REFUSED(ERR_SPACE, "large enough",
                reader_restore(w.r, 1, "data", small, &options, NULL, err));
        device_free(small);
        MUST(restore_to(&w, path, w.state, false, &done, err));
        assert_true(done.found > 0);
        device_free(path);
    }
    world_stop(&w);
}
static void a_device_that_is_refused_costs_no_state(void **state)
{
    (void)state;
    hub_run(small_device, NULL);
    if (no_devices)
        skip();
}

/* ---- a disk that fails once ---- */

static const struct io_ops *real_ops;
static struct io_ops failing_ops;
static unsigned syncs_to_fail;

/* The hub beside us syncs what it writes of its audit log. */
static bool is_store(int fd)
{
    char link[64], path[512] = "";
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && strstr(path, "/sites/");
}

/* What the kernel does: it tells once, and from then on acts as if all were well. */
static void failing_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    if (!data_only && syncs_to_fail > 0 && !is_store(fd)) {
        syncs_to_fail--;
        fd = -1;
    }
    real_ops->sync(io, req, fd, data_only);
}

/* Long enough for what is done to be saved. */
static void dawdle(void *arg, const struct restore_progress *p)
{
    (void)arg;
    (void)p;
    (void)fiber_sleep(1500 * IO_MS);
}

static void failing_disk(void *arg)
{
    struct world w;
    struct restore_progress done;
    struct key_secret *keys[] = {restore_key(BETHUNE)};
    struct restore_options options = {
        .keys = keys, .key_count = 1, .parallel = 1, .progress = dawdle};
    struct io *io = fiber_io();
    (void)arg;
    world_start(&w);
    world_open(&w);
    real_ops = io->ops;
    failing_ops = *real_ops;
    failing_ops.sync = failing_sync;
    syncs_to_fail = 1;
    io->ops = &failing_ops;
    REFUSED(ERR_IO, "making it durable",
            reader_restore(w.r, 5, "data", w.target, &options, NULL, err));
    io->ops = real_ops;
    assert_int_equal(syncs_to_fail, 0);
    MUST(restore_to(&w, w.target, NULL, false, &done, err));
    assert_restored(&w, 5);
    assert_true(done.found == 0);
    world_stop(&w);
}
static void what_a_failed_sync_may_have_lost_is_not_on_record(void **state)
{
    (void)state;
    hub_run(failing_disk, NULL);
}

struct poker {
    const char *path;
    uint64_t off;
};

static void poke_when_written(void *arg, const struct restore_progress *p)
{
    struct poker *poker = arg;
    if (p->bytes_done == p->bytes_total && !p->checking)
        poke(poker->path, poker->off);
}

static void checking(void *arg)
{
    struct world w;
    struct key_secret *keys[] = {restore_key(BETHUNE)};
    static const uint64_t offs[] = {DONE_BYTE, GAP_BYTE};
    static const char *const words[] = {"not what was written", "is not zero"};
    (void)arg;
    world_start(&w);
    world_open(&w);
    for (unsigned i = 0; i < 2; i++) {
        struct poker poker = {w.part, offs[i]};
        struct restore_options options = {.keys = keys,
                                          .key_count = 1,
                                          .parallel = 1,
                                          .check = true,
                                          .progress = poke_when_written,
                                          .arg = &poker};
        REFUSED(ERR_CORRUPT, words[i],
                reader_restore(w.r, 5, "data", w.target, &options, NULL, err));
        assert_false(exists(w.target));
        /* Once nobody does that any more, the same restore ends well. */
        MUST(restore_to(&w, w.target, NULL, true, NULL, err));
        assert_restored(&w, 5);
        assert_int_equal(unlink(w.target), 0);
    }
    world_stop(&w);
}
static void a_target_that_is_not_what_was_written_fails_the_check(void **state)
{
    (void)state;
    hub_run(checking, NULL);
}

static void torn_state(void *arg)
{
    struct world w;
    struct restore_progress done;
    void *p = NULL;
    size_t len = 0;
    (void)arg;
    world_start(&w);
    world_open(&w);
    for (unsigned i = 0; i < 3; i++) {
        restore_partly(&w, w.target, NULL);
        MUST(fio_load_file(w.state, MIB, &p, &len, err));
        assert_true(len > 60);
        if (i == 0)
            assert_int_equal(truncate(w.state, (off_t)len - 7), 0); /* in a record */
        else if (i == 1)
            assert_int_equal(truncate(w.state, 12), 0); /* in the header */
        else
            poke(w.state, len - 3); /* a hash */
        free(p);
        MUST(restore_to(&w, w.target, NULL, false, &done, err));
        assert_restored(&w, 5);
        assert_true(done.found < done.bytes_total);
        assert_int_equal(unlink(w.target), 0);
    }
    world_stop(&w);
}
static void a_torn_or_wrong_state_costs_work_and_no_byte(void **state)
{
    (void)state;
    hub_run(torn_state, NULL);
}

static void foreign_state(void *arg)
{
    struct world w;
    void *p = NULL;
    size_t len = 0;
    (void)arg;
    world_start(&w);
    world_open(&w);
    MUST(fio_replace_file(w.state, "precious", 8, 0600, err));
    REFUSED(ERR_EXISTS, "not the state of a restore",
            restore_to(&w, w.target, w.state, false, NULL, err));
    REFUSED(ERR_INPUT, "both", restore_to(&w, w.target, w.target, false, NULL, err));
    REFUSED(ERR_INPUT, "no file", restore_to(&w, w.target, w.f.dir, false, NULL, err));
    MUST(fio_load_file(w.state, 100, &p, &len, err));
    assert_true(len == 8 && memcmp(p, "precious", 8) == 0);
    free(p);
    assert_false(exists(w.target) || exists(w.part));
    world_stop(&w);
}
static void a_file_that_is_no_state_is_not_overwritten(void **state)
{
    (void)state;
    hub_run(foreign_state, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restore_that_failed_continues_where_it_was),
        cmocka_unit_test(a_part_of_another_history_is_not_continued),
        cmocka_unit_test(an_interrupted_restore_leaves_no_target_and_continues),
        cmocka_unit_test(what_was_changed_in_a_part_in_between_is_done_again),
        cmocka_unit_test(a_restore_onto_a_device_continues_and_trusts_nothing_on_it),
        cmocka_unit_test(a_device_that_is_refused_costs_no_state),
        cmocka_unit_test(a_target_that_is_not_what_was_written_fails_the_check),
        cmocka_unit_test(a_torn_or_wrong_state_costs_work_and_no_byte),
        cmocka_unit_test(a_file_that_is_no_state_is_not_overwritten),
        cmocka_unit_test(what_a_failed_sync_may_have_lost_is_not_on_record),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
