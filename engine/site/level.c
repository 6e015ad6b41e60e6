#include "level.h"

/* What zstd does with a level changes little from one to the next; these are steps worth a change.
 */
static const int steps[] = {LEVEL_LEAST, 3, 6, LEVEL_MOST};
#define STEPS ((int)(sizeof steps / sizeof steps[0]))

#define LINK_FULL     0.9
#define LINK_KEEPS_UP 0.5
#define WORKERS_IDLE  0.5
#define WORKERS_FULL  0.85
#define CUT_SHORT     0.4
#define CUT_LONG      0.8
/* The link is behind when so many seconds of what it carries wait. */
#define BEHIND_S 3

void level_init(struct level *l)
{
    *l = (struct level){.now = LEVEL_LEAST};
}

static int step_of(int level)
{
    int i = 0;
    while (i + 1 < STEPS && steps[i + 1] <= level)
        i++;
    return i;
}

int level_step(struct level *l, const struct level_input *in)
{
    int at = step_of(l->now);
    bool behind = in->link >= LINK_FULL && in->lag > BEHIND_S * in->shipped && in->lag > 0;
    bool slow = in->workers >= WORKERS_FULL || in->cut >= CUT_LONG;
    bool room = in->workers <= WORKERS_IDLE && in->cut <= CUT_SHORT;
    bool keeps_up = in->link <= LINK_KEEPS_UP;
    l->up = behind && room ? l->up + 1 : 0;
    l->down = slow || keeps_up ? l->down + 1 : 0;
    if (l->up >= LEVEL_UP_PERIODS) {
        l->up = 0;
        at = at + 1 < STEPS ? at + 1 : at;
    } else if (l->down >= (slow ? LEVEL_DOWN_PERIODS : LEVEL_IDLE_PERIODS)) {
        l->down = 0;
        at = at > 0 ? at - 1 : 0;
    }
    return l->now = steps[at];
}
