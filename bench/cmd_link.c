/* relais-bench link: real daemons over an emulated link, while somebody writes: what a hospital may
 * expect of its line. */
#include "command.h"
#include "report.h"
#include "run.h"
#include "summary.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct options {
    struct run_options run;
    const char *json, *html;
};

/* ---- scenario files ---- */

/* A name without slash or dot is that of a file that comes with relais-bench: installed, or beside
 * the sources that the build was made of. */
static void find_scenario(char *dst, const char *name)
{
    static const char *const dirs[] = {RELAIS_SCENARIOS, RELAIS_SCENARIOS_SOURCE};
    (void)snprintf(dst, PATH_MAX, "%.2000s", name);
    if (strchr(name, '/') || strchr(name, '.'))
        return;
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        (void)snprintf(dst, PATH_MAX, "%s/%.200s.conf", dirs[i], name);
        if (access(dst, R_OK) == 0)
            return;
    }
}

/* SECTION.NAME=VALUE: run.duration=20s, both.rate=20mbit, workload.db.rate=1MiB. */
static int set_by_hand(struct scenario *s, const char *text, struct err *e)
{
    char copy[512], section[128];
    char *eq, *dot;
    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy || !(eq = strchr(copy, '=')))
        return bench_misuse("link", e, "--set %.60s: SECTION.NAME=VALUE is wanted", text);
    *eq = '\0';
    dot = strrchr(copy, '.');
    if (!dot)
        return bench_misuse("link", e, "--set %.60s: SECTION.NAME=VALUE is wanted", text);
    *dot = '\0';
    (void)snprintf(section, sizeof section, "%.100s", copy);
    if (strncmp(section, "workload.", 9) == 0)
        section[8] = ' ';
    if (scenario_set(s, section, dot + 1, eq + 1, e) != 0)
        return err_prefix(e, "--set %.60s", text);
    return 0;
}

/* ---- options ---- */

enum { BIN = 1, DIR_, JSON, HTML, ANYWAY, QUIET, KEEP, SET, POOL, CEPH_CONF, CEPH_USER, CEPH_KEY };

static const struct option long_options[] = {{"bin", required_argument, NULL, BIN},
                                             {"dir", required_argument, NULL, DIR_},
                                             {"json", required_argument, NULL, JSON},
                                             {"report", required_argument, NULL, HTML},
                                             {"anyway", no_argument, NULL, ANYWAY},
                                             {"quiet", no_argument, NULL, QUIET},
                                             {"keep", no_argument, NULL, KEEP},
                                             {"set", required_argument, NULL, SET},
                                             {"pool", required_argument, NULL, POOL},
                                             {"ceph-conf", required_argument, NULL, CEPH_CONF},
                                             {"ceph-user", required_argument, NULL, CEPH_USER},
                                             {"ceph-keyring", required_argument, NULL, CEPH_KEY},
                                             {NULL, 0, NULL, 0}};

static bool take(struct options *o, int c)
{
    switch (c) {
    case BIN:
        o->run.daemons.bin = optarg;
        return true;
    case DIR_:
        o->run.dir = optarg;
        return true;
    case JSON:
        o->json = optarg;
        return true;
    case HTML:
        o->html = optarg;
        return true;
    case ANYWAY:
        return o->run.anyway = true;
    case QUIET:
        return o->run.quiet = true;
    case KEEP:
        return o->run.keep = true;
    case POOL:
        o->run.daemons.pool = optarg;
        return true;
    case CEPH_CONF:
        o->run.daemons.ceph_conf = optarg;
        return true;
    case CEPH_USER:
        o->run.daemons.ceph_user = optarg;
        return true;
    case CEPH_KEY:
        o->run.daemons.ceph_keyring = optarg;
        return true;
    default:
        return false;
    }
}

/* sets: of argc pointers. */
static int parse(struct options *o, const char **sets, int *set_count, int argc, char **argv,
                 struct err *e)
{
    int c;
    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
        if (c == SET)
            sets[(*set_count)++] = optarg;
        else if (!take(o, c))
            return bench_misuse("link", e,
                                c == ':' ? "%.40s needs a value" : "unknown option %.40s",
                                argv[optind - 1]);
    }
    if (optind == argc)
        return bench_misuse("link", e, "which scenario? for instance: fibre-100 oltp outage");
    return 0;
}

static int load(struct scenario *s, const char *const *sets, int set_count, char *const *files,
                struct err *e)
{
    char path[PATH_MAX];
    int rc = 0;
    for (; *files && rc == 0; files++) {
        find_scenario(path, *files);
        rc = scenario_load(s, path, e);
    }
    for (int i = 0; i < set_count && rc == 0; i++)
        rc = set_by_hand(s, sets[i], e);
    return rc == 0 ? scenario_complete(s, e) : rc;
}

/* ---- results ---- */

static int write_json(const json_t *result, const char *path, struct err *e)
{
    FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    int bad;
    if (!f)
        return err_os(e, errno, "%s", path);
    bad = json_dumpf(result, f, JSON_INDENT(1) | JSON_REAL_PRECISION(10)) != 0;
    bad |= fputc('\n', f) == EOF;
    bad |= f == stdout ? fflush(f) != 0 : fclose(f) != 0;
    return bad ? err_os(e, errno ? errno : EIO, "%s", path) : 0;
}

static int write_all(const json_t *result, const struct options *o, struct err *e)
{
    int rc = 0;
    if (!o->json || strcmp(o->json, "-") != 0)
        summary_print(stdout, result);
    if (o->json)
        rc = write_json(result, o->json, e);
    if (rc == 0 && o->html)
        rc = report_write(result, o->html, e);
    return rc;
}

int cmd_link(int argc, char **argv, struct err *e)
{
    struct options o = {.run = {.anyway = false}};
    struct scenario *s = err_malloc(sizeof *s);
    const char **sets = err_calloc((size_t)argc, sizeof *sets);
    json_t *result = NULL;
    int set_count = 0, rc = parse(&o, sets, &set_count, argc, argv, e);
    scenario_init(s);
    if (rc == 0)
        rc = load(s, sets, set_count, argv + optind, e);
    if (rc == 0)
        rc = bench_run(&result, s, &o.run, e);
    if (rc == 0)
        rc = write_all(result, &o, e);
    if (rc < 0 && e->code == ERR_AGAIN) {
        (void)fprintf(stderr, "relais-bench: %s\n", e->text);
        rc = BENCH_SLOW;
    }
    json_decref(result);
    scenario_free(s);
    free(s);
    free(sets);
    return rc;
}
