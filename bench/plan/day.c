#include "day.h"

#include "sample.h"
#include "units.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#define STEP_S    1.0 /* between two looks at the day's rate */
#define SEAL_RATE 120e6
#define CUT_S     0.05
#define SAVE_S    0.05
#define NS        1e9

static int bad(struct err *e, const char *name, const char *value, const char *wanted)
{
    return err_set(e, ERR_CONFIG, "%.40s = %.60s: wanted is %s", name, value, wanted);
}

/* "35%" to 0.35; what follows it, or NULL when it is no share above 0 and at most 1. */
static const char *percent(double *out, const char *text)
{
    char *end;
    *out = strtod(text, &end) / 100;
    return end != text && *end == '%' && *out > 0 && *out <= 1 ? end + 1 : NULL;
}

static int set_step(struct day_is *is, const char *name, const char *value, struct err *e)
{
    unsigned h, m;
    uint64_t rate;
    char rest;
    double at;
    if (sscanf(name, "%2uh%2u%c", &h, &m, &rest) != 2 || h > 23 || m > 59)
        return err_set(
            e, ERR_CONFIG,
            "\"%.40s\" is none of distinct, sealed, interval, spool-budget, outage, days, "
            "and no time of day like 08h00",
            name);
    at = h * 3600 + m * 60;
    if (units_parse_size(&rate, value) < 0)
        return bad(e, name, value, "bytes a second, like 2MiB");
    if (is->step_count == DAY_STEPS || (is->step_count && is->steps[is->step_count - 1].at >= at))
        return bad(e, name, value, "one of at most 96 times of day, in order");
    is->steps[is->step_count].at = at;
    is->steps[is->step_count++].rate = (double)rate;
    return 0;
}

static int set_distinct(struct day_is *is, const char *value, struct err *e)
{
    double share;
    const char *rest = percent(&share, value);
    uint64_t within;
    unsigned n = is->distinct_count;
    while (rest && *rest == ' ')
        rest++;
    if (!rest || units_parse_duration(&within, rest) < 0 || within == 0 || n == DAY_DISTINCT)
        return bad(e, "distinct", value, "a share and the time it holds for, like 70% 5s");
    if (n &&
        (is->distinct[n - 1].within >= (double)within / NS || is->distinct[n - 1].share < share))
        return bad(e, "distinct", value,
                   "a longer time than the line before has, and no more of it");
    is->distinct[n].share = share;
    is->distinct[n].within = (double)within / NS;
    is->distinct_count++;
    return 0;
}

int day_set(struct day_is *is, const char *name, const char *value, struct err *e)
{
    double *time = strcmp(name, "interval") == 0 ? &is->interval
                   : strcmp(name, "outage") == 0 ? &is->outage
                                                 : NULL;
    uint64_t n;
    const char *end;
    if (strcmp(name, "distinct") == 0)
        return set_distinct(is, value, e);
    if (strcmp(name, "sealed") == 0) {
        end = percent(&is->sealed, value);
        return end && *end == '\0' ? 0 : bad(e, name, value, "a share, like 35%");
    }
    if (strcmp(name, "spool-budget") == 0) {
        if (units_parse_size(&n, value) < 0 || n == 0)
            return bad(e, name, value, "a size, like 64GiB");
        is->spool_budget = (double)n;
        return 0;
    }
    if (strcmp(name, "days") == 0) {
        is->days = strtod(value, NULL);
        return is->days >= 1 && is->days <= 31 ? 0 : bad(e, name, value, "1 to 31");
    }
    if (!time)
        return set_step(is, name, value, e);
    if (units_parse_duration(&n, value) < 0 || n < 1000000000u || n > UINT64_C(86400000000000))
        return bad(e, name, value, "a duration of 1s to 24h");
    *time = (double)n / NS;
    return 0;
}

struct loading {
    struct day_is *is;
    struct err *e;
    int rc;
};

static int take_line(void *arg, const char *section, const char *name, const char *value)
{
    struct loading *l = arg;
    l->rc = strcmp(section, "changes") == 0
                ? day_set(l->is, name, value, l->e)
                : err_set(l->e, ERR_CONFIG, "[%.40s]: the one section is [changes]", section);
    return l->rc == 0;
}

int day_load(struct day_is *is, const char *file, struct err *e)
{
    struct loading l = {is, e, 0};
    FILE *f = fopen(file, "re");
    int line;
    *is = (struct day_is){.sealed = 0.5, .interval = 5, .spool_budget = 10737418240.0, .days = 30};
    if (!f)
        return err_os(e, errno, "%s", file);
    line = ini_parse_file(f, take_line, &l);
    (void)fclose(f);
    if (l.rc < 0)
        return err_prefix(e, "%s:%d", file, line);
    if (line != 0)
        return err_set(e, ERR_CONFIG, "%s:%d: NAME = VALUE is wanted", file, line);
    if (is->step_count == 0)
        return err_set(e, ERR_CONFIG, "%s: no line says how much is written, like 08h00 = 2MiB",
                       file);
    return 0;
}

