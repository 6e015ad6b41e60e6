/* trial.h: one seed of one scenario, run in a process of its own: an assertion that fails, a crash
 * of our own or an endless loop ends that seed and not the campaign, and memory that one leaves
 * behind does not reach the next. Several may run at once. */
#ifndef SIM_TRIAL_H
#define SIM_TRIAL_H

#include "scenario.h"

#define TRIAL_SLOTS 64u

struct trial {
    const struct scenario *scenario;
    uint64_t seed;
    enum plant plant;
    struct world_knobs knobs;
};

struct verdict {
    bool done, failed;
    uint64_t events, virtual_ns, digest, checked, complete, troubles, memory_peak, memory_max;
    uint64_t count[FAULT_KINDS], did[DEED_KINDS];
    char failure[512];
};

/* tell: what happened goes to stderr when it fails; verbose: all of it, as it happens. */
void trial_start(unsigned slot, const struct trial *t, bool tell, bool verbose);
/* Waits for that one, or for any that runs: its slot. The verdict stays until the next start. */
const struct verdict *trial_wait(unsigned slot);
unsigned trial_wait_any(void);
const struct verdict *trial_verdict(unsigned slot);
/* Both. True when the seed passed. */
bool trial_run(const struct trial *t, bool tell, bool verbose);

/* Turns off faults one by one, and troubles, and keeps what still fails; prints what is left to
 * stdout. t fails as it is; on return it still does. */
void trial_shrink(struct trial *t, double seconds);
/* The options that make the program run it again. */
void trial_print_options(const struct trial *t);

#endif
