#include "verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 512u /* entries read at a time */
#define TRIES  8u   /* against others who write the log at the same moment */

/* ---- the log of pins and rules ---- */

static void log_name(char dst[STORE_NAME_MAX], const char *group)
{
    (void)snprintf(dst, STORE_NAME_MAX, "%s" STORE_POLICY, group);
}

static int read_log(struct store *store, const char *site, const char *group,
                    struct policy_entry **out, size_t *count, struct err *e)
{
    char log[STORE_NAME_MAX];
    struct store_head *raw = err_calloc(WINDOW, sizeof *raw);
    uint64_t after = 0;
    uint32_t n = WINDOW;
    int rc = 0;
    log_name(log, group);
    *out = NULL;
    *count = 0;
    while (rc == 0 && n == WINDOW) {
        rc = store->ops->catalog(store, site, log, after, raw, WINDOW, &n, e);
        if (rc == 0 && *count + n > POLICY_ENTRIES_MAX)
            rc = err_set(e, ERR_LIMIT, "more than %u entries", POLICY_ENTRIES_MAX);
        if (rc < 0)
            break;
        *out = err_realloc(*out, (*count + n + 1) * sizeof **out);
        for (uint32_t i = 0; i < n && rc == 0; i++) {
            rc = policy_decode(&(*out)[*count], &raw[i], e);
            after = raw[i].rp;
            ++*count;
        }
    }
    free(raw);
    if (rc == 0)
        return 0;
    free(*out);
    *out = NULL;
    return err_prefix(e, "%s/%s: pins and rules", site, group);
}

static int read_head(struct store *store, const char *site, const char *group,
                     struct catalog_entry *out, struct err *e)
{
    struct store_head raw;
    int rc = store->ops->head(store, site, group, &raw, e);
    memset(out, 0, sizeof *out);
    if (rc == 0 && raw.rp > 0)
        rc = catalog_decode(out, &raw, e);
    return rc < 0 ? err_prefix(e, "%s/%s", site, group) : 0;
}

/* Who decides on an entry by what the log says when it is its turn. Returns 1: nothing to write. */
typedef int decide(void *arg, const struct policy *now, struct policy_entry *x, struct err *e);

/* Appends what decide makes of it. Returns 1 when it was not necessary. */
static int append(struct store *store, const char *site, const char *group, decide *how, void *arg,
                  struct err *e)
{
    struct catalog_entry head;
    struct policy_entry *entries = NULL, x;
    struct policy now;
    char log[STORE_NAME_MAX];
    int rc = -ERR_CONFLICT;
    log_name(log, group);
    for (unsigned i = 0; i < TRIES && rc == -ERR_CONFLICT; i++) {
        struct store_head from = {0}, to;
        size_t n = 0;
        rc = store->ops->head(store, site, log, &from, e);
        if (rc == 0)
            rc = read_log(store, site, group, &entries, &n, e);
        if (rc == 0)
            rc = read_head(store, site, group, &head, e);
        if (rc < 0) {
            free(entries);
            break;
        }
        x = (struct policy_entry){.number = from.rp + 1, .time = io_wall(fiber_io())};
        x.clock = retention_clock(head.clock, head.committed_time, x.time);
        policy_of(&now, entries, n, x.clock);
        rc = head.rp == 0
                 ? err_set(e, ERR_NOENT, "%s/%s: no such group is stored here", site, group)
                 : how(arg, &now, &x, e);
        if (rc == 0 && x.number > POLICY_ENTRIES_MAX / (*x.by ? 2 : 1))
            rc = err_set(e, ERR_LIMIT,
                         "%s/%s: %" PRIu64 " pins and changes of rules, as many as may be", site,
                         group, from.rp);
        if (rc == 0) {
            policy_encode(&to, &x);
            rc = store->ops->move_head(store, site, log, &from, &to, e);
        }
        policy_free(&now);
        free(entries);
        entries = NULL;
    }
    return rc;
}

/* Whoever folds by what was judged before must judge again: the generation moves on, in which a
 * switch has to happen (compact.h). */
static int judge_again(struct store *store, const char *site, const char *group, struct err *e)
{
    int rc = -ERR_CONFLICT;
    for (unsigned i = 0; i < TRIES && rc == -ERR_CONFLICT; i++) {
        uint64_t generation;
        *e = (struct err)ERR_INIT;
        rc = store->ops->generation(store, site, group, &generation, e);
        if (rc == 0)
            rc = store->ops->splice(store, site, group, generation, 0, 0, NULL, 0, e);
    }
    return rc;
}

