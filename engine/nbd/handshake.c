#include "handshake.h"

#include "err.h"
#include "nbd_wire.h"

#define NBDMAGIC    UINT64_C(0x4e42444d41474943)
#define IHAVEOPT    UINT64_C(0x49484156454f5054)
#define REPLY_MAGIC UINT64_C(0x0003e889045565a9)

/* "Handshake flags" and "Client flags" have the same bits. */
enum { FIXED_NEWSTYLE = 1, NO_ZEROES = 2 };

/* "Option types". */
enum option {
    OPT_EXPORT_NAME = 1,
    OPT_ABORT = 2,
    OPT_LIST = 3,
    OPT_STARTTLS = 5,
    OPT_INFO = 6,
    OPT_GO = 7,
    OPT_STRUCTURED_REPLY = 8,
    OPT_LIST_META_CONTEXT = 9,
    OPT_SET_META_CONTEXT = 10
};

/* "Option reply types". */
#define REP_ACK          UINT32_C(1)
#define REP_SERVER       UINT32_C(2)
#define REP_INFO         UINT32_C(3)
#define REP_META_CONTEXT UINT32_C(4)
#define REP_ERR_UNSUP    UINT32_C(0x80000001)
#define REP_ERR_POLICY   UINT32_C(0x80000002)
#define REP_ERR_INVALID  UINT32_C(0x80000003)
#define REP_ERR_TLS_REQD UINT32_C(0x80000005)
#define REP_ERR_UNKNOWN  UINT32_C(0x80000006)

enum info { INFO_EXPORT = 0, INFO_NAME = 1, INFO_DESCRIPTION = 2, INFO_BLOCK_SIZE = 3 };

#define ALLOCATION "base:allocation"
#define CLIENT_LEN 4u  /* the client's flags */
#define OPTION_LEN 16u /* an option without its data */

_Static_assert(OPTION_LEN + NBD_OPTION_MAX <= NBD_HANDSHAKE_MAX, "an option fits");

/* One option being answered. */
struct asked {
    struct nbd_handshake *h;
    uint32_t option;
    const uint8_t *at, *end; /* its data, as far as not read yet */
    struct bytes_out *out;
};

static void put16(struct bytes_out *out, uint16_t v)
{
    uint8_t p[2];
    (void)wire_put16(p, v);
    bytes_put(out, p, sizeof p);
}

static void put32(struct bytes_out *out, uint32_t v)
{
    uint8_t p[4];
    (void)wire_put32(p, v);
    bytes_put(out, p, sizeof p);
}

static void put64(struct bytes_out *out, uint64_t v)
{
    uint8_t p[8];
    (void)wire_put64(p, v);
    bytes_put(out, p, sizeof p);
}

/* The head of a reply; length bytes follow. */
static void put_reply(const struct asked *a, uint32_t type, size_t length)
{
    put64(a->out, REPLY_MAGIC);
    put32(a->out, a->option);
    put32(a->out, type);
    put32(a->out, (uint32_t)length);
}

static enum nbd_next ack(const struct asked *a)
{
    put_reply(a, REP_ACK, 0);
    return NBD_MORE;
}

static enum nbd_next fail(const struct asked *a, uint32_t type, const char *text)
{
    size_t n = strlen(text);
    put_reply(a, type, n);
    bytes_put(a->out, text, n);
    return NBD_MORE;
}

static enum nbd_next drop(struct nbd_handshake *h, const char *why)
{
    h->why = why;
    return NBD_CLOSE;
}

/* ---- reading an option's data ---- */

static size_t left(const struct asked *a)
{
    return (size_t)(a->end - a->at);
}

static bool take16(struct asked *a, uint16_t *v)
{
    if (left(a) < 2)
        return false;
    *v = wire_get16(a->at);
    a->at += 2;
    return true;
}

static bool take32(struct asked *a, uint32_t *v)
{
    if (left(a) < 4)
        return false;
    *v = wire_get32(a->at);
    a->at += 4;
    return true;
}

