#include "token.h"

#include "bytes.h"
#include "digest.h"
#include "typed.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#define VERSION 1u
#define LINES   3u
#define LEN     (LINES * TYPED_LINE)
#define GROUPS  (LINES * TYPED_SYMBOLS / TYPED_GROUP)
_Static_assert(1 + TOKEN_SECRET_LEN + TOKEN_PIN_LEN == LEN, "a code's fields fill its lines");
_Static_assert(TOKEN_PROOF_LEN == crypto_sign_BYTES, "a proof is a signature");

#define DOMAIN "relais invitation"

void token_draw(struct token *t, const struct key_public *hub_link)
{
    struct digest d;
    digest_of(&d, hub_link->b, KEY_LEN);
    memcpy(t->pin, d.b, TOKEN_PIN_LEN);
    randombytes_buf(t->secret, TOKEN_SECRET_LEN);
}

/* ---- text ---- */

int token_print(char dst[TOKEN_TEXT_MAX], const struct token *t, struct err *e)
{
    struct typed form = {DOMAIN, dst, true};
    uint8_t data[LEN] = {VERSION};
    char line[TYPED_TEXT], addr[CONFIG_ADDR_TEXT];
    size_t n = (size_t)snprintf(dst, TOKEN_TEXT_MAX, "%s@", t->site);
    ASSERT(t->addr_count > 0 && t->addr_count <= CONFIG_ADDRS_MAX);
    for (unsigned i = 0; i < t->addr_count; i++) {
        config_addr_text(addr, &t->addrs[i]);
        n += (size_t)snprintf(dst + n, TOKEN_TEXT_MAX - n, "%s%s", i ? "," : "", addr);
        if (n + 2 + LINES * TYPED_TEXT > TOKEN_TEXT_MAX)
            return err_set(e, ERR_LIMIT, "the hub's addresses are too long for an invitation");
    }
    for (char *p = dst; *p; p++) /* token_parse reads it so */
        *p = (char)tolower((unsigned char)*p);
    memcpy(data + 1, t->secret, TOKEN_SECRET_LEN);
    memcpy(data + 1 + TOKEN_SECRET_LEN, t->pin, TOKEN_PIN_LEN);
    char code[LINES * TYPED_TEXT] = "";
    for (unsigned i = 0; i < LINES; i++) {
        typed_print(line, &form, data, i, '-');
        (void)snprintf(code + strlen(code), sizeof code - strlen(code), "%s%s", i ? "-" : "", line);
    }
    (void)snprintf(dst + n, TOKEN_TEXT_MAX - n, "/%s", code);
    sodium_memzero(data, sizeof data);
    sodium_memzero(line, sizeof line);
    sodium_memzero(code, sizeof code);
    return 0;
}

static int parse_words(struct token *t, char *words, struct err *e)
{
    char *at = strchr(words, '@'), *next;
    if (!at || (size_t)(at - words) > NAME_MAX_LEN)
        return err_set(e, ERR_INPUT,
                       "not an invitation: it begins with SITE@HUB:PORT/, and a code follows");
    *at = '\0';
    if (!bytes_is_name(words))
        return err_set(e, ERR_INPUT, "\"%.60s\", with which the invitation begins, is not a name",
                       words);
    memcpy(t->site, words, strlen(words) + 1);
    t->addr_count = 0;
    for (char *addr = at + 1; addr; addr = next) {
        next = strchr(addr, ',');
        if (next)
            *next++ = '\0';
        if (t->addr_count == CONFIG_ADDRS_MAX)
            return err_set(e, ERR_INPUT, "the invitation names more than %u addresses of the hub",
                           CONFIG_ADDRS_MAX);
        if (config_addr_parse(&t->addrs[t->addr_count], addr, e) != 0) {
            e->code = ERR_INPUT;
            return err_prefix(e, "the hub's address in the invitation, %.80s", addr);
        }
        t->addr_count++;
    }
    return 0;
}

/* Written as it is printed, a group that lacks a character is told at once: what comes after it
 * would be taken for wrong. */
static int check_groups(const char *code, struct err *e)
{
    size_t len[GROUPS] = {0}, n = 0;
    static const char apart[] = " \t\r\n-";
    for (const char *p = code + strspn(code, apart); *p; p += strspn(p, apart), n++) {
        size_t here = strcspn(p, apart);
        if (n < GROUPS)
            len[n] = here;
        p += here;
    }
    for (size_t i = 0; i < GROUPS && n == GROUPS; i++)
        if (len[i] != TYPED_GROUP)
            return err_set(e, ERR_INPUT, "group %zu has %zu characters: %u are due", i + 1, len[i],
                           TYPED_GROUP);
    return 0;
}

/* The text of each line, by counting symbols: people group them as they like. */
static int parse_code(uint8_t data[LEN], const struct typed *form, const char *code, struct err *e)
{
    char line[128];
    unsigned count = 0, lines = 0;
    size_t n = 0;
    int rc = check_groups(code, e);
    for (const char *p = code; rc == 0; p++) {
        if (*p && strchr(" \t\r\n-", *p))
            continue;
        if (*p && lines == LINES)
            return err_set(e, ERR_INPUT, "the code is too long: %u groups of %u characters are due",
                           GROUPS, TYPED_GROUP);
        if (*p) {
            line[n++] = *p;
            count++;
        }
        if (count == TYPED_SYMBOLS || (!*p && count > 0)) {
            line[n] = '\0';
            rc = typed_read(data, form, lines++, line, e);
            count = 0;
            n = 0;
        }
        if (!*p)
            break;
    }
    sodium_memzero(line, sizeof line);
    if (rc == 0 && lines < LINES)
        rc = err_set(e, ERR_INPUT, "the code ends early: %u groups of %u characters are due",
                     GROUPS, TYPED_GROUP);
    return rc;
}

