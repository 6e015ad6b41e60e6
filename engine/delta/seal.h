/* seal.h: one extent at a time: compress (zstd, RFC 8878), then encrypt and authenticate
 * (XChaCha20-Poly1305, draft-irtf-cfrg-xchacha-03).
 *
 * The key is a data key. The 24-byte nonce is the delta's random 16-byte salt followed by the
 * extent's place, volume number (2 bytes) and first sector (6 bytes), little-endian. One delta
 * never seals two extents that start at the same place (index.h enforces the order), and every
 * attempt to write a delta draws a new salt, so no nonce comes twice under one key, whatever is
 * retried. Because the salt is the HChaCha20 input, its subkey is computed once per delta
 * (libsodium), and OpenSSL's ChaCha20-Poly1305, four times as fast here, does the rest; a unit test
 * holds the composition against libsodium's crypto_aead_xchacha20poly1305_ietf.
 *
 * The additional data binds group, volume, RP, place, length, kind and codec (see FORMAT.md).
 * A zstd frame is stored without its 4 magic bytes, which never vary. */
#ifndef RELAIS_SEAL_H
#define RELAIS_SEAL_H

#include "bounds.h"
#include "err.h"

#include <stddef.h>
#include <stdint.h>

#define SEAL_TAG_LEN  16
#define SEAL_SALT_LEN 16
#define SEAL_KEY_LEN  32
#define SEAL_ID_LEN   16

enum extent_kind { EXTENT_DATA = 0, EXTENT_ZERO = 1, EXTENT_PATCH = 2 /* reserved */ };
enum extent_codec { CODEC_STORED = 0, CODEC_ZSTD = 1 };

/* What an extent is bound to, besides its key. Identities are the first 16 bytes of SHA-256 over
 * "relais group\0SITE\0GROUP" and "relais volume\0SITE\0GROUP\0VOLUME". */
struct seal_ad {
    uint8_t group_id[SEAL_ID_LEN];
    uint8_t volume_id[SEAL_ID_LEN];
    uint64_t rp;
    uint16_t volume; /* number in the manifest's volume table of the delta that sealed it */
    uint32_t sector;
    uint32_t sectors;
    uint8_t kind, codec;
};
void seal_group_id(uint8_t dst[SEAL_ID_LEN], const char *site, const char *group);
void seal_volume_id(uint8_t dst[SEAL_ID_LEN], const char *site, const char *group,
                    const char *volume);

/* Key of one delta: data key and salt made one. Wipe with sodium_memzero. */
struct seal_key {
    uint8_t subkey[SEAL_KEY_LEN];
};
void seal_key_derive(struct seal_key *out, const uint8_t data_key[SEAL_KEY_LEN],
                     const uint8_t salt[SEAL_SALT_LEN]);

/* Per-thread working state (zstd and cipher contexts). level: zstd's, 0 means store all. */
struct seal;
struct seal *seal_new(void);
void seal_free(struct seal *s);
/* Wipes the key that it worked with last. */
void seal_forget(struct seal *s);

/* Largest sealed length of an extent of `sectors`. */
size_t seal_bound(uint32_t sectors);

struct seal_result {
    uint32_t sealed_len;
    uint32_t frame_len; /* what the bare zstd frame (with magic) or the stored bytes come to */
    uint8_t codec;
    uint8_t tag[SEAL_TAG_LEN];
};
/* Seals sectors*4096 bytes (EXTENT_DATA) into out (seal_bound bytes). ad->codec is chosen here
 * (stored when compressing does not pay) and returned.
 * Reentrant per struct seal; cannot fail. */
void seal_extent(struct seal *s, const struct seal_key *k, int level, const struct seal_ad *ad,
                 const void *plain, uint8_t *out, struct seal_result *r);

/* Opens a data extent into plain (sectors*4096 bytes; ad->sectors is in 1..EXTENT_SECTORS, as
 * index.h checks). On error plain is wiped. Errors: AUTH when the tag does not fit, CORRUPT when it
 * fits but does not decompress to the length (or sealed_len cannot be right), INPUT for a kind or
 * codec that only a newer version knows. */
int seal_open(struct seal *s, const struct seal_key *k, const struct seal_ad *ad,
              const uint8_t *sealed, uint32_t sealed_len, const uint8_t tag[SEAL_TAG_LEN],
              void *plain, struct err *e);

#endif
