#include "seal.h"

#include "bytes.h"
#include "digest.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>
#include <zstd.h>

#define NONCE_LEN 12
#define AD_LEN    56
#define MAGIC_LEN 4

/* Compressing pays when it saves 1/256: 16 bytes of a sector. There is no sampling first to spare
 * the work on what is compressed already: at level 1 zstd gives up on such bytes at 5 to 10 GB/s by
 * itself, and a sample would store some extents that shrink. Higher levels search on, at a
 * twentieth of that: they are tried only where level 1 saved 1/64. */
#define PAYS_DIVISOR  256
#define WORTH_DIVISOR 64
#define TRIAL_LEVEL   1

static const uint8_t zstd_magic[MAGIC_LEN] = {0x28, 0xb5, 0x2f, 0xfd};

_Static_assert(SEAL_SALT_LEN == crypto_core_hchacha20_INPUTBYTES, "the salt is HChaCha20's input");
_Static_assert(SEAL_TAG_LEN == crypto_aead_xchacha20poly1305_ietf_ABYTES, "Poly1305 tags");
_Static_assert(SEAL_SALT_LEN + 8 == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
               "salt and place are the nonce");

/* One direction of the cipher, and the key it is set to. */
struct cipher {
    EVP_CIPHER_CTX *ctx;
    struct seal_key key;
    bool keyed;
};

struct seal {
    ZSTD_CCtx *trial, *compress; /* at TRIAL_LEVEL; at `level` above it, when first needed */
    ZSTD_DCtx *decompress;
    struct cipher enc, dec;
    int level;
    size_t scratch_len;
    uint8_t *scratch; /* a whole zstd frame; wiped: it holds plain text's shadow */
    uint8_t *second;  /* another one, with `compress` */
};

static void identity(uint8_t dst[SEAL_ID_LEN], const char *what, const char *site,
                     const char *group, const char *volume)
{
    const char *parts[] = {what, site, group, volume};
    char text[64 + 3 * (NAME_MAX_LEN + 1)];
    size_t n = 0;
    struct digest d;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && parts[i]; i++) {
        size_t len = strlen(parts[i]);
        ASSERT(n + len + 1 <= sizeof text);
        memcpy(text + n, parts[i], len);
        n += len;
        text[n++] = '\0'; /* between the parts; the last one is not counted below */
    }
    digest_of(&d, text, n - 1);
    memcpy(dst, d.b, SEAL_ID_LEN);
}

void seal_group_id(uint8_t dst[SEAL_ID_LEN], const char *site, const char *group)
{
    identity(dst, "relais group", site, group, NULL);
}

void seal_volume_id(uint8_t dst[SEAL_ID_LEN], const char *site, const char *group,
                    const char *volume)
{
    identity(dst, "relais volume", site, group, volume);
}

void seal_key_derive(struct seal_key *out, const uint8_t data_key[SEAL_KEY_LEN],
                     const uint8_t salt[SEAL_SALT_LEN])
{
    ASSERT(crypto_core_hchacha20(out->subkey, salt, data_key, NULL) == 0);
}

static void cipher_init(struct cipher *c, EVP_CIPHER *algorithm, int encrypt)
{
    c->ctx = EVP_CIPHER_CTX_new();
    ASSERT(c->ctx && EVP_CipherInit_ex2(c->ctx, algorithm, NULL, NULL, encrypt, NULL) == 1);
}

static ZSTD_CCtx *compressor(int level)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ASSERT(c);
    /* The length is in the index, the tag detects changes, there are no dictionaries. */
    ASSERT(!ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0)));
    ASSERT(!ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 0)));
    ASSERT(!ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_dictIDFlag, 0)));
    ASSERT(!ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level)));
    return c;
}

struct seal *seal_new(void)
{
    struct seal *s = err_calloc(1, sizeof *s);
    EVP_CIPHER *algorithm = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
    ASSERT(algorithm);
    cipher_init(&s->enc, algorithm, 1);
    cipher_init(&s->dec, algorithm, 0);
    EVP_CIPHER_free(algorithm); /* the contexts hold it */
    s->trial = compressor(TRIAL_LEVEL);
    s->decompress = ZSTD_createDCtx();
    ASSERT(s->decompress);
    s->scratch_len = ZSTD_compressBound(EXTENT_MAX);
    s->scratch = err_malloc(s->scratch_len);
    return s;
}

void seal_free(struct seal *s)
{
    if (!s)
        return;
    EVP_CIPHER_CTX_free(s->enc.ctx); /* wipes its key */
    EVP_CIPHER_CTX_free(s->dec.ctx);
    (void)ZSTD_freeCCtx(s->trial);
    (void)ZSTD_freeCCtx(s->compress);
    (void)ZSTD_freeDCtx(s->decompress);
    sodium_memzero(s->scratch, s->scratch_len);
    free(s->scratch);
    if (s->second)
        sodium_memzero(s->second, s->scratch_len);
    free(s->second);
    sodium_memzero(s, sizeof *s);
    free(s);
}

