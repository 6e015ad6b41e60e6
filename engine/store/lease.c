#include "lease.h"

#include "log.h"

#include <stdio.h>
#include <string.h>

void lease_init(struct lease *l, struct store *store, const char *name, const char *holder)
{
    *l = (struct lease){.store = store};
    (void)snprintf(l->name, sizeof l->name, "%s", name);
    (void)snprintf(l->holder, sizeof l->holder, "%s", holder);
    ASSERT(l->holder[0] != '\0');
}

uint64_t lease_left(const struct lease *l)
{
    uint64_t gone = io_now(fiber_io()) - l->since;
    return l->held && gone < LEASE_NS ? LEASE_NS - gone : 0;
}

static bool same(const struct store_claim *a, const struct store_claim *b)
{
    return a->turn == b->turn && strcmp(a->holder, b->holder) == 0;
}

/* Moves the counter on. Our time counts from before: whoever sees the counter move sees it later.
 */
static int move(struct lease *l, const char *holder, struct err *e)
{
    uint64_t before = io_now(fiber_io());
    struct store_claim to = {.turn = l->seen.turn + 1};
    (void)snprintf(to.holder, sizeof to.holder, "%s", holder);
    int rc = l->store->ops->move_claim(l->store, l->name, &l->seen, &to, e);
    if (rc == 0) {
        l->seen = to;
        l->since = before;
    }
    return rc;
}

int lease_take(struct lease *l, struct err *e)
{
    struct store_claim now;
    if (l->held && lease_left(l) > 0)
        return 0;
    l->held = false;
    int rc = l->store->ops->claim(l->store, l->name, &now, e);
    if (rc < 0)
        return rc;
    if (l->since == 0 || !same(&now, &l->seen)) {
        l->seen = now;
        l->since = io_now(fiber_io());
    }
    if (now.holder[0] != '\0' && io_now(fiber_io()) - l->since < LEASE_NS)
        return err_set(e, ERR_AGAIN,
                       "store: %s is being done by %s, or was until less than %u s ago", l->name,
                       now.holder, (unsigned)(LEASE_NS / IO_S));
    rc = move(l, l->holder, e);
    if (rc == -ERR_CONFLICT)
        return err_set(e, ERR_AGAIN, "store: %s was begun by another hub at this moment", l->name);
    l->held = rc == 0;
    return rc;
}

/* A renewal may have failed and yet happened, late even: then the counter is where we wanted it. As
 * long as the lease that we know of lasts, nobody else can have moved it. */
static void look_again(struct lease *l, uint64_t before)
{
    struct err e = ERR_INIT;
    struct store_claim now;
    if (l->store->ops->claim(l->store, l->name, &now, &e) < 0 || lease_left(l) == 0)
        return;
    if (now.turn == l->seen.turn + 1 && strcmp(now.holder, l->holder) == 0) {
        l->seen = now;
        l->since = before;
    }
}

static int over(struct lease *l, struct err *e)
{
    l->held = false;
    return err_set(e, ERR_CONFLICT, "store: the lease of %s is over: another hub may go on with it",
                   l->name);
}

int lease_hold(struct lease *l, struct err *e)
{
    uint64_t before = io_now(fiber_io()), left = lease_left(l);
    struct err why = ERR_INIT;
    if (left == 0)
        return over(l, e);
    if (left > LEASE_NS - LEASE_RENEW_NS || move(l, l->holder, &why) == 0)
        return 0;
    look_again(l, before);
    left = lease_left(l);
    if (left > 0 && (why.code == ERR_AGAIN || why.code == ERR_IO || l->since == before))
        return 0;
    l->held = false;
    *e = why;
    return -(int)why.code;
}

void lease_release(struct lease *l)
{
    struct err e = ERR_INIT;
    if (lease_left(l) > 0 && move(l, "", &e) < 0)
        log_info("store: %s stays taken until its lease ends: %s", l->name, e.text);
    l->held = false;
    l->since = 0;
}
