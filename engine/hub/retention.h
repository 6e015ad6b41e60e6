/* retention.h: which recovery points of a group stay at the hub, and why. Pure.
 *
 * Time. A site's clock decides nothing, and the hub's may be wrong for a while: it starts in 1970,
 * it is set by hand to the wrong year, two hubs differ. So there are two notions of time:
 * - The *age* of an RP is measured on a clock of the group's own, which is in the catalog with each
 *   RP (retention_clock): from one commit to the next it goes as the hub's clock went, forward or
 *   back, but by RETENTION_STEP at most; and so from the newest RP to now. However far the hub's
 *   clock jumps, everything grows older by a day at most, and by none when it jumps back again. A
 *   group that is not shipped (its site burnt down) does not grow older either: its history waits.
 *   One that is cut more seldom than once a day grows older more slowly, and keeps more.
 * - A *bucket* is an hour, day, week (from Monday), month or year of UTC, from its first nanosecond
 *   to before its end, by the hub's clock at the commit. The last complete RP of a bucket is the
 *   one whose next complete one, by number, is in another bucket (or that has no next). So an RP
 *   that was once not the last never will be, what a rule keeps is never gone already when it needs
 *   it (hours are in days, days in weeks, months, years), and a clock that jumps makes more
 * buckets, not fewer.
 *
 * An RP stays while its age is *less* than the span of a rule that it falls under. Whatever the
 * rules say, these stay: the head; the newest complete RP, and what was committed after it (an
 * incomplete stretch, which is no substitute); all that is younger than the lock; what is pinned.
 * What goes is folded into the next that stays, so bytes that a kept RP needs are never lost.
 *
 * The verdict on what is left after a pass, at the same time, keeps all of it. */
#ifndef RELAIS_RETENTION_H
#define RELAIS_RETENTION_H

#include "keep.h"

#include <stddef.h>

#define RETENTION_STEP INT64_C(86400000000000) /* ns: a day */

/* Why an RP stays; several may hold. In the order in which they are named. */
enum retention_why {
    RETENTION_PINNED,
    RETENTION_NEWEST, /* the newest complete one, or after it */
    RETENTION_LOCKED,
    RETENTION_LABELLED,
    RETENTION_ALL,
    RETENTION_HOURLY,
    RETENTION_DAILY,
    RETENTION_WEEKLY,
    RETENTION_MONTHLY,
    RETENTION_YEARLY,
    RETENTION_WHYS
};
#define RETENTION_GOES 0u /* no bit set */
#define RETENTION_TEXT 128

struct retention_policy {
    struct keep keep;
    uint64_t lock_ns; /* 0: none */
};

struct retention_point {
    uint64_t rp;
    int64_t committed_time; /* by the hub's clock, ns UTC */
    int64_t clock;          /* the group's, then */
    bool complete, labelled, pinned;
};

/* The group's clock of an RP that is committed at `now`; head: of the RP before it, both 0 when
 * there is none. */
int64_t retention_clock(int64_t head_clock, int64_t head_committed, int64_t now);
/* Age in ns of the RP with this clock. */
uint64_t retention_age(int64_t clock, int64_t head_clock, int64_t head_committed, int64_t now);

/* why[i]: bits (1 << RETENTION_...) of points[i]; RETENTION_GOES when none holds. Points ascend by
 * rp, and the last is the head. */
void retention_judge(const struct retention_policy *policy, const struct retention_point *points,
                     size_t n, int64_t now, uint16_t *why);
/* "pinned", "all, hourly, daily", "goes". dst of RETENTION_TEXT; returns dst. */
char *retention_text(char *dst, uint16_t why);

#endif
