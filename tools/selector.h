/* selector.h: what people type for a group, and for a recovery point of it: "records",
 * "lens/records@12", "records@2026-11-22 12:00", "records@latest". Pure. */
#ifndef RELAIS_SELECTOR_H
#define RELAIS_SELECTOR_H

#include "bounds.h"
#include "err.h"

#include <stdbool.h>

#define SELECTOR_POINT 80u

struct selector {
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    char point[SELECTOR_POINT]; /* as reader_find takes it; "" when none was given */
    bool has_point;
};

/* site_option: --site, or NULL; own: the site when none is said. Errors: USAGE. */
int selector_parse(struct selector *out, const char *text, const char *site_option, const char *own,
                   struct err *e);

#endif
