/* merge: neighbours become one delta that holds the same, or everything stays as it was. */
#include "merge.h"

#include "crash_disk.h"
#include "log.h"
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
#define CAPACITY (16 * MIB)
#define RPS      8u

static void with_fixture(void (*fn)(void *arg))
{
    struct fixture f;
    log_set_level(LOG_L_ERROR - 1);
    fixture_init(&f);
    f.config.compression = 0;
    fixture_volume(&f, "data", 8 * MIB);
    fixture_volume(&f, "wal", 3 * MIB + 512);
    fixture_run(fn, &f);
    fixture_done(&f);
}

static void open_bench(struct bench *b, struct fixture *f)
{
    bench_open(b, f);
    b->chain.sent = 0; /* as after a time without a connection */
}

/* RP 1 is everything, then each rewrites a hot range, punches, and writes something of its own; the
 * even ones whole extents, the odd ones parts of them. */
static void change(struct fixture *f, unsigned rp)
{
    if (rp == 1)
        fixture_fill(f, 0, 0, 6 * MIB, 1);
    fixture_fill(f, 0, rp % 2 ? 300000 / 4096 * 4096 : 0, rp % 2 ? 65536 : 2 * MIB, 100 + rp);
    fixture_fill(f, 0, 4 * MIB + rp * 32768, 20000, 200 + rp);
    fixture_punch(f, 0, 3 * MIB + rp * 16384, 40960);
    fixture_fill(f, 1, rp * 4096, 3 * MIB + 512 - rp * 200000, 300 + rp);
}

/* What the volumes are at each RP. */
struct past {
    uint8_t *images[RPS + 3][2];
};

static void remember(struct past *p, const struct fixture *f, unsigned rp)
{
    for (unsigned v = 0; v < 2; v++) {
        int fd = open(f->volumes[v].path, O_RDONLY | O_CLOEXEC);
        p->images[rp][v] = err_calloc(1, CAPACITY);
        assert_true(read(fd, p->images[rp][v], CAPACITY) > 0);
        close(fd);
    }
}

static void past_free(struct past *p)
{
    for (unsigned rp = 0; rp < RPS + 3; rp++)
        for (unsigned v = 0; v < 2; v++)
            free(p->images[rp][v]);
}

static void seal(struct fixture *f, struct past *p, unsigned from, unsigned to)
{
    struct bench b;
    bench_open(&b, f);
    for (unsigned rp = from; rp <= to; rp++) {
        change(f, rp);
        MUST(bench_cut(&b, ""), &b.err);
        assert_int_equal(chain_tip_rp(&b.chain), rp);
        remember(p, f, rp);
    }
    bench_close(&b);
}

static uint64_t files_cost(const struct fixture *f, unsigned *deltas)
{
    char dir[PATH_CAP], path[PATH_CAP + 256];
    uint64_t cost = 0;
    struct dirent *entry;
    DIR *d;
    path_format(dir, "%s/records", f->spool_dir);
    d = opendir(dir);
    *deltas = 0;
    while ((entry = readdir(d))) {
        struct stat st;
        if (entry->d_name[0] == '.')
            continue;
        if (!strstr(entry->d_name, ".delta") || strstr(entry->d_name, "tmp"))
            fail_msg("%s was left behind", entry->d_name);
        (void)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        assert_int_equal(stat(path, &st), 0);
        cost += spool_cost((uint64_t)st.st_size);
        ++*deltas;
    }
    closedir(d);
    return cost;
}

/* Every RP that is still there is what it was; the accounts are those of the files. */
static void assert_all_as_it_was(const struct bench *b, struct fixture *f, const struct past *p)
{
    struct replay r;
    unsigned deltas;
    uint64_t cost = files_cost(f, &deltas);
    assert_int_equal(b->spool.files, cost);
    assert_int_equal(b->spool.used, cost);
    assert_int_equal(b->chain.share.used, cost);
    assert_int_equal(b->chain.count, deltas);
    replay_init(&r, CAPACITY);
    for (size_t i = 0; i < b->chain.count; i++) {
        const struct chain_delta *d = &b->chain.deltas[i];
        assert_int_equal(d->rp_first, r.last_rp + 1);
        replay_apply(&r, f, d->rp);
        assert_true(digest_equal(&d->link, &r.last_link));
        for (unsigned v = 0; v < 2; v++)
            assert_memory_equal(r.images[v].bytes, p->images[d->rp][v], r.images[v].size);
    }
    replay_done(&r);
}

