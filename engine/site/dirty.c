#include "dirty.h"

#include "bounds.h"
#include "err.h"

#include <roaring/roaring.h>
#include <stdlib.h>

struct dirty {
    roaring_bitmap_t *map;
};

struct dirty *dirty_new(void)
{
    struct dirty *d = err_malloc(sizeof *d);
    d->map = roaring_bitmap_create();
    ASSERT(d->map != NULL);
    return d;
}

void dirty_free(struct dirty *d)
{
    if (!d)
        return;
    roaring_bitmap_free(d->map);
    free(d);
}

void dirty_add(struct dirty *d, uint32_t sector, uint32_t sectors)
{
    roaring_bitmap_add_range(d->map, sector, (uint64_t)sector + sectors);
}

void dirty_remove(struct dirty *d, uint32_t sector, uint32_t sectors)
{
    roaring_bitmap_remove_range(d->map, sector, (uint64_t)sector + sectors);
}

void dirty_clear(struct dirty *d)
{
    roaring_bitmap_clear(d->map);
}

uint64_t dirty_bytes(const struct dirty *d)
{
    return roaring_bitmap_get_cardinality(d->map) << SECTOR_SHIFT;
}
