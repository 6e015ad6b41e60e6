/* merger.h: merges deltas that wait in the spool while it is more than half full, or sealing waits
 * for room: the RPs between are given up so that there is room for newer ones.
 *
 * One merge at a time, of all groups; the fullest group first, in it the oldest first. What is on
 * its way to the hub, or may have reached it, is not touched, and a merge under way gives way to
 * the shipper. A merge must free a share of what it reads, or it is not worth the disk's time: a
 * quarter while the spool is half full, less the fuller it is. Between two parts it rests three
 * times as long as they took, so that whoever uses the volumes keeps most of the disk. */
#ifndef RELAIS_MERGER_H
#define RELAIS_MERGER_H

#include "group.h"

#define MERGER_FULL 0.5 /* of the budget: from here on deltas are merged */

struct merger {
    struct group **groups;
    size_t count;
    struct spool *spool;
    const struct key_secret *sign;
    struct bufpool parts;
    struct fiber *fiber;
    uint64_t busy_since; /* since the last rest */
};

/* groups: borrowed, open. */
void merger_init(struct merger *m, struct group **groups, size_t count, struct spool *spool,
                 const struct key_secret *sign);
void merger_start(struct merger *m);
/* Ends the fiber, if there is one; frees. */
void merger_stop(struct merger *m); /* (waits) */

/* One look at all groups, as its fiber takes them: whether something was merged. For tests. (waits)
 */
bool merger_look(struct merger *m);

#endif
