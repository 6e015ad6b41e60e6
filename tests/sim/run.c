/* run.c: the judge's program: runs scenarios from fresh or given seeds, counts, and on a failure
 * makes the seed small, tells what happened in virtual time, and how to see it again. */
#include "err.h"
#include "trial.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHRINK_SECONDS 180.0 /* of real time */
#define PLANT_SEEDS    40u   /* within so many seeds a planted bug must be caught */

static const struct scenario *const scenarios[] = {
    &scenario_store, &scenario_territory, &scenario_twins, &scenario_outage, &scenario_night};
#define SCENARIOS (sizeof scenarios / sizeof scenarios[0])

static const char *const plants[] = {
#define X(name, text) text,
    PLANTS(X)
#undef X
};

struct options {
    uint64_t seeds, seed, minutes;
    unsigned jobs;
    struct world_knobs knobs;
    bool seed_given, verbose, self_test, brief;
    const char *scenario, *regressions, *plant;
};

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct totals {
    uint64_t memory_peak, memory_max;
    uint64_t seeds, events, virtual_ns, checked, complete, count[FAULT_KINDS], did[DEED_KINDS];
    double began;
};

static void add(struct totals *t, const struct verdict *v)
{
    t->seeds++;
    t->events += v->events;
    t->virtual_ns += v->virtual_ns;
    t->checked += v->checked;
    t->complete += v->complete;
    if (v->memory_max > 0 &&
        (t->memory_max == 0 || (double)v->memory_peak * (double)t->memory_max >
                                   (double)t->memory_peak * (double)v->memory_max)) {
        t->memory_peak = v->memory_peak;
        t->memory_max = v->memory_max;
    }
    for (unsigned i = 0; i < FAULT_KINDS; i++)
        t->count[i] += v->count[i];
    for (unsigned i = 0; i < DEED_KINDS; i++)
        t->did[i] += v->did[i];
}

static void print_totals(const struct totals *t, const char *what)
{
    double took = seconds() - t->began;
    (void)printf("%s: %" PRIu64 " seeds, %.2f simulated hours, %" PRIu64
                 " events in %.1f s (%.0f events/s)\n",
                 what, t->seeds, (double)t->virtual_ns / 3.6e12, t->events, took,
                 (double)t->events / took);
    (void)printf("Most memory of a process, of what it may have: %.1f MiB of %.1f\n",
                 (double)t->memory_peak / 1048576, (double)t->memory_max / 1048576);
    (void)printf("What was done and compared\n");
    (void)printf("  %-40s %10" PRIu64 "\n  %-40s %10" PRIu64 "\n", "RPs applied", t->checked,
                 "... complete ones, equal to a cut", t->complete);
    for (unsigned i = 0; i < DEED_KINDS; i++)
        (void)printf("  %-40s %10" PRIu64 "\n", deed_text((enum deed)i), t->did[i]);
    (void)printf("What went wrong meanwhile\n");
    for (unsigned i = 0; i < FAULT_KINDS; i++)
        if (i != FAULT_LIE)
            (void)printf("  %-40s %10" PRIu64 "\n", fault_text((enum fault)i), t->count[i]);
}

/* A seed that failed: made small, told, and how to see it again. */
static void explain(struct trial *t)
{
    (void)printf("To see all of it:  sim");
    trial_print_options(t);
    (void)printf(" --verbose\n");
    trial_shrink(t, SHRINK_SECONDS);
    (void)printf("What happened then:\n");
    (void)trial_run(t, true, false);
    (void)printf("To see that again, every request included:  sim");
    trial_print_options(t);
    (void)printf(" --verbose\n");
}

/* Takes the verdict on a trial in. True when it passed. */
static bool judge(struct trial *trial, const struct verdict *v, struct totals *t)
{
    add(t, v);
    if (v->failed)
        (void)printf("FAILED: scenario %s, seed %" PRIu64 ": %s\n", trial->scenario->name,
                     trial->seed, v->failure);
    return !v->failed;
}

