#include "rounds.h"

#include "err.h"

#include <errno.h>
#include <stdlib.h>

struct rounds_caller {
    struct rounds_caller *next;
    bool done;
    int res;
};

static void forget(struct rounds_caller **list, const struct rounds_caller *c)
{
    while (*list && *list != c)
        list = &(*list)->next;
    if (*list)
        *list = c->next;
}

static void answer(struct rounds *r, int res)
{
    for (struct rounds_caller *c = r->served; c; c = c->next) {
        c->done = true;
        c->res = res;
    }
    r->served = NULL;
}

/* Puts those whose leader left back in front of those who came since. */
static void hand_on(struct rounds *r, struct rounds_caller *self)
{
    struct rounds_caller **end = &r->served;
    forget(&r->served, self);
    while (*end)
        end = &(*end)->next;
    *end = r->waiting;
    r->waiting = r->served;
    r->served = NULL;
    self->done = true;
    self->res = -ECANCELED;
}

static void lead(struct rounds *r, struct rounds_caller *self, int (*fn)(void *arg), void *arg)
{
    int res;
    r->running = true;
    r->served = r->waiting;
    r->waiting = NULL;
    res = fn(arg);
    if (res == -ECANCELED && fiber_cancelled())
        hand_on(r, self);
    else
        answer(r, res);
    r->running = false;
    fiber_wake_all(&r->turn);
}

int rounds_join(struct rounds *r, int (*fn)(void *arg), void *arg)
{
    struct rounds_caller *self = err_calloc(1, sizeof *self);
    int res;
    self->next = r->waiting;
    r->waiting = self;
    while (!self->done) {
        if (!r->running) {
            lead(r, self, fn, arg);
            continue;
        }
        if (fiber_wait(&r->turn, FIBER_FOREVER) == -ECANCELED && !self->done) {
            forget(&r->waiting, self);
            forget(&r->served, self);
            self->res = -ECANCELED;
            break;
        }
    }
    res = self->res;
    free(self);
    return res;
}
