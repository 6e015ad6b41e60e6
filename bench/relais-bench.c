/* relais-bench: what a WAN link does to replication, and what replication makes of the link. */
#include "command.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static int cmd_help(int argc, char **argv, struct err *e);

const struct bench_command bench_commands[] = {
    {"link", cmd_link,
     "run relais over an emulated link while guests write, and say what comes of it",
     "[--json FILE] [--report FILE] [--set SECTION.NAME=VALUE]... [--anyway] [--quiet] [--keep]\n"
     "       [--bin DIR] [--dir DIR] SCENARIO..."},
    {"report", cmd_report, "make one HTML file of what link measured", "RESULT.json >report.html"},
    {"wan", cmd_wan, "emulate a WAN link between two network namespaces",
     "[--dir DIR] [--set KEY=VALUE]... [--no-offload] PROFILE [-- COMMAND...]\n"
     "       relais-bench wan --check [--json] [--set KEY=VALUE]... PROFILE\n"
     "       relais-bench wan --ceiling [--no-offload]\n"
     "       relais-bench wan --tell DIR set KEY VALUE | stats | stop"},
    {"micro", cmd_micro, "measure pieces of the engine beside the primitives they stand on",
     "[--json] [--repeats N] [--batch DURATION] [seal|hash|index|link|nbd]..."},
    {"plan", cmd_plan, "say what a link will do to replication, without a run",
     "[--check [--anyway] [--bin DIR] [--dir DIR]] [--json] [--sealed SHARE]\n"
     "       [--set SECTION.NAME=VALUE]... SCENARIO...\n"
     "       relais-bench plan --changes FILE [--json] [--set SECTION.NAME=VALUE]... LINK..."},
    {"compare", cmd_compare,
     "make a changed database safe over a WAN, beside restic, borg, rsync, rbd",
     "[--volume postgres|synthetic] [--size GIB] [--change SHARE] [--rounds N]\n"
     "       [--peers NAME,...] [--link PROFILE] [--set KEY=VALUE]... [--site OPTION]...\n"
     "       [--verify] [--prepare] [--json FILE] [--dir DIRECTORY]; --help says more"},
    {"help", cmd_help, "explain a command", "[COMMAND]"},
};
const size_t bench_command_count = sizeof bench_commands / sizeof bench_commands[0];

static const struct bench_command *find(const char *name)
{
    for (size_t i = 0; i < bench_command_count; i++)
        if (strcmp(bench_commands[i].name, name) == 0)
            return &bench_commands[i];
    return NULL;
}

static void print_usage(FILE *out)
{
    (void)fputs("usage: relais-bench COMMAND [ARGUMENTS]\n\n", out);
    for (size_t i = 0; i < bench_command_count; i++)
        (void)fprintf(out, "  %-8s  %s\n", bench_commands[i].name, bench_commands[i].summary);
}

int bench_misuse(const char *name, struct err *e, const char *fmt, ...)
{
    const struct bench_command *c = find(name);
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    ASSERT(c);
    return err_set(e, ERR_USAGE, "%s: %s\nusage: relais-bench %s %s", name, what, name, c->usage);
}

static int cmd_help(int argc, char **argv, struct err *e)
{
    const struct bench_command *c;
    if (argc < 2) {
        print_usage(stdout);
        return 0;
    }
    c = find(argv[1]);
    if (!c)
        return bench_misuse("help", e, "there is no command \"%.40s\"", argv[1]);
    (void)printf("usage: relais-bench %s %s\n\n%s\n", c->name, c->usage, c->summary);
    return 0;
}

int main(int argc, char **argv)
{
    const struct bench_command *c = argc > 1 ? find(argv[1]) : NULL;
    struct err e = ERR_INIT;
    int rc;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_usage(stdout);
        return 0;
    }
    if (!c) {
        if (argc > 1)
            (void)fprintf(stderr, "relais-bench: there is no command \"%.40s\"\n\n", argv[1]);
        print_usage(stderr);
        return err_exit_status(ERR_USAGE);
    }
    if (argc == 3 && strcmp(argv[2], "--help") == 0 && c->run != cmd_compare)
        rc = cmd_help(2, (char *[]){argv[0], argv[1], NULL}, &e);
    else
        rc = c->run(argc - 1, argv + 1, &e);
    if (rc >= 0 && (fflush(stdout) != 0 || ferror(stdout)))
        rc = err_os(&e, errno ? errno : EIO, "standard output");
    if (rc >= 0)
        return rc;
    (void)fprintf(stderr, "relais-bench: %s\n", e.text);
    return err_exit_status(e.code);
}
