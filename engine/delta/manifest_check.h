/* manifest_check.h: the rules that the fields of a manifest obey among themselves. Both the encoder
 * and the decoder ask: what is not decoded is not signed either. */
#ifndef RELAIS_MANIFEST_CHECK_H
#define RELAIS_MANIFEST_CHECK_H

#include "manifest.h"

/* Errors: INPUT, with the field, its value and the bound. Counts are checked before arrays are
 * read. */
int manifest_check_scalars(const struct manifest *m, struct err *e);
int manifest_check_counts(const struct manifest *m, struct err *e);
int manifest_check_volumes(const struct manifest *m, struct err *e);
/* Of the tables, once they are there. */
int manifest_check_tables(const struct manifest *m, struct err *e);

#endif
