/* datakey.h: the symmetric keys that extents are sealed under, and their wraps.
 *
 * A data key is random, lives at most DATA_KEY_LIFE_NS and never over a restart: the daemon that
 * sealed with it cannot open what it sealed. It is wrapped (crypto_box_seal: X25519,
 * XSalsa20-Poly1305) to each reader's restore key. */
#ifndef RELAIS_DATAKEY_H
#define RELAIS_DATAKEY_H

#include "key.h"
#include "seal.h"

#define DATAKEY_ID_LEN   16
#define DATAKEY_WRAP_LEN (SEAL_KEY_LEN + 48)

struct datakey_wrap {
    uint8_t reader[KEY_FP_LEN]; /* fingerprint of the restore key it is for */
    uint8_t sealed[DATAKEY_WRAP_LEN];
};

/* The public part, as a manifest carries it. The id is a hash of the key: it names it, and whoever
 * unwraps something knows whether it is the key. */
struct datakey_wraps {
    uint8_t id[DATAKEY_ID_LEN];
    uint16_t count;
    struct datakey_wrap wraps[READERS_MAX];
};

/* What lies at a hub for a reader that came later: of each data key the id and the sealed box. */
#define WRAPS_ENTRY_LEN ((unsigned)(DATAKEY_ID_LEN + DATAKEY_WRAP_LEN))

struct datakey; /* the secret in locked memory, its wraps, when it was born */

/* now: monotonic ns. random_key: from the caller's io_random. */
struct datakey *datakey_new(const struct key_public *readers, size_t count, uint64_t now,
                            const uint8_t random_key[SEAL_KEY_LEN]);
void datakey_free(struct datakey *k); /* wipes */
bool datakey_expired(const struct datakey *k, uint64_t now);
uint64_t datakey_expires(const struct datakey *k); /* when, monotonic ns */
const uint8_t *datakey_secret(const struct datakey *k);
const struct datakey_wraps *datakey_wraps(const struct datakey *k);

/* Wraps a data key for one more reader; and opens a wrap, the id saying which key it must hold: -1
 * when it does not. */
void datakey_wrap(struct datakey_wrap *out, const uint8_t key[SEAL_KEY_LEN],
                  const struct key_public *reader);
int datakey_open(uint8_t dst[SEAL_KEY_LEN], const uint8_t id[DATAKEY_ID_LEN],
                 const struct datakey_wrap *w, const struct key_secret *restore_key);

/* Opens the wrap that fits one of the restore keys. dst: caller wipes. Errors: AUTH, naming the
 * fingerprints that could open it. */
int datakey_unwrap(uint8_t dst[SEAL_KEY_LEN], const struct datakey_wraps *w,
                   struct key_secret *const *restore_keys, size_t count, struct err *e);

#endif
