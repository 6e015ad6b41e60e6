/* digest.h: SHA-256 (FIPS 180-4, OpenSSL's), the one digest of the format: of parts, indexes and
 * manifests. Chosen over BLAKE2b because processors compute it 2.5 times as fast and any admin can
 * check a part with sha256sum. Callable from any thread. */
#ifndef RELAIS_DIGEST_H
#define RELAIS_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN 32
#define DIGEST_HEX 65

struct digest {
    uint8_t b[DIGEST_LEN];
};

void digest_of(struct digest *out, const void *p, size_t len);
bool digest_equal(const struct digest *a, const struct digest *b);
bool digest_is_zero(const struct digest *d);
void digest_hex(char dst[DIGEST_HEX], const struct digest *d);

#endif