static void cipher_forget(struct cipher *c)
{
    static const uint8_t zero[SEAL_KEY_LEN];
    if (!c->keyed)
        return;
    ASSERT(EVP_CipherInit_ex2(c->ctx, NULL, zero, zero, -1, NULL) == 1);
    sodium_memzero(&c->key, sizeof c->key);
    c->keyed = false;
}

void seal_forget(struct seal *s)
{
    cipher_forget(&s->enc);
    cipher_forget(&s->dec);
}

size_t seal_bound(uint32_t sectors)
{
    return (size_t)sectors << SECTOR_SHIFT; /* what does not shrink is stored */
}

/* The last 8 bytes of the 24-byte nonce; the 4 zeroes before them are XChaCha20's. */
static void nonce_of(uint8_t dst[NONCE_LEN], const struct seal_ad *ad)
{
    memset(dst, 0, 4);
    bytes_set_le64(dst + 4, (uint64_t)ad->volume | (uint64_t)ad->sector << 16);
}

static void ad_encode(uint8_t dst[AD_LEN], const struct seal_ad *ad)
{
    memcpy(dst, "RXA1", 4);
    memcpy(dst + 4, ad->group_id, SEAL_ID_LEN);
    memcpy(dst + 20, ad->volume_id, SEAL_ID_LEN);
    bytes_set_le64(dst + 36, ad->rp);
    bytes_set_le32(dst + 44, ad->sector);
    bytes_set_le32(dst + 48, ad->sectors);
    dst[52] = (uint8_t)ad->volume;
    dst[53] = (uint8_t)(ad->volume >> 8);
    dst[54] = ad->kind;
    dst[55] = ad->codec;
}

/* Sets key (only when it is another), nonce and additional data. */
static void cipher_start(struct cipher *c, const struct seal_key *k, const struct seal_ad *ad)
{
    uint8_t nonce[NONCE_LEN], bytes[AD_LEN];
    bool same = c->keyed && sodium_memcmp(c->key.subkey, k->subkey, SEAL_KEY_LEN) == 0;
    int n = 0;
    nonce_of(nonce, ad);
    ad_encode(bytes, ad);
    ASSERT(EVP_CipherInit_ex2(c->ctx, NULL, same ? NULL : k->subkey, nonce, -1, NULL) == 1);
    if (!same) {
        c->key = *k;
        c->keyed = true;
    }
    ASSERT(EVP_CipherUpdate(c->ctx, NULL, &n, bytes, AD_LEN) == 1 && n == AD_LEN);
}

static void encrypt(struct cipher *c, const struct seal_key *k, const struct seal_ad *ad,
                    const uint8_t *src, uint32_t len, uint8_t *dst, uint8_t tag[SEAL_TAG_LEN])
{
    uint8_t none[16];
    int n = 0;
    cipher_start(c, k, ad);
    ASSERT(EVP_CipherUpdate(c->ctx, dst, &n, src, (int)len) == 1 && n == (int)len);
    ASSERT(EVP_CipherFinal_ex(c->ctx, none, &n) == 1 && n == 0);
    ASSERT(EVP_CIPHER_CTX_ctrl(c->ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_LEN, tag) == 1);
}

/* False when the tag does not fit; dst then holds what must not be used. */
static bool decrypt(struct cipher *c, const struct seal_key *k, const struct seal_ad *ad,
                    const uint8_t *src, uint32_t len, uint8_t *dst, const uint8_t tag[SEAL_TAG_LEN])
{
    uint8_t none[16], copy[SEAL_TAG_LEN];
    int n = 0;
    memcpy(copy, tag, SEAL_TAG_LEN); /* OpenSSL takes it without const */
    cipher_start(c, k, ad);
    ASSERT(EVP_CIPHER_CTX_ctrl(c->ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_LEN, copy) == 1);
    ASSERT(EVP_CipherUpdate(c->ctx, dst, &n, src, (int)len) == 1 && n == (int)len);
    return EVP_CipherFinal_ex(c->ctx, none, &n) == 1;
}

static size_t compress(struct seal *s, ZSTD_CCtx *c, uint8_t *to, const uint8_t *plain, size_t len)
{
    size_t frame = ZSTD_compress2(c, to, s->scratch_len, plain, len);
    ASSERT(!ZSTD_isError(frame) && frame > MAGIC_LEN && memcmp(to, zstd_magic, MAGIC_LEN) == 0);
    return frame;
}

/* Above the trial's level. Contexts are large: the one of a level that is not used any more goes.
 */
