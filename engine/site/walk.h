/* walk.h: the way through a group's volumes in one cut: which region is next, and what to read.
 *
 * A scanned volume is gone through as a whole and compared with its index; of a captured one, the
 * regions that the dirty map of the cut names.
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
    uint64_t sector;   /* of a captured one: how far it has been gone through */
};

struct walk {
    struct indexes *indexes;
    struct walk_volume *volumes; /* by number */
    uint64_t *sizes;             /* the same sizes, for the manifest */
    uint16_t volume;
    uint32_t region;
    uint64_t done, total;
    bool from_nothing; /* no RP yet: what is a hole is known zero */
};

struct walk_region {
    uint16_t volume;
    uint32_t region;
    bool hole, whole; /* no data at all; data all through. Else it is found out when it is read */
    struct capture_run_of_cut run; /* of a captured volume */
};

/* Opens the volumes and takes their sizes. Errors: NOENT, IO, LIMIT, naming the volume. (waits) */
int walk_open(struct walk *w, struct indexes *indexes, struct err *e);
void walk_close(struct walk *w); /* works in a cancelled fiber (waits) */
/* The instant of the cut, for all captured volumes at once; exact, insist: see capture.h. Does not
 * wait. Then waits for what was in flight. walk_end gives back to the dirty maps what was not
 * sealed; after the last stretch has ended, and before walk_close. */
void walk_cut(struct walk *w, bool exact, bool insist);
int walk_settle(struct walk *w, struct err *e);
void walk_end(struct walk *w);
/* Why the cut is not one any more (capture.h), or NULL. */
const struct err *walk_broken(const struct walk *w);
/* 1 and the next region, 0 behind the last. (waits) */
int walk_next(struct walk *w, struct walk_region *out, struct err *e);
/* Reads the region and its index entries into the slot. class: whose work it is to read a captured
 * volume. Errors: IO, naming volume and offset. (waits) */
int walk_read(struct walk *w, const struct walk_region *at, struct slot *s,
              enum io_work_class class, struct err *e);

#endif
