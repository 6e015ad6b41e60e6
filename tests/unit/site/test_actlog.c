/* actlog: whatever a crash leaves of the file, a region that may be written to is hot in it. */
#include "actlog.h"
#include "bounds.h"
#include "paths.h"
#include "site_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK         512u
#define BLOCK_REGIONS 3968u
#define REGIONS       (2 * BLOCK_REGIONS + 100)
#define SIZE          (REGIONS * REGION_SIZE)

struct scene {
    char dir[64], path[PATH_CAP];
    struct actlog *log;
    struct err err;
};

static void open_log(struct scene *s, uint64_t size, bool all_hot)
{
    if (actlog_open(&s->log, s->path, size, all_hot, &s->err) < 0)
        fail_msg("%s", s->err.text);
}

static void reopen(struct scene *s, uint64_t size)
{
    actlog_close(s->log);
    open_log(s, size, false);
}

static void cool_all(struct scene *s)
{
    for (uint32_t r = 0; r < actlog_regions(s->log); r++)
        actlog_cool(s->log, r);
    assert_int_equal(actlog_sync(s->log), 0);
}

static void with_scene(void (*fn)(void *arg))
{
    struct scene s = {.err = ERR_INIT};
    fixture_text(s.dir, sizeof s.dir, "/var/tmp/relais-actlog-XXXXXX");
    assert_non_null(mkdtemp(s.dir));
    path_format(s.path, "%s/data.log", s.dir);
    fixture_run(fn, &s);
    (void)unlink(s.path);
    assert_int_equal(rmdir(s.dir), 0);
}

static uint8_t *slurp(const char *path, size_t *len)
{
    struct stat st;
    uint8_t *p;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    *len = (size_t)st.st_size;
    p = err_malloc(*len + 1);
    assert_int_equal(read(fd, p, *len), st.st_size);
    close(fd);
    return p;
}

static void spit(const char *path, const uint8_t *p, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, len), (ssize_t)len);
    close(fd);
}

/* -- */

static void remembers(void *arg)
{
    struct scene *s = arg;
    open_log(s, SIZE, false);
    assert_int_equal(actlog_hot_count(s->log), REGIONS); /* new: nothing is known */
    assert_true(actlog_is_hot(s->log, 0, REGIONS));
    cool_all(s);
    assert_int_equal(actlog_hot_count(s->log), 0);
    assert_int_equal(actlog_next_hot(s->log, 0), REGIONS);
    assert_int_equal(actlog_heat(s->log, 17, 2), 0);
    assert_int_equal(actlog_heat(s->log, REGIONS - 1, 1), 0);
    reopen(s, SIZE);
    assert_int_equal(actlog_hot_count(s->log), 3);
    assert_int_equal(actlog_next_hot(s->log, 0), 17);
    assert_int_equal(actlog_next_hot(s->log, 19), REGIONS - 1);
    assert_true(actlog_is_hot(s->log, 17, 2));
    assert_false(actlog_is_hot(s->log, 16, 2));
    actlog_cool(s->log, 17);
    assert_false(actlog_is_hot(s->log, 17, 1));
    assert_int_equal(actlog_sync(s->log), 0);
    reopen(s, SIZE);
    assert_int_equal(actlog_hot_count(s->log), 2);
    actlog_close(s->log);
    open_log(s, SIZE, true);
    assert_int_equal(actlog_hot_count(s->log), REGIONS);
    actlog_close(s->log);
}

static void a_log_says_after_a_restart_what_is_hot(void **state)
{
    (void)state;
    with_scene(remembers);
}

static void sizes(void *arg)
{
    struct scene *s = arg;
    open_log(s, 10 * REGION_SIZE + 512, false);
    assert_int_equal(actlog_regions(s->log), 11);
    cool_all(s);
    assert_int_equal(actlog_heat(s->log, 2, 1), 0);
    reopen(s, 12 * REGION_SIZE); /* region 10 had an end that is now inside of it */
    assert_int_equal(actlog_hot_count(s->log), 3);
    assert_true(actlog_is_hot(s->log, 10, 2) && actlog_is_hot(s->log, 2, 1));
    cool_all(s);
    reopen(s, 5 * REGION_SIZE);
    assert_int_equal(actlog_hot_count(s->log), 0);
    reopen(s, 7 * REGION_SIZE); /* what comes back is not what went */
    assert_int_equal(actlog_hot_count(s->log), 2);
    actlog_close(s->log);
}

