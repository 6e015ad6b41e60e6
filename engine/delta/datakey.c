#include "datakey.h"

#include "bytes.h"
#include "digest.h"

#include <string.h>

#include <sodium.h>

_Static_assert(DATAKEY_WRAP_LEN == SEAL_KEY_LEN + crypto_box_SEALBYTES, "a wrap is one sealed box");

struct datakey { /* in sodium_malloc'd memory */
    uint8_t secret[SEAL_KEY_LEN];
    uint64_t born;
    struct datakey_wraps wraps;
};

/* Who does not know the key learns nothing of its 256 random bits. */
static void id_of(uint8_t dst[DATAKEY_ID_LEN], const uint8_t key[SEAL_KEY_LEN])
{
    static const char domain[] = "relais data key";
    uint8_t text[sizeof domain + SEAL_KEY_LEN];
    struct digest d;
    memcpy(text, domain, sizeof domain);
    memcpy(text + sizeof domain, key, SEAL_KEY_LEN);
    digest_of(&d, text, sizeof text);
    sodium_memzero(text, sizeof text);
    memcpy(dst, d.b, DATAKEY_ID_LEN);
}

void datakey_wrap(struct datakey_wrap *out, const uint8_t key[SEAL_KEY_LEN],
                  const struct key_public *reader)
{
    ASSERT(reader->kind == KEY_RESTORE);
    key_fingerprint(out->reader, reader);
    /* Fails only for points of small order, which key_public_parse refuses. */
    ASSERT(crypto_box_seal(out->sealed, key, SEAL_KEY_LEN, reader->b) == 0);
}

int datakey_open(uint8_t dst[SEAL_KEY_LEN], const uint8_t id[DATAKEY_ID_LEN],
                 const struct datakey_wrap *w, const struct key_secret *restore_key)
{
    const struct key_public *pub = key_public(restore_key);
    uint8_t found[DATAKEY_ID_LEN];
    ASSERT(pub->kind == KEY_RESTORE);
    if (crypto_box_seal_open(dst, w->sealed, DATAKEY_WRAP_LEN, pub->b,
                             key_secret_bytes(restore_key)) == 0) {
        id_of(found, dst);
        if (memcmp(found, id, DATAKEY_ID_LEN) == 0)
            return 0;
    }
    sodium_memzero(dst, SEAL_KEY_LEN);
    return -1;
}

struct datakey *datakey_new(const struct key_public *readers, size_t count, uint64_t now,
                            const uint8_t random_key[SEAL_KEY_LEN])
{
    struct datakey *k = sodium_malloc(sizeof *k);
    ASSERT(k && count > 0 && count <= READERS_MAX);
    memset(k, 0, sizeof *k);
    memcpy(k->secret, random_key, SEAL_KEY_LEN);
    k->born = now;
    id_of(k->wraps.id, random_key);
    k->wraps.count = (uint16_t)count;
    for (size_t i = 0; i < count; i++)
        datakey_wrap(&k->wraps.wraps[i], k->secret, &readers[i]);
    return k;
}

void datakey_free(struct datakey *k)
{
    sodium_free(k);
}

bool datakey_expired(const struct datakey *k, uint64_t now)
{
    return now - k->born >= DATA_KEY_LIFE_NS;
}

uint64_t datakey_expires(const struct datakey *k)
{
    return k->born + DATA_KEY_LIFE_NS;
}

const uint8_t *datakey_secret(const struct datakey *k)
{
    return k->secret;
}

const struct datakey_wraps *datakey_wraps(const struct datakey *k)
{
    return &k->wraps;
}

/* "0123456789abcdef, 0123..." */
static void list_readers(char *dst, size_t cap, const struct datakey_wraps *w)
{
    size_t n = 0;
    dst[0] = '\0';
    for (uint16_t i = 0; i < w->count && n + 2 * KEY_FP_LEN + 3 <= cap; i++) {
        if (i > 0) {
            dst[n++] = ',';
            dst[n++] = ' ';
        }
        bytes_hex(dst + n, w->wraps[i].reader, KEY_FP_LEN);
        n += 2 * KEY_FP_LEN;
    }
}

static int not_ours(const struct datakey_wraps *w, bool matched, struct err *e)
{
    char id[2 * DATAKEY_ID_LEN + 1], readers[READERS_MAX * (2 * KEY_FP_LEN + 2) + 1];
    bytes_hex(id, w->id, DATAKEY_ID_LEN);
    list_readers(readers, sizeof readers, w);
    return err_set(e, ERR_AUTH,
                   matched
                       ? "data key %s: its wrap for your restore key does not open; it was "
                         "changed, or made for another key (wrapped for: %s)"
                       : "data key %s: none of your restore keys opens it; one of these can: %s",
                   id, readers);
}

int datakey_unwrap(uint8_t dst[SEAL_KEY_LEN], const struct datakey_wraps *w,
                   struct key_secret *const *restore_keys, size_t count, struct err *e)
{
    bool matched = false;
    ASSERT(w->count <= READERS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct key_public *pub = key_public(restore_keys[i]);
        uint8_t fp[KEY_FP_LEN];
        key_fingerprint(fp, pub);
        for (uint16_t j = 0; j < w->count; j++) {
            if (memcmp(fp, w->wraps[j].reader, KEY_FP_LEN) != 0)
                continue;
            matched = true;
            if (datakey_open(dst, w->id, &w->wraps[j], restore_keys[i]) == 0)
                return 0;
        }
    }
    sodium_memzero(dst, SEAL_KEY_LEN);
    return not_ours(w, matched, e);
}
