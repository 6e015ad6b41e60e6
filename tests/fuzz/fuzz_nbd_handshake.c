/* Input: all that a client sends before the transmission phase, taken message by message. The
 * server agrees to nothing that is not on offer, and its answers are whole replies.
 * Where TLS is required (the length decides), it says nothing of exports before, and goes on to TLS
 * only when nothing in clear is left. */
#include "fuzz.h"
#include "handshake.h"

#include "err.h"

#include <string.h>

static const struct nbd_export exports[] = {
    {"a/b", "description", GIB, NBD_FLAG_SEND_FLUSH, 1, 4096},
    {"a/c", "", MIB, NBD_FLAG_SEND_TRIM, 512, 4096},
};

static uint64_t be(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

/* out holds whole replies to one option, the last of which ends it. */
static void check_replies(const uint8_t *p, size_t len, uint32_t option)
{
    uint32_t type = 0;
    while (len > 0) {
        size_t data;
        ASSERT(len >= 20);
        ASSERT(be(p, 8) == UINT64_C(0x0003e889045565a9) && be(p + 8, 4) == option);
        ASSERT(type == 0 || (type >= 2 && type <= 4)); /* nothing follows an ack or an error */
        type = (uint32_t)be(p + 12, 4);
        data = be(p + 16, 4);
        ASSERT(data <= len - 20);
        p += 20 + data;
        len -= 20 + data;
    }
    ASSERT(type == 1 || type >> 31);
}

static void check_session(const struct nbd_handshake *h)
{
    const struct nbd_session *s = &h->session;
    ASSERT(s->export >= exports && s->export < exports + h->count);
    ASSERT(s->structured == h->structured);
    ASSERT(!s->allocation || s->structured);
}

/* What was said in clear, where TLS is required, changes nothing. */
static void check_clear(const struct nbd_handshake *h, enum nbd_next next)
{
    ASSERT(next != NBD_TRANSMIT && !h->structured && !h->context_of && !h->session.export);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes_out out = bytes_out(NBD_ANSWER_MAX);
    struct nbd_handshake h;
    enum nbd_next next = NBD_MORE;
    bool secret = size / 3 % 2, patient = size / 6 % 2;
    size_t count = size % 3;
    nbd_handshake_init(&h, secret ? NBD_TLS_REQUIRED : NBD_TLS_NONE, secret ? NULL : exports,
                       secret ? 0 : count);
    for (unsigned messages = 0; next == NBD_MORE; messages++) {
        size_t used, seen = size;
        bool greeted = h.greeted;
        if (patient && greeted && size >= 16 && be(data + 8, 8) == UINT64_C(5) << 32)
            seen = 16; /* what follows comes in TLS */
        out.len = 0;
        next = nbd_handshake_take(&h, data, seen, &used, &out);
        ASSERT(used <= size && messages <= NBD_OPTIONS_MAX + 1);
        ASSERT(used <= NBD_HANDSHAKE_MAX && (used > 0 || next != NBD_TRANSMIT));
        if (next == NBD_MORE && used == 0) {
            ASSERT(out.len == 0 && seen == size && size < NBD_HANDSHAKE_MAX);
            break;
        }
        if (greeted && out.len > 0 && be(data + 8, 4) != 1)
            check_replies(out.p, out.len, (uint32_t)be(data + 8, 4));
        if (next == NBD_TRANSMIT)
            check_session(&h);
        ASSERT(next == NBD_CLOSE || !h.why);
        if (h.tls == NBD_TLS_REQUIRED)
            check_clear(&h, next);
        data += used;
        size -= used;
        if (next == NBD_STARTTLS) {
            ASSERT(h.tls == NBD_TLS_REQUIRED && seen == used);
            nbd_handshake_secured(&h, exports, count);
            next = NBD_MORE;
        }
    }
    bytes_free(&out);
    return 0;
}
