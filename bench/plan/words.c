#include "words.h"

#include "summary.h"
#include "units.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

static void line(FILE *out, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void line(FILE *out, const char *name, const char *fmt, ...)
{
    va_list ap;
    (void)fprintf(out, "  %-28s ", name);
    va_start(ap, fmt);
    (void)vfprintf(out, fmt, ap);
    va_end(ap);
    (void)fputc('\n', out);
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

/* ---- a scenario ---- */

static void outage_words(FILE *out, const struct replay_outage *o)
{
    char a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT], d[UNITS_TEXT];
    if (isnan(o->end)) {
        line(out, "outage", "from %s to the end; %s wait then", summary_time(a, o->begin),
             summary_bytes(b, o->backlog));
        return;
    }
    line(out, "outage", "%s from %s on: %s wait at its end, of which %s in the spool",
         summary_time(a, o->end - o->begin), summary_time(b, o->begin),
         summary_bytes(c, o->backlog), summary_bytes(d, o->spool));
    if (isnan(o->caught_up))
        line(out, "  caught up", "not before the end: the link has too little to spare");
    else
        line(out, "  caught up", "%s after it; RPO at most %s until then",
             summary_time(a, o->caught_up), summary_time(b, o->rpo_most));
}

void words_scenario(FILE *out, const struct scenario *s, const struct replay *r)
{
    char a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT];
    double daily = r->shipped / r->seconds * DAY_S, use = r->shipped / r->seconds / r->capacity;
    (void)fprintf(out, "%s, %s foretold\n", s->profile.description, summary_time(a, r->seconds));
    line(out, "changes", "%s written, %s when each place counts once a cut, %s sealed (%.0f %%)",
         summary_bytes(a, r->written), summary_bytes(b, r->changed), summary_bytes(c, r->shipped),
         r->ratio * 100);
    line(out, "the link carries", "%s of it; it is busy %.0f %% of the time: %s",
         summary_bits(a, r->capacity * 8), use * 100,
         use < 0.8 ? "it suffices"
         : use < 1 ? "it suffices, with little to spare after an outage"
                   : "it does NOT suffice, the RPO grows for ever");
    line(out, "RPO", "%s half of the time, %s 99 %% of the time, %s at most",
         summary_time(a, r->steady_p50), summary_time(b, r->steady_p99),
         summary_time(c, r->steady_max));
    for (unsigned i = 0; i < r->outage_count; i++)
        outage_words(out, &r->outages[i]);
    line(out, "spool", "%s at most", summary_bytes(a, r->spool_most));
    line(out, "at this pace", "%s a day, %s in 30 days", summary_bytes(a, daily),
         summary_bytes(b, 30 * daily));
}

static json_t *rpo_json(double p50, double p99, double max)
{
    return json_pack("{s:o, s:o, s:o}", "p50_s", number(p50), "p99_s", number(p99), "max_s",
                     number(max));
}

json_t *words_scenario_json(const struct scenario *s, const struct replay *r)
{
    json_t *outages = json_array();
    for (unsigned i = 0; i < r->outage_count; i++) {
        const struct replay_outage *o = &r->outages[i];
        (void)json_array_append_new(
            outages, json_pack("{s:f, s:o, s:o, s:f, s:f, s:f}", "begin_s", o->begin, "end_s",
                               number(o->end), "caught_up_s", number(o->caught_up), "backlog_bytes",
                               o->backlog, "spool_bytes", o->spool, "rpo_max_s", o->rpo_most));
    }
    return json_pack(
        "{s:s, s:s, s:f, s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:o}", "kind", "plan", "link",
        s->profile.description, "seconds", r->seconds, "rpo", rpo_json(r->p50, r->p99, r->max),
        "rpo_steady", rpo_json(r->steady_p50, r->steady_p99, r->steady_max), "written_bytes",
        r->written, "changed_bytes", r->changed, "shipped_bytes", r->shipped, "spool_peak_bytes",
        r->spool_most, "capacity_bits", r->capacity * 8, "outages", outages);
}

/* ---- a day ---- */

