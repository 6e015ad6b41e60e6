/* scanned.h: how far the hash indexes of a group can be trusted.
 *
 * Writing the entries of a delta takes many unsynced writes, and a power cut keeps any of them. Two
 * marks, in one small record, make that safe:
 *
 *   tip    no entry describes content newer than this RP. Made durable after the delta is, and
 * before its first entry is written. When the chain's tip is older, or of another digest (the spool
 *          was lost, history went another way), entries may describe what no RP holds: start over.
 *   clean  every entry of this RP and older is durable. The deltas in (clean, tip] are still in the
 *          spool, because a delta leaves it only once it is clean: at start their extents are
 * marked unknown. Without that, a sector that went from A to B in such a delta, its entry lost, and
 *          then back to A would count as unchanged, and the restored volume would hold B. */
#ifndef RELAIS_SCANNED_H
#define RELAIS_SCANNED_H

#include "chain.h"

struct scanned {
    uint64_t tip, clean;
    struct digest tip_digest, clean_digest;
};

/* *valid: whether there is a record that fits the chain; without one the indexes are worth nothing.
 * A chain without history needs none. (waits) */
int scanned_load(struct scanned *out, const struct chain *c, bool *valid, struct err *e);
/* Before the chain goes back: from here on, whatever a crash does, the record fits nothing. (waits)
 */
int scanned_forget(const struct chain *c, struct err *e);
int scanned_save(const struct scanned *s, const struct chain *c, struct err *e); /* (waits) */

#endif
