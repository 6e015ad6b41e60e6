/* keeper.h: what a hub does for its store on its own: passes of retention and scrubbing, one hub of
 * a store at a time (lease.h).
 *
 * Each KEEPER_PASS_NS, and when somebody asks: of each group, what the configuration says goes into
 * its log (policy.h), months that are over are recorded (usage.h), the verdict is made, and what is
 * to go goes. */
#ifndef RELAIS_KEEPER_H
#define RELAIS_KEEPER_H

#include "verdict.h"

#define KEEPER_FIRST_NS (60 * IO_S)   /* after the start */
#define KEEPER_PASS_NS  (3600 * IO_S) /* from one pass to the next */
#define KEEPER_LEASE    "keeper"

struct hub;
struct keeper;

/* The sites that may have something stored: those that sign. Does not wait; the caller frees *out.
 */
unsigned keeper_sites(const struct hub *h, char (**out)[NAME_MAX_LEN + 1]);

struct keeper *keeper_start(struct hub *h);
/* (waits) */
void keeper_stop(struct keeper *k);
/* A pass over one group, now. by: who asked, "" when nobody did. What was done is in *out, as the
 * verdict before it; verdict_free it. Errors: AGAIN (another hub has the lease), the store's.
 * (waits) */
int keeper_group(struct keeper *k, const char *site, const char *group, struct verdict *out,
                 struct err *e);

#endif
