/* Input: sectors u8 (plus one), then bytes that are taken three ways: as a sealed extent (its tag
 * never fits), as a zstd frame that somebody with the key sealed (whatever it is, it opens to
 * exactly the length or is corrupt), and as plain text that must come back. */
#include "fuzz.h"
#include "seal.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

static const uint8_t data_key[SEAL_KEY_LEN] = {1}, salt[SEAL_SALT_LEN] = {2};

/* Seals any bytes as CODEC_ZSTD, which seal.h itself has no way to do. */
static void seal_frame(const struct seal_ad *ad, const uint8_t *frame, size_t len, uint8_t *out,
                       uint8_t tag[SEAL_TAG_LEN])
{
    uint8_t nonce[24] = {2}, bytes[56] = "RXA1";
    bytes[36] = (uint8_t)ad->rp;
    bytes[48] = (uint8_t)ad->sectors;
    bytes[49] = (uint8_t)(ad->sectors >> 8);
    bytes[55] = CODEC_ZSTD;
    ASSERT(crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
               out, tag, NULL, frame, len, bytes, sizeof bytes, NULL, nonce, data_key) == 0);
}

static void open_hostile(struct seal *s, const struct seal_key *k, struct seal_ad ad,
                         const uint8_t *data, size_t len)
{
    static uint8_t plain[EXTENT_MAX], sealed[EXTENT_MAX];
    uint8_t tag[SEAL_TAG_LEN] = {0};
    struct err e = ERR_INIT;
    int rc;
    if (len > sizeof sealed)
        return;
    for (ad.codec = CODEC_STORED; ad.codec <= CODEC_ZSTD; ad.codec++)
        ASSERT(seal_open(s, k, &ad, data, (uint32_t)len, tag, plain, &e) != 0 && e.text[0]);
    ad.codec = CODEC_ZSTD;
    seal_frame(&ad, data, len, sealed, tag);
    rc = seal_open(s, k, &ad, sealed, (uint32_t)len, tag, plain, &e);
    ASSERT(rc == 0 || rc == -ERR_CORRUPT);
}

static void round_trip(struct seal *s, const struct seal_key *k, struct seal_ad ad,
                       const uint8_t *data, size_t len)
{
    static uint8_t plain[EXTENT_MAX], sealed[EXTENT_MAX], opened[EXTENT_MAX];
    size_t bytes = (size_t)ad.sectors * SECTOR_SIZE;
    struct seal_result r;
    struct err e = ERR_INIT;
    for (size_t i = 0; i < bytes && len > 0; i += len)
        memcpy(plain + i, data, len < bytes - i ? len : bytes - i);
    seal_extent(s, k, 3, &ad, plain, sealed, &r);
    ad.codec = r.codec;
    ASSERT(r.sealed_len <= seal_bound(ad.sectors));
    ASSERT(seal_open(s, k, &ad, sealed, r.sealed_len, r.tag, opened, &e) == 0);
    ASSERT(memcmp(plain, opened, bytes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seal *s;
    struct seal_ad ad = {.rp = 1};
    struct seal_key k;
    if (!s) {
        ASSERT(sodium_init() >= 0);
        s = seal_new();
    }
    if (size == 0)
        return 0;
    ad.sectors = data[0] + 1u;
    seal_key_derive(&k, data_key, salt);
    open_hostile(s, &k, ad, data + 1, size - 1);
    round_trip(s, &k, ad, data + 1, size - 1);
    return 0;
}
