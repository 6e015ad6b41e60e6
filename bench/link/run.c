#include "run.h"

#include "run_state.h"
#include "units.h"
#include "uring.h"
#include "volumes.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NS_PER_S    UINT64_C(1000000000)
#define LOOK_MS     100u
#define SHAKE_MS    2600u /* long enough that an idle connection says something, and is reset */
#define CONNECT_MS  30000u
#define SEED_MS     3600000u
#define PATIENCE_MS 4u * 3600000u /* of the last drain */

static int canceled(struct err *e)
{
    return err_set(e, ERR_CANCELED, "interrupted; nothing is left behind");
}

/* ---- what it says meanwhile ---- */

static void phase(struct run *r, const char *name, uint64_t lasts)
{
    r->phase = name;
    r->phase_began = guest_now();
    r->phase_lasts = lasts;
    if (!r->options->quiet && !isatty(STDERR_FILENO))
        (void)fprintf(stderr, "relais-bench: %s\n", name);
}

static void status_line(const struct run *r, char *dst, size_t cap)
{
    const struct watch_sample *s = &r->watch.now;
    char lag[UNITS_TEXT], dirty[UNITS_TEXT], since[UNITS_TEXT], all[UNITS_TEXT];
    double rpo = r->watch.caller ? watch_rpo(&r->watch, s) : NAN;
    size_t n = (size_t)snprintf(
        dst, cap, "%s, %s%s%s", r->phase, units_duration(since, guest_now() - r->phase_began),
        r->phase_lasts ? " of " : "", r->phase_lasts ? units_duration(all, r->phase_lasts) : "");
    if (r->watch.caller && !isnan(rpo) && n < cap)
        (void)snprintf(dst + n, cap - n, ": RPO %.1f s, lag %s, %s not sealed%s", rpo,
                       units_size(lag, s->lag), units_size(dirty, s->dirty),
                       s->outage       ? ", OUTAGE"
                       : !s->connected ? ", not connected"
                                       : "");
}

static void progress_main(void *arg)
{
    struct run *r = arg;
    bool terminal = isatty(STDERR_FILENO);
    char line[240];
    while (fiber_sleep(terminal ? NS_PER_S / 4 : 15 * NS_PER_S) == 0) {
        status_line(r, line, sizeof line);
        (void)fprintf(stderr, terminal ? "\r\033[K%s" : "relais-bench: %s\n", line);
    }
    if (terminal)
        (void)fputs("\r\033[K", stderr);
}

/* ---- waiting for the daemons ---- */

/* Looks until the site is as wanted. */
static int until(struct run *r, bool (*wanted)(const struct run *r), unsigned patience_ms,
                 const char *what)
{
    uint64_t began = guest_now();
    for (;;) {
        if (watch_look(&r->watch, r->e) != 0)
            return -(int)r->e->code;
        if (wanted(r))
            return 0;
        if (guest_now() - began > patience_ms * UINT64_C(1000000))
            return err_set(r->e, ERR_IO, "waited %u s in vain for %s", patience_ms / 1000, what);
        if (child_pause(LOOK_MS) != 0)
            return canceled(r->e);
    }
}

static bool is_connected(const struct run *r)
{
    return r->watch.now.connected;
}

/* Whether the hub has all that guests wrote before they stopped. */
static bool is_drained(const struct run *r)
{
    const struct watch_sample *s = &r->watch.now;
    return s->connected && s->dirty == 0 && s->lag == 0 && !isnan(watch_rpo(&r->watch, s));
}

/* ---- the phases ---- */

static int make_volumes(struct run *r)
{
    phase(r, "making volumes", 0);
    for (unsigned i = 0; i < r->scenario->workload_count; i++)
        if (volumes_make(&r->stage, &r->scenario->workloads[i], r->e) != 0)
            return -(int)r->e->code;
    return 0;
}

static int start_guests(struct run *r, const char *socket, bool plain, uint64_t begin, uint64_t end)
{
    for (unsigned i = 0; i < r->scenario->workload_count; i++) {
        const struct workload_spec *w = &r->scenario->workloads[i];
        uint64_t from = begin, to = end;
        char export[2 * NAME_MAX_LEN + 2], own[STAGE_PATH] = "", name[NAME_MAX_LEN + 8];
        (void)snprintf(export, sizeof export, "%s/%s", w->name, w->name);
        if (plain) {
            (void)snprintf(name, sizeof name, "%s.nbd", w->name);
            (void)stage_path(&r->stage, own, name);
            (void)snprintf(export, sizeof export, "%s", w->name);
        } else if (w->at > 0) {
            from = begin + r->scenario->warmup + scenario_real(r->scenario, w->at);
        }
        if (w->length > 0 && !plain)
            to = from + scenario_real(r->scenario, w->length);
        if (guest_start(&r->guests[i], w, plain ? own : socket, export, from, to < end ? to : end,
                        r->e) != 0)
            return err_prefix(r->e, "[workload %s]", w->name);
    }
    return 0;
}

