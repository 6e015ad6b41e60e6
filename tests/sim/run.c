/* run.c: the judge's program: runs scenarios from fresh or given seeds, counts, and on a failure
 * tells what happened in virtual time and how to see it again.
 *
 * Each seed runs in a child process: an assertion that fails, a crash of our own or an endless loop
 * ends that seed and not the campaign, and memory that one leaves behind does not reach the next.
 */
#include "err.h"
#include "log.h"
#include "random.h"
#include "scenario.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEED_SECONDS 120u /* of real time: a seed that takes longer hangs */
#define PLANT_SEEDS  40u  /* within so many seeds a planted bug must be caught */

static const struct scenario *const scenarios[] = {&scenario_store, &scenario_territory};
#define SCENARIOS (sizeof scenarios / sizeof scenarios[0])

static const char *const plants[] = {
#define X(name, text) text,
    PLANTS(X)
#undef X
};

struct options {
    uint64_t seeds, seed, minutes;
    bool seed_given, verbose, self_test, brief;
    const char *scenario, *regressions, *plant;
};

/* What a child tells its parent, in shared memory. */
struct verdict {
    bool done, failed;
    uint64_t events, virtual_ns, digest, checked, complete;
    uint64_t count[FAULT_KINDS];
    char failure[512];
};

static struct verdict *verdict;
static struct world *current;

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(struct world *w)
{
    verdict->failed = w->failed;
    verdict->events = w->events;
    verdict->virtual_ns = w->now - w->started;
    verdict->digest = w->digest;
    verdict->checked = w->checked;
    verdict->complete = w->complete;
    memcpy(verdict->count, w->count, sizeof verdict->count);
    memcpy(verdict->failure, w->failure, sizeof verdict->failure);
}

/* An assertion failed or memory was misused: the world's last lines are what explains it. */
static void on_signal(int signo)
{
    if (current) {
        report(current);
        if (current->verbose)
            (void)fprintf(stderr, "^ %s\n", strsignal(signo));
        else
            world_print_trace(current, stderr);
    }
    (void)snprintf(verdict->failure, sizeof verdict->failure, "the code under test died: %s%s",
                   strsignal(signo), signo == SIGALRM ? " (it hangs)" : "");
    verdict->failed = true;
    _exit(3);
}

static void child(const struct scenario *s, uint64_t seed, enum plant plant, bool tell,
                  bool verbose)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGALRM};
    struct world *w;
    if (!tell) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)dup2(null, STDERR_FILENO);
    }
    log_set_level(verbose ? LOG_L_DEBUG : LOG_L_INFO);
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++)
        (void)signal(signals[i], on_signal);
    (void)alarm(SEED_SECONDS);
    sim_random_seed(seed);
    w = current = world_new(seed, verbose);
    s->run(w, plant);
    report(w);
    verdict->done = true;
    if (w->failed) {
        if (!verbose)
            world_print_trace(w, stderr);
        _exit(1); /* what a failed run left behind is no leak of the engine's */
    }
    current = NULL;
    world_free(w);
    exit(0); /* through the leak checker, where there is one */
}

/* True when the seed passed. */
static bool run_seed(const struct scenario *s, uint64_t seed, enum plant plant, bool tell,
                     bool verbose)
{
    int status = 0;
    pid_t pid;
    memset(verdict, 0, sizeof *verdict);
    (void)fflush(NULL);
    pid = fork();
    if (pid < 0)
        err_panic(__FILE__, __LINE__, "fork failed");
    if (pid == 0)
        child(s, seed, plant, tell, verbose);
    while (waitpid(pid, &status, 0) != pid)
        ;
    if (!verdict->failed && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        verdict->failed = true;
        (void)snprintf(verdict->failure, sizeof verdict->failure,
                       "the child ended with status %#x (a sanitizer's report?)", status);
    }
    return !verdict->failed;
}

struct totals {
    uint64_t seeds, events, virtual_ns, checked, complete, count[FAULT_KINDS];
    double began;
};

