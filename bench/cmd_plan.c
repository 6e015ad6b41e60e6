/* relais-bench plan: what replication would do on a link, without a run; and, on request, with one,
 * to see how far off that is. */
#include "command.h"
#include "run.h"
#include "scenario_args.h"
#include "summary.h"
#include "words.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHECKS_MAX (3u + 3u * REPLAY_OUTAGES)
#define TOLERANCE  0.15

struct options {
    struct run_options run;
    const char *changes, *sealed;
    double ratio; /* of --sealed; 0: not given */
    bool check, json;
};

enum { CHECK = 1, CHANGES, SEALED, JSON, BIN, DIR_, ANYWAY, SET };

static const struct option long_options[] = {{"check", no_argument, NULL, CHECK},
                                             {"changes", required_argument, NULL, CHANGES},
                                             {"sealed", required_argument, NULL, SEALED},
                                             {"json", no_argument, NULL, JSON},
                                             {"bin", required_argument, NULL, BIN},
                                             {"dir", required_argument, NULL, DIR_},
                                             {"anyway", no_argument, NULL, ANYWAY},
                                             {"set", required_argument, NULL, SET},
                                             {NULL, 0, NULL, 0}};

static bool take(struct options *o, int c)
{
    switch (c) {
    case CHECK:
        return o->check = true;
    case CHANGES:
        o->changes = optarg;
        return true;
    case SEALED:
        o->sealed = optarg;
        return true;
    case JSON:
        return o->json = true;
    case BIN:
        o->run.daemons.bin = optarg;
        return true;
    case DIR_:
        o->run.dir = optarg;
        return true;
    case ANYWAY:
        return o->run.anyway = true;
    default:
        return false;
    }
}

static int parse(struct options *o, const char **sets, int *set_count, int argc, char **argv,
                 struct err *e)
{
    struct day_is day = {0};
    int c;
    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
        if (c == SET)
            sets[(*set_count)++] = optarg;
        else if (!take(o, c))
            return bench_misuse("plan", e,
                                c == ':' ? "%.40s needs a value" : "unknown option %.40s",
                                argv[optind - 1]);
    }
    if (optind == argc && !(o->changes && *set_count > 0))
        return bench_misuse("plan", e, "which link? for instance: fibre-100 oltp");
    if (o->changes && o->check)
        return bench_misuse("plan", e, "--check runs a scenario; a day of --changes it cannot");
    if (o->sealed && day_set(&day, "sealed", o->sealed, e) < 0)
        return err_prefix(e, "--sealed");
    o->ratio = day.sealed;
    return 0;
}

static int print_json(json_t *value, struct err *e)
{
    int rc = 0;
    if (!value || json_dumpf(value, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(10)) != 0)
        rc = err_set(e, ERR_INTERNAL, "the plan cannot be said in JSON");
    (void)putchar('\n');
    json_decref(value);
    return rc;
}

/* ---- a day, from figures ---- */

static int plan_day(const struct options *o, const struct scenario *s, struct err *e)
{
    const struct wan_path *up = &s->profile.path[WAN_UPWARD],
                          *down = &s->profile.path[WAN_DOWNWARD];
    double rtt = (double)(up->delay + down->delay) / 1e9, capacity, interval;
    struct day_is is = {0};
    struct day d;
    int rc = day_load(&is, o->changes, e);
    if (rc < 0)
        return rc;
    if (up->rate == 0)
        return err_set(e, ERR_CONFIG,
                       "the link's rate upwards is not limited: say it, like --set "
                       "up.rate=20mbit");
    capacity = plan_capacity((double)up->rate, s->profile.mtu) * (1 - wan_path_loss(up));
    day_play(&d, &is, capacity, rtt);
    interval = day_interval(&is, capacity, rtt);
    if (o->json)
        return print_json(words_day_json(&is, &d, interval), e);
    (void)printf("%s\n", s->profile.description);
    words_day(stdout, &is, &d, interval, (double)up->rate);
    return 0;
}

/* ---- held against a run ---- */

