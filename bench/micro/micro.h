/* micro.h: small pieces of the engine against the bare primitive under each: how much of the
 * machine is left.
 *
 * An area (seal, hash, index, link, nbd) prepares its data and gives cases, one at a time, to
 * micro_run, which times batches of both sides by turns, so that a slower minute of the machine
 * meets both, and keeps each pair's ratio. */
#ifndef RELAIS_MICRO_H
#define RELAIS_MICRO_H

#include "err.h"
#include "sample.h"

#include <stdbool.h>
#include <stdint.h>

#define MICRO_REPEATS_MAX 101u
#define MICRO_NAME_MAX    64

struct micro_case {
    const char *area;
    char what[MICRO_NAME_MAX], beside[MICRO_NAME_MAX]; /* ours; the primitive it stands on */
    uint64_t bytes; /* that one operation goes through; 0: it is counted, not weighed */
    /* Does an operation n times. */
    void (*ours)(void *arg, uint64_t n);
    void (*bare)(void *arg, uint64_t n);
    void *arg;
};

struct micro_result {
    struct micro_case of;
    struct sample ours, bare; /* ns an operation */
    struct sample ratio;      /* ours / bare of the same repeat: 1 costs nothing more */
};

struct micro {
    unsigned repeats;  /* at most MICRO_REPEATS_MAX */
    uint64_t batch_ns; /* what one batch takes at least */
    struct micro_result *results;
    size_t count, cap;
};

/* Each batch of either side runs at least batch_ns, and once more before for the caches' sake. */
void micro_run(struct micro *m, const struct micro_case *c);

/* The areas. Errors: OS, IO: the machine refused what the area needs. */
int micro_seal(struct micro *m, struct err *e);
int micro_hash(struct micro *m, struct err *e);
int micro_index(struct micro *m, struct err *e);
int micro_link(struct micro *m, struct err *e);
int micro_nbd(struct micro *m, struct err *e);

/* Fills with what a hospital's database holds: rows of names, dates, numbers and padding; shrinks
 * to about a third. The same for a seed everywhere. */
void micro_rows(void *dst, size_t len, uint64_t seed);

#endif
