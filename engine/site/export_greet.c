/* The handshake on the socket. */
#include "export_conn.h"

#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* For all of it: who is not through by then is not going to be. */
#define GREET_TIME (30 * IO_S)
#define SEND_TIME  (10 * IO_S)

/* Receives more of the client's message, of which [pos, fill) is there. */
static int receive(struct conn *c, uint64_t deadline)
{
    uint64_t now = io_now(fiber_io());
    int n;
    memmove(c->in->mem, c->in->mem + c->pos, c->fill - c->pos);
    c->fill -= c->pos;
    c->pos = 0;
    ASSERT(c->fill < EXPORT_BUF);
    if (now >= deadline)
        return -ETIMEDOUT;
    n = fio_recv(c->fd, c->in->mem + c->fill, EXPORT_BUF - c->fill, deadline - now);
    if (n > 0)
        c->fill += (uint32_t)n;
    return n == 0 ? -ECONNRESET : n < 0 ? n : 0;
}

static int haggle(struct conn *c, struct nbd_handshake *h, struct bytes_out *out)
{
    uint64_t deadline = io_now(fiber_io()) + GREET_TIME;
    for (;;) {
        size_t used;
        int res;
        enum nbd_next next =
            nbd_handshake_take(h, c->in->mem + c->pos, c->fill - c->pos, &used, out);
        c->pos += (uint32_t)used;
        res = out->len ? fio_send_all(c->fd, out->p, out->len, SEND_TIME) : 0;
        out->len = 0;
        if (res < 0)
            return res;
        if (next == NBD_TRANSMIT)
            return 0;
        if (next == NBD_CLOSE)
            return -ECONNABORTED;
        if (used == 0)
            res = receive(c, deadline);
        if (res < 0)
            return res;
    }
}

int greet(struct conn *c)
{
    struct listener *l = c->listener;
    struct nbd_handshake h;
    struct bytes_out out = bytes_out(NBD_ANSWER_MAX);
    uint8_t greeting[NBD_GREETING_LEN];
    int res;
    c->in = buf_take(c);
    if (!c->in)
        return -ECANCELED;
    nbd_handshake_init(&h, l->offers, l->count);
    nbd_handshake_greeting(greeting);
    res = fio_send_all(c->fd, greeting, sizeof greeting, SEND_TIME);
    if (res == 0)
        res = haggle(c, &h, &out);
    bytes_free(&out);
    if (h.why)
        log_warn("nbd %s: connection closed in the handshake: %s", l->path, h.why);
    else if (res == -ETIMEDOUT)
        log_warn("nbd %s: connection closed: no handshake within 30 s", l->path);
    if (res < 0)
        return res;
    c->session = h.session;
    c->volume = l->volumes[h.session.export - l->offers];
    (void)snprintf(c->who, sizeof c->who, "%s", c->volume->name);
    return 0;
}
