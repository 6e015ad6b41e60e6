/* strangers.h: connections of which nobody knows yet who they are. Anybody can make one; so they
 * have places of their own, apart from those of peers, and when these are taken it is never the
 * newcomer who suffers, nor one who is alone at his address: the one goes that has waited for
 * longest, of the address that has most. Who means it needs some round trips only to get by. Pure.
 *
 * Also how often they are told of: a line a second is enough of what anybody can cause. */
#ifndef RELAIS_STRANGERS_H
#define RELAIS_STRANGERS_H

#include "io.h"

#include <stdbool.h>

#define STRANGERS_TELL_NS IO_S

/* One that waits; in the memory of its connection. */
struct stranger {
    struct stranger *next;
    const struct io_addr *from;
    void *owner; /* the caller's */
    bool waits;  /* it has a place */
};

struct strangers {
    struct stranger *newest;
    unsigned count;       /* that wait */
    unsigned max, source; /* places in all, and of one address */
    uint64_t told_at;     /* the last line about one; 0: none yet */
    unsigned untold;      /* since that had none */
};

/* Whether two addresses are one here: of IPv6 only the network counts, of which a machine has 2^64
 * addresses. */
bool strangers_same_source(const struct io_addr *a, const struct io_addr *b);
/* One more waits. from must stay as long as it does. */
void strangers_add(struct strangers *set, struct stranger *s, const struct io_addr *from,
                   void *owner);
/* It is known, or gone, or sent away. Nothing when it does not wait. */
void strangers_remove(struct strangers *set, struct stranger *s);
/* Before one more from there is let in: who has to go, without a place already; NULL: nobody. */
struct stranger *strangers_make_room(struct strangers *set, const struct io_addr *from);
/* Who would go next, without a place already; NULL: nobody waits. */
struct stranger *strangers_take_one(struct strangers *set);
/* Whether it is time for a line about one that came to nothing; *untold: how many had none before.
 */
bool strangers_tell(struct strangers *set, uint64_t now, unsigned *untold);

#endif
