/* keep.h: which recovery points a hub keeps, as people write it:
 *
 *   all 48h, hourly 14d, daily 90d, monthly 36, labelled ever
 *
 * Rules apart by commas, each of a kind at most once. A span is a duration, a number (of hours,
 * days, weeks, months, years, as the kind says), or "ever". What no rule keeps goes, but see
 * engine/hub/retention.h for what stays whatever the rules say. A text that says nothing of
 * labelled points keeps them for ever. Pure. */
#ifndef RELAIS_KEEP_H
#define RELAIS_KEEP_H

#include "bounds.h"
#include "err.h"

#include <stdbool.h>
#include <stdint.h>

enum keep_kind {
    KEEP_ALL,     /* each of them */
    KEEP_HOURLY,  /* the last complete one of each hour (UTC), */
    KEEP_DAILY,   /* day, */
    KEEP_WEEKLY,  /* week (from Monday), */
    KEEP_MONTHLY, /* month, */
    KEEP_YEARLY,  /* year */
    KEEP_LABELLED,
    KEEP_KINDS
};

#define KEEP_EVER UINT64_MAX
#define KEEP_MAX                                                                                   \
    (UINT64_C(100) * 31557600 * 1000000000) /* the longest span that ends: 100 years               \
                                             */
#define KEEP_TEXT 256

struct keep {
    uint64_t span[KEEP_KINDS]; /* ns of age; 0: no such rule */
};

/* Rules of one group, or ("") of all that have none of their own. */
struct keep_of {
    char group[NAME_MAX_LEN + 1];
    struct keep keep;
};

/* "hourly" */
const char *keep_word(enum keep_kind kind);
/* Errors: CONFIG, saying which rule is wrong and what would be right. */
int keep_parse(struct keep *out, const char *text, struct err *e);
/* The same with "GROUP:" before it, or without. */
int keep_parse_of(struct keep_of *out, const char *text, struct err *e);
/* As it would be written: parsed again it is the same. dst of KEEP_TEXT; returns dst. */
char *keep_text(char *dst, const struct keep *k);
/* What either keeps. */
struct keep keep_join(const struct keep *a, const struct keep *b);
bool keep_equal(const struct keep *a, const struct keep *b);

#endif
