#include "json_out.h"

#include <stdio.h>
#include <stdlib.h>

int json_out(json_t *root, size_t indent, struct err *e)
{
    char *text = root ? json_dumps(root, JSON_INDENT(indent) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(root);
    if (!text)
        return err_set(e, ERR_OS, "out of memory for JSON");
    (void)puts(text);
    free(text);
    return 0;
}
