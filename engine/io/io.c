#include "io.h"

#include <stdlib.h>

void io_names_free(struct io_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    names->names = NULL;
    names->count = 0;
}
