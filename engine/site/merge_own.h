/* merge_own.h: what the planning and the writing of a merge share. */
#ifndef RELAIS_MERGE_OWN_H
#define RELAIS_MERGE_OWN_H

#include "merge.h"

#include "index.h"

#define MERGE_NOWHERE UINT16_MAX

struct merge_input {
    struct chain_delta facts;
    struct manifest m;
    bool read;          /* m is there */
    uint8_t *kept;      /* a bit per extent, in the order of the index */
    uint32_t *of;       /* kept extents of each source */
    uint16_t *source;   /* the number it gets, or MERGE_NOWHERE */
    uint16_t *key;      /* of each of its keys likewise */
    uint64_t sealed;    /* bytes of what is kept */
    uint64_t index_max; /* bytes of its entries in another index, at most */
};

static inline bool merge_is_kept(const struct merge_input *in, uint32_t n)
{
    return in->kept[n / 8] >> (n % 8) & 1;
}

/* Reads and checks the index of an input; *raw is the caller's. (waits) */
int merge_load_index(struct merge *m, const struct merge_input *in, uint8_t **raw, struct err *e);
/* The error of a verb on a delta's file; AGAIN when it is gone, for then the chain went on. */
int merge_file_error(struct err *e, int res, const char *path);
/* AGAIN when the shipper waits for what is being merged. */
int merge_give_way(const struct merge *m, struct err *e);

#endif
