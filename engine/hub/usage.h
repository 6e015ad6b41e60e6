/* usage.h: what sites have stored, and how much they shipped per month: for quotas and for the
 * sharing of costs.
 *
 * Stored is the sum of a group's catalog: summed once, when it is first asked for, and again by
 * each pass of the keeper; in between by what the head tells, which counts what was ever committed,
 * also through another hub of the same store. No commit walks anything. What a month brought is a
 * record in the group's log "GROUP.usage", numbered by the month, that holds the head's counts at
 * its end; two hubs that write the same record write the same. All but usage_free and usage_month
 * (wait). */
#ifndef RELAIS_USAGE_H
#define RELAIS_USAGE_H

#include "catalog.h"
#include "config.h"

#define USAGE_FRESH_NS (10 * IO_S) /* sums older than this are held against the heads again */
#define USAGE_MONTHS   13u         /* told: a year, and the month under way */

struct usage_sum {
    uint64_t bytes, objects, rps;
};

struct usage_month {
    unsigned month; /* year * 12 + month from 0 */
    struct usage_sum shipped;
};

struct usage; /* of all sites of a hub */

struct usage *usage_new(struct store *store);
void usage_free(struct usage *u);

/* What is stored of a site. again: every catalog is summed anew. */
int usage_site(struct usage *u, const char *site, bool again, struct usage_sum *out, struct err *e);
/* This hub committed so much. Does not wait. */
void usage_committed(struct usage *u, const char *site, const char *group, uint64_t bytes,
                     uint64_t objects);
/* The newest months in which something came, the last one under way; ascending. */
int usage_months(struct usage *u, const char *site, int64_t now,
                 struct usage_month out[USAGE_MONTHS], unsigned *count, struct err *e);
/* Writes the records of months that are over, where there are none. */
int usage_record(struct usage *u, const char *site, const char *group, int64_t now, struct err *e);

/* The month of a time, in UTC. */
unsigned usage_month(int64_t ns);

#endif
