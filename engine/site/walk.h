/* walk.h: the way through a group's volumes in one scan: which region is next, and what to read.
 *
 * Regions come in the order of the delta: by volume number, then sector. Regions that are holes of
 * the volume and known zero are passed over in bulk, without reading either file. */
#ifndef RELAIS_WALK_H
#define RELAIS_WALK_H

#include "indexes.h"
#include "workshop.h"

struct walk_volume {
    int fd;
    uint64_t size;
    struct io_run run; /* where its data lies, around the next region */
};

struct walk {
    struct indexes *indexes;
    struct walk_volume *volumes; /* by number */
    uint64_t *sizes;             /* the same sizes, for the manifest */
    uint16_t volume;
    uint32_t region;
    uint64_t done, total;
};

struct walk_region {
    uint16_t volume;
    uint32_t region;
    bool hole, whole; /* no data at all; data all through. Else it is found out when it is read */
};

/* Opens the volumes and takes their sizes. Errors: NOENT, IO, LIMIT, naming the volume. (waits) */
int walk_open(struct walk *w, struct indexes *indexes, struct err *e);
void walk_close(struct walk *w); /* works in a cancelled fiber (waits) */
/* 1 and the next region, 0 behind the last. (waits) */
int walk_next(struct walk *w, struct walk_region *out, struct err *e);
/* Reads the region and its index entries into the slot. Errors: IO, naming volume and offset.
 * (waits) */
int walk_read(struct walk *w, const struct walk_region *at, struct slot *s, struct err *e);

#endif
