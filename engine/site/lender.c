#include "lender.h"

#include "bulk.h"

#include <stdlib.h>

void lender_init(struct lender *p, size_t size, unsigned total)
{
    *p = (struct lender){.size = size, .total = total};
    p->free = err_calloc(total, sizeof *p->free);
}

void lender_done(struct lender *p)
{
    ASSERT(p->free_count == p->made);
    for (unsigned i = 0; i < p->free_count; i++)
        free(p->free[i]);
    free(p->free);
    *p = (struct lender){0};
}

void *lender_take(struct lender *p)
{
    for (;;) {
        if (p->free_count > 0)
            return p->free[--p->free_count];
        if (p->made < p->total) {
            void *buf = bulk_alloc(p->size);
            p->made++;
            return buf;
        }
        if (fiber_wait(&p->freed, FIBER_FOREVER) < 0)
            return NULL;
    }
}

void lender_give(struct lender *p, void *buf)
{
    ASSERT(p->free_count < p->made);
    p->free[p->free_count++] = buf;
    fiber_wake_one(&p->freed);
}
