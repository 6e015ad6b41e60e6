/* The text of key files: with the secret as it is, or sealed under a passphrase. No message ever
 * quotes the secret line. */
#include "bounds.h"
#include "key_secret.h"
#include "keylock.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#define FIRST_PLAIN  "relais key 1"
#define FIRST_SEALED "relais key 2"
#define BASE64_LEN   44 /* of 32 bytes, padded */

#define KEYLOCK_SALT_TEXT   24u
#define KEYLOCK_SEALED_TEXT 96u
_Static_assert(sodium_base64_ENCODED_LEN(KEYLOCK_SALT, sodium_base64_VARIANT_ORIGINAL) - 1 ==
                   KEYLOCK_SALT_TEXT,
               "the salt's text");
_Static_assert(sodium_base64_ENCODED_LEN(KEYLOCK_SEALED, sodium_base64_VARIANT_ORIGINAL) - 1 ==
                   KEYLOCK_SEALED_TEXT,
               "the sealed secret's text");

/* Appends base64 and a line feed; the caller has seen to the room. */
static size_t put_base64(char *dst, size_t cap, const uint8_t *p, size_t len)
{
    size_t n = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL) - 1;
    ASSERT(n + 2 <= cap);
    (void)sodium_bin2base64(dst, cap, p, len, sodium_base64_VARIANT_ORIGINAL);
    dst[n] = '\n';
    dst[n + 1] = '\0';
    return n + 1;
}

static int text_sealed(char *dst, size_t cap, size_t n, const struct key_secret *k,
                       const struct key_passphrase *pass, size_t *len, struct err *e)
{
    struct keylock lock;
    uint8_t sealed[KEYLOCK_SEALED];
    keylock_new(&lock, pass);
    int rc = keylock_check(&lock, e), m;
    if (rc)
        return rc;
    m = snprintf(dst + n, cap - n, "argon2id %u %u ", lock.passes, lock.kib);
    ASSERT(m > 0);
    n += (size_t)m;
    n += put_base64(dst + n, cap - n, lock.salt, sizeof lock.salt);
    rc = keylock_seal(sealed, k->secret, &lock, dst, n, pass, e);
    if (rc)
        return rc;
    memcpy(dst + n, "secret ", 7);
    n += 7;
    *len = n + put_base64(dst + n, cap - n, sealed, sizeof sealed);
    return 0;
}

int key_file_text(char *dst, size_t cap, size_t *len, const struct key_secret *k,
                  const struct key_passphrase *pass, struct err *e)
{
    char word[KEY_WORD_MAX];
    int n;
    ASSERT(cap >= 512);
    key_public_word(word, &k->pub);
    n = snprintf(dst, cap, "%s\nkind %s\npublic %s\n", pass ? FIRST_SEALED : FIRST_PLAIN,
                 key_kind_name(k->pub.kind), word);
    ASSERT(n > 0 && n < 256);
    if (pass)
        return text_sealed(dst, cap, (size_t)n, k, pass, len, e);
    memcpy(dst + n, "secret ", 7);
    n += 7;
    *len = (size_t)n + put_base64(dst + n, cap - (size_t)n, k->secret, KEY_LEN);
    return 0;
}

struct lines {
    const char *name, *at, *end;
    int number;
};

/* The next line, which must start with `word` and a space (or be `word`, with no value wanted). */
static int line_take(struct lines *l, const char *word, const char **value, size_t *len,
                     struct err *e)
{
    size_t left = (size_t)(l->end - l->at), n = strlen(word);
    const char *eol = memchr(l->at, '\n', left);
    l->number++;
    if (!eol)
        return err_set(e, ERR_INPUT, "%s:%d: the file ends here, but a line \"%s%s\" should follow",
                       l->name, l->number, word, value ? " ..." : "");
    left = (size_t)(eol - l->at);
    if (left < n || memcmp(l->at, word, n) != 0 ||
        (value ? left == n || l->at[n] != ' ' : left != n))
        return err_set(e, ERR_INPUT,
                       "%s:%d: this line should be \"%s%s\"; is it a key file that \"relais "
                       "keygen\" wrote?",
                       l->name, l->number, word, value ? " ..." : "");
    if (value) {
        *value = l->at + n + 1;
        *len = left - n - 1;
    }
    l->at = eol + 1;
    return 0;
}

