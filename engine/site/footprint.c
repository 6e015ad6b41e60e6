#include "footprint.h"

#include "fiber.h"
#include "level.h"
#include "region.h"
#include "share.h"
#include "workshop.h"

#define PROGRAM        (32 * MIB)
#define SLOT_TABLES    (1 * MIB)  /* of a region: hashes, extents, runs */
#define DELTA_TABLES   (48 * MIB) /* of an open delta: its index and its runs, while they grow */
#define SPILLED_SECTOR 96u        /* its places in a table of old content, while that grows */
#define DELTAS_OF_CUT  2u         /* the one that fills and the one that ends */
#define HUB_CONN       (2 * MIB)  /* buffers of a connection, at either end */
#define SIZE_UNKNOWN   TIB

/* What zstd needs for a level, roundly: its tables grow with it. */
static uint64_t seal_memory(int level)
{
    if (level == CONFIG_LEVEL_AUTO)
        level = LEVEL_MOST;
    return (uint64_t)(level + 2) * MIB;
}

static void add_volume(struct footprint *f, const struct config_volume *v, uint64_t size)
{
    /* A map is a bit for each sector at worst; of a captured volume there are two, what is dirty
     * and what is being sealed. */
    uint64_t map = (size >> SECTOR_SHIFT) / 8;
    if (v->source != CONFIG_NBD) {
        f->dirty_max += map;
        return;
    }
    f->dirty_max += 2 * map;
    f->maps += size / REGION_SIZE; /* logs: 6 bits and the image of the file, for each region */
    f->exports += SAVED_MAX + SAVED_MAX / 16 + (SPILL_MAX >> SECTOR_SHIFT) * SPILLED_SECTOR +
                  (uint64_t)EXPORT_WORKERS * FIBER_STACK;
}

void footprint_of(const struct config *c, unsigned workers, const uint64_t *sizes,
                  struct footprint *out)
{
    uint64_t cuts = c->group_count < CUTS_MAX ? c->group_count : CUTS_MAX;
    uint64_t slot = REGION_SIZE + REGION_OUT + SLOT_TABLES + seal_memory(c->compression);
    unsigned n = 0;
    *out = (struct footprint){.program = PROGRAM};
    for (unsigned g = 0; g < c->group_count; g++)
        for (unsigned v = 0; v < c->groups[g].volume_count; v++, n++)
            add_volume(out, &c->groups[g].volumes[v], sizes ? sizes[n] : SIZE_UNKNOWN);
    if (c->group_count > 0) {
        out->sealing = (workers + 2) * slot + (CUTS_MAX + 1 + SHARE_PLACES) * PART_SIZE +
                       c->lanes_max * HUB_CONN;
        out->deltas = cuts * DELTAS_OF_CUT * DELTA_TABLES;
    }
    if (out->exports > 0)
        out->exports += c->export_memory;
    if (c->has_hub)
        out->hub = c->hub_memory + (c->connections_max + HUB_STRANGERS) * HUB_CONN;
    out->total = out->program + out->sealing + out->deltas + out->exports + out->maps + out->hub;
    out->total += out->total / 4;
}
