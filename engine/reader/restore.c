/* restore.c: brings a volume back: plan, keys, then units in parallel into the target. */
#include "log.h"
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARALLEL_DEFAULT 16u
#define PARALLEL_MAX     20u /* at some 3 MiB each: 64 MiB */
#define SAVE_NS          (2 * IO_S)

struct restore {
    struct unit_job job;
    struct target target;
    struct plan plan;
    struct unit *units;
    size_t unit_count, next;
    const struct restore_options *options;
    struct restore_progress *progress;
    bool stop;
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

static void worker_main(void *arg)
{
    struct worker *w = arg;
    struct restore *r = w->r;
    struct unit_slot slot;
    unit_slot_init(&slot);
    while (!r->stop && r->next < r->unit_count) {
        struct err e = ERR_INIT;
        size_t n = r->next++;
        const struct unit *u = &r->units[n];
        if (target_is_done(&r->target, n))
            continue;
        if (unit_run(&r->job, &slot, u, &e) < 0) {
            fail(r, &e);
            break;
        }
        target_set_done(&r->target, n);
        r->progress->bytes_done += unit_bytes(r, u);
        r->progress->fetched += u->span;
        tell(r);
    }
    unit_slot_free(&slot);
    r->running--;
    fiber_wake_all(&r->ended);
}

/* Keeps the state near what is done, so that an interruption costs seconds. */
static void saver_main(void *arg)
{
    struct restore *r = arg;
    while (!r->stop && fiber_sleep(SAVE_NS) == 0) {
        struct err e = ERR_INIT;
        if (target_save(&r->target, &e) < 0 && !fiber_cancelled())
            fail(r, &e);
    }
}

/* A device keeps what nobody writes, so what no piece covers is zeroed. The pieces are sorted by
 * place; a bitmap of the volume would do, a sorted copy of their ranges is smaller. */
struct range {
    uint32_t sector, sectors;
};

static int by_sector(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return x->sector < y->sector ? -1 : x->sector > y->sector;
}

static int zero_gaps(struct restore *r, struct err *e)
{
    if (!r->target.device)
        return 0;
    struct range *ranges = err_calloc(r->plan.count, sizeof *ranges);
    uint64_t at = 0;
    int rc = 0;
    for (size_t i = 0; i < r->plan.count; i++)
        ranges[i] = (struct range){r->plan.pieces[i].sector, r->plan.pieces[i].sectors};
    qsort(ranges, r->plan.count, sizeof *ranges, by_sector);
    for (size_t i = 0; i < r->plan.count && rc == 0; i++) {
        uint64_t from = (uint64_t)ranges[i].sector << SECTOR_SHIFT;
        if (from > at)
            rc = target_zero(&r->target, at, from - at, e);
        at = from + ((uint64_t)ranges[i].sectors << SECTOR_SHIFT);
    }
    if (rc == 0 && at < r->plan.size)
        rc = target_zero(&r->target, at, r->plan.size - at, e);
    free(ranges);
    return rc;
}

/* What the state of a part must agree on: the recovery point (and with its digest all history), the
 * volume, and how the plan was cut. */
static void identity(const struct restore *r, size_t point, struct digest *out)
{
    struct bytes_out o = bytes_out(1024);
    bytes_put_str(&o, "relais restore 1");
    bytes_put(&o, r->job.r->links[point].digest.b, DIGEST_LEN);
    bytes_put_str(&o, r->job.volume);
    bytes_put_u64(&o, r->plan.size);
    bytes_put_u64(&o, r->plan.sectors);
    bytes_put_u64(&o, r->unit_count);
    bytes_put_u64(&o, UNIT_SPAN);
    bytes_put_u64(&o, UNIT_PLAIN);
    bytes_put_u64(&o, UNIT_GAP);
    ASSERT(!o.bad);
    digest_of(out, o.p, o.len);
    bytes_free(&o);
}

static int prepare(struct restore *r, size_t point, struct err *e)
{
    struct digest id;
    int rc = plan_make(&r->plan, r->job.r, point, r->job.volume, e);
    if (rc < 0)
        return rc;
    rc = unit_keys_open(&r->job.keys, r->job.r, &r->plan, r->options->keys, r->options->key_count,
                        e);
    if (rc < 0)
        return rc;
    r->units = units_make(&r->plan, &r->unit_count);
    identity(r, point, &id);
    rc = target_open(&r->target, r->plan.size, r->unit_count, &id, e);
    if (rc == 0)
        rc = zero_gaps(r, e);
    r->progress->bytes_total = r->plan.sectors << SECTOR_SHIFT;
    for (size_t i = 0; i < r->unit_count && rc == 0; i++)
        if (target_is_done(&r->target, i))
            r->progress->bytes_done += unit_bytes(r, &r->units[i]);
    return rc;
}

static void save_main(void *arg)
{
    struct restore *r = arg;
    struct err e = ERR_INIT;
    if (target_save(&r->target, &e) < 0)
        log_warn("%s; the next attempt begins further back", e.text);
}

/* In a fiber of its own, because the one that restores may have been cancelled and could not. */
static void save_last(struct restore *r)
{
    fiber_join(fiber_spawn(fiber_io(), "restore-state", save_main, r));
}

static int run_units(struct restore *r, struct err *e)
{
    struct worker workers[PARALLEL_MAX];
    unsigned n = r->options->parallel ? r->options->parallel : PARALLEL_DEFAULT;
    if (n > PARALLEL_MAX)
        n = PARALLEL_MAX;
    if (n > r->unit_count)
        n = (unsigned)r->unit_count;
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

int reader_restore(struct reader *reader, uint64_t rp, const char *volume, const char *target,
                   const struct restore_options *options, struct restore_progress *done,
                   struct err *e)
{
    struct restore_progress own = {0};
    struct restore *r = err_calloc(1, sizeof *r);
    ssize_t point = history_find(reader, rp);
    r->job = (struct unit_job){
        .r = reader, .volume = volume, .rp = rp, .plan = &r->plan, .target = &r->target};
    r->options = options;
    r->progress = done ? done : &own;
    memset(r->progress, 0, sizeof *r->progress);
    seal_group_id(r->job.group_id, reader->site, reader->group);
    seal_volume_id(r->job.volume_id, reader->site, reader->group, volume);
    int rc = target_check(&r->target, target, options->force, e);
    if (rc == 0 && (point < 0 || !reader->points[point].complete))
        rc = err_set(e, ERR_NOENT, "%s/%s: RP %" PRIu64 " is no complete recovery point",
                     reader->site, reader->group, rp);
    if (rc == 0)
        rc = prepare(r, (size_t)point, e);
    if (rc == 0)
        rc = run_units(r, e);
    if (rc == 0)
        rc = target_finish(&r->target, e);
    target_close(&r->target);
    unit_keys_wipe(&r->job.keys);
    plan_free(&r->plan);
    free(r->units);
    free(r);
    return rc;
}
