#include "store_gate.h"

#include "err.h"

int store_gate_enter(struct store_gate *g, uint64_t bytes)
{
    while (g->ops > 0 && (g->ops >= g->ops_max || g->bytes + bytes > g->bytes_max)) {
        int r = fiber_wait(&g->room, FIBER_FOREVER);
        if (r < 0)
            return r;
    }
    g->ops++;
    g->bytes += bytes;
    return 0;
}

void store_gate_leave(struct store_gate *g, uint64_t bytes)
{
    ASSERT(g->ops > 0 && g->bytes >= bytes);
    g->ops--;
    g->bytes -= bytes;
    fiber_wake_all(&g->room);
}