static void what_a_volume_grows_by_is_hot(void **state)
{
    (void)state;
    with_scene(sizes);
}

/* Few regions hot, in the middle of each block. */
static uint8_t *sample(struct scene *s, size_t *len)
{
    open_log(s, SIZE, false);
    cool_all(s);
    for (uint32_t r = 100; r < REGIONS - 50; r += 1000)
        assert_int_equal(actlog_heat(s->log, r, 1), 0);
    actlog_close(s->log);
    return slurp(s->path, len);
}

/* Block `bad` (and, with `rest`, all behind it) is hot as a whole; others are as in the sample. */
static void expect(const struct scene *s, uint32_t bad, bool rest)
{
    for (uint32_t r = 0; r < REGIONS; r++) {
        uint32_t block = r / BLOCK_REGIONS;
        bool hot = block == bad || (rest && block > bad) ||
                   (r >= 100 && r < REGIONS - 50 && (r - 100) % 1000 == 0);
        if (actlog_is_hot(s->log, r, 1) != hot)
            fail_msg("region %u is %s", r, hot ? "cold" : "hot");
    }
}

static void torn(void *arg)
{
    struct scene *s = arg;
    size_t len;
    uint8_t *p = sample(s, &len);
    assert_int_equal(len, 4 * BLOCK);
    for (size_t at = BLOCK; at < len; at += 61) {
        p[at] ^= 0x10;
        spit(s->path, p, len);
        p[at] ^= 0x10;
        open_log(s, SIZE, false);
        expect(s, (uint32_t)(at / BLOCK) - 1, false);
        reopen(s, SIZE); /* it was repaired, as hot */
        expect(s, (uint32_t)(at / BLOCK) - 1, false);
        actlog_close(s->log);
    }
    for (size_t cut = BLOCK; cut < len; cut += 97) {
        spit(s->path, p, cut);
        open_log(s, SIZE, false);
        expect(s, (uint32_t)(cut / BLOCK) - 1, true);
        actlog_close(s->log);
    }
    for (size_t at = 0; at < BLOCK; at += 37) {
        p[at] ^= 1;
        spit(s->path, p, len);
        p[at] ^= 1;
        open_log(s, SIZE, false);
        assert_int_equal(actlog_hot_count(s->log), REGIONS);
        actlog_close(s->log);
    }
    memcpy(p + BLOCK, p + (size_t)2 * BLOCK, BLOCK); /* a whole block, in the wrong place */
    spit(s->path, p, len);
    open_log(s, SIZE, false);
    expect(s, 0, false);
    actlog_close(s->log);
    free(p);
}

static void what_cannot_be_read_is_hot_and_nothing_else(void **state)
{
    (void)state;
    with_scene(torn);
}

/* -- A disk that keeps any part of what was not synced -- */

static struct {
    const struct io_ops *real;
    struct io_ops ops;
    int fail_syncs;
    int fail_at; /* the one of this number fails; 0: none */
    unsigned syncs;
    uint64_t full_at; /* nothing goes behind this place of a file; 0: there is room */
} disk;

static void bounded_write(struct io *io, struct io_req *req, int fd, const void *buf, size_t len,
                          uint64_t off)
{
    if (disk.full_at > 0 && off + len > disk.full_at)
        fd = -1; /* EBADF, for want of a disk that is full */
    disk.real->write(io, req, fd, buf, len, off);
}

static void count_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    disk.syncs++;
    if (disk.fail_at > 0 && --disk.fail_at == 0)
        disk.fail_syncs = 1;
    if (disk.fail_syncs > 0) {
        disk.fail_syncs--;
        fd = -1; /* EBADF: as good an error as any */
    }
    disk.real->sync(io, req, fd, data_only);
}

