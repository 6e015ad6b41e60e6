/* lanes.h: the connections that a shipper's parts go out on.
 *
 * The first one is the shipper's own: it carries everything else, and all end with it. Others join
 * it (Join) while one cannot fill the link: because a stream that loses packets is held back by its
 * send buffer, or a policer in between counts streams. Nobody can know that beforehand, so it is
 * tried: when the link was busy for a while, one more is opened; if not LANES_GAIN more gets across
 * with it, it is closed again, and the next attempt waits longer. Such an attempt is not free: the
 * first connection shares the link meanwhile, and takes a second or so to find back to its speed.
 * So none is made before LANES_WAIT_FIRST of a connection's life, unless another was of use before:
 * what is behind by more than that has the time, what is not gains little. */
#ifndef RELAIS_LANES_H
#define RELAIS_LANES_H

#include "call.h"
#include "share.h"

#define LANES_MAX     8u
#define LANES_LOOK_NS IO_S
#define LANES_GAIN    1.1
/* Looks that make a measurement; of those after a lane was opened the first does not count: a
 * stream takes a while to find its speed. */
#define LANES_LOOKS      2u
#define LANES_WAIT_FIRST (30u) /* looks */
#define LANES_WAIT_MIN   (60 * IO_S)
#define LANES_WAIT_MAX   (900 * IO_S)

struct lane {
    struct caller *caller; /* NULL: free */
    unsigned users;        /* parts on their way */
    unsigned sending;      /* of them, those whose pieces are being sent */
    bool retiring;         /* takes no more */
};

struct lanes {
    struct lane lane[LANES_MAX];
    unsigned max;
    struct share *share;
    uint64_t voyage;
    uint64_t look_ns; /* 0: LANES_LOOK_NS */
    /* Opens another connection: 0, or the error's code. (waits) */
    int (*open)(void *arg, struct caller **out, struct err *e);
    void *arg;
    struct fiber *keeper;
    bool stopping;
    bool useful; /* another one brought more once, whole life: no need to be hesitant */
    struct fiber_cond wake;
    uint64_t closed_bytes; /* that lanes carried which are closed */
    /* The keeper's. */
    uint64_t at, bytes, busy_ns; /* as of the last look */
    uint64_t sum_bytes, sum_ns;  /* of this measurement */
    unsigned looks;              /* busy ones, in a row */
    int tried;                   /* the lane that is on trial; -1 */
    double before;               /* bytes/ns without it */
    uint64_t next_try, wait;
};

/* first: the shipper's connection, which stays its own. Of `l` only max, share, voyage,
 * look_ns, useful, open and arg are read. */
void lanes_start(struct lanes *l, struct caller *first);
/* Closes all but the first. All lanes must have been given back. (waits) */
void lanes_stop(struct lanes *l);
/* How many work. */
unsigned lanes_count(const struct lanes *l);
/* The working lane that sends least; NULL: the first one is broken. lane_sent must follow, then
 * lane_give. */
struct lane *lane_take(struct lanes *l);
/* Its pieces are out. */
void lane_sent(struct lane *lane);
/* Its last call has ended. */
void lane_give(struct lanes *l, struct lane *lane);
/* Whether it broke and the others go on: what was on its way is to be sent again. */
bool lane_lost(const struct lanes *l, const struct lane *lane);
/* Bytes that went out on all of them. */
uint64_t lanes_bytes_out(const struct lanes *l);

#endif
