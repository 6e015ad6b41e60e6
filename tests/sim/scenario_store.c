/* scenario_store.c: the dir store under crashes, against a model.
 *
 * One machine, one store, a fiber per group that puts the objects of a recovery point and then
 * moves the head, for ever. The power fails, the process is killed, disks fail. At each start the
 * store is compared with the model: a head is the last one that was acknowledged, or the one that
 * was being moved to; the catalog has all of history; every object of a committed recovery point is
 * intact. */
#include "err.h"
#include "proc.h"
#include "scenario.h"
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS     3u
#define OBJECT_MAX (96u * 1024u)
#define CHECKED    12u /* newest recovery points whose objects are read back at each start */
#define SITE       "lens"
#define ROOT       "/srv/relais/store"

struct model {
    char group[16];
    uint64_t acked, in_doubt; /* RPs; in_doubt 0: no move is open */
};

struct bench {
    struct world *w;
    struct procs *procs;
    struct node *node;
    struct model models[GROUPS];
    uint64_t moves, starts;
    enum plant plant;
};

/* One process's time: dead ones unwind while the next one works. */
struct shift {
    struct bench *b;
    struct proc *proc;
    struct store *store;
};

struct worker {
    struct shift *s;
    struct model *m;
    struct fiber *fiber;
};

/* ---- what belongs to an RP follows from the seed: the model need not remember it ---- */

static unsigned objects_of(uint64_t rp)
{
    return 1 + (unsigned)(rp % 3);
}

static void object_name(char dst[STORE_NAME_MAX], const struct model *m, uint64_t rp, unsigned n)
{
    (void)snprintf(dst, STORE_NAME_MAX, "%s/%016" PRIx64 "/%016" PRIx64 ".%04x", m->group, rp,
                   rp * UINT64_C(0x9e3779b97f4a7c15), n);
}

static size_t object_content(uint8_t *dst, struct bench *b, const struct model *m, uint64_t rp,
                             unsigned n)
{
    struct rng r;
    size_t len;
    rng_seed(&r, b->w->seed, (uint64_t)(m - b->models + 1) << 40 | rp << 8 | n);
    len = (size_t)rng_skewed(&r, 1, OBJECT_MAX);
    rng_bytes(&r, dst, len);
    return len;
}

static void head_of(struct store_head *h, struct bench *b, const struct model *m, uint64_t rp)
{
    struct rng r;
    *h = (struct store_head){.rp = rp};
    if (rp == 0)
        return;
    rng_seed(&r, b->w->seed, (uint64_t)(m - b->models + 1) << 48 | rp);
    h->len = (uint16_t)rng_between(&r, 1, STORE_ENTRY_MAX);
    rng_bytes(&r, h->value, h->len);
}

static bool heads_equal(const struct store_head *a, const struct store_head *b)
{
    return a->rp == b->rp && a->len == b->len && memcmp(a->value, b->value, a->len) == 0;
}

/* ---- checking ---- */

/* Errors of the disk itself are no verdict: the caller tries again at the next start. */
static bool is_fault(const struct err *e)
{
    return e->code == ERR_IO || e->code == ERR_AGAIN || e->code == ERR_SPACE ||
           e->code == ERR_CANCELED || e->code == ERR_OS;
}

static bool learn_head(struct shift *s, struct model *m, struct store_head *got)
{
    struct bench *b = s->b;
    struct err e = ERR_INIT;
    struct store_head want;
    if (s->store->ops->head(s->store, SITE, m->group, got, &e)) {
        if (!is_fault(&e))
            world_fail(b->w, "the head of %s cannot be read: %s", m->group, e.text);
        return false;
    }
    if (got->rp != m->acked && !(m->in_doubt && got->rp == m->in_doubt)) {
        world_fail(b->w,
                   "the head of %s is RP %" PRIu64 "; acknowledged was %" PRIu64
                   ", in doubt %" PRIu64,
                   m->group, got->rp, m->acked, m->in_doubt);
        return false;
    }
    head_of(&want, b, m, got->rp);
    if (!heads_equal(got, &want)) {
        world_fail(b->w, "the head of %s, RP %" PRIu64 ", has another value", m->group, got->rp);
        return false;
    }
    m->acked = got->rp;
    m->in_doubt = 0;
    return true;
}

static bool check_objects(struct shift *s, const struct model *m, uint64_t rp, uint8_t *want,
                          uint8_t *got)
{
    struct bench *b = s->b;
    char name[STORE_NAME_MAX];
    for (unsigned n = 0; n < objects_of(rp); n++) {
        struct err e = ERR_INIT;
        uint64_t size = 0;
        size_t len = object_content(want, b, m, rp, n);
        object_name(name, m, rp, n);
        if (s->store->ops->size(s->store, SITE, name, &size, &e) ||
            (size == len && s->store->ops->get(s->store, SITE, name, 0, got, len, &e))) {
            if (!is_fault(&e))
                world_fail(b->w, "object %s of a committed RP: %s", name, e.text);
            return false;
        }
        if (size != len || memcmp(want, got, len) != 0) {
            world_fail(b->w,
                       "object %s of a committed RP has %" PRIu64 " bytes, wrong ones; put "
                       "were %zu",
                       name, size, len);
            return false;
        }
    }
    return true;
}

