/* export_conn.h: what the files of an export share: buffers, requests, replies, one connection.
 * Private to export*.c.
 *
 * Buffers (export_buf.c). One struct buf holds either what was received, and then the payloads of
 * writes in it are used in place, or what is to be sent. `refs` counts who needs it: each piece or
 * reply in it, and the connection while it is its current one. When only the connection is left, it
 * is filled from the start again.
 *
 * Requests. A request is split into jobs, one per piece; the reader holds it, too, as long as it
 * adds jobs. When the last of them lets go, the reply that ends it is queued, or, when a read fits
 * one piece, the piece is its reply. It is freed when that is sent.
 *
 * Replies. The place of a reply in the send buffer is set aside when the request is read: requests
 * mostly end in the order in which they began, so what is ready lies side by side, and one send
 * takes it all. One that turns out otherwise (an error's text) is sent from the request's own
 * memory. */
#ifndef RELAIS_EXPORT_CONN_H
#define RELAIS_EXPORT_CONN_H

#include "export.h"
#include "handshake.h"
#include "reply.h"
#include "strangers.h"
#include "stream.h"
#include "x509.h"

struct buf {
    uint8_t *mem;  /* EXPORT_BUF bytes */
    uint32_t used; /* sending: set aside so far */
    unsigned refs;
    struct buf *next; /* in the list of free ones */
};

/* Bytes to be sent. */
struct item {
    const uint8_t *at;
    uint32_t len;
    struct buf *buf;         /* a reference to give back; NULL: the request's own memory */
    struct request *request; /* this is its last item */
    void *memory;            /* to free */
    bool stream;             /* not bytes: the sender reads the request's data as it sends them */
    struct item *next;
};

/* A piece of a request for the crew. The memory for a read, of a write: at. */
struct job {
    struct request *request;
    struct buf *buf;
    uint8_t *at;
    uint32_t len;
    uint64_t off;
    bool sync; /* flushes: the end of a FUA write in pieces */
    struct item item;
    struct job *next;
};

struct request {
    struct conn *conn;
    struct nbd_request r;
    unsigned pending; /* jobs that run, and the reader */
    int res;          /* the first failure */
    const char *text; /* why it is refused */
    bool in_pieces, synced;
    struct buf *slot_buf; /* where its reply goes */
    uint8_t *slot;
    struct job job; /* the first one */
    struct item end;
    uint8_t reply[NBD_REPLY_END_MAX];
    struct request *next; /* in the list of free ones */
};

/* Fibers that run the jobs of a volume. */
struct crew {
    struct io *io;
    struct worker *workers, *idle;
    unsigned count;
    struct job *head, **tail; /* jobs that wait for a worker */
    bool stopping;
};

struct served {
    char name[2 * NAME_MAX_LEN + 2];
    const struct config_volume *config;
    struct capture *capture;
    struct crew crew;
    unsigned connections;
    /* Failures are told once a second: a full disk fails every request. */
    uint64_t failed_at;
    unsigned failures;
    /* Where there was no hole when last looked. What became one since is read as zeroes: true too.
     */
    uint64_t data_start, data_end;
};

struct listener {
    struct exports *exports;
    const struct config_export *at;
    mode_t mode;
    const struct config_owner *owner;
    const struct config_volume *config; /* of the first volume here */
    bool kept;                          /* somebody else holds it, too: it outlives us */
    char name[300];                     /* the path, or tcp:HOST:PORT: for the log */
    int fd;
    struct fiber *fiber;
    struct served **volumes;
    size_t count;
};

/* What the connections of all listeners share. */
struct exports {
    struct io *io;
    struct served *volumes;
    size_t volume_count;
    struct listener *listeners;
    size_t listener_count;
    struct x509 *x509; /* NULL: no listener needs it */
    struct conn *conns;
    unsigned live, max;
    struct strangers door; /* of them, over TCP and not known yet */
    bool full;             /* somebody was turned away, and that was said */
    struct fiber_cond gone;
};

struct conn {
    struct listener *listener;
    struct served *volume; /* once chosen */
    struct nbd_session session;
    /* What this client may choose from, as it was when it came; of the same number. */
    struct nbd_export *offers;
    struct served **choices;
    size_t offer_count;
    int fd;
    struct stream *tls;       /* NULL: in clear */
    struct io_addr peer;      /* over TCP; */
    struct stranger stranger; /* and has not shown a certificate yet */
    struct fiber *reader, *sender;
    bool done;      /* the reader may be joined */
    char from[300]; /* for the log: the listener, or the client's address */
    char who[400];  /* then the volume, and over TCP who the client is */

    struct buf *free;
    unsigned made;
    struct fiber_cond freed;

    struct buf *in; /* bytes [pos, fill) have not been looked at */
    uint32_t pos, fill;
    bool bulk; /* the last request was a large write */

    struct buf *out;
    struct request *spare;
    unsigned requests;
    struct fiber_cond ended; /* a request */

    struct item *ready, **ready_tail;
    struct fiber_cond to_send;
    bool closing; /* no further requests */
    bool broken;  /* nothing can be sent any more */
    struct conn *next;
};

/* ---- export_buf.c ---- */

/* A buffer with one reference; NULL when the fiber was cancelled. Called by the reader only.
 * (waits) */
struct buf *buf_take(struct conn *c);
void buf_drop(struct conn *c, struct buf *b);
/* len bytes of the send buffer and a reference to it. 0 or -ECANCELED. (waits) */
int buf_reserve(struct conn *c, uint32_t len, struct buf **buf, uint8_t **at);
/* Frees the buffers and requests; all have come back. */
void buf_free_all(struct conn *c);
/* A request in flight, held by the reader; NULL when the fiber was cancelled. (waits) */
struct request *request_new(struct conn *c, const struct nbd_request *r);
void request_free(struct request *rq);

/* ---- export_listen.c ---- */

void listener_init(struct listener *l, struct exports *x, const struct config_volume *config);
bool listener_is(const struct listener *l, const struct config_export *at);
/* Errors: NET, IO, OS, naming the address. (waits) */
int listener_open(struct listener *l, const struct export_keeper *keeper, struct err *e);
/* Nobody accepts on it. Works in a cancelled fiber. (waits) */
void listener_close(struct listener *l);

/* ---- export_wire.c ---- */

/* As fio_recv and fio_send_all. (wait) */
int conn_recv(struct conn *c, void *dst, size_t len, uint64_t timeout_ns);
int conn_send_all(struct conn *c, const void *p, size_t len, uint64_t timeout_ns);

/* ---- export_greet.c ---- */

/* Logs why a client is not let in; of those over TCP not more often than people want to read. */
void greet_tell(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* From the greeting to c->session and c->volume; 0, or nonzero when the connection is to be closed.
 * (waits) */
int greet(struct conn *c);

/* ---- export_read.c ---- */

/* Takes requests until the client goes, the connection breaks, or the fiber is cancelled. (waits)
 */
void read_requests(struct conn *c);

/* ---- export_run.c ---- */

void crew_init(struct crew *w, struct io *io);
/* No job may be left. (waits) */
void crew_stop(struct crew *w);
/* Has the job run by the crew. */
void run_job(struct job *j);
/* Logs that a request could not be run, when it is time. */
void log_failure(struct conn *c, const struct nbd_request *r, uint32_t len, uint64_t off, int res);
/* Lets go of a request; the last to do so ends it. */
void request_release(struct request *rq);

/* ---- export_send.c ---- */

void send_item(struct conn *c, struct item *it);
/* The sender's fiber: until the connection is closing and no request is left. */
void send_main(void *conn);

#endif
