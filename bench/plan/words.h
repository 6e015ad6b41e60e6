/* words.h: what was foretold, in words that a network team understands, and as JSON. */
#ifndef RELAIS_PLAN_WORDS_H
#define RELAIS_PLAN_WORDS_H

#include "day.h"
#include "replay.h"

#include <jansson.h>
#include <stdio.h>

void words_scenario(FILE *out, const struct scenario *s, const struct replay *r);
json_t *words_scenario_json(const struct scenario *s, const struct replay *r);
/* interval: the shortest that the link holds, s; 0: none. bits: of the link, a second. */
void words_day(FILE *out, const struct day_is *is, const struct day *d, double interval,
               double bits);
json_t *words_day_json(const struct day_is *is, const struct day *d, double interval);

/* One figure that was foretold, and what a run measured. */
struct words_check {
    char what[64], unit[8];
    double planned, measured;
    bool judged; /* whether the two must agree; else it is only shown */
};
/* Difference as a share of what was measured. */
double words_deviation(const struct words_check *c);
void words_checks(FILE *out, const struct words_check *checks, size_t count, double tolerance);
json_t *words_checks_json(const struct words_check *checks, size_t count, double tolerance);

#endif