/* ---- rules ---- */

static int decide_rules(void *arg, const struct policy *now, struct policy_entry *x, struct err *e)
{
    const struct retention_policy *config = arg;
    (void)e;
    if (now->known && policy_same(&now->said, config))
        return 1;
    x->kind = POLICY_RULES;
    x->to = *config;
    return 0;
}

int verdict_note_rules(struct store *store, const struct config *config, const char *site,
                       const char *group, bool *changed, struct err *e)
{
    struct retention_policy said;
    config_keep(config, site, group, &said.keep, &said.lock_ns);
    int rc = append(store, site, group, decide_rules, &said, e);
    *changed = rc == 0;
    if (rc == 0)
        rc = judge_again(store, site, group, e);
    return rc < 0 ? rc : 0;
}

/* ---- pins ---- */

struct pinning {
    struct store *store;
    const char *site, *group, *by;
    uint64_t rp, left;
    bool pinned;
};

/* All up to it is looked at: what was folded before it may say that it cannot be opened. */
static int find_point(const struct pinning *p, bool *found, bool *offered, struct err *e)
{
    struct store_head *raw = err_calloc(WINDOW, sizeof *raw);
    uint64_t after = 0, good_from = 0;
    uint32_t n = WINDOW;
    int rc = 0;
    *found = *offered = false;
    while (rc == 0 && n == WINDOW && after < p->rp) {
        rc = p->store->ops->catalog(p->store, p->site, p->group, after, raw, WINDOW, &n, e);
        for (uint32_t i = 0; i < n && rc == 0 && raw[i].rp <= p->rp; i++) {
            struct catalog_entry x;
            after = raw[i].rp;
            rc = catalog_decode(&x, &raw[i], e);
            *found = x.rp == p->rp;
            *offered = rc == 0 && catalog_offers(&x, &good_from) && *found;
        }
        if (n > 0 && raw[n - 1].rp > p->rp)
            break;
    }
    free(raw);
    return rc < 0 ? err_prefix(e, "%s/%s", p->site, p->group) : 0;
}

static int check_point(const struct pinning *p, struct err *e)
{
    bool found, offered;
    int rc = find_point(p, &found, &offered, e);
    if (rc < 0)
        return rc;
    if (!found)
        return err_set(e, ERR_NOENT, "%s/%s has no RP %" PRIu64 "; relais list shows those it has",
                       p->site, p->group, p->rp);
    if (!offered)
        return err_set(e, ERR_NOENT,
                       "%s/%s RP %" PRIu64 " is not complete, or what it needs was folded away: "
                       "nothing can be restored from it, so it is not kept for itself",
                       p->site, p->group, p->rp);
    return 0;
}

static int decide_pin(void *arg, const struct policy *now, struct policy_entry *x, struct err *e)
{
    struct pinning *p = arg;
    const struct policy_pin *is = policy_pin(now, p->rp);
    bool on = is && is->until == INT64_MAX;
    int rc = p->pinned && !on ? check_point(p, e) : 0;
    if (rc < 0)
        return rc;
    if (!p->pinned && !is)
        return err_set(e, ERR_NOENT, "%s/%s RP %" PRIu64 " is not pinned", p->site, p->group,
                       p->rp);
    p->left = p->pinned ? UINT64_MAX
              : on      ? now->in_force.lock_ns
                        : (uint64_t)(is->until - x->clock);
    if (p->pinned == on)
        return 1;
    x->kind = p->pinned ? POLICY_PIN : POLICY_UNPIN;
    x->rp = p->rp;
    (void)snprintf(x->by, sizeof x->by, "%s", p->by);
    return 0;
}

int verdict_pin(struct store *store, const struct config *config, const char *site,
                const char *group, uint64_t rp, bool pinned, const char *by, uint64_t *left,
                struct err *e)
{
    struct pinning p = {store, site, group, by, rp, 0, pinned};
    bool changed;
    /* First the rules: their lock says when an unpin takes effect. */
    int rc = verdict_note_rules(store, config, site, group, &changed, e);
    if (rc == 0)
        rc = append(store, site, group, decide_pin, &p, e);
    /* A pass may be about to let it go, or have done so. Also when the pin was there already: who
     * set it may not have come so far. */
    if (rc >= 0 && pinned)
        rc = judge_again(store, site, group, e);
    if (rc == 0 && pinned)
        rc = check_point(&p, e);
    *left = p.left;
    return rc < 0 ? rc : 0;
}