static void add(struct totals *t)
{
    t->seeds++;
    t->events += verdict->events;
    t->virtual_ns += verdict->virtual_ns;
    t->checked += verdict->checked;
    t->complete += verdict->complete;
    for (unsigned i = 0; i < FAULT_KINDS; i++)
        t->count[i] += verdict->count[i];
}

static void print_totals(const struct totals *t, const char *what)
{
    double took = seconds() - t->began;
    (void)printf("%s: %" PRIu64 " seeds, %.2f simulated hours, %" PRIu64
                 " events in %.1f s (%.0f events/s)\n",
                 what, t->seeds, (double)t->virtual_ns / 3.6e12, t->events, took,
                 (double)t->events / took);
    (void)printf("  recovery points applied      %10" PRIu64
                 "\n  ... and equal to a cut       %10" PRIu64 "\n",
                 t->checked, t->complete);
    for (unsigned i = 0; i < FAULT_KINDS; i++)
        if (i != FAULT_LIE)
            (void)printf("  %-28s %10" PRIu64 "\n", fault_text((enum fault)i), t->count[i]);
}

static bool judge(const struct scenario *s, uint64_t seed, struct totals *t, bool brief)
{
    bool ok = run_seed(s, seed, PLANT_NONE, false, false);
    add(t);
    if (ok)
        return true;
    (void)printf("FAILED: scenario %s, seed %" PRIu64 ": %s\n", s->name, seed, verdict->failure);
    if (brief)
        return false;
    (void)printf("What happened:\n");
    (void)run_seed(s, seed, PLANT_NONE, true, false);
    (void)printf("To see it again, every request included:  sim --scenario %s --seed %" PRIu64
                 " --verbose\n",
                 s->name, seed);
    return false;
}

/* The same seed twice must give the same world, or no failure could be replayed. */
static bool replays(const struct scenario *s, uint64_t seed)
{
    uint64_t digest, events;
    bool ok = run_seed(s, seed, PLANT_NONE, false, false);
    digest = verdict->digest;
    events = verdict->events;
    (void)run_seed(s, seed, PLANT_NONE, false, false);
    if (digest == verdict->digest && events == verdict->events)
        return true;
    (void)printf("FAILED: scenario %s, seed %" PRIu64 " does not replay: %" PRIu64 " events, then "
                 "%" PRIu64 "%s\n",
                 s->name, seed, events, verdict->events, ok ? "" : " (it fails)");
    return false;
}

/* The judge judged: each planted bug must be caught, and each seed must replay. */
static bool self_test(const struct options *o)
{
    bool all = true;
    for (unsigned i = 0; i < SCENARIOS; i++) {
        const struct scenario *s = scenarios[i];
        for (uint64_t seed = o->seed; seed < o->seed + 2; seed++)
            all = replays(s, seed) && all;
        for (unsigned p = 1; p < PLANT_KINDS; p++) {
            uint64_t n = 0;
            if (!(s->plants & 1u << p))
                continue;
            while (n < PLANT_SEEDS && run_seed(s, o->seed + n, (enum plant)p, false, false))
                n++;
            (void)printf("planted %-14s in %-10s %s", plants[p], s->name,
                         n < PLANT_SEEDS ? "caught" : "NOT CAUGHT");
            (void)printf(n < PLANT_SEEDS ? " by seed %" PRIu64 " of %u: %s\n" : "\n", n + 1,
                         PLANT_SEEDS, verdict->failure);
            all = all && n < PLANT_SEEDS;
        }
    }
    return all;
}

#define REGRESSIONS_MAX 256u

/* The scenario of that name, or NULL. */
static const struct scenario *scenario_of(const char *name)
{
    for (unsigned i = 0; i < SCENARIOS; i++)
        if (strcmp(scenarios[i]->name, name) == 0)
            return scenarios[i];
    return NULL;
}

