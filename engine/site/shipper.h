/* shipper.h: the connection to the hub, and on it each group's way there.
 *
 * One fiber keeps a connection; while it lasts, a fiber for each group compares histories with the
 * hub and ships what is sealed, oldest first (ship.h). Groups share the connection by their
 * priorities, piece by piece (share.h).
 *
 * A hub may have several addresses, of several daemons. When a connection breaks, or the hub says
 * that it is leaving, the next address is tried at once, and there is no pause before all have
 * been. So is it when the hub answers but has not been able to serve for SHIPPER_PATIENCE_NS: its
 * way to its store may be cut, and the other's not. The first address is where this site belongs:
 * while it is elsewhere, it greets there every SHIPPER_HOME_NS, and moves back, between two parts,
 * once that went well SHIPPER_HOME_TIMES in a row. */
#ifndef RELAIS_SHIPPER_H
#define RELAIS_SHIPPER_H

#include "call.h"
#include "group.h"
#include "lanes.h"
#include "witness.h"

#define SHIPPER_OFFERS      12u /* open at once; a hub allows 16 on a connection */
#define SHIPPER_SAMPLES     11u
#define SHIPPER_PATIENCE_NS (45 * IO_S)
#define SHIPPER_HOME_NS     (20 * IO_S)
#define SHIPPER_HOME_TIMES  3u
/* After the first address could not serve. */
#define SHIPPER_HOME_LATER_NS (600 * IO_S)

struct shipper {
    const struct config_peer *hub;
    const struct key_secret *sign; /* what the hub compacted is attested with it */
    struct tls *tls;
    struct group **groups;
    size_t count;
    struct bufpool parts; /* read, and waiting for their turn on the link */
    struct share share;
    struct lanes lanes;
    unsigned at;     /* which of the hub's addresses */
    unsigned failed; /* attempts since the last connection that was good for something */
    struct fiber *fiber;
    bool stopping;
    bool departing;      /* begin nothing more on this connection */
    bool homeward;       /* departing for the first address */
    uint64_t home_after; /* io_now: not before */
    uint64_t trouble;    /* io_now, since when the hub has refused and done nothing; 0: it serves */
    unsigned riding;     /* groups' fibers on this connection that have not ended */
    struct fiber_cond homing_end;
    /* The connection; NULL between two. */
    uint64_t voyage; /* random, of this connection: the hub gives up those before it */
    struct caller *caller;
    unsigned offers[SHARE_CLASSES]; /* open on this connection */
    struct fiber_cond offer_closed;
    struct fiber_cond news;     /* a group's fiber found the link broken, or stop */
    int64_t since;              /* UTC, of this connection */
    struct err error;           /* why there is none */
    uint64_t quota, quota_used; /* what the hub last said of it; 0: none */
    struct witness witness;     /* of the hub's audit log */
    struct {
        uint64_t at, bytes;
    } samples[SHIPPER_SAMPLES]; /* one a second, newest first */
    unsigned sample_count;
};

/* groups: borrowed, open; sign too. state_dir: where the witness keeps its record. lanes_max:
 * connections. hub NULL: nothing is shipped, ever. */
void shipper_start(struct shipper *s, const struct config_peer *hub, struct tls *tls,
                   const struct key_secret *sign, struct group **groups, size_t count,
                   const char *state_dir, unsigned lanes_max);
void shipper_stop(struct shipper *s); /* (waits) */
/* The hub did something for us; it refused something. */
void shipper_served(struct shipper *s);
void shipper_refused(struct shipper *s, const struct err *why);
/* After a group was paused, resumed, or is to be drained. */
void shipper_group_changed(struct shipper *s, struct group *g);
/* Sealed bytes a second over the last seconds. */
uint64_t shipper_rate(const struct shipper *s);

#endif
