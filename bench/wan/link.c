#include "link.h"

#include "err.h"

#include <stdlib.h>

#define NS_PER_S UINT64_C(1000000000)
#define BEND_MIN UINT64_C(5000000) /* jitter moves no faster */

/* ---- chance: xorshift64*, seeded, so that a run can be repeated ---- */

static double chance(struct wan_link *l)
{
    l->random ^= l->random >> 12;
    l->random ^= l->random << 25;
    l->random ^= l->random >> 27;
    return (double)((l->random * UINT64_C(0x2545F4914F6CDD1D)) >> 11) * 0x1p-53;
}

static bool lost(struct wan_link *l)
{
    const struct wan_path *p = &l->path;
    if (p->burst_begin > 0) {
        if (chance(l) < (l->in_burst ? p->burst_end : p->burst_begin))
            l->in_burst = !l->in_burst;
        if (l->in_burst && chance(l) < p->burst_loss)
            return true;
    }
    return p->loss > 0 && chance(l) < p->loss;
}

double wan_path_loss(const struct wan_path *p)
{
    double bad = 0;
    if (p->burst_begin > 0)
        bad = p->burst_begin / (p->burst_begin + p->burst_end) * p->burst_loss;
    return 1 - (1 - bad) * (1 - p->loss);
}

/* ---- lists ---- */

static void append(struct wan_list *q, struct wan_packet *p)
{
    p->next = NULL;
    *q->tail = p;
    q->tail = &p->next;
}

static struct wan_packet *take(struct wan_list *q)
{
    struct wan_packet *p = q->head;
    q->head = p->next;
    if (!q->head)
        q->tail = &q->head;
    return p;
}

static uint64_t drop_all(struct wan_list *q)
{
    uint64_t segs = 0;
    while (q->head) {
        struct wan_packet *p = take(q);
        segs += p->segs;
        free(p);
    }
    return segs;
}

/* ---- the model ---- */

static uint64_t wire_time(const struct wan_link *l, uint32_t bytes)
{
    return l->path.rate ? (uint64_t)bytes * 8 * NS_PER_S / l->path.rate : 0;
}

/* The jitter of what leaves the wire at t. */
static double bend(struct wan_link *l, uint64_t t)
{
    double j = (double)l->path.jitter;
    if (l->path.jitter == 0)
        return 0;
    while (t >= l->bend_to) {
        /* Between two points at most 2j apart lie at least 2j of time. */
        uint64_t step = 2 * l->path.jitter > BEND_MIN ? 2 * l->path.jitter : BEND_MIN;
        l->bend_from = t - l->bend_to > step ? t : l->bend_to;
        l->bend_to = l->bend_from + step;
        l->bend_a = l->bend_b;
        l->bend_b = (chance(l) * 2 - 1) * j;
    }
    return l->bend_a + (l->bend_b - l->bend_a) * (double)(t - l->bend_from) /
                           (double)(l->bend_to - l->bend_from);
}

static void set_off(struct wan_link *l, struct wan_packet *p, uint64_t at)
{
    double off = bend(l, at);
    uint64_t due = at + l->path.delay;
    if (off < 0 && (uint64_t)-off > l->path.delay)
        due = at;
    else
        due = (uint64_t)((int64_t)due + (int64_t)off);
    if (l->flight.head) {
        struct wan_packet *last =
            (struct wan_packet *)((char *)l->flight.tail - offsetof(struct wan_packet, next));
        if (due < last->due)
            due = last->due;
    }
    p->due = due;
    if (l->flying + p->len > WAN_FLIGHT_MAX) {
        l->counts.overflows += p->segs;
        free(p);
        return;
    }
    l->flying += p->len;
    append(&l->flight, p);
}

/* p has left the wire at `at`: runs of segments that are not lost go on. */
static void leave(struct wan_link *l, struct wan_packet *p, uint64_t at)
{
    uint32_t run = 0, losses = 0;
    for (uint32_t i = 0; i < p->segs; i++) {
        if (!lost(l)) {
            run++;
            continue;
        }
        losses++;
        if (run > 0)
            set_off(l, wan_packet_cut(p, i - run, run), at);
        run = 0;
    }
    l->counts.losses += losses;
    if (losses == 0) {
        set_off(l, p, at);
        return;
    }
    if (run > 0)
        set_off(l, wan_packet_cut(p, p->segs - run, run), at);
    free(p);
}

