#include "rates.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S      INT64_C(1000000000)
#define NS_PER_MINUTE (60 * NS_PER_S)
#define ALL_DAYS      0x7fu
#define DAYS          7u

static const char *const day_words[DAYS] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

/* -- Reading -- */

int rates_parse_rate(uint64_t *out, const char *text, struct err *e)
{
    static const struct {
        const char *word;
        double bytes;
    } units[] = {{"kbit", 125}, {"mbit", 125e3}, {"gbit", 125e6}};
    size_t digits = strspn(text, "0123456789"), n = digits;
    double v;
    if (strcmp(text, "off") == 0) {
        *out = 0;
        return 0;
    }
    if (digits > 0 && text[n] == '.') {
        size_t more = strspn(text + n + 1, "0123456789");
        n = more > 0 ? n + 1 + more : 0;
    }
    for (size_t i = 0; digits > 0 && digits < 16 && n > 0 && n < 32 && i < 3; i++) {
        if (strcmp(text + n, units[i].word) != 0)
            continue;
        v = strtod(text, NULL) * units[i].bytes; /* the C locale's point: nobody sets another */
        if (v < (double)RATES_RATE_MIN || v > (double)RATES_RATE_MAX)
            return err_set(e, ERR_CONFIG,
                           "%.40s is out of bounds; 64kbit to 1000gbit is allowed, to ship nothing "
                           "use relais pause",
                           text);
        *out = (uint64_t)(v + 0.5);
        return 0;
    }
    return err_set(e, ERR_CONFIG,
                   "\"%.40s\" is not a rate; write a number and kbit, mbit or gbit, as 20mbit, or "
                   "off",
                   text);
}

static int day_of(const char *word, size_t len)
{
    for (unsigned d = 0; d < DAYS; d++)
        if (len == 3 && memcmp(word, day_words[d], 3) == 0)
            return (int)d;
    return -1;
}

/* "sat", "mon..fri", "fri..mon" */
static int parse_days(uint8_t *out, const char *word, struct err *e)
{
    const char *dots = strstr(word, "..");
    int from = day_of(word, dots ? (size_t)(dots - word) : strlen(word)), to = from;
    if (dots)
        to = day_of(dots + 2, strlen(dots + 2));
    if (from < 0 || to < 0)
        return err_set(e, ERR_CONFIG,
                       "\"%.40s\" is no weekday; write mon, tue, wed, thu, fri, sat or sun, or "
                       "several as mon..fri",
                       word);
    *out = 0;
    for (int d = from;; d = (d + 1) % (int)DAYS) {
        *out = (uint8_t)(*out | 1u << d);
        if (d == to)
            return 0;
    }
}

/* "HH:MM" of five characters; -1 when it is none. */
static int minute_of(const char *t)
{
    int h, m;
    if (strspn(t, "0123456789") < 2 || t[2] != ':' || strspn(t + 3, "0123456789") < 2)
        return -1;
    h = (t[0] - '0') * 10 + t[1] - '0';
    m = (t[3] - '0') * 10 + t[4] - '0';
    return m < 60 && (h < 24 || (h == 24 && m == 0)) ? h * 60 + m : -1;
}

static int parse_times(struct rate_rule *rule, const char *word, struct err *e)
{
    size_t n = strlen(word);
    int from = n == 11 && word[5] == '-' ? minute_of(word) : -1;
    int to = from >= 0 ? minute_of(word + 6) : -1;
    if (from < 0 || to < 0 || from == (int)RATES_DAY)
        return err_set(e, ERR_CONFIG,
                       "\"%.40s\" is no time of day; write HH:MM-HH:MM, as 08:00-18:00", word);
    if (from == to)
        return err_set(e, ERR_CONFIG,
                       "\"%.40s\" ends when it begins; leave the times out to mean all day", word);
    rule->from = (uint16_t)from;
    rule->to = (uint16_t)to;
    return 0;
}

/* [DAYS] [TIMES] RATE */
static int parse_rule(struct rate_rule *rule, char *text, struct err *e)
{
    char *words[4], *rest = text, *word;
    unsigned n = 0, at = 0;
    int res = 0;
    *rule = (struct rate_rule){.days = ALL_DAYS, .to = RATES_DAY};
    while ((word = strsep(&rest, " \t"))) {
        if (!*word)
            continue;
        if (n == 4)
            break;
        words[n++] = word;
    }
    if (n == 0)
        return err_set(e, ERR_CONFIG, "a rule is empty; write one between two commas");
    if (n > 3)
        return err_set(e, ERR_CONFIG,
                       "\"%.40s\" is one word too many; a rule is [DAYS] [HH:MM-HH:MM] RATE",
                       words[3]);
    if (n - at > 1 && !strchr("0123456789", words[at][0]))
        res = parse_days(&rule->days, words[at++], e);
    if (res == 0 && n - at > 1)
        res = parse_times(rule, words[at++], e);
    if (res == 0 && n - at > 1)
        res = err_set(e, ERR_CONFIG,
                      "\"%.40s\" is one word too many; a rule is [DAYS] [HH:MM-HH:MM] RATE",
                      words[at + 1]);
    return res == 0 ? rates_parse_rate(&rule->rate, words[at], e) : res;
}