static size_t compress_harder(struct seal *s, int level, const uint8_t *plain, size_t len)
{
    if (level != s->level) {
        (void)ZSTD_freeCCtx(s->compress);
        s->compress = compressor(level);
        s->level = level;
        if (!s->second)
            s->second = err_malloc(s->scratch_len);
    }
    return compress(s, s->compress, s->second, plain, len);
}

/* Length of the frame, in *out; 0 when storing is better. */
static size_t try_compress(struct seal *s, int level, const uint8_t *plain, size_t len,
                           const uint8_t **out)
{
    size_t frame, harder;
    if (level == 0)
        return 0;
    frame = compress(s, s->trial, s->scratch, plain, len);
    *out = s->scratch;
    if (level > TRIAL_LEVEL && frame < len - len / WORTH_DIVISOR) {
        harder = compress_harder(s, level, plain, len);
        if (harder < frame) {
            frame = harder;
            *out = s->second;
        }
    }
    return frame < len - len / PAYS_DIVISOR ? frame : 0;
}

void seal_extent(struct seal *s, const struct seal_key *k, int level, const struct seal_ad *ad,
                 const void *plain, uint8_t *out, struct seal_result *r)
{
    size_t len = (size_t)ad->sectors << SECTOR_SHIFT, frame;
    const uint8_t *packed = plain;
    struct seal_ad bound = *ad;
    ASSERT(ad->kind == EXTENT_DATA && ad->sectors > 0 && ad->sectors <= EXTENT_SECTORS);
    frame = try_compress(s, level, plain, len, &packed);
    bound.codec = frame ? CODEC_ZSTD : CODEC_STORED;
    r->codec = bound.codec;
    r->frame_len = (uint32_t)(frame ? frame : len);
    r->sealed_len = (uint32_t)(frame ? frame - MAGIC_LEN : len);
    encrypt(&s->enc, k, &bound, frame ? packed + MAGIC_LEN : plain, r->sealed_len, out, r->tag);
}

/* "extent of 2 sectors at sector 7 of volume 0, RP 12" */
#define WHERE         "extent of %u sectors at sector %u of volume %u, RP %llu"
#define WHERE_ARGS(a) (a)->sectors, (a)->sector, (unsigned)(a)->volume, (unsigned long long)(a)->rp

static int open_checked(struct seal *s, const struct seal_key *k, const struct seal_ad *ad,
                        const uint8_t *sealed, uint32_t sealed_len, const uint8_t *tag,
                        uint8_t *plain, size_t len, struct err *e)
{
    bool zstd = ad->codec == CODEC_ZSTD;
    uint8_t *to = zstd ? s->scratch + MAGIC_LEN : plain;
    size_t got = len;
    if (zstd ? sealed_len == 0 || sealed_len >= len : sealed_len != len)
        return err_set(e, ERR_CORRUPT, WHERE ": %u sealed bytes cannot be %zu plain ones",
                       WHERE_ARGS(ad), sealed_len, len);
    if (!decrypt(&s->dec, k, ad, sealed, sealed_len, to, tag))
        return err_set(e, ERR_AUTH,
                       WHERE ": its tag does not fit: changed, moved, or sealed under another key",
                       WHERE_ARGS(ad));
    if (zstd) {
        memcpy(s->scratch, zstd_magic, MAGIC_LEN);
        got = ZSTD_decompressDCtx(s->decompress, plain, len, s->scratch,
                                  MAGIC_LEN + (size_t)sealed_len);
    }
    if (ZSTD_isError(got) || got != len)
        return err_set(e, ERR_CORRUPT,
                       WHERE ": its tag fits, but it does not decompress to %zu bytes (%s)",
                       WHERE_ARGS(ad), len, ZSTD_isError(got) ? ZSTD_getErrorName(got) : "shorter");
    return 0;
}

int seal_open(struct seal *s, const struct seal_key *k, const struct seal_ad *ad,
              const uint8_t *sealed, uint32_t sealed_len, const uint8_t tag[SEAL_TAG_LEN],
              void *plain, struct err *e)
{
    size_t len = (size_t)ad->sectors << SECTOR_SHIFT;
    int rc;
    ASSERT(ad->sectors > 0 && ad->sectors <= EXTENT_SECTORS);
    if (ad->kind != EXTENT_DATA || ad->codec > CODEC_ZSTD)
        rc = err_set(e, ERR_INPUT,
                     WHERE ": kind %u, codec %u: written by a newer version of relais; upgrade",
                     WHERE_ARGS(ad), ad->kind, ad->codec);
    else
        rc = open_checked(s, k, ad, sealed, sealed_len, tag, plain, len, e);
    if (rc)
        sodium_memzero(plain, len);
    return rc;
}
