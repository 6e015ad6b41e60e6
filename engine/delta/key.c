#include "key.h"

#include "bytes.h"
#include "digest.h"

#include <string.h>

#include <openssl/crypto.h>
#include <sodium.h>

#include "key_secret.h"

#define SECURE_HEAP 65536u

static const char *const kind_names[KEY_KINDS] = {
    [KEY_LINK] = "link", [KEY_SIGN] = "sign", [KEY_RESTORE] = "restore", [KEY_HASH] = "hash"};

_Static_assert(crypto_sign_PUBLICKEYBYTES == KEY_LEN && crypto_sign_SEEDBYTES == KEY_LEN,
               "Ed25519 sizes");
_Static_assert(crypto_sign_SECRETKEYBYTES == KEY_SECRET_MAX, "Ed25519 secret: seed and public");
_Static_assert(crypto_box_PUBLICKEYBYTES == KEY_LEN && crypto_box_SECRETKEYBYTES == KEY_LEN,
               "X25519 sizes");

const char *key_kind_name(enum key_kind kind)
{
    return (unsigned)kind < KEY_KINDS ? kind_names[kind] : "?";
}

int key_kind_parse(const char *word, enum key_kind *out)
{
    for (unsigned i = 0; i < KEY_KINDS; i++) {
        if (strcmp(word, kind_names[i]) == 0) {
            *out = (enum key_kind)i;
            return 0;
        }
    }
    return -1;
}

int key_init(struct err *e)
{
    if (sodium_init() < 0)
        return err_set(e, ERR_INTERNAL,
                       "libsodium does not start: the system gives no random numbers");
    /* OpenSSL keeps private halves of Ed25519 keys there: locked, and not in core dumps. Without it
     * (a limit on locked memory) it takes ordinary memory. */
    (void)CRYPTO_secure_malloc_init(SECURE_HEAP, 64);
    return 0;
}

struct key_secret *key_secret_alloc(enum key_kind kind)
{
    struct key_secret *k = sodium_malloc(sizeof *k);
    ASSERT(k && (unsigned)kind < KEY_KINDS);
    memset(k, 0, sizeof *k);
    k->pub.kind = kind;
    return k;
}

/* What only the owner of a hash key knows is worth nothing to others, so its public half is not a
 * key, only its name. */
static void hash_public(struct key_secret *k)
{
    static const char domain[] = "relais hash key";
    uint8_t text[sizeof domain - 1 + KEY_LEN];
    struct digest d;
    memcpy(text, domain, sizeof domain - 1);
    memcpy(text + sizeof domain - 1, k->secret, KEY_LEN);
    digest_of(&d, text, sizeof text);
    sodium_memzero(text, sizeof text);
    memcpy(k->pub.b, d.b, KEY_LEN);
}

void key_secret_fill(struct key_secret *k, const uint8_t core[KEY_LEN])
{
    switch (k->pub.kind) {
    case KEY_LINK:
    case KEY_SIGN:
        ASSERT(crypto_sign_seed_keypair(k->pub.b, k->secret, core) == 0);
        break;
    case KEY_RESTORE:
        memcpy(k->secret, core, KEY_LEN);
        ASSERT(crypto_scalarmult_base(k->pub.b, k->secret) == 0);
        break;
    default:
        memcpy(k->secret, core, KEY_LEN);
        hash_public(k);
    }
}

struct key_secret *key_generate(enum key_kind kind, const uint8_t *seed)
{
    struct key_secret *k = key_secret_alloc(kind);
    uint8_t core[KEY_LEN];
    if (seed)
        memcpy(core, seed, KEY_LEN);
    else
        randombytes_buf(core, KEY_LEN);
    key_secret_fill(k, core);
    sodium_memzero(core, sizeof core);
    return k;
}

void key_free(struct key_secret *k)
{
    sodium_free(k);
}

enum key_kind key_kind(const struct key_secret *k)
{
    return k->pub.kind;
}

const struct key_public *key_public(const struct key_secret *k)
{
    ASSERT(k->pub.kind != KEY_HASH);
    return &k->pub;
}

const uint8_t *key_secret_bytes(const struct key_secret *k)
{
    return k->secret;
}

void key_public_word(char dst[KEY_WORD_MAX], const struct key_public *k)
{
    const char *name = key_kind_name(k->kind);
    size_t n = strlen(name);
    memcpy(dst, name, n);
    dst[n++] = ':';
    (void)sodium_bin2base64(dst + n, KEY_WORD_MAX - n, k->b, KEY_LEN,
                            sodium_base64_VARIANT_ORIGINAL);
}

/* A point of small order would let anybody sign for, or open what is sealed to, its "owner". */
static bool public_is_sound(const struct key_public *k)
{
    static const uint8_t scalar[KEY_LEN] = {1};
    uint8_t shared[KEY_LEN];
    switch (k->kind) {
    case KEY_LINK:
    case KEY_SIGN:
        return crypto_core_ed25519_is_valid_point(k->b) == 1;
    case KEY_RESTORE:
        return crypto_scalarmult(shared, scalar, k->b) == 0;
    default:
        return true;
    }
}

int key_base64(uint8_t *dst, size_t cap, const char *text, size_t len)
{
    size_t got = 0;
    const char *end = NULL;
    uint8_t bits = 0;
    /* libsodium 1.0.18 takes some bytes from 0x80 on for digits. */
    for (size_t i = 0; i < len; i++)
        bits |= (uint8_t)text[i];
    if (bits & 0x80)
        return -1;
    if (sodium_base642bin(dst, cap, text, len, NULL, &got, &end, sodium_base64_VARIANT_ORIGINAL) !=
        0)
        return -1;
    return got == cap && end == text + len ? 0 : -1;
}

int key_public_parse(struct key_public *out, enum key_kind want, const char *word, struct err *e)
{
    const char *colon = strchr(word, ':');
    char name[16] = "";
    enum key_kind kind;
    if (!colon || (size_t)(colon - word) >= sizeof name)
        return err_set(e, ERR_INPUT,
                       "\"%.64s\" is not a public key: it should be like %s:BASE64, as "
                       "\"relais keygen\" prints it",
                       word, key_kind_name(want));
    memcpy(name, word, (size_t)(colon - word));
    if (key_kind_parse(name, &kind) != 0)
        return err_set(e, ERR_INPUT,
                       "\"%.64s\" is not a public key: there is no kind \"%s\"; here it must "
                       "be \"%s\"",
                       word, name, key_kind_name(want));
    if (kind != want)
        return err_set(e, ERR_INPUT, "\"%.64s\" is a %s key, but here a %s key is needed", word,
                       name, key_kind_name(want));
    out->kind = kind;
    if (key_base64(out->b, KEY_LEN, colon + 1, strlen(colon + 1)) != 0)
        return err_set(e, ERR_INPUT,
                       "\"%.64s\" is not a public key: after the colon there must be 44 "
                       "characters of base64 (32 bytes)",
                       word);
    if (!public_is_sound(out))
        return err_set(e, ERR_INPUT,
                       "\"%.64s\" is not a safe public key: no secret key belongs to it", word);
    return 0;
}

void key_fingerprint(uint8_t dst[KEY_FP_LEN], const struct key_public *k)
{
    struct digest d;
    digest_of(&d, k->b, KEY_LEN);
    memcpy(dst, d.b, KEY_FP_LEN);
}
