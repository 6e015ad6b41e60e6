/* parts.h: the parts of one delta on their way to the hub.
 *
 * A crew of fibers takes them in order; each reads one, sends its pieces in its turns (share.h) on
 * the lane that sends least (lanes.h), and goes on while the hub stores it. One more than there are
 * lanes, so that one reads while the others send. What was on its way on a lane that broke is sent
 * again on another. */
#ifndef RELAIS_PARTS_H
#define RELAIS_PARTS_H

#include "bulk.h"
#include "ship.h"

#define CREW_MAX    (LANES_MAX + 1)
#define CREW_FLYING 4u /* of each: sent, PartStored outstanding; 16 MiB */

struct crew_member;
struct parts {
    /* The owner's; all outlive it. */
    struct pipeline *p;
    uint64_t rp;
    const char *path;
    const struct manifest *m;
    const struct digest *digest; /* of the manifest */
    /* parts.c's. */
    struct bulk file;
    uint8_t *todo; /* a byte per part */
    uint32_t next; /* no part before it is to be sent */
    const Relais__Need *need;
    struct crew_member *crew[CREW_MAX];
    unsigned count, at_work;
    struct fiber_cond ended;
    struct err err; /* the first */
};

/* Sends what `need` names missing; returns when the hub has stored all of it. Errors: what the hub
 * refused, AGAIN (the pipeline failed, or the group is paused), NET, IO. When the hub found a part
 * damaged and the delta's file is, p->damaged is set. (waits) */
int parts_send(struct parts *s, const Relais__Need *need, struct err *e);
/* After parts_send, once. */
void parts_close(struct parts *s);

#endif
