/* relais: what people type: keys, status, marks, recovery points, restores. */
#include "command.h"
#include "key.h"
#include "log.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static int cmd_help(struct command_context *ctx, int argc, char **argv, struct err *e);
static int cmd_version(struct command_context *ctx, int argc, char **argv, struct err *e);

const struct command commands[] = {
    {"keygen", cmd_keygen, "make keys, show their public half",
     "link|sign|restore|hash FILE\n       relais keygen all DIR\n"
     "       relais keygen restore FILE --passphrase [--passphrase-file FILE]\n"
     "       relais keygen --show FILE [--passphrase-file FILE]\n"
     "       relais keygen --change-passphrase FILE [--passphrase-file FILE]\n"
     "                     [--new-passphrase-file FILE]"},
    {"escrow", cmd_escrow, "a key on paper: make it, print one, type it back",
     "new [--shares K/N]\n       relais escrow print KEYFILE [--shares K/N] [--passphrase-file "
     "FILE]\n"
     "       relais escrow combine KEYFILE [--passphrase] [--passphrase-file FILE] <SHEETS"},
    {"territory", cmd_territory, "at the hub: make its configuration; invite a member",
     "init [--name NAME] [--address HOST:PORT[,...]] [--store dir:/PATH|rados:POOL]\n"
     "         [--escrow WORD|--escrow-sheets K/N|--no-escrow] [--listen [HOST]:PORT]\n"
     "         [--state DIR] [--control PATH] [--dry-run]\n"
     "       relais territory invite SITE [--reads SITE/GROUP,...] [--valid 24h] [--auto]"},
    {"site", cmd_site, "at a new member: make its keys and configuration from an invitation",
     "enrol [INVITATION | --token-file FILE] [--passphrase-file FILE] [--restore WORD]\n"
     "         [--reader WORD]... [--escrow WORD|FINGERPRINT | --no-escrow] [--state DIR]\n"
     "         [--control PATH] [--dry-run]\n"
     "       relais site enrol --replace [INVITATION | --token-file FILE]"},
    {"peers", cmd_peers, "at the hub: who belongs to the territory; approve, revoke, replace",
     "[--json]\n       relais peers approve SITE [FINGERPRINT]\n"
     "       relais peers revoke SITE [--reason TEXT]\n"
     "       relais peers replace SITE [--reason TEXT] [--valid 24h]\n"
     "       relais peers withdraw SITE"},
    {"config", cmd_config, "check the configuration, list all options", "check|reference|groups"},
    {"status", cmd_status,
     "how replication stands: exit status 0 well, 1 degraded, 2 broken, 3 unknown",
     "[--territory] [--json]"},
    {"mark", cmd_mark, "cut a recovery point now", "GROUP [--label TEXT] [--wait]"},
    {"drain", cmd_drain, "cut now and ship all of a group, ahead of rates and pauses", "GROUP"},
    {"pause", cmd_pause, "ship nothing of a group until resume", "GROUP"},
    {"resume", cmd_pause, "ship a group again", "GROUP"},
    {"rate", cmd_rate, "how fast to ship: show it, or change it until the next start",
     "[RATE|off|schedule]"},
    {"record", cmd_record, "list what is written to a volume, for relais-bench; no contents",
     "GROUP/VOLUME --out FILE [--for DURATION]"},
    {"resize", cmd_resize, "tell relaisd that a volume has grown", "GROUP/VOLUME"},
    {"list", cmd_list, "list the recovery points of a group",
     "[SITE/]GROUP [--all] [--json] [--signer WORD] [--rolled-back]"},
    {"restore", cmd_restore, "write a volume as it was to a file or device",
     "[SITE/]GROUP@RP|@TIME|@latest VOLUME TARGET --key FILE [--key FILE]...\n"
     "       [--site SITE] [--force] [--check] [--state FILE] [--parallel N] [--signer WORD]\n"
     "       [--rolled-back]"},
    {"verify", cmd_verify, "prove that a recovery point can be restored",
     "[SITE/]GROUP[@RP|@TIME] --key FILE [--key FILE]... | --chain\n"
     "       [--site SITE] [--parallel N] [--signer WORD] [--rolled-back]"},
    {"readers", cmd_readers, "who can open a group's recovery points; let one more",
     "list [SITE/]GROUP [--signer WORD]\n"
     "       relais readers grant [SITE/]GROUP --to WORD --key FILE [--key FILE]... [--signer "
     "WORD]"},
    {"audit", cmd_audit, "what the hub remembers of who did what; whether that was changed",
     "[--since TIME] [--peer NAME] [--kind KIND] [--follow] [--json]\n"
     "       relais audit verify [--witness NUMBER:DIGEST]"},
    {"compact", cmd_compact, "fold what nobody keeps at the hub, now", "[--wait]"},
    {"rotate", cmd_rotate, "seal with a new data key from now on", "[GROUP]"},
    {"retention", cmd_retention, "which recovery points stay at the hub, and why",
     "[--site SITE] [--group GROUP] [--dry-run | --now] [--json]"},
    {"pin", cmd_pin, "keep a recovery point whatever the rules say", "[SITE/]GROUP@RP"},
    {"unpin", cmd_pin, "leave it to the rules again", "[SITE/]GROUP@RP"},
    {"usage", cmd_usage, "what sites have stored, and shipped per month", "[--site SITE] [--json]"},
    {"scrub", cmd_scrub, "what the hub found when it read all that it stores",
     "[--now] [--wait] [--json]"},
    {"inspect", cmd_inspect, "check one delta file and say what is in it",
     "FILE [--signer WORD] [--extents] [--json]"},
    {"help", cmd_help, "explain a command", "[COMMAND]"},
    {"version", cmd_version, "print the version", ""},
};
const size_t command_count = sizeof commands / sizeof commands[0];

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < command_count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_usage(FILE *out)
{
    (void)fputs("usage: relais [-c FILE] COMMAND [ARGUMENTS]\n\n", out);
    for (size_t i = 0; i < command_count; i++)
        (void)fprintf(out, "  %-9s  %s\n", commands[i].name, commands[i].summary);
    (void)fputs("\n  -c FILE   configuration (default " CONFIG_DEFAULT_FILE ")\n"
                "\nrelais help COMMAND tells more; relais(1) tells all.\n",
                out);
}

