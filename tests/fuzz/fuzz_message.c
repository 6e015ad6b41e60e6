/* Input: a frame type, then a message of it. Whatever is accepted stays within its memory budget,
 * has texts that can be shown and digests of the right length, and survives being packed again. */
#include "fuzz.h"
#include "message.h"

#include <stdlib.h>
#include <string.h>

/* The rules said once more, apart from the code that enforces them: over the unpacked structs. */
static void check(const ProtobufCMessage *m);

static void check_text(const char *s)
{
    for (const uint8_t *p = (const uint8_t *)s; *p; p++) {
        ASSERT(*p >= 0x20 && *p != 0x7f);
        ASSERT(!(*p == 0xc2 && p[1] < 0xa0)); /* C1 controls */
        ASSERT(*p != 0xc0 && *p != 0xc1 && *p < 0xf5);
    }
}

static void check_field(const ProtobufCFieldDescriptor *f, const uint8_t *value)
{
    const char *text;
    const ProtobufCMessage *inner;
    ProtobufCBinaryData bytes;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        memcpy(&text, value, sizeof text);
        check_text(text);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        memcpy(&bytes, value, sizeof bytes);
        if (strcmp(f->name, "digest") == 0)
            ASSERT(bytes.len == 0 || bytes.len == 32);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        memcpy(&inner, value, sizeof inner);
        if (inner)
            check(inner);
        break;
    default:
        break;
    }
}

static void check(const ProtobufCMessage *m)
{
    const uint8_t *base = (const uint8_t *)m;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            const uint8_t *items;
            size_t n;
            size_t item =
                f->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData) : sizeof(void *);
            if (f->type < PROTOBUF_C_TYPE_STRING)
                continue; /* numbers are what they are */
            memcpy(&n, base + f->quantifier_offset, sizeof n);
            memcpy(&items, base + f->offset, sizeof items);
            for (size_t k = 0; k < n; k++)
                check_field(f, items + k * item);
        } else {
            check_field(f, base + f->offset);
        }
    }
}

static void pack_again(struct message *m)
{
    struct message again;
    struct err e = ERR_INIT;
    size_t len = message_packed_size(m->any);
    uint8_t *packed = err_malloc(len), *twice;
    message_pack(packed, m->any);
    message_init(&again);
    /* Packed, it may be longer than what came (padding is refused, but a field may be said twice
     * and an unknown one kept): only what fits must be read, and then to the same. */
    if (len <= MESSAGE_MAX && message_unpack(&again, m->type, packed, len, &e) == 0) {
        ASSERT(message_packed_size(again.any) == len);
        twice = err_malloc(len);
        message_pack(twice, again.any);
        ASSERT(memcmp(packed, twice, len) == 0);
        free(twice);
    } else {
        ASSERT(len > MESSAGE_MAX || e.code == ERR_LIMIT);
    }
    message_free(&again);
    free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct message m;
    struct err e = ERR_INIT;
    int rc;
    if (size == 0)
        return 0;
    message_init(&m);
    rc = message_unpack(&m, data[0], data + 1, size - 1, &e);
    ASSERT(m.arena_used <= MESSAGE_ARENA);
    if (rc == 0) {
        ASSERT(m.any && m.type == data[0]);
        check(m.any);
        pack_again(&m);
    } else {
        ASSERT(!m.any && rc == -(int)e.code && e.text[0]);
        ASSERT(e.code == ERR_PROTO || e.code == ERR_LIMIT);
    }
    message_free(&m);
    return 0;
}
