/* run_state.h: what one run knows, for run.c, which makes it happen, and result.c, which tells. */
#ifndef RELAIS_BENCH_RUN_STATE_H
#define RELAIS_BENCH_RUN_STATE_H

#include "run.h"
#include "watch.h"

#define RUN_OUTAGES 64u

struct run_outage {
    double begin, end; /* seconds of the run */
    enum wan_outage kind;
};

struct run {
    struct scenario *scenario;
    const struct run_options *options;
    struct stage stage;
    struct daemons daemons;
    struct watch watch;
    struct guest *guests[SCENARIO_WORKLOADS];
    struct err *e;
    int rc;
    bool interrupted;
    const char *phase;    /* for the progress */
    uint64_t phase_began; /* monotonic ns */
    uint64_t phase_lasts; /* ns; 0: not known */
    /* What was found. */
    struct run_outage outages[RUN_OUTAGES];
    unsigned outage_count;
    const char *baseline_server;   /* NULL: no baseline */
    struct guest_counts *baseline; /* of each workload */
    struct guest_counts *baseline_all;
    double seed_s;
    uint64_t seed_bytes;
    /* At t = 0, when the guests had stopped, when the hub had all. */
    struct watch_sample first, load_end, drained;
    double drained_s; /* from then until the hub had all; NAN: it was not to be */
    double restore_s; /* NAN: none */
    uint64_t restored_bytes;
    uint64_t restore_down_bytes; /* that came over the link for it */
    bool restored_equal;
    char link_stats[WAN_ANSWER_MAX];
    double idle_share; /* of the processors, while it was measured */
    double load_before;
};

/* Errors: AGAIN, see run.h; the result is made all the same. */
int result_make(json_t **out, struct run *r, struct err *e);

#endif
