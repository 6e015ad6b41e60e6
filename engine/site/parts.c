#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS IO_S /* between looks whether there are more lanes */

/* A part that was sent and is being stored. */
struct sent {
    struct call call;
    struct lane *lane;
    uint32_t part;
};

struct crew_member {
    struct parts *s;
    struct fiber *fiber;
    struct sent sent[CREW_FLYING]; /* a ring */
    unsigned first, flying;
};

static struct shipper *shipper_of(const struct parts *s)
{
    return s->p->shipper;
}

static const char *group_of(const struct parts *s)
{
    return s->p->group->chain.group;
}

static int stopped(const struct parts *s, struct err *e)
{
    return err_os(e, -ECANCELED, "group %s", group_of(s));
}

/* -- What is to be sent -- */

static bool take_part(struct parts *s, uint32_t *part)
{
    while (s->next < s->m->part_count && !s->todo[s->next])
        s->next++;
    if (s->next == s->m->part_count)
        return false;
    *part = s->next++;
    s->todo[*part] = 0;
    return true;
}

static void put_back(struct parts *s, uint32_t part)
{
    s->todo[part] = 1;
    if (part < s->next)
        s->next = part;
}

static bool is_missing(const Relais__Need *need, uint32_t n)
{
    return need->missing.len > n / 8 && (need->missing.data[n / 8] >> (n % 8) & 1) != 0;
}

/* How much of a part the hub has from an earlier connection. It is good for one attempt: what broke
 * off here is kept there as something else. */
static uint32_t begun(const struct parts *s, uint32_t n)
{
    for (size_t i = 0; i < s->need->n_begun; i++) {
        Relais__PartBegun *b = s->need->begun[i];
        uint32_t filled = b->filled;
        if (b->part != n)
            continue;
        b->filled = 0;
        return filled < manifest_part_len(s->m, n) ? filled : 0;
    }
    return 0;
}

/* -- A delta that decayed -- */

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

static int read_part(struct parts *s, uint32_t n, uint8_t *buf, uint32_t len, struct err *e)
{
    int res = bulk_read_all(&s->file, buf, len, PART_SIZE, (uint64_t)n * PART_SIZE);
    if (res < 0 && res != -ECANCELED && s->p->damaged == 0 && !s->p->failed)
        s->p->damaged = s->rp;
    return res < 0 ? err_os(e, res, "%s: reading part %" PRIu32, s->path, n) : 0;
}

/* The hub found a part that differs from its digest. Parts are not digested before they are sent,
 * the hub does that anyway; only now is it asked whether the spool's copy decayed, for then the
 * delta must be sealed anew, or something on the way was at fault, for then it is sent again. */
static int find_damage(struct parts *s, struct err *e)
{
    struct bufpool *pool = &shipper_of(s)->parts;
    struct part_check check = {.buf = bufpool_take(pool)};
    int res = check.buf ? 0 : -ECANCELED;
    for (uint32_t n = 0; n < s->m->part_count && res == 0; n++) {
        check.len = manifest_part_len(s->m, n);
        check.want = &s->m->parts[n];
        res = read_part(s, n, check.buf, check.len, e);
        if (res == 0)
            res = fio_work(IO_WORK_CPU, check_part, &check);
        if (res == 0 && !check.equal) {
            s->p->damaged = s->p->damaged ? s->p->damaged : s->rp;
            res =
                err_set(e, ERR_CORRUPT, "%s: part %" PRIu32 " differs from its digest", s->path, n);
        }
    }
    if (check.buf)
        bufpool_give(pool, check.buf);
    return res;
}

/* -- One part's way -- */

/* Waits until the oldest of this fiber's parts is stored. */
static int settle(struct crew_member *c, struct err *e)
{
    struct sent *sent = &c->sent[c->first];
    struct lanes *lanes = &shipper_of(c->s)->lanes;
    int res = call_wait(&sent->call, e);
    call_end(&sent->call);
    c->first = (c->first + 1) % CREW_FLYING;
    c->flying--;
    if (res == 0)
        shipper_served(shipper_of(c->s));
    if (res < 0 && res != -ERR_CANCELED && lane_lost(lanes, sent->lane)) {
        put_back(c->s, sent->part);
        res = 0;
    }
    lane_give(lanes, sent->lane);
    return res;
}

/* One piece, in its turn; the last one is answered. */
static int send_piece(struct crew_member *c, struct sent *sent, struct share_part *turn,
                      Relais__Part *part, const uint8_t *buf, uint32_t piece, bool last,
                      struct err *e)
{
    struct share *share = &shipper_of(c->s)->share;
    struct caller *caller = sent->lane->caller;
    int res = share_turn(share, turn);
    if (res < 0)
        return stopped(c->s, e);
    sent->call = (struct call){.expect = FRAME_PartStored};
    res = last ? call_start(caller, &sent->call, FRAME_Part, &part->base, buf, piece, e)
               : call_send(caller, FRAME_Part, &part->base, buf, piece, e);
    share_sent(share, turn,
               res < 0 ? 0 : FRAME_HEADER_LEN + message_packed_size(&part->base) + piece);
    return res;
}

