#include "keylock.h"

#include "bounds.h"

#include <string.h>

#include <sodium.h>

#define NONCE_LEN crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

_Static_assert(crypto_pwhash_SALTBYTES == KEYLOCK_SALT, "Argon2id's salt");
_Static_assert(KEYLOCK_SEALED == NONCE_LEN + KEY_LEN + crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "nonce, secret, tag");
_Static_assert(KEY_KIB_MIN *KIB >= crypto_pwhash_MEMLIMIT_MIN, "libsodium's own bound");

void keylock_new(struct keylock *out, const struct key_passphrase *pass)
{
    out->passes = pass->passes ? pass->passes : KEY_PASSES;
    out->kib = pass->kib ? pass->kib : KEY_KIB;
    randombytes_buf(out->salt, sizeof out->salt);
}

int keylock_check(const struct keylock *l, struct err *e)
{
    if (l->passes >= 1 && l->passes <= KEY_PASSES_MAX && l->kib >= KEY_KIB_MIN &&
        l->kib <= KEY_KIB_MAX)
        return 0;
    return err_set(e, ERR_LIMIT,
                   "Argon2id with %u passes over %u KiB: 1 to %u passes over %u to %u KiB are "
                   "allowed",
                   l->passes, l->kib, KEY_PASSES_MAX, KEY_KIB_MIN, KEY_KIB_MAX);
}

static int derive(uint8_t *key, const struct keylock *l, const char *pass, size_t len,
                  struct err *e)
{
    ASSERT(len <= PASSPHRASE_MAX);
    if (crypto_pwhash(key, crypto_aead_xchacha20poly1305_ietf_KEYBYTES, pass, len, l->salt,
                      l->passes, (size_t)l->kib * KIB, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return err_set(e, ERR_OS, "there is no memory for Argon2id: it takes %u MiB",
                       (unsigned)(l->kib / KIB));
    return 0;
}

static uint8_t *key_room(void)
{
    uint8_t *key = sodium_malloc(crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
    ASSERT(key);
    return key;
}

int keylock_seal(uint8_t dst[KEYLOCK_SEALED], const uint8_t secret[KEY_LEN],
                 const struct keylock *l, const void *ad, size_t ad_len,
                 const struct key_passphrase *pass, struct err *e)
{
    uint8_t *key = key_room();
    int rc = derive(key, l, pass->text, pass->len, e);
    if (rc == 0) {
        randombytes_buf(dst, NONCE_LEN);
        (void)crypto_aead_xchacha20poly1305_ietf_encrypt(dst + NONCE_LEN, NULL, secret, KEY_LEN, ad,
                                                         ad_len, NULL, dst, key);
    }
    sodium_free(key);
    return rc;
}

int keylock_open(uint8_t secret[KEY_LEN], const uint8_t sealed[KEYLOCK_SEALED],
                 const struct keylock *l, const void *ad, size_t ad_len, const char *pass,
                 size_t pass_len, struct err *e)
{
    uint8_t *key = key_room();
    int rc = derive(key, l, pass, pass_len, e);
    if (rc == 0 && crypto_aead_xchacha20poly1305_ietf_decrypt(
                       secret, NULL, NULL, sealed + NONCE_LEN, KEYLOCK_SEALED - NONCE_LEN, ad,
                       ad_len, sealed, key) != 0)
        rc = err_set(e, ERR_AUTH, "the passphrase does not open the key, or the file was changed");
    sodium_free(key);
    return rc;
}