static int cmd_help(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    const struct command *c;
    (void)ctx;
    if (argc < 2) {
        print_usage(stdout);
        return 0;
    }
    c = find(argv[1]);
    if (!c)
        return command_misuse("help", e, "there is no command \"%.40s\"", argv[1]);
    (void)printf("usage: relais [-c FILE] %s %s\n\n%s\n", c->name, c->usage, c->summary);
    return 0;
}

static int cmd_version(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    (void)ctx;
    (void)argc;
    (void)argv;
    (void)e;
    (void)puts("relais " RELAIS_VERSION);
    return 0;
}

int command_misuse(const char *name, struct err *e, const char *fmt, ...)
{
    const struct command *c = find(name);
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    ASSERT(c);
    return err_set(e, ERR_USAGE, "%s: %s\nusage: relais %s %s", name, what, name, c->usage);
}

int command_option(struct command_context *ctx, int argc, char **argv, const char *letters,
                   const struct option *options, struct err *e)
{
    char all[32];
    int c;
    opterr = 0;
    (void)snprintf(all, sizeof all, ":c:%s", letters);
    for (;;) {
        c = getopt_long(argc, argv, all, options, NULL);
        if (c != 'c')
            break;
        ctx->config_file = optarg;
    }
    if (c == ':') {
        (void)command_misuse(argv[0], e, "%s needs a value", argv[optind - 1]);
        return '?';
    }
    if (c == '?')
        (void)command_misuse(argv[0], e, "unknown option \"%.40s\"", argv[optind - 1]);
    return c;
}

static void report(void *arg, int line, const char *text)
{
    const char *file = arg;
    if (line)
        (void)fprintf(stderr, "relais: %s:%d: %s\n", file, line, text);
    else
        (void)fprintf(stderr, "relais: %s: %s\n", file, text);
}

int command_config(struct config **out, const struct command_context *ctx, struct err *e)
{
    return config_load(out, ctx->config_file, false, report, (void *)(uintptr_t)ctx->config_file,
                       e);
}

/* Restore keys pass through this process. */
static int harden(struct err *e)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return err_os(e, errno, "giving up core dumps");
    (void)signal(SIGPIPE, SIG_IGN);
    return 0;
}

/* Output that could not be written (a full disk, a closed pipe) is a failure like any other. */
static int close_output(struct err *e)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return err_os(e, errno ? errno : EIO, "standard output");
    return 0;
}

int main(int argc, char **argv)
{
    struct command_context ctx = {.config_file = CONFIG_DEFAULT_FILE};
    const struct command *c;
    struct err e = ERR_INIT;
    int at = 1, res;
    if (at + 1 < argc && (strcmp(argv[at], "-c") == 0 || strcmp(argv[at], "--config") == 0)) {
        ctx.config_file = argv[at + 1];
        at += 2;
    }
    if (at < argc && (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)) {
        print_usage(stdout);
        return 0;
    }
    if (at < argc && strcmp(argv[at], "--version") == 0)
        argv[at] = (char[]){"version"};
    c = at < argc ? find(argv[at]) : NULL;
    if (!c) {
        if (at < argc)
            (void)fprintf(stderr, "relais: there is no command \"%.40s\"\n\n", argv[at]);
        print_usage(stderr);
        return err_exit_status(ERR_USAGE);
    }
    if (at + 1 < argc && strcmp(argv[at + 1], "--help") == 0) {
        char *help[] = {(char[]){"help"}, argv[at], NULL};
        return cmd_help(&ctx, 2, help, &e);
    }
    log_set_level(LOG_L_WARN);
    res = harden(&e);
    if (res == 0)
        res = key_init(&e);
    if (res == 0)
        res = c->run(&ctx, argc - at, argv + at, &e);
    if (res >= 0 && close_output(&e) != 0)
        res = -(int)e.code;
    if (res >= 0)
        return res;
    (void)fprintf(stderr, "relais: %s\n", e.text);
    return err_exit_status(e.code);
}
