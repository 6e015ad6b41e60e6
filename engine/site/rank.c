#include "rank.h"

enum io_work_class rank_class(struct rank *r, uint64_t now)
{
    if (r->held_up)
        return IO_WORK_CPU;
    if (r->since == 0)
        r->since = now;
    if (now - r->since >= RANK_PERIOD) {
        r->starved = !r->starved && r->regions < RANK_LEAST;
        r->since = now;
        r->regions = 0;
    }
    return r->asked || r->starved ? IO_WORK_LOW : IO_WORK_IDLE;
}

void rank_note(struct rank *r)
{
    r->regions++;
}