static void watch(struct io *io)
{
    disk.real = io->ops;
    disk.ops = *io->ops;
    disk.ops.sync = count_sync;
    disk.ops.write = bounded_write;
    disk.fail_syncs = 0;
    disk.full_at = 0;
    disk.syncs = 0;
    io->ops = &disk.ops;
}

struct heating {
    struct scene *scene;
    uint32_t region;
    int res;
};

static void heat_fiber(void *arg)
{
    struct heating *h = arg;
    h->res = actlog_heat(h->scene->log, h->region, 1);
    if (h->res == 0)
        assert_true(actlog_is_hot(h->scene->log, h->region, 1));
}

#define HEATERS 64

static void heat_many(struct scene *s, struct heating h[HEATERS], unsigned cancel)
{
    struct fiber *fibers[HEATERS];
    for (unsigned i = 0; i < HEATERS; i++) {
        h[i] = (struct heating){s, i * 120, 1};
        fibers[i] = fiber_spawn(fiber_io(), "heat", heat_fiber, &h[i]);
    }
    (void)fiber_yield();
    for (unsigned i = 0; i < cancel; i++)
        fiber_cancel(fibers[i]);
    for (unsigned i = 0; i < HEATERS; i++)
        fiber_join(fibers[i]);
}

static void shared(void *arg)
{
    struct scene *s = arg;
    struct heating h[HEATERS];
    open_log(s, SIZE, false);
    cool_all(s);
    watch(fiber_io());
    heat_many(s, h, 0);
    for (unsigned i = 0; i < HEATERS; i++)
        assert_int_equal(h[i].res, 0);
    assert_in_range(disk.syncs, 1, 3);
    assert_int_equal(actlog_hot_count(s->log), HEATERS);
    heat_many(s, h, 0); /* hot already: costs nothing */
    assert_in_range(disk.syncs, 1, 3);
    actlog_close(s->log);
}

static void requests_at_once_share_a_sync(void **state)
{
    (void)state;
    with_scene(shared);
}

static void failing(void *arg)
{
    struct scene *s = arg;
    struct heating h[HEATERS];
    unsigned done = 0;
    open_log(s, SIZE, false);
    cool_all(s);
    watch(fiber_io());
    disk.fail_syncs = 100;
    heat_many(s, h, 0);
    for (unsigned i = 0; i < HEATERS; i++)
        assert_int_equal(h[i].res, -EBADF);
    assert_false(actlog_is_hot(s->log, 0, 1));
    disk.fail_syncs = 0;
    heat_many(s, h, 0);
    for (unsigned i = 0; i < HEATERS; i++)
        assert_int_equal(h[i].res, 0);
    cool_all(s);
    heat_many(s, h, 20); /* the leader among them */
    for (unsigned i = 0; i < HEATERS; i++) {
        done += h[i].res == 0;
        assert_true(h[i].res == 0 || (i < 20 && h[i].res == -ECANCELED));
    }
    assert_in_range(done, HEATERS - 20, HEATERS);
    reopen(s, SIZE);
    for (unsigned i = 0; i < HEATERS; i++)
        if (h[i].res == 0)
            assert_true(actlog_is_hot(s->log, h[i].region, 1));
    actlog_close(s->log);
}

static void a_sync_that_failed_or_was_cancelled_makes_nothing_hot(void **state)
{
    (void)state;
    with_scene(failing);
}

/* After each operation: any mixture, block by block, of what was synced and what is written now
 * must have every region hot that heat said is. */
static void power_cuts(void *arg)
{
    struct scene *s = arg;
    bool *must = err_calloc(REGIONS, sizeof *must);
    unsigned seed = 42;
    size_t len;
    uint8_t *synced;
    open_log(s, SIZE, false);
    cool_all(s);
    synced = slurp(s->path, &len);
    for (unsigned step = 0; step < 300; step++) {
        uint32_t r = (uint32_t)rand_r(&seed) % REGIONS;
        uint8_t *now, *mixed;
        if (rand_r(&seed) % 3 == 0) {
            actlog_cool(s->log, r);
            must[r] = false;
        } else {
            assert_int_equal(actlog_heat(s->log, r, 1), 0);
            must[r] = true;
            free(synced);
            synced = slurp(s->path, &len);
        }
        now = slurp(s->path, &len);
        mixed = err_malloc(len);
        for (size_t i = 0; i < len; i++)
            mixed[i] = (i / BLOCK + step) % 2 ? now[i] : synced[i];
        spit(s->path, mixed, len);
        if (step % 10 == 0) {
            reopen(s, SIZE);
            for (uint32_t i = 0; i < REGIONS; i++)
                if (must[i] && !actlog_is_hot(s->log, i, 1))
                    fail_msg("step %u: region %u was lost", step, i);
        }
        free(now);
        free(mixed);
    }
    actlog_close(s->log);
    free(synced);
    free(must);
}

