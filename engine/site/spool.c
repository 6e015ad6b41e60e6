#include "spool.h"

#include "fio.h"
#include "units.h"

#include <stdio.h>

#define BLOCK           UINT64_C(4096)
#define FOR_MERGING(of) ((of) / 8)

uint64_t spool_cost(uint64_t len)
{
    return (len + BLOCK - 1) / BLOCK * BLOCK;
}

uint64_t spool_for_sealing(uint64_t budget)
{
    return budget - FOR_MERGING(budget);
}

void spool_init(struct spool *s, const char *dir, uint64_t budget, uint64_t reserve)
{
    *s = (struct spool){.budget = budget, .reserve = reserve};
    (void)snprintf(s->dir, sizeof s->dir, "%s", dir);
}

void spool_share_init(struct spool_share *h, struct spool *s, uint64_t budget)
{
    *h = (struct spool_share){.spool = s, .budget = budget > 0 ? budget : UINT64_MAX};
}

static uint64_t left_of(uint64_t budget, uint64_t used, enum spool_use use)
{
    uint64_t all = use == SPOOL_MERGE || budget == UINT64_MAX ? budget : spool_for_sealing(budget);
    return all > used ? all - used : 0;
}

/* Bytes that may be reserved; SPACE when they are less than `least`. */
static int budget_left(const struct spool_share *h, enum spool_use use, uint64_t least,
                       uint64_t *left, struct err *e)
{
    char a[UNITS_TEXT], b[UNITS_TEXT];
    const struct spool *s = h->spool;
    uint64_t site = left_of(s->budget, s->used, use), own = left_of(h->budget, h->used, use);
    *left = site < own ? site : own;
    if (*left >= least)
        return 0;
    if (own < site)
        return err_set(e, ERR_SPACE,
                       "spool %s: %s of the group's budget of %s are used; sealing goes on when "
                       "the hub has taken deltas, or raise the group's spool-budget",
                       s->dir, units_size(a, h->used), units_size(b, h->budget));
    return err_set(e, ERR_SPACE,
                   "spool %s: %s of its budget of %s are used; sealing goes on when "
                   "the hub has taken deltas, or raise spool-budget",
                   s->dir, units_size(a, s->used), units_size(b, s->budget));
}

int spool_reserve(struct spool_share *h, enum spool_use use, uint64_t want, uint64_t least,
                  uint64_t *got, struct err *e)
{
    char a[UNITS_TEXT], b[UNITS_TEXT];
    struct spool *s = h->spool;
    struct io_space space;
    uint64_t left;
    int res = fio_space(s->dir, &space);
    if (res < 0)
        return err_os(e, res, "%s: asking for free space", s->dir);
    res = budget_left(h, use, least, &left, e);
    if (res < 0)
        return res;
    if (space.available < s->reserve + least)
        return err_set(e, ERR_SPACE,
                       "spool %s: the file system has %s available, and spool-reserve "
                       "keeps %s free; make room there",
                       s->dir, units_size(a, space.available), units_size(b, s->reserve));
    if (space.available - s->reserve < left)
        left = space.available - s->reserve;
    *got = want < left ? want : left;
    s->used += *got;
    h->used += *got;
    return 0;
}

void spool_settle(struct spool_share *h, uint64_t reserved, uint64_t cost)
{
    struct spool *s = h->spool;
    ASSERT(s->used >= reserved && h->used >= reserved);
    s->used = s->used - reserved + cost;
    h->used = h->used - reserved + cost;
    s->files += cost;
    h->files += cost;
    if (cost < reserved)
        fiber_wake_all(&s->freed);
    if (cost > 0)
        fiber_wake_all(&s->grown);
}

void spool_gone(struct spool_share *h, uint64_t cost)
{
    struct spool *s = h->spool;
    ASSERT(s->files >= cost && h->files >= cost);
    s->files -= cost;
    h->files -= cost;
    spool_settle(h, cost, 0);
}

double spool_fullness(const struct spool_share *h)
{
    double site = (double)h->spool->files / (double)h->spool->budget;
    double own = (double)h->files / (double)h->budget;
    return site > own ? site : own;
}
