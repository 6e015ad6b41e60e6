/* bufpool.h: a fixed number of equal buffers that fibers borrow, so that memory is bounded whatever
 * volumes and peers bring. Page-aligned (bulk.h).
 *
 * Who finds it empty waits on `freed` and tries again. Buffers are allocated on first use and kept
 * until bufpool_trim, because a fresh 4 MiB from the kernel costs a thousand page faults. */
#ifndef RELAIS_BUFPOOL_H
#define RELAIS_BUFPOOL_H

#include "fiber.h"

struct bufpool {
    size_t size;
    unsigned max, out, idle_count;
    uint8_t **idle;
    struct fiber_cond freed;
};

/* count >= 1 */
void bufpool_init(struct bufpool *p, size_t size, unsigned count);
/* NULL when all are out. */
uint8_t *bufpool_try(struct bufpool *p);
/* NULL when the fiber was cancelled. (waits) */
uint8_t *bufpool_take(struct bufpool *p);
void bufpool_give(struct bufpool *p, uint8_t *buf);
/* Gives the idle ones back to the system. */
void bufpool_trim(struct bufpool *p);
/* All must have been given back. */
void bufpool_free(struct bufpool *p);

#endif
