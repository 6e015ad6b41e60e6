/* pace.h: a limit on how fast something is done, in bytes a second: work that nobody waits for
 * leaves the disk to those who use it.
 *
 * What was done is noted after it was done, when its size is known, and whoever comes next waits
 * until it is paid for. So the rate holds over any time much longer than one step takes, and one
 * step is never cut up. */
#ifndef RELAIS_PACE_H
#define RELAIS_PACE_H

#include "io.h"

struct pace {
    uint64_t rate; /* bytes a second; 0: no limit */
    uint64_t due;  /* when what was done is paid for, monotonic */
};

void pace_note(struct pace *p, uint64_t now, uint64_t bytes);
/* How long from now the next step has to wait, in ns. */
uint64_t pace_wait(const struct pace *p, uint64_t now);

#endif