static void a_power_cut_loses_no_hot_region(void **state)
{
    (void)state;
    with_scene(power_cuts);
}

static void huge(void *arg)
{
    struct scene *s = arg;
    struct stat st;
    open_log(s, VOLUME_MAX, false);
    assert_int_equal(actlog_hot_count(s->log), VOLUME_MAX / REGION_SIZE);
    assert_int_equal(stat(s->path, &st), 0);
    assert_true((uint64_t)st.st_size <= 544 * KIB);
    cool_all(s);
    assert_int_equal(actlog_heat(s->log, (uint32_t)(VOLUME_MAX / REGION_SIZE) - 1, 1), 0);
    reopen(s, VOLUME_MAX);
    assert_int_equal(actlog_hot_count(s->log), 1);
    actlog_close(s->log);
}

static void the_largest_volume_has_a_small_log(void **state)
{
    (void)state;
    with_scene(huge);
}

/* -- Growing -- */

#define SMALL_REGIONS (BLOCK_REGIONS - 10)
#define SMALL         (SMALL_REGIONS * REGION_SIZE - 512)

static void note_growth(void *arg)
{
    const struct scene **seen = arg;
    assert_int_equal(actlog_size((*seen)->log), SIZE); /* in the same step */
    assert_true(actlog_is_hot((*seen)->log, SMALL_REGIONS - 1, REGIONS - SMALL_REGIONS + 1));
    *seen = NULL;
}

static void growing(void *arg)
{
    struct scene *s = arg;
    const struct scene *seen = s;
    struct heating h = {s, 7, 1};
    struct fiber *heater;
    open_log(s, SMALL, false);
    cool_all(s);
    heater = fiber_spawn(fiber_io(), "heat", heat_fiber, &h);
    assert_int_equal(actlog_grow(s->log, SIZE, note_growth, &seen), 0);
    fiber_join(heater);
    assert_null(seen);
    assert_int_equal(h.res, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(actlog_regions(s->log), REGIONS);
        assert_int_equal(actlog_hot_count(s->log), 2 + REGIONS - SMALL_REGIONS);
        assert_true(actlog_is_hot(s->log, 7, 1));
        reopen(s, SIZE);
    }
    actlog_cool(s->log, REGIONS - 1);
    assert_int_equal(actlog_sync(s->log), 0);
    reopen(s, SIZE);
    assert_int_equal(actlog_hot_count(s->log), 1 + REGIONS - SMALL_REGIONS);
    actlog_close(s->log);
}

static void a_volume_that_grows_in_service_is_hot_where_it_is_new(void **state)
{
    (void)state;
    with_scene(growing);
}

static void growing_fails(void *arg)
{
    struct scene *s = arg;
    const struct scene *seen = s;
    open_log(s, SMALL, false);
    cool_all(s);
    watch(fiber_io());
    for (int fail = 1; fail <= 2; fail++) { /* the blocks, then the header */
        disk.fail_at = fail;
        assert_int_equal(actlog_grow(s->log, SIZE, note_growth, &seen), -EBADF);
        assert_ptr_equal(seen, s);
        assert_int_equal(actlog_regions(s->log), SMALL_REGIONS);
        assert_in_range(actlog_hot_count(s->log), 0, 1); /* the last one, which is not whole */
        assert_int_equal(actlog_heat(s->log, 3, 1), 0);
        actlog_cool(s->log, 3);
    }
    assert_int_equal(actlog_grow(s->log, SIZE, note_growth, &seen), 0);
    assert_int_equal(actlog_hot_count(s->log), REGIONS - SMALL_REGIONS + 1);
    actlog_close(s->log);
}

