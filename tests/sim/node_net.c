/* node_net.c: the socket verbs of a node's io, over net.h. */
#include "err.h"
#include "net.h"

#include <errno.h>

#define CONNECT_GIVE_UP 60u /* seconds of silence, roughly what SYN retries add up to */

static struct op *socket_op(struct io *io, struct io_req *req, enum verb verb, int fd,
                            enum handle_kind kind, int (*effect)(struct op *))
{
    struct op *op = op_new(io, req, verb, effect);
    int res;
    if (!op)
        return NULL;
    op->fd = fd;
    if (!op_handle(op, kind, &res)) {
        op_finish(op, res);
        return NULL;
    }
    return op;
}

static int give_handle(struct op *op, struct endpoint *e)
{
    int fd = node_handle_new(op->io, HANDLE_STREAM);
    if (fd < 0)
        net_close(e);
    else
        op->io->handles[fd - NODE_FIRST].endpoint = e;
    return fd;
}

static int do_listen(struct op *op)
{
    struct listener *l;
    int fd, rc = net_listen(op->io->w->net, op->io, op->data, &l);
    if (rc < 0)
        return rc;
    fd = node_handle_new(op->io, HANDLE_LISTENER);
    if (fd < 0)
        net_unlisten(l);
    else
        op->io->handles[fd - NODE_FIRST].listener = l;
    return fd;
}

static void verb_listen(struct io *io, struct io_req *req, const struct io_addr *addr, mode_t mode)
{
    struct op *op = op_new(io, req, VERB_LISTEN, do_listen);
    (void)mode;
    if (!op)
        return;
    op->data = addr;
    op_after(op, 10000);
}

static int do_accept(struct op *op)
{
    int res;
    struct handle *h = op_handle(op, HANDLE_LISTENER, &res);
    struct endpoint *e;
    if (!h)
        return res;
    (void)net_accept(op, h->listener, &e, op->out);
    return e ? give_handle(op, e) : 0;
}

static void verb_accept(struct io *io, struct io_req *req, int fd, struct io_addr *peer)
{
    struct op *op = socket_op(io, req, VERB_ACCEPT, fd, HANDLE_LISTENER, do_accept);
    if (!op)
        return;
    op->out = peer;
    op_after(op, 1000);
}

static int do_connect(struct op *op)
{
    struct endpoint *e;
    int rc = net_connect(op->io->w->net, op->io, op->data, &e);
    if (rc == 0)
        return give_handle(op, e);
    if (rc != -EAGAIN)
        return rc;
    if (++op->tries > CONNECT_GIVE_UP / 2)
        return -ETIMEDOUT;
    op_after(op, rng_between(&op->io->w->rng, IO_S, 3 * IO_S));
    return 0;
}

static void verb_connect(struct io *io, struct io_req *req, const struct io_addr *addr)
{
    struct op *op = op_new(io, req, VERB_CONNECT, do_connect);
    if (!op)
        return;
    op->data = addr;
    op_after(op, net_round_trip(op->io->w->net, op->io, addr) + 1000);
}

static int do_recv(struct op *op)
{
    int res;
    struct handle *h = op_handle(op, HANDLE_STREAM, &res);
    return h ? net_recv(op, h->endpoint, op->buf, op->len) : res;
}

static void verb_recv(struct io *io, struct io_req *req, int fd, void *buf, size_t len)
{
    struct op *op = socket_op(io, req, VERB_RECV, fd, HANDLE_STREAM, do_recv);
    if (!op)
        return;
    op->buf = buf;
    op->len = len;
    op_after(op, 1000);
}

static int do_send(struct op *op)
{
    int res;
    struct handle *h = op_handle(op, HANDLE_STREAM, &res);
    return h ? net_send(op, h->endpoint, op->data, op->len) : res;
}

static void verb_send(struct io *io, struct io_req *req, int fd, const void *buf, size_t len)
{
    struct op *op = socket_op(io, req, VERB_SEND, fd, HANDLE_STREAM, do_send);
    if (!op)
        return;
    op->data = buf;
    op->len = len;
    op_after(op, 1000);
}

static int do_shutdown(struct op *op)
{
    int res;
    struct handle *h = op_handle(op, HANDLE_STREAM, &res);
    return h ? net_shutdown(h->endpoint) : res;
}

static void verb_shutdown(struct io *io, struct io_req *req, int fd)
{
    struct op *op = socket_op(io, req, VERB_SHUTDOWN, fd, HANDLE_STREAM, do_shutdown);
    if (op)
        op_after(op, 1000);
}

void node_net_verbs(struct io_ops *ops)
{
    ops->listen = verb_listen;
    ops->accept = verb_accept;
    ops->connect = verb_connect;
    ops->recv = verb_recv;
    ops->send = verb_send;
    ops->shutdown = verb_shutdown;
}