static int send_pieces(struct crew_member *c, struct sent *sent, struct share_part *turn,
                       const uint8_t *buf, struct err *e)
{
    struct parts *s = c->s;
    uint32_t len = manifest_part_len(s->m, sent->part);
    struct digest digest = *s->digest;
    Relais__Part part;
    relais__part__init(&part);
    part.group = s->p->group->chain.group;
    part.digest = (ProtobufCBinaryData){DIGEST_LEN, digest.b};
    part.part = sent->part;
    for (uint32_t at = begun(s, sent->part); at < len;) {
        uint32_t piece = share_piece(&shipper_of(s)->share);
        int res;
        if (piece > len - at)
            piece = len - at;
        part.offset = at;
        res = send_piece(c, sent, turn, &part, buf + at, piece, at + piece == len, e);
        if (res < 0)
            return res;
        at += piece;
    }
    return 0;
}

/* On the lane that sends least. */
static int send_on_lane(struct crew_member *c, uint32_t n, struct share_part *turn,
                        const uint8_t *buf, struct err *e)
{
    struct lanes *lanes = &shipper_of(c->s)->lanes;
    struct sent *sent = &c->sent[(c->first + c->flying) % CREW_FLYING];
    struct lane *lane = lane_take(lanes);
    int res;
    if (!lane)
        return err_set(e, ERR_NET, "group %s: the connection broke", group_of(c->s));
    *sent = (struct sent){.lane = lane, .part = n};
    res = send_pieces(c, sent, turn, buf, e);
    lane_sent(lane);
    if (res == 0) {
        c->flying++;
        return 0;
    }
    if (res != -ERR_CANCELED && lane_lost(lanes, lane)) {
        put_back(c->s, n);
        res = 0;
    }
    lane_give(lanes, lane);
    return res;
}

static int send_part(struct crew_member *c, uint32_t n, struct err *e)
{
    struct parts *s = c->s;
    struct shipper *shipper = shipper_of(s);
    struct share_part turn;
    uint8_t *buf;
    int res = share_begin(&shipper->share, &turn, &s->p->group->flow);
    if (res == -EAGAIN)
        return err_set(e, ERR_AGAIN, "group %s is paused", group_of(s));
    if (res < 0)
        return stopped(s, e);
    buf = bufpool_take(&shipper->parts);
    res = buf ? read_part(s, n, buf, manifest_part_len(s->m, n), e) : stopped(s, e);
    if (res == 0)
        res = send_on_lane(c, n, &turn, buf, e);
    if (buf)
        bufpool_give(&shipper->parts, buf);
    share_end(&shipper->share, &turn);
    return res;
}

/* -- The crew -- */

static bool failed(const struct parts *s)
{
    return s->p->failed || s->err.code != ERR_OK || shipper_of(s)->departing;
}

static void crew_fiber(void *arg)
{
    struct crew_member *c = arg;
    struct parts *s = c->s;
    struct err e = ERR_INIT;
    uint32_t n;
    int res = 0;
    while (res == 0 && !failed(s)) {
        if (c->flying == CREW_FLYING)
            res = settle(c, &e);
        else if (take_part(s, &n))
            res = send_part(c, n, &e);
        else if (c->flying > 0)
            res = settle(c, &e);
        else
            break;
    }
    if (res < 0 && s->err.code == ERR_OK)
        s->err = e;
    while (c->flying > 0) {
        struct err ignored = ERR_INIT;
        res = settle(c, &ignored);
        if (res < 0 && s->err.code == ERR_OK)
            s->err = ignored;
    }
    s->at_work--;
    fiber_wake_all(&s->ended);
}

/* One for each lane and one that reads meanwhile, while there is something to do. */
static void hire(struct parts *s)
{
    unsigned wanted = lanes_count(&shipper_of(s)->lanes) + 1;
    while (s->count < CREW_MAX && s->at_work < wanted && s->next < s->m->part_count && !failed(s)) {
        struct crew_member *c = err_calloc(1, sizeof *c);
        c->s = s;
        s->crew[s->count++] = c;
        s->at_work++;
        c->fiber = fiber_spawn(fiber_io(), "parts", crew_fiber, c);
    }
}

static void dismiss(struct parts *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        fiber_join(s->crew[i]->fiber);
        free(s->crew[i]);
    }
    s->count = 0;
}

int parts_send(struct parts *s, const Relais__Need *need, struct err *e)
{
    int res;
    s->need = need;
    s->err = (struct err)ERR_INIT;
    s->todo = err_calloc(s->m->part_count, 1);
    for (uint32_t n = 0; n < s->m->part_count; n++)
        s->todo[n] = is_missing(need, n);
    s->file = BULK_CLOSED;
    res = bulk_open(&s->file, s->path, O_RDONLY | O_CLOEXEC, 0);
    if (res < 0)
        return err_os(e, res, "%s", s->path);
    while (s->next < s->m->part_count && !s->todo[s->next])
        s->next++;
    for (hire(s); s->at_work > 0; hire(s))
        if (fiber_wait(&s->ended, LOOK_NS) == -ECANCELED)
            break;
    if (fiber_cancelled())
        for (unsigned i = 0; i < s->count; i++)
            fiber_cancel(s->crew[i]->fiber);
    dismiss(s);
    if (s->err.code == ERR_OK && fiber_cancelled())
        return stopped(s, e);
    if (s->err.code == ERR_OK && s->p->failed)
        return err_set(e, ERR_AGAIN, "group %s: an earlier delta failed", group_of(s));
    if (s->err.code == ERR_OK && s->next < s->m->part_count) /* nothing else ends a crew early */
        return err_set(e, ERR_AGAIN, "group %s: goes on at another address", group_of(s));
    *e = s->err;
    if (e->code == ERR_CORRUPT)
        (void)find_damage(s, e);
    return -(int)e->code;
}

void parts_close(struct parts *s)
{
    bulk_close_always(&s->file);
    free(s->todo);
    s->todo = NULL;
}
