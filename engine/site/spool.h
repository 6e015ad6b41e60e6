/* spool.h: the byte budget of the spool, shared by all groups, and each group's share of it.
 *
 * A delta's bytes are reserved before its first byte is written and settled when it is durable, so
 * that the files in the spool never exceed the budget, the one being written included. An eighth of
 * the budget is for merging alone: sealing may not take it, or a full spool could not be merged.
 * The reserve is free space that the file system must keep beyond that. */
#ifndef RELAIS_SPOOL_H
#define RELAIS_SPOOL_H

#include "paths.h"

#include "err.h"
#include "fiber.h"

struct spool {
    char dir[CONFIG_PATH_MAX];
    uint64_t budget, reserve;
    uint64_t used;           /* files and reservations */
    uint64_t files;          /* of that, files */
    struct fiber_cond freed; /* woken when used goes down */
    struct fiber_cond grown; /* woken when files goes up */
};

struct spool_share { /* of a group */
    struct spool *spool;
    uint64_t budget; /* UINT64_MAX: none of its own */
    uint64_t used, files;
};

/* What a file of len bytes counts for: whole blocks, so that small files are bounded too. */
uint64_t spool_cost(uint64_t len);
/* What of a budget is for deltas that are sealed. */
uint64_t spool_for_sealing(uint64_t budget);

void spool_init(struct spool *s, const char *dir, uint64_t budget, uint64_t reserve);
/* budget 0: none of its own. */
void spool_share_init(struct spool_share *h, struct spool *s, uint64_t budget);

enum spool_use { SPOOL_SEAL, SPOOL_MERGE };
/* Reserves up to `want` bytes, at least `least`: *got. Errors: SPACE (budget of the site or the
 * group, or the file system: which, how much, what to do), IO. (waits) */
int spool_reserve(struct spool_share *h, enum spool_use use, uint64_t want, uint64_t least,
                  uint64_t *got, struct err *e);
/* Replaces a reservation (0: none) by what the file cost (0: there is none). */
void spool_settle(struct spool_share *h, uint64_t reserved, uint64_t cost);
/* A file of this cost is gone. */
void spool_gone(struct spool_share *h, uint64_t cost);
/* How full it is, site or group, whichever is fuller: files by budget, 0 to 1 (and beyond, where a
 * budget was made smaller). */
double spool_fullness(const struct spool_share *h);

#endif