/* The whole file is read first: a child that exits would move the place in a file that is open. */
static bool run_regressions(const char *path, struct totals *t)
{
    struct {
        char name[64];
        uint64_t seed;
    } known[REGRESSIONS_MAX];
    unsigned count = 0;
    bool all = true;
    char line[256];
    FILE *f = fopen(path, "r");
    if (!f) {
        (void)printf("FAILED: %s cannot be read\n", path);
        return false;
    }
    while (count < REGRESSIONS_MAX && fgets(line, sizeof line, f))
        if (line[0] != '#' &&
            sscanf(line, "%63s %" SCNu64, known[count].name, &known[count].seed) == 2)
            count++;
    (void)fclose(f);
    for (unsigned i = 0; i < count; i++) {
        const struct scenario *s = scenario_of(known[i].name);
        if (!s)
            (void)printf("FAILED: %s names scenario '%s', which there is not\n", path,
                         known[i].name);
        all = s && judge(s, known[i].seed, t, false) && all;
    }
    return all;
}

static bool campaign(const struct options *o)
{
    struct totals t = {.began = seconds()};
    double end = o->minutes ? t.began + (double)o->minutes * 60 : 0;
    bool all = o->regressions ? run_regressions(o->regressions, &t) : true;
    for (uint64_t n = 0; all && (o->minutes ? seconds() < end : n < o->seeds); n++)
        for (unsigned i = 0; all && i < SCENARIOS; i++)
            if (!o->scenario || strcmp(o->scenario, scenarios[i]->name) == 0)
                all = judge(scenarios[i], o->seed + n, &t, o->brief);
    print_totals(&t, all ? "all well" : "stopped at a failure");
    return all;
}

static bool replay(const struct options *o)
{
    bool all = true;
    enum plant plant = PLANT_NONE;
    for (unsigned p = 0; o->plant && p < PLANT_KINDS; p++)
        if (strcmp(o->plant, plants[p]) == 0)
            plant = (enum plant)p;
    for (unsigned i = 0; i < SCENARIOS; i++) {
        if (o->scenario && strcmp(o->scenario, scenarios[i]->name) != 0)
            continue;
        all = run_seed(scenarios[i], o->seed, plant, true, true) && all;
        (void)printf("scenario %s, seed %" PRIu64 ": %s, %" PRIu64 " events, digest %016" PRIx64
                     "\n",
                     scenarios[i]->name, o->seed, verdict->failed ? verdict->failure : "passed",
                     verdict->events, verdict->digest);
    }
    return all;
}

static const char usage[] =
    "usage: sim [--seeds N | --minutes M] [--seed S] [--scenario NAME] [--regressions FILE] "
    "[--brief]\n"
    "       sim --seed S [--scenario NAME] [--plant NAME] --verbose   one seed, everything shown\n"
    "       sim --self-test                            do planted bugs get caught, do seeds "
    "replay\n";

static bool parse(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {
        {"seeds", required_argument, NULL, 'n'},
        {"minutes", required_argument, NULL, 'm'},
        {"seed", required_argument, NULL, 's'},
        {"scenario", required_argument, NULL, 'c'},
        {"verbose", no_argument, NULL, 'v'},
        {"self-test", no_argument, NULL, 't'},
        {"regressions", required_argument, NULL, 'r'},
        {"plant", required_argument, NULL, 'p'},
        {"brief", no_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'n':
            o->seeds = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            o->minutes = strtoull(optarg, NULL, 10);
            break;
        case 's':
            o->seed = strtoull(optarg, NULL, 10);
            o->seed_given = true;
            break;
        case 'c':
            o->scenario = optarg;
            break;
        case 'v':
            o->verbose = true;
            break;
        case 't':
            o->self_test = true;
            break;
        case 'r':
            o->regressions = optarg;
            break;
        case 'p':
            o->plant = optarg;
            break;
        case 'b':
            o->brief = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    struct options o = {.seeds = 10};
    bool ok;
    if (!parse(&o, argc, argv)) {
        (void)fputs(usage, stderr);
        return 64;
    }
    verdict =
        mmap(NULL, sizeof *verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(verdict != MAP_FAILED);
    if (!o.seed_given && !o.self_test) {
        struct timespec t;
        (void)clock_gettime(CLOCK_REALTIME, &t);
        o.seed = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
        (void)printf("first seed: %" PRIu64 "\n", o.seed);
    }
    if (o.self_test)
        ok = self_test(&o);
    else if (o.verbose)
        ok = replay(&o);
    else
        ok = campaign(&o);
    return ok ? 0 : 1;
}