/* A length of 32 bits and as many bytes: "strings are at most 4096 bytes". */
static bool take_string(struct asked *a, const uint8_t **s, uint32_t *len)
{
    if (!take32(a, len) || *len > NBD_STRING_MAX || *len > left(a))
        return false;
    *s = a->at;
    a->at += *len;
    return true;
}

static bool is_text(const uint8_t *s, size_t len, const char *text)
{
    return len == strlen(text) && memcmp(s, text, len) == 0;
}

static const struct nbd_export *find(const struct nbd_handshake *h, const uint8_t *name, size_t len)
{
    if (len == 0)
        return h->count == 1 ? &h->exports[0] : NULL;
    for (size_t i = 0; i < h->count; i++)
        if (is_text(name, len, h->exports[i].name))
            return &h->exports[i];
    return NULL;
}

/* ---- options ---- */

static uint16_t transmission_flags(const struct nbd_handshake *h, const struct nbd_export *x)
{
    return (uint16_t)(x->flags | NBD_FLAG_HAS_FLAGS | (h->structured ? NBD_FLAG_SEND_DF : 0));
}

static enum nbd_next transmit(struct nbd_handshake *h, const struct nbd_export *x)
{
    h->session = (struct nbd_session){
        .export = x,
        .structured = h->structured,
        .allocation = h->context_of == x,
    };
    return NBD_TRANSMIT;
}

/* Has no replies of the usual form, and no way to fail but to hang up. */
static enum nbd_next on_export_name(struct asked *a)
{
    static const uint8_t zeroes[124];
    struct nbd_handshake *h = a->h;
    const struct nbd_export *x = find(h, a->at, left(a));
    if (!x)
        return drop(h, "it asked for an export that is not there, by NBD_OPT_EXPORT_NAME");
    put64(a->out, x->size);
    put16(a->out, transmission_flags(h, x));
    if (!h->no_zeroes)
        bytes_put(a->out, zeroes, sizeof zeroes);
    return transmit(h, x);
}

static enum nbd_next on_list(struct asked *a)
{
    if (left(a))
        return fail(a, REP_ERR_INVALID, "NBD_OPT_LIST has no data");
    for (size_t i = 0; i < a->h->count; i++) {
        const struct nbd_export *x = &a->h->exports[i];
        size_t name = strlen(x->name), description = strlen(x->description);
        put_reply(a, REP_SERVER, 4 + name + description);
        put32(a->out, (uint32_t)name);
        bytes_put(a->out, x->name, name);
        bytes_put(a->out, x->description, description);
    }
    return ack(a);
}

static void put_info_text(const struct asked *a, enum info info, const char *text)
{
    size_t n = strlen(text);
    put_reply(a, REP_INFO, 2 + n);
    put16(a->out, (uint16_t)info);
    bytes_put(a->out, text, n);
}

static void put_info(const struct asked *a, const struct nbd_export *x, enum info info)
{
    switch (info) {
    case INFO_EXPORT:
        put_reply(a, REP_INFO, 12);
        put16(a->out, INFO_EXPORT);
        put64(a->out, x->size);
        put16(a->out, transmission_flags(a->h, x));
        break;
    case INFO_NAME:
        put_info_text(a, INFO_NAME, x->name);
        break;
    case INFO_DESCRIPTION:
        put_info_text(a, INFO_DESCRIPTION, x->description);
        break;
    case INFO_BLOCK_SIZE:
        put_reply(a, REP_INFO, 14);
        put16(a->out, INFO_BLOCK_SIZE);
        put32(a->out, x->block_min);
        put32(a->out, x->block_preferred);
        put32(a->out, NBD_PAYLOAD_MAX);
        break;
    }
}

/* NBD_OPT_INFO and NBD_OPT_GO. Each piece of information is given once, however often it is asked
 * for; what is unknown is ignored. */