/* ---- the verdict ---- */

/* Complete is what can be opened: one in the middle of what was folded is not. */
static int add_point(struct verdict *v, const struct store_head *raw, size_t *room,
                     uint64_t *good_from, struct err *e)
{
    struct catalog_entry x;
    int rc = catalog_decode(&x, raw, e);
    if (rc < 0)
        return rc;
    if (v->count == VERDICT_POINTS_MAX)
        return err_set(e, ERR_LIMIT, "more than %u recovery points: keep fewer",
                       VERDICT_POINTS_MAX);
    if (v->count == *room) {
        *room = *room ? 2 * *room : WINDOW;
        v->points = err_realloc(v->points, *room * sizeof *v->points);
        v->more = err_realloc(v->more, *room * sizeof *v->more);
    }
    v->points[v->count] = (struct retention_point){
        .rp = x.rp,
        .committed_time = x.committed_time,
        .clock = x.clock,
        .complete = catalog_offers(&x, good_from),
        .labelled = *x.label != '\0',
        .pinned = policy_pin(&v->policy, x.rp) != NULL,
    };
    v->more[v->count++] = (struct verdict_more){x.rp_first, x.file_len, x.cut_time};
    return 0;
}

static int read_points(struct verdict *v, struct store *store, struct err *e)
{
    struct store_head *raw = err_calloc(WINDOW, sizeof *raw);
    uint64_t after = 0, good_from = 0;
    uint32_t n = WINDOW;
    size_t room = 0;
    int rc = 0;
    while (rc == 0 && n == WINDOW) {
        rc = store->ops->catalog(store, v->site, v->group, after, raw, WINDOW, &n, e);
        for (uint32_t i = 0; i < n && rc == 0; i++) {
            rc = add_point(v, &raw[i], &room, &good_from, e);
            after = raw[i].rp;
        }
    }
    free(raw);
    return rc < 0 ? err_prefix(e, "%s/%s", v->site, v->group) : 0;
}

int verdict_make(struct verdict *out, struct store *store, const struct config *config,
                 const char *site, const char *group, int64_t now, struct err *e)
{
    struct catalog_entry head;
    struct policy_entry *entries = NULL;
    size_t n = 0;
    memset(out, 0, sizeof *out);
    (void)snprintf(out->site, sizeof out->site, "%s", site);
    (void)snprintf(out->group, sizeof out->group, "%s", group);
    out->now = now ? now : io_wall(fiber_io());
    config_keep(config, site, group, &out->config.keep, &out->config.lock_ns);
    int rc = read_head(store, site, group, &head, e);
    if (rc == 0)
        rc = read_log(store, site, group, &entries, &n, e);
    if (rc < 0)
        return rc;
    out->clock = retention_clock(head.clock, head.committed_time, out->now);
    policy_of(&out->policy, entries, n, out->clock);
    free(entries);
    /* What the configuration says and the log does not yet can only protect more. */
    out->rules = out->policy.known ? out->policy.in_force : out->config;
    out->rules.keep = keep_join(&out->rules.keep, &out->config.keep);
    if (out->config.lock_ns > out->rules.lock_ns)
        out->rules.lock_ns = out->config.lock_ns;
    rc = read_points(out, store, e);
    if (rc < 0) {
        verdict_free(out);
        return rc;
    }
    out->why = err_calloc(out->count + 1, sizeof *out->why);
    retention_judge(&out->rules, out->points, out->count, out->now, out->why);
    return 0;
}

void verdict_free(struct verdict *v)
{
    policy_free(&v->policy);
    free(v->points);
    free(v->more);
    free(v->why);
    memset(v, 0, sizeof *v);
}

static int by_rp(const void *key, const void *point)
{
    uint64_t rp = *(const uint64_t *)key, at = ((const struct retention_point *)point)->rp;
    return rp < at ? -1 : rp > at;
}

bool verdict_stays(const struct verdict *v, uint64_t rp)
{
    const struct retention_point *p =
        v->count ? bsearch(&rp, v->points, v->count, sizeof *v->points, by_rp) : NULL;
    return !p || v->why[p - v->points] != RETENTION_GOES;
}
