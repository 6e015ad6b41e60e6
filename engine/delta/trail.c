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

/* One entry of a page: its digest, and itself when it is shown. */
static int take_sent(struct bytes_in *b, struct trail_record *r, struct digest *digest, bool *shown,
                     struct err *e)
{
    bytes_get(b, r->before.b, DIGEST_LEN);
    uint8_t form = bytes_get_u8(b);
    *shown = form == 1;
    if (*shown) {
        r->len = bytes_get_u16(b);
        r->body = bytes_view(b, r->len);
        if (r->body)
            digest_of(digest, r->body, r->len);
    } else {
        bytes_get(b, digest->b, DIGEST_LEN);
    }
    if (bytes_bad(b) || form > 1 || (*shown && (r->len == 0 || r->len > TRAIL_BODY_MAX)))
        return err_set(e, ERR_PROTO, "the entries of the audit log came cut short");
    return 0;
}

static int check_shown(struct trail_entry *entry, const struct trail_record *r, uint64_t seq,
                       struct err *e)
{
    if (trail_decode(entry, r->body, r->len, e) < 0) {
        e->code = ERR_CHAIN;
        return err_prefix(e, "entry %" PRIu64, seq);
    }
    if (entry->seq != seq)
        return err_set(e, ERR_CHAIN, "entry %" PRIu64 " stands where entry %" PRIu64 " was due",
                       entry->seq, seq);
    return 0;
}

static int follow_one(struct trail_walk *w, struct bytes_in *b, struct err *e)
{
    struct trail_record r;
    struct trail_entry entry;
    struct digest digest;
    uint64_t seq = w->end.seq + 1;
    bool shown;
    int rc = take_sent(b, &r, &digest, &shown, e);
    if (rc < 0)
        return rc;
    if (!digest_equal(&r.before, &w->end.link))
        return err_set(e, ERR_CHAIN,
                       "entry %" PRIu64 " is not the one that entry %" PRIu64
                       " was written after: it was changed, or entries were taken out or put in",
                       w->end.seq, seq);
    rc = shown ? check_shown(&entry, &r, seq, e) : 0;
    if (rc < 0)
        return rc;
    trail_link_digest(&w->end.link, &r.before, &digest);
    w->end.seq = seq;
    if (w->known && w->known->seq == seq && !digest_equal(&w->known->link, &w->end.link))
        return err_set(e, ERR_CHAIN,
                       "entry %" PRIu64 ", or one before it, is not the one that was there when it "
                       "was told: the log was written anew since",
                       seq);
    return shown && w->visit ? w->visit(w->arg, &entry) : 0;
}

int trail_follow(struct trail_walk *w, const void *page, size_t len, struct err *e)
{
    struct bytes_in b = bytes_in(page, len);
    int rc = 0;
    while (rc == 0 && bytes_left(&b) > 0)
        rc = follow_one(w, &b, e);
    return rc;
}

int trail_check_end(const struct trail_end *end, const struct trail_end *said, struct err *e)
{
    if (end->seq != said->seq)
        return err_set(e, ERR_CHAIN,
                       "the log ends with entry %" PRIu64
                       ", where the newest is said to be %" PRIu64,
                       end->seq, said->seq);
    if (!digest_equal(&end->link, &said->link))
        return err_set(e, ERR_CHAIN,
                       "entry %" PRIu64
                       " is not the one that the end of the log stands for: it was changed",
                       end->seq);
    return 0;
}

bool trail_concerns(const struct trail_entry *entry, const char *peer)
{
    size_t n = strlen(peer);
    return strcmp(entry->peer, peer) == 0 ||
           (strncmp(entry->subject, peer, n) == 0 &&
            (entry->subject[n] == '\0' || entry->subject[n] == '/'));
}