static void add(struct words_check *checks, size_t *n, const char *what, const char *unit,
                double scale, double planned, double measured, bool judged)
{
    struct words_check *c = &checks[(*n)++];
    *c = (struct words_check){
        .planned = planned / scale, .measured = measured / scale, .judged = judged};
    (void)snprintf(c->what, sizeof c->what, "%s", what);
    (void)snprintf(c->unit, sizeof c->unit, "%s", unit);
}

static size_t hold(struct words_check *checks, const struct replay *r, const json_t *result)
{
    const json_t *outages = json_object_get(result, "outages");
    size_t n = 0;
    add(checks, &n, "RPO, median", "s", 1, r->steady_p50,
        summary_number(result, "rpo_steady.p50_s"), true);
    add(checks, &n, "RPO, p99", "s", 1, r->steady_p99, summary_number(result, "rpo_steady.p99_s"),
        true);
    add(checks, &n, "bytes shipped", "MB", 1e6, r->shipped, summary_number(result, "bytes.shipped"),
        true);
    for (unsigned i = 0; i < r->outage_count && i < json_array_size(outages); i++) {
        const json_t *o = json_array_get(outages, i);
        add(checks, &n, "outage: what waited at most", "MB", 1e6, r->outages[i].backlog,
            summary_number(o, "backlog_bytes"), false);
        add(checks, &n, "outage: the spool at most", "MB", 1e6, r->outages[i].spool,
            summary_number(o, "spool_bytes"), true);
        add(checks, &n, "outage: caught up after", "s", 1, r->outages[i].caught_up,
            summary_number(o, "caught_up_s"), true);
    }
    return n;
}

/* 0 or BENCH_DIFFERS. */
static int judge(const struct words_check *checks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (checks[i].judged && !(fabs(words_deviation(&checks[i])) <= TOLERANCE))
            return BENCH_DIFFERS;
    return 0;
}

static int check(const struct options *o, struct scenario *s, const struct replay *r, struct err *e)
{
    struct words_check checks[CHECKS_MAX];
    json_t *planned = words_scenario_json(s, r), *result = NULL;
    int rc;
    s->restore = false; /* nothing was foretold of it, nor of guests without replication */
    s->baseline = 0;
    rc = bench_run(&result, s, &o->run, e);
    if (rc == 0) {
        size_t n = hold(checks, r, result);
        rc = judge(checks, n);
        if (o->json) {
            int bad;
            (void)json_object_set_new(planned, "checks", words_checks_json(checks, n, TOLERANCE));
            (void)json_object_set_new(planned, "machine",
                                      json_incref(json_object_get(result, "machine")));
            (void)json_object_set_new(planned, "doubts",
                                      json_incref(json_object_get(result, "doubts")));
            bad = print_json(json_incref(planned), e);
            rc = bad < 0 ? bad : rc;
        } else {
            words_checks(stdout, checks, n, TOLERANCE);
        }
    } else if (e->code == ERR_AGAIN) {
        (void)fprintf(stderr, "relais-bench: %s\n", e->text);
        rc = BENCH_SLOW;
    }
    json_decref(planned);
    json_decref(result);
    return rc;
}

static int plan_scenario(const struct options *o, struct scenario *s, struct err *e)
{
    struct replay r;
    int rc = replay_scenario(&r, s, o->ratio, e);
    if (rc < 0)
        return rc;
    if (!o->json)
        words_scenario(stdout, s, &r);
    (void)fflush(stdout);
    if (o->check)
        return check(o, s, &r, e);
    return o->json ? print_json(words_scenario_json(s, &r), e) : 0;
}

int cmd_plan(int argc, char **argv, struct err *e)
{
    struct options o = {.run = {.anyway = false}};
    struct scenario *s = err_malloc(sizeof *s);
    const char **sets = err_calloc((size_t)argc, sizeof *sets);
    int set_count = 0, rc = parse(&o, sets, &set_count, argc, argv, e);
    scenario_init(s);
    if (rc == 0)
        rc = scenario_args_read(s, "plan", sets, set_count, argv + optind, e);
    if (rc == 0 && o.changes)
        rc = plan_day(&o, s, e);
    else if (rc == 0 && (rc = scenario_complete(s, e)) == 0)
        rc = plan_scenario(&o, s, e);
    scenario_free(s);
    free(s);
    free(sets);
    return rc;
}