static int no_rest(void *arg, struct err *e)
{
    (void)arg;
    (void)e;
    return 0;
}

/* Merges `count` deltas from number `first`. */
static int merge(struct bench *b, size_t first, size_t count, merge_pace *pace, void *arg,
                 struct err *e)
{
    struct bufpool parts;
    struct merge m;
    uint64_t reserved;
    int res;
    bufpool_init(&parts, PART_SIZE, 4);
    res = merge_plan(&m, &b->chain, first, count, e);
    if (res == 0) {
        assert_true(m.fits);
        assert_int_equal(m.count, count);
        res = spool_reserve(&b->chain.share, SPOOL_MERGE, m.out_cost, m.out_cost, &reserved, e);
    }
    if (res == 0)
        res = merge_write(&m, &parts, b->f->sign, reserved, pace, arg, e);
    merge_end(&m);
    bufpool_free(&parts);
    return res;
}

static void same_content(void *arg)
{
    struct fixture *f = arg;
    struct past p = {0};
    struct bench b;
    uint64_t before;
    seal(f, &p, 1, 4);
    seal(f, &p, 5, RPS); /* another data key */
    open_bench(&b, f);
    before = b.spool.files;
    MUST(merge(&b, 2, 4, no_rest, NULL, &b.err), &b.err); /* RPs 3 to 6 */
    assert_int_equal(b.chain.count, RPS - 3);
    assert_true(b.spool.files + 2 * MIB < before);
    assert_all_as_it_was(&b, f, &p);
    MUST(merge(&b, 2, 2, no_rest, NULL, &b.err), &b.err); /* that and RP 7 */
    MUST(merge(&b, 0, 3, no_rest, NULL, &b.err), &b.err); /* and those before */
    assert_int_equal(b.chain.count, 2);
    assert_int_equal(b.chain.deltas[0].rp_first, 1);
    assert_int_equal(b.chain.deltas[0].rp, 7);
    assert_int_equal(chain_stands_for(&b.chain, 1), 7);
    assert_int_equal(chain_stands_for(&b.chain, 7), 7);
    assert_int_equal(chain_stands_for(&b.chain, RPS), RPS);
    assert_int_equal(chain_stands_for(&b.chain, RPS + 1), RPS + 1); /* none that is known */
    assert_all_as_it_was(&b, f, &p);
    bench_close(&b);
    open_bench(&b, f); /* and a restart finds it so */
    assert_false(b.indexes.seeding);
    assert_int_equal(b.chain.count, 2);
    MUST(merge(&b, 0, 2, no_rest, NULL, &b.err), &b.err);
    change(f, RPS + 1);
    MUST(bench_cut(&b, ""), &b.err); /* history goes on from it */
    remember(&p, f, RPS + 1);
    assert_all_as_it_was(&b, f, &p);
    bench_close(&b);
    past_free(&p);
}
static void a_merged_delta_holds_what_it_merged_and_history_goes_on(void **state)
{
    (void)state;
    with_fixture(same_content);
}

/* Only what is at least as new is needed; who covers whom is told from the indexes. */
static void what_is_left(void *arg)
{
    struct fixture *f = arg;
    struct past p = {0};
    struct merge m;
    struct bench b;
    bench_open(&b, f);
    for (unsigned rp = 1; rp <= 5; rp++) {
        fixture_fill(f, 0, MIB, MIB, rp);           /* the same extent each time */
        fixture_fill(f, 0, 4 * MIB, rp * 4096, rp); /* one that grows: the newest covers it */
        MUST(bench_cut(&b, ""), &b.err);
        remember(&p, f, rp);
    }
    b.chain.sent = 0;
    MUST(merge_plan(&m, &b.chain, 0, 5, &b.err), &b.err);
    assert_int_equal(m.kept, 2);
    assert_int_equal(m.output.sources, 1);
    assert_int_equal(m.output.keys, 1);
    assert_true(m.in_cost == b.spool.files && m.out_cost < m.in_cost / 4);
    merge_end(&m);
    fixture_fill(f, 0, 6 * MIB, MIB, 9);
    MUST(bench_cut(&b, ""), &b.err);
    MUST(merge_plan(&m, &b.chain, 4, 2, &b.err), &b.err); /* two that have nothing in common */
    assert_int_equal(m.kept, 3);
    assert_int_equal(m.output.sources, 2);
    assert_true(m.out_cost + 64 * KIB > m.in_cost);
    merge_end(&m);
    bench_close(&b);
    past_free(&p);
}
static void what_merging_frees_is_told_from_the_indexes_alone(void **state)
{
    (void)state;
    with_fixture(what_is_left);
}

