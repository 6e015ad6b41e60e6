#include "profile.h"

#include "units.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_DEFAULT_NS UINT64_C(100000000)
#define QUEUE_MIN        UINT64_C(16384)

static const char *const outage_names[] = {"none", "blackhole", "reset"};

const char *wan_outage_name(enum wan_outage o)
{
    return outage_names[o];
}

void wan_profile_init(struct wan_profile *p)
{
    *p = (struct wan_profile){.mtu = 1500, .seed = 1};
    p->queue_ns[WAN_UPWARD] = p->queue_ns[WAN_DOWNWARD] = QUEUE_DEFAULT_NS;
}

void wan_profile_free(struct wan_profile *p)
{
    free(p->steps);
    p->steps = NULL;
    p->step_count = 0;
}

static int bad(struct err *e, const char *key, const char *value, const char *wanted)
{
    return err_set(e, ERR_CONFIG, "%s = %.60s: wanted is %s", key, value, wanted);
}

/* "0.5%": the share. Returns what follows, NULL when malformed. */
static const char *percent(double *out, const char *text)
{
    char *end;
    while (*text == ' ')
        text++;
    if ((*text < '0' || *text > '9') && *text != '.')
        return NULL;
    *out = strtod(text, &end) / 100;
    if (*end != '%' || !(*out >= 0 && *out <= 1))
        return NULL;
    return end + 1;
}

static int set_rate(struct wan_path *p, const char *key, const char *value, struct err *e)
{
    uint64_t rate = 0;
    if (strcmp(value, "unlimited") != 0 &&
        (units_parse_bitrate(&rate, value) < 0 || rate < 1000 || rate > WAN_RATE_MAX))
        return bad(e, key, value, "1kbit to 100gbit a second, or unlimited");
    p->rate = rate;
    return 0;
}

static int set_time(uint64_t *ns, const char *key, const char *value, struct err *e)
{
    uint64_t v;
    if (units_parse_duration(&v, value) < 0 || v > WAN_DELAY_MAX)
        return bad(e, key, value, "a time of at most 60s");
    *ns = v;
    return 0;
}

static int set_queue(struct wan_profile *p, enum wan_way w, const char *key, const char *value,
                     struct err *e)
{
    uint64_t ns, bytes;
    if (units_parse_duration(&ns, value) == 0 && ns > 0 && ns <= WAN_DELAY_MAX) {
        p->queue_ns[w] = ns;
        return 0;
    }
    if (units_parse_size(&bytes, value) < 0 || bytes == 0 || bytes > WAN_FLIGHT_MAX)
        return bad(e, key, value, "1 to 256MiB, or the time that a full queue takes");
    p->path[w].queue = bytes;
    p->queue_ns[w] = 0;
    return 0;
}

static int set_loss(struct wan_path *p, const char *key, const char *value, struct err *e)
{
    double loss;
    const char *end = percent(&loss, value);
    if (!end || *end)
        return bad(e, key, value, "a share like 0.5%");
    p->loss = loss;
    return 0;
}

static int set_bursts(struct wan_path *p, const char *key, const char *value, struct err *e)
{
    static const char wanted[] =
        "\"BEGIN% END%\" or \"BEGIN% END% LOSS%\", the chances of a packet, or none";
    double begin = 0, end = 1, loss = 1;
    if (strcmp(value, "none") != 0) {
        const char *at = percent(&begin, value);
        at = at ? percent(&end, at) : NULL;
        if (at && *at)
            at = percent(&loss, at);
        if (!at || *at || end <= 0)
            return bad(e, key, value, wanted);
    }
    p->burst_begin = begin;
    p->burst_end = end;
    p->burst_loss = loss;
    return 0;
}

static int set_path(struct wan_profile *p, enum wan_way w, const char *what, const char *key,
                    const char *value, struct err *e)
{
    struct wan_path *path = &p->path[w];
    int rc;
    if (strcmp(what, "rate") == 0)
        rc = set_rate(path, key, value, e);
    else if (strcmp(what, "delay") == 0)
        rc = set_time(&path->delay, key, value, e);
    else if (strcmp(what, "jitter") == 0)
        rc = set_time(&path->jitter, key, value, e);
    else if (strcmp(what, "queue") == 0)
        rc = set_queue(p, w, key, value, e);
    else if (strcmp(what, "loss") == 0)
        rc = set_loss(path, key, value, e);
    else if (strcmp(what, "bursts") == 0)
        rc = set_bursts(path, key, value, e);
    else
        rc = err_set(e, ERR_CONFIG, "%s: a path has rate, delay, jitter, queue, loss and bursts",
                     key);
    if (p->queue_ns[w])
        path->queue = (uint64_t)((double)path->rate / 8 * (double)p->queue_ns[w] / 1e9);
    if (p->queue_ns[w] && path->queue < QUEUE_MIN)
        path->queue = QUEUE_MIN;
    return rc;
}

