/* governor.h: looks once a second at how the site does, and sets what follows from it: how fast it
 * may ship (the schedule of the configuration, or what somebody said by hand), and how hard what is
 * sealed is compressed. */
#ifndef RELAIS_GOVERNOR_H
#define RELAIS_GOVERNOR_H

#include "group.h"
#include "level.h"

struct governor {
    const struct config *config;
    struct share *share;
    struct workshop *shop;
    struct group **groups;
    size_t count;
    struct fiber *fiber;
    struct fiber_cond changed;
    bool stopping;
    bool by_hand; /* `rate` holds, not the schedule */
    uint64_t rate;
    char rule[RATES_TEXT];
    struct level level;
    /* At the last look. */
    uint64_t at, busy_ns, work_ns, sent;
};

/* All are borrowed, and outlive it. */
void governor_start(struct governor *g, const struct config *config, struct share *share,
                    struct workshop *shop, struct group **groups, size_t count);
void governor_stop(struct governor *g); /* (waits) */
/* A rate until the next start, in bytes/s, 0: no limit; or the schedule's again. At once. */
void governor_hold(struct governor *g, uint64_t rate);
void governor_follow(struct governor *g);
/* The text in it is the governor's, until the next call. */
void governor_rate(struct governor *g, Relais__RateState *out);

#endif
