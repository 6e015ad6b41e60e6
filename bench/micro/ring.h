/* ring.h: a loop for what needs one. */
#ifndef RELAIS_MICRO_RING_H
#define RELAIS_MICRO_RING_H

#include "err.h"

/* Runs fn(arg) as a fiber of a new loop until it has returned. Errors: OS. */
int ring_run(void (*fn)(void *arg), void *arg, struct err *e);

#endif
