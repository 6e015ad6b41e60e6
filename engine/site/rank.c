#include "rank.h"

void rank_begin(struct rank *p, uint64_t now, uint64_t interval_ns)
{
    *p = (struct rank){.due = now + interval_ns / 100 * RANK_PART};
}

enum io_work_class rank_class(const struct rank *p, uint64_t now)
{
    if (p->held_up)
        return IO_WORK_CPU;
    return now < p->due ? IO_WORK_IDLE : IO_WORK_LOW;
}
