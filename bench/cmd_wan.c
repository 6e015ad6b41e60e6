/* relais-bench wan: a WAN link between two network namespaces, for commands, for a check of itself,
 * or until it is told to stop. */
#include "check.h"
#include "command.h"
#include "units.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE_S 5u /* that what a command started has to end */

struct options {
    char dir[PATH_MAX];
    bool check, ceiling, json, no_offload, tell;
    bool own_dir; /* made here, removed at the end */
};

static const char *const end_names[WAN_WAYS] = {"site", "hub"};

/* ---- the directory: a link to each namespace, and the control socket ---- */

static void dir_path(char *dst, const struct options *o, const char *name)
{
    (void)snprintf(dst, PATH_MAX, "%.4000s/%s", o->dir, name);
}

static int open_dir(struct options *o, struct wan_pump *p, struct err *e)
{
    char path[PATH_MAX], to[64];
    if (o->dir[0] == '\0') {
        (void)snprintf(o->dir, sizeof o->dir, "/tmp/relais-wan-XXXXXX");
        if (!mkdtemp(o->dir))
            return err_os(e, errno, "making a directory in /tmp");
        o->own_dir = true;
    } else if (mkdir(o->dir, 0700) == 0) {
        o->own_dir = true;
    } else if (errno != EEXIST) {
        return err_os(e, errno, "%s", o->dir);
    }
    for (unsigned w = 0; w < WAN_WAYS; w++) {
        dir_path(path, o, end_names[w]);
        (void)snprintf(to, sizeof to, "/proc/%ld/fd/%d", (long)getpid(), p->ends[w].netns);
        (void)unlink(path);
        if (symlink(to, path) < 0)
            return err_os(e, errno, "%s", path);
    }
    dir_path(path, o, "control");
    return wan_pump_listen(p, path, e);
}

static void close_dir(const struct options *o)
{
    static const char *const names[] = {"site", "hub", "control"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof names / sizeof names[0] && o->dir[0]; i++) {
        dir_path(path, o, names[i]);
        (void)unlink(path);
    }
    if (o->own_dir)
        (void)rmdir(o->dir);
}

/* ---- a command between the ends ---- */

