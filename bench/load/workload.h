/* workload.h: what a guest asks of its volume, one request after the other, from a seed. Pure but
 * for workload_new of a trace, which reads its file.
 *
 * What is asked does not depend on how fast it is answered: a run can be repeated, and held against
 * one without replication. */
#ifndef RELAIS_BENCH_WORKLOAD_H
#define RELAIS_BENCH_WORKLOAD_H

#include "content.h"
#include "scenario.h"

enum load_verb { LOAD_READ, LOAD_WRITE, LOAD_ZERO, LOAD_TRIM, LOAD_FLUSH, LOAD_VERBS };

struct load_op {
    enum load_verb verb;
    bool after_all; /* only when all before it have been answered */
    uint64_t off;
    uint32_t len;
    uint64_t due;     /* ns from the start on; not before */
    uint64_t version; /* of the content, as content_fill takes it */
};

struct workload;

/* spec is copied; of a trace its size becomes that of the recorded volume when it has none (see
 * workload_size). Errors: NOENT, IO, INPUT (a trace, with file and line). */
int workload_new(struct workload **out, const struct workload_spec *spec, struct err *e);
void workload_free(struct workload *w); /* NULL is fine */
uint64_t workload_size(const struct workload *w);
/* The next request; false: the work is done. Offsets and lengths are multiples of 512 within the
 * volume, len at most SCENARIO_BLOCK_MAX. */
bool workload_next(struct workload *w, struct load_op *op);
void workload_content(const struct workload *w, const struct load_op *op, void *buf);
/* What stands in the volume before: the first workload_filled bytes of it. */
uint64_t workload_filled(const struct workload *w);
void workload_before(const struct workload *w, void *buf, size_t len, uint64_t off);
/* The longest request. */
uint32_t workload_longest(const struct workload *w);

#endif
