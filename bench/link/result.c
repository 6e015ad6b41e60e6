/* result.c: what a run found, as JSON. Its fields are described in docs/BENCH-RESULT.md. */
#include "build_version.h"
#include "machine.h"
#include "run_state.h"
#include "sample.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RESULT_VERSION 1
#define IDLE_LEAST     0.03 /* share of the processors; below it the machine was the limit */
#define LATE_MOST      0.05 /* share of our own looks that came late */

static json_t *real(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *whole(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static double per(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

static double seconds_of(const struct hist *h, double q)
{
    return h->count ? (double)hist_quantile(h, q) / 1e9 : NAN;
}

/* ---- the scenario ---- */

static json_t *way_json(const struct wan_path *p)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:f}", "rate_bits", (json_int_t)p->rate, "queue_bytes",
                     (json_int_t)p->queue, "delay_s", (double)p->delay / 1e9, "jitter_s",
                     (double)p->jitter / 1e9, "loss", wan_path_loss(p));
}

static json_t *workload_json(const struct workload_spec *w)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:i, s:f, s:f, s:f, s:f, s:I, s:f, s:s}", "name",
                     w->name, "kind", workload_kind_name(w->kind), "size", (json_int_t)w->size,
                     "rate_bytes", (json_int_t)w->rate, "block", (json_int_t)w->block, "depth",
                     (int)w->depth, "skew", w->skew, "reads", w->reads, "compressible",
                     w->compressible, "fill", w->fill, "seed", (json_int_t)w->seed, "interval_s",
                     (double)w->interval / 1e9, "priority", w->priority);
}

static json_t *scenario_json(const struct run *r)
{
    const struct scenario *s = r->scenario;
    json_t *workloads = json_array();
    for (unsigned i = 0; i < s->workload_count; i++)
        (void)json_array_append_new(workloads, workload_json(&s->workloads[i]));
    return json_pack("{s:s, s:o, s:o, s:f, s:f, s:i, s:s, s:s, s:s, s:o}", "link",
                     s->profile.description, "up", way_json(&s->profile.path[WAN_UPWARD]), "down",
                     way_json(&s->profile.path[WAN_DOWNWARD]), "duration_s",
                     (double)s->duration / 1e9, "measured_s",
                     (double)scenario_real(s, s->duration) / 1e9, "compress", (int)s->compress,
                     "site_options", s->site, "hub_options", s->hub, "store",
                     r->options->daemons.pool ? "ceph" : "dir", "workloads", workloads);
}

static json_t *machine_json(const struct run *r)
{
    struct machine m;
    machine_look(&m);
    return json_pack("{s:s, s:i, s:I, s:s, s:s, s:o, s:s, s:s}", "processor", m.processor,
                     "processors", (int)m.processors, "memory", (json_int_t)m.memory, "kernel",
                     m.kernel, "when", m.when, "load_before", real(r->load_before), "relais",
                     RELAIS_VERSION, "commit", BUILD_COMMIT);
}

/* ---- outages ---- */

struct recovery {
    double connected, caught_up; /* seconds after the outage's end; NAN: not within the run */
    uint64_t lag_most, spool_most;
    double rpo_most, goodput; /* bits a second of sealed bytes while catching up */
};

/* All that was changed until the outage's end is safe when the newest recovery point of every group
 * was cut after it. */
static struct recovery recover(const struct run *r, const struct run_outage *o)
{
    struct recovery c = {.connected = NAN, .caught_up = NAN, .goodput = NAN};
    const struct watch_sample *from = NULL;
    for (size_t i = 0; i < r->watch.sample_count; i++) {
        const struct watch_sample *s = &r->watch.samples[i];
        double rpo = watch_rpo(&r->watch, s);
        if (s->t < o->begin)
            continue;
        c.lag_most = s->lag > c.lag_most ? s->lag : c.lag_most;
        c.spool_most = s->spool > c.spool_most ? s->spool : c.spool_most;
        c.rpo_most = rpo > c.rpo_most ? rpo : c.rpo_most;
        if (s->t < o->end || s->outage)
            continue;
        if (s->connected && isnan(c.connected)) {
            c.connected = s->t - o->end;
            from = s;
        }
        if (!isnan(c.connected) && s->t - rpo >= o->end) {
            c.caught_up = s->t - o->end;
            c.goodput = per((double)(s->shipped - from->shipped) * 8, s->t - from->t);
            break;
        }
    }
    return c;
}

