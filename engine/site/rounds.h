/* rounds.h: one sync for everybody who waits for one.
 *
 * A caller is served by a round that begins after its call, so that everything it did before is
 * covered. The first who finds none under way leads the next, in its own fiber, for all who wait by
 * then; a leader that is cancelled in the middle leaves the others to a new one. Zero-initialised
 * is ready. */
#ifndef RELAIS_ROUNDS_H
#define RELAIS_ROUNDS_H

#include "fiber.h"

struct rounds_caller;

struct rounds {
    bool running;
    struct rounds_caller *waiting, *served; /* served: by the round under way */
    struct fiber_cond turn;
};

/* The result of fn(arg) of the round, or -ECANCELED. fn waits. (waits) */
int rounds_join(struct rounds *r, int (*fn)(void *arg), void *arg);

#endif