static void reaches(void *arg)
{
    struct chain_delta d[8];
    struct chain c = {.deltas = d, .count = 8, .clean = 8};
    (void)arg;
    for (size_t i = 0; i < 8; i++)
        d[i] = (struct chain_delta){.rp_first = i + 1, .rp = i + 1, .flags = MANIFEST_COMPLETE};
    assert_int_equal(merge_reach(&c, 0, 100), 8);
    assert_int_equal(merge_reach(&c, 3, 100), 5);
    assert_int_equal(merge_reach(&c, 3, 2), 2);
    assert_int_equal(merge_reach(&c, 8, 2), 0);
    d[4].labelled = true; /* may be the last of a merge, not one of those before */
    assert_int_equal(merge_reach(&c, 0, 100), 5);
    assert_int_equal(merge_reach(&c, 4, 100), 1);
    assert_int_equal(merge_reach(&c, 5, 100), 3);
    d[4].labelled = false;
    d[6].flags = d[7].flags = 0; /* a complete RP is not given up for a stretch */
    assert_int_equal(merge_reach(&c, 0, 100), 6);
    assert_int_equal(merge_reach(&c, 6, 100), 2);
    d[0].flags = d[1].flags = 0; /* stretches go with their complete end, or together */
    assert_int_equal(merge_reach(&c, 0, 100), 6);
    assert_int_equal(merge_reach(&c, 0, 2), 2);
    c.clean = 3; /* what the indexes may still need as it is */
    assert_int_equal(merge_reach(&c, 0, 100), 3);
}
static void labels_and_complete_points_are_not_merged_away(void **state)
{
    (void)state;
    fixture_run(reaches, NULL);
}

static void resized(void *arg)
{
    struct fixture *f = arg;
    struct past p = {0};
    struct merge m;
    struct bench b;
    seal(f, &p, 1, 3);
    fixture_resize(f, 0, 7 * MIB);
    seal(f, &p, 4, 5);
    open_bench(&b, f);
    MUST(merge_plan(&m, &b.chain, 0, 5, &b.err), &b.err);
    assert_int_equal(m.count, 3);
    assert_int_equal(m.rp, 3);
    merge_end(&m);
    bench_close(&b);
    past_free(&p);
}
static void a_volume_that_was_resized_ends_a_merge(void **state)
{
    (void)state;
    with_fixture(resized);
}

static void decayed(void *arg)
{
    struct fixture *f = arg;
    struct past p = {0};
    struct err e = ERR_INIT;
    struct bench b;
    char dir[PATH_CAP], path[PATH_CAP];
    seal(f, &p, 1, 4);
    path_format(dir, "%s/records", f->spool_dir);
    path_delta(path, dir, 4); /* all of the newest is kept */
    for (unsigned what = 0; what < 2; what++) {
        const struct chain_delta *d;
        uint8_t byte;
        off_t at;
        int fd = open(path, O_RDWR | O_CLOEXEC);
        open_bench(&b, f);
        d = &b.chain.deltas[3];
        at = what ? 1000 : (off_t)(d->file_len - d->manifest_len - 40); /* extent; index */
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(merge(&b, 0, 4, no_rest, NULL, &e), -ERR_CORRUPT);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        assert_int_equal(b.chain.count, 4);
        assert_all_as_it_was(&b, f, &p);
        bench_close(&b);
    }
    past_free(&p);
}
static void bytes_that_decayed_are_not_vouched_for(void **state)
{
    (void)state;
    with_fixture(decayed);
}

