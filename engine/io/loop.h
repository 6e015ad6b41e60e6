/* loop.h: private to io: what uring.c (the loop), verbs.c (the verbs) and connect.c share.
 *
 * A request is in one place at a time, which req->op tells together with its operation, so that a
 * cancel knows where to look. */
#ifndef RELAIS_LOOP_H
#define RELAIS_LOOP_H

#include "err.h"
#include "io.h"
#include "pool.h"
#include "quick.h"
#include "sys.h"

#include <liburing.h>
#include <pthread.h>

/* Operations that the ring does; verbs.c's prepare fills in the SQE from req->args. */
enum loop_op {
    LOOP_OPEN = 1, /* path, flags, mode */
    LOOP_CLOSE,    /* fd */
    LOOP_READ,     /* fd, buf, len, off */
    LOOP_WRITE,    /* fd, buf, len, off */
    LOOP_SYNC,     /* fd, data only */
    LOOP_RENAME,   /* from, to */
    LOOP_UNLINK,   /* path */
    LOOP_MKDIR,    /* path, mode */
    LOOP_ACCEPT,   /* fd, peer */
    LOOP_CONNECT,  /* fd, sockaddr, its length */
    LOOP_RECV,     /* fd, buf, len */
    LOOP_SEND,     /* fd, buf, len */
    LOOP_SHUTDOWN, /* fd */
    LOOP_TIMER,    /* a struct __kernel_timespec */
    LOOP_POLL,     /* fd; the loop's own, not counted */
    LOOP_NO_OP     /* not the ring's */
};
#define LOOP_OP(req) ((enum loop_op)((req)->op & 0xff))

enum loop_place {
    PLACE_NONE = 0,     /* completed */
    PLACE_PARKED = 1,   /* in u->parked: waits for a free SQE */
    PLACE_RING = 2,     /* the kernel's; in u->cancels too when a cancel waits for an SQE */
    PLACE_POOL = 3,     /* args[8]: the sys_call */
    PLACE_DEFERRED = 4, /* in u->deferred: completes in a later turn */
    PLACE_FOREIGN = 5,  /* expected; another thread will post it */
    PLACE_CONNECT = 6   /* connect.c's; args[0]: its state */
};
#define LOOP_PLACE(req) ((enum loop_place)((req)->op >> 8 & 0xff))
#define LOOP_CANCELLED  (1 << 16) /* a cancel was asked for */
#define LOOP_CANCELING  (1 << 17) /* in u->cancels */

struct loop_list {
    struct io_req *head, *tail;
};
void loop_list_append(struct loop_list *l, struct io_req *req);
void loop_list_remove(struct loop_list *l, struct io_req *req);

struct signals;

struct uring {
    struct io io;
    struct io_uring ring;
    bool enabled; /* by the thread that runs the loop: only that one may submit */
    bool stop;
    uint64_t pending; /* requests that have not completed, the loop's own two polls excepted */
    uint64_t orphans; /* those of them that are connect.c's lookups whose caller is gone */
    struct loop_list parked, cancels, deferred;
    struct pool *pools[IO_WORK_CLASSES];
    unsigned workers;
    struct quick quick;
    struct signals *signals;

    /* What other threads completed. They write to the eventfd only when the loop sleeps. */
    pthread_mutex_t lock;
    struct loop_list posted;
    bool asleep;
    int wake_fd;
    struct io_req wake;
};

static inline struct uring *loop_of(struct io *io)
{
    return (struct uring *)io;
}

/* Hands a request with its args set to the ring, or to a thread (whose result completes it), or
 * completes it with res in a later turn. All count it as pending. */
void loop_submit(struct uring *u, struct io_req *req, enum loop_op op);
void loop_call(struct uring *u, struct io_req *req, struct pool *pool, sys_call *fn);
void loop_defer(struct uring *u, struct io_req *req, int res);
/* loop_defer for a request that is pending already. */
void loop_finish(struct uring *u, struct io_req *req, int res);
/* Any thread: the request, which is pending, completes with req->res. */
void loop_post(struct uring *u, struct io_req *req);

/* verbs.c */
extern const struct io_ops loop_ops;
void verbs_prepare(struct io_uring_sqe *sqe, struct io_req *req);
/* The verb's result for the operation's; true: interrupted for nothing, submit it again. */
bool verbs_again(struct io_req *req, int *res);

/* connect.c */
void connect_start(struct uring *u, struct io_req *req, const struct io_addr *addr);
void connect_cancel(struct uring *u, struct io_req *req);
/* Frees an orphan that completed while the loop no longer runs. */
void connect_drop(struct uring *u, struct io_req *step);

#endif
