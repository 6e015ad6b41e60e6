#include "model.h"

#include "err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TCP_IP_HEADERS 52.0 /* IPv4, TCP with timestamps */
#define TLS_RECORD     16384.0
#define TLS_HEADERS    22.0
#define PACING         0.97 /* of the bandwidth that it has measured BBR sends, to keep queues short */
#define FIRST_WINDOW   14480.0
#define IDLE_S         1.0 /* after that a connection finds its speed anew */
#define MERGE_FROM     0.5
#define STOP_AT        0.875

double plan_capacity(double bits, unsigned mtu)
{
    return bits / 8 * ((mtu - TCP_IP_HEADERS) / mtu) * (TLS_RECORD / (TLS_RECORD + TLS_HEADERS)) *
           PACING;
}

void plan_model_init(struct plan_model *m, const struct plan_is *is, double capacity)
{
    memset(m, 0, sizeof *m);
    m->is = *is;
    m->capacity = capacity;
    m->idle_since = -1;
    for (unsigned i = 0; i < is->group_count; i++) {
        struct plan_group *g = &m->groups[i];
        g->is = is->groups[i];
        g->next_cut = g->is.interval_s;
        g->holder = err_calloc(g->is.size / (uint64_t)PLAN_SECTOR + 1, sizeof *g->holder);
    }
}

void plan_model_free(struct plan_model *m)
{
    for (unsigned i = 0; i < PLAN_GROUPS; i++) {
        free(m->groups[i].holder);
        free(m->groups[i].queue);
    }
    free(m->rpo);
    memset(m, 0, sizeof *m);
}

void plan_link(struct plan_model *m, double capacity)
{
    if (m->capacity <= 0 && capacity > 0)
        m->up_at = m->now + PLAN_RECONNECT + 2 * m->is.rtt_s;
    m->capacity = capacity;
}

/* ---- changes ---- */

void plan_change(struct plan_model *m, unsigned group, double bytes)
{
    m->groups[group].dirty += bytes;
    m->changed += bytes;
}

void plan_write(struct plan_model *m, unsigned group, uint64_t off, uint64_t len)
{
    struct plan_group *g = &m->groups[group];
    uint64_t first = off / (uint64_t)PLAN_SECTOR;
    uint64_t end = (off + len + (uint64_t)PLAN_SECTOR - 1) / (uint64_t)PLAN_SECTOR;
    uint32_t open = (uint32_t)g->count + 1; /* the delta that the next cut makes */
    ASSERT(group < m->is.group_count && off + len <= g->is.size);
    for (uint64_t i = first; i < end; i++) {
        uint32_t old = g->holder[i];
        if (old == open)
            continue;
        if (old > g->first)
            g->queue[old - 1].superseded += PLAN_SECTOR;
        g->holder[i] = open;
        plan_change(m, group, PLAN_SECTOR);
    }
}

/* ---- the spool ---- */

double plan_spool(const struct plan_model *m)
{
    double sum = 0;
    for (unsigned i = 0; i < m->is.group_count; i++)
        for (size_t k = m->groups[i].first; k < m->groups[i].count; k++)
            sum += m->groups[i].queue[k].all;
    return sum;
}

double plan_left(const struct plan_model *m)
{
    double sum = 0;
    for (unsigned i = 0; i < m->is.group_count; i++) {
        const struct plan_group *g = &m->groups[i];
        sum += g->dirty * g->is.ratio;
        for (size_t k = g->first; k < g->count; k++)
            sum += g->queue[k].left;
    }
    return sum;
}

double plan_waiting(const struct plan_model *m)
{
    double sum = plan_spool(m);
    for (unsigned i = 0; i < m->is.group_count; i++)
        sum += m->groups[i].dirty * m->groups[i].is.ratio;
    return sum;
}

/* Drops from what waits what newer deltas hold, too. */
static void merge(struct plan_model *m)
{
    for (unsigned i = 0; i < m->is.group_count; i++) {
        struct plan_group *g = &m->groups[i];
        for (size_t k = g->first; k < g->count; k++) {
            struct plan_delta *d = &g->queue[k];
            double freed = fmin(d->superseded * g->is.ratio, d->left);
            if (d->begun || d->ready > m->now)
                continue;
            d->left -= freed;
            d->all -= freed;
            d->superseded = 0;
        }
    }
}