static void growing_that_fails_leaves_all_as_it_was(void **state)
{
    (void)state;
    with_scene(growing_fails);
}

/* A guest's write must not fail because the volume was to grow and the disk of the log is full. */
static void growing_finds_no_room(void *arg)
{
    struct scene *s = arg;
    const struct scene *seen = s;
    struct heating h = {s, 7, 1};
    struct fiber *heater;
    open_log(s, SMALL, false);
    cool_all(s);
    watch(fiber_io());
    disk.full_at = 2 * BLOCK;
    heater = fiber_spawn(fiber_io(), "heat", heat_fiber, &h);
    assert_int_equal(actlog_grow(s->log, SIZE, note_growth, &seen), -EBADF);
    fiber_join(heater);
    assert_int_equal(h.res, 0); /* in the same round as the growing */
    assert_int_equal(actlog_heat(s->log, 100, 1), 0);
    assert_int_equal(actlog_regions(s->log), SMALL_REGIONS);
    reopen(s, SMALL);
    assert_true(actlog_is_hot(s->log, 7, 1) && actlog_is_hot(s->log, 100, 1));
    disk.full_at = 0;
    assert_int_equal(actlog_grow(s->log, SIZE, note_growth, &seen), 0);
    actlog_close(s->log);
}

static void where_there_is_no_room_to_grow_writes_go_on(void **state)
{
    (void)state;
    with_scene(growing_finds_no_room);
}

/* Any mixture of the file before and after, opened at either size. */
static void growing_is_cut_off(void *arg)
{
    struct scene *s = arg;
    const struct scene *seen = s;
    uint8_t *before, *after, *mixed;
    size_t short_len, len;
    open_log(s, SMALL, false);
    cool_all(s);
    assert_int_equal(actlog_heat(s->log, 7, 1), 0);
    before = slurp(s->path, &short_len);
    assert_int_equal(actlog_grow(s->log, SIZE, note_growth, &seen), 0);
    after = slurp(s->path, &len);
    assert_true(len > short_len && len <= 8 * BLOCK);
    mixed = err_calloc(len, 1);
    for (unsigned mask = 0; mask < 1u << (len / BLOCK); mask++) {
        if (mask & 1 && mask != (1u << (len / BLOCK)) - 1)
            continue; /* the header is written when all else is durable */
        for (size_t i = 0; i < len; i++)
            mixed[i] = mask >> (i / BLOCK) & 1 ? after[i] : i < short_len ? before[i] : 0;
        spit(s->path, mixed, mask % 2 ? len : short_len + (mask & 4 ? BLOCK : 0));
        reopen(s, SIZE);
        assert_true(actlog_is_hot(s->log, 7, 1));
        assert_true(actlog_is_hot(s->log, SMALL_REGIONS - 1, REGIONS - SMALL_REGIONS + 1));
        spit(s->path, mixed, len);
        reopen(s, SMALL);
        assert_true(actlog_is_hot(s->log, 7, 1));
    }
    actlog_close(s->log);
    free(before);
    free(after);
    free(mixed);
}

static void a_power_cut_while_it_grows_loses_no_hot_region(void **state)
{
    (void)state;
    with_scene(growing_is_cut_off);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_says_after_a_restart_what_is_hot),
        cmocka_unit_test(what_a_volume_grows_by_is_hot),
        cmocka_unit_test(what_cannot_be_read_is_hot_and_nothing_else),
        cmocka_unit_test(requests_at_once_share_a_sync),
        cmocka_unit_test(a_sync_that_failed_or_was_cancelled_makes_nothing_hot),
        cmocka_unit_test(a_power_cut_loses_no_hot_region),
        cmocka_unit_test(a_volume_that_grows_in_service_is_hot_where_it_is_new),
        cmocka_unit_test(growing_that_fails_leaves_all_as_it_was),
        cmocka_unit_test(where_there_is_no_room_to_grow_writes_go_on),
        cmocka_unit_test(a_power_cut_while_it_grows_loses_no_hot_region),
        cmocka_unit_test(the_largest_volume_has_a_small_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