static int guests_well(struct run *r)
{
    for (unsigned i = 0; i < r->scenario->workload_count; i++)
        if (r->guests[i] && guest_failed(r->guests[i], r->e) != 0)
            return err_prefix(r->e, "[workload %s]", r->scenario->workloads[i].name);
    return 0;
}

static void stop_guests(struct run *r)
{
    for (unsigned i = 0; i < SCENARIO_WORKLOADS; i++) {
        guest_stop(r->guests[i]);
        r->guests[i] = NULL;
    }
}

/* Time passes, guests and daemons are looked after. */
static int pass(struct run *r, uint64_t end)
{
    while (guest_now() < end) {
        if (child_pause(LOOK_MS) != 0)
            return canceled(r->e);
        if (guests_well(r) != 0)
            return -(int)r->e->code;
        if (r->watch.err.code != ERR_OK) {
            *r->e = r->watch.err;
            return -(int)r->e->code;
        }
    }
    return 0;
}

/* The same guests on the same files, over NBD too, but with a server that only serves. */
static int run_baseline(struct run *r)
{
    pid_t servers[SCENARIO_WORKLOADS] = {0};
    char socket[STAGE_PATH], name[NAME_MAX_LEN + 8];
    uint64_t begin;
    int rc = 0;
    bool all = true;
    if (r->scenario->baseline == 0)
        return 0;
    phase(r, "without replication", r->scenario->baseline);
    for (unsigned i = 0; i < r->scenario->workload_count && rc == 0; i++) {
        (void)snprintf(name, sizeof name, "%s.nbd", r->scenario->workloads[i].name);
        servers[i] =
            volumes_serve_plain(&r->stage, &r->scenario->workloads[i],
                                stage_path(&r->stage, socket, name), &r->baseline_server, r->e);
        rc = r->e->code != ERR_OK ? -(int)r->e->code : 0;
        all = all && servers[i] > 0;
    }
    if (rc == 0 && all) {
        begin = guest_now();
        rc = start_guests(r, NULL, true, begin, begin + r->scenario->baseline);
        if (rc == 0)
            rc = pass(r, begin + r->scenario->baseline);
        for (unsigned i = 0; i < SCENARIO_WORKLOADS; i++)
            if (r->guests[i])
                guest_take(r->guests[i], &r->baseline[i]);
        stop_guests(r);
    }
    if (!all)
        r->baseline_server = NULL;
    for (unsigned i = 0; i < SCENARIO_WORKLOADS; i++)
        child_end(servers[i], 2000);
    return rc;
}

/* The first replication is not what is measured: the link is open for it. Connections that learnt
 * then how fast the line is are broken before it becomes what the scenario says. */
static int seed(struct run *r)
{
    static const char *const shake[] = {"set outage reset", "shape"};
    char reply[WAN_ANSWER_MAX];
    uint64_t began = guest_now();
    int rc;
    phase(r, "first replication", 0);
    rc = daemons_start(&r->daemons, r->e);
    if (rc == 0)
        rc = watch_open(&r->watch, &r->daemons, r->scenario, r->e);
    if (rc == 0)
        rc = until(r, is_drained, SEED_MS, "the first replication");
    r->seed_s = (double)(guest_now() - began) / 1e9;
    r->seed_bytes = r->watch.now.up;
    phase(r, "connecting over the link", 0);
    for (unsigned i = 0; i < 2 && rc == 0; i++)
        rc = stage_tell(&r->stage, shake[i], reply, sizeof reply, r->e);
    if (rc == 0 && child_pause(SHAKE_MS) != 0)
        rc = canceled(r->e);
    if (rc == 0)
        rc = stage_tell(&r->stage, "set outage none", reply, sizeof reply, r->e);
    return rc == 0 ? until(r, is_connected, CONNECT_MS, "the connection") : rc;
}