int wan_profile_set(struct wan_profile *p, const char *key, const char *value, struct err *e)
{
    const char *dot = strchr(key, '.');
    bool both = strncmp(key, "both.", 5) == 0;
    int rc = 0;
    if (strcmp(key, "outage") == 0) {
        for (unsigned i = 0; i < sizeof outage_names / sizeof outage_names[0]; i++)
            if (strcmp(value, outage_names[i]) == 0) {
                p->outage = (enum wan_outage)i;
                return 0;
            }
        return bad(e, key, value, "blackhole, reset or none");
    }
    if (!dot || (!both && strncmp(key, "up.", 3) != 0 && strncmp(key, "down.", 5) != 0))
        return err_set(e, ERR_CONFIG,
                       "there is no \"%.60s\": known are outage, and up., down. or both. followed "
                       "by rate, delay, jitter, queue, loss, bursts",
                       key);
    if (both || key[0] == 'u')
        rc = set_path(p, WAN_UPWARD, dot + 1, key, value, e);
    if (rc == 0 && (both || key[0] == 'd'))
        rc = set_path(p, WAN_DOWNWARD, dot + 1, key, value, e);
    return rc;
}

/* ---- the file ---- */

struct loading {
    struct wan_profile *p;
    struct err *e;
};

static int set_link(struct wan_profile *p, const char *name, const char *value, struct err *e)
{
    char *end;
    unsigned long n;
    if (strcmp(name, "description") == 0) {
        (void)snprintf(p->description, sizeof p->description, "%s", value);
        return 0;
    }
    n = strtoul(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end)
        return bad(e, name, value, "a number");
    if (strcmp(name, "mtu") == 0) {
        if (n < WAN_MTU_MIN || n > WAN_MTU_MAX)
            return bad(e, name, value, "576 to 9000");
        p->mtu = (unsigned)n;
    } else if (strcmp(name, "seed") == 0) {
        p->seed = n;
    } else {
        return err_set(e, ERR_CONFIG, "[link] has description, mtu and seed, no %s", name);
    }
    return 0;
}

static int add_step(struct wan_profile *p, const char *when, const char *name, const char *value,
                    struct err *e)
{
    struct wan_profile trial;
    struct wan_step step = {0};
    size_t at = p->step_count;
    int rc;
    if (units_parse_duration(&step.at, when) < 0)
        return err_set(e, ERR_CONFIG, "[at %s]: wanted is a time like 30s", when);
    wan_profile_init(&trial);
    rc = wan_profile_set(&trial, name, value, e);
    if (rc < 0)
        return rc;
    if (p->step_count == WAN_STEPS_MAX)
        return err_set(e, ERR_LIMIT, "more than %u changes", WAN_STEPS_MAX);
    (void)snprintf(step.key, sizeof step.key, "%s", name);
    (void)snprintf(step.value, sizeof step.value, "%s", value);
    p->steps = err_realloc(p->steps, (p->step_count + 1) * sizeof *p->steps);
    for (; at > 0 && p->steps[at - 1].at > step.at; at--)
        p->steps[at] = p->steps[at - 1];
    p->steps[at] = step;
    p->step_count++;
    return 0;
}

int wan_profile_line(struct wan_profile *p, const char *section, const char *name,
                     const char *value, struct err *e)
{
    char key[WAN_TEXT_MAX];
    if (strlen(value) >= WAN_TEXT_MAX || strlen(name) >= WAN_TEXT_MAX / 2)
        return err_set(e, ERR_CONFIG, "a line that is too long");
    if (strcmp(section, "link") == 0)
        return set_link(p, name, value, e);
    if (strncmp(section, "at ", 3) == 0)
        return add_step(p, section + 3, name, value, e);
    if (strcmp(section, "up") == 0 || strcmp(section, "down") == 0 ||
        strcmp(section, "both") == 0) {
        (void)snprintf(key, sizeof key, "%s.%s", section, name);
        return wan_profile_set(p, key, value, e);
    }
    return err_set(e, ERR_CONFIG, "[%.40s]: known are link, up, down, both, at TIME", section);
}

/* A file may say more than what the link is like: who writes, for how long (load/scenario.h). */
static bool is_of_scenarios(const char *section)
{
    return strcmp(section, "run") == 0 || strcmp(section, "site") == 0 ||
           strcmp(section, "hub") == 0 || strncmp(section, "workload ", 9) == 0;
}

static int on_line(void *arg, const char *section, const char *name, const char *value)
{
    struct loading *l = arg;
    return is_of_scenarios(section) || wan_profile_line(l->p, section, name, value, l->e) == 0;
}

int wan_profile_load(struct wan_profile *p, const char *file, struct err *e)
{
    struct loading l = {p, e};
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
