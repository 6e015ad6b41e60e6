#include "merger.h"

#include "log.h"
#include "merge.h"
#include "units.h"

#include <inttypes.h>
#include <stdlib.h>

#define LOOK_EVERY (10 * IO_S)
#define AT_ONCE    256u                  /* deltas in one merge */
#define LEAST      (UINT64_C(64) * 1024) /* bytes that it must free */
#define REST_SHARE 3u                    /* times what was worked */
#define REST_MAX   (2 * IO_S)
#define AGAIN_AT   (1.0 / 16) /* of the budget more: what freed too little is looked at again */
#define BUFFERS    4u         /* parts: one fills, up to three are on their way to the disk */
/* While the link is up the oldest deltas are about to leave: merging them would be in vain. */
#define LEAVE_TO_SHIP (4 * CHAIN_AHEAD)

/* -- Leaving the disk to others -- */

static int rest(void *arg, struct err *e)
{
    struct merger *m = arg;
    struct io *io = fiber_io();
    uint64_t worked = io_now(io) - m->busy_since;
    uint64_t ns = worked < REST_MAX / REST_SHARE ? worked * REST_SHARE : REST_MAX;
    if (fiber_sleep(ns) < 0)
        return err_set(e, ERR_CANCELED, "merging was stopped");
    m->busy_since = io_now(io);
    return 0;
}

/* -- One merge -- */

/* Sealing stops before the budget is used up, for a delta must fit before it is begun. */
static bool waits_for_space(const struct group *g)
{
    return g->progress.waiting_for_space || g->error.code == ERR_SPACE;
}

static bool worthwhile(const struct group *g, const struct merge *p)
{
    double full = waits_for_space(g) ? 1 : spool_fullness(&p->chain->share);
    double share = full < 1 ? (1 - full) / 2 : 0;
    if (!p->fits || p->count < 2 || p->in_cost < p->out_cost + LEAST)
        return false;
    return (double)(p->in_cost - p->out_cost) >= share * (double)p->in_cost;
}

static int write_planned(struct merger *m, struct group *g, struct merge *p, struct err *e)
{
    char was[UNITS_TEXT], is[UNITS_TEXT];
    uint64_t reserved;
    int res = spool_reserve(&g->chain.share, SPOOL_MERGE, p->out_cost, p->out_cost, &reserved, e);
    if (res == 0)
        res = merge_write(p, &m->parts, m->sign, reserved, rest, m, e);
    if (res < 0)
        return res;
    g->merged_rps += p->count - 1;
    log_info("group %s: the spool fills up: RP %" PRIu64 " to %" PRIu64
             " became one, %s instead of %s",
             g->chain.group, p->rp_first, p->rp, units_size(is, p->out_cost),
             units_size(was, p->in_cost));
    return 0;
}

/* `count` deltas from number `first`: whether they were merged. *fewer: they are too many for one
 * delta, or for what is left of the budget. */
static int merge_these(struct merger *m, struct group *g, size_t first, size_t count, bool *did,
                       bool *fewer, struct err *e)
{
    struct merge p;
    uint64_t damaged;
    int res;
    m->busy_since = io_now(fiber_io());
    g->merging = true;
    res = merge_plan(&p, &g->chain, first, count, e);
    *fewer = res == 0 && p.count >= 2 && !p.fits;
    if (res == 0 && worthwhile(g, &p)) {
        res = write_planned(m, g, &p, e);
        *did = res == 0;
        *fewer = res == -ERR_SPACE;
    }
    damaged = p.damaged;
    merge_end(&p);
    bufpool_trim(&m->parts);
    g->merging = false;
    if (damaged > 0 && !g->adopt && !g->damaged)
        (void)group_drop(g, damaged, e->text);
    return res == -ERR_SPACE ? 0 : res;
}

/* -- Which -- */

/* Number of the oldest delta that may be merged, from what was not tried yet. */
static size_t oldest(const struct group *g)
{
    const struct chain *c = &g->chain;
    size_t i = 0;
    while (i < c->count && c->deltas[i].rp_first <= c->committed.rp)
        i++;
    if (g->link_up)
        i += LEAVE_TO_SHIP;
    while (i < c->count &&
           (c->deltas[i].rp_first <= c->sent || c->deltas[i].rp_first < g->merge_next))
        i++;
    return i;
}

