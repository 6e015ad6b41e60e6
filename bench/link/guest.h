/* guest.h: one guest on a volume: a thread that asks over NBD what its workload says, when it says
 * so, and measures how long each answer takes. */
#ifndef RELAIS_BENCH_GUEST_H
#define RELAIS_BENCH_GUEST_H

#include "hist.h"
#include "workload.h"

struct guest;

enum guest_verb { GUEST_READ, GUEST_WRITE, GUEST_FLUSH, GUEST_VERBS };

/* What was answered. */
struct guest_counts {
    struct hist took[GUEST_VERBS]; /* ns from the request's being sent; zeroes and trims: writes */
    uint64_t read_bytes, written_bytes;
    uint64_t changed_bytes; /* distinct sectors written since the start, in bytes */
    uint64_t behind_max;    /* ns that a request was sent after it was due, at most */
    bool done;              /* the workload came to its end */
};

/* Connects to the export at a unix socket; begins at `begin` (monotonic ns) and sends nothing after
 * `end`. Errors: NET, and those of workload_new. */
int guest_start(struct guest **out, const struct workload_spec *spec, const char *socket,
                const char *export, uint64_t begin, uint64_t end, struct err *e);
/* Adds to into what was answered since the last call. */
void guest_take(struct guest *g, struct guest_counts *into);
/* 0, or what a request failed with. */
int guest_failed(struct guest *g, struct err *e);
/* Sends no more, waits for what is under way, frees. NULL is fine. Blocks. */
void guest_stop(struct guest *g);
uint64_t guest_now(void); /* monotonic ns */

#endif
