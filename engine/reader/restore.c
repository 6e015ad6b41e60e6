/* restore.c: brings a volume back: plan, keys, then units in parallel into the target. */
#include "gaps.h"
#include "log.h"
#include "unit.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARALLEL_DEFAULT 16u
#define PARALLEL_MAX     20u /* at some 3 MiB each: 64 MiB */
#define SAVE_NS          (1 * IO_S)

struct restore {
    struct unit_job job;
    struct target target;
    struct state state;
    struct digest identity;
    struct plan plan;
    struct unit *units;
    size_t unit_count, next;
    const struct restore_options *options;
    struct restore_progress *progress;
    int (*each)(struct restore *r, struct unit_slot *s, size_t n, struct err *e); /* unit */
    bool stop, sync_failed;
    unsigned running; /* workers */
    struct fiber_cond ended;
    struct err err; /* the first */
};

struct worker {
    struct restore *r;
    struct fiber *fiber;
};

static void fail(struct restore *r, const struct err *e)
{
    if (r->err.code == ERR_OK)
        r->err = *e;
    r->stop = true;
}

static uint64_t unit_bytes(const struct restore *r, const struct unit *u)
{
    uint64_t n = 0;
    for (size_t i = u->first; i < u->first + u->count; i++)
        n += (uint64_t)r->plan.pieces[i].sectors << SECTOR_SHIFT;
    return n;
}

static void tell(struct restore *r)
{
    if (r->options->progress)
        r->options->progress(r->options->arg, r->progress);
}

/* What an earlier attempt has written counts if it is still there: somebody may have used the
 * target in between. */
static int look_back(struct restore *r, struct unit_slot *s, size_t n, bool *holds, struct err *e)
{
    const uint8_t *mac = r->target.resumed ? state_mac(&r->state, n) : NULL;
    uint64_t bytes = unit_bytes(r, &r->units[n]);
    *holds = false;
    if (!mac)
        return 0;
    int rc = unit_check(&r->job, s, &r->units[n], n, mac, holds, e);
    if (rc == 0 && *holds)
        r->progress->found += bytes;
    else if (rc == 0)
        r->progress->redone += bytes;
    return rc;
}

static int write_unit(struct restore *r, struct unit_slot *s, size_t n, struct err *e)
{
    const struct unit *u = &r->units[n];
    uint8_t mac[STATE_MAC_LEN];
    bool holds;
    int rc = look_back(r, s, n, &holds, e);
    if (rc < 0)
        return rc;
    if (!holds) {
        rc = unit_run(&r->job, s, u, n, mac, e);
        if (rc < 0)
            return rc;
        if (!r->target.nowhere)
            state_set(&r->state, n, mac);
        r->progress->fetched += u->span;
    }
    r->progress->bytes_done += unit_bytes(r, u);
    return 0;
}

static int check_unit(struct restore *r, struct unit_slot *s, size_t n, struct err *e)
{
    const struct unit *u = &r->units[n];
    bool holds = false;
    int rc = unit_check(&r->job, s, u, n, state_mac(&r->state, n), &holds, e);
    if (rc == 0 && !holds)
        return err_set(e, ERR_CORRUPT,
                       "%s: what is read back at byte %llu and behind is not what was written and "
                       "verified: somebody else writes to it, or it does not keep what it is told",
                       r->target.path, (unsigned long long)unit_start(&r->plan, u));
    r->progress->bytes_checked += unit_bytes(r, u);
    return rc;
}

static void worker_main(void *arg)
{
    struct worker *w = arg;
    struct restore *r = w->r;
    struct unit_slot slot;
    unit_slot_init(&slot);
    while (!r->stop && r->next < r->unit_count) {
        struct err e = ERR_INIT;
        if (r->each(r, &slot, r->next++, &e) < 0) {
            fail(r, &e);
            break;
        }
        tell(r);
    }
    unit_slot_free(&slot);
    r->running--;
    fiber_wake_all(&r->ended);
}

/* The target goes first: what is on record was on disk once. When that fails, what is not on record
 * yet never will be, for the kernel tells of a failed write once, and may go on showing what the
 * disk does not have to whoever reads back. */