/* What a fixed wait costs does not grow with the outage; what has to be shipped does. */
static json_t *outage_json(const struct run *r, const struct run_outage *o)
{
    struct recovery c = recover(r, o);
    double n = r->scenario->compress;
    return json_pack("{s:s, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "kind",
                     wan_outage_name(o->kind), "begin_s", o->begin, "end_s", o->end, "connected_s",
                     real(c.connected), "caught_up_s", real(c.caught_up), "backlog_bytes",
                     whole(c.lag_most), "spool_bytes", whole(c.spool_most), "rpo_max_s",
                     real(c.rpo_most), "goodput_bits", real(c.goodput), "real_length_s",
                     real((o->end - o->begin) * n), "real_caught_up_s",
                     real(c.connected + (c.caught_up - c.connected) * n), "real_backlog_bytes",
                     real((double)c.lag_most * n));
}

/* ---- distributions ---- */

static json_t *rpo_json(const struct run *r, bool steady)
{
    const struct watch *w = &r->watch;
    double *v = err_calloc(w->sample_count + 1, sizeof *v);
    struct sample all = {NAN, NAN, NAN};
    bool *away = err_calloc(w->sample_count + 1, sizeof *away);
    double end = (double)scenario_real(r->scenario, r->scenario->duration) / 1e9;
    double from, to;
    size_t n = 0;
    json_t *out;
    for (unsigned i = 0; i < r->outage_count && steady; i++) {
        struct recovery c = recover(r, &r->outages[i]);
        from = r->outages[i].begin;
        to = r->outages[i].end + (isnan(c.caught_up) ? INFINITY : c.caught_up);
        for (size_t k = 0; k < w->sample_count; k++)
            away[k] = away[k] || (w->samples[k].t >= from && w->samples[k].t <= to);
    }
    for (size_t k = 0; k < w->sample_count; k++)
        if (!away[k] && w->samples[k].t <= end && !isnan(watch_rpo(w, &w->samples[k])))
            v[n++] = watch_rpo(w, &w->samples[k]);
    if (n > 0)
        all = sample_of(v, n); /* which sorts */
    out = json_pack("{s:o, s:o, s:o, s:I}", "p50_s", real(all.median), "p99_s",
                    real(n > 0 ? sample_quantile(v, n, 0.99) : NAN), "max_s", real(all.max),
                    "samples", (json_int_t)n);
    free(v);
    free(away);
    return out;
}

static json_t *hist_json(const struct hist *h)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "count", (json_int_t)h->count, "mean_s",
                     real(h->count ? hist_mean(h) / 1e9 : NAN), "p50_s", real(seconds_of(h, 0.5)),
                     "p99_s", real(seconds_of(h, 0.99)), "max_s",
                     real(h->count ? (double)h->max / 1e9 : NAN));
}

static json_t *guest_json(const struct guest_counts *c, double seconds)
{
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:f, s:b}", "written_bytes",
                     (json_int_t)c->written_bytes, "read_bytes", (json_int_t)c->read_bytes,
                     "distinct_bytes", (json_int_t)c->changed_bytes, "written_rate",
                     real(per((double)c->written_bytes, seconds)), "write",
                     hist_json(&c->took[GUEST_WRITE]), "read", hist_json(&c->took[GUEST_READ]),
                     "flush", hist_json(&c->took[GUEST_FLUSH]), "behind_max_s",
                     (double)c->behind_max / 1e9, "done", (int)c->done);
}

static json_t *guests_json(const struct run *r)
{
    double measured = (double)scenario_real(r->scenario, r->scenario->duration) / 1e9;
    json_t *list = json_array();
    for (unsigned i = 0; i < r->scenario->workload_count; i++) {
        json_t *one = json_pack(
            "{s:s, s:o, s:o}", "name", r->scenario->workloads[i].name, "with",
            guest_json(&r->watch.totals[i], measured), "without",
            r->baseline_server ? guest_json(&r->baseline[i], (double)r->scenario->baseline / 1e9)
                               : json_null());
        (void)json_array_append_new(list, one);
    }
    return list;
}

/* ---- costs ---- */

static json_t *bytes_json(const struct run *r)
{
    const struct watch_sample *end = &r->drained;
    uint64_t written = 0, distinct = 0, changed = end->plain - r->first.plain,
             shipped = end->shipped - r->first.shipped;
    for (unsigned i = 0; i < r->scenario->workload_count; i++) {
        written += r->watch.totals[i].written_bytes;
        distinct += r->watch.totals[i].changed_bytes;
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "written", (json_int_t)written,
                     "distinct", (json_int_t)distinct, "changed", (json_int_t)changed, "shipped",
                     (json_int_t)shipped, "wire_up", (json_int_t)(end->up - r->first.up),
                     "wire_down", (json_int_t)(end->down - r->first.down), "shipped_per_changed",
                     real(per((double)shipped, (double)changed)), "wire_per_shipped",
                     real(per((double)(end->up - r->first.up), (double)shipped)));
}

