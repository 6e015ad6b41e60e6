/* example.h: a real, small delta, made the way a site makes one, for tests that need a whole file.
 */
#ifndef RELAIS_TEST_EXAMPLE_H
#define RELAIS_TEST_EXAMPLE_H

#include "delta.h"
#include "index.h"

#define EXAMPLE_EXTENTS 9

struct example {
    struct key_secret *sign, *restore;
    uint8_t salt[SEAL_SALT_LEN];
    struct bytes_out file; /* the whole delta file */
    uint64_t index_place;
    uint32_t index_len, manifest_len;
    uint8_t *plain; /* the volume that the first volume's extents were cut from */
};

/* Everything follows from `seed` but the wraps, which libsodium draws. large: spans several parts.
 */
void example_make(struct example *x, uint8_t seed, bool large);
void example_free(struct example *x);

#endif
