/* rates.h: how fast the site may ship, by weekday and time of day, as people write it:
 *
 *   mon..fri 08:00-18:00 20mbit, sat 5mbit, 22:00-06:00 off, 50mbit
 *
 * Rules apart by commas, the first that holds decides; when none does there is no limit. A rule
 * without days holds on all of them, one without times all day; one that goes over midnight belongs
 * to the day on which it begins. Times are local, as clocks on the wall show them: where they skip
 * an hour or repeat one, so do the rules. Pure but for the time zone. */
#ifndef RELAIS_RATES_H
#define RELAIS_RATES_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

#define RATES_MAX      32u
#define RATES_RATE_MIN UINT64_C(8000) /* 64 kbit/s: below, a piece of a delta takes seconds */
#define RATES_RATE_MAX UINT64_C(125000000000)
#define RATES_DAY      1440u /* minutes */
#define RATES_TEXT     64

struct rate_rule {
    uint8_t days;      /* a bit each, Monday the lowest */
    uint16_t from, to; /* minutes of the day; to <= from: on the next */
    uint64_t rate;     /* bytes/s; 0: no limit */
};

struct rates {
    struct rate_rule rules[RATES_MAX];
    unsigned count;
};

/* Appends the rules of text. Errors: CONFIG, saying which rule is wrong and what would be right. */
int rates_add(struct rates *r, const char *text, struct err *e);
/* "20mbit", "512kbit", "2.5gbit", "off": bytes/s, 0 for off. Errors: CONFIG. */
int rates_parse_rate(uint64_t *out, const char *text, struct err *e);

/* The rule that holds; NULL: none. day: Monday 0. */
const struct rate_rule *rates_rule(const struct rates *r, unsigned day, unsigned minute);
/* The same at a time in ns UTC, in the local time zone. */
const struct rate_rule *rates_rule_at(const struct rates *r, int64_t wall_ns);
/* When the limit changes next, ns UTC; 0: not within eight days. */
int64_t rates_change(const struct rates *r, int64_t wall_ns);
/* The rule as it would be written. dst of RATES_TEXT; returns dst. */
char *rates_text(char *dst, const struct rate_rule *rule);

#endif
