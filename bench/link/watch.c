#include "watch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S   UINT64_C(1000000000)
#define CONNECT_NS (5 * IO_S)

static int open_caller(struct watch *w, struct err *e)
{
    struct io_addr addr = {0};
    struct link *l = NULL;
    int fd, rc = -ERR_NET;
    (void)snprintf(addr.path, sizeof addr.path, "%.107s", w->daemons->control);
    for (unsigned i = 0; i < 100; i++) {
        fd = fio_connect(&addr, CONNECT_NS);
        if (fd >= 0)
            break;
        rc = daemons_alive(w->daemons, e);
        if (rc == 0)
            rc = child_pause(100) == 0 ? 0 : err_set(e, ERR_CANCELED, "interrupted");
        if (rc != 0)
            return rc;
    }
    if (fd < 0)
        return err_os(e, fd, "the site's control socket %s", w->daemons->control);
    rc = link_plain(&l, fd, e);
    return rc != 0 ? rc : caller_new(&w->caller, l, e);
}

int watch_open(struct watch *w, struct daemons *d, const struct scenario *sc, struct err *e)
{
    *w = (struct watch){.daemons = d, .scenario = sc, .err = ERR_INIT};
    w->totals = err_calloc(SCENARIO_WORKLOADS, sizeof *w->totals);
    w->window = err_calloc(2, sizeof *w->window);
    return open_caller(w, e);
}

void watch_close(struct watch *w)
{
    watch_end(w);
    if (w->caller)
        caller_free(w->caller);
    free(w->samples);
    free(w->seconds);
    free(w->totals);
    free(w->window);
    *w = (struct watch){.caller = NULL};
}

double watch_rpo(const struct watch *w, const struct watch_sample *s)
{
    double worst = 0;
    for (unsigned i = 0; i < w->scenario->workload_count; i++) {
        if (isnan(s->rpo[i]))
            return NAN;
        if (s->rpo[i] > worst)
            worst = s->rpo[i];
    }
    return worst;
}

/* ---- one look ---- */

static void take_status(struct watch *w, const Relais__Status *st)
{
    struct watch_sample *s = &w->now;
    int64_t wall = io_wall(fiber_io());
    s->lag = s->dirty = s->plain = s->shipped = 0;
    s->spool = st->spool_used;
    s->connected = st->connected;
    s->level = st->level;
    for (size_t i = 0; i < st->n_groups; i++) {
        const Relais__GroupStatus *g = st->groups[i];
        s->lag += g->lag_bytes;
        s->dirty += g->dirty_bytes;
        s->plain += g->plain_bytes;
        s->shipped += g->shipped_bytes;
        for (unsigned k = 0; k < w->scenario->workload_count; k++)
            if (strcmp(w->scenario->workloads[k].name, g->group) == 0)
                s->rpo[k] = g->complete_rp ? (double)(wall - g->complete_cut) / 1e9 : NAN;
    }
}

static int ask_status(struct watch *w, struct err *e)
{
    struct call call = {.expect = FRAME_Status};
    Relais__StatusGet get;
    int rc;
    relais__status_get__init(&get);
    rc = call_start(w->caller, &call, FRAME_StatusGet, &get.base, NULL, 0, e);
    if (rc != 0)
        return rc;
    rc = call_wait(&call, e);
    if (rc == 0)
        take_status(w, call.reply.status);
    call_end(&call);
    return rc;
}

static int ask_link(struct watch *w, struct err *e)
{
    char reply[WAN_ANSWER_MAX], outage[32];
    int rc = stage_tell(w->daemons->stage, "counts", reply, sizeof reply, e);
    if (rc != 0)
        return rc;
    if (sscanf(reply, "%" SCNu64 " %" SCNu64 " %31s", &w->now.up, &w->now.down, outage) != 3)
        return err_set(e, ERR_INTERNAL, "the emulated link says \"%.60s\"", reply);
    w->now.outage = strcmp(outage, "none") != 0;
    return 0;
}

int watch_look(struct watch *w, struct err *e)
{
    struct err why = ERR_INIT;
    int rc = ask_status(w, e);
    if (rc == 0)
        rc = ask_link(w, e);
    for (unsigned k = 0; k < WAN_WAYS && rc == 0; k++)
        if (w->daemons->pid[k] > 0)
            (void)child_use(w->daemons->pid[k], &w->now.use[k]);
    /* Why the daemon does not answer is said best by the daemon. */
    if (e->code != ERR_CANCELED && daemons_alive(w->daemons, &why) != 0)
        *e = why;
    return e->code != ERR_OK ? -(int)e->code : rc;
}

