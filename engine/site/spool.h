/* spool.h: the byte budget of the spool, shared by all groups.
 *
 * A delta's bytes are reserved before its first byte is written and settled when it is durable, so
 * that the files in the spool never exceed the budget, the one being written included. The reserve
 * is free space that the file system must keep beyond that. */
#ifndef RELAIS_SPOOL_H
#define RELAIS_SPOOL_H

#include "paths.h"

#include "err.h"
#include "fiber.h"

struct spool {
    char dir[CONFIG_PATH_MAX];
    uint64_t budget, reserve;
    uint64_t used;           /* durable files and reservations */
    struct fiber_cond freed; /* woken when used goes down */
};

/* What a file of len bytes counts for: whole blocks, so that small files are bounded too. */
uint64_t spool_cost(uint64_t len);

void spool_init(struct spool *s, const char *dir, uint64_t budget, uint64_t reserve);
/* Reserves up to `want` bytes, at least `least`: *got. Errors: SPACE (budget or file system: which,
 * how much, what to do), IO. (waits) */
int spool_reserve(struct spool *s, uint64_t want, uint64_t least, uint64_t *got, struct err *e);
/* Replaces a reservation (0: none) by what the file cost (0: it is gone). */
void spool_settle(struct spool *s, uint64_t reserved, uint64_t cost);

#endif
