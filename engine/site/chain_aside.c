/* chain_aside.c: damaged deltas, kept for a person to look at as long as they are few and small. */
#include "chain.h"

#include "fio.h"
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int give_up(struct chain *c, size_t i, struct err *e)
{
    char path[PATH_CAP];
    int res;
    path_aside(path, c->dir, c->asides[i].rp);
    log_warn("group %s: removing %s: damaged deltas may take a 1/%u of the spool, %u at a time",
             c->group, path, CHAIN_ASIDE_SHARE, CHAIN_ASIDES);
    res = fio_unlink(path);
    if (res < 0 && res != -ENOENT)
        return err_os(e, res, "%s: removing", path);
    spool_gone(&c->share, c->asides[i].cost);
    memmove(c->asides + i, c->asides + i + 1, (--c->aside_count - i) * sizeof *c->asides);
    return 0;
}

/* Of the group's budget or the site's, whichever is smaller. */
static uint64_t allowed(const struct chain *c)
{
    uint64_t site = c->share.spool->budget, own = c->share.budget;
    return (own < site ? own : site) / CHAIN_ASIDE_SHARE;
}

/* Makes room in the list for one more of this cost. */
static int make_way(struct chain *c, uint64_t cost, struct err *e)
{
    uint64_t sum = cost;
    int res = 0;
    for (size_t i = 0; i < c->aside_count; i++)
        sum += c->asides[i].cost;
    while (res == 0 && c->aside_count > 0 && (sum > allowed(c) || c->aside_count == CHAIN_ASIDES)) {
        sum -= c->asides[0].cost;
        res = give_up(c, 0, e);
    }
    return res;
}

static int cost_of(const char *path, uint64_t *cost, struct err *e)
{
    struct io_stat st;
    int res = fio_stat(path, &st);
    *cost = res == 0 ? spool_cost(st.size) : 0;
    return res < 0 ? err_os(e, res, "%s", path) : 0;
}

int chain_aside_found(struct chain *c, uint64_t rp, struct err *e)
{
    char path[PATH_CAP];
    uint64_t cost;
    int res;
    path_aside(path, c->dir, rp);
    res = cost_of(path, &cost, e);
    if (res == 0)
        res = make_way(c, cost, e);
    if (res < 0)
        return res;
    c->asides[c->aside_count++] = (struct chain_stray){rp, cost};
    spool_settle(&c->share, 0, cost);
    return cost > allowed(c) ? give_up(c, c->aside_count - 1, e) : 0;
}

/* Another with this RP goes: history had come to the same number before. */
static int replace(struct chain *c, uint64_t rp, struct err *e)
{
    for (size_t i = 0; i < c->aside_count; i++)
        if (c->asides[i].rp == rp)
            return give_up(c, i, e);
    return 0;
}

int chain_aside(struct chain *c, uint64_t rp, const char *why, struct err *e)
{
    char path[PATH_CAP], aside[PATH_CAP];
    int res = replace(c, rp, e);
    if (res < 0)
        return res;
    path_delta(path, c->dir, rp);
    path_aside(aside, c->dir, rp);
    log_error(
        "group %s: delta of RP %" PRIu64
        " is damaged or does not continue history (%s); moved aside to %s. Nothing is lost on "
        "the volumes: its changes and those after it are found again by the next scan",
        c->group, rp, why, aside);
    res = fio_rename(path, aside);
    if (res == 0)
        res = fio_sync_dir(c->dir);
    if (res < 0)
        return err_os(e, res, "%s: moving aside", path);
    return chain_aside_found(c, rp, e);
}
