#include "link.h"

#include "stream.h"
#include "tls.h"

#include <openssl/err.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct link {
    struct stream stream;
    const struct tls *tls;
    struct tls_verdict verdict;
    bool server;
    bool dead, shut, ended;
    struct err why; /* when dead */
    bool greeting;  /* in the TLS handshake */
    /* Reading: one fiber. */
    uint8_t *message;
    uint32_t payload_left;
    uint64_t idle_ns;
    uint64_t bytes_in;
    /* Writing: whoever holds the stream's lock. */
    uint8_t *packed;
    uint64_t rekey_left;
    uint64_t bytes_out, last_out;
    uint64_t taken; /* bytes that the peer's kernel took */
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
    io->ops->shutdown(io, fiber_req(&r), l->stream.fd);
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

/* A failure of the stream, as an error that breaks the link. OpenSSL's reason is taken first,
 * before anybody else runs. */
static int failed(struct link *l, int os, const char *what, uint64_t waited_ns, struct err *e)
{
    if (l->dead)
        return gone(l, e);
    if (os == -EPROTO) {
        (void)tls_error(l->tls, &l->verdict, l->server, e);
        if (!l->greeting) {
            (void)err_prefix(e, "%s", who(l));
            (void)stream_flush_if_free(&l->stream, LINK_SEND_NS); /* the alert that says why */
        }
    } else if (os == -ETIMEDOUT && l->greeting) {
        (void)err_set(e, ERR_NET, "no handshake with %s in time", who(l));
    } else if (os == -ETIMEDOUT) {
        (void)err_set(e, ERR_NET, "%s %s: no progress for %llu s", what, who(l),
                      (unsigned long long)(waited_ns / IO_S));
    } else {
        (void)err_os(e, os, "%s %s", what, who(l));
    }
    return broke(l, e);
}

/* ---- bytes out ---- */

/* Puts and sends. The lock is held. */
static int put(struct link *l, const void *p, size_t len, bool flush, struct err *e)
{
    int res = stream_put(&l->stream, p, len, LINK_SEND_NS);
    if (res == 0 && flush)
        res = stream_flush(&l->stream, LINK_SEND_NS);
    if (res < 0 || l->dead)
        return failed(l, res, "sending to", LINK_SEND_NS, e);
    return 0;
}

void link_rekey(struct link *l)
{
    /* Fails only while one is under way; then the next frame tries again. */
    if (l->stream.ssl && SSL_key_update(l->stream.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
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
    rc = put(l, l->packed, FRAME_HEADER_LEN + h->message_len, h->payload_len == 0, e);
    if (rc == 0 && h->payload_len > 0)
        rc = put(l, payload, h->payload_len, true, e);
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
    if (fiber_cancelled() || fiber_lock(&l->stream.writing) < 0)
        return err_set(e, ERR_CANCELED, "sending %s was cancelled", frame_type_name(type));
    rc = l->dead ? gone(l, e) : send_frame(l, &h, any, payload, e);
    fiber_unlock(&l->stream.writing);
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

/* Receives exactly len bytes. first: the beginning of a frame, where the stream may end. */
static int get(struct link *l, uint8_t *dst, size_t len, bool first, struct err *e)
{
    size_t at = 0, n;
    if (l->dead)
        return gone(l, e);
    while (at < len) {
        int res = stream_take(&l->stream, dst + at, len - at, &n, LINK_SEND_NS);
        if (res < 0)
            return failed(l, res, "answering", LINK_SEND_NS, e);
        at += n;
        if (n > 0)
            continue;
        if (!l->stream.eof)
            res = stream_fill(&l->stream, l->idle_ns);
        if (res < 0 || l->dead)
            return failed(l, res, "receiving from", l->idle_ns, e);
        if (l->stream.eof) {
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
    stream_init(&l->stream, fd);
    l->message = err_malloc(MESSAGE_MAX);
    l->packed = err_malloc(FRAME_HEADER_LEN + MESSAGE_MAX);
    l->rekey_left = LINK_REKEY_BYTES;
    l->idle_ns = FIBER_FOREVER;
    l->last_out = l->stream.last_in;
    return l;
}

void link_close(struct link *l)
{
    if (!l)
        return;
    fio_close_always(l->stream.fd);
    stream_free(&l->stream);
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

/* whom: the verdict before it is one: who is expected. */
static int link_tls(struct link **out, int fd, struct tls *t, bool server,
                    const struct tls_verdict *whom, uint64_t timeout_ns, struct err *e)
{
    struct link *l = link_new(fd);
    SSL *ssl;
    int res;
    l->tls = t;
    l->server = server;
    l->verdict = *whom;
    res = tls_open(&ssl, t, server, wire_bio(&l->stream.wire), &l->verdict, e);
    if (res < 0)
        goto fail;
    l->greeting = true;
    res = stream_handshake(&l->stream, ssl, io_now(fiber_io()) + timeout_ns);
    if (res == -ECONNRESET && l->stream.eof) {
        res = err_set(e, ERR_NET, "the peer closed the connection during the handshake");
        goto fail;
    }
    if (res < 0) {
        bool refused = res == -EPROTO;
        /* Not by failed(): the socket is still needed to tell the peer why. */
        res = refused ? tls_error(l->tls, &l->verdict, server, e)
                      : failed(l, res, "the handshake with", timeout_ns, e);
        if (refused)
            stream_linger(&l->stream);
        goto fail;
    }
    ASSERT(l->verdict.peer && !l->verdict.refused);
    l->greeting = false;
    l->verdict.pin = NULL; /* the caller's */
    *out = l;
    return 0;
fail:
    link_close(l);
    return res;
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
    const struct tls_verdict whom = {.expect = peer};
    return link_tls(out, fd, t, false, &whom, timeout_ns, e);
}

int link_tls_connect_guest(struct link **out, int fd, struct tls *t, const uint8_t *pin,
                           size_t pin_len, uint64_t timeout_ns, struct err *e)
{
    const struct tls_verdict whom = {.pin = pin, .pin_len = pin_len};
    return link_tls(out, fd, t, false, &whom, timeout_ns, e);
}

int link_tls_accept(struct link **out, int fd, struct tls *t, uint64_t timeout_ns, struct err *e)
{
    const struct tls_verdict whom = {.expect = NULL};
    return link_tls(out, fd, t, true, &whom, timeout_ns, e);
}

bool link_guest(const struct link *l)
{
    return l->verdict.guest;
}

const struct key_public *link_key(const struct link *l)
{
    ASSERT(l->stream.ssl);
    return &l->verdict.key;
}

int link_binding(const struct link *l, uint8_t dst[LINK_BINDING_LEN], struct err *e)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    if (l->stream.ssl && SSL_export_keying_material(l->stream.ssl, dst, LINK_BINDING_LEN, label,
                                                    sizeof label - 1, NULL, 0, 0) == 1)
        return 0;
    ERR_clear_error();
    return err_set(e, ERR_INTERNAL, "TLS has nothing to bind to this connection");
}

const char *link_peer(const struct link *l)
{
    return l->stream.ssl ? l->verdict.peer->name : "";
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
    return l->stream.last_in;
}

uint64_t link_last_out(struct link *l)
{
    struct io *io = fiber_io();
    uint64_t waits = l->dead ? l->stream.pushed : io->ops->unacked(io, l->stream.fd);
    uint64_t taken = l->stream.pushed > waits ? l->stream.pushed - waits : 0;
    if (taken > l->taken) {
        l->taken = taken;
        l->last_out = io_now(io);
    }
    return l->last_out;
}

bool link_sending(const struct link *l)
{
    return l->stream.writing.held;
}
