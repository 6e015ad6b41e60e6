/* gaps.h: what no piece of a plan covers: it reads as zeroes, and a target that held something
 * before has to be made to. Private to the reader. */
#ifndef RELAIS_GAPS_H
#define RELAIS_GAPS_H

#include "plan.h"
#include "target.h"

/* Makes all gaps read as zeroes. (waits) */
int gaps_zero(const struct plan *p, struct target *t, struct err *e);
/* Whether they do. Errors: CORRUPT, naming the first byte that does not; IO. (waits) */
int gaps_check(const struct plan *p, struct target *t, struct err *e);

#endif
