/* watch.h: looks at a run ten times a second, from a fiber: what the site's daemon says, what came
 * out of the link, what the daemons use, what the guests were answered. */
#ifndef RELAIS_BENCH_WATCH_H
#define RELAIS_BENCH_WATCH_H

#include "call.h"
#include "daemons.h"
#include "guest.h"

#define WATCH_STEP_NS UINT64_C(100000000)
#define WATCH_SAMPLES 36000u /* at most; a run of more than an hour is looked at less often */

struct watch_sample {
    double t;                       /* seconds from the start of the measured part on */
    double rpo[SCENARIO_WORKLOADS]; /* seconds; NAN: not known */
    uint64_t lag;                   /* sealed bytes that the hub has not committed, all groups */
    uint64_t dirty;                 /* bytes that are in no recovery point yet */
    uint64_t spool;
    uint64_t up, down;       /* bytes that came out of the link so far */
    uint64_t plain, shipped; /* bytes changed, and shipped, since the daemon's start */
    bool outage, connected;
    struct child_use use[WAN_WAYS];
    unsigned level; /* of compression */
};

/* What guests were answered within one second. */
struct watch_second {
    double t;                /* its end */
    uint64_t written, reads; /* bytes */
    uint64_t writes, flushes;
    double write_p50, write_p99, write_max, flush_p99; /* seconds; NAN: there were none */
};

struct watch {
    struct daemons *daemons;
    const struct scenario *scenario;
    struct caller *caller;
    struct guest *const *guests; /* NULL where there is none */
    struct fiber *fiber;
    bool stop;
    uint64_t began, step; /* monotonic ns */
    struct watch_sample *samples;
    size_t sample_count;
    struct watch_second *seconds;
    size_t second_count;
    struct guest_counts *totals;          /* of each workload, since began */
    struct guest_counts *window;          /* scratch */
    struct watch_sample now;              /* the newest, kept or not */
    uint64_t ticks, late_ticks, late_max; /* looks that came more than half a step late; ns */
    struct err err;
};

/* Connects to the site's daemon. Errors: NET. (waits) */
int watch_open(struct watch *w, struct daemons *d, const struct scenario *sc, struct err *e);
/* Stops and frees. NULL-safe for one that was not opened. (waits) */
void watch_close(struct watch *w);
/* One look, into w->now. Errors: NET, IO (a daemon ended). (waits) */
int watch_look(struct watch *w, struct err *e);
/* Keeps what it sees from now on, until watch_end; t = 0 is now. */
void watch_begin(struct watch *w, struct guest *const *guests, uint64_t expected_ns);
void watch_end(struct watch *w);
/* The worst of all groups, seconds; NAN when one has none. */
double watch_rpo(const struct watch *w, const struct watch_sample *s);

#endif
