/* status_view.h: a daemon's status as a table for people, as JSON for scripts. now: wall clock, ns.
 */
#ifndef RELAIS_STATUS_VIEW_H
#define RELAIS_STATUS_VIEW_H

#include "err.h"
#include "relais.pb-c.h"

#include <stdint.h>

/* Errors: OS. */
int status_print(const Relais__Status *st, int64_t now, struct err *e);
int status_print_json(const Relais__Status *st, int64_t now, struct err *e);

#endif
