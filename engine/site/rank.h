/* rank.h: how much of the machine a pass may have: the guests' writes and reads go first.
 *
 * While volumes stand still (a freeze) somebody is held up: at full speed. Somebody who asked for a
 * recovery point gets a small share of a busy machine. Other passes over captured volumes take the
 * processors that nobody else wants, and only when they hardly get on that way, every other second,
 * such a share, too: it costs the guests more than its size, for who wakes up then has to wait for
 * a slice to end. On an idle machine all are equally fast. */
#ifndef RELAIS_RANK_H
#define RELAIS_RANK_H

#include "io.h"

#define RANK_PERIOD (1 * IO_S)
#define RANK_LEAST  4u /* regions in a period; with fewer a pass starves */

struct rank {
    bool held_up; /* somebody waits for the reading to end */
    bool asked;   /* somebody waits for the recovery point */
    bool starved;
    uint64_t since; /* io_now, when the period began */
    unsigned regions;
};

/* How to go on. Does not wait. */
enum io_work_class rank_class(struct rank *r, uint64_t now);
/* A region is through. Does not wait. */
void rank_note(struct rank *r);

#endif
