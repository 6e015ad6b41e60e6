/* plan.h: which sealed extents make up a volume at a recovery point.
 *
 * From the newest RP to the oldest, an extent contributes the sectors that no newer one covers, and
 * that were inside the volume ever since (a shrink drops what lay beyond, growth reads as zeroes).
 * Within a merged delta, newer sources come before older ones.
 * Zero extents only cover. Private to the reader. */
#ifndef RELAIS_PLAN_H
#define RELAIS_PLAN_H

#include "history.h"
#include "index.h"

struct plan_piece {
    uint32_t sector, sectors; /* of the volume: what this piece contributes */
    uint32_t point;           /* number in the history */
    uint32_t ext_sector;      /* the whole extent it lies in */
    uint16_t ext_sectors;
    uint16_t source, volume;
    uint8_t codec;
    uint32_t sealed_len;
    uint64_t place;
    uint8_t tag[SEAL_TAG_LEN];
};

struct plan {
    uint64_t size;    /* of the volume, bytes */
    uint64_t sectors; /* sum over the pieces */
    size_t count, cap;
    struct plan_piece *pieces; /* ascending by (point, place, sector) */
};

/* Fetches and checks the indexes it needs. Errors: NOENT (names the volumes there are), CORRUPT,
 * INPUT, NET. Free with plan_free, also after an error. (waits) */
int plan_make(struct plan *p, struct reader *r, size_t point, const char *volume, struct err *e);
void plan_free(struct plan *p);

#endif
