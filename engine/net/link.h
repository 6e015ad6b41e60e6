/* link.h: a connection that carries frames: TLS 1.3 with both ends pinned, or a plain unix socket.
 *
 * Identity is WireGuard's habit: a peer is a name and a public key. Each end shows a self-signed
 * certificate made from its Ed25519 link key; no CA, no names, no expiry is looked at, only whether
 * the key is pinned (RFC 8446; certificate as carrier as RFC 5280). All calls (wait). One fiber may
 * read while others write: writes are whole frames under a fair lock. */
#ifndef RELAIS_LINK_H
#define RELAIS_LINK_H

#include "fio.h"
#include "key.h"
#include "message.h"

struct link;
struct tls; /* our key, the pinned peers */

struct tls_peer {
    char name[NAME_MAX_LEN + 1];
    struct key_public key; /* KEY_LINK */
};
/* Copies the peers; borrows the key, which must outlive it, as it must its links. Errors: INTERNAL.
 */
int tls_new(struct tls **out, const struct key_secret *link_key, const struct tls_peer *peers,
            size_t count, struct err *e);
void tls_free(struct tls *t);

/* Pins one more peer, or another key for it; unpin: connections that are there are not touched. */
void tls_pin(struct tls *t, const struct tls_peer *peer);
void tls_unpin(struct tls *t, const char *name);
/* Whether those may come in whose key is pinned for nobody, if they ask for it by
 * link_tls_connect_guest: to be enrolled. Off at first. */
void tls_welcome_guests(struct tls *t, bool welcome);
const struct key_public *tls_key(const struct tls *t); /* ours */

/* Takes over fd (closed in any case). The handshake must end within timeout_ns. expect: the peer
 * that must answer (connecting), NULL: any pinned one (accepting). Errors: AUTH (not pinned, or not
 * the one expected; names the fingerprint it showed), NET, PROTO. */
int link_tls_connect(struct link **out, int fd, struct tls *t, const char *expect,
                     uint64_t timeout_ns, struct err *e);
int link_tls_accept(struct link **out, int fd, struct tls *t, uint64_t timeout_ns, struct err *e);
/* To whoever shows a key whose SHA-256 begins with pin; we need not be known there. Errors: AUTH
 * (it shows another key, or lets no guests in) also with the first link_recv. */
int link_tls_connect_guest(struct link **out, int fd, struct tls *t, const uint8_t *pin,
                           size_t pin_len, uint64_t timeout_ns, struct err *e);
/* The one who connected is a guest: whatever key it showed, it has no name. */
bool link_guest(const struct link *l);
/* The key that the peer showed. Not of plain links. */
const struct key_public *link_key(const struct link *l);
/* 32 bytes that both ends have of this connection and of no other (RFC 9266, tls-exporter). Errors:
 * INTERNAL. */
#define LINK_BINDING_LEN 32
int link_binding(const struct link *l, uint8_t dst[LINK_BINDING_LEN], struct err *e);
/* A unix socket: who may connect is the file mode's business. */
int link_plain(struct link **out, int fd, struct err *e);

/* "" for plain links. */
const char *link_peer(const struct link *l);

/* A link breaks once and for all: by an error below, by a fiber cancelled while its frame was under
 * way, by link_shutdown. From then on every call fails with the reason. In TLS 1.3 a client learns
 * only with its first link_recv that the server refused its key: AUTH. */

#define LINK_SEND_NS     (30 * IO_S) /* without progress; then the peer is taken for gone */
#define LINK_REKEY_BYTES (64 * GIB)  /* RFC 8446, 5.5: AES-GCM ages after 2^24.5 records */

/* Sends one frame. payload stays the caller's. No progress for LINK_SEND_NS: NET. A message of more
 * than MESSAGE_MAX: LIMIT, and the link stays whole; a payload of more than PAYLOAD_MAX is a
 * defect. */
int link_send(struct link *l, uint8_t type, uint32_t id, const ProtobufCMessage *any,
              const void *payload, uint32_t payload_len, struct err *e);
/* Receives the header and message of the next frame into h and m. Its payload, if h says there is
 * one, must be taken with link_recv_payload (in one or more calls) before the next link_recv.
 * Nothing for idle_ns (FIBER_FOREVER: no limit): NET. Any error: h->type 0. Malformed frames:
 * PROTO, LIMIT. */
int link_recv(struct link *l, struct frame_header *h, struct message *m, uint64_t idle_ns,
              struct err *e);
/* Its dst is not touched once the link is broken, even while the call has not returned yet. */
int link_recv_payload(struct link *l, void *dst, uint32_t len, struct err *e);
/* The peer closed in good order, between two frames. */
bool link_ended(const struct link *l);

/* Sends Refused with code and text of why; foreign bytes in the text are made fit to travel. */
int link_refuse(struct link *l, uint32_t id, const struct err *why, struct err *e);
/* For servers: answers the Ping that link_recv gave. */
int link_answer_ping(struct link *l, const struct frame_header *h, const struct message *m,
                     struct err *e);

/* Payload and message bytes that went out and came in, whole life. */
uint64_t link_bytes_out(const struct link *l);
uint64_t link_bytes_in(const struct link *l);
/* When (io_now) the peer last sent something, and when its kernel was last seen to have
 * acknowledged something: as of this call, so ask now and then. Whether a frame is being sent. */
uint64_t link_last_in(const struct link *l);
uint64_t link_last_out(struct link *l);
bool link_sending(const struct link *l);

/* Changes the key we send with, before the next frame. Happens by itself each LINK_REKEY_BYTES. */
void link_rekey(struct link *l);
/* Makes every call in flight on it fail soon. Idempotent. Does not free. Works in a cancelled
 * fiber. */
void link_shutdown(struct link *l);
/* Closes and frees; no call may be in flight. NULL is fine. Works in a cancelled fiber. */
void link_close(struct link *l);

#endif
