/* json_out.h: a JSON document on stdout. */
#ifndef RELAIS_JSON_OUT_H
#define RELAIS_JSON_OUT_H

#include "err.h"

#include <jansson.h>
#include <stddef.h>

/* Prints root, indented by so many spaces a level, and gives it up. root NULL: there was no memory
 * to build it. Errors: OS. */
int json_out(json_t *root, size_t indent, struct err *e);

#endif