/* What may happen while a merge rests between two parts. */
enum meanwhile { SHIPPED, COMMITTED, DROPPED, STOPPED, MEANWHILES };
struct meddler {
    struct bench *b;
    enum meanwhile what;
    unsigned calls;
};

static int meddle(void *arg, struct err *e)
{
    struct meddler *m = arg;
    if (m->calls++ > 0)
        return 0;
    switch (m->what) {
    case SHIPPED:
        assert_int_equal(chain_to_ship(&m->b->chain, 1), 0); /* not while it is merged */
        return 0;
    case COMMITTED:
        MUST(chain_commit(&m->b->chain, 1, e), e);
        return 0;
    case DROPPED:
        MUST(chain_drop(&m->b->chain, 4, "test", e), e);
        return 0;
    default:
        return err_set(e, ERR_CANCELED, "stopped");
    }
}

static void disturbed(void *arg)
{
    struct fixture *f = arg;
    struct past p = {0};
    for (enum meanwhile what = SHIPPED; what < MEANWHILES; what++) {
        struct bench b;
        struct err e = ERR_INIT;
        struct meddler m = {.b = &b, .what = what};
        char command[PATH_CAP];
        seal(f, &p, 1, 4);
        open_bench(&b, f);
        assert_int_equal(merge(&b, 0, 4, meddle, &m, &e),
                         what == STOPPED ? -ERR_CANCELED : -ERR_AGAIN);
        assert_int_equal(b.spool.used, b.spool.files);
        assert_int_equal(b.chain.count, what == COMMITTED || what == DROPPED ? 3 : 4);
        if (what == SHIPPED)
            assert_int_equal(chain_to_ship(&b.chain, 1), 1);
        if (what == SHIPPED || what == STOPPED)
            assert_all_as_it_was(&b, f, &p);
        bench_close(&b);
        past_free(&p);
        memset(&p, 0, sizeof p);
        fixture_text(command, sizeof command, "rm -rf %.90s %.90s", f->spool_dir, f->state_dir);
        assert_int_equal(system(command), 0);
    }
}
static void a_merge_gives_way_to_whatever_comes_between(void **state)
{
    (void)state;
    with_fixture(disturbed);
}

/* ---- a crash at every step ---- */

struct crash {
    struct fixture *f;
    struct past p;
    unsigned runs;
};

static void set_back(const struct crash *c)
{
    char command[6 * PATH_CAP];
    fixture_text(command, sizeof command,
                 "rm -rf %.90s %.90s && cp -a %.60s/was/spool %.90s && cp -a %.60s/was/state %.90s",
                 c->f->spool_dir, c->f->state_dir, c->f->root, c->f->spool_dir, c->f->root,
                 c->f->state_dir);
    assert_int_equal(system(command), 0);
}

static void keep(const struct crash *c)
{
    char command[6 * PATH_CAP];
    fixture_text(command, sizeof command,
                 "mkdir %.60s/was && cp -a %.90s %.60s/was/spool && cp -a %.90s %.60s/was/state",
                 c->f->root, c->f->spool_dir, c->f->root, c->f->state_dir, c->f->root);
    assert_int_equal(system(command), 0);
}

/* One merge of RPs 2 to 6 that ends at this step; then a start. *pending: names that could be lost.
 * False: the merge was through before. */
static bool crash_at(struct crash *c, uint64_t step, bool once, unsigned forget, unsigned *pending)
{
    static struct crash_disk d; /* too large for a stack */
    struct bench b;
    struct err e = ERR_INIT;
    bool hit;
    set_back(c);
    open_bench(&b, c->f);
    crash_disk_begin(&d, fiber_io(), step, once);
    (void)merge(&b, 1, 5, no_rest, NULL, &e);
    hit = d.hit;
    crash_disk_end(&d);
    *pending = d.name_count;
    if (once && hit) { /* it goes on with what it has */
        MUST(chain_sweep(&b.chain, &e), &e);
        assert_int_equal(b.spool.used, b.spool.files);
        assert_int_equal(chain_tip_rp(&b.chain), RPS);
    }
    bench_close(&b);
    crash_disk_forget(&d, forget);
    crash_disk_free(&d);
    open_bench(&b, c->f);
    assert_int_equal(chain_tip_rp(&b.chain), RPS);
    assert_false(b.indexes.seeding);
    assert_true(b.chain.count == RPS || b.chain.count == RPS - 4);
    assert_all_as_it_was(&b, c->f, &c->p);
    MUST(merge(&b, 1, b.chain.count == RPS ? 5 : 2, no_rest, NULL, &e), &e);
    assert_all_as_it_was(&b, c->f, &c->p);
    bench_close(&b);
    c->runs++;
    return hit;
}

