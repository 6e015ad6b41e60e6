/* footprint.h: how much memory the daemon takes at most, as its configuration implies. Pure.
 *
 * All memory that work needs is bounded by what is configured, not by how much is written or how
 * long the hub is away; this is the sum of those bounds, with a quarter on top for what the
 * allocator cannot hand out. A test holds the daemon against it (tests/e2e/memory.sh); who raises a
 * bound raises it here. */
#ifndef RELAIS_FOOTPRINT_H
#define RELAIS_FOOTPRINT_H

#include "config.h"

struct footprint {
    uint64_t program;   /* code, libraries, stacks, messages, the link */
    uint64_t sealing;   /* regions under way, parts of deltas on their way to disk and hub */
    uint64_t deltas;    /* index and changed places of the deltas that are open */
    uint64_t exports;   /* requests on their way, and old content kept for cuts */
    uint64_t maps;      /* activity logs; grows with the volumes' sizes */
    uint64_t hub;       /* parts on their way in, connections */
    uint64_t total;     /* of all these, and the quarter */
    uint64_t dirty_max; /* besides: the maps of what is dirty, when the worst is dirty */
};

/* sizes: of the volumes, in the order of groups and their volumes; NULL: unknown, they count as 1
 * TiB each. workers: threads that seal. */
void footprint_of(const struct config *c, unsigned workers, const uint64_t *sizes,
                  struct footprint *out);

#endif
