/* maintain.h: what a hub does on its own to what it stores, a pass at a time. */
#ifndef RELAIS_MAINTAIN_H
#define RELAIS_MAINTAIN_H

#include "compact.h"
#include "lease.h"

/* A fiber for as long as the hub runs: a pass each [hub] compact-interval, and when asked for. */
void maintain_start(struct hub *h);
void maintain_stop(struct hub *h); /* (waits) */
/* Asked on the control socket for a pass, or how far one is. (waits) */
int maintain_answer(struct hub *h, struct link *l, uint32_t id, const Relais__Compact *ask,
                    struct err *e);

#endif
