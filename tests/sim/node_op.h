/* node_op.h: what the halves of a node's io share: requests in flight and handles. */
#ifndef SIM_NODE_OP_H
#define SIM_NODE_OP_H

#include "node.h"

#define VERBS(X)                                                                                   \
    X(OPEN, "open")                                                                                \
    X(CLOSE, "close")                                                                              \
    X(READ, "read")                                                                                \
    X(WRITE, "write")                                                                              \
    X(SYNC, "sync")                                                                                \
    X(TRUNCATE, "truncate")                                                                        \
    X(PUNCH, "punch")                                                                              \
    X(RUN, "run")                                                                                  \
    X(FSTAT, "fstat")                                                                              \
    X(LOCK, "lock")                                                                                \
    X(STAT, "stat")                                                                                \
    X(RENAME, "rename")                                                                            \
    X(UNLINK, "unlink")                                                                            \
    X(MKDIR, "mkdir")                                                                              \
    X(SYNC_DIR, "sync_dir")                                                                        \
    X(LIST, "list")                                                                                \
    X(SPACE, "space")                                                                              \
    X(LISTEN, "listen")                                                                            \
    X(ACCEPT, "accept")                                                                            \
    X(CONNECT, "connect")                                                                          \
    X(RECV, "recv")                                                                                \
    X(SEND, "send")                                                                                \
    X(SHUTDOWN, "shutdown")                                                                        \
    X(TIMER, "timer") X(WORK, "work") X(COMMAND, "command") X(DEFER, "defer") X(EXPECT, "expect")

enum verb {
#define X(name, text) VERB_##name,
    VERBS(X)
#undef X
};

struct endpoint;
struct listener;

/* A request in flight: its event, when it fires, runs the effect and completes. Requests that wait
 * for something else (data, a peer) are parked: without an event, in a queue of what they wait for.
 */
struct op {
    struct world_event ev; /* first */
    struct node_io *io;
    struct io_req *req;
    struct op *next, *prev; /* all in flight of the io */
    enum verb verb;
    int (*effect)(struct op *op); /* the result */
    int res;
    bool ready;                /* res is set: only the completion is to come */
    struct op **queue, *after; /* parked: in which queue, and who is behind */
    /* arguments */
    int fd;
    const char *path, *path2;
    void *buf;
    const void *data;
    size_t len;
    uint64_t off, mark;
    int flags;
    void *out;
    int (*fn)(void *arg);
    void *arg;
    uint64_t tries;
    uint64_t stolen;     /* of a timer: what its process's clock had lost when it was set */
    struct inode *inode; /* held */
};

enum handle_kind { HANDLE_NONE, HANDLE_FILE, HANDLE_LISTENER, HANDLE_STREAM };
struct handle {
    enum handle_kind kind;
    int flags;
    struct inode *inode;
    struct listener *listener;
    struct endpoint *endpoint;
};

#define NODE_HANDLES 1024
#define NODE_FIRST   3

struct node_io {
    struct io io; /* first */
    struct node *node;
    struct world *w;
    unsigned incarnation;
    bool dead;
    unsigned account; /* memory.h */
    uint64_t memory_max;
    uint64_t still_until; /* it notices nothing before that */
    uint64_t stolen;      /* how long its clock stood still */
    struct op *ops;
    struct rng rng;
    struct handle *handles;
};

struct node {
    struct world *w;
    char host[64];
    unsigned number; /* among the world's nodes: its place in the net's matrix */
    struct disk *disk;
    struct node_io *live;
    unsigned incarnation;
    int64_t wall_offset;
    struct node_script script;
};

/* A new request, or NULL when the process is dead: then its completion is already on its way. */
struct op *op_new(struct io *io, struct io_req *req, enum verb verb, int (*effect)(struct op *));
/* Fires the effect after that time. */
void op_after(struct op *op, uint64_t ns);
/* Completes with res in a later turn of this instant; unparks. */
void op_finish(struct op *op, int res);
/* Unparks and runs the effect again. */
void op_retry(struct op *op);
/* Waits in a queue (FIFO) until op_finish. */
void op_park(struct op *op, struct op **queue);
/* The handle of that kind, or NULL with *res set to -EBADF. */
struct handle *op_handle(struct op *op, enum handle_kind kind, int *res);
/* A free handle number, or -EMFILE. */
int node_handle_new(struct node_io *io, enum handle_kind kind);
void node_handle_close(struct node_io *io, int fd);

/* The verbs, by file. */
void node_disk_verbs(struct io_ops *ops);
void node_net_verbs(struct io_ops *ops);
/* What requests in flight may have done to the disk when the power went. */
void node_disk_power_cut(struct node_io *io);

#endif
