#include "scenario.h"

#include "units.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S UINT64_C(1000000000)

/* What a workload of a kind is like when nothing else is said. */
static const struct {
    const char *name;
    uint64_t size, rate;
    uint32_t block;
    unsigned depth;
    double skew, reads, compressible, fill;
} kinds[WORKLOAD_KINDS] = {
    [WORKLOAD_NONE] = {.name = "none"},
    [WORKLOAD_OLTP] = {"oltp", 1 * GIB, 2 * MIB, 8 * KIB, 8, 0.6, 0.0, 0.6, 0.5},
    [WORKLOAD_IMPORT] = {"import", 2 * GIB, 4 * MIB, 512 * KIB, 4, 0.0, 0.0, 0.12, 0.0},
    [WORKLOAD_MIGRATION] = {"migration", 4 * GIB, 0, 1 * MIB, 8, 0.0, 0.0, 0.12, 0.0},
    [WORKLOAD_BOOT] = {"boot", 2 * GIB, 0, 32 * KIB, 16, 0.5, 0.95, 0.5, 0.5},
    [WORKLOAD_RANSOMWARE] = {"ransomware", 1 * GIB, 0, 256 * KIB, 8, 0.0, 0.5, 0.0, 0.9},
    [WORKLOAD_TRACE] = {"trace", 0, 0, 0, 16, 0.0, 0.0, 0.5, 0.0},
};

const char *workload_kind_name(enum workload_kind k)
{
    return kinds[k].name;
}

void scenario_init(struct scenario *s)
{
    memset(s, 0, sizeof *s);
    wan_profile_init(&s->profile);
    s->duration = 60 * S;
    s->warmup = 5 * S;
    s->compress = 1;
    s->restore = true;
}

void scenario_free(struct scenario *s)
{
    wan_profile_free(&s->profile);
}

uint64_t scenario_real(const struct scenario *s, uint64_t ns)
{
    return ns / s->compress;
}

static int bad(struct err *e, const char *name, const char *value, const char *wanted)
{
    return err_set(e, ERR_CONFIG, "%.40s = %.60s: wanted is %s", name, value, wanted);
}

/* ---- values ---- */

static int get_time(uint64_t *out, const char *name, const char *value, struct err *e)
{
    uint64_t ns;
    if (units_parse_duration(&ns, value) < 0 || ns > SCENARIO_LONGEST)
        return bad(e, name, value, "a time like 90s or 10min, at most 7d");
    *out = ns;
    return 0;
}

static int get_size(uint64_t *out, const char *name, const char *value, uint64_t least,
                    uint64_t most, uint64_t unit, struct err *e)
{
    char wanted[120], a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT];
    uint64_t v;
    if (units_parse_size(&v, value) < 0 || v < least || v > most || v % unit != 0) {
        (void)snprintf(wanted, sizeof wanted, "a size of %s to %s in steps of %s",
                       units_size(a, least), units_size(b, most), units_size(c, unit));
        return bad(e, name, value, wanted);
    }
    *out = v;
    return 0;
}

/* "30%" or "0.3", below or at most. */
static int get_share(double *out, const char *name, const char *value, double most, struct err *e)
{
    char wanted[64], *end;
    double v = strtod(value, &end);
    if (*end == '%') {
        v /= 100;
        end++;
    }
    if (end == value || *end || !(v >= 0 && v <= most)) {
        (void)snprintf(wanted, sizeof wanted, "a share from 0%% to %.0f%%", most * 100);
        return bad(e, name, value, wanted);
    }
    *out = v;
    return 0;
}

static int get_number(uint64_t *out, const char *name, const char *value, uint64_t least,
                      uint64_t most, struct err *e)
{
    char wanted[80], *end;
    unsigned long long v;
    errno = 0;
    v = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end || errno || v < least || v > most) {
        (void)snprintf(wanted, sizeof wanted, "a number from %llu to %llu",
                       (unsigned long long)least, (unsigned long long)most);
        return bad(e, name, value, wanted);
    }
    *out = v;
    return 0;
}

/* Bytes a second, as "8MiB", or bits, as "20mbit"; "full": as fast as it goes. */
static int get_rate(uint64_t *out, const char *name, const char *value, struct err *e)
{
    uint64_t v;
    if (strcmp(value, "full") == 0) {
        *out = 0;
    } else if (units_parse_bitrate(&v, value) == 0 && v >= 8) {
        *out = v / 8;
    } else if (units_parse_size(&v, value) == 0 && v > 0 && v <= 64 * GIB) {
        *out = v;
    } else {
        return bad(e, name, value, "20mbit, 4MiB (a second), or full");
    }
    return 0;
}

/* ---- [run], [site], [hub] ---- */

