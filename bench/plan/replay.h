/* replay.h: a scenario without a run: its workloads write into the model, its link is the model's.
 *
 * What a write's bytes come to when sealed is found by sealing some of them, in memory. A workload
 * that writes as fast as it goes cannot be foretold: its rate is the machine's. */
#ifndef RELAIS_PLAN_REPLAY_H
#define RELAIS_PLAN_REPLAY_H

#include "model.h"
#include "scenario.h"

#define REPLAY_OUTAGES 16u

struct replay_outage {
    double begin, end;     /* s; from the end of the warm-up on, as a run tells it */
    double caught_up;      /* s after its end; NAN: not within the scenario */
    double backlog, spool; /* bytes, at most until then */
    double rpo_most;
};

struct replay {
    double seconds;
    double ratio;                              /* sealed bytes of a changed one */
    double p50, p99, max;                      /* RPO, s */
    double steady_p50, steady_p99, steady_max; /* outside of outages and of catching up */
    double changed, shipped, written;          /* bytes; shipped with what is left at the end */
    double spool_most;
    double capacity; /* sealed bytes a second that the link carries when it is up */
    unsigned outage_count;
    struct replay_outage outages[REPLAY_OUTAGES];
};

/* s: complete (scenario_complete). ratio: of sealed to changed bytes; 0: found by sealing, which a
 * trace, having no contents, cannot. Errors: CONFIG, and as workload_new. */
int replay_scenario(struct replay *r, const struct scenario *s, double ratio, struct err *e);

/* Sealed bytes of a changed one, index included, from the first writes of a workload at level 1. */
int replay_ratio(double *out, const struct workload_spec *w, struct err *e);

#endif
