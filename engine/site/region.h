/* region.h: the processor's share of a scan: one region of a volume hashed, compared, sealed.
 *
 * Input is what was read; output is what changed, ready for the delta, and the new hashes. Pure but
 * for the sealer it borrows; runs on a worker thread. */
#ifndef RELAIS_REGION_H
#define RELAIS_REGION_H

#include "hashindex.h"
#include "index.h"
#include "seal.h"

/* A region's sealed extents never come to more; REGION_OUT is what sealing into the buffer needs.
 */
#define REGION_OUT ((size_t)REGION_SECTORS * seal_bound(1))

/* A run of changed sectors of one kind: data runs become one or more extents. */
struct region_run {
    uint32_t sector, sectors; /* of the volume */
    bool zero;
};

struct region {
    /* In. */
    uint8_t *plain; /* REGION_SIZE bytes, zero behind the end of the volume */
    uint64_t present[REGION_SECTORS / 64]; /* sectors that plain holds; the others are holes */
    uint32_t first, sectors;               /* of the volume; at most REGION_SECTORS */
    uint16_t volume;                       /* number in the manifest's table */
    uint64_t *known;                       /* the index's entries */
    /* Of a captured volume, instead of what the index knows: which sectors are to be sealed. */
    bool captured;
    uint64_t taken[REGION_SECTORS / 64];
    bool hole; /* all are, any number of them, and zero */
    const uint8_t *hash_key;
    const struct seal_key *seal_key;
    const uint8_t *group_id, *volume_id;
    uint64_t rp;
    int level;
    struct seal *seal;
    /* Out; buffers are the caller's. */
    uint8_t *out;                /* REGION_OUT bytes */
    uint64_t *fresh;             /* REGION_SECTORS: the hashes as they are now */
    struct index_entry *extents; /* REGION_SECTORS */
    struct region_run *runs;     /* REGION_SECTORS */
    uint32_t extent_count, run_count;
    size_t out_len;
    uint64_t plain_bytes, frame_bytes; /* of data extents */
};

/* Whether sector i of the region is in plain. */
static inline bool region_present(const struct region *r, uint32_t i)
{
    return (r->present[i / 64] >> (i % 64) & 1) != 0;
}

/* For io's work verb: arg is the region. Returns 0. */
int region_process(void *arg);

#endif
