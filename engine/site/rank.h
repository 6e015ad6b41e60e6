/* rank.h: how much of the machine a pass may have: the guests' writes and reads go first.
 *
 * While volumes stand still (a freeze) somebody is held up: at full speed. Else a cut that has an
 * interval to last for takes the processors that nobody else wants; one that did not get done so
 * in time, and passes without a schedule (seeding, catching up, a mark), get a small share of a
 * busy machine too. On an idle machine all are equally fast. */
#ifndef RELAIS_RANK_H
#define RELAIS_RANK_H

#include "io.h"

/* What part of its interval a cut may try it with idle processors only, in percent. */
#define RANK_PART 75u

struct rank {
    bool held_up; /* somebody waits for the reading to end */
    uint64_t due; /* io_now, until which the pass should be through */
};

/* interval_ns: 0 for none. Nobody is held up. */
void rank_begin(struct rank *p, uint64_t now, uint64_t interval_ns);
/* Whose work the pass is from now on. */
enum io_work_class rank_class(const struct rank *p, uint64_t now);

#endif
