#include "link.h"

#include "tls.h"
#include "wire.h"

#include <openssl/err.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Sent in pieces, so that a slow line shows progress well within the timeouts. */
#define LINK_PIECE (64 * KIB)
/* How long a refused peer may take to read why, and how much it may have sent meanwhile. */
#define LINGER_NS  IO_S
#define LINGER_MAX (64 * KIB)

struct link {
    int fd;
    SSL *ssl; /* NULL: plain */
    struct wire wire;
    const struct tls *tls;
    struct tls_verdict verdict;
    bool server;
    bool dead, shut, ended;
    struct err why;    /* when dead */
    uint64_t deadline; /* of the handshake; 0 afterwards */
    /* Reading: one fiber. */
    uint8_t *message;
    bool eof;
    uint32_t payload_left;
    uint64_t idle_ns;
    uint64_t bytes_in, last_in;
    /* Writing: whoever holds the lock; only then is wire.out sent and emptied. The reader's SSL
     * calls may append to it at any time, which leaves the bytes being sent where they are. */
    struct fiber_mutex writing;
    uint8_t *packed;
    uint64_t rekey_left;
    uint64_t bytes_out, last_out;
    uint64_t pushed, taken; /* bytes that our kernel took, and of them the peer's */
};

static const char *who(const struct link *l)
{
    return l->verdict.peer ? l->verdict.peer->name : "the peer";
}

/* ---- breaking ---- */

static void shut(struct link *l)
{
    struct fiber_req r = FIBER_REQ;
    struct io *io = fiber_io();
    if (l->shut)
        return;
    l->shut = true;
    io->ops->shutdown(io, fiber_req(&r), l->fd);
    (void)fiber_await_always(&r); /* fails when the peer was first: as good */
}

/* The link breaks because of e; those who come later are told so. */
static int broke(struct link *l, struct err *e)
{
    if (!l->dead) {
        l->dead = true;
        l->why = *e;
        if (e->code == ERR_CANCELED) /* true of this fiber only */
            (void)err_set(&l->why, ERR_NET, "the connection to %s was given up here", who(l));
    }
    shut(l);
    return -(int)e->code;
}

static int gone(const struct link *l, struct err *e)
{
    *e = l->why;
    return -(int)e->code;
}

void link_shutdown(struct link *l)
{
    if (!l->dead) {
        l->dead = true;
        (void)err_set(&l->why, ERR_NET, "the connection to %s was shut down here", who(l));
    }
    shut(l);
}

static int net_error(struct link *l, int os, const char *what, uint64_t waited_ns, struct err *e)
{
    if (os == -ETIMEDOUT && l->deadline)
        return err_set(e, ERR_NET, "no handshake with %s in time (%s)", who(l), what);
    if (os == -ETIMEDOUT)
        return err_set(e, ERR_NET, "%s %s: no progress for %llu s", what, who(l),
                       (unsigned long long)(waited_ns / IO_S));
    return err_os(e, os, "%s %s", what, who(l));
}

/* How long a wait may take: ns, less when the handshake must end before. 0: no time left. */
static uint64_t patience(const struct link *l, uint64_t ns)
{
    uint64_t now = io_now(fiber_io());
    if (l->deadline == 0)
        return ns;
    if (now >= l->deadline)
        return 0;
    return l->deadline - now < ns ? l->deadline - now : ns;
}

/* ---- bytes out ---- */

/* Sends what is in wire.out. The lock is held. */
static int flush(struct link *l, struct err *e)
{
    while (l->wire.out_at < l->wire.out_end) {
        size_t n = l->wire.out_end - l->wire.out_at;
        uint64_t ns = patience(l, LINK_SEND_NS);
        int res;
        if (n > LINK_PIECE)
            n = LINK_PIECE;
        res = ns ? fio_send_all(l->fd, l->wire.out + l->wire.out_at, n, ns) : -ETIMEDOUT;
        if (l->dead)
            return gone(l, e);
        if (res < 0) {
            (void)net_error(l, res, "sending to", ns, e);
            return broke(l, e);
        }
        l->wire.out_at += n;
        l->pushed += n;
    }
    l->wire.out_at = l->wire.out_end = 0;
    return 0;
}

/* For the reader, whose SSL calls may have left something to say. When a writer is at it, that
 * one's flush takes it along: waiting for it could be for ever, were both ends to do so. */
