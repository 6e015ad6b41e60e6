/* compact.h: recovery points that nobody keeps are folded into the next that stays, so that history
 * takes the room of what is kept and not of all that ever was.
 *
 * Each kept RP ends a run of deltas, which begins behind the kept RP before it. What the run comes
 * to follows from its indexes (engine/folding); the hub writes it, the site signs it, and one
 * guarded operation of the store puts it in the place of what it was made of. Nothing is ever
 * missing on the way: new objects are durable, under names of their own, before the switch, and the
 * old ones are removed after it. What a crash leaves behind is found by orphans.c. Without the site
 * nothing is compacted.
 *
 * Two hubs: whoever switches first wins, for a switch counts only in the generation of the catalog
 * that was read before the work began (store.h). */
#ifndef RELAIS_COMPACT_H
#define RELAIS_COMPACT_H

#include "run.h"
#include "session.h"

struct compact_sums {
    uint64_t deltas_in, deltas_out; /* replaced; by */
    uint64_t bytes_in, bytes_out;
    uint64_t orphans; /* objects */
    uint64_t waiting; /* runs whose site was not there */
};

/* Which RPs stay. */
typedef bool compact_stays(void *arg, uint64_t rp);

/* The catalog of a group, whole; *entries is the caller's. The generation is read before it.
 * (waits) */
int compact_load(struct hub *h, const char *site, const char *group, uint64_t *generation,
                 struct catalog_entry **entries, size_t *count, struct err *e);
/* Compacts what can be. generation: of the catalog, read before it was judged what stays, so that a
 * pin that was set since counts. Errors: CONFLICT (another hub did meanwhile: no harm), AGAIN (the
 * site went away), those of the store, CORRUPT and so on of a run: the others were done. (waits) */
int compact_group(struct hub *h, const char *site, const char *group, uint64_t generation,
                  compact_stays *stays, void *arg, struct compact_sums *sums, struct err *e);

/* compact_write.c: writes one output of a run: its objects, the last of them with the signature of
 * the site. entries: of the run. out: its catalog entry. After an error objects may be left, which
 * nothing refers to. (waits) */
int compact_write(struct hub *h, struct run *run, size_t output,
                  const struct catalog_entry *entries, struct catalog_entry *out, struct err *e);

/* orphans.c: removes objects of the group's deltas that no catalog entry names and none ever will:
 * at or below the head, and not of a compaction under way anywhere, for the generation moves on
 * first. Other objects of the group are left alone. (waits) */
int orphans_remove(struct hub *h, const char *site, const char *group, uint64_t *removed,
                   struct err *e);

#endif
