/* The memory of a connection: buffers and requests. */
#include "export_conn.h"

#include <errno.h>
#include <stdlib.h>

struct buf *buf_take(struct conn *c)
{
    struct buf *b;
    while (!c->free && c->made == EXPORT_BUFS)
        if (fiber_wait(&c->freed, FIBER_FOREVER) < 0)
            return NULL;
    b = c->free;
    if (b) {
        c->free = b->next;
    } else {
        b = err_calloc(1, sizeof *b);
        b->mem = aligned_alloc(4096, EXPORT_BUF);
        ASSERT(b->mem != NULL);
        c->made++;
    }
    b->used = 0;
    b->refs = 1;
    return b;
}

void buf_drop(struct conn *c, struct buf *b)
{
    ASSERT(b->refs > 0);
    if (--b->refs > 0)
        return;
    b->next = c->free;
    c->free = b;
    fiber_wake_one(&c->freed);
}

int buf_reserve(struct conn *c, uint32_t len, struct buf **buf, uint8_t **at)
{
    struct buf *b = c->out;
    ASSERT(len <= EXPORT_BUF);
    if (b && b->refs == 1)
        b->used = 0;
    if (!b || EXPORT_BUF - b->used < len) {
        if (b)
            buf_drop(c, b);
        c->out = NULL;
        c->out = b = buf_take(c);
        if (!b)
            return -ECANCELED;
    }
    b->refs++;
    *buf = b;
    *at = b->mem + b->used;
    b->used += len;
    return 0;
}

struct request *request_new(struct conn *c, const struct nbd_request *r)
{
    struct request *rq;
    while (c->requests == EXPORT_REQUESTS)
        if (fiber_wait(&c->ended, FIBER_FOREVER) < 0)
            return NULL;
    rq = c->spare;
    if (rq)
        c->spare = rq->next;
    else
        rq = err_malloc(sizeof *rq);
    c->requests++;
    rq->conn = c;
    rq->r = *r;
    rq->pending = 1;
    rq->res = 0;
    rq->text = NULL;
    rq->in_pieces = rq->synced = false;
    rq->slot_buf = NULL;
    rq->slot = NULL;
    rq->end = (struct item){0};
    return rq;
}

void request_free(struct request *rq)
{
    struct conn *c = rq->conn;
    ASSERT(rq->pending == 0 && c->requests > 0);
    c->requests--;
    rq->next = c->spare;
    c->spare = rq;
    fiber_wake_one(&c->ended);
}

void buf_free_all(struct conn *c)
{
    ASSERT(c->requests == 0);
    if (c->in)
        buf_drop(c, c->in);
    if (c->out)
        buf_drop(c, c->out);
    c->in = c->out = NULL;
    for (struct buf *b; (b = c->free); c->made--) {
        c->free = b->next;
        free(b->mem);
        free(b);
    }
    ASSERT(c->made == 0);
    for (struct request *rq; (rq = c->spare);) {
        c->spare = rq->next;
        free(rq);
    }
}