static int save(struct restore *r, struct err *e)
{
    size_t count = r->state.fresh_count; /* units that end during the sync may not be in it */
    if (r->sync_failed || count == 0)
        return 0;
    int rc = target_sync(&r->target, e);
    r->sync_failed = rc < 0 && e->code != ERR_CANCELED;
    return rc < 0 ? rc : state_save(&r->state, count, e);
}

/* Keeps the state near what is done, so that an interruption costs seconds. */
static void saver_main(void *arg)
{
    struct restore *r = arg;
    while (!r->stop && fiber_sleep(SAVE_NS) == 0) {
        struct err e = ERR_INIT;
        if (save(r, &e) < 0 && !fiber_cancelled())
            fail(r, &e);
    }
}

/* What a state must agree on: the recovery point (and with its digest all history), the
 * volume, and how the plan was cut. */
static void identify(struct restore *r, size_t point)
{
    struct bytes_out o = bytes_out(1024);
    bytes_put_str(&o, "relais restore 2");
    bytes_put(&o, r->job.r->links[point].digest.b, DIGEST_LEN);
    bytes_put_str(&o, r->job.volume);
    bytes_put_u64(&o, r->plan.size);
    bytes_put_u64(&o, r->plan.sectors);
    bytes_put_u64(&o, r->unit_count);
    bytes_put_u64(&o, UNIT_SPAN);
    bytes_put_u64(&o, UNIT_PLAIN);
    bytes_put_u64(&o, UNIT_GAP);
    ASSERT(!o.bad);
    digest_of(&r->identity, o.p, o.len);
    bytes_free(&o);
}

/* A device is not changed by opening it, and may be refused: then the state stays as it was. A part
 * may just be getting its name in another restore, which holds the state until it has: so the state
 * goes first there, and a complete target is never taken for a part. */
static int open_both(struct restore *r, struct err *e)
{
    struct target *t = &r->target;
    int rc = 0;
    if (t->nowhere)
        return target_open(t, r->plan.size, false, e);
    if (t->device)
        rc = target_open(t, r->plan.size, false, e);
    if (rc == 0)
        rc = state_open(&r->state, &r->identity, r->unit_count, e);
    if (rc == 0 && !t->device)
        rc = target_open(t, r->plan.size, r->state.resumed, e);
    if (t->device)
        t->resumed = r->state.resumed;
    return rc;
}

/* Only now something is changed. */
static int open_target(struct restore *r, struct err *e)
{
    int rc = open_both(r, e);
    if (rc == 0 && r->state.resumed && !r->target.resumed)
        rc = state_reset(&r->state, &r->identity, e);
    /* A device keeps what nobody writes; so does a part that somebody wrote to. */
    if (rc == 0 && (r->target.device || r->target.resumed))
        rc = gaps_zero(&r->plan, &r->target, e);
    return rc;
}

static int prepare(struct restore *r, size_t point, struct err *e)
{
    int rc = plan_make(&r->plan, r->job.r, point, r->job.volume, e);
    if (rc < 0)
        return rc;
    rc = unit_keys_open(&r->job.keys, r->job.r, &r->plan, r->options->keys, r->options->key_count,
                        e);
    if (rc < 0)
        return rc;
    r->units = units_make(&r->plan, &r->unit_count);
    identify(r, point);
    unit_mac_key(r->job.mac_key, &r->job.keys, &r->identity);
    r->progress->bytes_total = r->plan.sectors << SECTOR_SHIFT;
    return open_target(r, e);
}

static void save_main(void *arg)
{
    struct restore *r = arg;
    struct err e = ERR_INIT;
    if (save(r, &e) < 0)
        log_warn("%s; the next attempt begins further back", e.text);
}

/* In a fiber of its own, because the one that restores may have been cancelled and could not. */
static void save_last(struct restore *r)
{
    fiber_join(fiber_spawn(fiber_io(), "restore-state", save_main, r));
}

