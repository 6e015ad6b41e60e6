#include "replay.h"

#include "sample.h"
#include "seal.h"
#include "units.h"
#include "workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define NS            1e9
#define RATIO_BYTES   (8 * MIB) /* that are sealed to learn what they come to */
#define INDEX_ENTRY   22.0
#define SPOOL_DEFAULT (10.0 * (double)GIB)
#define SEAL_RATE     120e6 /* bytes a second: zstd at level 1 with what comes with it, one core */
#define CUT_S         0.05
#define SAVE_S        0.05

struct stream { /* a workload's writes as they come */
    struct workload *w;
    struct load_op op;
    double from, to, due; /* s; due: of op; infinite: over */
};

struct replaying {
    struct replay *out;
    const struct scenario *s;
    struct plan_model m;
    struct stream streams[SCENARIO_WORKLOADS];
    double warmup, looked;
    size_t step;
    uint64_t rate;
    bool cut;
};

/* ---- what sealing makes of it ---- */

/* Gathers writes that follow each other, as neighbouring sectors become one extent. */
static size_t gather(struct workload *w, struct load_op *op, uint8_t *buf)
{
    uint64_t end = 0;
    size_t len = 0;
    while (workload_next(w, op)) {
        if (op->verb != LOAD_WRITE || op->len > EXTENT_MAX)
            continue;
        if (len > 0 && (op->off != end || len + op->len > EXTENT_MAX))
            return len;
        workload_content(w, op, buf + len);
        len += op->len;
        end = op->off + op->len;
        if (op->off % SECTOR_SIZE == 0 && op->len < EXTENT_MAX / 4)
            return len; /* scattered pages mostly stay alone */
    }
    return len;
}

static double seal_some(struct workload *w)
{
    struct seal *seal = seal_new();
    struct seal_key key;
    uint8_t data_key[SEAL_KEY_LEN], salt[SEAL_SALT_LEN];
    uint8_t *plain = err_calloc(1, EXTENT_MAX), *out = err_malloc(seal_bound(EXTENT_SECTORS));
    struct load_op op;
    double before = 0, after = 0;
    size_t len;
    randombytes_buf(data_key, sizeof data_key);
    randombytes_buf(salt, sizeof salt);
    seal_key_derive(&key, data_key, salt);
    while (before < (double)RATIO_BYTES && (len = gather(w, &op, plain)) > 0) {
        struct seal_ad ad = {.rp = 1, .kind = EXTENT_DATA};
        struct seal_result r;
        ad.sectors = (uint32_t)((len + SECTOR_SIZE - 1) >> SECTOR_SHIFT);
        ad.sector = (uint32_t)(before / SECTOR_SIZE);
        seal_extent(seal, &key, 1, &ad, plain, out, &r);
        before += (double)ad.sectors * SECTOR_SIZE;
        after += r.sealed_len + INDEX_ENTRY;
    }
    seal_free(seal);
    sodium_memzero(&key, sizeof key);
    sodium_memzero(data_key, sizeof data_key);
    free(plain);
    free(out);
    return before > 0 ? after / before : 1;
}

int replay_ratio(double *out, const struct workload_spec *spec, struct err *e)
{
    struct workload *w;
    int rc;
    if (spec->kind == WORKLOAD_TRACE)
        return err_set(e, ERR_CONFIG,
                       "[workload %s]: a trace has no contents, so nobody knows what they come to "
                       "when sealed: say it with --sealed, like --sealed 35%%",
                       spec->name);
    rc = workload_new(&w, spec, e);
    if (rc < 0)
        return rc;
    *out = seal_some(w);
    workload_free(w);
    return 0;
}

/* ---- the link ---- */

static double capacity_of(const struct scenario *s, uint64_t rate)
{
    const struct wan_path *up = &s->profile.path[WAN_UPWARD];
    double bits = rate > 0 ? (double)rate : 1e10;
    return plan_capacity(bits, s->profile.mtu ? s->profile.mtu : 1500) * (1 - wan_path_loss(up));
}

