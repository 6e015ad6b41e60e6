/* disk: what was synced stays, what was not may go, and nothing else ever happens. */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEEDS 200u

struct rig {
    struct world *w;
    struct disk *d;
};

static struct rig rig(uint64_t seed)
{
    struct rig r;
    r.w = world_new(seed, false);
    r.d = disk_new(r.w, 1 << 20);
    return r;
}

static void drop(struct rig r)
{
    disk_free(r.d);
    world_free(r.w);
}

static struct inode *opened(struct rig r, const char *path, int flags)
{
    struct inode *i = NULL;
    assert_int_equal(disk_open(r.d, path, flags, &i), 0);
    return i;
}

static void sync_root(struct rig r)
{
    assert_int_equal(disk_sync_dir(r.d, "/", disk_name_mark(r.d)), 0);
}

static bool exists(struct rig r, const char *path)
{
    struct io_stat st;
    return disk_stat(r.d, path, &st) == 0;
}

static void fill(uint8_t *p, size_t len, uint8_t v)
{
    memset(p, v, len);
}

static void a_synced_write_survives_and_an_unsynced_one_may_not(void **state)
{
    unsigned kept = 0, lost = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        struct inode *i = opened(r, "a", O_RDWR | O_CREAT);
        uint8_t *now;
        size_t len;
        assert_int_equal(inode_write(i, "old!", 4, 0), 4);
        inode_sync(i, inode_mark(i));
        sync_root(r);
        assert_int_equal(inode_write(i, "new!", 4, 4), 4);
        disk_release(i);
        now = disk_peek(r.d, "a", &len);
        assert_int_equal(len, 8);
        assert_memory_equal(now, "old!new!", 8);
        free(now);
        disk_crash(r.d);
        now = disk_peek(r.d, "a", &len);
        assert_non_null(now);
        assert_true(len == 4 || len == 8);
        assert_memory_equal(now, "old!new!", len);
        kept += len == 8;
        lost += len == 4;
        free(now);
        drop(r);
    }
    assert_true(kept > SEEDS / 10);
    assert_true(lost > SEEDS / 10);
}

static void a_sync_promotes_only_what_was_written_before_its_mark(void **state)
{
    unsigned lost = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        struct inode *i = opened(r, "a", O_RDWR | O_CREAT);
        uint64_t mark;
        uint8_t *now;
        size_t len;
        sync_root(r);
        assert_int_equal(inode_write(i, "1", 1, 0), 1);
        mark = inode_mark(i);
        assert_int_equal(inode_write(i, "2", 1, 1), 1);
        inode_sync(i, mark);
        disk_release(i);
        disk_crash(r.d);
        now = disk_peek(r.d, "a", &len);
        assert_true(len >= 1 && now[0] == '1');
        lost += len == 1;
        free(now);
        drop(r);
    }
    assert_true(lost > SEEDS / 10);
}

static void a_write_is_torn_at_sectors_only(void **state)
{
    static uint8_t old[64 * 512], new[64 * 512];
    unsigned torn = 0;
    (void)state;
    fill(old, sizeof old, 'o');
    fill(new, sizeof new, 'n');
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        struct inode *i;
        uint8_t *now;
        size_t len, news = 0;
        disk_poke(r.d, "a", 0, old, sizeof old);
        i = opened(r, "a", O_RDWR);
        assert_int_equal(inode_write(i, new, sizeof new, 0), sizeof new);
        disk_release(i);
        disk_crash(r.d);
        now = disk_peek(r.d, "a", &len);
        assert_int_equal(len, sizeof old);
        for (size_t s = 0; s < 64; s++) {
            assert_memory_equal(now + s * 512, now[s * 512] == 'n' ? new : old, 512);
            news += now[s * 512] == 'n';
        }
        torn += news > 0 && news < 64;
        free(now);
        drop(r);
    }
    assert_true(torn > SEEDS / 10);
}