static void day_outage_words(FILE *out, const struct day_is *is, const struct day *d)
{
    char a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT];
    line(out, "an outage", "of %s at its worst time, %02d:%02d: %s wait at its end",
         summary_time(a, is->outage), (int)d->outage_begin / 3600, (int)d->outage_begin / 60 % 60,
         summary_bytes(b, d->backlog));
    line(out, "  spool", "%s of a budget of %s%s", summary_bytes(a, d->spool),
         summary_bytes(b, is->spool_budget),
         d->spool_full
             ? ": TOO SMALL for every recovery point; history gets coarser, no data is lost"
             : ": large enough");
    if (isnan(d->catch_up))
        line(out, "  caught up", "not within a day: the link has too little to spare");
    else
        line(out, "  caught up", "%s after its end; RPO at most %s until then",
             summary_time(a, d->catch_up), summary_time(c, d->outage_rpo));
}

void words_day(FILE *out, const struct day_is *is, const struct day *d, double interval,
               double bits)
{
    char a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT];
    line(out, "a day", "%s written, %s when each place counts once a cut, %s sealed",
         summary_bytes(a, d->written), summary_bytes(b, d->changed), summary_bytes(c, d->shipped));
    line(out, "a month of that", "%s over the link, in %.0f days",
         summary_bytes(a, d->shipped * is->days), is->days);
    line(out, "the link", "%s; its busiest hour fills %.0f %% of it: %s", summary_bits(a, bits),
         d->busiest * 100,
         !d->suffices       ? "it does NOT suffice, what waits at midnight grows every day"
         : d->busiest > 0.9 ? "it suffices for the day, but falls behind in the busiest hour"
                            : "it suffices");
    line(out, "RPO", "%s half of the time, %s 99 %% of the time, %s at most, cut every %s",
         summary_time(a, d->p50), summary_time(b, d->p99), summary_time(c, d->max),
         summary_time((char[UNITS_TEXT]){0}, is->interval));
    if (interval > 0)
        line(out, "a sensible interval", "%s: the shortest of which 99 %% are safe in time",
             summary_time(a, interval));
    else
        line(out, "a sensible interval", "none: not even with one an hour");
    if (is->outage > 0)
        day_outage_words(out, is, d);
}

json_t *words_day_json(const struct day_is *is, const struct day *d, double interval)
{
    return json_pack(
        "{s:s, s:o, s:f, s:f, s:f, s:f, s:f, s:b, s:o, s:f, s:f, s:b, s:o, s:f}", "kind",
        "plan-day", "rpo", rpo_json(d->p50, d->p99, d->max), "written_bytes", d->written,
        "changed_bytes", d->changed, "shipped_bytes", d->shipped, "month_bytes",
        d->shipped * is->days, "busiest_hour_share", d->busiest, "suffices", (int)d->suffices,
        "sensible_interval_s", interval > 0 ? json_real(interval) : json_null(), "outage_s",
        is->outage, "spool_peak_bytes", d->spool, "spool_full", (int)d->spool_full, "caught_up_s",
        is->outage > 0 ? number(d->catch_up) : json_null(), "outage_rpo_max_s", d->outage_rpo);
}

/* ---- held against a run ---- */

double words_deviation(const struct words_check *c)
{
    return c->measured != 0 ? c->planned / c->measured - 1 : c->planned != 0 ? INFINITY : 0;
}

static bool holds(const struct words_check *c, double tolerance)
{
    return fabs(words_deviation(c)) <= tolerance;
}

void words_checks(FILE *out, const struct words_check *checks, size_t count, double tolerance)
{
    (void)fprintf(out, "  %-28s %12s %12s %10s\n", "", "foretold", "measured", "off by");
    for (size_t i = 0; i < count; i++) {
        const struct words_check *c = &checks[i];
        (void)fprintf(out, "  %-28s %9.2f %-2s %9.2f %-2s %+8.1f %%  %s\n", c->what, c->planned,
                      c->unit, c->measured, c->unit, words_deviation(c) * 100,
                      !c->judged            ? ""
                      : holds(c, tolerance) ? "holds"
                                            : "DIFFERS");
    }
}

json_t *words_checks_json(const struct words_check *checks, size_t count, double tolerance)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:o, s:o, s:o, s:b, s:b}", "what", checks[i].what, "unit",
                      checks[i].unit, "planned", number(checks[i].planned), "measured",
                      number(checks[i].measured), "deviation", number(words_deviation(&checks[i])),
                      "judged", (int)checks[i].judged, "holds", (int)holds(&checks[i], tolerance)));
    return list;
}
