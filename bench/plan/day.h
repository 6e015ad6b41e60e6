/* day.h: what a day on a link will be like, from figures that a hospital has: how much it writes at
 * which time of day, how much of that overwrites itself, how well it compresses.
 *
 *   [changes]
 *   00h00 = 200KiB           bytes written a second, from this time of day on
 *   08h00 = 3MiB
 *   distinct = 70% 5s        of what is written in 5 s, the share that is left when each place
 *   distinct = 30% 1h        counts once; more than one: in between it falls with the logarithm
 *   sealed = 35%             of its bytes, compressed and encrypted
 *   interval = 5s            between recovery points
 *   spool-budget = 64GiB
 *   outage = 4h              how long the link may be away, at the worst time of the day
 *   days = 22                working days of a month
 */
#ifndef RELAIS_PLAN_DAY_H
#define RELAIS_PLAN_DAY_H

#include "err.h"
#include "model.h"

#define DAY_STEPS    96u
#define DAY_DISTINCT 16u
#define DAY_S        86400.0

struct day_is {
    struct {
        double at, rate; /* s of the day, bytes a second */
    } steps[DAY_STEPS];
    unsigned step_count;
    struct {
        double within, share;
    } distinct[DAY_DISTINCT];
    unsigned distinct_count;
    double sealed, interval, spool_budget, outage, days;
};

struct day {
    double p50, p99, max;             /* RPO, s */
    double written, changed, shipped; /* bytes a day */
    double busiest;                   /* share of the link in the busiest hour */
    bool suffices;                    /* at the day's end no more waits than at its begin */
    double outage_begin;              /* s of the day: the worst time */
    double spool, backlog;            /* bytes at most, in an outage then */
    bool spool_full;                  /* it outgrew the budget: history gets coarser */
    double catch_up, outage_rpo;      /* s after its end; NAN: not within a day. s */
};

/* Errors: CONFIG, NOENT, IO, with file and line. */
int day_load(struct day_is *is, const char *file, struct err *e);
int day_set(struct day_is *is, const char *name, const char *value, struct err *e);
/* Share of what is written within so many seconds that is left when each place counts once. */
double day_distinct(const struct day_is *is, double within);
double day_rate(const struct day_is *is, double t);

/* capacity, rtt: the link's, as plan_capacity has it. */
void day_play(struct day *d, const struct day_is *is, double capacity, double rtt);
/* The shortest usual interval that the link holds, s; 0: none. */
double day_interval(const struct day_is *is, double capacity, double rtt);

#endif
