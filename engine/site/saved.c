#include "saved.h"

#include "bounds.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64u

/* The page of what is kept elsewhere. */
static uint8_t elsewhere[1];

/* Open addressing, linear probing; at most half full. */
struct slot {
    uint8_t *page; /* NULL: free */
    uint32_t sector, place;
};

struct saved {
    struct slot *slots;
    uint32_t mask, count, pages, max;
    struct dirty *map;
};

struct saved *saved_new(uint64_t max_bytes)
{
    struct saved *s = err_calloc(1, sizeof *s);
    s->max = (uint32_t)(max_bytes >> SECTOR_SHIFT);
    s->mask = SLOTS_MIN - 1;
    s->slots = err_calloc(SLOTS_MIN, sizeof *s->slots);
    s->map = dirty_new();
    return s;
}

static void free_page(struct saved *s, uint8_t *page)
{
    if (page && page != elsewhere) {
        free(page);
        s->pages--;
    }
}

void saved_clear(struct saved *s)
{
    for (uint32_t i = 0; i <= s->mask; i++)
        free_page(s, s->slots[i].page);
    free(s->slots);
    s->mask = SLOTS_MIN - 1;
    s->slots = err_calloc(SLOTS_MIN, sizeof *s->slots);
    s->count = 0;
    dirty_clear(s->map);
}

void saved_free(struct saved *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i <= s->mask; i++)
        free_page(s, s->slots[i].page);
    free(s->slots);
    dirty_free(s->map);
    free(s);
}

bool saved_room(const struct saved *s, uint32_t n)
{
    return n <= s->max - s->pages;
}

uint32_t saved_count(const struct saved *s)
{
    return s->count;
}

const struct dirty *saved_map(const struct saved *s)
{
    return s->map;
}

static uint32_t home(const struct saved *s, uint32_t sector)
{
    return (uint32_t)((sector * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & s->mask;
}

/* The sector's slot, or the free one where it would go. */
static uint32_t place(const struct saved *s, uint32_t sector)
{
    uint32_t i = home(s, sector);
    while (s->slots[i].page && s->slots[i].sector != sector)
        i = (i + 1) & s->mask;
    return i;
}

bool saved_has(const struct saved *s, uint32_t sector)
{
    return s->slots[place(s, sector)].page != NULL;
}

static void grow(struct saved *s)
{
    struct slot *old = s->slots;
    uint32_t n = s->mask + 1;
    s->mask = 2 * n - 1;
    s->slots = err_calloc(2 * (size_t)n, sizeof *s->slots);
    for (uint32_t i = 0; i < n; i++)
        if (old[i].page)
            s->slots[place(s, old[i].sector)] = old[i];
    free(old);
}

static void add(struct saved *s, uint32_t sector, uint8_t *page, uint32_t where)
{
    struct slot *slot;
    if (2 * ((uint64_t)s->count + 1) > (uint64_t)s->mask + 1)
        grow(s);
    slot = &s->slots[place(s, sector)];
    ASSERT(!slot->page);
    *slot = (struct slot){.page = page, .sector = sector, .place = where};
    s->count++;
    dirty_add_range(s->map, sector, (uint64_t)sector + 1);
}

void saved_put(struct saved *s, uint32_t sector, const void *content)
{
    uint8_t *page = err_malloc(SECTOR_SIZE);
    ASSERT(saved_room(s, 1));
    memcpy(page, content, SECTOR_SIZE);
    s->pages++;
    add(s, sector, page, 0);
}

void saved_note(struct saved *s, uint32_t sector, uint32_t where)
{
    add(s, sector, elsewhere, where);
}

bool saved_place(const struct saved *s, uint32_t sector, uint32_t *where)
{
    const struct slot *slot = &s->slots[place(s, sector)];
    *where = slot->place;
    return slot->page == elsewhere;
}

/* Moves later entries of the probe sequence into the hole, so that none is lost behind it. */
static void close_hole(struct saved *s, uint32_t hole)
{
    uint32_t i = hole;
    for (;;) {
        uint32_t want;
        i = (i + 1) & s->mask;
        if (!s->slots[i].page)
            break;
        want = home(s, s->slots[i].sector);
        if (((i - want) & s->mask) >= ((i - hole) & s->mask)) {
            s->slots[hole] = s->slots[i];
            hole = i;
        }
    }
    s->slots[hole].page = NULL;
}

bool saved_take(struct saved *s, uint32_t sector, void *dst)
{
    uint32_t i = place(s, sector);
    if (!s->slots[i].page)
        return false;
    if (s->slots[i].page != elsewhere)
        memcpy(dst, s->slots[i].page, SECTOR_SIZE);
    free_page(s, s->slots[i].page);
    close_hole(s, i);
    s->count--;
    dirty_remove(s->map, sector, 1);
    return true;
}
