/* The sender: replies that lie side by side are one send. */
#include "export_conn.h"

#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void send_item(struct conn *c, struct item *it)
{
    it->next = NULL;
    *c->ready_tail = it;
    c->ready_tail = &it->next;
    fiber_wake_one(&c->to_send);
}

static struct item *pop(struct conn *c)
{
    struct item *it = c->ready;
    c->ready = it->next;
    if (!c->ready)
        c->ready_tail = &c->ready;
    return it;
}

static void item_done(struct conn *c, struct item *it)
{
    struct request *rq = it->request;
    void *memory = it->memory;
    if (it->buf)
        buf_drop(c, it->buf);
    if (rq)
        request_free(rq);
    free(memory);
}

/* Nothing more can be sent: what is ready is forgotten, and the reader finds the end. */
static void give_up(struct conn *c, int res)
{
    if (!c->broken && res != -EPIPE && res != -ECONNRESET)
        log_info("nbd %s: sending: %s", c->who, strerror(-res));
    c->broken = true;
    (void)fio_shutdown(c->fd);
}

static void send_bytes(struct conn *c, const void *p, size_t len)
{
    int res = c->broken ? 0 : conn_send_all(c, p, len, FIBER_FOREVER);
    if (res < 0)
        give_up(c, res);
}

/* The data of a long read as one simple reply. Once it has begun there is no way to report an error
 * but to hang up ("Simple reply message"). */
static void send_stream(struct conn *c, struct item *it)
{
    struct request *rq = it->request;
    struct capture *v = c->volume->capture;
    uint8_t reply[NBD_REPLY_END_MAX];
    for (uint32_t done = 0; done < rq->r.length && !c->broken;) {
        uint32_t left = rq->r.length - done, n = left < EXPORT_PIECE ? left : EXPORT_PIECE;
        int res = capture_read(v, rq->slot, n, rq->r.offset + done);
        if (res < 0) {
            log_failure(c, &rq->r, n, rq->r.offset + done, res);
            if (done > 0)
                give_up(c, -EPIPE);
            else
                send_bytes(c, reply, nbd_reply_end(reply, &c->session, &rq->r, nbd_error(res), ""));
            break;
        }
        if (done == 0)
            send_bytes(
                c, reply,
                nbd_reply_data(reply, &c->session, rq->r.cookie, rq->r.offset, rq->r.length, true));
        send_bytes(c, rq->slot, n);
        done += n;
    }
    item_done(c, it);
}

void send_main(void *conn)
{
    struct conn *c = conn;
    for (;;) {
        struct item *first, *last;
        size_t len;
        while (!c->ready && !(c->closing && c->requests == 0))
            (void)fiber_wait(&c->to_send, FIBER_FOREVER);
        if (!c->ready)
            return;
        first = last = pop(c);
        if (first->stream) {
            send_stream(c, first);
            continue;
        }
        for (len = first->len; c->ready && !c->ready->stream && c->ready->at == first->at + len;) {
            last = last->next = pop(c);
            len += last->len;
        }
        last->next = NULL;
        send_bytes(c, first->at, len);
        for (struct item *next; first; first = next) {
            next = first->next;
            item_done(c, first);
        }
    }
}
