#include "ship.h"

#include "log.h"
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct delta_trip {
    struct pipeline *p;
    struct fiber *fiber;
    uint64_t rp;
    enum share_class class; /* whose offer it has */
    char path[PATH_CAP];
    struct manifest m;
    struct chain_delta facts;
    struct call offer;
    struct parts parts;
};

void pipeline_fail(struct pipeline *p, const struct err *e)
{
    if (!p->failed) {
        p->failed = true;
        p->err = *e;
    }
    fiber_wake_all(&p->turns);
    fiber_wake_all(&p->group->chain.changed);
    fiber_wake_all(&p->shipper->offer_closed);
}

static struct caller *caller_of(const struct delta_trip *t)
{
    return t->p->shipper->caller;
}

/* -- Offers that are open at once -- */

/* What this class and those below may have open together leaves some for the more urgent. */
static const unsigned offers_max[SHARE_CLASSES] = {SHIPPER_OFFERS / 2, SHIPPER_OFFERS * 3 / 4,
                                                   SHIPPER_OFFERS};

unsigned ship_ahead(const struct shipper *s, const struct group *g)
{
    unsigned least = SHIP_AHEAD;
    for (unsigned c = g->flow.class; c < SHARE_CLASSES; c++) {
        unsigned groups = 1; /* this one */
        for (size_t i = 0; i < s->count; i++)
            groups += s->groups[i] != g && s->groups[i]->flow.class <= c;
        if (offers_max[c] / groups < least)
            least = offers_max[c] / groups;
    }
    return least > 0 ? least : 1;
}

static bool offer_free(const struct shipper *s, enum share_class class)
{
    unsigned upto = 0;
    for (unsigned c = 0; c < SHARE_CLASSES; c++) {
        upto += s->offers[c];
        if (c >= class && upto >= offers_max[c])
            return false;
    }
    return true;
}

static int take_offer(struct pipeline *p, enum share_class class, struct err *e)
{
    struct shipper *s = p->shipper;
    while (!offer_free(s, class) && !p->failed)
        if (fiber_wait(&s->offer_closed, FIBER_FOREVER) == -ECANCELED)
            return err_os(e, -ECANCELED, "group %s", p->group->chain.group);
    s->offers[class]++;
    return 0;
}

static void give_offer(struct shipper *s, enum share_class class)
{
    s->offers[class]--;
    fiber_wake_all(&s->offer_closed);
}

/* -- Commit -- */

static int wait_commit_turn(struct delta_trip *t, struct err *e)
{
    struct pipeline *p = t->p;
    while (p->commit_turn != t->facts.rp_first && !p->failed)
        if (fiber_wait(&p->turns, FIBER_FOREVER) == -ECANCELED)
            return err_os(e, -ECANCELED, "group %s", p->group->chain.group);
    return p->failed
               ? err_set(e, ERR_AGAIN, "group %s: an earlier delta failed", p->group->chain.group)
               : 0;
}

static int commit(struct delta_trip *t, struct err *e)
{
    struct pipeline *p = t->p;
    struct call call = {.expect = FRAME_Committed};
    Relais__Commit ask;
    int res = wait_commit_turn(t, e);
    if (res < 0)
        return res;
    relais__commit__init(&ask);
    ask.group = p->group->chain.group;
    ask.digest = (ProtobufCBinaryData){DIGEST_LEN, t->facts.digest.b};
    res = call_start(caller_of(t), &call, FRAME_Commit, &ask.base, NULL, 0, e);
    if (res < 0)
        return res;
    p->commit_turn = t->rp + 1;
    fiber_wake_all(&p->turns);
    res = call_wait(&call, e);
    if (res == 0) {
        const Relais__Committed *c = call.reply.committed;
        if (c->rp != t->rp || c->digest.len != DIGEST_LEN ||
            memcmp(c->digest.data, t->facts.digest.b, DIGEST_LEN) != 0)
            res = err_set(e, ERR_PROTO,
                          "the hub confirms RP %" PRIu64 " of %s where RP %" PRIu64
                          " was to be committed, or another digest",
                          c->rp, p->group->chain.group, t->rp);
    }
    call_end(&call);
    if (res == 0)
        shipper_served(p->shipper);
    return res;
}

static int travel(struct delta_trip *t, struct err *e)
{
    int res = call_wait(&t->offer, e);
    if (res < 0)
        return res;
    if (!t->offer.reply.need->committed) {
        t->p->shipper->quota = t->offer.reply.need->quota;
        t->p->shipper->quota_used = t->offer.reply.need->quota_used;
    }
    if (t->offer.reply.need->committed) {
        res = wait_commit_turn(t, e);
        t->p->commit_turn = t->rp + 1;
        fiber_wake_all(&t->p->turns);
    } else {
        res = parts_send(&t->parts, t->offer.reply.need, e);
        if (res == 0)
            res = commit(t, e);
    }
    if (res == 0)
        res = chain_commit(&t->p->group->chain, t->rp, e);
    if (res == 0) /* it goes on: whoever asked for a person has been helped */
        t->p->group->broken = (struct err)ERR_INIT;
    return res;
}

static void trip_fiber(void *arg)
{
    struct delta_trip *t = arg;
    struct err e = ERR_INIT;
    int res = travel(t, &e);
    if (res < 0)
        pipeline_fail(t->p, &e);
    call_end(&t->offer);
    parts_close(&t->parts);
    manifest_free(&t->m);
    give_offer(t->p->shipper, t->class);
    fiber_wake_all(&t->p->group->chain.changed);
}

/* -- Start and end -- */

static int send_offer(struct delta_trip *t, const struct bytes_out *encoded, struct err *e)
{
    Relais__Offer offer;
    relais__offer__init(&offer);
    offer.group = t->p->group->chain.group;
    offer.voyage = t->p->shipper->voyage;
    t->offer = (struct call){.expect = FRAME_Need};
    share_charge(&t->p->shipper->share, encoded->len);
    return call_start(caller_of(t), &t->offer, FRAME_Offer, &offer.base, encoded->p,
                      (uint32_t)encoded->len, e);
}

int trip_start(struct delta_trip **out, struct pipeline *p, uint64_t rp, struct err *e)
{
    struct delta_trip *t;
    struct bytes_out encoded;
    enum share_class class = p->group->flow.class;
    int res = take_offer(p, class, e);
    if (res < 0)
        return res;
    t = err_calloc(1, sizeof *t);
    t->p = p;
    t->class = class;
    t->rp = rp;
    path_delta(t->path, p->group->chain.dir, rp);
    t->parts = (struct parts){.p = p,
                              .rp = rp,
                              .path = t->path,
                              .m = &t->m,
                              .digest = &t->facts.digest,
                              .file = BULK_CLOSED};
    res = chain_read_manifest(&p->group->chain, t->path, &t->m, &encoded, &t->facts, e);
    if (res == 0) {
        res = send_offer(t, &encoded, e);
        bytes_free(&encoded);
        if (res < 0)
            manifest_free(&t->m);
    } else if (res != -ERR_CANCELED && res != -ERR_OS && p->damaged == 0) {
        p->damaged = rp;
    }
    if (res < 0) {
        give_offer(p->shipper, class);
        free(t);
        return res;
    }
    t->fiber = fiber_spawn(fiber_io(), "trip", trip_fiber, t);
    *out = t;
    return 0;
}

bool trip_done(const struct delta_trip *t)
{
    return fiber_finished(t->fiber);
}

void trip_cancel(struct delta_trip *t)
{
    fiber_cancel(t->fiber);
}

void trip_join(struct delta_trip *t)
{
    fiber_join(t->fiber);
    free(t);
}
