#include "gaps.h"

#include <stdlib.h>

/* The pieces are sorted by place; a bitmap of the volume would do, a sorted copy of their ranges is
 * smaller. */
struct range {
    uint32_t sector, sectors;
};

static int by_sector(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return x->sector < y->sector ? -1 : x->sector > y->sector;
}

static int each_gap(const struct plan *p, struct target *t,
                    int (*fn)(struct target *t, uint64_t off, uint64_t len, struct err *e),
                    struct err *e)
{
    struct range *ranges = err_calloc(p->count + 1, sizeof *ranges);
    uint64_t at = 0;
    int rc = 0;
    for (size_t i = 0; i < p->count; i++)
        ranges[i] = (struct range){p->pieces[i].sector, p->pieces[i].sectors};
    qsort(ranges, p->count, sizeof *ranges, by_sector);
    for (size_t i = 0; i < p->count && rc == 0; i++) {
        uint64_t from = (uint64_t)ranges[i].sector << SECTOR_SHIFT;
        if (from > at)
            rc = fn(t, at, from - at, e);
        at = from + ((uint64_t)ranges[i].sectors << SECTOR_SHIFT);
    }
    if (rc == 0 && at < p->size)
        rc = fn(t, at, p->size - at, e);
    free(ranges);
    return rc;
}

int gaps_zero(const struct plan *p, struct target *t, struct err *e)
{
    return each_gap(p, t, target_zero, e);
}

static int check_gap(struct target *t, uint64_t off, uint64_t len, struct err *e)
{
    uint64_t end = off + len < t->size ? off + len : t->size, zero_to = end;
    int rc = target_is_zero(t, off, len, &zero_to, e);
    if (rc == 0 && zero_to < end)
        return err_set(e, ERR_CORRUPT,
                       "%s: byte %llu is not zero as the volume's: somebody else writes to it, or "
                       "it does not keep what it is told",
                       t->path, (unsigned long long)zero_to);
    return rc;
}

int gaps_check(const struct plan *p, struct target *t, struct err *e)
{
    return each_gap(p, t, check_gap, e);
}