static double idle_seconds(void)
{
    unsigned long long v[8] = {0};
    FILE *f = fopen("/proc/stat", "re");
    if (f && fscanf(f, "cpu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4]) != 5)
        v[3] = v[4] = 0;
    if (f)
        (void)fclose(f);
    return (double)(v[3] + v[4]) / (double)sysconf(_SC_CLK_TCK);
}

static int measure(struct run *r)
{
    uint64_t lasts = scenario_real(r->scenario, r->scenario->duration), begin = guest_now(), t0;
    double idle, took;
    char reply[WAN_ANSWER_MAX];
    int rc = stage_tell(&r->stage, "begin", reply, sizeof reply, r->e);
    phase(r, "warming up", r->scenario->warmup);
    t0 = begin + r->scenario->warmup;
    if (rc == 0)
        rc = start_guests(r, r->daemons.nbd, false, begin, t0 + lasts);
    if (rc == 0)
        rc = pass(r, t0);
    if (rc == 0)
        rc = watch_look(&r->watch, r->e);
    if (rc != 0)
        return rc;
    r->first = r->watch.now;
    for (unsigned w = 0; w < WAN_WAYS; w++)
        child_peak_reset(r->daemons.pid[w]);
    phase(r, "measuring", lasts);
    idle = idle_seconds();
    watch_begin(&r->watch, r->guests, lasts);
    rc = pass(r, t0 + lasts);
    took = (double)(guest_now() - t0) / 1e9;
    r->idle_share = (idle_seconds() - idle) / took / (double)sysconf(_SC_NPROCESSORS_ONLN);
    r->load_end = r->watch.now;
    return rc;
}

/* Until the hub has all; the watch goes on. */
static int drain(struct run *r)
{
    uint64_t began = guest_now();
    int rc = 0;
    phase(r, "until the hub has all", 0);
    while (rc == 0 && !is_drained(r)) {
        if (guest_now() - began > PATIENCE_MS * UINT64_C(1000000))
            return err_set(r->e, ERR_IO, "the hub did not get all within four hours");
        rc = pass(r, guest_now() + NS_PER_S / 10);
    }
    r->drained_s = (double)(guest_now() - began) / 1e9;
    r->drained = r->watch.now;
    return rc;
}

static int restore_one(struct run *r, const struct workload_spec *w, bool *equal)
{
    char point[NAME_MAX_LEN + 8], image[STAGE_PATH], target[STAGE_PATH], key[STAGE_PATH], file[80];
    char *args[] = {(char[]){"restore"},
                    point,
                    (char *)(uintptr_t)w->name,
                    target,
                    (char[]){"--key"},
                    key,
                    NULL};
    uint64_t began;
    int rc;
    (void)snprintf(point, sizeof point, "%s@latest", w->name);
    (void)snprintf(file, sizeof file, "%s.img", w->name);
    (void)stage_path(&r->stage, image, file);
    (void)snprintf(file, sizeof file, "%s.restored", w->name);
    (void)stage_path(&r->stage, target, file);
    (void)stage_path(&r->stage, key, "site/restore.key");
    began = guest_now();
    rc = daemons_relais(&r->daemons, args, NULL, 0, r->e);
    if (rc != 0)
        return rc;
    r->restore_s += (double)(guest_now() - began) / 1e9;
    r->restored_bytes += w->size;
    rc = volumes_equal(equal, image, target, r->e);
    (void)unlink(target);
    return rc;
}

static int restore_all(struct run *r)
{
    uint64_t before = r->watch.now.down;
    if (!r->scenario->restore)
        return 0;
    phase(r, "restoring over the link", 0);
    r->restore_s = 0;
    r->restored_equal = true;
    for (unsigned i = 0; i < r->scenario->workload_count; i++) {
        bool equal = false;
        if (restore_one(r, &r->scenario->workloads[i], &equal) != 0)
            return -(int)r->e->code;
        r->restored_equal = r->restored_equal && equal;
    }
    if (watch_look(&r->watch, r->e) != 0)
        return -(int)r->e->code;
    r->restore_down_bytes = r->watch.now.down - before;
    return 0;
}

static int perform(struct run *r)
{
    int rc = make_volumes(r);
    if (rc == 0)
        rc = daemons_prepare(&r->daemons, &r->stage, r->scenario, &r->options->daemons, r->e);
    if (rc == 0)
        rc = run_baseline(r);
    if (rc == 0)
        rc = seed(r);
    if (rc == 0)
        rc = measure(r);
    if (rc == 0)
        rc = drain(r);
    watch_end(&r->watch);
    stop_guests(r);
    if (rc == 0)
        rc = stage_tell(&r->stage, "stats", r->link_stats, sizeof r->link_stats, r->e);
    if (rc == 0)
        rc = restore_all(r);
    return rc;
}

/* ---- the loop, and what is left behind: nothing ---- */

struct main_arg {
    struct run *run;
    struct io *io;
    struct fiber *fiber;
    json_t **result;
};

static void run_main(void *arg)
{
    struct main_arg *a = arg;
    struct run *r = a->run;
    struct fiber *progress = NULL;
    phase(r, "starting", 0);
    if (!r->options->quiet)
        progress = fiber_spawn(a->io, "progress", progress_main, r);
    r->rc = perform(r);
    if (r->rc == 0)
        r->rc = result_make(a->result, r, r->e);
    if (fiber_cancelled())
        r->rc = canceled(r->e);
    stop_guests(r);
    watch_close(&r->watch);
    if (progress) {
        fiber_cancel(progress);
        fiber_join(progress);
    }
    uring_stop(a->io);
}

/* Once is enough: what follows is a second's work, and leaves nothing behind. */
static void on_signal(void *arg, int signo)
{
    struct main_arg *a = arg;
    (void)signo;
    if (!a->run->interrupted)
        (void)fputs("\nrelais-bench: interrupted, clearing up\n", stderr);
    a->run->interrupted = true;
    fiber_cancel(a->fiber);
}

static int loop(struct run *r, json_t **result)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct main_arg a = {.run = r, .result = result};
    int rc = uring_new(&a.io, 1, r->e);
    if (rc != 0)
        return rc;
    rc = uring_signals(a.io, signals, sizeof signals / sizeof signals[0], on_signal, &a, r->e);
    if (rc == 0) {
        a.fiber = fiber_spawn(a.io, "run", run_main, &a);
        uring_run(a.io);
        fiber_join(a.fiber);
        rc = r->rc;
    }
    uring_free(a.io);
    return rc;
}

/* The link's own clock takes the steps: in real time, from the end of the warming up on. */
static int plan_steps(struct run *r)
{
    struct wan_profile *p = &r->scenario->profile;
    enum wan_outage now = WAN_UP;
    for (size_t i = 0; i < p->step_count; i++) {
        struct wan_step *s = &p->steps[i];
        double t = (double)scenario_real(r->scenario, s->at) / 1e9;
        s->at = scenario_real(r->scenario, s->at) + r->scenario->warmup;
        if (strcmp(s->key, "outage") != 0)
            continue;
        if (now != WAN_UP)
            r->outages[r->outage_count - 1].end = t;
        now = strcmp(s->value, "none") == 0    ? WAN_UP
              : strcmp(s->value, "reset") == 0 ? WAN_RESET
                                               : WAN_BLACKHOLE;
        if (now != WAN_UP && r->outage_count == RUN_OUTAGES)
            return err_set(r->e, ERR_LIMIT, "more than %u outages", RUN_OUTAGES);
        if (now != WAN_UP)
            r->outages[r->outage_count++] =
                (struct run_outage){.begin = t, .end = NAN, .kind = now};
    }
    if (now != WAN_UP)
        return err_set(r->e, ERR_CONFIG, "the last outage has no end: [at T] outage = none");
    return 0;
}

static double load_average(void)
{
    double one = NAN;
    return getloadavg(&one, 1) == 1 ? one : NAN;
}

int bench_run(json_t **result, struct scenario *sc, const struct run_options *o, struct err *e)
{
    struct run *r = err_calloc(1, sizeof *r);
    int rc;
    r->scenario = sc;
    r->options = o;
    r->e = e;
    r->drained_s = r->restore_s = NAN;
    r->load_before = load_average();
    r->baseline = err_calloc(SCENARIO_WORKLOADS, sizeof *r->baseline);
    r->baseline_all = err_calloc(1, sizeof *r->baseline_all);
    r->daemons.pid[0] = r->daemons.pid[1] = -1;
    (void)signal(SIGPIPE, SIG_IGN);
    rc = plan_steps(r);
    if (rc == 0)
        rc = stage_open(&r->stage, o->dir ? o->dir : "/var/tmp", &sc->profile, e);
    if (rc == 0) {
        r->stage.keep = o->keep;
        rc = loop(r, result);
        daemons_stop(&r->daemons, rc == 0);
        stage_close(&r->stage);
    }
    free(r->baseline);
    free(r->baseline_all);
    free(r);
    return rc;
}
