/* ship.h: one group on one connection: agree with the hub on history, then ship delta after delta.
 *
 * Up to SHIP_AHEAD deltas are under way at once, so that small ones do not cost a round trip each:
 * offers go out in order, parts follow as the hub names them missing, commits go out in order. */
#ifndef RELAIS_SHIP_H
#define RELAIS_SHIP_H

#include "shipper.h"

#define SHIP_AHEAD 4u
_Static_assert(SHIP_AHEAD <= CHAIN_AHEAD, "a restart knows what may have been sent");

/* Runs until the connection breaks or the fiber is cancelled. (waits) */
void ship_group(struct shipper *s, struct group *g);

/* reconcile.c: brings the group's chain into agreement with what the hub says is the head. Errors:
 * CHAIN (the hub rolled history back, or forked it), AUTH, NET and what the hub refused. (waits) */
int ship_reconcile(struct caller *c, struct group *g, struct err *e);

/* ship_delta.c: one delta under way. */
struct pipeline {
    struct shipper *shipper;
    struct group *group;
    bool failed;
    struct err err;
    uint64_t damaged;     /* RP of a delta whose bytes differ from its manifest; 0: none */
    uint64_t commit_turn; /* RP whose commit may be sent */
    struct fiber_cond turns;
};
struct delta_trip;
/* How many deltas of a group may be under way: no more than its share of the offers that the hub
 * allows, or a few groups that are far behind would shut out all others until a delta is through,
 * which on a thin line is hours. */
unsigned ship_ahead(const struct shipper *s, const struct group *g);
/* Reads the manifest and sends the offer; a fiber of its own does the rest. (waits) */
int trip_start(struct delta_trip **out, struct pipeline *p, uint64_t rp, struct err *e);
/* Waits for its end, which may be p->failed, and frees it. */
void trip_join(struct delta_trip *t);
void trip_cancel(struct delta_trip *t);
bool trip_done(const struct delta_trip *t);
void pipeline_fail(struct pipeline *p, const struct err *e);

#endif