/* Whether the last rule holds at any time, or the others leave it none. */
static bool last_holds(const struct rates *r)
{
    for (unsigned d = 0; d < DAYS; d++)
        for (unsigned m = 0; m < RATES_DAY; m++)
            if (rates_rule(r, d, m) == &r->rules[r->count - 1])
                return true;
    return false;
}

int rates_add(struct rates *r, const char *text, struct err *e)
{
    char *copy = err_strdup(text), *rest = copy, *word, shown[RATES_TEXT];
    int res = 0;
    while (res == 0 && (word = strsep(&rest, ","))) {
        if (r->count == RATES_MAX) {
            res = err_set(e, ERR_CONFIG, "more than %u rules", RATES_MAX);
            break;
        }
        res = parse_rule(&r->rules[r->count], word, e);
        if (res < 0)
            break;
        r->count++;
        if (!last_holds(r))
            res = err_set(e, ERR_CONFIG,
                          "the rule \"%s\" never holds: the first one that fits decides, and those "
                          "before it cover all its time; put it before them",
                          rates_text(shown, &r->rules[r->count - 1]));
    }
    free(copy);
    return res;
}

/* -- Looking up -- */

static bool holds(const struct rate_rule *rule, unsigned day, unsigned minute)
{
    unsigned before = (day + DAYS - 1) % DAYS;
    if (rule->from < rule->to)
        return (rule->days >> day & 1) && minute >= rule->from && minute < rule->to;
    return ((rule->days >> day & 1) && minute >= rule->from) ||
           ((rule->days >> before & 1) && minute < rule->to);
}

const struct rate_rule *rates_rule(const struct rates *r, unsigned day, unsigned minute)
{
    for (unsigned i = 0; i < r->count; i++)
        if (holds(&r->rules[i], day, minute))
            return &r->rules[i];
    return NULL;
}

const struct rate_rule *rates_rule_at(const struct rates *r, int64_t wall_ns)
{
    time_t t = (time_t)(wall_ns / NS_PER_S);
    struct tm tm;
    if (!localtime_r(&t, &tm))
        return NULL;
    return rates_rule(r, (unsigned)(tm.tm_wday + 6) % DAYS,
                      (unsigned)(tm.tm_hour * 60 + tm.tm_min));
}

int64_t rates_change(const struct rates *r, int64_t wall_ns)
{
    const struct rate_rule *now = rates_rule_at(r, wall_ns);
    uint64_t rate = now ? now->rate : 0;
    int64_t at = wall_ns - wall_ns % NS_PER_MINUTE;
    for (unsigned i = 0; i < (DAYS + 1) * RATES_DAY; i++) {
        const struct rate_rule *then = rates_rule_at(r, at += NS_PER_MINUTE);
        if ((then ? then->rate : 0) != rate)
            return at;
    }
    return 0;
}

/* -- Writing -- */

static int put_days(char dst[RATES_TEXT], uint8_t days)
{
    unsigned first = 0, n = 0;
    if (days == ALL_DAYS)
        return 0;
    while (!(days >> first & 1) || (days >> ((first + DAYS - 1) % DAYS) & 1))
        first++;
    while (days >> ((first + n) % DAYS) & 1)
        n++;
    return n == 1 ? snprintf(dst, RATES_TEXT, "%s ", day_words[first])
                  : snprintf(dst, RATES_TEXT, "%s..%s ", day_words[first],
                             day_words[(first + n - 1) % DAYS]);
}

char *rates_text(char *dst, const struct rate_rule *rule)
{
    int n = put_days(dst, rule->days);
    double kbit = (double)rule->rate / 125;
    if (rule->from != 0 || rule->to != RATES_DAY)
        n += snprintf(dst + n, (size_t)(RATES_TEXT - n), "%02u:%02u-%02u:%02u ", rule->from / 60u,
                      rule->from % 60u, rule->to / 60u, rule->to % 60u);
    if (rule->rate == 0)
        (void)snprintf(dst + n, (size_t)(RATES_TEXT - n), "off");
    else if (kbit < 1e3)
        (void)snprintf(dst + n, (size_t)(RATES_TEXT - n), "%.6gkbit", kbit);
    else if (kbit < 1e6)
        (void)snprintf(dst + n, (size_t)(RATES_TEXT - n), "%.6gmbit", kbit / 1e3);
    else
        (void)snprintf(dst + n, (size_t)(RATES_TEXT - n), "%.6ggbit", kbit / 1e6);
    return dst;
}