static enum nbd_next on_info(struct asked *a)
{
    const struct nbd_export *x;
    const uint8_t *name;
    uint32_t len;
    uint16_t count, info;
    unsigned given = 1u << INFO_EXPORT;
    if (!take_string(a, &name, &len) || !take16(a, &count) || left(a) != 2 * (size_t)count)
        return fail(a, REP_ERR_INVALID, "the lengths in the option do not add up");
    x = find(a->h, name, len);
    if (!x)
        return fail(a, REP_ERR_UNKNOWN,
                    len ? "no such export; nbdinfo --list shows those that there are"
                        : "no default export here; name one that nbdinfo --list shows");
    put_info(a, x, INFO_EXPORT);
    while (take16(a, &info))
        if (info <= INFO_BLOCK_SIZE && !(given & 1u << info)) {
            given |= 1u << info;
            if (info != INFO_DESCRIPTION || x->description[0])
                put_info(a, x, (enum info)info);
        }
    (void)ack(a);
    return a->option == OPT_GO ? transmit(a->h, x) : NBD_MORE;
}

static enum nbd_next on_structured_reply(struct asked *a)
{
    if (left(a))
        return fail(a, REP_ERR_INVALID, "NBD_OPT_STRUCTURED_REPLY has no data");
    a->h->structured = true;
    return ack(a);
}

/* "Metadata querying": a namespace that is not known, and an unknown leaf, are ignored; "base:" is
 * a wildcard for listing and selects nothing. */
static bool wants_allocation(const struct asked *a, const uint8_t *query, uint32_t len)
{
    return is_text(query, len, ALLOCATION) ||
           (a->option == OPT_LIST_META_CONTEXT && is_text(query, len, "base:"));
}

static enum nbd_next on_meta_context(struct asked *a)
{
    const struct nbd_export *x;
    const uint8_t *s;
    uint32_t len, queries;
    bool set = a->option == OPT_SET_META_CONTEXT, wanted = false;
    if (set)
        a->h->context_of = NULL; /* whatever comes of it */
    if (!a->h->structured)
        return fail(a, REP_ERR_INVALID, "NBD_OPT_STRUCTURED_REPLY must come first");
    if (!take_string(a, &s, &len) || !take32(a, &queries))
        return fail(a, REP_ERR_INVALID, "the lengths in the option do not add up");
    x = find(a->h, s, len);
    if (queries == 0)
        wanted = !set;
    for (; queries > 0; queries--) { /* at most as many as the data can hold */
        if (!take_string(a, &s, &len))
            return fail(a, REP_ERR_INVALID, "the lengths in the option do not add up");
        wanted = wanted || wants_allocation(a, s, len);
    }
    if (left(a))
        return fail(a, REP_ERR_INVALID, "the option goes on behind its queries");
    if (!x)
        return fail(a, REP_ERR_UNKNOWN, "no such export");
    if (wanted) {
        put_reply(a, REP_META_CONTEXT, 4 + strlen(ALLOCATION));
        put32(a->out, set ? NBD_CONTEXT_ALLOCATION : 0);
        bytes_put(a->out, ALLOCATION, strlen(ALLOCATION));
        if (set)
            a->h->context_of = x;
    }
    return ack(a);
}

static enum nbd_next on_starttls(struct asked *a, bool more)
{
    if (left(a))
        return fail(a, REP_ERR_INVALID, "NBD_OPT_STARTTLS has no data");
    if (a->h->tls == NBD_TLS_ON)
        return fail(a, REP_ERR_INVALID, "this is in TLS already");
    if (a->h->tls == NBD_TLS_NONE)
        return fail(a, REP_ERR_POLICY, "no TLS on a unix socket: its mode is the guard");
    if (more)
        return drop(a->h,
                    "it went on in clear behind NBD_OPT_STARTTLS: either it does not wait for "
                    "answers, or somebody in between adds to what it says");
    (void)ack(a);
    return NBD_STARTTLS;
}

