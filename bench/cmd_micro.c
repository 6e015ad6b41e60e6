/* relais-bench micro: what the engine adds to the primitives it stands on. */
#include "command.h"
#include "key.h"
#include "log.h"
#include "machine.h"
#include "micro.h"
#include "units.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static const struct area {
    const char *name;
    int (*run)(struct micro *m, struct err *e);
} areas[] = {{"seal", micro_seal},
             {"hash", micro_hash},
             {"index", micro_index},
             {"link", micro_link},
             {"nbd", micro_nbd}};
#define AREAS (sizeof areas / sizeof areas[0])

/* MB/s of one operation's bytes, or ns an operation. */
static double figure(const struct micro_case *c, double ns)
{
    return c->bytes ? (double)c->bytes / ns * 1e3 : ns;
}

static void print_text(const struct micro *m)
{
    struct machine machine;
    machine_look(&machine);
    (void)printf("%s, %u processors, %s, %s\n", machine.processor, machine.processors,
                 machine.kernel, machine.when);
    (void)printf(
        "medians of %u repeats; time: ours / the primitive in one repeat, least to most\n\n"
        "%-6s %-38s %10s %-6s %-30s %10s   %s\n",
        m->repeats, "", "", "ours", "", "beside", "", "time");
    for (size_t i = 0; i < m->count; i++) {
        const struct micro_result *r = &m->results[i];
        (void)printf("%-6s %-38s %10.*f %-6s %-30s %10.*f   %.2f (%.2f to %.2f)\n", r->of.area,
                     r->of.what, r->of.bytes ? 0 : 1, figure(&r->of, r->ours.median),
                     r->of.bytes ? "MB/s" : "ns", r->of.beside, r->of.bytes ? 0 : 1,
                     figure(&r->of, r->bare.median), r->ratio.median, r->ratio.min, r->ratio.max);
    }
}

static json_t *sample_json(const struct sample *s)
{
    return json_pack("{s:f, s:f, s:f}", "median", s->median, "min", s->min, "max", s->max);
}

static int print_json(const struct micro *m, struct err *e)
{
    struct machine machine;
    json_t *cases = json_array(), *all;
    int rc = 0;
    machine_look(&machine);
    for (size_t i = 0; i < m->count; i++) {
        const struct micro_result *r = &m->results[i];
        (void)json_array_append_new(
            cases, json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o}", "area", r->of.area, "what",
                             r->of.what, "beside", r->of.beside, "bytes", (json_int_t)r->of.bytes,
                             "ours_ns", sample_json(&r->ours), "bare_ns", sample_json(&r->bare),
                             "ratio", sample_json(&r->ratio)));
    }
    all = json_pack("{s:s, s:i, s:{s:s, s:i, s:I, s:s, s:s}, s:o}", "report", "micro", "repeats",
                    (int)m->repeats, "machine", "processor", machine.processor, "processors",
                    (int)machine.processors, "memory", (json_int_t)machine.memory, "kernel",
                    machine.kernel, "when", machine.when, "cases", cases);
    if (!all || json_dumpf(all, stdout, JSON_INDENT(1)) < 0)
        rc = err_set(e, ERR_INTERNAL, "micro: the report cannot be written as JSON");
    (void)putchar('\n');
    json_decref(all);
    return rc;
}

static int parse_number(unsigned *out, const char *text, unsigned max)
{
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (*end || end == text || v == 0 || v > max)
        return -1;
    *out = (unsigned)v;
    return 0;
}

static int parse(struct micro *m, bool *json, int argc, char **argv, struct err *e)
{
    static const struct option known[] = {{"json", no_argument, NULL, 'j'},
                                          {"repeats", required_argument, NULL, 'r'},
                                          {"batch", required_argument, NULL, 'b'},
                                          {NULL, 0, NULL, 0}};
    int c;
    opterr = 0;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        *json |= c == 'j';
        if (c == '?')
            return bench_misuse("micro", e, "unknown option, or one without its value: \"%.60s\"",
                                argv[optind - 1]);
        if (c == 'r' && parse_number(&m->repeats, optarg, MICRO_REPEATS_MAX) < 0)
            return bench_misuse("micro", e, "--repeats %.20s: 1 to %u are possible", optarg,
                                MICRO_REPEATS_MAX);
        if (c == 'b' && (units_parse_duration(&m->batch_ns, optarg) < 0 || m->batch_ns == 0))
            return bench_misuse("micro", e, "--batch %.20s: a duration is wanted, like 20ms",
                                optarg);
    }
    return 0;
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = optind; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return optind == argc;
}

static int check_names(int argc, char **argv, struct err *e)
{
    for (int i = optind; i < argc; i++) {
        bool found = false;
        for (size_t k = 0; k < AREAS; k++)
            found = found || strcmp(argv[i], areas[k].name) == 0;
        if (!found)
            return bench_misuse("micro", e, "there is no area \"%.20s\"", argv[i]);
    }
    return 0;
}

int cmd_micro(int argc, char **argv, struct err *e)
{
    struct micro m = {.repeats = 9, .batch_ns = UINT64_C(20000000)};
    bool json = false;
    int rc = parse(&m, &json, argc, argv, e);
    log_set_level(LOG_L_WARN); /* of pieces that think they are a daemon */
    if (rc == 0)
        rc = check_names(argc, argv, e);
    if (rc == 0)
        rc = key_init(e);
    for (size_t i = 0; i < AREAS && rc == 0; i++)
        if (wanted(areas[i].name, argc, argv))
            rc = areas[i].run(&m, e);
    if (rc == 0 && json)
        rc = print_json(&m, e);
    else if (rc == 0)
        print_text(&m);
    free(m.results);
    return rc;
}
