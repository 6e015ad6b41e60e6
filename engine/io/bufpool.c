#include "bufpool.h"

#include "bulk.h"

#include <stdlib.h>

void bufpool_init(struct bufpool *p, size_t size, unsigned count)
{
    ASSERT(count >= 1);
    *p = (struct bufpool){.size = size, .max = count};
    p->idle = err_calloc(count, sizeof *p->idle);
}

uint8_t *bufpool_try(struct bufpool *p)
{
    if (p->out == p->max)
        return NULL;
    p->out++;
    return p->idle_count ? p->idle[--p->idle_count] : bulk_alloc(p->size);
}

uint8_t *bufpool_take(struct bufpool *p)
{
    for (;;) {
        uint8_t *buf = bufpool_try(p);
        if (buf)
            return buf;
        if (fiber_wait(&p->freed, FIBER_FOREVER) < 0)
            return NULL;
    }
}

void bufpool_give(struct bufpool *p, uint8_t *buf)
{
    ASSERT(p->out > 0 && p->idle_count < p->max);
    p->out--;
    p->idle[p->idle_count++] = buf;
    /* All, not one: the one woken may be a fiber that is leaving, and the buffer would lie idle
     * while others sleep. */
    fiber_wake_all(&p->freed);
}

void bufpool_trim(struct bufpool *p)
{
    while (p->idle_count)
        free(p->idle[--p->idle_count]);
}

void bufpool_free(struct bufpool *p)
{
    ASSERT(p->out == 0);
    bufpool_trim(p);
    free(p->idle);
    p->idle = NULL;
}