static void a_sector_keeps_a_prefix_of_its_writes(void **state)
{
    unsigned seen[4] = {0};
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        struct inode *i;
        uint8_t *now;
        size_t len, n = 0;
        disk_poke(r.d, "a", 0, "...", 3);
        i = opened(r, "a", O_RDWR);
        for (unsigned k = 0; k < 3; k++)
            assert_int_equal(inode_write(i, "x", 1, k), 1);
        disk_release(i);
        disk_crash(r.d);
        now = disk_peek(r.d, "a", &len);
        while (n < 3 && now[n] == 'x')
            n++;
        seen[n]++;
        for (; n < 3; n++)
            assert_int_equal(now[n], '.');
        free(now);
        drop(r);
    }
    assert_true(seen[0] && seen[3] && (seen[1] || seen[2]));
}

static void a_new_name_needs_its_directory_synced(void **state)
{
    unsigned gone = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        struct inode *i = opened(r, "a", O_RDWR | O_CREAT);
        assert_int_equal(inode_write(i, "x", 1, 0), 1);
        inode_sync(i, inode_mark(i));
        disk_release(i);
        i = opened(r, "b", O_RDWR | O_CREAT);
        disk_release(i);
        assert_int_equal(disk_sync_dir(r.d, "/", 1), 0); /* submitted before b was made */
        disk_crash(r.d);
        assert_true(exists(r, "a"));
        gone += !exists(r, "b");
        drop(r);
    }
    assert_true(gone > SEEDS / 10 && gone < SEEDS);
}

static void a_rename_is_old_or_new_and_never_neither(void **state)
{
    unsigned old = 0, new = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        uint8_t *now;
        size_t len;
        disk_poke(r.d, "head", 0, "old", 3);
        disk_poke(r.d, "head.tmp", 0, "new", 3);
        assert_int_equal(disk_rename(r.d, "head.tmp", "head"), 0);
        assert_false(exists(r, "head.tmp"));
        disk_crash(r.d);
        now = disk_peek(r.d, "head", &len);
        assert_non_null(now);
        assert_int_equal(len, 3);
        if (memcmp(now, "old", 3) == 0) {
            old++;
            assert_true(exists(r, "head.tmp"));
        } else {
            new ++;
            assert_memory_equal(now, "new", 3);
            assert_false(exists(r, "head.tmp"));
        }
        free(now);
        drop(r);
    }
    assert_true(old && new);
}

static void a_synced_rename_stays_and_the_old_content_is_gone(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        uint8_t *now;
        size_t len;
        disk_poke(r.d, "head", 0, "old", 3);
        disk_poke(r.d, "tmp/1", 0, "new", 3);
        assert_int_equal(disk_rename(r.d, "tmp/1", "head"), 0);
        sync_root(r); /* where it led to; tmp/1 may be back */
        disk_crash(r.d);
        now = disk_peek(r.d, "head", &len);
        assert_memory_equal(now, "new", 3);
        free(now);
        drop(r);
    }
}

static void an_unsynced_removal_may_be_undone_and_a_synced_one_not(void **state)
{
    unsigned back = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        disk_poke(r.d, "a", 0, "x", 1);
        disk_poke(r.d, "b", 0, "x", 1);
        assert_int_equal(disk_unlink(r.d, "a"), 0);
        sync_root(r);
        assert_int_equal(disk_unlink(r.d, "b"), 0);
        assert_false(exists(r, "b"));
        disk_crash(r.d);
        assert_false(exists(r, "a"));
        back += exists(r, "b");
        drop(r);
    }
    assert_true(back > 0 && back < SEEDS);
}

