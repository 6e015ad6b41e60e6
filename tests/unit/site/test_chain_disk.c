/* chain on a sick disk: full, unreadable, decaying: what is not damaged is not given up, and what
 * is damaged does not fill the spool. */
#include "crash_disk.h"
#include "log.h"
#include "scanned.h"
#include "site_fixture.h"

#include <dirent.h>
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

#define MUST(call, e)                                                                              \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, (e)->text);                                                  \
    } while (0)
#define RPS 5u

static void with_fixture(void (*fn)(void *arg))
{
    struct fixture f;
    log_set_level(LOG_L_ERROR - 1);
    fixture_init(&f);
    f.config.compression = 0;
    fixture_volume(&f, "data", 8 * MIB);
    fixture_fill(&f, 0, 0, 2 * MIB, 1);
    fixture_run(fn, &f);
    fixture_done(&f);
}

static void cut_some(struct fixture *f, struct bench *b)
{
    for (unsigned i = 1; i <= RPS; i++) {
        fixture_fill(f, 0, i * 64 * KIB, 4096, 100 + i + (unsigned)chain_tip_rp(&b->chain));
        MUST(bench_cut(b, ""), &b->err);
    }
}

/* RPs 1 to RPS, each with one changed sector. */
static void seal_some(struct fixture *f)
{
    struct bench b;
    bench_open(&b, f);
    cut_some(f, &b);
    bench_close(&b);
}

static void spoil(const char *path, off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Files in the group's spool: how many are called damaged, and what all of them cost. */
static unsigned damaged_files(const struct fixture *f, uint64_t *cost)
{
    char path[PATH_CAP + 256], dir[PATH_CAP];
    struct dirent *entry;
    unsigned n = 0;
    DIR *d;
    path_format(dir, "%s/records", f->spool_dir);
    d = opendir(dir);
    *cost = 0;
    while ((entry = readdir(d))) {
        struct stat st;
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        assert_int_equal(stat(path, &st), 0);
        *cost += spool_cost((uint64_t)st.st_size);
        n += strncmp(entry->d_name, "damaged-", 8) == 0;
    }
    closedir(d);
    return n;
}

/* ---- a disk that refuses to open ---- */

static struct {
    const struct io_ops *real;
    struct io_ops ops;
    const char *part; /* of the path */
    int flag;         /* with this flag, or 0 */
    int answer;
    unsigned refused;
} refusing;

static void refuse_open(struct io *io, struct io_req *req, const char *path, int flags, mode_t mode)
{
    if (strstr(path, refusing.part) && (flags & refusing.flag) == refusing.flag) {
        refusing.refused++;
        refusing.real->expect(io, req);
        refusing.real->post(io, req, refusing.answer);
        return;
    }
    refusing.real->open(io, req, path, flags, mode);
}

static void refuse(const char *part, int flag, int answer)
{
    struct io *io = fiber_io();
    refusing.real = io->ops;
    refusing.ops = *io->ops;
    refusing.ops.open = refuse_open;
    refusing.part = part;
    refusing.flag = flag;
    refusing.answer = answer;
    refusing.refused = 0;
    io->ops = &refusing.ops;
}

static void refuse_no_more(void)
{
    fiber_io()->ops = refusing.real;
}

static void full(void *arg)
{
    struct fixture *f = arg;
    struct bench b;
    uint64_t before;
    seal_some(f);
    bench_open(&b, f);
    before = b.spool.files;
    refuse("/", O_CREAT, -ENOSPC); /* no file can be made any more */
    MUST(chain_commit(&b.chain, 2, &b.err), &b.err);
    MUST(chain_commit(&b.chain, 3, &b.err), &b.err);
    refuse_no_more();
    assert_true(b.spool.files < before); /* and now there is room */
    bench_close(&b);
    bench_open(&b, f);
    assert_int_equal(b.chain.committed.rp, 3);
    assert_int_equal(b.chain.committed.complete_rp, 3);
    assert_int_equal(chain_tip_rp(&b.chain), RPS);
    assert_false(b.indexes.seeding);
    bench_close(&b);
}
static void a_commit_is_recorded_when_the_disk_is_full(void **state)
{
    (void)state;
    with_fixture(full);
}

static void unreadable(void *arg)
{
    static const int answers[] = {-EIO, -EACCES, -EMFILE};
    struct fixture *f = arg;
    uint64_t cost;
    struct bench b;
    seal_some(f);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct spool spool;
        struct chain c;
        struct err e = ERR_INIT;
        spool_init(&spool, f->spool_dir, f->config.spool_budget, 0);
        chain_init(&c, &spool, 0, f->state_dir, f->config.name, f->group.name, key_public(f->sign));
        refuse("0003.delta", 0, answers[i]);
        assert_int_equal(chain_recover(&c, &e), answers[i] == -EMFILE ? -ERR_OS : -ERR_IO);
        refuse_no_more();
        assert_int_equal(refusing.refused, 1);
        assert_non_null(strstr(e.text, "0000000000000003.delta"));
        assert_int_equal(damaged_files(f, &cost), 0);
        assert_int_equal(spool.files, 0);
        assert_int_equal(spool.used, 0);
        MUST(chain_recover(&c, &e), &e); /* the same, once it can be read */
        assert_int_equal(chain_tip_rp(&c), RPS);
        assert_int_equal(spool.files, cost);
        assert_false(c.lost);
        chain_close(&c);
    }
    bench_open(&b, f);
    assert_false(b.indexes.seeding);
    bench_close(&b);
}
static void what_cannot_be_read_is_not_taken_for_damaged(void **state)
{
    (void)state;
    with_fixture(unreadable);
}

