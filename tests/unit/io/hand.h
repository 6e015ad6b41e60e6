/* hand.h: a loop of virtual time that a test turns by hand. Defers and timers work; what is
 * `expect`ed is completed by the test; everything else is absent. */
#ifndef RELAIS_HAND_H
#define RELAIS_HAND_H

#include "io.h"

#include <errno.h>

struct hand {
    struct io io;
    uint64_t now;
    struct io_req *deferred, **deferred_end;
    struct io_req *timers; /* args[0]: deadline */
    struct io_req *manual; /* the last expected one */
    int cancels;
};

static struct hand *hand_of(struct io *io)
{
    return (struct hand *)io;
}

static void hand_defer_res(struct hand *h, struct io_req *req, int res)
{
    req->res = res;
    req->next = NULL;
    *h->deferred_end = req;
    h->deferred_end = &req->next;
}

static void hand_defer(struct io *io, struct io_req *req)
{
    hand_defer_res(hand_of(io), req, 0);
}

static void hand_timer(struct io *io, struct io_req *req, uint64_t ns)
{
    struct hand *h = hand_of(io);
    req->args[0] = h->now + ns;
    req->next = h->timers;
    h->timers = req;
}

static void hand_cancel(struct io *io, struct io_req *req)
{
    struct hand *h = hand_of(io);
    h->cancels++;
    for (struct io_req **p = &h->timers; *p; p = &(*p)->next)
        if (*p == req) {
            *p = req->next;
            hand_defer_res(h, req, -ECANCELED);
            return;
        }
}

static void hand_expect(struct io *io, struct io_req *req)
{
    hand_of(io)->manual = req;
}

static uint64_t hand_now(struct io *io)
{
    return hand_of(io)->now;
}

static const struct io_ops hand_ops = {
    .defer = hand_defer,
    .timer = hand_timer,
    .cancel = hand_cancel,
    .expect = hand_expect,
    .now = hand_now,
};

static bool hand_turn(struct hand *h)
{
    struct io_req *list = h->deferred;
    h->deferred = NULL;
    h->deferred_end = &h->deferred;
    if (list) {
        while (list) {
            struct io_req *req = list;
            list = req->next;
            req->done(req, req->res);
        }
        return true;
    }
    struct io_req **first = &h->timers;
    for (struct io_req **p = &h->timers; *p; p = &(*p)->next)
        if ((*p)->args[0] < (*first)->args[0])
            first = p;
    if (!*first)
        return false;
    struct io_req *req = *first;
    *first = req->next;
    h->now = req->args[0];
    req->done(req, 0);
    return true;
}

static void hand_run(struct hand *h)
{
    while (hand_turn(h))
        ;
}

#endif
