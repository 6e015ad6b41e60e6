#include "ship.h"

#include "fio.h"
#include "log.h"

#include <inttypes.h>
#include <string.h>

#define RETRY_MIN   (1 * IO_S)
#define RETRY_MAX   (30 * IO_S)
#define BROKEN_WAIT (60 * IO_S)
#define TRIES       3u

/* The deltas of a group under way, oldest first. */
struct convoy {
    struct pipeline p;
    struct delta_trip *trips[SHIP_AHEAD];
    unsigned count;
    uint64_t next; /* RP to start next */
};

static void land_done(struct convoy *c)
{
    while (c->count > 0 && trip_done(c->trips[0])) {
        trip_join(c->trips[0]);
        c->count--;
        memmove(c->trips, c->trips + 1, c->count * sizeof(struct delta_trip *));
    }
}

static int run_convoy(struct convoy *c, struct err *e)
{
    struct group *g = c->p.group;
    while (!c->p.failed) {
        uint64_t rp;
        int res;
        land_done(c);
        g->shipping = c->count > 0;
        if (group_held(g))
            return err_set(e, ERR_AGAIN, "group %s is paused", g->chain.group);
        rp = c->count < ship_ahead(c->p.shipper, g) ? chain_to_ship(&g->chain, c->next) : 0;
        if (c->p.shipper->departing)
            return err_set(e, ERR_AGAIN, "group %s: goes on at another address", g->chain.group);
        if (g->adopt || g->damaged)
            return err_set(e, ERR_AGAIN, "group %s: history changes", g->chain.group);
        if (rp == 0) {
            if (fiber_wait(&g->chain.changed, FIBER_FOREVER) < 0)
                return err_set(e, ERR_CANCELED, "group %s: stopped", g->chain.group);
            continue;
        }
        chain_sending(&g->chain, rp);
        res = trip_start(&c->trips[c->count], &c->p, rp, e);
        if (res < 0)
            return res;
        c->count++;
        c->next = rp + 1;
    }
    *e = c->p.err;
    return -(int)e->code;
}

/* What was offered and is not shipped now would take the place of what others offer. When it does
 * not get through, nothing is offered any more. */
static void withdraw(struct shipper *s, struct group *g)
{
    struct err ignored = ERR_INIT;
    Relais__Withdraw w;
    relais__withdraw__init(&w);
    w.group = g->chain.group;
    (void)call_send(s->caller, FRAME_Withdraw, &w.base, NULL, 0, &ignored);
}

/* Until the group may ship. 0, or -ECANCELED. */
static int wait_released(struct group *g)
{
    int res = 0;
    while (group_held(g) && res == 0)
        res = fiber_wait(&g->chain.changed, FIBER_FOREVER);
    return res;
}

/* Ships until something fails. */
static int ship(struct shipper *s, struct group *g, struct err *e)
{
    struct convoy c = {.p = {.shipper = s, .group = g}};
    int res;
    c.next = c.p.commit_turn = g->chain.committed.rp + 1;
    res = run_convoy(&c, e);
    pipeline_fail(&c.p, e);
    for (unsigned i = 0; i < c.count; i++) {
        if (res == -ERR_CANCELED)
            trip_cancel(c.trips[i]);
        trip_join(c.trips[i]);
    }
    g->shipping = false;
    if (res != -ERR_CANCELED)
        withdraw(s, g);
    if (c.p.damaged > 0 && res != -ERR_CANCELED)
        if (group_drop(g, c.p.damaged, c.p.err.text) < 0)
            return err_set(e, ERR_CANCELED, "group %s: stopped", g->chain.group);
    return res;
}

/* Nobody can continue before a person acts; asked again now and then, in case he has. */
static bool needs_a_person(int res)
{
    return res == -ERR_CHAIN || res == -ERR_AUTH || res == -ERR_CONFLICT || res == -ERR_INPUT ||
           res == -ERR_LIMIT;
}

/* tries: how often shipping failed since it last got anything across. What the hub refuses may be
 * the past already (a commit that another connection brought about, a head read just before it
 * moved): histories are compared again before somebody is called. */
static void note_error(struct group *g, int res, unsigned tries, const struct err *e)
{
    if (needs_a_person(res) && tries >= TRIES) {
        if (strcmp(g->broken.text, e->text) != 0)
            log_error("group %s: %s", g->chain.group, e->text);
        g->broken = *e;
        fiber_wake_all(&g->chain.changed);
    } else {
        log_warn("group %s: shipping: %s; trying again", g->chain.group, e->text);
        g->refused = *e;
        g->refused_at = g->chain.committed.rp;
    }
}

void ship_group(struct shipper *s, struct group *g)
{
    uint64_t delay = 0;
    unsigned tries = 0;
    while (!fiber_cancelled() && wait_released(g) == 0) {
        struct err e = ERR_INIT, broke;
        uint64_t before = g->chain.committed.rp;
        bool agreed = ship_reconcile(s->caller, g, &e) == 0;
        int res = -(int)e.code;
        if (agreed) {
            if (tries < TRIES)
                g->broken = (struct err)ERR_INIT;
            res = ship(s, g, &e);
        }
        if (g->chain.committed.rp > before) {
            g->broken = (struct err)ERR_INIT;
            tries = 0;
            delay = 0;
        }
        if (res == -ERR_CANCELED || fiber_cancelled())
            break;
        if (caller_broken(s->caller, &broke) < 0) {
            /* What the hub said before it hung up is more than that it did. */
            if (res == -ERR_PROTO && broke.code != ERR_PROTO)
                log_error("group %s: shipping: %s", g->chain.group, e.text);
            break;
        }
        if (s->departing)
            break;
        if (group_held(g))
            continue;
        shipper_refused(s, &e);
        tries = agreed ? tries + 1 : TRIES;
        note_error(g, res, tries, &e);
        delay = delay == 0 ? RETRY_MIN : delay * 2 < RETRY_MAX ? delay * 2 : RETRY_MAX;
        if (fiber_sleep(g->broken.code != ERR_OK ? BROKEN_WAIT : delay) < 0)
            break;
    }
    fiber_wake_all(&s->news);
}
