/* lease.h: only one of the hubs that share a store does a thing at a time: compaction, say.
 *
 * A lease is a counter in the store that its holder moves on by compare-and-set, again and again.
 * Nobody's clock is compared with anybody's: whoever wants it watches the counter, and takes it
 * when it stood still for LEASE_NS by the watcher's own clock. The holder counts its time from
 * before it moved the counter, so its lease ends, as it knows itself, before anybody else can have
 * it.
 *
 * What a lease does not do: a hub that was stopped for a minute right after lease_hold said yes
 * goes on when it wakes, with what it was about to send; so does an operation that is still under
 * way to a slow OSD. So a lease saves work, and is never all that keeps data: whatever is done
 * under one must be a put of an immutable name, a compare-and-set, or the removal of what nothing
 * can refer to any more, whoever holds the lease by then. (Of RPs at or below the head an object
 * that the catalog does not name is such; of one above it is not: a site may be about to commit
 * it.)
 *
 * One fiber uses a lease. All but lease_left (wait). */
#ifndef RELAIS_LEASE_H
#define RELAIS_LEASE_H

#include "store.h"

#include <stdbool.h>

#define LEASE_NS (60 * IO_S)
/* lease_hold asks the store only after so long. */
#define LEASE_RENEW_NS (LEASE_NS / 4)

struct lease {
    struct store *store;
    char name[NAME_MAX_LEN + 1];
    char holder[STORE_HOLDER_MAX];
    bool held;
    struct store_claim seen; /* what the store said last */
    uint64_t since; /* io_now; held: counted from then; else: seen stands still since then */
};

/* Does not wait. name: "compaction"; holder tells people who it is: the daemon's name, say. Two
 * holders need not differ. */
void lease_init(struct lease *l, struct store *store, const char *name, const char *holder);
/* Takes it if that can be now, never waits for it: AGAIN (the text says who has it, or that it must
 * first be seen to stand still): ask again in some seconds, with the same struct. Also the store's
 * errors. */
int lease_take(struct lease *l, struct err *e);
/* To be called between the steps of the work, each of which takes much less than LEASE_NS: renews
 * when it is time. CONFLICT: it is somebody else's now, stop. Also the store's errors, when
 * renewing failed and the lease is over; while there is time left, a store that does not answer is
 * no error. */
int lease_hold(struct lease *l, struct err *e);
/* Nanoseconds for which it is surely held; 0: it is not. */
uint64_t lease_left(const struct lease *l);
/* Gives it back, so that others need not wait. Does nothing when it is not held; what goes wrong is
 * left to time. */
void lease_release(struct lease *l);

#endif
