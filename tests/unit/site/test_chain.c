/* chain: whatever a crash or a bad disk left of spool and state, what is recovered is a true
 * history, and what it lacks is sealed again. */
#include "site_fixture.h"

#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
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
    fixture_volume(&f, "data", 8 * MIB);
    fixture_fill(&f, 0, 0, 2 * MIB, 1);
    fixture_run(fn, &f);
    fixture_done(&f);
}

static void delta_path(const struct fixture *f, uint64_t rp, char path[PATH_CAP])
{
    char dir[PATH_CAP];
    path_format(dir, "%s/records", f->spool_dir);
    path_delta(path, dir, rp);
}

static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

/* RPs 1 to RPS, each with one changed sector. */
static void seal_some(struct fixture *f)
{
    struct bench b;
    bench_open(&b, f);
    for (unsigned i = 1; i <= RPS; i++) {
        fixture_fill(f, 0, i * 64 * KIB, 4096, 100 + i);
        MUST(bench_cut(&b, ""), &b.err);
    }
    bench_close(&b);
}

/* The next cut must make the group whole again: replays what is in the spool from `first` on, into
 * an image of RP first-1, which `r` holds. */
static void cut_and_compare(struct fixture *f, struct bench *b, struct replay *r, uint64_t first)
{
    MUST(bench_cut(b, ""), &b->err);
    for (uint64_t rp = first; rp <= chain_tip_rp(&b->chain); rp++)
        replay_apply(r, f, rp);
    assert_true(replay_equals(r, f, 0, 0));
}

static void all_back(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    uint64_t bytes, rps;
    char path[PATH_CAP];
    int fd;
    seal_some(f);
    path_format(path, "%s/records/0000000000000006.delta.tmp", f->spool_dir);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    replay_init(&r, 16 * MIB);
    bench_open(&b, f);
    assert_false(exists(path));
    assert_int_equal(chain_tip_rp(&b.chain), RPS);
    chain_lag(&b.chain, &bytes, &rps);
    assert_int_equal(rps, RPS);
    assert_false(b.indexes.seeding);
    assert_true(b.spool.used > 0);
    cut_and_compare(f, &b, &r, 1);
    assert_int_equal(r.last_extents, 0);
    bench_close(&b);
    replay_done(&r);
}

static void a_restart_finds_everything_and_removes_the_unfinished(void **state)
{
    (void)state;
    with_fixture(all_back);
}

/* How a delta in the middle may be bad. */
enum damage { MISSING, SHORT, HEADER, MANIFEST, ANOTHER, DAMAGES };

static void do_damage(const struct fixture *f, uint64_t rp, enum damage how)
{
    char path[PATH_CAP], other[PATH_CAP];
    struct stat st;
    uint8_t b = 0x5a;
    int fd;
    delta_path(f, rp, path);
    if (how == MISSING) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    if (how == ANOTHER) {
        char command[3 * PATH_CAP];
        delta_path(f, rp - 1, other);
        fixture_text(command, sizeof command, "cp %s %s", other, path);
        assert_int_equal(system(command), 0);
        return;
    }
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    if (how == SHORT)
        assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
    else
        assert_int_equal(pwrite(fd, &b, 1, how == HEADER ? 3 : st.st_size - 100), 1);
    close(fd);
}

static void bad_middle(void *arg)
{
    struct fixture *f = arg;
    for (enum damage how = MISSING; how < DAMAGES; how++) {
        struct replay r;
        struct bench b;
        char path[PATH_CAP];
        seal_some(f);
        do_damage(f, 3, how);
        replay_init(&r, 16 * MIB);
        bench_open(&b, f);
        assert_int_equal(chain_tip_rp(&b.chain), 2);
        assert_true(b.indexes.seeding);
        for (uint64_t rp = 3; rp <= RPS; rp++) {
            delta_path(f, rp, path);
            assert_false(exists(path));
        }
        path_format(path, "%s/records/damaged-%016x.delta", f->spool_dir, how == MISSING ? 4 : 3);
        assert_true(exists(path));
        cut_and_compare(f, &b, &r, 1);
        bench_close(&b);
        replay_done(&r);
        /* Start over with nothing. */
        fixture_text(path, sizeof path, "rm -rf %.90s %.90s", f->spool_dir, f->state_dir);
        assert_int_equal(system(path), 0);
    }
}

