#include "trail.h"

#include <inttypes.h>
#include <string.h>

#define BODY_VERSION 1u

const char *trail_kind_word(enum trail_kind kind)
{
    switch (kind) {
#define X(number, NAME, word, meaning)                                                             \
    case TRAIL_##NAME:                                                                             \
        return word;
        TRAIL_KINDS(X)
#undef X
    }
    return NULL;
}

enum trail_kind trail_kind_parse(const char *text)
{
#define X(number, NAME, word, meaning)                                                             \
    if (strcmp(text, word) == 0)                                                                   \
        return TRAIL_##NAME;
    TRAIL_KINDS(X)
#undef X
    return 0;
}

static bool printable(char c)
{
    return c >= 0x20 && c < 0x7f;
}

void trail_text(char *dst, size_t cap, const char *src)
{
    size_t n = 0;
    ASSERT(cap > 0);
    for (; src[n] && n + 1 < cap; n++)
        dst[n] = printable(src[n]) ? src[n] : '?';
    dst[n] = '\0';
}

size_t trail_encode(uint8_t *dst, const struct trail_entry *entry)
{
    struct bytes_out o = bytes_out(TRAIL_BODY_MAX);
    bytes_put_u8(&o, BODY_VERSION);
    bytes_put_u64(&o, entry->seq);
    bytes_put_u64(&o, (uint64_t)entry->time);
    bytes_put_u8(&o, (uint8_t)entry->kind);
    bytes_put_u8(&o, (uint8_t)entry->outcome);
    bytes_put_str(&o, entry->hub);
    bytes_put_str(&o, entry->peer);
    bytes_put_str(&o, entry->subject);
    bytes_put_str(&o, entry->detail);
    ASSERT(!o.bad);
    size_t len = o.len;
    memcpy(dst, o.p, len);
    bytes_free(&o);
    return len;
}
_Static_assert(1 + 8 + 8 + 1 + 1 + 2 * (1 + NAME_MAX_LEN) + 1 + TRAIL_SUBJECT_MAX + 1 +
                       TRAIL_DETAIL_MAX <=
                   TRAIL_BODY_MAX,
               "every entry can be encoded");

static bool is_text(const char *s)
{
    while (printable(*s))
        s++;
    return *s == '\0';
}

static bool known_outcome(uint8_t outcome)
{
    switch ((enum err_code)outcome) {
#define X(name, status, meaning) case ERR_##name:
        ERR_CODES(X)
#undef X
        return true;
    }
    return false;
}

int trail_decode(struct trail_entry *out, const uint8_t *body, size_t len, struct err *e)
{
    struct bytes_in b = bytes_in(body, len);
    memset(out, 0, sizeof *out);
    uint8_t version = bytes_get_u8(&b);
    out->seq = bytes_get_u64(&b);
    out->time = (int64_t)bytes_get_u64(&b);
    uint8_t kind = bytes_get_u8(&b), outcome = bytes_get_u8(&b);
    bytes_get_str(&b, out->hub, sizeof out->hub);
    bytes_get_str(&b, out->peer, sizeof out->peer);
    bytes_get_str(&b, out->subject, sizeof out->subject);
    bytes_get_str(&b, out->detail, sizeof out->detail);
    out->kind = kind;
    out->outcome = outcome;
    if (!bytes_bad(&b) && bytes_left(&b) == 0 && version == BODY_VERSION && out->seq > 0 &&
        trail_kind_word(out->kind) && known_outcome(outcome) && bytes_is_name(out->hub) &&
        (!*out->peer || bytes_is_name(out->peer)) && is_text(out->subject) && is_text(out->detail))
        return 0;
    return err_set(e, ERR_CORRUPT,
                   "an entry of %zu bytes, version %u, kind %u, number %" PRIu64
                   ", is not one that this version of relais wrote",
                   len, version, kind, out->seq);
}

void trail_link_digest(struct digest *link, const struct digest *before, const struct digest *body)
{
    static const char words[13] = "relais audit\x01";
    uint8_t all[sizeof words + (size_t)2 * DIGEST_LEN];
    memcpy(all, words, sizeof words);
    memcpy(all + sizeof words, before->b, DIGEST_LEN);
    memcpy(all + sizeof words + DIGEST_LEN, body->b, DIGEST_LEN);
    digest_of(link, all, sizeof all);
}

void trail_link(struct digest *link, const struct digest *before, const uint8_t *body, size_t len)
{
    struct digest digest;
    digest_of(&digest, body, len);
    trail_link_digest(link, before, &digest);
}

int trail_batch_open(struct bytes_in *out, const void *batch, size_t len, struct err *e)
{
    *out = bytes_in(batch, len);
    const uint8_t *magic = bytes_view(out, TRAIL_MAGIC_LEN);
    if (!magic || memcmp(magic, TRAIL_MAGIC, TRAIL_MAGIC_LEN) != 0)
        return err_set(e, ERR_CORRUPT, "%zu bytes are no entries of an audit log", len);
    return 0;
}

int trail_batch_next(struct trail_record *out, struct bytes_in *b, struct err *e)
{
    if (bytes_left(b) == 0)
        return 0;
    bytes_get(b, out->before.b, DIGEST_LEN);
    out->len = bytes_get_u16(b);
    out->body = bytes_view(b, out->len);
    if (bytes_bad(b) || out->len == 0 || out->len > TRAIL_BODY_MAX)
        return err_set(e, ERR_CORRUPT,
                       "a record of an audit log with %zu bytes is cut short or too long",
                       out->len);
    return 1;
}

bool trail_concerns(const struct trail_entry *entry, const char *peer)
{
    size_t n = strlen(peer);
    return strcmp(entry->peer, peer) == 0 ||
           (strncmp(entry->subject, peer, n) == 0 &&
            (entry->subject[n] == '\0' || entry->subject[n] == '/'));
}
