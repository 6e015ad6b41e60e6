/* trace.h: a recorded list of writes: where, how much, when; no contents.
 *
 *   relais-trace 1
 *   volume records/data
 *   size 1073741824
 *   dropped 0
 *   0.000000 W 4096 8192        seconds, verb, offset, length
 *   0.000412 F                  W write, Z zeroes, T trim, F flush
 *
 * dropped: requests that came faster than they could be recorded, which are not in the list. */
#ifndef RELAIS_BENCH_TRACE_H
#define RELAIS_BENCH_TRACE_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

#define TRACE_ENTRIES_MAX (64u << 20)

struct trace_entry {
    uint64_t at; /* ns from the first on; never decreases */
    uint64_t off;
    uint32_t len;
    uint8_t verb; /* enum load_verb */
};

struct trace {
    struct trace_entry *entries;
    size_t count;
    uint64_t size, dropped;
};

/* t: empty. Errors: NOENT, IO, INPUT and LIMIT, with file and line. */
int trace_load(struct trace *t, const char *file, struct err *e);
void trace_free(struct trace *t);
/* One line behind the header, into t. Pure. Errors: INPUT, LIMIT. */
int trace_line(struct trace *t, const char *line, struct err *e);

#endif