static bool check_catalog(struct shift *s, const struct model *m)
{
    struct bench *b = s->b;
    struct store_head *got = err_calloc(64, sizeof *got);
    struct err e = ERR_INIT;
    uint64_t after = m->acked > 60 ? m->acked - 60 : 0;
    uint32_t count = 0;
    bool ok = true;
    if (s->store->ops->catalog(s->store, SITE, m->group, after, got, 64, &count, &e)) {
        if (!is_fault(&e))
            world_fail(b->w, "the catalog of %s cannot be read: %s", m->group, e.text);
        ok = false;
    }
    for (uint32_t i = 0; ok && i < m->acked - after; i++) {
        struct store_head want;
        head_of(&want, b, m, after + i + 1);
        ok = i < count && heads_equal(&got[i], &want);
        if (!ok)
            world_fail(b->w,
                       "the catalog of %s lacks RP %" PRIu64 " (%u entries after %" PRIu64 ")",
                       m->group, want.rp, count, after);
    }
    free(got);
    return ok;
}

static bool check_group(struct shift *s, struct model *m)
{
    struct store_head head;
    uint8_t *want, *got;
    bool ok = learn_head(s, m, &head) && check_catalog(s, m);
    if (!ok)
        return false;
    want = err_malloc(OBJECT_MAX);
    got = err_malloc(OBJECT_MAX);
    for (uint64_t rp = m->acked; ok && rp > 0 && rp + CHECKED > m->acked; rp--)
        ok = check_objects(s, m, rp, want, got);
    /* And one from longer ago. */
    if (ok && m->acked > CHECKED)
        ok = check_objects(s, m, 1 + rng_below(&s->b->w->rng, m->acked), want, got);
    free(want);
    free(got);
    return ok;
}

/* ---- working ---- */

static bool put_objects(struct shift *s, struct model *m, uint64_t rp, uint8_t *content)
{
    struct bench *b = s->b;
    char name[STORE_NAME_MAX];
    for (unsigned n = 0; n < objects_of(rp); n++) {
        struct err e = ERR_INIT;
        size_t len = object_content(content, b, m, rp, n);
        object_name(name, m, rp, n);
        if (s->store->ops->put(s->store, SITE, name, content, len, &e)) {
            if (!is_fault(&e))
                world_fail(b->w, "putting %s: %s", name, e.text);
            return false;
        }
    }
    return true;
}

static void move_once(struct shift *s, struct model *m, uint8_t *content)
{
    struct bench *b = s->b;
    struct store_head from, to, now;
    struct err e = ERR_INIT;
    uint64_t rp = m->acked + 1;
    int rc;
    if (!put_objects(s, m, rp, content))
        return;
    head_of(&from, b, m, m->acked);
    head_of(&to, b, m, rp);
    m->in_doubt = rp;
    rc = s->store->ops->move_head(s->store, SITE, m->group, &from, &to, &e);
    if (node_is_dead(fiber_io()))
        return; /* nobody heard of it: it stays in doubt */
    if (rc == 0) {
        m->acked = rp;
        m->in_doubt = 0;
        b->moves++;
        b->w->did[DEED_MOVE]++;
        return;
    }
    world_trace(b->w, "moving %s to RP %" PRIu64 ": %.100s", m->group, rp, e.text);
    if (!is_fault(&e))
        world_fail(b->w, "moving the head of %s to RP %" PRIu64 ": %s", m->group, rp, e.text);
    else if (!proc_stopping(s->proc))
        (void)learn_head(s, m, &now);
}

static void work(void *arg)
{
    struct worker *k = arg;
    struct shift *s = k->s;
    struct bench *b = s->b;
    uint8_t *content = err_malloc(OBJECT_MAX);
    while (!proc_stopping(s->proc) && !fiber_cancelled() && !b->w->failed) {
        struct store_head now;
        if (!k->m->in_doubt || learn_head(s, k->m, &now))
            move_once(s, k->m, content);
        (void)fiber_sleep(rng_skewed(&b->w->rng, 1000, 100 * IO_MS));
    }
    free(content);
}

