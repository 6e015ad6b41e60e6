/* relais-bench link: real daemons over an emulated link, while somebody writes: what a hospital may
 * expect of its line. */
#include "command.h"
#include "report.h"
#include "run.h"
#include "scenario_args.h"
#include "summary.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

struct options {
    struct run_options run;
    const char *json, *html;
};

/* ---- options ---- */

enum { BIN = 1, DIR_, JSON, HTML, ANYWAY, QUIET, KEEP, SET };

static const struct option long_options[] = {{"bin", required_argument, NULL, BIN},
                                             {"dir", required_argument, NULL, DIR_},
                                             {"json", required_argument, NULL, JSON},
                                             {"report", required_argument, NULL, HTML},
                                             {"anyway", no_argument, NULL, ANYWAY},
                                             {"quiet", no_argument, NULL, QUIET},
                                             {"keep", no_argument, NULL, KEEP},
                                             {"set", required_argument, NULL, SET},
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
        rc = scenario_args_load(s, "link", sets, set_count, argv + optind, e);
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
