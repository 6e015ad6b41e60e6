/* shipper.h: the connection to the hub, and on it each group's way there.
 *
 * One fiber keeps a connection, trying the hub's addresses in turn; while it lasts, a fiber for
 * each group compares histories with the hub and ships what is sealed, oldest first (ship.h).
 * Groups share the connection by their priorities, piece by piece (share.h). */
#ifndef RELAIS_SHIPPER_H
#define RELAIS_SHIPPER_H

#include "call.h"
#include "group.h"
#include "lanes.h"

#define SHIPPER_OFFERS  12u /* open at once; a hub allows 16 on a connection */
#define SHIPPER_SAMPLES 11u

struct shipper {
    const struct config_peer *hub;
    struct tls *tls;
    struct group **groups;
    size_t count;
    struct bufpool parts; /* read, and waiting for their turn on the link */
    struct share share;
    struct lanes lanes;
    unsigned attempt; /* which of the hub's addresses, in turn */
    struct fiber *fiber;
    bool stopping;
    /* The connection; NULL between two. */
    uint64_t voyage; /* random, of this connection: the hub gives up those before it */
    struct caller *caller;
    unsigned offers[SHARE_CLASSES]; /* open on this connection */
    struct fiber_cond offer_closed;
    struct fiber_cond news; /* a group's fiber found the link broken, or stop */
    int64_t since;          /* UTC, of this connection */
    struct err error;       /* why there is none */
    struct {
        uint64_t at, bytes;
    } samples[SHIPPER_SAMPLES]; /* one a second, newest first */
    unsigned sample_count;
};

/* groups: borrowed, open. lanes_max: connections. hub NULL: nothing is shipped, ever. */
void shipper_start(struct shipper *s, const struct config_peer *hub, struct tls *tls,
                   struct group **groups, size_t count, unsigned lanes_max);
void shipper_stop(struct shipper *s); /* (waits) */
/* After a group was paused, resumed, or is to be drained. */
void shipper_group_changed(struct shipper *s, struct group *g);
/* Sealed bytes a second over the last seconds. */
uint64_t shipper_rate(const struct shipper *s);

#endif