static void record_path(const struct fixture *f, char path[PATH_CAP])
{
    path_format(path, "%s/records/committed", f->state_dir);
}

static void cut_short(void *arg)
{
    static struct crash_disk d; /* too large for a stack */
    struct fixture *f = arg;
    struct bench b;
    bool hit = true;
    seal_some(f);
    for (uint64_t step = 1; hit; step++) {
        uint64_t before;
        struct err e = ERR_INIT;
        bench_open(&b, f);
        before = b.chain.committed.rp;
        if (before + 2 > chain_tip_rp(&b.chain))
            cut_some(f, &b);
        crash_disk_begin(&d, fiber_io(), step, false);
        (void)chain_commit(&b.chain, before + 1, &e);
        hit = d.hit;
        crash_disk_end(&d);
        crash_disk_free(&d);
        bench_close(&b);
        bench_open(&b, f);
        assert_in_range(b.chain.committed.rp, before, before + 1);
        assert_false(b.chain.lost);
        assert_false(b.indexes.seeding);
        bench_close(&b);
        assert_true(step < 20);
    }
}
static void a_crash_leaves_the_record_before_or_the_new_one(void **state)
{
    (void)state;
    with_fixture(cut_short);
}

static void decayed(void *arg)
{
    struct fixture *f = arg;
    for (unsigned slot = 0; slot < 2; slot++)
        for (uint64_t rp = 3; rp <= 4; rp++) { /* the newest record is in the one or in the other */
            char path[PATH_CAP], command[3 * PATH_CAP];
            struct bench b;
            seal_some(f);
            bench_open(&b, f);
            for (uint64_t i = 1; i <= rp; i++)
                MUST(chain_commit(&b.chain, i, &b.err), &b.err);
            bench_close(&b);
            record_path(f, path);
            spoil(path, slot * (off_t)SLOT_LEN + 15);
            bench_open(&b, f);
            assert_int_equal(b.chain.committed.rp, rp); /* by the parent of what is in the spool */
            assert_int_equal(chain_tip_rp(&b.chain), RPS);
            assert_true(b.indexes.seeding);
            MUST(bench_cut(&b, ""), &b.err);
            bench_close(&b);
            bench_open(&b, f);
            assert_false(b.chain.lost); /* told once */
            assert_false(b.indexes.seeding);
            bench_close(&b);
            fixture_text(command, sizeof command, "rm -rf %.90s %.90s", f->spool_dir, f->state_dir);
            assert_int_equal(system(command), 0);
        }
}
static void half_a_record_that_decayed_is_found_out(void **state)
{
    (void)state;
    with_fixture(decayed);
}

static void many(void *arg)
{
    struct fixture *f = arg;
    uint64_t cost;
    struct bench b;
    unsigned n = 0;
    for (unsigned i = 0; i < 2 * CHAIN_ASIDES; i++) {
        char path[PATH_CAP], dir[PATH_CAP];
        bench_open(&b, f);
        n = damaged_files(f, &cost);
        assert_int_equal(n, i < CHAIN_ASIDES ? i : CHAIN_ASIDES);
        assert_int_equal(b.spool.files, cost);
        assert_int_equal(b.chain.share.used, cost);
        cut_some(f, &b);
        if (i % 2) { /* found while it runs */
            MUST(chain_drop(&b.chain, chain_tip_rp(&b.chain) - 1, "test", &b.err), &b.err);
            (void)damaged_files(f, &cost);
            assert_int_equal(b.spool.files, cost);
            MUST(scanned_forget(&b.chain, &b.err), &b.err);
        }
        path_format(dir, "%s/records", f->spool_dir);
        path_delta(path, dir, chain_tip_rp(&b.chain) - 1);
        bench_close(&b);
        if (i % 2 == 0)
            spoil(path, 3);
    }
}
static void damaged_deltas_that_are_kept_are_few(void **state)
{
    (void)state;
    with_fixture(many);
}

static void large(void *arg)
{
    struct fixture *f = arg;
    char path[PATH_CAP], dir[PATH_CAP];
    struct bench b;
    uint64_t cost;
    seal_some(f);
    f->config.spool_budget = 16 * MIB; /* a 16th is less than the first delta */
    path_format(dir, "%s/records", f->spool_dir);
    path_delta(path, dir, 1);
    spoil(path, 3);
    bench_open(&b, f);
    assert_int_equal(damaged_files(f, &cost), 0);
    assert_int_equal(cost, 0);
    assert_int_equal(b.spool.used, 0);
    bench_close(&b);
}
static void and_never_large(void **state)
{
    (void)state;
    with_fixture(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_is_recorded_when_the_disk_is_full),
        cmocka_unit_test(what_cannot_be_read_is_not_taken_for_damaged),
        cmocka_unit_test(a_crash_leaves_the_record_before_or_the_new_one),
        cmocka_unit_test(half_a_record_that_decayed_is_found_out),
        cmocka_unit_test(damaged_deltas_that_are_kept_are_few),
        cmocka_unit_test(and_never_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
