#include "spool.h"

#include "fio.h"
#include "units.h"

#include <stdio.h>

#define BLOCK UINT64_C(4096)

uint64_t spool_cost(uint64_t len)
{
    return (len + BLOCK - 1) / BLOCK * BLOCK;
}

void spool_init(struct spool *s, const char *dir, uint64_t budget, uint64_t reserve)
{
    *s = (struct spool){.budget = budget, .reserve = reserve};
    (void)snprintf(s->dir, sizeof s->dir, "%s", dir);
}

int spool_reserve(struct spool *s, uint64_t want, uint64_t least, uint64_t *got, struct err *e)
{
    char a[UNITS_TEXT], b[UNITS_TEXT];
    struct io_space space;
    uint64_t left;
    int res = fio_space(s->dir, &space);
    if (res < 0)
        return err_os(e, res, "%s: asking for free space", s->dir);
    left = s->budget > s->used ? s->budget - s->used : 0;
    if (left < least)
        return err_set(e, ERR_SPACE,
                       "spool %s: %s of its budget of %s are used; sealing goes on when "
                       "the hub has taken deltas, or raise spool-budget",
                       s->dir, units_size(a, s->used), units_size(b, s->budget));
    if (space.available < s->reserve + least)
        return err_set(e, ERR_SPACE,
                       "spool %s: the file system has %s available, and spool-reserve "
                       "keeps %s free; make room there",
                       s->dir, units_size(a, space.available), units_size(b, s->reserve));
    if (space.available - s->reserve < left)
        left = space.available - s->reserve;
    *got = want < left ? want : left;
    s->used += *got;
    return 0;
}

void spool_settle(struct spool *s, uint64_t reserved, uint64_t cost)
{
    ASSERT(s->used >= reserved);
    s->used = s->used - reserved + cost;
    if (cost < reserved)
        fiber_wake_all(&s->freed);
}
