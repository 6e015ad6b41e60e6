/* scrub.h: a hub reads all it stores, again and again, and names what is damaged or missing.
 *
 * Of each delta that the catalog names, the manifest is held against its digest in the catalog, and
 * each part against its digest in the manifest, which the site signed: no key is needed. A pass
 * over a group is due when the last one is [hub] scrub ago, and reads no faster than scrub-rate.
 * Nothing is changed: what a hub cannot read it cannot mend. Damage, and that it is gone (the
 * store's own repair put the object right, a fold replaced the delta), is in the group's log
 * "GROUP.scrub", so every hub of the store knows it.
 *
 * A damaged part of RP n harms RP n and later ones for as long as they need an extent of it: how
 * far at most follows from the indexes (harm.h) and is noted as soon as it is known. That bytes
 * open under their key only a reader can tell: relais verify. */
#ifndef RELAIS_SCRUB_H
#define RELAIS_SCRUB_H

#include "hub.h"

#define SCRUB_LEASE    "scrub"
#define SCRUB_LOOK_NS  (600 * IO_S) /* between looks whether something is due */
#define SCRUB_FIRST_NS (120 * IO_S) /* after the start */
#define SCRUB_TOLD     200u         /* damaged objects in one answer */
#define SCRUB_MANIFEST UINT32_MAX   /* in place of a part's number */

struct scrub;

struct scrub *scrub_start(struct hub *h);
void scrub_stop(struct scrub *s); /* (waits) */
/* All groups are due. */
void scrub_now(struct scrub *s);
/* Objects that are known to be damaged, as of the last look. */
uint64_t scrub_damaged(const struct scrub *s);
/* Sends where it stands as ScrubState, with the damage of one site, or of all (NULL). (waits) */
int scrub_tell(struct scrub *s, const char *site, struct link *l, uint32_t id, struct err *e);

#endif