static void a_lost_directory_takes_its_files_with_it(void **state)
{
    unsigned gone = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        struct inode *i;
        assert_int_equal(disk_mkdir(r.d, "/d"), 0);
        assert_int_equal(disk_mkdir(r.d, "/d/e"), 0);
        i = opened(r, "/d/e/f", O_RDWR | O_CREAT);
        assert_int_equal(inode_write(i, "x", 1, 0), 1);
        inode_sync(i, inode_mark(i));
        disk_release(i);
        assert_int_equal(disk_sync_dir(r.d, "/d/e", disk_name_mark(r.d)), 0);
        assert_int_equal(disk_sync_dir(r.d, "/d", disk_name_mark(r.d)), 0);
        disk_crash(r.d);
        if (exists(r, "/d")) {
            assert_true(exists(r, "/d/e/f"));
        } else {
            gone++;
            assert_int_equal(disk_used(r.d), 0);
        }
        drop(r);
    }
    assert_true(gone > 0 && gone < SEEDS);
}

static void a_failed_sync_may_lose_what_a_later_one_does_not_bring_back(void **state)
{
    unsigned lost = 0, shown = 0;
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        struct inode *i = opened(r, "a", O_RDWR | O_CREAT);
        uint8_t *now;
        size_t len;
        sync_root(r);
        assert_int_equal(inode_write(i, "x", 1, 0), 1);
        inode_sync_failed(i, inode_mark(i));
        inode_sync(i, inode_mark(i)); /* "success" */
        now = disk_peek(r.d, "a", &len);
        shown += len == 1;
        free(now);
        disk_release(i);
        disk_crash(r.d);
        now = disk_peek(r.d, "a", &len);
        lost += len == 0;
        free(now);
        drop(r);
    }
    assert_true(lost > SEEDS / 10);
    assert_true(shown > SEEDS - lost); /* some was seen and yet lost */
}

static void a_full_disk_writes_short_then_refuses(void **state)
{
    static uint8_t big[16 * 4096];
    struct rig r = rig(1);
    struct inode *i = opened(r, "a", O_RDWR | O_CREAT), *j = NULL;
    (void)state;
    disk_set_capacity(r.d, 3 * 4096);
    assert_int_equal(inode_write(i, big, sizeof big, 0), 3 * 4096);
    assert_int_equal(inode_write(i, big, 1, 5 * 4096), -ENOSPC);
    assert_int_equal(inode_write(i, "over", 4, 0), 4); /* takes no new page */
    assert_int_equal(disk_open(r.d, "b", O_RDWR | O_CREAT, &j), -ENOSPC);
    assert_int_equal(inode_punch(i, 4096, 4096), 0);
    assert_int_equal(disk_used(r.d), 2 * 4096);
    assert_int_equal(disk_unlink(r.d, "a"), 0);
    assert_int_equal(disk_used(r.d), 2 * 4096); /* still open */
    disk_release(i);
    assert_int_equal(disk_used(r.d), 0);
    drop(r);
}

static void holes_are_told_and_read_as_zeroes(void **state)
{
    struct rig r = rig(1);
    struct inode *i = opened(r, "a", O_RDWR | O_CREAT);
    struct io_run run;
    char buf[4] = "????";
    (void)state;
    assert_int_equal(inode_write(i, "data", 4, 8 * 4096), 4);
    assert_int_equal(inode_truncate(i, 100 * 4096), 0);
    assert_int_equal(inode_run(i, 10, &run), 0);
    assert_true(!run.data && run.start == 10 && run.end == 8 * 4096);
    assert_int_equal(inode_run(i, 8 * 4096, &run), 0);
    assert_true(run.data && run.end == 9 * 4096);
    assert_int_equal(inode_read(i, buf, 4, 50 * 4096), 4);
    assert_memory_equal(buf, "\0\0\0\0", 4);
    assert_int_equal(inode_truncate(i, 8 * 4096 + 2), 0);
    assert_int_equal(inode_truncate(i, 8 * 4096 + 4), 0);
    assert_int_equal(inode_read(i, buf, 4, 8 * 4096), 4);
    assert_memory_equal(buf, "da\0\0", 4);
    assert_int_equal(inode_run(i, 200 * 4096, &run), -ENXIO);
    disk_release(i);
    drop(r);
}

