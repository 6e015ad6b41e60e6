#include "line.h"

#include "log.h"

#include <stdlib.h>

#define PAUSE_NS (500 * IO_MS)

struct line_hop {
    struct caller *caller;
    unsigned users; /* calls that are open on it, and the line while it is the newest */
    bool borrowed;
};

static void hop_leave(struct line_hop *h)
{
    ASSERT(h->users > 0);
    if (--h->users > 0)
        return;
    if (!h->borrowed)
        caller_free(h->caller);
    free(h);
}

static bool works(const struct line_hop *h)
{
    struct err ignored = ERR_INIT;
    return caller_broken(h->caller, &ignored) == 0 && !caller_leaving(h->caller);
}

void line_init(struct line *l, struct caller *first,
               int (*connect)(void *arg, struct caller **out, struct err *e), void *arg)
{
    *l = (struct line){.connect = connect, .arg = arg};
    l->now = err_calloc(1, sizeof *l->now);
    *l->now = (struct line_hop){.caller = first, .users = 1, .borrowed = !connect};
}

void line_close(struct line *l)
{
    if (!l->now)
        return;
    ASSERT(l->now->users == 1);
    hop_leave(l->now);
    l->now = NULL;
}

/* Whether there is still patience, which begins with the first thing that goes wrong. */
static bool patient(struct line *l)
{
    uint64_t now = io_now(fiber_io());
    if (!l->connect || fiber_cancelled())
        return false;
    if (l->lost_since == 0)
        l->lost_since = now;
    return now - l->lost_since < LINE_PATIENCE_NS;
}

/* With the mutex. */
static int mend(struct line *l, struct err *e)
{
    struct line_hop *old = l->now;
    struct caller *c = NULL;
    while (!works(l->now)) {
        struct err why = ERR_INIT;
        if (caller_broken(old->caller, &why) < 0)
            log_warn("%s; trying another connection", why.text);
        if (l->connect(l->arg, &c, e) == 0) {
            l->now = err_calloc(1, sizeof *l->now);
            *l->now = (struct line_hop){.caller = c, .users = 1};
            hop_leave(old);
            return 0;
        }
        if ((e->code != ERR_NET && e->code != ERR_AGAIN && e->code != ERR_IO) || !patient(l) ||
            fiber_sleep(PAUSE_NS) < 0)
            return -(int)e->code;
    }
    return 0;
}

static int ensure(struct line *l, struct err *e)
{
    int rc;
    if (!l->connect || works(l->now))
        return 0;
    if (fiber_lock(&l->mending) < 0)
        return err_set(e, ERR_CANCELED, "a request was cancelled");
    rc = mend(l, e);
    fiber_unlock(&l->mending);
    return rc;
}

int line_start(struct line *l, struct line_call *c, uint8_t type, const ProtobufCMessage *any,
               const void *payload, uint32_t payload_len, struct err *e)
{
    for (;;) {
        int rc = ensure(l, e);
        if (rc < 0)
            return rc;
        c->hop = l->now;
        c->hop->users++;
        rc = call_start(c->hop->caller, &c->call, type, any, payload, payload_len, e);
        if (rc == 0)
            return 0;
        bool broke = !works(c->hop);
        hop_leave(c->hop);
        if (!broke || rc == -ERR_CANCELED || !patient(l))
            return rc;
    }
}

int line_wait(struct line *l, struct line_call *c, struct err *e)
{
    int rc = call_wait(&c->call, e);
    if (rc == 0)
        l->lost_since = 0;
    return rc;
}

void line_end(struct line *l, struct line_call *c)
{
    (void)l;
    call_end(&c->call);
    hop_leave(c->hop);
    c->hop = NULL;
}

bool line_again(struct line *l, const struct line_call *c, int rc)
{
    struct err ignored = ERR_INIT;
    if (rc == 0 || rc == -ERR_CANCELED || !patient(l))
        return false;
    if (caller_broken(c->hop->caller, &ignored) < 0)
        return true;
    return rc == -ERR_AGAIN && fiber_sleep(PAUSE_NS) == 0;
}

int line_ask(struct line *l, struct line_call *c, uint8_t type, const ProtobufCMessage *any,
             const void *payload, uint32_t payload_len, struct err *e)
{
    for (;;) {
        int rc = line_start(l, c, type, any, payload, payload_len, e);
        if (rc < 0)
            return rc;
        rc = line_wait(l, c, e);
        if (rc == 0)
            return 0;
        bool again = line_again(l, c, rc);
        line_end(l, c);
        if (!again)
            return rc;
    }
}