static int set_run(struct scenario *s, const char *name, const char *value, struct err *e)
{
    uint64_t n;
    int rc;
    if (strcmp(name, "duration") == 0)
        return get_time(&s->duration, name, value, e);
    if (strcmp(name, "warmup") == 0)
        return get_time(&s->warmup, name, value, e);
    if (strcmp(name, "baseline") == 0)
        return get_time(&s->baseline, name, value, e);
    if (strcmp(name, "compress") == 0) {
        rc = get_number(&n, name, value, 1, SCENARIO_COMPRESS, e);
        if (rc == 0)
            s->compress = (unsigned)n;
        return rc;
    }
    if (strcmp(name, "restore") == 0) {
        if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
            return bad(e, name, value, "yes or no");
        s->restore = value[0] == 'y';
        return 0;
    }
    return err_set(e, ERR_CONFIG,
                   "[run] has duration, warmup, baseline, compress and restore, no %.40s", name);
}

/* What the runner itself decides is not for the scenario. */
static int add_option(char *lines, const char *section, const char *name, const char *value,
                      struct err *e)
{
    static const char *const ours[] = {"name",     "state",    "spool",    "control",
                                       "link-key", "sign-key", "hash-key", "hub",
                                       "listen",   "store",    "readers",  "ceph-conf"};
    size_t at = strlen(lines);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcmp(name, ours[i]) == 0)
            return err_set(e, ERR_CONFIG, "[%s] %s is set by the run itself", section, name);
    if (at + strlen(name) + strlen(value) + 8 > SCENARIO_EXTRA)
        return err_set(e, ERR_LIMIT, "[%s] more than %u bytes of options", section, SCENARIO_EXTRA);
    (void)snprintf(lines + at, SCENARIO_EXTRA - at, "%s = %s\n", name, value);
    return 0;
}

/* ---- [workload NAME] ---- */

static bool is_name(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && len <= NAME_MAX_LEN && text[len] == '\0' && text[0] != '-';
}

static struct workload_spec *workload(struct scenario *s, const char *name, struct err *e)
{
    struct workload_spec *w;
    for (unsigned i = 0; i < s->workload_count; i++)
        if (strcmp(s->workloads[i].name, name) == 0)
            return &s->workloads[i];
    if (!is_name(name)) {
        (void)err_set(e, ERR_CONFIG,
                      "[workload %.60s]: a name has at most %u small letters, digits and dashes",
                      name, NAME_MAX_LEN);
        return NULL;
    }
    if (s->workload_count == SCENARIO_WORKLOADS) {
        (void)err_set(e, ERR_LIMIT, "[workload %s]: there are %u workloads already, the most", name,
                      SCENARIO_WORKLOADS);
        return NULL;
    }
    w = &s->workloads[s->workload_count++];
    memset(w, 0, sizeof *w);
    (void)snprintf(w->name, sizeof w->name, "%s", name);
    /* What was not said is told from what was by these. */
    w->rate = UINT64_MAX;
    w->skew = w->reads = w->compressible = w->fill = -1;
    w->speed = 1;
    w->interval = 5 * S;
    w->seed = s->workload_count;
    (void)snprintf(w->priority, sizeof w->priority, "normal");
    return w;
}

static int set_kind(struct workload_spec *w, const char *name, const char *value, struct err *e)
{
    for (unsigned k = WORKLOAD_OLTP; k < WORKLOAD_KINDS; k++)
        if (strcmp(value, kinds[k].name) == 0) {
            w->kind = (enum workload_kind)k;
            return 0;
        }
    return bad(e, name, value, "oltp, import, migration, boot, ransomware or trace");
}

static int set_text(struct workload_spec *w, const char *name, const char *value, struct err *e)
{
    char *end;
    if (strcmp(name, "priority") == 0) {
        if (strcmp(value, "high") != 0 && strcmp(value, "normal") != 0 && strcmp(value, "low") != 0)
            return bad(e, name, value, "high, normal or low");
        (void)snprintf(w->priority, sizeof w->priority, "%s", value);
        return 0;
    }
    if (strcmp(name, "trace") == 0) {
        if (strlen(value) >= sizeof w->trace)
            return err_set(e, ERR_LIMIT, "trace: a path of more than %u bytes", SCENARIO_PATH - 1);
        (void)snprintf(w->trace, sizeof w->trace, "%s", value);
        return 0;
    }
    if (strcmp(name, "speed") == 0) {
        double v = strtod(value, &end);
        if (end == value || *end || !(v >= 0.001 && v <= 1000))
            return bad(e, name, value, "0.001 to 1000 times as fast as recorded");
        w->speed = v;
        return 0;
    }
    return err_set(e, ERR_CONFIG,
                   "[workload %s] has kind, size, rate, block, depth, skew, reads, compressible, "
                   "fill, seed, at, for, interval, priority, trace and speed, no %.40s",
                   w->name, name);
}

