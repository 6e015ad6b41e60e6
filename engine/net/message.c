#include "message.h"

#include "bytes.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_ALIGN 16u
#define DIGEST_SIZE 32u
/* The deepest type of relais.proto has two levels (History, RecoveryPoint). */
#define DEPTH_MAX 4u

/* Wire types of protobuf's encoding. */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LEN = 2, WIRE_32 = 5 };

const ProtobufCMessageDescriptor *message_descriptor(uint8_t type)
{
    switch (type) {
#define X(number, Type, snake, payload)                                                            \
    case number:                                                                                   \
        return &relais__##snake##__descriptor;
        FRAME_TYPES(X)
#undef X
    default:
        return NULL;
    }
}

void message_init(struct message *m)
{
    *m = (struct message){0};
}

void message_free(struct message *m)
{
    free(m->arena);
    message_init(m);
}

/* Length of the UTF-8 character at p (RFC 3629), 0 when it is malformed or a control character. */
static size_t character(const uint8_t *p, size_t len)
{
    uint32_t v;
    size_t n;
    if (len == 0 || p[0] < 0x20 || p[0] == 0x7f)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if ((p[0] & 0xf0) == 0xe0)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (len < n)
        return 0;
    v = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3fu);
    }
    if (v < 0xa0) /* C1 controls */
        return 0;
    if (n == 3 && (v < 0x800 || (v >= 0xd800 && v <= 0xdfff)))
        return 0;
    if (n == 4 && (v < 0x10000 || v > 0x10ffff))
        return 0;
    return n;
}

static bool is_text(const uint8_t *p, size_t len)
{
    while (len > 0) {
        size_t n = character(p, len);
        if (n == 0)
            return false;
        p += n;
        len -= n;
    }
    return true;
}

void message_text(char *dst, size_t cap, const char *src)
{
    const uint8_t *p = (const uint8_t *)src;
    size_t len = strlen(src), at = 0;
    ASSERT(cap > 0);
    while (len > 0) {
        size_t n = character(p, len), step = n ? n : 1;
        if (step >= cap - at)
            break;
        if (n)
            memcpy(dst + at, p, n);
        else
            dst[at] = '?';
        at += step;
        p += step;
        len -= step;
    }
    dst[at] = '\0';
}

static int check_message(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t len,
                         unsigned depth, struct err *e);

/* One length-delimited value of field f. */
static int check_value(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f,
                       const uint8_t *p, size_t len, unsigned depth, struct err *e)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        if (!is_text(p, len))
            return err_set(e, ERR_PROTO,
                           "%s message: field %s is not UTF-8 text without control characters",
                           d->short_name, f->name);
        return 0;
    case PROTOBUF_C_TYPE_BYTES:
        if (len != 0 && len != DIGEST_SIZE && strcmp(f->name, "digest") == 0)
            return err_set(e, ERR_PROTO, "%s message: digest of %zu bytes instead of %u",
                           d->short_name, len, DIGEST_SIZE);
        return 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return check_message(f->descriptor, p, len, depth + 1, e);
    default: /* packed numbers */
        return 0;
    }
}

static int check_message(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t len,
                         unsigned depth, struct err *e)
{
    struct bytes_in b = bytes_in(p, len);
    if (depth > DEPTH_MAX)
        return err_set(e, ERR_PROTO, "%s message: nested more than %u deep", d->short_name,
                       DEPTH_MAX);
    while (bytes_left(&b) > 0) {
        uint64_t tag = bytes_get_varint(&b), n = 0;
        const uint8_t *value = NULL;
        switch (tag & 7) {
        case WIRE_VARINT:
            (void)bytes_get_varint(&b);
            break;
        case WIRE_64:
            (void)bytes_view(&b, 8);
            break;
        case WIRE_LEN:
            n = bytes_get_varint(&b);
            value = bytes_view(&b, n);
            break;
        case WIRE_32:
            (void)bytes_view(&b, 4);
            break;
        default:
            b.bad = true;
        }
        if (bytes_bad(&b) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3)
            return err_set(e, ERR_PROTO, "%s message of %zu bytes is malformed or cut short",
                           d->short_name, len);
        if (value) {
            const ProtobufCFieldDescriptor *f =
                protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
            int rc = f ? check_value(d, f, value, n, depth, e) : 0;
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

struct arena {
    struct message *m;
    bool exhausted;
};

static void *arena_alloc(void *data, size_t size)
{
    struct arena *a = data;
    size_t at = a->m->arena_used;
    if (size > MESSAGE_ARENA - at) {
        a->exhausted = true;
        return NULL;
    }
    /* MESSAGE_ARENA is a multiple of the alignment, so rounding up stays within it. */
    a->m->arena_used = (at + size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    return a->m->arena + at;
}
_Static_assert(MESSAGE_ARENA % ARENA_ALIGN == 0, "the arena ends aligned");

static void arena_keep(void *data, void *p)
{
    (void)data;
    (void)p;
}

int message_unpack(struct message *m, uint8_t type, const uint8_t *p, size_t len, struct err *e)
{
    const ProtobufCMessageDescriptor *d = message_descriptor(type);
    struct arena a = {.m = m};
    ProtobufCAllocator alloc = {arena_alloc, arena_keep, &a};
    int rc;
    m->type = 0;
    m->any = NULL;
    m->arena_used = 0;
    if (!d)
        return err_set(e, ERR_PROTO, "message type %u is unknown", type);
    if (len > MESSAGE_MAX)
        return err_set(e, ERR_LIMIT, "%s message of %zu bytes, at most %u are allowed",
                       d->short_name, len, (unsigned)MESSAGE_MAX);
    rc = check_message(d, p, len, 1, e);
    if (rc < 0)
        return rc;
    if (!m->arena)
        m->arena = err_malloc(MESSAGE_ARENA);
    m->any = protobuf_c_message_unpack(d, &alloc, len, p);
    if (a.exhausted) {
        m->any = NULL;
        return err_set(e, ERR_LIMIT, "%s message of %zu bytes needs more than %u bytes unpacked",
                       d->short_name, len, (unsigned)MESSAGE_ARENA);
    }
    if (!m->any)
        return err_set(e, ERR_PROTO, "%s message of %zu bytes does not fit its type", d->short_name,
                       len);
    m->type = type;
    return 0;
}

size_t message_packed_size(const ProtobufCMessage *any)
{
    return protobuf_c_message_get_packed_size(any);
}

void message_pack(uint8_t *dst, const ProtobufCMessage *any)
{
    (void)protobuf_c_message_pack(any, dst);
}
