#include "pace.h"

void pace_note(struct pace *p, uint64_t now, uint64_t bytes)
{
    if (p->rate == 0)
        return;
    if (p->due < now)
        p->due = now; /* what was not used is not saved up */
    p->due += (uint64_t)((double)bytes / (double)p->rate * (double)IO_S);
}

uint64_t pace_wait(const struct pace *p, uint64_t now)
{
    return p->rate > 0 && p->due > now ? p->due - now : 0;
}
