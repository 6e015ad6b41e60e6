#include "hist.h"

#include <math.h>

#define SHIFT 5u /* HIST_SUB is 1 << SHIFT */
_Static_assert(HIST_SUB == 1u << SHIFT, "steps are a power of two");

static unsigned slot_of(uint64_t ns)
{
    unsigned top, slot;
    if (ns < HIST_SUB)
        return (unsigned)ns;
    top = 63u - (unsigned)__builtin_clzll(ns);
    slot = (top - SHIFT + 1) * HIST_SUB + (unsigned)((ns >> (top - SHIFT)) & (HIST_SUB - 1));
    return slot < HIST_SLOTS ? slot : HIST_SLOTS - 1;
}

/* The largest value that goes into a slot. */
static uint64_t slot_end(unsigned slot)
{
    unsigned power = slot / HIST_SUB;
    if (power == 0)
        return slot;
    return ((uint64_t)(HIST_SUB + slot % HIST_SUB + 1) << (power - 1)) - 1;
}

void hist_add(struct hist *h, uint64_t ns)
{
    h->count++;
    h->sum += ns;
    if (ns > h->max)
        h->max = ns;
    h->slots[slot_of(ns)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max)
        into->max = from->max;
    for (unsigned i = 0; i < HIST_SLOTS; i++)
        into->slots[i] += from->slots[i];
}

uint64_t hist_quantile(const struct hist *h, double q)
{
    uint64_t wanted = (uint64_t)ceil(q * (double)h->count), seen = 0, end;
    if (wanted == 0)
        wanted = 1;
    for (unsigned i = 0; i < HIST_SLOTS; i++) {
        seen += h->slots[i];
        if (seen >= wanted) {
            end = slot_end(i);
            return end < h->max ? end : h->max;
        }
    }
    return h->max;
}

double hist_mean(const struct hist *h)
{
    return h->count ? (double)h->sum / (double)h->count : 0;
}
