/* merge.h: makes one delta of neighbours that wait in the spool, without any key: sealed extents
 * are carried over as they are, but for those that newer ones cover (docs/FORMAT.md, "Merged
 * deltas").
 *
 * First a plan, from the indexes alone: what would be left, so that nobody writes what frees
 * nothing. Then the writing, part by part. Memory: the manifests and a bit per extent of what is
 * merged, one index at a time, the index and three parts of what is written, and which sectors are
 * covered. Everything that is read is checked against its digest first: a merged delta must not
 * vouch for bytes that decayed. */
#ifndef RELAIS_MERGE_H
#define RELAIS_MERGE_H

#include "bufpool.h"
#include "chain.h"
#include "fold.h"

struct merge_input {
    struct chain_delta facts;
};

struct merge {
    struct chain *chain;
    struct merge_input *inputs; /* oldest first */
    struct fold fold;           /* of the same numbers */
    struct fold_output output;
    size_t count, asked; /* inputs that are merged; that there are */
    uint64_t in_cost,
        out_cost; /* bytes of the spool: of what is there, of what would be, at most */
    uint64_t out_len;
    uint64_t rp_first, rp; /* of what would be */
    uint64_t kept;         /* extents */
    bool fits;             /* within the bounds of a delta */
    uint64_t damaged;      /* RP of an input that differs from its digests; 0: none */
};

/* Which deltas of the chain could be merged into one, as far as can be told without reading them:
 * from number `first` on at most `most`. Returns how many; fewer than 2: none there. An RP with a
 * label is never merged away; neither is a complete one by an incomplete. */
size_t merge_reach(const struct chain *c, size_t first, size_t most);

/* Plans for `count` deltas from number `first`; their RPs are marked as being merged (chain.h)
 * until merge_end. count becomes less where volume tables differ. Errors: AGAIN (the shipper wants
 * them), IO, CORRUPT (damaged says which), CANCELED. End it in any case. (waits) */
int merge_plan(struct merge *m, struct chain *c, size_t first, size_t count, struct err *e);

/* Called between parts: may wait, to leave the disk to others. Errors end the merge. */
typedef int merge_pace(void *arg, struct err *e);

/* Writes the merged delta and puts it in their place. `reserved` of the spool is settled whatever
 * comes. Errors: as merge_plan, and SPACE. (waits) */
int merge_write(struct merge *m, struct bufpool *parts, const struct key_secret *sign,
                uint64_t reserved, merge_pace *pace, void *arg, struct err *e);
void merge_end(struct merge *m);

#endif