static void behind_a_damaged_delta_history_starts_again(void **state)
{
    (void)state;
    with_fixture(bad_middle);
}

static void committed(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    char path[PATH_CAP], copy[PATH_CAP], command[3 * PATH_CAP];
    seal_some(f);
    replay_init(&r, 16 * MIB);
    for (uint64_t rp = 1; rp <= 3; rp++)
        replay_apply(&r, f, rp);
    path_format(copy, "%s/copy", f->root);
    fixture_text(command, sizeof command, "cp -a %s %s", f->spool_dir, copy);
    assert_int_equal(system(command), 0);
    bench_open(&b, f);
    MUST(chain_commit(&b.chain, 3, &b.err), &b.err);
    bench_close(&b);
    for (uint64_t rp = 1; rp <= RPS; rp++) {
        delta_path(f, rp, path);
        assert_int_equal(exists(path), rp > 3);
    }
    /* A crash may undo the removal of some: they are leftovers, not damage. */
    fixture_text(command, sizeof command, "cp %s/records/*1.delta %s/records/", copy, f->spool_dir);
    assert_int_equal(system(command), 0);
    bench_open(&b, f);
    assert_int_equal(b.chain.committed.rp, 3);
    assert_int_equal(b.chain.committed.complete_rp, 3);
    assert_int_equal(chain_tip_rp(&b.chain), RPS);
    assert_false(b.indexes.seeding);
    delta_path(f, 1, path);
    assert_false(exists(path));
    cut_and_compare(f, &b, &r, 4);
    assert_int_equal(r.last_extents, 0);
    bench_close(&b);
    replay_done(&r);
}

static void what_is_committed_leaves_even_when_a_crash_brings_it_back(void **state)
{
    (void)state;
    with_fixture(committed);
}

static void lost_record(void *arg)
{
    struct fixture *f = arg;
    struct replay r;
    struct bench b;
    char path[PATH_CAP];
    int fd;
    seal_some(f);
    replay_init(&r, 16 * MIB);
    for (uint64_t rp = 1; rp <= 3; rp++)
        replay_apply(&r, f, rp);
    bench_open(&b, f);
    MUST(chain_commit(&b.chain, 3, &b.err), &b.err);
    bench_close(&b);
    path_format(path, "%s/records/committed", f->state_dir);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 20), 1);
    close(fd);
    bench_open(&b, f);
    assert_int_equal(b.chain.committed.rp, 3); /* the parent that RP 4 was signed with */
    assert_int_equal(chain_tip_rp(&b.chain), RPS);
    cut_and_compare(f, &b, &r, 4);
    bench_close(&b);
    replay_done(&r);
}

static void a_damaged_committed_record_is_told_from_the_spool(void **state)
{
    (void)state;
    with_fixture(lost_record);
}

static void kept(void *arg)
{
    struct fixture *f = arg;
    struct bench b;
    char path[PATH_CAP];
    seal_some(f);
    bench_open(&b, f);
    b.chain.clean = RPS - 1; /* as while the indexes of the newest are being written */
    MUST(chain_commit(&b.chain, RPS, &b.err), &b.err);
    delta_path(f, RPS, path);
    assert_true(exists(path));
    delta_path(f, RPS - 1, path);
    assert_false(exists(path));
    MUST(chain_set_clean(&b.chain, RPS, &b.err), &b.err);
    delta_path(f, RPS, path);
    assert_false(exists(path));
    assert_int_equal(b.spool.used, 0);
    bench_close(&b);
}

static void a_delta_stays_until_the_indexes_do_not_need_it(void **state)
{
    (void)state;
    with_fixture(kept);
}

static void wiped(void *arg)
{
    struct fixture *f = arg;
    struct bench b;
    char command[PATH_CAP];
    struct replay r;
    seal_some(f);
    fixture_text(command, sizeof command, "rm -r %.90s", f->spool_dir);
    assert_int_equal(system(command), 0);
    replay_init(&r, 16 * MIB);
    bench_open(&b, f);
    assert_int_equal(chain_tip_rp(&b.chain), 0);
    assert_true(b.indexes.seeding); /* the indexes describe RPs that no longer are */
    cut_and_compare(f, &b, &r, 1);
    bench_close(&b);
    replay_done(&r);
}

