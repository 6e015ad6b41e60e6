/* witness.h: a site follows its hub's audit log: it remembers where the log ended, and that what
 * comes later continues it. So the hosting member cannot change, take out or put in an entry unseen
 * once a site has followed past it, although the log is in its hands (docs/THREATS.md).
 *
 * The first look takes the log as it is. Entries about others come as digests only. */
#ifndef RELAIS_WITNESS_H
#define RELAIS_WITNESS_H

#include "call.h"
#include "paths.h"
#include "slots.h"
#include "trail.h"

/* Between the first two looks of a connection; later twice as long each time, up to WITNESS_NS. */
#define WITNESS_SOON_NS (5 * IO_S)
#define WITNESS_NS      (600 * IO_S)

struct witness {
    char path[PATH_CAP], hub[NAME_MAX_LEN + 1];
    struct slots record;
    bool loaded, known;
    struct trail_end end; /* followed so far, durable but for a failing disk */
    struct err error;     /* CHAIN: why not further; stays until the hub's log fits again */
};

void witness_init(struct witness *w, const char *state_dir, const char *hub);
/* Follows the log to its end. Errors: CHAIN (the log was changed), NET, what the hub refuses with.
 * (waits) */
int witness_look(struct witness *w, struct caller *c, struct err *e);
/* Looks, and again after a while, until the fiber is cancelled or the connection breaks. (waits)
 */
void witness_ride(struct witness *w, struct caller *c);

#endif
