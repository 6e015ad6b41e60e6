/* level.h: which level of compression fits now. Pure.
 *
 * When the link holds shipping up, processors that idle can make what it has to carry smaller: the
 * level rises. When sealing is what takes long, or the link keeps up, it falls again, so that a
 * fast link is never slowed down. Rises are slow and falls are quick: a level too low costs bytes
 * of a link that is behind anyway, one too high costs recovery points. */
#ifndef RELAIS_LEVEL_H
#define RELAIS_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

#define LEVEL_LEAST 1
#define LEVEL_MOST  9

struct level_input {  /* of the last period */
    uint64_t lag;     /* sealed bytes that are not committed, at its end */
    uint64_t shipped; /* bytes that went out in it */
    double link;      /* share of it in which somebody wanted to send */
    double workers;   /* share of the worker threads that was busy sealing */
    double cut;       /* longest time of a cut, in its group's intervals; waits left out */
};

struct level {
    int now;
    unsigned up, down; /* periods in a row that spoke for it */
};

#define LEVEL_UP_PERIODS   5u /* of a second */
#define LEVEL_DOWN_PERIODS 2u
#define LEVEL_IDLE_PERIODS 15u /* for falling because nothing is to be gained */

void level_init(struct level *l);
/* One period on; returns the level. */
int level_step(struct level *l, const struct level_input *in);

#endif
