#include "pool.h"

#include "err.h"

#include <stdlib.h>

void pool_init(struct pool *p, size_t size, unsigned count)
{
    ASSERT(count >= 1);
    *p = (struct pool){.size = size, .max = count};
    p->idle = err_calloc(count, sizeof *p->idle);
}

uint8_t *pool_try(struct pool *p)
{
    if (p->out == p->max)
        return NULL;
    p->out++;
    return p->idle_count ? p->idle[--p->idle_count] : err_malloc(p->size);
}

uint8_t *pool_take(struct pool *p)
{
    for (;;) {
        uint8_t *buf = pool_try(p);
        if (buf)
            return buf;
        if (fiber_wait(&p->freed, FIBER_FOREVER) < 0)
            return NULL;
    }
}

void pool_give(struct pool *p, uint8_t *buf)
{
    ASSERT(p->out > 0 && p->idle_count < p->max);
    p->out--;
    p->idle[p->idle_count++] = buf;
    /* All, not one: the one woken may be a fiber that is leaving, and the buffer would lie idle
     * while others sleep. */
    fiber_wake_all(&p->freed);
}

void pool_trim(struct pool *p)
{
    while (p->idle_count)
        free(p->idle[--p->idle_count]);
}

void pool_free(struct pool *p)
{
    ASSERT(p->out == 0);
    pool_trim(p);
    free(p->idle);
    p->idle = NULL;
}