/* A process opens the store, compares it with the model, works until it ends. */
static void main_process(void *arg, struct proc *p)
{
    struct bench *b = arg;
    struct worker workers[GROUPS];
    struct shift s = {b, p, NULL};
    struct err e = ERR_INIT;
    b->starts++;
    while (store_dir_open(&s.store, ROOT, &e)) {
        world_trace(b->w, "opening: %.120s", e.text);
        if (proc_stopping(p) || b->w->failed)
            return;
        if (!is_fault(&e))
            world_fail(b->w, "the store cannot be opened: %s", e.text);
        proc_wait(p, IO_S);
    }
    /* Where a fault gets in the way, the next start checks again. */
    for (unsigned i = 0; i < GROUPS; i++)
        (void)check_group(&s, &b->models[i]);
    for (unsigned i = 0; i < GROUPS; i++) {
        workers[i] = (struct worker){&s, &b->models[i], NULL};
        workers[i].fiber = fiber_spawn(fiber_io(), "worker", work, &workers[i]);
    }
    proc_wait(p, UINT64_MAX / 2);
    for (unsigned i = 0; i < GROUPS; i++)
        fiber_cancel(workers[i].fiber);
    for (unsigned i = 0; i < GROUPS; i++)
        fiber_join(workers[i].fiber);
    s.store->ops->close(s.store);
}

static void start_if_down(struct bench *b)
{
    if (!node_live(b->node) && !b->w->failed)
        (void)proc_start(b->procs, b->node, main_process, b);
}

/* A bit of the newest object that was surely stored goes bad. */
static void rot(struct bench *b)
{
    const struct model *m = &b->models[rng_below(&b->w->rng, GROUPS)];
    char path[256], name[STORE_NAME_MAX];
    size_t len;
    uint8_t *content;
    if (m->acked == 0)
        return;
    object_name(name, m, m->acked, 0);
    (void)snprintf(path, sizeof path, ROOT "/sites/" SITE "/objects/%.*s+/%.3s+%s",
                   (int)strlen(m->group) + 14, name, name + strlen(m->group) + 14,
                   name + strlen(m->group) + 18);
    content = disk_peek(node_disk(b->node), path, &len);
    if (content)
        disk_rot(node_disk(b->node), path, rng_below(&b->w->rng, len));
    free(content);
}

static void spend(struct bench *b, uint64_t ns)
{
    uint64_t until = b->w->now + ns;
    while (b->w->now < until && !b->w->failed) {
        uint64_t step = until - b->w->now < 50 * IO_MS ? until - b->w->now : 50 * IO_MS;
        world_run_until(b->w, b->w->now + step);
        procs_reap(b->procs);
    }
}

static void trouble(struct bench *b, uint64_t until)
{
    struct rng own, *r = &own;
    while (b->w->now < until && !b->w->failed) {
        bool now = world_trouble(b->w, r);
        start_if_down(b);
        spend(b, rng_skewed(r, 20 * IO_MS, 8 * IO_S));
        if (!now)
            continue;
        if (rng_chance(r, 100000))
            disk_set_capacity(node_disk(b->node), disk_used(node_disk(b->node)) + 64 * 1024);
        else
            disk_set_capacity(node_disk(b->node), UINT64_C(1) << 32);
        procs_end(b->procs, b->node, rng_chance(r, 300000) ? PROC_KILL : PROC_CRASH);
        if (b->plant == PLANT_BIT_ROT)
            rot(b);
        spend(b, rng_skewed(r, 0, IO_S));
    }
}

/* Faults have stopped: every group must get on, and the last start finds all in order. */
static void converge(struct bench *b)
{
    uint64_t before[GROUPS];
    b->w->calm = true;
    disk_set_capacity(node_disk(b->node), UINT64_C(1) << 32);
    start_if_down(b);
    spend(b, 5 * IO_S);
    for (unsigned i = 0; i < GROUPS; i++)
        before[i] = b->models[i].acked;
    spend(b, 20 * IO_S);
    for (unsigned i = 0; i < GROUPS && !b->w->failed; i++)
        if (b->models[i].acked == before[i])
            world_fail(b->w, "%s stays at RP %" PRIu64 " although nothing is broken any more",
                       b->models[i].group, before[i]);
    procs_end(b->procs, b->node, PROC_CRASH);
    procs_settle(b->procs);
    start_if_down(b);
    spend(b, 5 * IO_S);
    procs_end(b->procs, b->node, PROC_STOP);
    procs_settle(b->procs);
}

static void run(struct world *w, enum plant plant)
{
    struct bench b = {.w = w, .plant = plant};
    b.procs = procs_new(w);
    b.node = node_new(w, "arras", UINT64_C(1) << 32);
    scenario_plant(node_disk(b.node), plant);
    scenario_draw_faults(w);
    for (unsigned i = 0; i < GROUPS; i++)
        (void)snprintf(b.models[i].group, sizeof b.models[i].group, "group-%u", i);
    trouble(&b, w->now + 40 * IO_S);
    converge(&b);
    if (w->failed)
        return; /* the child process ends: what is left behind tells nobody anything */
    world_trace(w, "%" PRIu64 " moves, %" PRIu64 " starts", b.moves, b.starts);
    procs_free(b.procs);
    node_free(b.node);
}

const struct scenario scenario_store = {
    .name = "store",
    .run = run,
    .every = 1,
    .plants = 1u << PLANT_SYNC_LIES | 1u << PLANT_SYNC_DIR_LIES | 1u << PLANT_RENAME_TEARS |
              1u << PLANT_BIT_ROT,
};