/* Where TLS is required and has not begun. */
static enum nbd_next answer_in_clear(struct asked *a)
{
    if (a->option == OPT_EXPORT_NAME)
        return drop(a->h, "it asked for an export in clear; this address is for TLS only");
    return fail(a, REP_ERR_TLS_REQD, "TLS is required here: begin with NBD_OPT_STARTTLS");
}

/* more: bytes of the client behind this option are here already. */
static enum nbd_next answer(struct asked *a, bool more)
{
    if (a->h->tls == NBD_TLS_REQUIRED && a->option != OPT_STARTTLS && a->option != OPT_ABORT)
        return answer_in_clear(a);
    switch (a->option) {
    case OPT_EXPORT_NAME:
        return on_export_name(a);
    case OPT_ABORT:
        (void)ack(a);
        return NBD_CLOSE;
    case OPT_LIST:
        return on_list(a);
    case OPT_STARTTLS:
        return on_starttls(a, more);
    case OPT_INFO:
    case OPT_GO:
        return on_info(a);
    case OPT_STRUCTURED_REPLY:
        return on_structured_reply(a);
    case OPT_LIST_META_CONTEXT:
    case OPT_SET_META_CONTEXT:
        return on_meta_context(a);
    default:
        return fail(a, REP_ERR_UNSUP, "an option that this server does not know");
    }
}

/* ---- messages ---- */

void nbd_handshake_init(struct nbd_handshake *h, enum nbd_tls tls, const struct nbd_export *exports,
                        size_t count)
{
    ASSERT(tls != NBD_TLS_ON);
    *h = (struct nbd_handshake){.tls = tls, .exports = exports, .count = count};
}

void nbd_handshake_secured(struct nbd_handshake *h, const struct nbd_export *exports, size_t count)
{
    ASSERT(h->tls == NBD_TLS_REQUIRED && !h->structured && !h->context_of);
    h->tls = NBD_TLS_ON;
    h->exports = exports;
    h->count = count;
}

void nbd_handshake_greeting(uint8_t out[NBD_GREETING_LEN])
{
    out = wire_put64(out, NBDMAGIC);
    out = wire_put64(out, IHAVEOPT);
    (void)wire_put16(out, FIXED_NEWSTYLE | NO_ZEROES);
}

static enum nbd_next on_client_flags(struct nbd_handshake *h, uint32_t flags)
{
    if (flags & ~(uint32_t)(FIXED_NEWSTYLE | NO_ZEROES))
        return drop(h, "unknown client flags: no NBD client, or of another protocol");
    h->greeted = true;
    h->fixed = flags & FIXED_NEWSTYLE;
    h->no_zeroes = flags & NO_ZEROES;
    return NBD_MORE;
}

enum nbd_next nbd_handshake_take(struct nbd_handshake *h, const uint8_t *p, size_t len,
                                 size_t *used, struct bytes_out *out)
{
    struct asked a = {.h = h, .out = out};
    enum nbd_next next;
    uint32_t data;
    *used = 0;
    if (!h->greeted) {
        if (len < CLIENT_LEN)
            return NBD_MORE;
        *used = CLIENT_LEN;
        return on_client_flags(h, wire_get32(p));
    }
    if (len < OPTION_LEN)
        return NBD_MORE;
    a.option = wire_get32(p + 8);
    data = wire_get32(p + 12);
    if (wire_get64(p) != IHAVEOPT)
        return drop(h, "an option does not begin with the magic number");
    if (data > NBD_OPTION_MAX)
        return drop(h, "an option of more than 64 KiB");
    if (len - OPTION_LEN < data)
        return NBD_MORE;
    if (++h->options > NBD_OPTIONS_MAX)
        return drop(h, "too many options, and no export chosen");
    if (!h->fixed && a.option != OPT_EXPORT_NAME)
        return drop(h, "an option but NBD_OPT_EXPORT_NAME, without fixed newstyle negotiation");
    *used = OPTION_LEN + data;
    a.at = p + OPTION_LEN;
    a.end = a.at + data;
    next = answer(&a, len > *used);
    if (out->bad)
        return drop(h, "the answer is too long");
    return next;
}
