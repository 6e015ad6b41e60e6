#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <libsmartcols.h>

struct table {
    struct libscols_table *scols;
    size_t columns;
};

int table_new(struct table **out, const struct table_column *columns, size_t count, struct err *e)
{
    struct table *t = err_calloc(1, sizeof *t);
    t->columns = count;
    t->scols = scols_new_table();
    if (!t->scols)
        goto fail;
    (void)scols_table_enable_colors(t->scols, isatty(STDOUT_FILENO));
    /* In a pipe nothing is cut to fit a width that nobody has. */
    (void)scols_table_enable_maxout(t->scols, 0);
    for (size_t i = 0; i < count; i++)
        if (!scols_table_new_column(t->scols, columns[i].name, 0,
                                    columns[i].right ? SCOLS_FL_RIGHT : 0))
            goto fail;
    *out = t;
    return 0;
fail:
    table_free(t);
    return err_set(e, ERR_OS, "out of memory for a table");
}

int table_row(struct table *t, const char *const *cells, const char *color, struct err *e)
{
    struct libscols_line *line = scols_table_new_line(t->scols, NULL);
    if (!line)
        return err_set(e, ERR_OS, "out of memory for a table");
    for (size_t i = 0; i < t->columns; i++)
        if (scols_line_set_data(line, i, cells[i]) != 0)
            return err_set(e, ERR_OS, "out of memory for a table");
    if (color)
        (void)scols_line_set_color(line, color);
    return 0;
}

int table_print(struct table *t, struct err *e)
{
    return scols_print_table(t->scols) != 0 ? err_set(e, ERR_IO, "standard output") : 0;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    if (t->scols)
        scols_unref_table(t->scols);
    free(t);
}