static void a_spool_that_was_wiped_does_not_hide_changes(void **state)
{
    (void)state;
    with_fixture(wiped);
}

/* An RP is sealed, cannot be recorded (a full disk), and is committed; then the spool is lost. */
static void unrecorded(void *arg)
{
    struct fixture *f = arg;
    struct bench b;
    char command[PATH_CAP], block[PATH_CAP];
    struct replay r;
    replay_init(&r, 16 * MIB);
    bench_open(&b, f);
    path_format(block, "%s/records/scanned.tmp", f->state_dir);
    assert_int_equal(mkdir(block, 0700), 0);
    assert_true(bench_cut(&b, "") < 0);
    assert_int_equal(chain_tip_rp(&b.chain), 1);
    MUST(chain_commit(&b.chain, 1, &b.err), &b.err);
    bench_close(&b);
    replay_apply(&r, f, 1);
    assert_int_equal(rmdir(block), 0);
    fixture_text(command, sizeof command, "rm -r %.90s", f->spool_dir);
    assert_int_equal(system(command), 0);
    fixture_punch(f, 0, 64 * KIB, 64 * KIB); /* as it was before there was any RP */
    bench_open(&b, f);
    assert_int_equal(chain_tip_rp(&b.chain), 1);
    cut_and_compare(f, &b, &r, 2);
    bench_close(&b);
    replay_done(&r);
}

static void what_was_committed_before_it_was_recorded_is_not_forgotten_with_the_spool(void **state)
{
    (void)state;
    with_fixture(unrecorded);
}

/* Writes and cuts until it is killed; sometimes content comes back, as in a file that is rewritten.
 */
static void busy(void *arg)
{
    struct fixture *f = arg;
    struct bench b;
    bench_open(&b, f);
    for (unsigned i = 0;; i++) {
        fixture_fill(f, 0, i * 12288 % (7 * MIB), 300000,
                     i % 3 + (unsigned)chain_tip_rp(&b.chain) % 2);
        if (i % 5 == 4)
            fixture_punch(f, 0, i * 65536 % (7 * MIB), 131072);
        MUST(bench_cut(&b, ""), &b.err);
    }
}

/* Before the first RP, "seeding" is no loss. */
static void first_cut(void *arg)
{
    struct bench b;
    bench_open(&b, arg);
    MUST(bench_cut(&b, ""), &b.err);
    bench_close(&b);
}

struct after {
    struct fixture *f;
    struct replay r;
};

static void look_after(void *arg)
{
    struct after *a = arg;
    struct bench b;
    bench_open(&b, a->f);
    assert_false(b.indexes.seeding); /* no history and no index is lost by a mere kill */
    assert_true(chain_tip_rp(&b.chain) >= a->r.rps);
    cut_and_compare(a->f, &b, &a->r, a->r.rps + 1);
    bench_close(&b);
}

static void killed_at_any_moment_it_goes_on(void **state)
{
    struct after a;
    struct fixture f;
    (void)state;
    log_set_level(LOG_L_ERROR);
    fixture_init(&f);
    fixture_volume(&f, "data", 8 * MIB);
    f.config.delta_max = 1;
    a.f = &f;
    replay_init(&a.r, 16 * MIB);
    for (unsigned i = 0; i < 25; i++) {
        pid_t child = fork();
        if (child == 0) {
            fixture_run(busy, &f);
            _exit(1);
        }
        assert_true(child > 0);
        usleep(20000 + i * 37919 % 150000);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        if (i == 0)
            fixture_run(first_cut, &f);
        fixture_run(look_after, &a);
    }
    assert_true(a.r.rps > 40);
    replay_done(&a.r);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_finds_everything_and_removes_the_unfinished),
        cmocka_unit_test(behind_a_damaged_delta_history_starts_again),
        cmocka_unit_test(what_is_committed_leaves_even_when_a_crash_brings_it_back),
        cmocka_unit_test(a_damaged_committed_record_is_told_from_the_spool),
        cmocka_unit_test(a_delta_stays_until_the_indexes_do_not_need_it),
        cmocka_unit_test(a_spool_that_was_wiped_does_not_hide_changes),
        cmocka_unit_test(what_was_committed_before_it_was_recorded_is_not_forgotten_with_the_spool),
        cmocka_unit_test(killed_at_any_moment_it_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
