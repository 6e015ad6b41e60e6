#include "reply.h"

#include "err.h"
#include "nbd_wire.h"

#define SIMPLE_MAGIC 0x67446698u
#define CHUNK_MAGIC  0x668e33efu
#define CHUNK_HEAD   20u
#define FLAG_DONE    1u

enum chunk {
    CHUNK_NONE = 0,
    CHUNK_OFFSET_DATA = 1,
    CHUNK_OFFSET_HOLE = 2,
    CHUNK_BLOCK_STATUS = 5,
    CHUNK_ERROR = 1 << 15 | 1
};

static size_t simple(uint8_t *dst, uint64_t cookie, enum nbd_errno error)
{
    dst = wire_put32(dst, SIMPLE_MAGIC);
    dst = wire_put32(dst, (uint32_t)error);
    (void)wire_put64(dst, cookie);
    return NBD_REPLY_SIMPLE_LEN;
}

/* length: of what follows the head, at most 32 MiB and a little. */
static uint8_t *chunk(uint8_t *dst, enum chunk type, bool last, uint64_t cookie, uint32_t length)
{
    dst = wire_put32(dst, CHUNK_MAGIC);
    dst = wire_put16(dst, last ? FLAG_DONE : 0);
    dst = wire_put16(dst, (uint16_t)type);
    dst = wire_put64(dst, cookie);
    return wire_put32(dst, length);
}

size_t nbd_reply_data_head(const struct nbd_session *s)
{
    return s->structured ? CHUNK_HEAD + 8 : NBD_REPLY_SIMPLE_LEN;
}

size_t nbd_reply_data(uint8_t *dst, const struct nbd_session *s, uint64_t cookie, uint64_t offset,
                      uint32_t length, bool last)
{
    ASSERT(length > 0 && length <= NBD_PAYLOAD_MAX);
    if (!s->structured) {
        ASSERT(last);
        return simple(dst, cookie, NBD_OK);
    }
    dst = chunk(dst, CHUNK_OFFSET_DATA, last, cookie, 8 + length);
    (void)wire_put64(dst, offset);
    return CHUNK_HEAD + 8;
}

size_t nbd_reply_hole(uint8_t *dst, uint64_t cookie, uint64_t offset, uint32_t length, bool last)
{
    ASSERT(length > 0);
    dst = chunk(dst, CHUNK_OFFSET_HOLE, last, cookie, 12);
    dst = wire_put64(dst, offset);
    (void)wire_put32(dst, length);
    return NBD_REPLY_HOLE_LEN;
}

size_t nbd_reply_status(uint8_t *dst, uint64_t cookie, const struct nbd_extent *extents,
                        unsigned count)
{
    ASSERT(count > 0 && count <= NBD_EXTENTS_MAX);
    dst = chunk(dst, CHUNK_BLOCK_STATUS, true, cookie, 4 + 8 * count);
    dst = wire_put32(dst, NBD_CONTEXT_ALLOCATION);
    for (unsigned i = 0; i < count; i++) {
        ASSERT(extents[i].length > 0);
        dst = wire_put32(dst, extents[i].length);
        dst = wire_put32(dst, extents[i].flags);
    }
    return NBD_REPLY_STATUS_LEN(count);
}

size_t nbd_reply_end(uint8_t *dst, const struct nbd_session *s, const struct nbd_request *r,
                     enum nbd_errno error, const char *text)
{
    size_t n;
    if (!s->structured)
        return simple(dst, r->cookie, error);
    if (error == NBD_OK) {
        if (r->command != NBD_CMD_READ)
            return simple(dst, r->cookie, NBD_OK);
        (void)chunk(dst, CHUNK_NONE, true, r->cookie, 0);
        return CHUNK_HEAD;
    }
    n = strnlen(text, NBD_REPLY_END_MAX - CHUNK_HEAD - 6);
    dst = chunk(dst, CHUNK_ERROR, true, r->cookie, (uint32_t)(6 + n));
    dst = wire_put32(dst, (uint32_t)error);
    dst = wire_put16(dst, (uint16_t)n);
    memcpy(dst, text, n);
    return CHUNK_HEAD + 6 + n;
}
