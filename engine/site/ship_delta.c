#include "ship.h"

#include "bulk.h"
#include "log.h"

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
    struct call parts[SHIP_PARTS_FLYING];
    unsigned first, flying; /* of parts, a ring: sent, PartStored outstanding */
    struct bulk file;
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

/* -- Parts -- */

static int wait_oldest(struct delta_trip *t, struct err *e)
{
    struct call *call = &t->parts[t->first];
    int res = call_wait(call, e);
    call_end(call);
    t->first = (t->first + 1) % SHIP_PARTS_FLYING;
    t->flying--;
    return res;
}

struct part_check {
    uint8_t *buf;
    uint32_t len;
    const struct digest *want;
    bool equal;
};

static int check_part(void *arg)
{
    struct part_check *c = arg;
    struct digest d;
    digest_of(&d, c->buf, c->len);
    c->equal = digest_equal(&d, c->want);
    return 0;
}

static int read_part(struct delta_trip *t, uint32_t n, uint8_t *buf, uint32_t len, struct err *e)
{
    int res = bulk_read_all(&t->file, buf, len, PART_SIZE, (uint64_t)n * PART_SIZE);
    if (res < 0 && res != -ECANCELED && t->p->damaged == 0 && !t->p->failed)
        t->p->damaged = t->rp;
    return res < 0 ? err_os(e, res, "%s: reading part %" PRIu32, t->path, n) : 0;
}

/* The hub found a part that differs from its digest. Parts are not digested before they are sent,
 * the hub does that anyway; only now is it asked whether the spool's copy decayed, for then the
 * delta must be sealed anew, or something on the way was at fault, for then it is sent again. */
static int find_damage(struct delta_trip *t, struct err *e)
{
    struct part_check check = {.buf = bufpool_take(&t->p->shipper->parts)};
    int res = check.buf ? 0 : -ECANCELED;
    for (uint32_t n = 0; n < t->m.part_count && res == 0; n++) {
        check.len = manifest_part_len(&t->m, n);
        check.want = &t->m.parts[n];
        res = read_part(t, n, check.buf, check.len, e);
        if (res == 0)
            res = fio_work(IO_WORK_CPU, check_part, &check);
        if (res == 0 && !check.equal) {
            t->p->damaged = t->p->damaged ? t->p->damaged : t->rp;
            res =
                err_set(e, ERR_CORRUPT, "%s: part %" PRIu32 " differs from its digest", t->path, n);
        }
    }
    if (check.buf)
        bufpool_give(&t->p->shipper->parts, check.buf);
    return res;
}

/* One piece, in its turn; the last one is answered. */
static int send_piece(struct delta_trip *t, struct share_part *turn, Relais__Part *part,
                      const uint8_t *buf, uint32_t piece, bool last, struct err *e)
{
    struct share *share = &t->p->shipper->share;
    struct call *call = &t->parts[(t->first + t->flying) % SHIP_PARTS_FLYING];
    int res = share_turn(share, turn);
    if (res < 0)
        return err_os(e, res, "group %s", t->p->group->chain.group);
    *call = (struct call){.expect = FRAME_PartStored};
    res = last ? call_start(caller_of(t), call, FRAME_Part, &part->base, buf, piece, e)
               : call_send(caller_of(t), FRAME_Part, &part->base, buf, piece, e);
    share_sent(share, turn,
               res < 0 ? 0 : FRAME_HEADER_LEN + message_packed_size(&part->base) + piece);
    return res;
}

static int send_pieces(struct delta_trip *t, struct share_part *turn, uint32_t n, uint32_t from,
                       const uint8_t *buf, uint32_t len, struct err *e)
{
    Relais__Part part;
    relais__part__init(&part);
    part.group = t->p->group->chain.group;
    part.digest = (ProtobufCBinaryData){DIGEST_LEN, t->facts.digest.b};
    part.part = n;
    for (uint32_t at = from; at < len;) {
        uint32_t piece = share_piece(&t->p->shipper->share);
        int res;
        if (piece > len - at)
            piece = len - at;
        part.offset = at;
        res = send_piece(t, turn, &part, buf + at, piece, at + piece == len, e);
        if (res < 0)
            return res;
        at += piece;
    }
    t->flying++;
    return 0;
}

static int send_part(struct delta_trip *t, uint32_t n, uint32_t from, struct err *e)
{
    struct shipper *s = t->p->shipper;
    uint32_t len = manifest_part_len(&t->m, n);
    struct share_part turn;
    uint8_t *buf;
    int res;
    if (t->flying == SHIP_PARTS_FLYING) {
        res = wait_oldest(t, e);
        if (res < 0)
            return res;
    }
    res = share_begin(&s->share, &turn, &t->p->group->flow);
    if (res == -EAGAIN)
        return err_set(e, ERR_AGAIN, "group %s is paused", t->p->group->chain.group);
    if (res < 0)
        return err_os(e, res, "group %s", t->p->group->chain.group);
    buf = bufpool_take(&s->parts);
    res = buf ? read_part(t, n, buf, len, e)
              : err_os(e, -ECANCELED, "group %s", t->p->group->chain.group);
    if (res == 0)
        res = send_pieces(t, &turn, n, from, buf, len, e);
    if (buf)
        bufpool_give(&s->parts, buf);
    share_end(&s->share, &turn);
    return res;
}

static bool is_missing(const Relais__Need *need, uint32_t n)
{
    return need->missing.len > n / 8 && (need->missing.data[n / 8] >> (n % 8) & 1) != 0;
}

/* How much of a part the hub has from an earlier connection. */
static uint32_t begun(const struct delta_trip *t, uint32_t n)
{
    const Relais__Need *need = t->offer.reply.need;
    for (size_t i = 0; i < need->n_begun; i++)
        if (need->begun[i]->part == n && need->begun[i]->filled < manifest_part_len(&t->m, n))
            return need->begun[i]->filled;
    return 0;
}

static int send_missing(struct delta_trip *t, struct err *e)
{
    const Relais__Need *need = t->offer.reply.need;
    int res = bulk_open(&t->file, t->path, O_RDONLY | O_CLOEXEC, 0);
    if (res < 0)
        return err_os(e, res, "%s", t->path);
    for (uint32_t n = 0; n < t->m.part_count && res == 0; n++) {
        if (t->p->failed)
            return err_set(e, ERR_AGAIN, "group %s: an earlier delta failed",
                           t->p->group->chain.group);
        if (is_missing(need, n))
            res = send_part(t, n, begun(t, n), e);
    }
    while (t->flying > 0 && res == 0)
        res = wait_oldest(t, e);
    return res;
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
    return res;
}

static int travel(struct delta_trip *t, struct err *e)
{
    int res = call_wait(&t->offer, e);
    if (res < 0)
        return res;
    if (t->offer.reply.need->committed) {
        res = wait_commit_turn(t, e);
        t->p->commit_turn = t->rp + 1;
        fiber_wake_all(&t->p->turns);
    } else {
        res = send_missing(t, e);
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
    /* Before a part was sent it was not ours that the hub found damaged, but its store's. */
    if (res == -ERR_CORRUPT && t->file.cached >= 0)
        (void)find_damage(t, &e);
    if (res < 0)
        pipeline_fail(t->p, &e);
    while (t->flying > 0) {
        struct err ignored = ERR_INIT;
        (void)wait_oldest(t, &ignored);
    }
    call_end(&t->offer);
    bulk_close_always(&t->file);
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
    t->file = BULK_CLOSED;
    path_delta(t->path, p->group->chain.dir, rp);
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
