#include "keep.h"

#include "bytes.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S    UINT64_C(1000000000)
#define HOUR (3600 * S)
#define DAY  (24 * HOUR)
#define YEAR (UINT64_C(31557600) * S) /* 365.25 days */

/* unit: what a bare number counts; 0: none is taken. */
static const struct {
    const char *word;
    uint64_t unit;
} kinds[KEEP_KINDS] = {
    [KEEP_ALL] = {"all", 0},
    [KEEP_HOURLY] = {"hourly", HOUR},
    [KEEP_DAILY] = {"daily", DAY},
    [KEEP_WEEKLY] = {"weekly", 7 * DAY},
    [KEEP_MONTHLY] = {"monthly", YEAR / 12},
    [KEEP_YEARLY] = {"yearly", YEAR},
    [KEEP_LABELLED] = {"labelled", 0},
};

const char *keep_word(enum keep_kind kind)
{
    return kinds[kind].word;
}

static int parse_span(uint64_t *out, enum keep_kind kind, const char *text, struct err *e)
{
    const char *word = kinds[kind].word;
    uint64_t unit = kinds[kind].unit, v = 0;
    if (strcmp(text, "ever") == 0) {
        *out = KEEP_EVER;
        return 0;
    }
    if (unit > 0 && *text && strspn(text, "0123456789") == strlen(text)) {
        v = strlen(text) <= 7 ? strtoul(text, NULL, 10) : KEEP_MAX;
        v = v > KEEP_MAX / unit ? KEEP_MAX + 1 : v * unit;
    } else if (units_parse_duration(&v, text) != 0) {
        return err_set(e, ERR_CONFIG,
                       "\"%s %.40s\": not a span; write a duration as 48h or 90d, %sor ever", word,
                       text, unit > 0 ? "a number, " : "");
    }
    if (v == 0 || v > KEEP_MAX)
        return err_set(e, ERR_CONFIG,
                       "\"%s %.40s\" is out of bounds; up to 100 years are allowed, or ever", word,
                       text);
    *out = v;
    return 0;
}

/* KIND SPAN; *seen: a bit per kind that was there. */
static int parse_rule(struct keep *k, unsigned *seen, char *text, struct err *e)
{
    text += strspn(text, " \t");
    size_t n = strlen(text), word = strcspn(text, " \t");
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        text[--n] = '\0';
    if (n == 0)
        return err_set(e, ERR_CONFIG, "a rule is empty; write one between two commas");
    for (unsigned i = 0; i < KEEP_KINDS; i++) {
        if (strlen(kinds[i].word) != word || memcmp(text, kinds[i].word, word) != 0)
            continue;
        if (*seen >> i & 1)
            return err_set(e, ERR_CONFIG, "two rules for %s; keep one of them", kinds[i].word);
        *seen |= 1u << i;
        return parse_span(&k->span[i], (enum keep_kind)i, text + word + strspn(text + word, " \t"),
                          e);
    }
    return err_set(e, ERR_CONFIG,
                   "\"%.40s\" is no rule; write all, hourly, daily, weekly, monthly, yearly or "
                   "labelled, and how long, as: all 48h, hourly 14d, daily 90d, monthly 36",
                   text);
}

int keep_parse(struct keep *out, const char *text, struct err *e)
{
    char *copy = err_strdup(text), *rest = copy, *word;
    struct keep k = {{0}};
    unsigned seen = 0;
    int rc = 0;
    k.span[KEEP_LABELLED] = KEEP_EVER;
    while (rc == 0 && (word = strsep(&rest, ",")))
        rc = parse_rule(&k, &seen, word, e);
    if (rc == 0)
        *out = k;
    free(copy);
    return rc;
}

int keep_parse_of(struct keep_of *out, const char *text, struct err *e)
{
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    memset(out, 0, sizeof *out);
    if (colon && n < sizeof out->group)
        memcpy(out->group, text, n);
    if (colon && !bytes_is_name(out->group))
        return err_set(e, ERR_CONFIG,
                       "\"%.*s\" before the colon is not a group's name; write GROUP: RULES, or "
                       "only RULES for all groups",
                       (int)(n < 60 ? n : 60), text);
    return keep_parse(&out->keep, colon ? colon + 1 : text, e);
}

/* "14d", "90min": the largest unit that divides it, so that it reads back the same. */
static void span_text(char dst[UNITS_TEXT], enum keep_kind kind, uint64_t span)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"d", DAY}, {"h", HOUR}, {"min", 60 * S}, {"s", S}, {"ms", 1000000}, {"ns", 1}};
    uint64_t unit = kinds[kind].unit;
    unsigned i = 0;
    if (span == KEEP_EVER) {
        (void)snprintf(dst, UNITS_TEXT, "ever");
        return;
    }
    if (unit > DAY && span % unit == 0) { /* weeks, months, years: counted */
        (void)snprintf(dst, UNITS_TEXT, "%llu", (unsigned long long)(span / unit));
        return;
    }
    while (span % units[i].ns != 0)
        i++;
    (void)snprintf(dst, UNITS_TEXT, "%llu%s", (unsigned long long)(span / units[i].ns),
                   units[i].name);
}

char *keep_text(char *dst, const struct keep *k)
{
    int n = 0;
    char span[UNITS_TEXT];
    *dst = '\0';
    for (unsigned i = 0; i < KEEP_KINDS; i++) {
        if (k->span[i] == 0)
            continue;
        span_text(span, (enum keep_kind)i, k->span[i]);
        n += snprintf(dst + n, (size_t)(KEEP_TEXT - n), "%s%s %s", n ? ", " : "", kinds[i].word,
                      span);
    }
    return dst;
}

struct keep keep_join(const struct keep *a, const struct keep *b)
{
    struct keep k;
    for (unsigned i = 0; i < KEEP_KINDS; i++)
        k.span[i] = a->span[i] > b->span[i] ? a->span[i] : b->span[i];
    return k;
}

bool keep_equal(const struct keep *a, const struct keep *b)
{
    for (unsigned i = 0; i < KEEP_KINDS; i++)
        if (a->span[i] != b->span[i])
            return false;
    return true;
}
