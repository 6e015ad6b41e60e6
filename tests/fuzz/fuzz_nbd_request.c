/* Input: a byte that says what was negotiated, then requests, each of which follows the payload of
 * the one before. What is to be run keeps every bound; what is refused can be answered. */
#include "fuzz.h"
#include "reply.h"

#include "err.h"

#define SIZE (GIB + 512)

static void check_run(const struct nbd_request *r, const struct nbd_session *s)
{
    const struct nbd_export *x = s->export;
    unsigned flags = r->flags & ~(unsigned)NBD_CMD_FLAG_FUA;
    ASSERT(r->command <= NBD_CMD_BLOCK_STATUS && r->command != NBD_CMD_DISC);
    ASSERT(r->offset <= x->size && r->offset + r->length <= x->size);
    ASSERT(r->offset % x->block_min == 0 && r->length % x->block_min == 0);
    ASSERT(r->payload == (r->command == NBD_CMD_WRITE ? r->length : 0));
    if (r->command <= NBD_CMD_WRITE)
        ASSERT(r->length <= NBD_PAYLOAD_MAX);
    if (r->command == NBD_CMD_BLOCK_STATUS)
        ASSERT(s->allocation && r->length > 0);
    if (x->flags & NBD_FLAG_READ_ONLY)
        ASSERT(r->command != NBD_CMD_WRITE && r->command != NBD_CMD_TRIM &&
               r->command != NBD_CMD_WRITE_ZEROES);
    ASSERT(!(flags & NBD_CMD_FLAG_DF) || (r->command == NBD_CMD_READ && s->structured));
    ASSERT(!(flags & NBD_CMD_FLAG_REQ_ONE) || r->command == NBD_CMD_BLOCK_STATUS);
    ASSERT(!(flags & (NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO)) ||
           r->command == NBD_CMD_WRITE_ZEROES);
    ASSERT(flags < 1u << 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nbd_export x = {"a/b", "", SIZE, 0, 1, 4096};
    struct nbd_session s = {.export = &x};
    if (size == 0)
        return 0;
    s.structured = data[0] & 1;
    s.allocation = (data[0] & 3) == 3;
    x.block_min = data[0] & 4 ? 512 : 1;
    x.flags = (uint16_t)((data[0] & 8 ? NBD_FLAG_READ_ONLY : 0) | (data[0] & 16 ? 0xffc : 0));
    data++;
    size--;
    while (size >= NBD_REQUEST_LEN) {
        uint8_t out[NBD_REPLY_END_MAX];
        struct nbd_request r;
        enum nbd_fate fate = nbd_request_decode(&r, data, &s);
        if (fate == NBD_DROP || fate == NBD_DISCONNECT) {
            ASSERT(fate == NBD_DISCONNECT || r.text);
            return 0;
        }
        ASSERT(r.payload <= NBD_PAYLOAD_MAX);
        if (fate == NBD_RUN)
            check_run(&r, &s);
        else
            ASSERT(r.error != NBD_OK && r.text);
        ASSERT(nbd_reply_end(out, &s, &r, r.error, r.text) <= sizeof out);
        if (r.payload > size - NBD_REQUEST_LEN)
            return 0;
        data += NBD_REQUEST_LEN + r.payload;
        size -= NBD_REQUEST_LEN + r.payload;
    }
    return 0;
}