static void outage(struct replaying *p, bool cut)
{
    struct replay *r = p->out;
    double t = p->m.now - p->warmup;
    if (cut == p->cut)
        return;
    p->cut = cut;
    if (cut && r->outage_count < REPLAY_OUTAGES)
        r->outages[r->outage_count++] = (struct replay_outage){t, NAN, NAN, 0, 0, 0};
    else if (!cut && r->outage_count > 0)
        r->outages[r->outage_count - 1].end = t;
}

/* One step of the profile. Of what it can change, the model knows outages and the rate upwards. */
static void change_link(struct replaying *p, const struct wan_step *step)
{
    if (strcmp(step->key, "outage") == 0)
        outage(p, strcmp(step->value, "none") != 0);
    else if (strcmp(step->key, "up.rate") == 0 || strcmp(step->key, "both.rate") == 0)
        (void)units_parse_bitrate(&p->rate, step->value);
    plan_link(&p->m, p->cut ? 0 : capacity_of(p->s, p->rate));
}

static double step_time(const struct replaying *p)
{
    const struct wan_profile *w = &p->s->profile;
    return p->step < w->step_count
               ? p->warmup + (double)scenario_real(p->s, w->steps[p->step].at) / NS
               : INFINITY;
}

/* ---- time ---- */

static void look_at_outages(struct replaying *p)
{
    for (unsigned i = 0; i < p->out->outage_count; i++) {
        struct replay_outage *o = &p->out->outages[i];
        if (!isnan(o->caught_up))
            continue;
        o->backlog = fmax(o->backlog, plan_waiting(&p->m));
        o->spool = fmax(o->spool, p->m.spool);
        o->rpo_most = fmax(o->rpo_most, plan_rpo(&p->m));
        if (!isnan(o->end) && plan_safe_since(&p->m, p->warmup + o->end))
            o->caught_up = p->m.now - p->warmup - o->end;
    }
}

static void go_to(struct replaying *p, double t)
{
    do {
        plan_advance(&p->m, fmin(t, p->m.now + PLAN_SAMPLE_S));
        if (p->m.now - p->looked >= PLAN_SAMPLE_S / 2) {
            look_at_outages(p);
            p->looked = p->m.now;
        }
    } while (p->m.now + PLAN_STEP_S <= t);
}

/* The next write of a stream, or none. */
static void next_write(struct stream *s)
{
    do {
        if (!workload_next(s->w, &s->op)) {
            s->due = INFINITY;
            return;
        }
        s->due = s->from + (double)s->op.due / NS;
        if (s->due >= s->to)
            s->due = INFINITY;
    } while (s->op.verb != LOAD_WRITE && !isinf(s->due));
}

static struct stream *earliest(struct replaying *p)
{
    struct stream *first = &p->streams[0];
    for (unsigned i = 1; i < p->s->workload_count; i++)
        if (p->streams[i].due < first->due)
            first = &p->streams[i];
    return first;
}

static void play(struct replaying *p, double end)
{
    for (;;) {
        struct stream *s = earliest(p);
        double step = step_time(p), t = fmin(s->due, step);
        if (t >= end)
            break;
        go_to(p, t);
        if (step <= s->due) {
            change_link(p, &p->s->profile.steps[p->step++]);
            continue;
        }
        plan_write(&p->m, (unsigned)(s - p->streams), s->op.off, s->op.len);
        if (p->m.now >= p->warmup)
            p->out->written += s->op.len;
        next_write(s);
    }
    go_to(p, end);
}

/* ---- what came of it ---- */

static bool in_outage(const struct replay *r, double t)
{
    for (unsigned i = 0; i < r->outage_count; i++) {
        const struct replay_outage *o = &r->outages[i];
        double over = isnan(o->end) || isnan(o->caught_up) ? INFINITY : o->end + o->caught_up;
        if (t >= o->begin && t <= over)
            return true;
    }
    return false;
}

