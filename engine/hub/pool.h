/* pool.h: a fixed number of equal buffers, so that memory is bounded whatever the peers send.
 *
 * Who finds it empty waits on `freed` and tries again. Buffers are allocated on first use and kept
 * until pool_trim, because a fresh 4 MiB from the kernel costs a thousand page faults. */
#ifndef RELAIS_POOL_H
#define RELAIS_POOL_H

#include "fiber.h"

struct pool {
    size_t size;
    unsigned max, out, idle_count;
    uint8_t **idle;
    struct fiber_cond freed;
};

/* count >= 1 */
void pool_init(struct pool *p, size_t size, unsigned count);
/* NULL when all are out. */
uint8_t *pool_try(struct pool *p);
/* NULL when the fiber was cancelled. (waits) */
uint8_t *pool_take(struct pool *p);
void pool_give(struct pool *p, uint8_t *buf);
/* Gives the idle ones back to the system. */
void pool_trim(struct pool *p);
/* All must have been given back. */
void pool_free(struct pool *p);

#endif