static void begin(struct wan_link *l)
{
    const struct wan_packet *p = l->queue.head;
    if (!p || l->wire_end)
        return;
    l->wire_end = (p->arrived > l->wire_free ? p->arrived : l->wire_free) + wire_time(l, p->wire);
}

static void advance(struct wan_link *l, uint64_t now)
{
    for (begin(l); l->queue.head && l->wire_end <= now; begin(l)) {
        struct wan_packet *p = take(&l->queue);
        l->queued -= p->wire;
        l->wire_free = l->wire_end;
        l->wire_end = 0;
        leave(l, p, l->wire_free);
    }
}

/* Into the queue, in pieces that take WAN_CHUNK_NS of the wire at most. */
static void enqueue(struct wan_link *l, struct wan_packet *p)
{
    uint32_t each = p->segs;
    l->queued += p->wire;
    if (l->queued > l->counts.queue_peak)
        l->counts.queue_peak = l->queued;
    if (p->segs > 1 && wire_time(l, p->wire) > WAN_CHUNK_NS) {
        uint64_t seg = wire_time(l, wan_packet_wire(p, 0, 1));
        each = seg >= WAN_CHUNK_NS ? 1 : (uint32_t)(WAN_CHUNK_NS / seg);
    }
    if (each >= p->segs) {
        append(&l->queue, p);
        return;
    }
    for (uint32_t i = 0; i < p->segs; i += each)
        append(&l->queue, wan_packet_cut(p, i, each < p->segs - i ? each : p->segs - i));
    free(p);
}

/* How many of p's segments fit; one does when the queue is empty. */
static uint32_t fitting(const struct wan_link *l, const struct wan_packet *p)
{
    uint64_t room = l->queued < l->path.queue ? l->path.queue - l->queued : 0;
    uint32_t n, seg;
    if (p->wire <= room)
        return p->segs;
    seg = wan_packet_wire(p, 0, 1);
    n = (uint32_t)(room / seg);
    if (n == 0 && l->queued == 0)
        n = 1;
    return n < p->segs ? n : p->segs;
}

void wan_link_push(struct wan_link *l, struct wan_packet *p, uint64_t now)
{
    uint32_t fit;
    l->counts.in_segs += p->segs;
    l->counts.in_bytes += p->wire;
    advance(l, now);
    p->arrived = now;
    if (l->cut) {
        l->counts.outage_drops += p->segs;
        free(p);
        return;
    }
    fit = l->path.rate ? fitting(l, p) : p->segs;
    l->counts.queue_drops += p->segs - fit;
    if (fit == p->segs)
        enqueue(l, p);
    else {
        if (fit > 0)
            enqueue(l, wan_packet_cut(p, 0, fit));
        free(p);
    }
    advance(l, now);
}

struct wan_packet *wan_link_pop(struct wan_link *l, uint64_t now)
{
    struct wan_packet *p;
    advance(l, now);
    if (!l->flight.head || l->flight.head->due > now)
        return NULL;
    p = take(&l->flight);
    l->flying -= p->len;
    l->counts.out_segs += p->segs;
    l->counts.out_bytes += p->wire;
    return p;
}

uint64_t wan_link_next(const struct wan_link *l)
{
    uint64_t due = l->flight.head ? l->flight.head->due : WAN_NEVER;
    /* What leaves the wire is due no earlier than it leaves: it need not be looked at before. */
    return l->queue.head && l->wire_end < due ? l->wire_end : due;
}

void wan_link_set(struct wan_link *l, const struct wan_path *path)
{
    l->path = *path;
    l->in_burst = l->in_burst && path->burst_begin > 0;
}

void wan_link_cut(struct wan_link *l, bool cut)
{
    l->cut = cut;
    if (!cut)
        return;
    l->counts.outage_drops += drop_all(&l->queue) + drop_all(&l->flight);
    l->queued = l->flying = 0;
    l->wire_end = 0;
}

void wan_link_init(struct wan_link *l, const struct wan_path *path, uint64_t seed)
{
    *l = (struct wan_link){.path = *path, .random = seed * UINT64_C(0x9E3779B97F4A7C15) | 1};
    l->queue.tail = &l->queue.head;
    l->flight.tail = &l->flight.head;
}

void wan_link_free(struct wan_link *l)
{
    (void)drop_all(&l->queue);
    (void)drop_all(&l->flight);
}
