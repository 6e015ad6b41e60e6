/* Sealing and opening one extent, beside zstd alone and libsodium's XChaCha20-Poly1305 alone. */
#include "seal.h"
#include "micro.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>
#include <zstd.h>

struct sealing {
    struct seal *seal;
    struct seal_key key;
    struct seal_ad ad;
    struct seal_result result;
    uint8_t *plain, *out, *again; /* again: what is opened */
    size_t len;
    int level;
    ZSTD_CCtx *c;
    ZSTD_DCtx *d;
    uint8_t *frame; /* of zstd alone */
    size_t frame_len, frame_cap;
    uint8_t raw_key[SEAL_KEY_LEN], nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];
};

static void seal_ours(void *arg, uint64_t n)
{
    struct sealing *s = arg;
    for (uint64_t i = 0; i < n; i++)
        seal_extent(s->seal, &s->key, s->level, &s->ad, s->plain, s->out, &s->result);
}

static void zstd_alone(void *arg, uint64_t n)
{
    struct sealing *s = arg;
    for (uint64_t i = 0; i < n; i++) {
        s->frame_len = ZSTD_compressCCtx(s->c, s->frame, s->frame_cap, s->plain, s->len, s->level);
        ASSERT(!ZSTD_isError(s->frame_len));
    }
}

static void cipher_alone(void *arg, uint64_t n)
{
    struct sealing *s = arg;
    for (uint64_t i = 0; i < n; i++)
        ASSERT(crypto_aead_xchacha20poly1305_ietf_encrypt(s->frame, NULL, s->plain, s->len, NULL, 0,
                                                          NULL, s->nonce, s->raw_key) == 0);
}

static void open_ours(void *arg, uint64_t n)
{
    struct sealing *s = arg;
    struct err e = ERR_INIT;
    for (uint64_t i = 0; i < n; i++)
        ASSERT(seal_open(s->seal, &s->key, &s->ad, s->out, s->result.sealed_len, s->result.tag,
                         s->again, &e) == 0);
}

static void unzstd_alone(void *arg, uint64_t n)
{
    struct sealing *s = arg;
    for (uint64_t i = 0; i < n; i++)
        ASSERT(ZSTD_decompressDCtx(s->d, s->again, s->len, s->frame, s->frame_len) == s->len);
}

static void sealing_open(struct sealing *s)
{
    uint8_t salt[SEAL_SALT_LEN];
    memset(s, 0, sizeof *s);
    randombytes_buf(s->raw_key, sizeof s->raw_key);
    randombytes_buf(s->nonce, sizeof s->nonce);
    randombytes_buf(salt, sizeof salt);
    seal_key_derive(&s->key, s->raw_key, salt);
    s->seal = seal_new();
    s->c = ZSTD_createCCtx();
    s->d = ZSTD_createDCtx();
    ASSERT(s->c && s->d);
    s->frame_cap = ZSTD_compressBound(EXTENT_MAX) + crypto_aead_xchacha20poly1305_ietf_ABYTES;
    s->frame = err_malloc(s->frame_cap);
    s->plain = err_malloc(EXTENT_MAX);
    s->out = err_malloc(seal_bound(EXTENT_SECTORS));
    s->again = err_malloc(EXTENT_MAX);
    s->ad = (struct seal_ad){.rp = 1, .kind = EXTENT_DATA};
}

static void sealing_close(struct sealing *s)
{
    seal_free(s->seal);
    (void)ZSTD_freeCCtx(s->c);
    (void)ZSTD_freeDCtx(s->d);
    free(s->frame);
    free(s->plain);
    free(s->out);
    free(s->again);
    sodium_memzero(s, sizeof *s);
}

static void size_named(char *dst, size_t cap, size_t len)
{
    (void)snprintf(dst, cap, len < 1024 * 1024 ? "%zu KiB" : "%zu MiB",
                   len < 1024 * 1024 ? len / 1024 : len / (1024 * 1024));
}

static void one(struct micro *m, struct sealing *s, const char *verb, const char *beside,
                void (*ours)(void *, uint64_t), void (*bare)(void *, uint64_t))
{
    struct micro_case c = {.area = "seal", .bytes = s->len, .ours = ours, .bare = bare, .arg = s};
    char size[16];
    size_named(size, sizeof size, s->len);
    (void)snprintf(c.what, sizeof c.what, "%s %s, level %d", verb, size, s->level);
    (void)snprintf(c.beside, sizeof c.beside, "%s", beside);
    micro_run(m, &c);
}

int micro_seal(struct micro *m, struct err *e)
{
    static const size_t sizes[] = {4096, 8192, 65536, EXTENT_MAX};
    static const int levels[] = {1, 3, 6, 9};
    struct sealing s;
    (void)e;
    sealing_open(&s);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        s.len = sizes[i];
        s.ad.sectors = (uint32_t)(s.len >> SECTOR_SHIFT);
        micro_rows(s.plain, s.len, i);
        s.level = 0;
        one(m, &s, "seal", "libsodium XChaCha20-Poly1305", seal_ours, cipher_alone);
        for (size_t k = 0; k < sizeof levels / sizeof levels[0]; k++) {
            s.level = levels[k];
            one(m, &s, "seal", "zstd, same level", seal_ours, zstd_alone);
        }
        s.level = 1;
        seal_ours(&s, 1);
        s.ad.codec = s.result.codec;
        zstd_alone(&s, 1);
        one(m, &s, "open", "zstd", open_ours, unzstd_alone);
        s.ad.codec = 0;
    }
    randombytes_buf(s.plain, EXTENT_MAX); /* imaging that is compressed already */
    s.level = 9;
    one(m, &s, "seal noise,", "zstd, same level", seal_ours, zstd_alone);
    sealing_close(&s);
    return 0;
}
