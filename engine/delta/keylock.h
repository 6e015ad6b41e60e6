/* keylock.h: a secret of 32 bytes sealed under a passphrase, as key files keep it.
 *
 *   key    = Argon2id(passphrase, salt, passes, memory), version 1.3, one lane (RFC 9106)
 *   sealed = nonce (24) | XChaCha20-Poly1305 of the secret (32 + 16), the file's text before it
 * bound
 *
 * Private to the key files. Pure but for time and memory. */
#ifndef RELAIS_KEYLOCK_H
#define RELAIS_KEYLOCK_H

#include "key.h"

#define KEYLOCK_SALT   16u
#define KEYLOCK_SEALED (24u + KEY_LEN + 16u)

struct keylock {
    uint32_t passes, kib;
    uint8_t salt[KEYLOCK_SALT];
};

/* The cost that pass asks for, with a fresh salt. */
void keylock_new(struct keylock *out, const struct key_passphrase *pass);
/* Whether the cost is within bounds.h. Errors: LIMIT, with the bounds. */
int keylock_check(const struct keylock *l, struct err *e);
/* ad: the text that goes before it. Errors: OS (no memory). */
int keylock_seal(uint8_t dst[KEYLOCK_SEALED], const uint8_t secret[KEY_LEN],
                 const struct keylock *l, const void *ad, size_t ad_len,
                 const struct key_passphrase *pass, struct err *e);
/* Errors: OS; AUTH. */
int keylock_open(uint8_t secret[KEY_LEN], const uint8_t sealed[KEYLOCK_SEALED],
                 const struct keylock *l, const void *ad, size_t ad_len, const char *pass,
                 size_t pass_len, struct err *e);

#endif
