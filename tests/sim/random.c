#include "random.h"

#include "rng.h"

#include "err.h"

#include <openssl/rand.h>
#include <sodium.h>

static struct rng stream;

static const char *sodium_name(void)
{
    return "simulated";
}

static uint32_t sodium_word(void)
{
    return (uint32_t)rng_next(&stream);
}

static void sodium_buf(void *const buf, const size_t len)
{
    rng_bytes(&stream, buf, len);
}

static int ssl_bytes(unsigned char *buf, int len)
{
    rng_bytes(&stream, buf, (size_t)len);
    return 1;
}

static int ssl_status(void)
{
    return 1;
}

void sim_random_seed(uint64_t seed)
{
    static struct randombytes_implementation sodium = {
        .implementation_name = sodium_name, .random = sodium_word, .buf = sodium_buf};
    static const RAND_METHOD ssl = {
        .bytes = ssl_bytes, .pseudorand = ssl_bytes, .status = ssl_status};
    rng_seed(&stream, seed, UINT64_MAX);
    ASSERT(sodium_init() >= 0); /* it stirs the source that it finds, so it comes first */
    ASSERT(randombytes_set_implementation(&sodium) == 0);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* a provider would be 300 lines */
    ASSERT(RAND_set_rand_method(&ssl) == 1);
#pragma GCC diagnostic pop
}