static json_t *daemon_json(const struct run *r, enum wan_way w)
{
    const struct watch_sample *end = &r->drained;
    double cpu = end->use[w].cpu_s - r->first.use[w].cpu_s;
    double changed = (double)(end->plain - r->first.plain) / (double)GIB;
    double shipped = (double)(end->shipped - r->first.shipped) / (double)GIB;
    return json_pack("{s:f, s:o, s:o, s:I}", "cpu_s", cpu, "cpu_s_per_gib_changed",
                     real(per(cpu, changed)), "cpu_s_per_gib_shipped", real(per(cpu, shipped)),
                     "memory_peak_bytes", (json_int_t)end->use[w].memory_peak);
}

static json_t *link_json(const struct run *r)
{
    const struct watch *w = &r->watch;
    double rate = (double)r->scenario->profile.path[WAN_UPWARD].rate, busiest = NAN;
    size_t span = (size_t)(5 * IO_S / (w->step ? w->step : 1));
    json_t *stats = json_loads(r->link_stats, 0, NULL);
    for (size_t i = span; i < w->sample_count; i++) {
        const struct watch_sample *a = &w->samples[i - span], *b = &w->samples[i];
        double bits = (double)(b->up - a->up) * 8 / (b->t - a->t);
        if (!(bits <= busiest))
            busiest = bits;
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "mean_up_bits",
                     real(per((double)(r->load_end.up - r->first.up) * 8,
                              (double)scenario_real(r->scenario, r->scenario->duration) / 1e9)),
                     "busiest_5s_up_bits", real(busiest), "busiest_5s_up_share",
                     real(per(busiest, rate)), "emulator", stats ? stats : json_null());
}

static json_t *restore_json(const struct run *r)
{
    if (isnan(r->restore_s))
        return json_null();
    return json_pack("{s:f, s:I, s:I, s:b}", "seconds", r->restore_s, "volume_bytes",
                     (json_int_t)r->restored_bytes, "wire_down_bytes",
                     (json_int_t)r->restore_down_bytes, "equal", (int)r->restored_equal);
}

/* ---- the series ---- */

static void column(json_t *series, const char *name, const struct watch *w,
                   double (*value)(const struct watch *w, size_t i))
{
    json_t *list = json_array();
    for (size_t i = 0; i < w->sample_count; i++)
        (void)json_array_append_new(list, real(value(w, i)));
    (void)json_object_set_new(series, name, list);
}

/* Three decimals are a millisecond, and half the bytes of the file. */
static double thousandth(double v)
{
    return round(v * 1000) / 1000;
}

static double get_t(const struct watch *w, size_t i)
{
    return thousandth(w->samples[i].t);
}

static double get_rpo(const struct watch *w, size_t i)
{
    return thousandth(watch_rpo(w, &w->samples[i]));
}

static double get_lag(const struct watch *w, size_t i)
{
    return (double)w->samples[i].lag;
}

static double get_dirty(const struct watch *w, size_t i)
{
    return (double)w->samples[i].dirty;
}

static double get_spool(const struct watch *w, size_t i)
{
    return (double)w->samples[i].spool;
}

static double bits_since(const struct watch *w, size_t i, bool up)
{
    const struct watch_sample *a = &w->samples[i > 0 ? i - 1 : 0], *b = &w->samples[i];
    return i > 0 ? round(per((double)(up ? b->up - a->up : b->down - a->down) * 8, b->t - a->t))
                 : 0;
}

static double get_up(const struct watch *w, size_t i)
{
    return bits_since(w, i, true);
}

static double get_down(const struct watch *w, size_t i)
{
    return bits_since(w, i, false);
}

static double get_level(const struct watch *w, size_t i)
{
    return w->samples[i].level;
}

static json_t *series_json(const struct run *r)
{
    static const struct {
        const char *name;
        double (*value)(const struct watch *w, size_t i);
    } columns[] = {{"t_s", get_t},
                   {"rpo_s", get_rpo},
                   {"lag_bytes", get_lag},
                   {"dirty_bytes", get_dirty},
                   {"spool_bytes", get_spool},
                   {"up_bits", get_up},
                   {"down_bits", get_down},
                   {"level", get_level}};
    json_t *series = json_object(), *groups = json_array();
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        column(series, columns[i].name, &r->watch, columns[i].value);
    for (unsigned g = 0; g < r->scenario->workload_count; g++) {
        json_t *list = json_array();
        for (size_t i = 0; i < r->watch.sample_count; i++)
            (void)json_array_append_new(list, real(thousandth(r->watch.samples[i].rpo[g])));
        (void)json_array_append_new(
            groups, json_pack("{s:s, s:o}", "name", r->scenario->workloads[g].name, "rpo_s", list));
    }
    (void)json_object_set_new(series, "groups", groups);
    return series;
}