static void quantiles(struct replaying *p, bool steady, double *p50, double *p99, double *max)
{
    double *v = err_calloc(p->m.sample_count + 1, sizeof *v);
    size_t n = 0;
    *p50 = *p99 = *max = NAN;
    for (size_t i = 0; i < p->m.sample_count; i++) {
        double t = (double)(i + 1) * PLAN_SAMPLE_S - p->warmup;
        if (t >= 0 && t <= p->out->seconds && !(steady && in_outage(p->out, t)))
            v[n++] = (double)p->m.rpo[i];
    }
    if (n > 0) {
        struct sample all = sample_of(v, n);
        *p50 = all.median;
        *p99 = sample_quantile(v, n, 0.99);
        *max = all.max;
    }
    free(v);
}

/* ---- beginning ---- */

static double budget_of(const struct scenario *s)
{
    const char *at = strstr(s->site, "spool-budget");
    char value[64] = "";
    uint64_t bytes;
    if (at && sscanf(at, "spool-budget = %63[^\n]", value) == 1 &&
        units_parse_size(&bytes, value) == 0)
        return (double)bytes;
    return SPOOL_DEFAULT;
}

static double weight_of(const char *priority)
{
    return strcmp(priority, "high") == 0 ? 16 : strcmp(priority, "low") == 0 ? 1 : 4;
}

static int begin_stream(struct replaying *p, unsigned i, struct plan_is *is, double ratio,
                        struct err *e)
{
    const struct workload_spec *w = &p->s->workloads[i];
    struct stream *s = &p->streams[i];
    struct plan_group_is *g = &is->groups[i];
    int rc;
    if (w->kind != WORKLOAD_TRACE && w->rate == 0)
        return err_set(e, ERR_CONFIG,
                       "[workload %s] has no rate: it writes as fast as the machine lets it, which "
                       "nobody can foretell; say one, like rate = 2MiB",
                       w->name);
    *g = (struct plan_group_is){(double)w->interval / NS, ratio, weight_of(w->priority), 0};
    if (ratio <= 0 && (rc = replay_ratio(&g->ratio, w, e)) < 0)
        return rc;
    rc = workload_new(&s->w, w, e);
    if (rc < 0)
        return rc;
    g->size = workload_size(s->w);
    s->from = w->at > 0 ? p->warmup + (double)scenario_real(p->s, w->at) / NS : 0;
    s->to = w->length > 0 ? s->from + (double)scenario_real(p->s, w->length) / NS : INFINITY;
    next_write(s);
    return 0;
}

int replay_scenario(struct replay *r, const struct scenario *s, double ratio, struct err *e)
{
    struct replaying p = {.out = r, .s = s, .rate = s->profile.path[WAN_UPWARD].rate};
    struct plan_is is = {.spool_budget = budget_of(s),
                         .seal_rate = SEAL_RATE,
                         .cut_s = CUT_S,
                         .save_s = SAVE_S,
                         .group_count = s->workload_count};
    int rc = 0;
    memset(r, 0, sizeof *r);
    p.warmup = (double)s->warmup / NS;
    r->seconds = (double)scenario_real(s, s->duration) / NS;
    is.rtt_s =
        (double)(s->profile.path[WAN_UPWARD].delay + s->profile.path[WAN_DOWNWARD].delay) / NS;
    for (unsigned i = 0; i < s->workload_count && rc == 0; i++)
        rc = begin_stream(&p, i, &is, ratio, e);
    if (rc == 0) {
        double changed, shipped;
        r->capacity = capacity_of(s, p.rate);
        plan_model_init(&p.m, &is, p.s->profile.outage == WAN_UP ? r->capacity : 0);
        go_to(&p, 0);
        play(&p, p.warmup);
        changed = p.m.changed;
        shipped = p.m.shipped + plan_left(&p.m);
        play(&p, p.warmup + r->seconds);
        quantiles(&p, false, &r->p50, &r->p99, &r->max);
        quantiles(&p, true, &r->steady_p50, &r->steady_p99, &r->steady_max);
        r->changed = p.m.changed - changed;
        r->shipped = p.m.shipped + plan_left(&p.m) - shipped;
        r->ratio = r->changed > 0 ? r->shipped / r->changed : 0;
        r->spool_most = p.m.spool_most;
        plan_model_free(&p.m);
    }
    for (unsigned i = 0; i < s->workload_count; i++)
        workload_free(p.streams[i].w);
    return rc;
}
