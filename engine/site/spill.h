/* spill.h: old content of sectors that does not fit into memory (saved.h): a file in the spool's
 * directory, within the spool's budget.
 *
 * It goes through the page cache and is never synced: where a cut is sealed before the kernel gets
 * round to writing it, it costs a copy in memory, and after a crash it is worth nothing. What is
 * put gets the next place behind all others; the file begins anew when a cut is over.
 *
 * All calls marked (wait). */
#ifndef RELAIS_SPILL_H
#define RELAIS_SPILL_H

#include "spool.h"

#include "bounds.h"

/* From this size on a copy is worth handing to a thread. */
#define SPILL_LARGE (64 * KIB)

struct spill {
    struct spool_share *share;
    char path[PATH_CAP];
    int fd;                  /* -1: not open */
    uint64_t used, reserved; /* bytes; reserved of the spool's budget */
    unsigned putting;        /* calls under way */
};

/* share: NULL: nothing can be put. Does not wait. */
void spill_init(struct spill *s, struct spool_share *share, const char *group, const char *volume);
/* Puts whole sectors: *place is that of the first, in sectors; the others follow. 0, -ENOSPC (the
 * budget, the disk, SPILL_MAX), or a negative errno. (waits) */
int spill_put(struct spill *s, const void *content, uint32_t sectors, uint32_t *place);
/* The same, of what a file holds now; `tail`: so many bytes of the last sector are behind its end,
 * and zero. */
int spill_copy(struct spill *s, int fd, uint64_t off, uint32_t sectors, uint32_t tail,
               uint32_t *place);
int spill_get(struct spill *s, enum io_work_class class, void *dst, uint32_t sectors,
              uint32_t place);
/* All of it is forgotten, and its space given back; nothing may be got meanwhile. Not while
 * something is put: then it stays until the next call. Works in a cancelled fiber. (waits) */
void spill_clear(struct spill *s);

#endif