static void cut(struct plan_model *m, struct plan_group *g)
{
    struct plan_delta d = {.cut = m->now,
                           .ready = m->now + m->is.cut_s + g->dirty / m->is.seal_rate};
    d.left = d.all = g->dirty * g->is.ratio + PLAN_FIXED;
    if (m->spool + d.all > STOP_AT * m->is.spool_budget) {
        g->next_cut = m->now + 1;
        m->held_back = true;
        return;
    }
    if (g->count == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 64;
        g->queue = err_realloc(g->queue, g->cap * sizeof *g->queue);
    }
    g->queue[g->count++] = d;
    g->dirty = 0;
    g->next_cut = fmax(g->next_cut + g->is.interval_s, d.ready);
}

/* ---- the link ---- */

static struct plan_delta *next_of(const struct plan_model *m, struct plan_group *g)
{
    for (size_t k = g->first; k < g->count; k++)
        if (g->queue[k].left > 0)
            return g->queue[k].ready <= m->now ? &g->queue[k] : NULL;
    return NULL;
}

/* After a pause a connection doubles what it has on its way with each round trip, until it fills
 * the link: about half of it goes unused meanwhile. */
static void begin_busy(struct plan_model *m)
{
    double window = m->capacity * m->is.rtt_s;
    if (m->idle_since >= 0 && m->now - m->idle_since >= IDLE_S && window > FIRST_WINDOW)
        m->ramp_until = m->now + m->is.rtt_s * log2(window / FIRST_WINDOW);
    m->idle_since = -1;
}

/* What a step carries, in proportion to the weights of the groups that have something to send; what
 * one cannot use, the others can. */
static void ship(struct plan_model *m)
{
    double budget = m->capacity * PLAN_STEP_S * (m->now < m->ramp_until ? 0.5 : 1);
    bool busy = false;
    for (unsigned round = 0; round < 2 * PLAN_GROUPS && budget > 1e-9; round++) {
        double weights = 0, used = 0;
        for (unsigned i = 0; i < m->is.group_count; i++)
            weights += next_of(m, &m->groups[i]) ? m->groups[i].is.weight : 0;
        if (weights <= 0)
            break;
        if (!busy && round == 0)
            begin_busy(m);
        busy = true;
        for (unsigned i = 0; i < m->is.group_count; i++) {
            struct plan_delta *d = next_of(m, &m->groups[i]);
            double take = d ? fmin(d->left, budget * m->groups[i].is.weight / weights) : 0;
            if (!d)
                continue;
            d->begun = true;
            d->left = d->left - take < 1e-6 ? 0 : d->left - take;
            used += take;
        }
        budget -= used;
        m->shipped += used;
    }
    if (!busy && m->idle_since < 0)
        m->idle_since = m->now;
}

static void commit(struct plan_model *m)
{
    for (unsigned i = 0; i < m->is.group_count; i++) {
        struct plan_group *g = &m->groups[i];
        while (g->first < g->count && g->queue[g->first].left <= 0) {
            if (g->saving <= 0)
                g->saving = m->now + 2 * m->is.rtt_s + m->is.save_s;
            if (g->saving > m->now)
                break;
            g->safe_cut = g->queue[g->first].cut;
            g->first++;
            g->saving = 0;
        }
    }
}

/* ---- time ---- */

double plan_rpo(const struct plan_model *m)
{
    double worst = 0;
    for (unsigned i = 0; i < m->is.group_count; i++)
        worst = fmax(worst, m->now - m->groups[i].safe_cut);
    return worst;
}

bool plan_safe_since(const struct plan_model *m, double t)
{
    for (unsigned i = 0; i < m->is.group_count; i++)
        if (m->groups[i].safe_cut < t)
            return false;
    return true;
}

static void sample(struct plan_model *m)
{
    m->spool_most = fmax(m->spool_most, m->spool);
    m->waiting_most = fmax(m->waiting_most, plan_waiting(m));
    if (m->now - m->sampled < PLAN_SAMPLE_S - 1e-9)
        return;
    if (m->sample_count == m->sample_cap) {
        m->sample_cap = m->sample_cap ? 2 * m->sample_cap : 1024;
        m->rpo = err_realloc(m->rpo, m->sample_cap * sizeof *m->rpo);
    }
    m->rpo[m->sample_count++] = (float)plan_rpo(m);
    m->sampled = m->now;
}

void plan_advance(struct plan_model *m, double t)
{
    while (m->now + PLAN_STEP_S <= t + 1e-9) {
        m->now += PLAN_STEP_S;
        m->spool = plan_spool(m);
        if (m->spool > MERGE_FROM * m->is.spool_budget)
            merge(m);
        for (unsigned i = 0; i < m->is.group_count; i++)
            if (m->now >= m->groups[i].next_cut)
                cut(m, &m->groups[i]);
        if (m->capacity > 0 && m->now >= m->up_at) {
            ship(m);
            commit(m);
        }
        sample(m);
    }
}
