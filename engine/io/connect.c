/* Connecting is a name lookup on a thread, unless the host is a literal address, then one attempt
 * after the other through the ring until an address answers. The caller's request stays in
 * PLACE_CONNECT meanwhile, and `step` is what is in flight for it. */
#include "loop.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

struct connecting {
    struct io_req step;
    struct uring *u;
    struct io_req *user; /* NULL: cancelled during the lookup, which nobody can interrupt */
    struct io_addr addr; /* a copy: the lookup outlives a cancelled caller */
    struct sockaddr_un un;
    struct addrinfo *list, *next;
    int fd, error;
    bool cancelled;
};

static void finish(struct connecting *c, int res)
{
    if (c->list)
        freeaddrinfo(c->list);
    loop_finish(c->u, c->user, res);
    free(c);
}

static void on_step(struct io_req *step, int res);

static int attempt(struct connecting *c, int family, const void *addr, socklen_t len)
{
    c->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return -errno;
    sys_tune(c->fd);
    c->step.done = on_step;
    c->step.args[0] = (uint64_t)c->fd;
    c->step.args[1] = sys_arg(addr);
    c->step.args[2] = len;
    loop_submit(c->u, &c->step, LOOP_CONNECT);
    return 0;
}

static void try_next(struct connecting *c)
{
    while (c->next && !c->cancelled) {
        const struct addrinfo *at = c->next;
        c->next = at->ai_next;
        c->error = attempt(c, at->ai_family, at->ai_addr, at->ai_addrlen);
        if (c->error == 0)
            return;
    }
    finish(c, c->cancelled ? -ECANCELED : c->error);
}

static void on_step(struct io_req *step, int res)
{
    struct connecting *c = step->owner;
    if (res == 0) {
        finish(c, c->fd);
        return;
    }
    (void)close(c->fd);
    c->error = res;
    try_next(c);
}

static void on_resolved(struct io_req *step, int res)
{
    struct connecting *c = step->owner;
    if (!c->user) {
        connect_drop(c->u, step);
        return;
    }
    c->next = c->list;
    c->error = res < 0 ? res : -EHOSTUNREACH;
    try_next(c);
}

void connect_drop(struct uring *u, struct io_req *step)
{
    struct connecting *c = step->owner;
    ASSERT(!c->user && u->orphans > 0);
    u->orphans--;
    if (c->list)
        freeaddrinfo(c->list);
    free(c);
}

void connect_start(struct uring *u, struct io_req *req, const struct io_addr *addr)
{
    struct connecting *c = err_calloc(1, sizeof *c);
    c->step.owner = c;
    c->u = u;
    c->user = req;
    c->addr = *addr;
    req->args[0] = sys_arg(c);
    req->op = LOOP_NO_OP | PLACE_CONNECT << 8;
    u->pending++;

    if (addr->path[0]) {
        c->error = sys_unix_addr(&c->un, addr->path);
        if (c->error == 0)
            c->error = attempt(c, AF_UNIX, &c->un, sizeof c->un);
        if (c->error < 0)
            finish(c, c->error);
        return;
    }
    c->step.args[0] = sys_arg(&c->addr);
    c->step.args[1] = sys_arg(&c->list);
    if (sys_resolve_literal(c->step.args) == 0) {
        c->next = c->list;
        c->error = -EHOSTUNREACH;
        try_next(c);
        return;
    }
    c->step.done = on_resolved;
    loop_call(u, &c->step, u->pools[IO_WORK_BLOCKING], sys_resolve);
}

void connect_cancel(struct uring *u, struct io_req *req)
{
    struct connecting *c = sys_ptr(req->args[0]);
    req->op |= LOOP_CANCELLED;
    c->cancelled = true;
    if (LOOP_PLACE(&c->step) != PLACE_POOL) {
        u->io.ops->cancel(&u->io, &c->step);
        return;
    }
    if (pool_remove(u->pools[IO_WORK_BLOCKING], &c->step)) {
        u->pending--; /* the step */
        finish(c, -ECANCELED);
        return;
    }
    u->orphans++;
    c->user = NULL;
    loop_finish(u, req, -ECANCELED);
}
