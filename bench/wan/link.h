/* link.h: one direction of a WAN link, as a model: packets in, packets out when they are due.
 *
 *     push ──▶ queue ──▶ wire at `rate` ──▶ loss ──▶ delay ± jitter ──▶ pop
 *              bytes,     one at a time     random,   in order
 *              droptail                     in bursts
 *
 * Pure: it is told the time, and never reads a clock. What it computes does not depend on when it
 * is asked: a packet leaves the wire at the instant that rate and queue give, however late advance
 * comes. Every parameter may change at any time: what is on the wire keeps the rate it began with,
 * what is on its way keeps its delay, and the order never changes. */
#ifndef RELAIS_WAN_LINK_H
#define RELAIS_WAN_LINK_H

#include "packet.h"

/* A segment takes rate, queue and loss alike, whatever packet the kernel put it in; only so much
 * time on the wire is passed on in one piece. */
#define WAN_CHUNK_NS UINT64_C(250000)
/* Memory for what is on its way; what exceeds it is dropped and told of. */
#define WAN_FLIGHT_MAX UINT64_C(0x10000000)
#define WAN_NEVER      UINT64_MAX

struct wan_path {
    uint64_t rate;          /* bits a second of IP packets; 0: no limit */
    uint64_t queue;         /* bytes; one packet fits always */
    uint64_t delay, jitter; /* ns; a packet takes delay ± jitter, and no packet overtakes another */
    double loss;            /* chance of a segment */
    /* Gilbert and Elliott's bursts: the chance of a segment that a burst begins, that one ends, and
     * that a segment in one is lost. */
    double burst_begin, burst_end, burst_loss;
};

struct wan_counts {
    uint64_t in_segs, in_bytes; /* pushed */
    uint64_t out_segs, out_bytes;
    uint64_t queue_drops, losses, outage_drops, overflows; /* segments */
    uint64_t queue_peak;                                   /* bytes */
};

struct wan_list {
    struct wan_packet *head, **tail;
};

struct wan_link {
    struct wan_path path;
    struct wan_counts counts;
    bool cut; /* nothing passes */
    struct wan_list queue, flight;
    uint64_t queued, flying; /* bytes */
    uint64_t wire_free;      /* when the wire has carried what left the queue before */
    uint64_t wire_end;       /* when the queue's head will have been carried; 0: not begun */
    bool in_burst;
    uint64_t random;
    /* Jitter is a line between points, at most as steep as time itself: order is kept. */
    uint64_t bend_from, bend_to;
    double bend_a, bend_b;
};

void wan_link_init(struct wan_link *l, const struct wan_path *path, uint64_t seed);
/* Drops what is queued and on its way. */
void wan_link_free(struct wan_link *l);
void wan_link_set(struct wan_link *l, const struct wan_path *path);
/* What is queued or on its way when a link is cut is lost. */
void wan_link_cut(struct wan_link *l, bool cut);
/* Takes over p, which came at `now`; now never decreases over all calls. */
void wan_link_push(struct wan_link *l, struct wan_packet *p, uint64_t now);
/* The next packet that is due, or NULL; the caller frees it. */
struct wan_packet *wan_link_pop(struct wan_link *l, uint64_t now);
/* When pop or the model itself has something to do; WAN_NEVER. */
uint64_t wan_link_next(const struct wan_link *l);
/* The loss that the path's parameters mean in the long run, of segments. */
double wan_path_loss(const struct wan_path *path);

#endif