/* ---- all of them ---- */

static double seconds(uint64_t count, uint64_t ns)
{
    return count ? (double)ns / 1e9 : NAN;
}

/* What the guests were answered since the last time. */
static void take_guests(struct watch *w, double t)
{
    struct guest_counts *all = &w->window[0], *one = &w->window[1];
    struct watch_second *s;
    if ((w->second_count & (w->second_count - 1)) == 0)
        w->seconds = err_realloc(w->seconds,
                                 (w->second_count ? 2 * w->second_count : 1) * sizeof *w->seconds);
    s = &w->seconds[w->second_count++];
    memset(all, 0, sizeof *all);
    for (unsigned i = 0; i < w->scenario->workload_count; i++) {
        struct guest_counts *total = &w->totals[i];
        if (!w->guests[i])
            continue;
        memset(one, 0, sizeof *one);
        guest_take(w->guests[i], one);
        for (unsigned v = 0; v < GUEST_VERBS; v++) {
            hist_merge(&total->took[v], &one->took[v]);
            hist_merge(&all->took[v], &one->took[v]);
        }
        total->read_bytes += one->read_bytes;
        total->written_bytes += one->written_bytes;
        total->changed_bytes += one->changed_bytes;
        total->done = one->done;
        if (one->behind_max > total->behind_max)
            total->behind_max = one->behind_max;
        all->read_bytes += one->read_bytes;
        all->written_bytes += one->written_bytes;
    }
    *s = (struct watch_second){.t = t, .written = all->written_bytes, .reads = all->read_bytes};
    s->writes = all->took[GUEST_WRITE].count;
    s->flushes = all->took[GUEST_FLUSH].count;
    s->write_p50 = seconds(s->writes, hist_quantile(&all->took[GUEST_WRITE], 0.5));
    s->write_p99 = seconds(s->writes, hist_quantile(&all->took[GUEST_WRITE], 0.99));
    s->write_max = seconds(s->writes, all->took[GUEST_WRITE].max);
    s->flush_p99 = seconds(s->flushes, hist_quantile(&all->took[GUEST_FLUSH], 0.99));
}

static void keep(struct watch *w)
{
    w->samples = err_realloc(w->samples, (w->sample_count + 1) * sizeof *w->samples);
    w->samples[w->sample_count++] = w->now;
}

static void watch_main(void *arg)
{
    struct watch *w = arg;
    uint64_t next = w->began, guests = w->began + NS_PER_S, now;
    while (!w->stop && w->err.code == ERR_OK) {
        now = io_now(fiber_io());
        if (now < next && fiber_sleep(next - now) != 0)
            return;
        now = io_now(fiber_io());
        w->ticks++;
        if (now - next > w->step / 2)
            w->late_ticks++;
        if (now - next > w->late_max)
            w->late_max = now - next;
        w->now.t = (double)(now - w->began) / 1e9;
        if (watch_look(w, &w->err) != 0)
            return;
        keep(w);
        if (now >= guests) {
            take_guests(w, w->now.t);
            guests += NS_PER_S > w->step ? NS_PER_S : w->step;
        }
        while (next <= now)
            next += w->step;
    }
}

void watch_begin(struct watch *w, struct guest *const *guests, uint64_t expected_ns)
{
    w->guests = guests;
    w->step = WATCH_STEP_NS;
    if (expected_ns / WATCH_SAMPLES > w->step)
        w->step = expected_ns / WATCH_SAMPLES;
    /* What was answered before does not count. */
    for (unsigned i = 0; i < w->scenario->workload_count; i++)
        if (guests[i])
            guest_take(guests[i], &w->window[0]);
    w->began = io_now(fiber_io());
    w->fiber = fiber_spawn(fiber_io(), "watch", watch_main, w);
}

void watch_end(struct watch *w)
{
    if (!w->fiber)
        return;
    w->stop = true;
    fiber_join(w->fiber);
    w->fiber = NULL;
    if (w->guests)
        take_guests(w, (double)(io_now(fiber_io()) - w->began) / 1e9);
}