static int run_units(struct restore *r,
                     int (*each)(struct restore *r, struct unit_slot *s, size_t n, struct err *e),
                     struct err *e)
{
    struct worker workers[PARALLEL_MAX];
    unsigned n = r->options->parallel ? r->options->parallel : PARALLEL_DEFAULT;
    if (n > PARALLEL_MAX)
        n = PARALLEL_MAX;
    if (n > r->unit_count)
        n = (unsigned)r->unit_count;
    r->each = each;
    r->next = 0;
    struct fiber *saver = fiber_spawn(fiber_io(), "restore-state", saver_main, r);
    for (unsigned i = 0; i < n; i++) {
        workers[i].r = r;
        r->running++;
        workers[i].fiber = fiber_spawn(fiber_io(), "restore", worker_main, &workers[i]);
    }
    /* When this fiber is cancelled the workers end their unit first: what they wait for is short.
     */
    while (r->running > 0 && !r->stop)
        if (fiber_wait(&r->ended, FIBER_FOREVER) == -ECANCELED)
            r->stop = true;
    for (unsigned i = 0; i < n; i++)
        fiber_join(workers[i].fiber);
    fiber_cancel(saver);
    fiber_join(saver);
    if (fiber_cancelled())
        (void)err_set(&r->err, ERR_CANCELED, "interrupted; the same command continues");
    if (r->err.code == ERR_OK)
        return 0;
    save_last(r);
    *e = r->err;
    return -(int)e->code;
}

/* Everything that was written, past the page cache, against the hashes of what was verified. */
static int check_all(struct restore *r, struct err *e)
{
    r->progress->checking = true;
    int rc = target_read_from_disk(&r->target, e);
    if (rc == 0)
        rc = run_units(r, check_unit, e);
    if (rc == 0)
        rc = gaps_check(&r->plan, &r->target, e);
    return rc;
}

static int write_all(struct restore *r, struct err *e)
{
    int rc = run_units(r, write_unit, e);
    if (rc == 0)
        rc = target_sync(&r->target, e);
    if (rc == 0 && r->options->check && !r->target.nowhere)
        rc = check_all(r, e);
    if (rc == 0)
        rc = target_finish(&r->target, e);
    if (rc == 0)
        state_remove(&r->state);
    return rc;
}

/* Whether target and state may be what they are named. */
static int check_names(struct restore *r, const char *target, struct err *e)
{
    char beside[STATE_PATH_MAX];
    const char *state = r->options->state;
    int rc = target_check(&r->target, target, r->options->force, e);
    if (rc < 0)
        return rc;
    if (target && !state && !r->target.device) {
        (void)snprintf(beside, sizeof beside, "%s.relais-state", target);
        state = beside;
    }
    if (target && state && (strcmp(state, target) == 0 || strcmp(state, r->target.part) == 0))
        return err_set(e, ERR_INPUT, "%s cannot be both the target and its state", state);
    return state_check(&r->state, target ? state : NULL, e);
}

int reader_restore(struct reader *reader, uint64_t rp, const char *volume, const char *target,
                   const struct restore_options *options, struct restore_progress *done,
                   struct err *e)
{
    struct restore_progress own = {0};
    struct restore *r = err_calloc(1, sizeof *r);
    ssize_t point = history_find(reader, rp);
    r->job = (struct unit_job){
        .r = reader, .volume = volume, .rp = rp, .plan = &r->plan, .target = &r->target};
    r->job.damage = target ? NULL : options->damage;
    r->options = options;
    r->progress = done ? done : &own;
    memset(r->progress, 0, sizeof *r->progress);
    r->state.fd = -1;
    seal_group_id(r->job.group_id, reader->site, reader->group);
    seal_volume_id(r->job.volume_id, reader->site, reader->group, volume);
    int rc = check_names(r, target, e);
    if (rc == 0 && (point < 0 || !reader->points[point].complete))
        rc = err_set(e, ERR_NOENT, "%s/%s: RP %" PRIu64 " is no complete recovery point",
                     reader->site, reader->group, rp);
    if (rc == 0)
        rc = prepare(r, (size_t)point, e);
    if (rc == 0)
        rc = write_all(r, e);
    if (rc == 0 && r->job.damaged > 0)
        rc =
            err_set(e, ERR_CORRUPT, "%s/%s@%" PRIu64 ", volume %s: %" PRIu64 " extents are damaged",
                    reader->site, reader->group, rp, volume, r->job.damaged);
    target_close(&r->target);
    state_close(&r->state);
    unit_keys_wipe(&r->job.keys);
    sodium_memzero(r->job.mac_key, sizeof r->job.mac_key);
    plan_free(&r->plan);
    free(r->units);
    free(r);
    return rc;
}