int token_parse(struct token *out, const char *text, struct err *e)
{
    char words[TOKEN_TEXT_MAX], context[TOKEN_TEXT_MAX];
    struct typed form = {DOMAIN, context, true};
    uint8_t data[LEN] = {0};
    const char *slash;
    size_t n;
    int rc;
    text += strspn(text, " \t\r\n");
    slash = strrchr(text, '/');
    n = slash ? (size_t)(slash - text) : 0;
    if (n == 0 || n >= sizeof words)
        return err_set(e, ERR_INPUT,
                       "not an invitation: it begins with SITE@HUB:PORT/, and a code follows");
    for (size_t i = 0; i < n; i++) /* names of machines and sites know no case */
        words[i] = (char)tolower((unsigned char)text[i]);
    words[n] = '\0';
    memcpy(context, words, n + 1);
    rc = parse_words(out, words, e);
    if (rc == 0)
        rc = parse_code(data, &form, slash + 1, e);
    if (rc != 0) {
        if (!strstr(e->text, "invitation"))
            (void)err_prefix(e, "the invitation's code");
        goto out;
    }
    if (data[0] != VERSION) {
        rc = err_set(e, ERR_INPUT,
                     "the invitation is of version %u, and this relais knows version %u: update "
                     "the older of the two",
                     data[0], VERSION);
        goto out;
    }
    memcpy(out->secret, data + 1, TOKEN_SECRET_LEN);
    memcpy(out->pin, data + 1 + TOKEN_SECRET_LEN, TOKEN_PIN_LEN);
out:
    sodium_memzero(data, sizeof data);
    return rc;
}

/* ---- keys and proofs ---- */

struct key_secret *token_key(const struct token *t)
{
    static const char domain[] = DOMAIN " key";
    uint8_t text[sizeof domain + TOKEN_SECRET_LEN];
    struct digest seed;
    struct key_secret *k;
    memcpy(text, domain, sizeof domain);
    memcpy(text + sizeof domain, t->secret, TOKEN_SECRET_LEN);
    digest_of(&seed, text, sizeof text);
    k = key_generate(KEY_SIGN, seed.b);
    sodium_memzero(text, sizeof text);
    sodium_memzero(&seed, sizeof seed);
    return k;
}

#define STATEMENT_MAX 512u

static size_t statement(uint8_t dst[STATEMENT_MAX], const struct token_offer *o,
                        const struct key_public *hub_link, const uint8_t *binding)
{
    static const char domain[] = DOMAIN " proof";
    struct bytes_out b = bytes_out(STATEMENT_MAX);
    size_t len;
    ASSERT(o->link.kind == KEY_LINK && o->sign.kind == KEY_SIGN && o->restore.kind == KEY_RESTORE);
    bytes_put(&b, domain, sizeof domain);
    bytes_put(&b, binding, TOKEN_BINDING_LEN);
    bytes_put(&b, hub_link->b, KEY_LEN);
    bytes_put(&b, o->link.b, KEY_LEN);
    bytes_put(&b, o->sign.b, KEY_LEN);
    bytes_put(&b, o->restore.b, KEY_LEN);
    bytes_put_str(&b, o->site);
    ASSERT(!b.bad);
    len = b.len;
    memcpy(dst, b.p, len);
    bytes_free(&b);
    return len;
}

void token_prove(uint8_t proof[TOKEN_PROOF_LEN], const struct key_secret *key,
                 const struct token_offer *o, const struct key_public *hub_link,
                 const uint8_t binding[TOKEN_BINDING_LEN])
{
    uint8_t text[STATEMENT_MAX];
    size_t len = statement(text, o, hub_link, binding);
    ASSERT(key_kind(key) == KEY_SIGN);
    ASSERT(crypto_sign_detached(proof, NULL, text, len, key_secret_bytes(key)) == 0);
}

int token_check(const uint8_t proof[TOKEN_PROOF_LEN], const struct key_public *key,
                const struct token_offer *o, const struct key_public *hub_link,
                const uint8_t binding[TOKEN_BINDING_LEN], struct err *e)
{
    uint8_t text[STATEMENT_MAX];
    size_t len = statement(text, o, hub_link, binding);
    if (crypto_sign_verify_detached(proof, text, len, key->b) == 0)
        return 0;
    return err_set(e, ERR_AUTH, "what was handed over does not prove the invitation");
}

/* ---- fingerprints ---- */

void token_fingerprint(char dst[TOKEN_FINGERPRINT], const struct key_public *link,
                       const struct key_public *sign)
{
    static const char domain[] = "relais member";
    uint8_t text[sizeof domain + 2 * KEY_LEN];
    char hex[5];
    struct digest d;
    memcpy(text, domain, sizeof domain);
    memcpy(text + sizeof domain, link->b, KEY_LEN);
    memcpy(text + sizeof domain + KEY_LEN, sign->b, KEY_LEN);
    digest_of(&d, text, sizeof text);
    *dst = '\0';
    for (unsigned i = 0; i < 5; i++) {
        bytes_hex(hex, d.b + (size_t)2 * i, 2);
        (void)snprintf(dst + strlen(dst), TOKEN_FINGERPRINT - strlen(dst), "%s%s", i ? "-" : "",
                       hex);
    }
}

bool token_fingerprint_is(const char fingerprint[TOKEN_FINGERPRINT], const char *typed)
{
    const char *f = fingerprint;
    for (const char *p = typed; *p; p++) {
        if (strchr(" \t-:", *p))
            continue;
        while (*f == '-')
            f++;
        if (!*f || tolower((unsigned char)*p) != *f++)
            return false;
    }
    return !*f;
}
