/* stretch.h: one delta of a cut, from its first region to its place in the chain.
 *
 * A cut that finds more than fits one delta goes on in the next; all but the last are incomplete.
 * Two are alive at most: the one that fills, and the one before it, which a fiber of its own
 * finishes. */
#ifndef RELAIS_STRETCH_H
#define RELAIS_STRETCH_H

#include "deltawriter.h"
#include "indexes.h"
#include "keyring.h"
#include "workshop.h"

struct stretch_spec { /* of the cut; outlives its stretches */
    struct workshop *shop;
    struct chain *chain;
    struct indexes *indexes;
    struct keyring *keyring;
    const char *label; /* goes into the complete one */
    int64_t cut_time;
    const uint64_t *sizes; /* of the volumes, by number */
};

struct stretch {
    const struct stretch_spec *spec;
    uint64_t rp;
    uint64_t reserved, soft; /* of the spool; it closes when it has `soft` bytes */
    struct deltawriter *writer;
    struct hashes hashes;
    struct seal_key key;
    uint64_t keys_wiped; /* of the keyring, when it began */
    struct manifest_source source;
    struct datakey_wraps wraps;
    uint64_t plain_bytes, frame_bytes;
    uint64_t file_len; /* when finished */
};

/* Reserves space and creates the file. Errors: SPACE (not now), IO. (waits) */
int stretch_new(struct stretch **out, const struct stretch_spec *spec, uint64_t rp, struct err *e);
/* Points a region at this delta's key. */
void stretch_prepare(const struct stretch *s, struct region *r);
/* Adds a processed region; in order. (waits) */
int stretch_append(struct stretch *s, struct region *r, struct err *e);
/* Whether the next region should go into the next delta: it has its size, or its data key's time is
 * over (a delta of slow seeding takes hours). */
bool stretch_full(const struct stretch *s);
/* Makes it durable, appends it to the chain, brings the indexes up to date. On an error nothing of
 * it remains, unless it is in the chain already (indexes then recover). Frees it. (waits) */
int stretch_finish(struct stretch *s, bool complete, struct err *e);
/* Removes what was written, frees. Works in a cancelled fiber. NULL is fine. (waits) */
void stretch_abort(struct stretch *s);
/* Least space of the spool that a delta can begin with, for this number of slots. */
uint64_t stretch_least(unsigned slots);

#endif