static int flush_if_free(struct link *l, struct err *e)
{
    int rc;
    if (l->wire.out_at == l->wire.out_end || l->writing.held)
        return 0;
    if (fiber_lock(&l->writing) < 0) {
        (void)err_set(e, ERR_CANCELED, "receiving from %s was cancelled", who(l));
        return broke(l, e);
    }
    rc = flush(l, e);
    fiber_unlock(&l->writing);
    return rc;
}

/* What SSL_get_error says of a failed call, as an error that breaks the link. */
static int tls_failed(struct link *l, int ssl_error, struct err *e)
{
    struct err ignored = ERR_INIT;
    if (ssl_error == SSL_ERROR_SSL)
        (void)tls_error(l->tls, &l->verdict, l->server, e);
    else
        (void)err_set(e, ERR_INTERNAL, "OpenSSL ended with %d", ssl_error);
    ERR_clear_error();
    if (!l->deadline)
        (void)err_prefix(e, "%s", who(l));
    if (!l->dead)
        (void)flush_if_free(l, &ignored); /* the alert that tells the peer why */
    return broke(l, e);
}

/* Appends len bytes to wire.out, encrypted. The lock is held. */
static int put(struct link *l, const uint8_t *p, size_t len, struct err *e)
{
    if (!l->ssl) {
        size_t n = wire_put(&l->wire, p, len);
        ASSERT(n == len);
        return 0;
    }
    while (len > 0) {
        size_t n = 0;
        ERR_clear_error();
        if (SSL_write_ex(l->ssl, p, len, &n)) {
            p += n;
            len -= n;
            continue;
        }
        int why = SSL_get_error(l->ssl, 0);
        if (why != SSL_ERROR_WANT_WRITE)
            return tls_failed(l, why, e);
        int rc = flush(l, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void link_rekey(struct link *l)
{
    /* Fails only while one is under way; then the next frame tries again. */
    if (l->ssl && SSL_key_update(l->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
        l->rekey_left = LINK_REKEY_BYTES;
    ERR_clear_error();
}

/* The lock is held. */
static int send_frame(struct link *l, const struct frame_header *h, const ProtobufCMessage *any,
                      const void *payload, struct err *e)
{
    uint64_t len = FRAME_HEADER_LEN + h->message_len + h->payload_len;
    int rc;
    if (l->rekey_left < len)
        link_rekey(l);
    l->rekey_left -= l->rekey_left < len ? l->rekey_left : len;
    frame_header_encode(l->packed, h);
    message_pack(l->packed + FRAME_HEADER_LEN, any);
    rc = put(l, l->packed, FRAME_HEADER_LEN + h->message_len, e);
    if (rc == 0 && h->payload_len > 0)
        rc = put(l, payload, h->payload_len, e);
    if (rc == 0)
        rc = flush(l, e);
    if (rc == 0)
        l->bytes_out += h->message_len + h->payload_len;
    return rc;
}

int link_send(struct link *l, uint8_t type, uint32_t id, const ProtobufCMessage *any,
              const void *payload, uint32_t payload_len, struct err *e)
{
    size_t size = message_packed_size(any);
    struct frame_header h = {type, id, (uint32_t)size, payload_len};
    int rc;
    ASSERT(any->descriptor == message_descriptor(type));
    ASSERT(payload_len <= PAYLOAD_MAX);
    if (size > MESSAGE_MAX)
        return err_set(e, ERR_LIMIT, "a %s message of %zu bytes cannot be sent, at most %u",
                       frame_type_name(type), size, (unsigned)MESSAGE_MAX);
    /* Nothing has gone out yet: a fiber cancelled here leaves the link whole. */
    if (fiber_cancelled() || fiber_lock(&l->writing) < 0)
        return err_set(e, ERR_CANCELED, "sending %s was cancelled", frame_type_name(type));
    rc = l->dead ? gone(l, e) : send_frame(l, &h, any, payload, e);
    fiber_unlock(&l->writing);
    return rc;
}

int link_refuse(struct link *l, uint32_t id, const struct err *why, struct err *e)
{
    Relais__Refused refused;
    char text[ERR_TEXT_MAX];
    ASSERT(why->code != ERR_OK);
    relais__refused__init(&refused);
    message_text(text, sizeof text, why->text);
    refused.code = why->code;
    refused.text = text;
    return link_send(l, FRAME_Refused, id, &refused.base, NULL, 0, e);
}

int link_answer_ping(struct link *l, const struct frame_header *h, const struct message *m,
                     struct err *e)
{
    Relais__Pong pong;
    ASSERT(m->type == FRAME_Ping);
    relais__pong__init(&pong);
    pong.token = m->ping->token;
    return link_send(l, FRAME_Pong, h->id, &pong.base, NULL, 0, e);
}

/* ---- bytes in ---- */

/* Receives into the empty wire.in. 0 also at the end of the stream; see eof. */
static int fill(struct link *l, struct err *e)
{
    uint64_t ns = patience(l, l->idle_ns);
    int res;
    ASSERT(l->wire.in_at == l->wire.in_end);
    res = ns ? fio_recv(l->fd, l->wire.in, WIRE_IN, ns) : -ETIMEDOUT;
    if (l->dead)
        return gone(l, e);
    if (res < 0) {
        (void)net_error(l, res, "receiving from", ns, e);
        return broke(l, e);
    }
    l->wire.in_at = 0;
    l->wire.in_end = (size_t)res;
    l->eof = res == 0;
    if (res > 0)
        l->last_in = io_now(fiber_io());
    return 0;
}

/* Takes up to len bytes that are there already; *n 0: none are. */
static int take(struct link *l, uint8_t *dst, size_t len, size_t *n, struct err *e)
{
    int why;
    *n = 0;
    if (!l->ssl) {
        *n = wire_take(&l->wire, dst, len);
        return 0;
    }
    ERR_clear_error();
    why = SSL_read_ex(l->ssl, dst, len, n) ? SSL_ERROR_NONE : SSL_get_error(l->ssl, 0);
    if (why == SSL_ERROR_ZERO_RETURN) /* close_notify */
        l->eof = true;
    else if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ)
        return tls_failed(l, why, e);
    return flush_if_free(l, e);
}

/* Receives exactly len bytes. first: the beginning of a frame, where the stream may end. */
static int get(struct link *l, uint8_t *dst, size_t len, bool first, struct err *e)
{
    size_t at = 0, n;
    if (l->dead)
        return gone(l, e);
    while (at < len) {
        int rc = take(l, dst + at, len - at, &n, e);
        if (rc < 0)
            return rc;
        at += n;
        if (n > 0)
            continue;
        if (!l->eof)
            rc = fill(l, e);
        if (rc < 0)
            return rc;
        if (l->eof) {
            l->ended = first && at == 0;
            (void)err_set(e, ERR_NET,
                          l->ended ? "%s closed the connection"
                                   : "%s broke off in the middle of a frame",
                          who(l));
            return broke(l, e);
        }
    }
    return 0;
}

int link_recv(struct link *l, struct frame_header *h, struct message *m, uint64_t idle_ns,
              struct err *e)
{
    uint8_t raw[FRAME_HEADER_LEN];
    struct frame_header got;
    int rc;
    ASSERT(l->payload_left == 0 || l->dead);
    *h = (struct frame_header){0};
    l->idle_ns = idle_ns;
    rc = get(l, raw, sizeof raw, true, e);
    if (rc < 0)
        return rc;
    rc = frame_header_decode(&got, raw, e);
    if (rc == 0) {
        rc = get(l, l->message, got.message_len, false, e);
        if (rc < 0)
            return rc;
        rc = message_unpack(m, got.type, l->message, got.message_len, e);
    }
    if (rc < 0) {
        (void)err_prefix(e, "%s", who(l));
        return broke(l, e);
    }
    l->bytes_in += got.message_len;
    l->payload_left = got.payload_len;
    *h = got;
    return 0;
}

int link_recv_payload(struct link *l, void *dst, uint32_t len, struct err *e)
{
    int rc;
    ASSERT(len <= l->payload_left || l->dead);
    rc = get(l, dst, len, false, e);
    if (rc < 0)
        return rc;
    l->payload_left -= len;
    l->bytes_in += len;
    return 0;
}

/* ---- beginning and end ---- */

static struct link *link_new(int fd)
{
    struct link *l = err_calloc(1, sizeof *l);
    l->fd = fd;
    wire_init(&l->wire);
    l->message = err_malloc(MESSAGE_MAX);
    l->packed = err_malloc(FRAME_HEADER_LEN + MESSAGE_MAX);
    l->rekey_left = LINK_REKEY_BYTES;
    l->idle_ns = FIBER_FOREVER;
    l->last_in = l->last_out = io_now(fiber_io());
    return l;
}

void link_close(struct link *l)
{
    if (!l)
        return;
    ASSERT(!l->writing.held);
    fio_close_always(l->fd);
    SSL_free(l->ssl);
    wire_free(&l->wire);
    free(l->message);
    free(l->packed);
    free(l);
}

int link_plain(struct link **out, int fd, struct err *e)
{
    (void)e;
    *out = link_new(fd);
    return 0;
}

/* Closing at once, with bytes of the peer's unread, would reset the connection and might destroy
 * the alert on its way: let the peer hang up first, for a moment. */
static void linger(struct link *l)
{
    uint64_t until = io_now(fiber_io()) + LINGER_NS, now;
    struct err ignored = ERR_INIT;
    (void)flush(l, &ignored);
    for (size_t drained = 0; !l->dead && drained < LINGER_MAX;) {
        int res;
        now = io_now(fiber_io());
        res = now < until ? fio_recv(l->fd, l->wire.in, WIRE_IN, until - now) : 0;
        if (res <= 0)
            break;
        drained += (size_t)res;
    }
}

static int handshake(struct link *l, struct err *e)
{
    for (;;) {
        int rc, why;
        ERR_clear_error();
        rc = SSL_do_handshake(l->ssl);
        why = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(l->ssl, rc);
        if (why == SSL_ERROR_SSL) {
            (void)tls_error(l->tls, &l->verdict, l->server, e);
            linger(l);
            return -(int)e->code;
        }
        rc = flush(l, e);
        if (rc < 0)
            return rc;
        if (why == SSL_ERROR_NONE)
            return 0;
        if (why != SSL_ERROR_WANT_READ)
            continue; /* WANT_WRITE: there is room now */
        rc = fill(l, e);
        if (rc < 0)
            return rc;
        if (l->eof)
            return err_set(e, ERR_NET, "the peer closed the connection during the handshake");
    }
}

static int link_tls(struct link **out, int fd, struct tls *t, bool server,
                    const struct tls_peer *expect, uint64_t timeout_ns, struct err *e)
{
    struct link *l = link_new(fd);
    int rc;
    l->tls = t;
    l->server = server;
    l->verdict.expect = expect;
    rc = tls_open(&l->ssl, t, server, wire_bio(&l->wire), &l->verdict, e);
    if (rc < 0)
        goto fail;
    l->deadline = io_now(fiber_io()) + timeout_ns;
    rc = handshake(l, e);
    if (rc < 0)
        goto fail;
    ASSERT(l->verdict.peer && !l->verdict.refused);
    l->deadline = 0;
    *out = l;
    return 0;
fail:
    link_close(l);
    return rc;
}

int link_tls_connect(struct link **out, int fd, struct tls *t, const char *expect,
                     uint64_t timeout_ns, struct err *e)
{
    const struct tls_peer *peer = expect ? tls_peer(t, expect) : NULL;
    if (expect && !peer) {
        fio_close_always(fd);
        return err_set(e, ERR_AUTH, "no key is pinned for %s; add [peer %s] with its link key",
                       expect, expect);
    }
    return link_tls(out, fd, t, false, peer, timeout_ns, e);
}

int link_tls_accept(struct link **out, int fd, struct tls *t, uint64_t timeout_ns, struct err *e)
{
    return link_tls(out, fd, t, true, NULL, timeout_ns, e);
}

const char *link_peer(const struct link *l)
{
    return l->ssl ? l->verdict.peer->name : "";
}

bool link_ended(const struct link *l)
{
    return l->ended;
}

uint64_t link_bytes_out(const struct link *l)
{
    return l->bytes_out;
}

uint64_t link_bytes_in(const struct link *l)
{
    return l->bytes_in;
}

uint64_t link_last_in(const struct link *l)
{
    return l->last_in;
}

uint64_t link_last_out(struct link *l)
{
    struct io *io = fiber_io();
    uint64_t waits = l->dead ? l->pushed : io->ops->unacked(io, l->fd);
    uint64_t taken = l->pushed > waits ? l->pushed - waits : 0;
    if (taken > l->taken) {
        l->taken = taken;
        l->last_out = io_now(io);
    }
    return l->last_out;
}

bool link_sending(const struct link *l)
{
    return l->writing.held;
}
