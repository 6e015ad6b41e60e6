/* bufpool.h: a fixed number of equal buffers that fibers borrow: what bounds the memory of the
 * site.
 *
 * Buffers are page-aligned and made when first needed. First come, first served. */
#ifndef RELAIS_BUFPOOL_H
#define RELAIS_BUFPOOL_H

#include "fiber.h"

struct bufpool {
    size_t size;
    unsigned total, made, free_count;
    void **free;
    struct fiber_cond freed;
};

void bufpool_init(struct bufpool *p, size_t size, unsigned total);
/* All buffers must have been given back. */
void bufpool_done(struct bufpool *p);
/* A buffer, or NULL when the fiber was cancelled. (waits) */
void *bufpool_take(struct bufpool *p);
void bufpool_give(struct bufpool *p, void *buf);

#endif
