#include "world.h"

#include "err.h"
#include "memory.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* More events than this in one instant means that something retries without ever waiting. */
#define INSTANT_EVENTS_MAX 2000000u

const char *fault_text(enum fault f)
{
    static const char *const texts[] = {
#define X(name, text) text,
        FAULTS(X)
#undef X
    };
    return texts[f];
}

const char *deed_text(enum deed d)
{
    static const char *const texts[] = {
#define X(name, text) text,
        DEEDS(X)
#undef X
    };
    return texts[d];
}

struct world *world_new(uint64_t seed, bool verbose)
{
    struct world *w = err_calloc(1, sizeof *w);
    w->seed = seed;
    w->verbose = verbose;
    /* Clocks that start at zero hide the bugs of code that takes zero for "never". */
    w->now = w->started = UINT64_C(1000000000);
    rng_seed(&w->rng, seed, 0);
    w->trace = err_calloc(TRACE_LINES, sizeof *w->trace);
    return w;
}

void world_free(struct world *w)
{
    if (!w)
        return;
    free(w->heap);
    free(w->trace);
    free(w);
}

static bool before(const struct world_event *a, const struct world_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void put(struct world *w, size_t i, struct world_event *e)
{
    w->heap[i] = e;
    e->slot = i + 1;
}

static void sift_up(struct world *w, size_t i, struct world_event *e)
{
    while (i > 0 && before(e, w->heap[(i - 1) / 2])) {
        put(w, i, w->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(w, i, e);
}

static void sift_down(struct world *w, size_t i, struct world_event *e)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->heap_len)
            break;
        if (child + 1 < w->heap_len && before(w->heap[child + 1], w->heap[child]))
            child++;
        if (!before(w->heap[child], e))
            break;
        put(w, i, w->heap[child]);
        i = child;
    }
    put(w, i, e);
}

void world_at(struct world *w, struct world_event *e, uint64_t at,
              void (*fire)(struct world_event *))
{
    unsigned was;
    ASSERT(e->slot == 0);
    if (w->heap_len == w->heap_cap) {
        w->heap_cap = w->heap_cap ? 2 * w->heap_cap : 256;
        was = memory_enter(MEMORY_NOBODY);
        w->heap = err_realloc(w->heap, w->heap_cap * sizeof *w->heap);
        (void)memory_enter(was);
    }
    e->at = at > w->now ? at : w->now;
    e->order = w->order++;
    e->fire = fire;
    sift_up(w, w->heap_len++, e);
}

void world_forget(struct world *w, struct world_event *e)
{
    size_t i = e->slot;
    struct world_event *last;
    if (i == 0)
        return;
    i--;
    ASSERT(i < w->heap_len && w->heap[i] == e);
    e->slot = 0;
    last = w->heap[--w->heap_len];
    if (last == e)
        return;
    if (i > 0 && before(last, w->heap[(i - 1) / 2]))
        sift_up(w, i, last);
    else
        sift_down(w, i, last);
}

bool world_step(struct world *w)
{
    struct world_event *e;
    if (w->heap_len == 0 || w->failed)
        return false;
    e = w->heap[0];
    world_forget(w, e);
    w->instant_events = e->at == w->now ? w->instant_events + 1 : 0;
    if (w->instant_events > INSTANT_EVENTS_MAX)
        world_fail(w, "livelock: %u events without virtual time passing", INSTANT_EVENTS_MAX);
    w->now = e->at;
    w->events++;
    e->fire(e);
    return true;
}

void world_run_until(struct world *w, uint64_t at)
{
    while (w->heap_len > 0 && w->heap[0]->at <= at && world_step(w))
        ;
    if (!w->failed && w->now < at)
        w->now = at;
}

void world_run_events(struct world *w, uint64_t n, uint64_t at)
{
    while (n-- > 0 && w->heap_len > 0 && w->heap[0]->at <= at && world_step(w))
        ;
}

bool world_fault(struct world *w, enum fault f)
{
    bool happens = rng_chance(&w->rng, w->chance[f]) && !w->calm && !w->knobs.off[f];
    if (happens)
        w->count[f]++;
    return happens;
}

bool world_trouble(struct world *w, struct rng *r)
{
    uint64_t n = w->troubles++;
    rng_seed(r, w->seed, UINT64_C(1) << 60 | n);
    return n >= KNOBS_TROUBLES || !(w->knobs.skip[n / 8] >> (n % 8) & 1);
}

void world_note(struct world *w, uint64_t a, uint64_t b)
{
    uint64_t x = w->digest ^ w->now;
    x = (x ^ a) * UINT64_C(0x9fb21c651e98df25);
    x = (x ^ (x >> 28) ^ b) * UINT64_C(0x9fb21c651e98df25);
    w->digest = x ^ (x >> 32);
}

static int stamp(const struct world *w, char *dst, size_t cap)
{
    uint64_t us = (w->now - w->started) / 1000;
    return snprintf(dst, cap, "[%5u.%06u s] ", (unsigned)(us / 1000000), (unsigned)(us % 1000000));
}

void world_trace(struct world *w, const char *fmt, ...)
{
    char *line = w->trace[w->trace_lines++ % TRACE_LINES];
    int n = stamp(w, line, TRACE_WIDTH);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line + n, TRACE_WIDTH - (size_t)n, fmt, ap);
    va_end(ap);
    if (w->verbose)
        (void)fprintf(stderr, "%s\n", line);
}

void world_print_trace(const struct world *w, FILE *to)
{
    uint64_t first = w->trace_lines > TRACE_LINES ? w->trace_lines - TRACE_LINES : 0;
    if (first > 0)
        (void)fprintf(to, "(%llu earlier lines not kept)\n", (unsigned long long)first);
    for (uint64_t i = first; i < w->trace_lines; i++)
        (void)fprintf(to, "%s\n", w->trace[i % TRACE_LINES]);
}

void world_fail(struct world *w, const char *fmt, ...)
{
    va_list ap;
    if (w->failed)
        return;
    w->failed = true;
    va_start(ap, fmt);
    (void)vsnprintf(w->failure, sizeof w->failure, fmt, ap);
    va_end(ap);
    world_trace(w, "FAILED: %s", w->failure);
}
