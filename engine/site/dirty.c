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

bool dirty_next(const struct dirty *d, uint64_t from, uint64_t end, uint32_t *sector)
{
    roaring_uint32_iterator_t it;
    if (from >= end || from > UINT32_MAX)
        return false;
    roaring_init_iterator(d->map, &it);
    if (!roaring_move_uint32_iterator_equalorlarger(&it, (uint32_t)from) || !it.has_value)
        return false;
    *sector = it.current_value;
    return it.current_value < end;
}

bool dirty_full(const struct dirty *d, uint64_t from, uint64_t end)
{
    return roaring_bitmap_contains_range(d->map, from, end);
}

bool dirty_has(const struct dirty *d, uint32_t sector)
{
    return roaring_bitmap_contains(d->map, sector);
}

bool dirty_any(const struct dirty *d)
{
    return !roaring_bitmap_is_empty(d->map);
}

void dirty_add_range(struct dirty *d, uint64_t from, uint64_t end)
{
    if (end - from == 1)
        roaring_bitmap_add(d->map, (uint32_t)from);
    else
        roaring_bitmap_add_range(d->map, from, end);
}

void dirty_merge(struct dirty *d, struct dirty *from)
{
    roaring_bitmap_or_inplace(d->map, from->map);
    roaring_bitmap_clear(from->map);
}

size_t dirty_memory(const struct dirty *d)
{
    return roaring_bitmap_size_in_bytes(d->map);
}
