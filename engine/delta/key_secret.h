/* key_secret.h: what the files of keys share: how a secret key lies in memory.
 *
 * The core is the 32 bytes that a key file stores and everything else follows from: the seed of an
 * Ed25519 key, the scalar of an X25519 key, the hash key itself. */
#ifndef RELAIS_KEY_SECRET_H
#define RELAIS_KEY_SECRET_H

#include "key.h"

#define KEY_SECRET_MAX 64

/* In sodium_malloc'd memory only. The core is always the first KEY_LEN bytes of `secret`. */
struct key_secret {
    struct key_public pub;
    uint8_t secret[KEY_SECRET_MAX];
};

struct key_secret *key_secret_alloc(enum key_kind kind);
/* Fills both halves from the core; kind is set. */
void key_secret_fill(struct key_secret *k, const uint8_t core[KEY_LEN]);
/* Exactly cap bytes from exactly len characters of padded, canonical base64; else -1. */
int key_base64(uint8_t *dst, size_t cap, const char *text, size_t len);

#endif
