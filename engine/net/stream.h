/* stream.h: bytes over a connected socket, through OpenSSL or as they are: the one pump between SSL
 * and socket, under links (link.h) and exports.
 *
 * One fiber may receive while others send. Who sends holds `writing` and only then are bytes in
 * wire.out sent and removed; the receiver's SSL calls may append to it at any time, which leaves
 * those being sent where they are.
 *
 * Results: 0 or as said, or a negative errno: -ETIMEDOUT when nothing moved for the given time;
 * -EPROTO when OpenSSL failed: the reason is in its queue of this thread, to be taken before the
 * next wait. After an error the stream is of no use but for stream_linger. */
#ifndef RELAIS_STREAM_H
#define RELAIS_STREAM_H

#include "fio.h"
#include "wire.h"

#include <openssl/ssl.h>

struct stream {
    int fd;   /* the caller's */
    SSL *ssl; /* NULL: plain */
    struct wire wire;
    struct fiber_mutex writing;
    bool eof;         /* the peer has said its last */
    uint64_t pushed;  /* bytes that our kernel took */
    uint64_t last_in; /* io_now of the last byte */
};

/* A plain stream. */
void stream_init(struct stream *s, int fd);
/* Frees its memory and the SSL; nobody is sending. */
void stream_free(struct stream *s);
/* From here on it is TLS; ssl was made with wire_bio(&s->wire) and is the stream's. To be done by
 * `deadline` (io_now): else -ETIMEDOUT. -ECONNRESET: the peer closed. (waits) */
int stream_handshake(struct stream *s, SSL *ssl, uint64_t deadline);
/* Closing at once, with bytes of the peer's unread, would reset the connection and might destroy
 * the alert on its way: lets the peer hang up first, for a moment. (waits) */
void stream_linger(struct stream *s);

/* -- Sending, under s->writing -- */

/* Appends to what will be sent, and sends when there is no more room. (waits) */
int stream_put(struct stream *s, const void *p, size_t len, uint64_t timeout_ns);
/* Sends what was put. (waits) */
int stream_flush(struct stream *s, uint64_t timeout_ns);

/* -- Receiving, by one fiber -- */

/* Takes up to len bytes that are here already; *n 0: none are. May have to answer the peer's TLS.
 * (waits) */
int stream_take(struct stream *s, void *dst, size_t len, size_t *n, uint64_t timeout_ns);
/* When nothing could be taken: receives more, or finds s->eof. (waits) */
int stream_fill(struct stream *s, uint64_t timeout_ns);
/* For the receiver, whose SSL calls may have left something to say. When a sender is at it, that
 * one's flush takes it along: waiting for it could be for ever, were both ends to do so. (waits) */
int stream_flush_if_free(struct stream *s, uint64_t timeout_ns);

/* -- Both as fio.h has them -- */

/* 1 to len bytes, or 0: the end. (waits) */
int stream_recv(struct stream *s, void *dst, size_t len, uint64_t timeout_ns);
/* Takes the lock itself. (waits) */
int stream_send_all(struct stream *s, const void *p, size_t len, uint64_t timeout_ns);

#endif
