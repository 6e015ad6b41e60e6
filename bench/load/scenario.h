/* scenario.h: a link, what happens to it, and who writes meanwhile, as bench/scenarios/NAME.conf
 * says it. A scenario is read from one file or from several that add to each other.
 *
 *   [link] [up] [down] [both] [at T]      the link: wan/profile.h
 *   [run]   duration = 10min   compress = 10   warmup = 10s   baseline = 10s   restore = yes | no
 *   [site]  any option of the site's [site], for instance spool-budget = 1GiB
 *   [hub]   any option of the hub's [hub]
 *   [workload NAME]  a volume NAME in a group NAME of its own, and who uses it:
 *           kind = oltp | import | migration | boot | ransomware | trace
 *           size, rate, block, depth, skew, reads, compressible, fill, seed, at, for,
 *           interval, priority, trace, speed
 *
 * compress = N: the scenario's times (duration, at, for, and those of [at T]) are divided by N.
 * Rates, sizes, the link and the interval of cuts stay as they are, so that each second of the run
 * is a second of the real thing; only there are fewer of them, of the outage too. */
#ifndef RELAIS_BENCH_SCENARIO_H
#define RELAIS_BENCH_SCENARIO_H

#include "bounds.h"
#include "profile.h"

#define SCENARIO_WORKLOADS 8u
#define SCENARIO_EXTRA     4096u /* bytes of lines for [site], for [hub] */
#define SCENARIO_PATH      1024u
#define SCENARIO_COMPRESS  1000u
#define SCENARIO_LONGEST   (UINT64_C(7) * 86400 * 1000000000u)
#define SCENARIO_BLOCK_MAX ((uint32_t)(4 * MIB))
#define SCENARIO_DEPTH_MAX 64u

enum workload_kind {
    WORKLOAD_NONE,
    WORKLOAD_OLTP,
    WORKLOAD_IMPORT,
    WORKLOAD_MIGRATION,
    WORKLOAD_BOOT,
    WORKLOAD_RANSOMWARE,
    WORKLOAD_TRACE,
    WORKLOAD_KINDS
};

struct workload_spec {
    char name[NAME_MAX_LEN + 1];
    enum workload_kind kind;
    uint64_t size;       /* bytes of the volume */
    uint64_t rate;       /* bytes a second that are read and written; 0: as fast as it goes */
    uint32_t block;      /* bytes of a request */
    unsigned depth;      /* requests in flight */
    double skew;         /* 0: all places alike; towards 1: few places get most */
    double reads;        /* share of the requests */
    double compressible; /* share of the bytes that compress to nothing */
    double fill;         /* share of the volume that has content before */
    uint64_t seed;
    uint64_t at, length; /* ns of the scenario's time; length 0: to the end */
    uint64_t interval;   /* ns between cuts; of real time */
    char priority[8];
    char trace[SCENARIO_PATH];
    double speed; /* of a trace */
};

struct scenario {
    struct wan_profile profile;          /* its steps are in the scenario's time */
    uint64_t duration, warmup, baseline; /* ns; the last two of real time */
    unsigned compress;                   /* >= 1 */
    bool restore;
    struct workload_spec workloads[SCENARIO_WORKLOADS];
    unsigned workload_count;
    char site[SCENARIO_EXTRA], hub[SCENARIO_EXTRA]; /* lines of the daemons' configuration */
};

void scenario_init(struct scenario *s);
void scenario_free(struct scenario *s);
/* One line of a file, or of the command line: pure. Errors: CONFIG, LIMIT, that name the value. */
int scenario_set(struct scenario *s, const char *section, const char *name, const char *value,
                 struct err *e);
/* Adds a file. Errors: CONFIG, LIMIT, NOENT, IO, with file and line. */
int scenario_load(struct scenario *s, const char *file, struct err *e);
/* When all is read: what is missing takes its default, or is an error (CONFIG) that names it. */
int scenario_complete(struct scenario *s, struct err *e);
/* Scenario's time as real time. */
uint64_t scenario_real(const struct scenario *s, uint64_t ns);
const char *workload_kind_name(enum workload_kind k);

#endif