/* The same seed twice must give the same world, or no failure could be replayed. */
static bool replays(const struct scenario *s, uint64_t seed)
{
    struct trial t = {.scenario = s, .seed = seed};
    bool ok = trial_run(&t, false, false);
    struct verdict first = *trial_verdict(0);
    (void)trial_run(&t, false, false);
    if (first.digest == trial_verdict(0)->digest && first.events == trial_verdict(0)->events)
        return true;
    (void)printf("FAILED: scenario %s, seed %" PRIu64 " does not replay: %" PRIu64 " events, then "
                 "%" PRIu64 "%s\n",
                 s->name, seed, first.events, trial_verdict(0)->events, ok ? "" : " (it fails)");
    return false;
}

/* Whether a planted bug goes unnoticed by this seed. */
static bool passes(const struct scenario *s, uint64_t seed, unsigned plant)
{
    struct trial t = {.scenario = s, .seed = seed, .plant = (enum plant)plant};
    return trial_run(&t, false, false);
}

/* The judge judged: each planted bug must be caught, and each seed must replay. */
static bool self_test(const struct options *o)
{
    bool all = true;
    for (unsigned i = 0; i < SCENARIOS; i++) {
        const struct scenario *s = scenarios[i];
        for (uint64_t seed = o->seed; s->plants && seed < o->seed + 2; seed++)
            all = replays(s, seed) && all;
        for (unsigned p = 1; p < PLANT_KINDS; p++) {
            uint64_t n = 0;
            if (!(s->plants & 1u << p))
                continue;
            while (n < PLANT_SEEDS && passes(s, o->seed + n, p))
                n++;
            (void)printf("planted %-14s in %-10s %s", plants[p], s->name,
                         n < PLANT_SEEDS ? "caught" : "NOT CAUGHT");
            (void)printf(n < PLANT_SEEDS ? " by seed %" PRIu64 " of %u: %s\n" : "\n", n + 1,
                         PLANT_SEEDS, trial_verdict(0)->failure);
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

/* What a campaign runs: first the regressions, then fresh seeds. */
struct plan {
    const struct options *o;
    struct trial known[REGRESSIONS_MAX];
    unsigned known_count, known_next;
    uint64_t next; /* fresh ones so far, of all scenarios */
    double end;
};

static bool read_regressions(struct plan *p, const char *path)
{
    char line[256], name[64];
    FILE *f = fopen(path, "r");
    bool good = f != NULL;
    while (f && p->known_count < REGRESSIONS_MAX && fgets(line, sizeof line, f)) {
        struct trial *t = &p->known[p->known_count];
        if (line[0] == '#' || sscanf(line, "%63s %" SCNu64, name, &t->seed) != 2)
            continue;
        t->scenario = scenario_of(name);
        good = good && t->scenario;
        p->known_count += t->scenario != NULL;
    }
    if (f)
        (void)fclose(f);
    if (!good)
        (void)printf("FAILED: %s cannot be read, or names a scenario that there is not\n", path);
    return good;
}

/* The next trial; false: there is none. */
static bool next_trial(struct plan *p, struct trial *out)
{
    const struct options *o = p->o;
    if (p->known_next < p->known_count) {
        *out = p->known[p->known_next++];
        return true;
    }
    for (;;) {
        uint64_t round = p->next / SCENARIOS;
        const struct scenario *s = scenarios[p->next++ % SCENARIOS];
        if (p->end > 0 ? seconds() >= p->end : round >= o->seeds)
            return false;
        *out = (struct trial){.scenario = s, .seed = o->seed + round, .knobs = o->knobs};
        if (o->scenario ? strcmp(o->scenario, s->name) == 0 : round % s->every == 0)
            return true;
    }
}

static bool campaign(const struct options *o)
{
    struct totals t = {.began = seconds()};
    struct plan *p = err_calloc(1, sizeof *p);
    struct trial running[TRIAL_SLOTS], failed = {0};
    unsigned free_slots = o->jobs, slot;
    bool all = true, busy[TRIAL_SLOTS] = {false};
    p->o = o;
    p->end = o->minutes ? t.began + (double)o->minutes * 60 : 0;
    if (o->regressions)
        all = read_regressions(p, o->regressions);
    for (;;) {
        for (slot = 0; slot < o->jobs && busy[slot]; slot++)
            ;
        if (all && slot < o->jobs && next_trial(p, &running[slot])) {
            trial_start(slot, &running[slot], false, false);
            busy[slot] = true;
            free_slots--;
            continue;
        }
        if (free_slots == o->jobs)
            break;
        slot = trial_wait_any();
        busy[slot] = false;
        free_slots++;
        if (!judge(&running[slot], trial_verdict(slot), &t) && all) {
            all = false;
            failed = running[slot];
        }
    }
    free(p);
    if (failed.scenario && !o->brief)
        explain(&failed);
    print_totals(&t, all ? "all well" : "stopped at a failure");
    return all;
}

static bool replay(const struct options *o)
{
    bool all = true;
    struct trial t = {.seed = o->seed, .knobs = o->knobs};
    for (unsigned p = 0; o->plant && p < PLANT_KINDS; p++)
        if (strcmp(o->plant, plants[p]) == 0)
            t.plant = (enum plant)p;
    for (unsigned i = 0; i < SCENARIOS; i++) {
        t.scenario = scenarios[i];
        if (o->scenario && strcmp(o->scenario, scenarios[i]->name) != 0)
            continue;
        all = trial_run(&t, true, true) && all;
        (void)printf("scenario %s, seed %" PRIu64 ": %s, %" PRIu64 " events, digest %016" PRIx64
                     "\n",
                     scenarios[i]->name, o->seed,
                     trial_verdict(0)->failed ? trial_verdict(0)->failure : "passed",
                     trial_verdict(0)->events, trial_verdict(0)->digest);
    }
    return all;
}

static const char usage[] =
    "usage: sim [--seeds N | --minutes M] [--seed S] [--scenario NAME] [--regressions FILE]\n"
    "           [--jobs N] [--brief]\n"
    "       sim --seed S [--scenario NAME] [--plant NAME] [--without FAULT]... [--skip N,N...] "
    "--verbose\n"
    "           one seed, everything shown; without a kind of fault, or some of its troubles\n"
    "       sim --self-test   do planted bugs get caught, do seeds replay\n"
    "--jobs: seeds that run at once; 1. --brief: no shrinking and telling of what failed.\n";

static bool parse_skip(struct world_knobs *k, char *list)
{
    for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
        unsigned long n = strtoul(word, NULL, 10);
        if (n >= KNOBS_TROUBLES)
            return false;
        k->skip[n / 8] = (uint8_t)(k->skip[n / 8] | 1u << (n % 8));
    }
    return true;
}

static bool parse_without(struct world_knobs *k, const char *word)
{
    unsigned long n = strtoul(word, NULL, 10);
    if (n >= FAULT_KINDS)
        return false;
    k->off[n] = true;
    return true;
}

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
        {"jobs", required_argument, NULL, 'j'},
        {"without", required_argument, NULL, 'w'},
        {"skip", required_argument, NULL, 'k'},
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
        case 'j':
            o->jobs = (unsigned)strtoul(optarg, NULL, 10);
            if (o->jobs == 0 || o->jobs > TRIAL_SLOTS)
                return false;
            break;
        case 'w':
            if (!parse_without(&o->knobs, optarg))
                return false;
            break;
        case 'k':
            if (!parse_skip(&o->knobs, optarg))
                return false;
            break;
        default:
            return false;
        }
    }
    return optind == argc && (!o->scenario || scenario_of(o->scenario));
}

int main(int argc, char **argv)
{
    struct options o = {.seeds = 10, .jobs = 1};
    bool ok;
    if (!parse(&o, argc, argv)) {
        (void)fputs(usage, stderr);
        return 64;
    }
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
