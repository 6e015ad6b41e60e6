/* check.h: the judge of one group's history at a hub, apart from the code that it judges.
 *
 * It reads what hubs keep straight from the simulated disk or pool (check_store.h), with a chain
 * check and an applier of its own, and keeps a model of what the group's volumes were at each cut.
 * It shares with the engine the pure format code (manifest, index, seal) and nothing of hub, store,
 * site or reader. Checked, each time:
 *
 *   - the head, the catalog and the objects fit together: every byte of every delta is there;
 *   - manifests are signed, chained without gap or fork, and agree with all digests;
 *   - each complete RP is byte for byte what the volumes were at one cut, all at the same one, and
 *     cuts do not go back in time; of captured volumes the ledger says what may be a cut;
 *   - a mark that was committed holds all that was acknowledged before it was asked for;
 *   - what compaction leaves is the same, byte for byte; what the rule keeps is there;
 *   - nothing that the site was told is committed is ever missing, or another than it was. */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "check_store.h"
#include "key.h"
#include "ledger.h"
#include "nonces.h"

#define CHECK_VOLUMES 4u

struct check;

/* The keys are borrowed. */
struct check *check_new(struct world *w, const struct check_store *store, const char *site,
                        const char *group, const struct key_public *signer,
                        struct key_secret *restore, struct nonces *nonces);
void check_free(struct check *c);
/* A volume that is scanned; it may grow up to max. */
void check_add_volume(struct check *c, const char *name, uint64_t size, uint64_t max);
/* One that guests write: the next of the ledger (borrowed; of max bytes there), which is the same
 * for all of them. */
void check_add_captured(struct check *c, const char *name, uint64_t size, uint64_t max,
                        struct ledger *l);
/* The hubs keep every RP for that long; 0: for ever (until this is called); LEDGER_NEVER: it is not
 * known how long. The newest complete one stays whatever the rule. */
void check_keep(struct check *c, uint64_t ns);
/* The volume of that number has another size from now on. */
void check_grown(struct check *c, unsigned volume, uint64_t size);

/* The scanned volumes at a cut: contents[i] of the i-th volume (NULL: a captured one). Its first 8
 * bytes are the number of the cut, the same in all volumes, greater than any before it. */
void check_cut(struct check *c, uint64_t cut, const uint8_t *const contents[]);
/* The site says that the hub has committed this RP. */
void check_acked(struct check *c, uint64_t rp);
/* Somebody asks for a mark: the instant of the ledger; 0 without one. */
uint64_t check_asked(struct check *c);
/* It returned as committed; it was asked for then, and when this was the least cut that it could
 * mean. */
void check_marked(struct check *c, uint64_t rp, uint64_t cut, uint64_t asked);
/* Somebody restored the volume of that number to these bytes: they must be a cut. */
void check_restored(struct check *c, unsigned volume, const uint8_t *content, size_t len,
                    uint64_t rp);

/* Examines what the hub's disk holds now; fails the world when it is wrong. */
void check_run(struct check *c);
/* The cut of the newest complete RP seen; 0: none. */
uint64_t check_head_cut(const struct check *c);
/* Nobody writes any more, and a mark since was committed: fails the world unless the newest RP is
 * what the captured volume of that number in the group holds. */
void check_settled(struct check *c, unsigned volume, const uint8_t *content);

#endif
