/* table.h: rows and columns on stdout, by libsmartcols: aligned to the terminal, plain in a pipe.
 */
#ifndef RELAIS_TABLE_H
#define RELAIS_TABLE_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>

struct table;

struct table_column {
    const char *name;
    bool right;
};
int table_new(struct table **out, const struct table_column *columns, size_t count, struct err *e);
/* cells: as many as columns; copied. A text on a terminal may be coloured: see color. */
int table_row(struct table *t, const char *const *cells, const char *color, struct err *e);
int table_print(struct table *t, struct err *e);
void table_free(struct table *t);

#endif