double day_rate(const struct day_is *is, double t)
{
    double of_day = fmod(t, DAY_S), rate = is->steps[is->step_count - 1].rate; /* since yesterday */
    for (unsigned i = 0; i < is->step_count && is->steps[i].at <= of_day; i++)
        rate = is->steps[i].rate;
    return rate;
}

double day_distinct(const struct day_is *is, double within)
{
    unsigned n = is->distinct_count, i = 0;
    double a, b, at;
    if (n == 0)
        return 1;
    while (i < n && is->distinct[i].within < within)
        i++;
    if (i == 0 || i == n)
        return is->distinct[i == 0 ? 0 : n - 1].share;
    a = log(is->distinct[i - 1].within);
    b = log(is->distinct[i].within);
    at = (log(within) - a) / (b - a);
    return is->distinct[i - 1].share + at * (is->distinct[i].share - is->distinct[i - 1].share);
}

/* ---- a day ---- */

static void begin(struct plan_model *m, const struct day_is *is, double capacity, double rtt)
{
    struct plan_is p = {.rtt_s = rtt,
                        .spool_budget = is->spool_budget,
                        .seal_rate = SEAL_RATE,
                        .cut_s = CUT_S,
                        .save_s = SAVE_S,
                        .group_count = 1};
    p.groups[0] = (struct plan_group_is){is->interval, is->sealed, 1, 0};
    plan_model_init(m, &p, capacity);
}

/* Whether a longer stretch is open than an interval: then less is left of what it overwrites. */
static void write_for(struct plan_model *m, const struct day_is *is, double t, double seconds)
{
    const struct plan_group *g = &m->groups[0];
    double open = m->now - (g->count ? g->queue[g->count - 1].cut : 0);
    plan_change(m, 0, day_rate(is, t) * seconds * day_distinct(is, fmax(is->interval, open)));
}

static double busiest_hour(const struct day_is *is, double length, double *at)
{
    double most = -1;
    for (double t = 0; t < DAY_S; t += 900) {
        double sum = 0;
        for (double k = 0; k < length; k += 60)
            sum += day_rate(is, t + k) * 60;
        if (sum > most) {
            most = sum;
            *at = t;
        }
    }
    return most;
}

static void play_outage(struct day *d, const struct day_is *is, double capacity, double rtt)
{
    struct plan_model m;
    double over = d->outage_begin + is->outage;
    begin(&m, is, capacity, rtt);
    d->catch_up = NAN;
    m.now = m.sampled = d->outage_begin - 10 * is->interval;
    m.groups[0].next_cut = m.now + is->interval;
    m.groups[0].safe_cut = m.now;
    while (m.now < over + DAY_S && isnan(d->catch_up)) {
        double t = m.now + STEP_S;
        if (m.now >= d->outage_begin && m.now < over)
            plan_link(&m, 0);
        else
            plan_link(&m, capacity);
        write_for(&m, is, m.now, STEP_S);
        plan_advance(&m, t);
        d->outage_rpo = fmax(d->outage_rpo, plan_rpo(&m));
        if (m.now > over && plan_safe_since(&m, over))
            d->catch_up = m.now - over;
    }
    d->spool = m.spool_most;
    d->backlog = m.waiting_most;
    d->spool_full = m.held_back;
    plan_model_free(&m);
}

static void play_day(struct day *d, const struct day_is *is, double capacity, double rtt)
{
    struct plan_model m;
    struct sample all;
    double *v;
    begin(&m, is, capacity, rtt);
    while (m.now < DAY_S) {
        d->written += day_rate(is, m.now) * STEP_S;
        write_for(&m, is, m.now, STEP_S);
        plan_advance(&m, m.now + STEP_S);
    }
    v = err_calloc(m.sample_count, sizeof *v);
    for (size_t i = 0; i < m.sample_count; i++)
        v[i] = (double)m.rpo[i];
    all = sample_of(v, m.sample_count);
    d->p50 = all.median;
    d->p99 = sample_quantile(v, m.sample_count, 0.99);
    d->max = all.max;
    d->changed = m.changed;
    d->shipped = m.shipped + plan_left(&m);
    d->suffices = plan_rpo(&m) < 2 * is->interval + 2 && d->max < DAY_S / 2;
    free(v);
    plan_model_free(&m);
}

void day_play(struct day *d, const struct day_is *is, double capacity, double rtt)
{
    double at = 0;
    memset(d, 0, sizeof *d);
    d->busiest =
        busiest_hour(is, 3600, &at) / 3600 * day_distinct(is, is->interval) * is->sealed / capacity;
    play_day(d, is, capacity, rtt);
    if (is->outage > 0) {
        (void)busiest_hour(is, is->outage, &d->outage_begin);
        play_outage(d, is, capacity, rtt);
    }
}

double day_interval(const struct day_is *is, double capacity, double rtt)
{
    static const double usual[] = {1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600};
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        struct day_is with = *is;
        struct day d;
        with.interval = usual[i];
        with.outage = 0;
        day_play(&d, &with, capacity, rtt);
        if (d.p99 <= 2 * usual[i] + 2)
            return usual[i];
    }
    return 0;
}
