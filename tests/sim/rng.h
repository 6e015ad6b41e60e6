/* rng.h: the simulator's randomness: xoshiro256** seeded by splitmix64 (Blackman and Vigna). Not
 * for keys outside of a simulation. Pure. */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

/* Streams of one seed are independent of each other, so that one more draw by one part of the world
 * does not change what another draws. */
void rng_seed(struct rng *r, uint64_t seed, uint64_t stream);
uint64_t rng_next(struct rng *r);
/* Uniform in [0, n); n >= 1. In [lo, hi], both included. */
uint64_t rng_below(struct rng *r, uint64_t n);
uint64_t rng_between(struct rng *r, uint64_t lo, uint64_t hi);
/* Mostly near lo, sometimes near hi: how latencies and sizes are. */
uint64_t rng_skewed(struct rng *r, uint64_t lo, uint64_t hi);
bool rng_chance(struct rng *r, uint32_t per_million);
void rng_bytes(struct rng *r, void *dst, size_t len);

#endif