/* Copies a value to a string; -1 when it is too long or holds a NUL. */
static int value_copy(char *dst, size_t cap, const char *value, size_t len)
{
    if (len >= cap || memchr(value, '\0', len))
        return -1;
    memcpy(dst, value, len);
    dst[len] = '\0';
    return 0;
}

static int parse_kind(struct lines *l, enum key_kind want, struct err *e)
{
    const char *value = NULL;
    char word[16];
    size_t len = 0;
    enum key_kind kind;
    int rc = line_take(l, "kind", &value, &len, e);
    if (rc)
        return rc;
    if (value_copy(word, sizeof word, value, len) != 0 || key_kind_parse(word, &kind) != 0)
        return err_set(e, ERR_INPUT, "%s:%d: the kind should be link, sign, restore or hash",
                       l->name, l->number);
    if (kind != want)
        return err_set(e, ERR_INPUT, "%s:%d: this is a %s key, but here a %s key is needed",
                       l->name, l->number, word, key_kind_name(want));
    return 0;
}

static int parse_public(struct lines *l, enum key_kind want, struct key_public *out, struct err *e)
{
    const char *value = NULL;
    char word[KEY_WORD_MAX];
    size_t len = 0;
    int rc = line_take(l, "public", &value, &len, e);
    if (rc)
        return rc;
    if (value_copy(word, sizeof word, value, len) != 0)
        return err_set(e, ERR_INPUT, "%s:%d: the public key is too long or not text", l->name,
                       l->number);
    if (key_public_parse(out, want, word, e) != 0)
        return err_prefix(e, "%s:%d", l->name, l->number);
    return 0;
}

/* Fills k from a secret line that needs no passphrase. */
static int parse_plain(struct lines *l, struct key_secret *k, struct err *e)
{
    const char *value = NULL;
    size_t len = 0;
    uint8_t core[KEY_LEN];
    int rc = line_take(l, "secret", &value, &len, e);
    if (rc)
        return rc;
    rc = len == BASE64_LEN ? key_base64(core, KEY_LEN, value, len) : -1;
    if (rc == 0)
        key_secret_fill(k, core);
    sodium_memzero(core, sizeof core);
    if (rc)
        return err_set(e, ERR_INPUT,
                       "%s:%d: the secret should be 44 characters of base64 (32 bytes)", l->name,
                       l->number);
    return 0;
}

/* "argon2id PASSES KIB SALT": numbers in one form only, within bounds, before anything is spent. */
static int parse_lock(struct lines *l, struct keylock *out, struct err *e)
{
    char text[128], again[128];
    const char *value = NULL;
    char salt[KEYLOCK_SALT_TEXT + 1] = "";
    size_t len = 0;
    unsigned passes = 0, kib = 0;
    int rc = line_take(l, "argon2id", &value, &len, e);
    if (rc)
        return rc;
    if (value_copy(text, sizeof text, value, len) != 0 ||
        sscanf(text, "%9u %9u %24s", &passes, &kib, salt) != 3 ||
        key_base64(out->salt, sizeof out->salt, salt, strlen(salt)) != 0 ||
        snprintf(again, sizeof again, "%u %u %s", passes, kib, salt) < 0 ||
        strcmp(again, text) != 0)
        return err_set(e, ERR_INPUT,
                       "%s:%d: this line should be \"argon2id PASSES KIB SALT\", the salt in 24 "
                       "characters of base64",
                       l->name, l->number);
    out->passes = passes;
    out->kib = kib;
    rc = keylock_check(out, e);
    return rc ? err_prefix(e, "%s:%d", l->name, l->number) : 0;
}