static json_t *seconds_json(const struct run *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->watch.second_count; i++) {
        const struct watch_second *s = &r->watch.seconds[i];
        (void)json_array_append_new(
            list,
            json_pack("{s:f, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "t_s", thousandth(s->t),
                      "written_bytes", (json_int_t)s->written, "read_bytes", (json_int_t)s->reads,
                      "writes", (json_int_t)s->writes, "flushes", (json_int_t)s->flushes,
                      "write_p50_s", real(s->write_p50), "write_p99_s", real(s->write_p99),
                      "write_max_s", real(s->write_max), "flush_p99_s", real(s->flush_p99)));
    }
    return list;
}

/* ---- whether it is worth anything ---- */

static json_t *doubts(const struct run *r)
{
    json_t *list = json_array(), *stats = json_loads(r->link_stats, 0, NULL);
    const struct watch *w = &r->watch;
    if (!json_is_true(json_object_get(stats, "kept_up")))
        (void)json_array_append_new(list,
                                    json_sprintf("the emulated link could not keep up: %s",
                                                 json_string_value(json_object_get(stats, "how"))));
    if (r->idle_share < IDLE_LEAST)
        (void)json_array_append_new(
            list, json_sprintf("the machine was overloaded: its processors were idle for %.1f %% "
                               "of the time",
                               r->idle_share * 100));
    if ((double)w->late_ticks > LATE_MOST * (double)w->ticks)
        (void)json_array_append_new(
            list, json_sprintf("the machine was overloaded: %llu of %llu looks came late, one by "
                               "%.0f ms",
                               (unsigned long long)w->late_ticks, (unsigned long long)w->ticks,
                               (double)w->late_max / 1e6));
    if (!isnan(r->restore_s) && !r->restored_equal)
        (void)json_array_append_new(list, json_string("what was restored DIFFERS from the volume"));
    json_decref(stats);
    return list;
}

static uint64_t spool_peak(const struct run *r)
{
    uint64_t most = 0;
    for (size_t i = 0; i < r->watch.sample_count; i++)
        if (r->watch.samples[i].spool > most)
            most = r->watch.samples[i].spool;
    return most;
}

static json_t *outages_json(const struct run *r)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < r->outage_count; i++)
        (void)json_array_append_new(list, outage_json(r, &r->outages[i]));
    return list;
}

static json_t *seed_json(const struct run *r)
{
    return json_pack("{s:f, s:I}", "seconds", r->seed_s, "wire_up_bytes",
                     (json_int_t)r->seed_bytes);
}

int result_make(json_t **out, struct run *r, struct err *e)
{
    json_t *why = doubts(r), *root = json_object();
    const struct {
        const char *name;
        json_t *value;
    } parts[] = {
        {"relais_bench", json_integer(RESULT_VERSION)},
        {"kind", json_string("link")},
        {"machine", machine_json(r)},
        {"scenario", scenario_json(r)},
        {"doubts", json_incref(why)},
        {"rpo", rpo_json(r, false)},
        {"rpo_steady", rpo_json(r, true)},
        {"outages", outages_json(r)},
        {"drain_s", real(r->drained_s)},
        {"guests", guests_json(r)},
        {"baseline_server", r->baseline_server ? json_string(r->baseline_server) : json_null()},
        {"bytes", bytes_json(r)},
        {"site", daemon_json(r, WAN_UPWARD)},
        {"hub", daemon_json(r, WAN_DOWNWARD)},
        {"spool_peak_bytes", whole(spool_peak(r))},
        {"link", link_json(r)},
        {"seed", seed_json(r)},
        {"restore", restore_json(r)},
        {"idle_share", real(r->idle_share)},
        {"seconds", seconds_json(r)},
        {"series", series_json(r)},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (json_object_set_new(root, parts[i].name, parts[i].value) != 0 && e->code == ERR_OK)
            (void)err_set(e, ERR_INTERNAL, "the result's \"%s\" cannot be said in JSON",
                          parts[i].name);
    *out = root;
    if (e->code == ERR_OK && json_array_size(why) > 0 && !r->options->anyway)
        (void)err_set(e, ERR_AGAIN,
                      "%s; nothing is said of the link (--anyway: a result that says so)",
                      json_string_value(json_array_get(why, 0)));
    json_decref(why);
    return e->code != ERR_OK ? -(int)e->code : 0;
}
