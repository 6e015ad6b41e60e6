#include "stream.h"

#include <openssl/err.h>

#include <errno.h>

/* Sent in pieces, so that a slow line shows progress well within the timeouts. */
#define PIECE (64 * KIB)
/* How long a refused peer may take to read why, and how much it may have sent meanwhile. */
#define LINGER_NS  IO_S
#define LINGER_MAX (64 * KIB)

void stream_init(struct stream *s, int fd)
{
    *s = (struct stream){.fd = fd, .last_in = io_now(fiber_io())};
    wire_init(&s->wire);
}

void stream_free(struct stream *s)
{
    ASSERT(!s->writing.held);
    SSL_free(s->ssl);
    wire_free(&s->wire);
}

/* SSL_get_error wants an empty queue. It almost always is, and emptying one that is costs more than
 * looking. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* ---- sending ---- */

int stream_flush(struct stream *s, uint64_t timeout_ns)
{
    while (s->wire.out_at < s->wire.out_end) {
        size_t n = s->wire.out_end - s->wire.out_at;
        int res;
        if (n > PIECE)
            n = PIECE;
        res = fio_send_all(s->fd, s->wire.out + s->wire.out_at, n, timeout_ns);
        if (res < 0)
            return res;
        s->wire.out_at += n;
        s->pushed += n;
    }
    s->wire.out_at = s->wire.out_end = 0;
    return 0;
}

int stream_flush_if_free(struct stream *s, uint64_t timeout_ns)
{
    int res;
    if (s->wire.out_at == s->wire.out_end || s->writing.held)
        return 0;
    res = fiber_lock(&s->writing);
    if (res < 0)
        return res;
    res = stream_flush(s, timeout_ns);
    fiber_unlock(&s->writing);
    return res;
}

int stream_put(struct stream *s, const void *p, size_t len, uint64_t timeout_ns)
{
    const uint8_t *at = p;
    while (len > 0) {
        size_t n = 0;
        int why, res;
        if (!s->ssl) {
            n = wire_put(&s->wire, at, len);
            why = n > 0 ? SSL_ERROR_NONE : SSL_ERROR_WANT_WRITE;
        } else {
            forget_errors();
            why = SSL_write_ex(s->ssl, at, len, &n) ? SSL_ERROR_NONE : SSL_get_error(s->ssl, 0);
        }
        at += n;
        len -= n;
        if (why == SSL_ERROR_NONE)
            continue;
        if (why != SSL_ERROR_WANT_WRITE)
            return -EPROTO;
        res = stream_flush(s, timeout_ns);
        if (res < 0)
            return res;
    }
    return 0;
}

int stream_send_all(struct stream *s, const void *p, size_t len, uint64_t timeout_ns)
{
    int res = fiber_lock(&s->writing);
    if (res < 0)
        return res;
    res = stream_put(s, p, len, timeout_ns);
    if (res == 0)
        res = stream_flush(s, timeout_ns);
    fiber_unlock(&s->writing);
    return res;
}

/* ---- receiving ---- */

int stream_fill(struct stream *s, uint64_t timeout_ns)
{
    int res;
    ASSERT(s->wire.in_at == s->wire.in_end);
    res = fio_recv(s->fd, s->wire.in, WIRE_IN, timeout_ns);
    if (res < 0)
        return res;
    s->wire.in_at = 0;
    s->wire.in_end = (size_t)res;
    s->eof = res == 0;
    if (res > 0)
        s->last_in = io_now(fiber_io());
    return 0;
}

int stream_take(struct stream *s, void *dst, size_t len, size_t *n, uint64_t timeout_ns)
{
    int why;
    *n = 0;
    if (!s->ssl) {
        *n = wire_take(&s->wire, dst, len);
        return 0;
    }
    forget_errors();
    why = SSL_read_ex(s->ssl, dst, len, n) ? SSL_ERROR_NONE : SSL_get_error(s->ssl, 0);
    if (why == SSL_ERROR_ZERO_RETURN) /* close_notify */
        s->eof = true;
    else if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ)
        return -EPROTO;
    return stream_flush_if_free(s, timeout_ns);
}

int stream_recv(struct stream *s, void *dst, size_t len, uint64_t timeout_ns)
{
    size_t n = 0;
    while (n == 0 && !s->eof) {
        int res = stream_take(s, dst, len, &n, timeout_ns);
        if (res == 0 && n == 0 && !s->eof)
            res = stream_fill(s, timeout_ns);
        if (res < 0)
            return res;
    }
    return (int)n;
}

/* ---- beginning and end ---- */

int stream_handshake(struct stream *s, SSL *ssl, uint64_t deadline)
{
    s->ssl = ssl;
    for (;;) {
        uint64_t now;
        int rc, why;
        forget_errors();
        rc = SSL_do_handshake(s->ssl);
        why = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, rc);
        if (why == SSL_ERROR_SSL)
            return -EPROTO;
        now = io_now(fiber_io());
        rc = now < deadline ? stream_flush(s, deadline - now) : -ETIMEDOUT;
        if (rc < 0 || why == SSL_ERROR_NONE)
            return rc;
        if (why != SSL_ERROR_WANT_READ)
            continue; /* WANT_WRITE: there is room now */
        now = io_now(fiber_io());
        rc = now < deadline ? stream_fill(s, deadline - now) : -ETIMEDOUT;
        if (rc < 0)
            return rc;
        if (s->eof)
            return -ECONNRESET;
    }
}

void stream_linger(struct stream *s)
{
    uint64_t until = io_now(fiber_io()) + LINGER_NS, now;
    if (stream_flush(s, LINGER_NS) < 0)
        return;
    for (size_t drained = 0; drained < LINGER_MAX;) {
        int res;
        now = io_now(fiber_io());
        res = now < until ? fio_recv(s->fd, s->wire.in, WIRE_IN, until - now) : 0;
        if (res <= 0)
            break;
        drained += (size_t)res;
    }
}