static pid_t start(char **argv, const struct options *o, const sigset_t *before)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    (void)sigprocmask(SIG_SETMASK, before, NULL);
    (void)setenv("RELAIS_WAN", o->dir, 1);
    (void)execvp(argv[0], argv);
    (void)fprintf(stderr, "relais-bench: %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* Ends what still lives at either end, daemons that a command left for one. */
static void clear_ends(const struct wan_pump *p)
{
    for (unsigned i = 0; i < GRACE_S * 20; i++) {
        unsigned n = 0;
        for (unsigned w = 0; w < WAN_WAYS; w++)
            n += wan_end_kill(&p->ends[w], i == 0 ? SIGTERM : 0);
        if (n == 0)
            return;
        (void)usleep(50000);
    }
    for (unsigned w = 0; w < WAN_WAYS; w++)
        (void)wan_end_kill(&p->ends[w], SIGKILL);
}

/* Ends the command's group; returns the command's status as a shell would give it. */
static int finish(pid_t pid)
{
    int status = 0;
    bool gone = false;
    (void)kill(-pid, SIGTERM);
    for (unsigned i = 0; i < GRACE_S * 20 && !gone; i++) {
        gone = waitpid(pid, &status, WNOHANG) != 0;
        if (!gone)
            (void)usleep(50000);
    }
    (void)kill(-pid, SIGKILL);
    if (!gone)
        (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* What the whole run was worth. */
static void conclude(const struct wan_pump *p)
{
    char text[512];
    if (wan_pump_strained(p, text, sizeof text))
        (void)fprintf(stderr,
                      "relais-bench: the machine could not keep up with the link: %s; what was "
                      "measured is the machine, not the link\n",
                      text);
}

static int run_command(struct wan_pump *p, struct options *o, char **argv, int signals,
                       const sigset_t *before, struct err *e)
{
    char text[512];
    int rc = open_dir(o, p, e), ended = -1, status = 0;
    pid_t pid = -1;
    if (rc < 0)
        return rc;
    if (argv[0]) {
        pid = start(argv, o, before);
        ended = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
        if (ended < 0)
            return err_os(e, errno, "starting %s", argv[0]);
    } else {
        (void)printf("%s\n  nsenter --net=%s/site COMMAND   at the site, " WAN_SITE_ADDR
                     "\n  nsenter --net=%s/hub COMMAND    at the hub, " WAN_HUB_ADDR
                     "\n  relais-bench wan --tell %s stats\n",
                     p->profile->description, o->dir, o->dir, o->dir);
        (void)fflush(stdout);
    }
    rc = wan_pump_run(p, signals, ended, e);
    if (pid > 0)
        status = finish(pid);
    clear_ends(p);
    if (ended >= 0)
        (void)close(ended);
    if (rc < 0)
        return rc;
    conclude(p);
    return status == 0 && wan_pump_strained(p, text, sizeof text) ? BENCH_SLOW : status;
}

/* ---- the check of itself ---- */

static void print_row(const char *what, const struct wan_measured *m, double unit,
                      const char *unit_name, bool json, bool first)
{
    if (json)
        (void)printf("%s\"%s\": {\"set\": %.6g, \"measured\": %.6g, \"tolerance\": %.6g, "
                     "\"holds\": %s}",
                     first ? "" : ", ", what, m->set / unit, m->got / unit, m->tolerance / unit,
                     wan_measured_holds(m) ? "true" : "false");
    else
        (void)printf("  %-10s %10.3f %10.3f  ± %-7.3g %-7s %s\n", what, m->set / unit,
                     m->got / unit, m->tolerance / unit, unit_name,
                     wan_measured_holds(m) ? "holds" : "DIFFERS");
}

static int check(struct wan_pump *p, bool json, int signals, struct err *e)
{
    struct wan_fidelity f;
    char text[512];
    bool holds, strained;
    int rc = wan_check_run(&f, p, signals, e);
    if (rc < 0)
        return rc;
    holds = wan_measured_holds(&f.rtt);
    for (unsigned w = 0; w < WAN_WAYS; w++)
        holds = holds && wan_measured_holds(&f.rate[w]) && wan_measured_holds(&f.loss[w]);
    strained = wan_pump_strained(p, text, sizeof text);
    if (json)
        (void)printf("{");
    else
        (void)printf("%s\n  %-10s %10s %10s\n", p->profile->description, "", "set", "measured");
    print_row("rtt_ms", &f.rtt, 1e6, "ms", json, true);
    print_row("up_mbit", &f.rate[WAN_UPWARD], 1e6, "Mbit/s", json, false);
    print_row("down_mbit", &f.rate[WAN_DOWNWARD], 1e6, "Mbit/s", json, false);
    print_row("up_loss", &f.loss[WAN_UPWARD], 0.01, "%", json, false);
    print_row("down_loss", &f.loss[WAN_DOWNWARD], 0.01, "%", json, false);
    if (json)
        (void)printf(", \"kept_up\": %s, \"holds\": %s}\n", strained ? "false" : "true",
                     holds ? "true" : "false");
    else
        (void)printf("  the machine %s: %s\n", strained ? "could NOT keep up" : "kept up", text);
    return strained ? BENCH_SLOW : holds ? 0 : BENCH_DIFFERS;
}

static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int ceiling(struct wan_pump *p, bool offload, int signals, struct err *e)
{
    double bits, before = cpu_seconds(), cpu;
    char text[512];
    int rc = wan_check_ceiling(&bits, p, signals, e);
    if (rc < 0)
        return rc;
    cpu = cpu_seconds() - before;
    (void)wan_pump_strained(p, text, sizeof text);
    (void)printf("one TCP stream, %s: %.2f Gbit/s, %.0f %% of a processor per Gbit/s; %s\n",
                 offload ? "with offload" : "without offload", bits / 1e9,
                 cpu / 3 * 100 / (bits / 1e9), text);
    return 0;
}

/* ---- the command line ---- */

static int tell(const char *dir, int argc, char **argv, struct err *e)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char request[256] = "", reply[WAN_ANSWER_MAX];
    ssize_t n = -1;
    int fd;
    for (int i = 0; i < argc; i++) {
        size_t at = strlen(request);
        (void)snprintf(request + at, sizeof request - at, "%s%s", i ? " " : "", argv[i]);
    }
    if (snprintf(un.sun_path, sizeof un.sun_path, "%s/control", dir) >= (int)sizeof un.sun_path)
        return err_set(e, ERR_LIMIT, "%s: too long for a socket's path", dir);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof un) == 0 &&
        send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
        n = recv(fd, reply, sizeof reply - 1, 0);
    if (n <= 0) {
        int rc = err_os(e, n == 0 ? ECONNRESET : errno, "asking the link at %s", dir);
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    (void)close(fd);
    reply[n] = '\0';
    if (strncmp(reply, "error: ", 7) == 0)
        return err_set(e, ERR_CONFIG, "%s", reply + 7);
    (void)printf("%s\n", reply);
    return 0;
}

static int parse(struct options *o, char **sets, int *set_count, int argc, char **argv,
                 struct err *e)
{
    static const struct option known[] = {
        {"dir", required_argument, NULL, 'd'},  {"set", required_argument, NULL, 's'},
        {"check", no_argument, NULL, 'k'},      {"ceiling", no_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},       {"no-offload", no_argument, NULL, 'n'},
        {"tell", required_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
    int c;
    opterr = 0;
    while ((c = getopt_long(argc, argv, "+", known, NULL)) != -1) {
        o->check |= c == 'k';
        o->ceiling |= c == 'c';
        o->json |= c == 'j';
        o->no_offload |= c == 'n';
        o->tell |= c == 't';
        if (c == '?')
            return bench_misuse("wan", e, "unknown option, or one without its value: \"%.60s\"",
                                argv[optind - 1]);
        if (c == 's')
            sets[(*set_count)++] = optarg;
        if (c == 'd' || c == 't')
            (void)snprintf(o->dir, sizeof o->dir, "%.4000s", optarg);
    }
    return 0;
}

static int load(struct wan_profile *p, const struct options *o, const char *file, char **sets,
                int set_count, struct err *e)
{
    int rc = 0;
    if (o->ceiling)
        (void)snprintf(p->description, sizeof p->description, "no limit");
    else if (!file)
        return bench_misuse("wan", e, "which profile? bench/scenarios has some");
    else
        rc = wan_profile_load(p, file, e);
    for (int i = 0; i < set_count && rc == 0; i++) {
        char *eq = strchr(sets[i], '=');
        if (!eq)
            return bench_misuse("wan", e, "--set %.60s: KEY=VALUE is wanted", sets[i]);
        *eq = '\0';
        rc = wan_profile_set(p, sets[i], eq + 1, e);
    }
    return rc;
}

static int run(struct options *o, struct wan_profile *profile, char **command, struct err *e)
{
    struct wan_pump pump;
    sigset_t mask, before;
    int signals, rc = wan_pump_open(&pump, profile, !o->no_offload, e);
    if (rc < 0)
        return rc;
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGINT);
    (void)sigaddset(&mask, SIGTERM);
    (void)sigaddset(&mask, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &mask, &before);
    signals = signalfd(-1, &mask, SFD_CLOEXEC);
    if (o->check)
        rc = check(&pump, o->json, signals, e);
    else if (o->ceiling)
        rc = ceiling(&pump, !o->no_offload, signals, e);
    else
        rc = run_command(&pump, o, command, signals, &before, e);
    close_dir(o);
    wan_pump_close(&pump);
    (void)close(signals);
    return rc;
}

int cmd_wan(int argc, char **argv, struct err *e)
{
    struct options o = {.dir = ""};
    struct wan_profile profile;
    char **sets = err_calloc((size_t)argc, sizeof *sets);
    int set_count = 0, rc = parse(&o, sets, &set_count, argc, argv, e);
    if (rc == 0 && o.tell) {
        rc = tell(o.dir, argc - optind, argv + optind, e);
    } else if (rc == 0) {
        char **command = argv + optind + (optind < argc ? 1 : 0);
        if (command[0] && strcmp(command[0], "--") == 0)
            command++;
        wan_profile_init(&profile);
        rc = load(&profile, &o, optind < argc ? argv[optind] : NULL, sets, set_count, e);
        if (rc == 0)
            rc = run(&o, &profile, command, e);
        wan_profile_free(&profile);
    }
    free(sets);
    return rc;
}
