#include "frame.h"

#include "bytes.h"

uint32_t protocol_choose(const struct protocol *ours, uint32_t newest, uint32_t oldest)
{
    uint32_t most = newest < ours->newest ? newest : ours->newest;
    uint32_t least = oldest && oldest <= newest ? oldest : newest;
    return most >= least && most >= ours->oldest ? most : 0;
}

const char *frame_type_name(uint8_t type)
{
    switch (type) {
#define X(number, Type, snake, payload)                                                            \
    case number:                                                                                   \
        return #Type;
        FRAME_TYPES(X)
#undef X
    default:
        return "?";
    }
}

/* Whether a payload may follow; -1 for a type that does not exist. */
static int payload_allowed(uint8_t type)
{
    switch (type) {
#define X(number, Type, snake, payload)                                                            \
    case number:                                                                                   \
        return payload;
        FRAME_TYPES(X)
#undef X
    default:
        return -1;
    }
}

void frame_header_encode(uint8_t dst[FRAME_HEADER_LEN], const struct frame_header *h)
{
    int allowed = payload_allowed(h->type);
    ASSERT(allowed >= 0);
    ASSERT(h->message_len <= MESSAGE_MAX);
    ASSERT(h->payload_len == 0 || (allowed && h->payload_len <= PAYLOAD_MAX));
    dst[0] = FRAME_MAGIC & 0xff;
    dst[1] = FRAME_MAGIC >> 8;
    dst[2] = h->type;
    dst[3] = 0;
    bytes_set_le32(dst + 4, h->id);
    bytes_set_le32(dst + 8, h->message_len);
    bytes_set_le32(dst + 12, h->payload_len);
}

int frame_header_decode(struct frame_header *out, const uint8_t src[FRAME_HEADER_LEN],
                        struct err *e)
{
    struct bytes_in b = bytes_in(src, FRAME_HEADER_LEN);
    unsigned magic = bytes_get_u16(&b);
    uint8_t type = bytes_get_u8(&b), zero = bytes_get_u8(&b);
    struct frame_header h = {.type = type};
    int allowed = payload_allowed(type);
    h.id = bytes_get_u32(&b);
    h.message_len = bytes_get_u32(&b);
    h.payload_len = bytes_get_u32(&b);
    *out = (struct frame_header){0};
    if (magic != FRAME_MAGIC)
        return err_set(e, ERR_PROTO,
                       "a frame starts with 0x%04x instead of 0x%04x: not relais's protocol", magic,
                       FRAME_MAGIC);
    if (allowed < 0 || zero != 0)
        return err_set(e, ERR_PROTO,
                       "frame type %u (reserved byte %u) is unknown; do both ends run the same "
                       "version of relais?",
                       type, zero);
    if (h.message_len > MESSAGE_MAX)
        return err_set(e, ERR_LIMIT, "%s frame: message of %u bytes, at most %u are allowed",
                       frame_type_name(type), h.message_len, (unsigned)MESSAGE_MAX);
    if (h.payload_len > PAYLOAD_MAX)
        return err_set(e, ERR_LIMIT, "%s frame: payload of %u bytes, at most %u are allowed",
                       frame_type_name(type), h.payload_len, (unsigned)PAYLOAD_MAX);
    if (h.payload_len > 0 && !allowed)
        return err_set(e, ERR_PROTO, "%s frame: payload of %u bytes where none may be",
                       frame_type_name(type), h.payload_len);
    *out = h;
    return 0;
}