/* One merge of a group, or none: what is not worth it is passed over, until the end of the spool.
 */
static int merge_one(struct merger *m, struct group *g, bool *did, struct err *e)
{
    struct chain *c = &g->chain;
    int res = chain_sweep(c, e);
    *did = false;
    while (res == 0 && !*did) {
        size_t first = oldest(g), n = merge_reach(c, first, AT_ONCE);
        bool fewer = true;
        if (first >= c->count)
            break;
        g->merge_next = c->deltas[first + (n > 0 ? n - 1 : 0)].rp + 1;
        for (; n >= 2 && fewer && res == 0; n = merge_reach(c, first, n / 2)) {
            uint64_t last = c->deltas[first + n - 1].rp;
            res = merge_these(m, g, first, n, did, &fewer, e);
            if (*did)
                g->merge_next = last + 1;
            if (fewer && oldest(g) != first)
                first = oldest(g); /* the chain changed meanwhile */
        }
    }
    return res;
}

/* Whether a look is due. What had been tried in vain is tried again when the spool is fuller, and
 * once more, for whatever it frees, when sealing waits. */
static bool is_due(const struct group *g, double full)
{
    if (g->broken.code != ERR_OK)
        return false;
    if (waits_for_space(g) && g->merge_waited != chain_tip_rp(&g->chain))
        return true;
    return full >= MERGER_FULL && full >= g->merge_tried;
}

/* Whether something was merged. */
static bool merge_group(struct merger *m, struct group *g)
{
    double full = spool_fullness(&g->chain.share);
    bool did = false, waited = waits_for_space(g);
    struct err e = ERR_INIT;
    if (!is_due(g, full))
        return false;
    if (merge_one(m, g, &did, &e) < 0) {
        if (e.code != ERR_AGAIN && e.code != ERR_CANCELED)
            log_warn("group %s: merging: %s", g->chain.group, e.text);
        if (e.code != ERR_AGAIN)
            g->merge_tried = full + AGAIN_AT;
        g->merge_next = 0;
        return false;
    }
    if (waited && !did && !g->merge_did)
        g->merge_waited = chain_tip_rp(&g->chain);
    g->merge_did |= did;
    if (did)
        return true;
    g->merge_tried = g->merge_did ? 0 : full + AGAIN_AT;
    g->merge_next = 0;
    did = g->merge_did; /* then the merged ones may be merged */
    g->merge_did = false;
    return did;
}

static struct group *fullest(struct merger *m, const bool *seen, size_t *number)
{
    struct group *best = NULL;
    for (size_t i = 0; i < m->count; i++)
        if (!seen[i] && (!best || m->groups[i]->chain.share.files > best->chain.share.files)) {
            best = m->groups[i];
            *number = i;
        }
    return best;
}

bool merger_look(struct merger *m)
{
    bool seen[GROUPS_MAX] = {false}, did = false;
    size_t number = 0;
    for (size_t i = 0; i < m->count && !did && !fiber_cancelled(); i++) {
        struct group *g = fullest(m, seen, &number);
        if (!g)
            break;
        seen[number] = true;
        did = merge_group(m, g);
    }
    return did;
}

static void merger_fiber(void *arg)
{
    struct merger *m = arg;
    while (!fiber_cancelled())
        if (!merger_look(m))
            (void)fiber_wait(&m->spool->grown, LOOK_EVERY);
}

void merger_init(struct merger *m, struct group **groups, size_t count, struct spool *spool,
                 const struct key_secret *sign)
{
    *m = (struct merger){.groups = groups, .count = count, .spool = spool, .sign = sign};
    bufpool_init(&m->parts, PART_SIZE, BUFFERS);
}

void merger_start(struct merger *m)
{
    m->fiber = fiber_spawn(fiber_io(), "merger", merger_fiber, m);
}

void merger_stop(struct merger *m)
{
    if (m->fiber) {
        fiber_cancel(m->fiber);
        fiber_join(m->fiber);
        m->fiber = NULL;
    }
    bufpool_free(&m->parts);
}
