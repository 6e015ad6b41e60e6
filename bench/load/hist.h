/* hist.h: latencies, of any number of requests. Pure.
 *
 * They go into a histogram of HIST_SUB steps per power of two: 15 KiB, and a
 * quantile within 1/HIST_SUB of its value. */
#ifndef RELAIS_BENCH_HIST_H
#define RELAIS_BENCH_HIST_H

#include <stdint.h>

#define HIST_SUB   32u
#define HIST_SLOTS (60u * HIST_SUB)

struct hist {
    uint64_t count, sum, max; /* ns */
    uint64_t slots[HIST_SLOTS];
};

void hist_add(struct hist *h, uint64_t ns);
void hist_merge(struct hist *into, const struct hist *from);
/* The value that a share q of all does not exceed; never more than max; 0 of nothing. */
uint64_t hist_quantile(const struct hist *h, double q);
double hist_mean(const struct hist *h);

#endif
