/* model.h: what replication will do on a link that is not there yet: groups that are cut at their
 * interval, deltas that are sealed, kept, merged, shipped and committed, as numbers. Pure.
 *
 * Time goes in steps of PLAN_STEP_S. What is changed comes from outside, sector by sector (a list
 * of writes) or as a flow. Per group: changed bytes gather; at each interval they become a delta,
 * which is ready once it is sealed; ready deltas ship, oldest first, and all groups' share the link
 * by their priority; a delta is committed two round trips after its last byte. While more than half
 * of the spool's budget is in use, what newer deltas hold, too, is dropped from those that wait;
 * when seven eighths are, no cut is made, and changes gather. The RPO of a moment is its distance
 * from the cut of the newest committed delta, of the group that is worst off.
 *
 * What it leaves out: losses (the rate that TCP makes of them is an argument), retransmission after
 * a break, guests that are slowed down, and the level of compression, which is an argument, too. */
#ifndef RELAIS_PLAN_MODEL_H
#define RELAIS_PLAN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAN_STEP_S    0.01
#define PLAN_SAMPLE_S  0.1
#define PLAN_GROUPS    8u
#define PLAN_SECTOR    4096.0
#define PLAN_FIXED     2048.0 /* bytes of a delta without content: header, manifest, offer */
#define PLAN_RECONNECT 0.5    /* s from a link's return to the connection, on the average */

struct plan_group_is {
    double interval_s;
    double ratio;  /* sealed bytes of a changed byte, index included */
    double weight; /* of its priority: 16, 4, 1 */
    uint64_t size; /* of the volume, bytes */
};

struct plan_is {
    double rtt_s;
    double spool_budget;  /* bytes */
    double seal_rate;     /* bytes of volume a second */
    double cut_s, save_s; /* what a cut and a commit cost apart from bytes */
    unsigned group_count;
    struct plan_group_is groups[PLAN_GROUPS];
};

struct plan_delta {
    double cut, ready, left; /* s, s, bytes that are still to be sent */
    double all, superseded;  /* sealed bytes; changed bytes that newer ones hold, too */
    bool begun;
};

struct plan_group {
    struct plan_group_is is;
    uint32_t *holder;         /* of each sector: number of the newest delta that has it, plus 1 */
    struct plan_delta *queue; /* those from number `first` on are not committed */
    size_t first, count, cap;
    double dirty; /* bytes changed since the last cut, each sector once */
    double next_cut, safe_cut;
    double saving; /* the first of the queue is all there and committed at this time; 0: not yet */
};

struct plan_model {
    struct plan_is is;
    struct plan_group groups[PLAN_GROUPS];
    double now, capacity; /* s; sealed bytes a second that the link carries now */
    double up_at;         /* no byte before: connecting */
    double idle_since;    /* the link had nothing to carry since; negative: it has */
    double ramp_until;
    /* What came of it. */
    double shipped, changed, spool, spool_most, waiting_most;
    bool held_back; /* a cut was not made because the spool was full */
    float *rpo;     /* each PLAN_SAMPLE_S */
    size_t sample_count, sample_cap;
    double sampled;
};

/* Everything is committed at time 0. capacity: until plan_link says otherwise. */
void plan_model_init(struct plan_model *m, const struct plan_is *is, double capacity);
void plan_model_free(struct plan_model *m);
/* The link carries so many bytes a second from now on; 0: none, an outage. */
void plan_link(struct plan_model *m, double capacity);
/* Goes on to time t. */
void plan_advance(struct plan_model *m, double t);
/* A write, now; sectors are counted once a cut. */
void plan_write(struct plan_model *m, unsigned group, uint64_t off, uint64_t len);
/* So many bytes that no other write of this cut has changed, now. */
void plan_change(struct plan_model *m, unsigned group, double bytes);

/* The worst group's, now; sealed bytes that are not committed; those and what is not sealed yet; of
 * these, what has not been sent. */
double plan_rpo(const struct plan_model *m);
double plan_left(const struct plan_model *m);
double plan_spool(const struct plan_model *m);
double plan_waiting(const struct plan_model *m);
/* Whether all that was changed before t is committed. */
bool plan_safe_since(const struct plan_model *m, double t);

/* Sealed bytes a second that a link of so many bits a second carries: what headers (of packets of
 * mtu bytes with timestamps, of TLS) and the pacing of BBR leave. */
double plan_capacity(double bits, unsigned mtu);

#endif