static int ask(const struct key_asker *asker, const char *name, char *pass, size_t *len,
               struct err *e)
{
    if (!asker)
        return err_set(e, ERR_AUTH,
                       "%s is protected by a passphrase, and nobody can be asked for it here: a "
                       "daemon needs a key file without one",
                       name);
    return asker->ask(asker->arg, name, pass, PASSPHRASE_MAX, len, e);
}

/* A sealed secret: what stands before it in the file is authenticated with it. */
static int parse_sealed(struct lines *l, const char *text, const struct key_asker *asker,
                        struct key_secret *k, struct err *e)
{
    struct keylock lock;
    const char *value = NULL;
    uint8_t sealed[KEYLOCK_SEALED];
    uint8_t core[KEY_LEN];
    size_t len = 0, pass_len = 0, bound;
    int rc = parse_lock(l, &lock, e);
    if (rc)
        return rc;
    bound = (size_t)(l->at - text);
    rc = line_take(l, "secret", &value, &len, e);
    if (rc)
        return rc;
    if (key_base64(sealed, sizeof sealed, value, len) != 0)
        return err_set(e, ERR_INPUT,
                       "%s:%d: the sealed secret should be %u characters of base64 (%u bytes)",
                       l->name, l->number, KEYLOCK_SEALED_TEXT, KEYLOCK_SEALED);
    if (l->at != l->end)
        return 0; /* the caller says so, before anybody types a passphrase */
    char *pass = sodium_malloc(PASSPHRASE_MAX);
    ASSERT(pass);
    rc = ask(asker, l->name, pass, &pass_len, e);
    if (rc == 0)
        rc = keylock_open(core, sealed, &lock, text, bound, pass, pass_len, e);
    sodium_free(pass);
    if (rc == 0)
        key_secret_fill(k, core);
    sodium_memzero(core, sizeof core);
    return rc == -ERR_AUTH && asker ? err_prefix(e, "%s", l->name) : rc;
}

/* Fills k, then holds it against the public line. */
static int parse_secret(struct lines *l, const char *text, bool sealed,
                        const struct key_asker *asker, const struct key_public *pub,
                        struct key_secret *k, struct err *e)
{
    int rc = sealed ? parse_sealed(l, text, asker, k, e) : parse_plain(l, k, e);
    if (rc)
        return rc;
    if (l->at != l->end)
        return err_set(e, ERR_INPUT, "%s:%d: nothing may follow the secret line", l->name,
                       l->number + 1);
    if (memcmp(k->pub.b, pub->b, KEY_LEN) != 0)
        return err_set(e, ERR_INPUT,
                       "%s: the public and the secret line do not belong together; the file is "
                       "damaged or was edited",
                       l->name);
    return 0;
}

int key_file_parse(struct key_secret **out, enum key_kind want, const char *name, const char *text,
                   size_t len, const struct key_asker *asker, struct err *e)
{
    struct lines l = {name, text, text + len, 0};
    struct key_public pub;
    struct key_secret *k;
    int rc;
    if (len > KEY_FILE_MAX)
        return err_set(e, ERR_INPUT, "%s: %zu bytes are too many for a key file (at most %u)", name,
                       len, KEY_FILE_MAX);
    bool sealed =
        len > sizeof FIRST_SEALED && memcmp(text, FIRST_SEALED, sizeof FIRST_SEALED - 1) == 0;
    if ((rc = line_take(&l, sealed ? FIRST_SEALED : FIRST_PLAIN, NULL, NULL, e)) ||
        (rc = parse_kind(&l, want, e)) || (rc = parse_public(&l, want, &pub, e)))
        return rc;
    k = key_secret_alloc(want);
    rc = parse_secret(&l, text, sealed, asker, &pub, k, e);
    if (rc) {
        key_free(k);
        return rc;
    }
    *out = k;
    return 0;
}
