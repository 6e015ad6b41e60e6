/* harm.h: which recovery points the damage of a stored delta harms: an upper bound that needs no
 * key, for it follows from indexes.
 *
 * What a damaged part of RP n holds is needed by RP n and by later ones until every sector of it
 * was sealed again: from that RP on all can be restored, though the damage is still there. What
 * lies behind the sealed bytes, the index and the tables, is needed to open any later RP. */
#ifndef RELAIS_HARM_H
#define RELAIS_HARM_H

#include "session.h"

#define HARM_DELTAS 20000u /* so many later deltas are looked at, then it is not known */

/* After so many bytes were read; an error ends the looking. */
typedef int harm_pace(void *arg, uint64_t bytes, struct err *e);

/* The last RP that may need this part: below x->rp when none does; 0: every later one may, as far
 * as is known. A later delta that cannot be read covers nothing. Errors: those of the store that
 * are no damage, those of pace. (waits) */
int harm_reach(struct hub *h, const char *site, const char *group, const struct catalog_entry *x,
               uint32_t part, harm_pace *pace, void *arg, uint64_t *upto, struct err *e);

/* The manifest of a delta, held against its digest. Errors: CORRUPT, those of the store. (waits) */
int harm_manifest(struct hub *h, const char *site, const char *group, const struct catalog_entry *x,
                  struct manifest *out, struct err *e);
/* Whether an error of the store is damage: what to call it; NULL: it cannot serve now. */
const char *harm_name(const struct err *e);

#endif
