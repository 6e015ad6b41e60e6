/* store_gate.h: how many operations, and bytes of theirs, are under way at once. Private to
 * engine/store.
 *
 * Bounds what is open or buffered on behalf of the callers, and keeps librados below the limit of
 * its own at which submitting blocks the thread. */
#ifndef RELAIS_STORE_GATE_H
#define RELAIS_STORE_GATE_H

#include "fiber.h"

struct store_gate {
    uint32_t ops, ops_max;
    uint64_t bytes, bytes_max;
    struct fiber_cond room;
};

/* 0, or -ECANCELED. Something larger than bytes_max passes alone. (waits) */
int store_gate_enter(struct store_gate *g, uint64_t bytes);
/* With the bytes it entered with. */
void store_gate_leave(struct store_gate *g, uint64_t bytes);

#endif
