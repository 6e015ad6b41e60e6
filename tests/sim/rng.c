#include "rng.h"

#include <string.h>

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, unsigned k)
{
    return x << k | x >> (64 - k);
}

void rng_seed(struct rng *r, uint64_t seed, uint64_t stream)
{
    uint64_t x = seed;
    x = splitmix(&x) ^ (stream * UINT64_C(0xd1342543de82ef95) + 1);
    for (size_t i = 0; i < 4; i++)
        r->s[i] = splitmix(&x);
}

uint64_t rng_next(struct rng *r)
{
    uint64_t result = rotl(r->s[1] * 5, 7) * 9, t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rotl(r->s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    /* The bias of the multiplication is below n/2^64: nothing that a fault campaign would see. */
    return (uint64_t)(((unsigned __int128)rng_next(r) * n) >> 64);
}

uint64_t rng_between(struct rng *r, uint64_t lo, uint64_t hi)
{
    return lo + rng_below(r, hi - lo + 1);
}

uint64_t rng_skewed(struct rng *r, uint64_t lo, uint64_t hi)
{
    uint64_t top = hi;
    for (unsigned halvings = (unsigned)rng_below(r, 12); halvings > 0; halvings--)
        top = lo + (top - lo) / 2;
    return rng_between(r, lo, top);
}

bool rng_chance(struct rng *r, uint32_t per_million)
{
    /* Draws even when the chance is nil, so that switching one fault off changes no other draw. */
    return rng_below(r, 1000000) < per_million;
}

void rng_bytes(struct rng *r, void *dst, size_t len)
{
    uint8_t *p = dst;
    while (len > 0) {
        uint64_t v = rng_next(r);
        size_t n = len < sizeof v ? len : sizeof v;
        memcpy(p, &v, n);
        p += n;
        len -= n;
    }
}