static void crashes(void *arg)
{
    struct crash c = {.f = arg};
    unsigned pending = 0, steps = 0;
    seal(c.f, &c.p, 1, RPS);
    keep(&c);
    for (uint64_t step = 1; crash_at(&c, step, false, 0, &pending); step++) {
        unsigned most = pending;
        for (unsigned forget = 1; forget <= most; forget++)
            (void)crash_at(&c, step, false, forget, &pending);
        (void)crash_at(&c, step, true, 0, &pending);
        steps++;
    }
    assert_true(steps >= 12 && c.runs > 2 * steps); /* create, write, sync, rename, remove ... */
    past_free(&c.p);
}
static void a_crash_at_any_step_leaves_one_or_the_other_whole(void **state)
{
    (void)state;
    with_fixture(crashes);
}

/* What a start finds may be in the kernel's memory only: nothing is removed that a power cut could
 * need again. */
static struct {
    const struct io_ops *real;
    struct io_ops ops;
    char spool[PATH_CAP], state[PATH_CAP]; /* of the group */
    bool spool_synced, state_synced;
    unsigned removed;
} order;

static void note_sync(struct io *io, struct io_req *req, const char *path)
{
    order.spool_synced |= strcmp(path, order.spool) == 0;
    order.state_synced |= strcmp(path, order.state) == 0; /* it says what may go */
    order.real->sync_dir(io, req, path);
}

static void note_unlink(struct io *io, struct io_req *req, const char *path)
{
    if (strstr(path, ".delta")) {
        order.removed++;
        assert_true(order.spool_synced && order.state_synced);
    }
    order.real->unlink(io, req, path);
}

static void start_again(void *arg)
{
    struct crash c = {.f = arg};
    struct io *io = fiber_io();
    struct bench b;
    struct err e = ERR_INIT;
    char command[2 * PATH_CAP];
    seal(c.f, &c.p, 1, RPS);
    keep(&c);
    open_bench(&b, c.f);
    path_format(order.spool, "%s", b.chain.dir);
    path_format(order.state, "%s", b.chain.state_dir);
    MUST(merge(&b, 1, 5, no_rest, NULL, &e), &e);
    bench_close(&b);
    fixture_text(command, sizeof command, "cp -an %.60s/was/spool/. %.90s/", c.f->root,
                 c.f->spool_dir); /* those that were merged, as killed before they were removed */
    assert_int_equal(system(command), 0);
    order.real = io->ops;
    order.ops = *io->ops;
    order.ops.sync_dir = note_sync;
    order.ops.unlink = note_unlink;
    io->ops = &order.ops;
    open_bench(&b, c.f);
    io->ops = order.real;
    assert_int_equal(order.removed, 4);
    assert_all_as_it_was(&b, c.f, &c.p);
    bench_close(&b);
    past_free(&c.p);
}
static void a_start_removes_what_was_merged_when_the_merged_one_is_durable(void **state)
{
    (void)state;
    with_fixture(start_again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_merged_delta_holds_what_it_merged_and_history_goes_on),
        cmocka_unit_test(what_merging_frees_is_told_from_the_indexes_alone),
        cmocka_unit_test(labels_and_complete_points_are_not_merged_away),
        cmocka_unit_test(a_volume_that_was_resized_ends_a_merge),
        cmocka_unit_test(bytes_that_decayed_are_not_vouched_for),
        cmocka_unit_test(a_merge_gives_way_to_whatever_comes_between),
        cmocka_unit_test(a_crash_at_any_step_leaves_one_or_the_other_whole),
        cmocka_unit_test(a_start_removes_what_was_merged_when_the_merged_one_is_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
