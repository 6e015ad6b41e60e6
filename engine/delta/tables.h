/* tables.h: what opens the extents of a delta: its sources and its data keys, between the index and
 * the manifest, which names their length and digest. Apart from the manifest, because a delta that
 * merged a day of recovery points has thousands of both, and whoever follows the chain needs none.
 * Encoding in FORMAT.md. Pure. */
#ifndef RELAIS_TABLES_H
#define RELAIS_TABLES_H

#include "manifest.h"

/* Appends the tables that m->sources and m->keys are (out: empty, from bytes_out(TABLES_MAX)), and
 * sets their length and digest in m. Errors: INPUT. */
int tables_encode(struct bytes_out *out, struct manifest *m, struct err *e);
/* Fills m->sources and m->keys, which must be NULL, for manifest_free. Errors: CORRUPT (another
 * digest), INPUT. */
int tables_decode(struct manifest *m, const void *p, size_t len, struct err *e);

#endif
