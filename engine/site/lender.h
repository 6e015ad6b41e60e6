/* lender.h: a fixed number of equal buffers that fibers borrow: what bounds the memory of the
 * site.
 *
 * Buffers are page-aligned and made when first needed. First come, first served. */
#ifndef RELAIS_LENDER_H
#define RELAIS_LENDER_H

#include "fiber.h"

struct lender {
    size_t size;
    unsigned total, made, free_count;
    void **free;
    struct fiber_cond freed;
};

void lender_init(struct lender *p, size_t size, unsigned total);
/* All buffers must have been given back. */
void lender_done(struct lender *p);
/* A buffer, or NULL when the fiber was cancelled. (waits) */
void *lender_take(struct lender *p);
void lender_give(struct lender *p, void *buf);

#endif
