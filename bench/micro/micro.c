#include "micro.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static uint64_t timed(void (*fn)(void *arg, uint64_t n), void *arg, uint64_t n)
{
    uint64_t began = now();
    fn(arg, n);
    return now() - began;
}

/* How many operations make a batch; the search warms the caches. */
static uint64_t batch_of(const struct micro *m, void (*fn)(void *arg, uint64_t n), void *arg)
{
    for (uint64_t n = 1;; n *= 2) {
        uint64_t took = timed(fn, arg, n);
        if (took >= m->batch_ns)
            return n;
        if (took > m->batch_ns / 16) /* near enough to reckon */
            return n * m->batch_ns / took + 1;
    }
}

static double per_operation(void (*fn)(void *arg, uint64_t n), void *arg, uint64_t n)
{
    return (double)timed(fn, arg, n) / (double)n;
}

void micro_run(struct micro *m, const struct micro_case *c)
{
    double ours[MICRO_REPEATS_MAX], bare[MICRO_REPEATS_MAX], ratio[MICRO_REPEATS_MAX];
    uint64_t n = batch_of(m, c->ours, c->arg), k = batch_of(m, c->bare, c->arg);
    ASSERT(m->repeats > 0 && m->repeats <= MICRO_REPEATS_MAX);
    for (unsigned i = 0; i < m->repeats; i++) {
        if (i % 2 == 0)
            ours[i] = per_operation(c->ours, c->arg, n);
        bare[i] = per_operation(c->bare, c->arg, k);
        if (i % 2 == 1)
            ours[i] = per_operation(c->ours, c->arg, n);
        ratio[i] = ours[i] / bare[i];
    }
    if (m->count == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 32;
        m->results = err_realloc(m->results, m->cap * sizeof *m->results);
    }
    m->results[m->count++] = (struct micro_result){.of = *c,
                                                   .ours = sample_of(ours, m->repeats),
                                                   .bare = sample_of(bare, m->repeats),
                                                   .ratio = sample_of(ratio, m->repeats)};
}

void micro_rows(void *dst, size_t len, uint64_t seed)
{
    static const char *const names[] = {"Lefebvre", "Dupont", "Bethencourt", "Noel",
                                        "Facon",    "Martin", "Bernard",     "Petit"};
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    char row[160];
    for (size_t at = 0; at < len;) {
        int n;
        size_t take;
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memset(row, 0, sizeof row);
        n = snprintf(row, sizeof row, "%012zu|%s|19%02u-%02u|%010llx|admission|service %u|", at,
                     names[x >> 61], (unsigned)(30 + (x >> 32) % 69),
                     (unsigned)(1 + (x >> 40) % 12), (unsigned long long)(x >> 24),
                     (unsigned)(x >> 50) % 40);
        take = (size_t)n + 8 + (x >> 44) % 32; /* the padding of columns */
        take = take < len - at ? take : len - at;
        memcpy((char *)dst + at, row, take);
        at += take;
    }
}