static int set_workload(struct workload_spec *w, const char *name, const char *value, struct err *e)
{
    uint64_t n;
    int rc;
    if (strcmp(name, "kind") == 0)
        return set_kind(w, name, value, e);
    if (strcmp(name, "size") == 0)
        return get_size(&w->size, name, value, 16 * MIB, 16 * TIB, 4 * KIB, e);
    if (strcmp(name, "rate") == 0)
        return get_rate(&w->rate, name, value, e);
    if (strcmp(name, "block") == 0) {
        rc = get_size(&n, name, value, 512, SCENARIO_BLOCK_MAX, 512, e);
        w->block = rc == 0 ? (uint32_t)n : w->block;
        return rc;
    }
    if (strcmp(name, "depth") == 0) {
        rc = get_number(&n, name, value, 1, SCENARIO_DEPTH_MAX, e);
        w->depth = rc == 0 ? (unsigned)n : w->depth;
        return rc;
    }
    if (strcmp(name, "skew") == 0)
        return get_share(&w->skew, name, value, 0.99, e);
    if (strcmp(name, "reads") == 0)
        return get_share(&w->reads, name, value, 1, e);
    if (strcmp(name, "compressible") == 0)
        return get_share(&w->compressible, name, value, 1, e);
    if (strcmp(name, "fill") == 0)
        return get_share(&w->fill, name, value, 1, e);
    if (strcmp(name, "seed") == 0)
        return get_number(&w->seed, name, value, 0, UINT64_MAX, e);
    if (strcmp(name, "at") == 0)
        return get_time(&w->at, name, value, e);
    if (strcmp(name, "for") == 0)
        return get_time(&w->length, name, value, e);
    if (strcmp(name, "interval") == 0)
        return get_time(&w->interval, name, value, e);
    return set_text(w, name, value, e);
}

int scenario_set(struct scenario *s, const char *section, const char *name, const char *value,
                 struct err *e)
{
    if (strcmp(section, "run") == 0)
        return set_run(s, name, value, e);
    if (strcmp(section, "site") == 0)
        return add_option(s->site, section, name, value, e);
    if (strcmp(section, "hub") == 0)
        return add_option(s->hub, section, name, value, e);
    if (strncmp(section, "workload ", 9) == 0) {
        struct workload_spec *w = workload(s, section + 9, e);
        return w ? set_workload(w, name, value, e) : -(int)e->code;
    }
    return wan_profile_line(&s->profile, section, name, value, e);
}

/* ---- files ---- */

struct loading {
    struct scenario *s;
    struct err *e;
};

static int on_line(void *arg, const char *section, const char *name, const char *value)
{
    struct loading *l = arg;
    return scenario_set(l->s, section, name, value, l->e) == 0;
}

int scenario_load(struct scenario *s, const char *file, struct err *e)
{
    struct loading l = {s, e};
    int line;
    errno = 0;
    line = ini_parse(file, on_line, &l);
    if (line == 0)
        return 0;
    if (line < 0)
        return err_os(e, errno ? errno : EIO, "%s", file);
    if (e->code == ERR_OK)
        (void)err_set(e, ERR_CONFIG, "malformed");
    return err_prefix(e, "%s:%d", file, line);
}

/* ---- the whole ---- */

static int complete(struct workload_spec *w, struct err *e)
{
    enum workload_kind k = w->kind;
    if (k == WORKLOAD_NONE)
        return err_set(e, ERR_CONFIG, "[workload %s] needs a kind", w->name);
    if (k == WORKLOAD_TRACE && !*w->trace)
        return err_set(e, ERR_CONFIG, "[workload %s] needs trace = FILE (relais record makes one)",
                       w->name);
    w->size = w->size ? w->size : kinds[k].size;
    w->rate = w->rate != UINT64_MAX ? w->rate : kinds[k].rate;
    w->block = w->block ? w->block : kinds[k].block;
    w->depth = w->depth ? w->depth : kinds[k].depth;
    w->skew = w->skew >= 0 ? w->skew : kinds[k].skew;
    w->reads = w->reads >= 0 ? w->reads : kinds[k].reads;
    w->compressible = w->compressible >= 0 ? w->compressible : kinds[k].compressible;
    w->fill = w->fill >= 0 ? w->fill : kinds[k].fill;
    if (k != WORKLOAD_TRACE && w->block > w->size / 4)
        return err_set(e, ERR_CONFIG, "[workload %s] block: more than a quarter of the volume",
                       w->name);
    return 0;
}

int scenario_complete(struct scenario *s, struct err *e)
{
    if (s->profile.path[WAN_UPWARD].rate == 0 || s->profile.path[WAN_DOWNWARD].rate == 0)
        return err_set(e, ERR_CONFIG,
                       "no link: [both] rate = 100mbit, or add a file that has one (fibre-100)");
    if (s->workload_count == 0)
        return err_set(e, ERR_CONFIG,
                       "nobody writes: a [workload NAME], or add a file that has one (oltp)");
    if (scenario_real(s, s->duration) < S)
        return err_set(e, ERR_CONFIG, "[run] duration: less than a second of real time");
    for (unsigned i = 0; i < s->workload_count; i++)
        if (complete(&s->workloads[i], e) < 0)
            return -(int)e->code;
    for (size_t i = 0; i < s->profile.step_count; i++)
        if (s->profile.steps[i].at >= s->duration)
            return err_set(e, ERR_CONFIG, "[at] %s = %s comes after the end of [run] duration",
                           s->profile.steps[i].key, s->profile.steps[i].value);
    return 0;
}