/* A sync whose mark lies between a write and what zeroes it makes only the write durable. */
static void what_was_punched_stays_zero_when_an_older_write_becomes_durable(void **state)
{
    static uint8_t page[4096];
    (void)state;
    for (unsigned before = 0; before < 2; before++) {
        struct rig r = rig(1);
        struct inode *i = opened(r, "a", O_RDWR | O_CREAT);
        uint64_t mark;
        uint8_t got = 1;
        assert_int_equal(inode_truncate(i, sizeof page), 0);
        if (before)
            assert_int_equal(inode_punch(i, 0, sizeof page), 0);
        fill(page, sizeof page, 7);
        assert_int_equal(inode_write(i, page, sizeof page, 0), (int)sizeof page);
        mark = inode_mark(i);
        assert_int_equal(inode_punch(i, 0, sizeof page), 0);
        inode_sync(i, mark);
        assert_int_equal(inode_read(i, &got, 1, 100), 1);
        assert_int_equal(got, 0);
        disk_release(i);
        drop(r);
    }
}

static void a_lock_excludes_others_until_a_crash(void **state)
{
    struct rig r = rig(1);
    int a, b;
    struct inode *i = opened(r, "lock", O_RDWR | O_CREAT);
    (void)state;
    sync_root(r);
    assert_int_equal(inode_lock(i, &a), 0);
    assert_int_equal(inode_lock(i, &b), -EWOULDBLOCK);
    inode_unlock(i, &b);
    assert_int_equal(inode_lock(i, &b), -EWOULDBLOCK);
    disk_release(i);
    disk_crash(r.d);
    i = opened(r, "lock", O_RDWR);
    assert_int_equal(inode_lock(i, &b), 0);
    disk_release(i);
    drop(r);
}

/* A random history against a model that knows only what must survive: the last synced content. */
static void whatever_happens_the_synced_content_is_what_is_left(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig r = rig(seed);
        struct inode *i = opened(r, "a", O_RDWR | O_CREAT);
        uint8_t model[8192] = {0}, buf[512], *now;
        size_t len, size = 0;
        sync_root(r);
        for (unsigned n = 0; n < 40; n++) {
            size_t l = 1 + (size_t)rng_below(&r.w->rng, sizeof buf);
            size_t off = (size_t)rng_below(&r.w->rng, sizeof model - l);
            rng_bytes(&r.w->rng, buf, l);
            memcpy(model + off, buf, l);
            size = off + l > size ? off + l : size;
            assert_int_equal(inode_write(i, buf, l, off), (int)l);
        }
        inode_sync(i, inode_mark(i));
        disk_release(i);
        disk_crash(r.d);
        now = disk_peek(r.d, "a", &len);
        assert_int_equal(len, size);
        assert_memory_equal(now, model, size);
        free(now);
        drop(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_synced_write_survives_and_an_unsynced_one_may_not),
        cmocka_unit_test(a_sync_promotes_only_what_was_written_before_its_mark),
        cmocka_unit_test(a_write_is_torn_at_sectors_only),
        cmocka_unit_test(a_sector_keeps_a_prefix_of_its_writes),
        cmocka_unit_test(a_new_name_needs_its_directory_synced),
        cmocka_unit_test(a_rename_is_old_or_new_and_never_neither),
        cmocka_unit_test(a_synced_rename_stays_and_the_old_content_is_gone),
        cmocka_unit_test(an_unsynced_removal_may_be_undone_and_a_synced_one_not),
        cmocka_unit_test(a_lost_directory_takes_its_files_with_it),
        cmocka_unit_test(a_failed_sync_may_lose_what_a_later_one_does_not_bring_back),
        cmocka_unit_test(a_full_disk_writes_short_then_refuses),
        cmocka_unit_test(holes_are_told_and_read_as_zeroes),
        cmocka_unit_test(what_was_punched_stays_zero_when_an_older_write_becomes_durable),
        cmocka_unit_test(a_lock_excludes_others_until_a_crash),
        cmocka_unit_test(whatever_happens_the_synced_content_is_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
