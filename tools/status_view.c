#include "status_view.h"

#include "health.h"
#include "table.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

#define CELL 64
#define NONE "-"

static const char *color_of(enum health h)
{
    return h == HEALTH_BROKEN ? "red" : h == HEALTH_DEGRADED ? "yellow" : NULL;
}

/* Time from the cut of the newest committed RP to that of the newest sealed one. */
static uint64_t lag_ns(const Relais__GroupStatus *g)
{
    return g->sealed_rp > g->committed_rp && g->sealed_cut > g->committed_cut && g->committed_rp
               ? (uint64_t)(g->sealed_cut - g->committed_cut)
               : 0;
}

static void state_text(char dst[CELL], const Relais__GroupStatus *g)
{
    if (g->scan_total > 0 && g->scan_done < g->scan_total)
        (void)snprintf(dst, CELL, "%.40s %u %%", g->state,
                       (unsigned)((double)g->scan_done * 100 / (double)g->scan_total));
    else
        (void)snprintf(dst, CELL, "%.40s%s", g->state, g->draining ? ", draining" : "");
}

static int group_row(struct table *t, const Relais__Status *st, const Relais__GroupStatus *g,
                     int64_t now, struct err *e)
{
    char state[CELL], rp[CELL], rpo[UNITS_TEXT], lag[UNITS_TEXT], behind[UNITS_TEXT],
        spool[UNITS_TEXT], rate[UNITS_TEXT], ratio[CELL] = NONE, eta[UNITS_TEXT],
                                             clients[CELL] = NONE;
    const char *cells[] = {st->name, g->group, state, rp,    rpo, lag,
                           behind,   spool,    rate,  ratio, eta, clients};
    if (g->exports)
        (void)snprintf(clients, sizeof clients, "%u", g->clients);
    state_text(state, g);
    (void)snprintf(rp, sizeof rp, g->complete_rp ? "%llu" : NONE,
                   (unsigned long long)g->complete_rp);
    (void)snprintf(rpo, sizeof rpo, NONE);
    (void)snprintf(behind, sizeof behind, NONE);
    (void)snprintf(eta, sizeof eta, NONE);
    if (g->complete_rp)
        units_duration(rpo, health_rpo(g->complete_rp, g->complete_cut, now));
    units_size(lag, g->lag_bytes);
    if (lag_ns(g))
        units_duration(behind, lag_ns(g));
    units_size(spool, st->spool_used);
    units_bitrate(rate, (double)st->link_rate);
    if (g->frame_bytes)
        (void)snprintf(ratio, sizeof ratio, "%.2f",
                       (double)g->plain_bytes / (double)g->frame_bytes);
    if (g->eta_ns || g->pass_eta_ns)
        units_duration(eta, g->eta_ns > g->pass_eta_ns ? g->eta_ns : g->pass_eta_ns);
    return table_row(t, cells, color_of(health_group(g, now)), e);
}

/* Before the first complete RP nothing can be restored, whatever was shipped: people must not take
 * one for the other. */
static void print_seeding(const Relais__GroupStatus *g)
{
    char rate[UNITS_TEXT], done[UNITS_TEXT], total[UNITS_TEXT];
    if (g->first_rp > 0 && g->first_rp == g->complete_rp) {
        (void)printf("%s: RP %llu is the first complete recovery point\n", g->group,
                     (unsigned long long)g->first_rp);
        return;
    }
    if (g->complete_rp > 0)
        return;
    (void)printf("%s: nothing can be restored before the first complete recovery point", g->group);
    if (g->scan_total > 0)
        (void)printf("; %s of %s looked at", units_size(done, g->scan_done),
                     units_size(total, g->scan_total));
    if (g->seed_rate > 0)
        (void)printf(", at most %s/s", units_size(rate, g->seed_rate));
    (void)puts("");
}

/* Whether some group is served; else nobody wants to hear of clients. */
static bool serves(const Relais__Status *st)
{
    for (size_t i = 0; i < st->n_groups; i++)
        if (st->groups[i]->exports)
            return true;
    return false;
}

/* What is done about being behind, and how long it goes on. */
static void print_backlog(const Relais__Status *st, const Relais__GroupStatus *g)
{
    char a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT];
    if (strcmp(g->state, "spool-full") == 0)
        (void)printf("%s: the spool is full: writes go on and are remembered (%s so far), sealing "
                     "waits for the hub to take what is there\n",
                     g->group, units_size(a, g->dirty_bytes));
    if (g->merging)
        (void)printf("%s: merging older recovery points to make room\n", g->group);
    if (g->merged_rps)
        (void)printf("%s: %llu recovery points were merged into later ones since start\n", g->group,
                     (unsigned long long)g->merged_rps);
    if (g->spool_budget)
        (void)printf("%s: spool %s of its %s%s%s\n", g->group, units_size(a, g->spool_used),
                     units_size(b, g->spool_budget), g->spool_full_ns ? ", full in " : "",
                     g->spool_full_ns ? units_duration(c, g->spool_full_ns) : "");
    if (st->connected && g->eta_ns)
        (void)printf("%s: caught up in %s\n", g->group, units_duration(a, g->eta_ns));
}

static int print_groups(const Relais__Status *st, int64_t now, struct err *e)
{
    static const struct table_column columns[] = {
        {"SITE", false}, {"GROUP", false}, {"STATE", false}, {"RP", true},
        {"RPO", true},   {"LAG", true},    {"BEHIND", true}, {"SPOOL", true},
        {"LINK", true},  {"RATIO", true},  {"ETA", true},    {"CLIENTS", true}};
    struct table *t = NULL;
    int res = table_new(&t, columns, sizeof columns / sizeof columns[0] - !serves(st), e);
    for (size_t i = 0; i < st->n_groups && res == 0; i++)
        res = group_row(t, st, st->groups[i], now, e);
    if (res == 0)
        res = table_print(t, e);
    table_free(t);
    for (size_t i = 0; i < st->n_groups && res == 0; i++)
        print_seeding(st->groups[i]);
    for (size_t i = 0; i < st->n_groups && res == 0; i++)
        print_backlog(st, st->groups[i]);
    for (size_t i = 0; i < st->n_groups && res == 0; i++)
        if (*st->groups[i]->error)
            (void)printf("%s: %s\n", st->groups[i]->group, st->groups[i]->error);
    return res;
}

static int print_territory(const Relais__Status *st, int64_t now, struct err *e)
{
    static const struct table_column columns[] = {
        {"SITE", false}, {"GROUP", false}, {"STATE", false},    {"LINK", false},
        {"RP", true},    {"RPO", true},    {"COMMITTED", false}};
    struct table *t = NULL;
    int res = table_new(&t, columns, sizeof columns / sizeof columns[0], e);
    for (size_t i = 0; i < st->n_hub_groups && res == 0; i++) {
        const Relais__HubGroup *g = st->hub_groups[i];
        char rp[CELL] = NONE, rpo[UNITS_TEXT] = NONE, committed[UNITS_TEXT];
        enum health h = health_hub_group(g, now);
        const char *cells[] = {g->site, g->group, health_word(h), g->connected ? "up" : "down",
                               rp,      rpo,      committed};
        if (g->complete_rp) {
            (void)snprintf(rp, sizeof rp, "%llu", (unsigned long long)g->complete_rp);
            units_duration(rpo, health_rpo(g->complete_rp, g->complete_cut_time, now));
        }
        units_time(committed, g->committed_time);
        res = table_row(t, cells, color_of(h), e);
    }
    if (res == 0)
        res = table_print(t, e);
    table_free(t);
    return res;
}

static void print_site_line(const Relais__Status *st, int64_t now)
{
    char a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT];
    if (st->connected)
        (void)printf("%s: connected to %s for %s, %s", st->name, st->hub,
                     units_duration(a, health_rpo(1, st->connected_since, now)),
                     units_bitrate(b, (double)st->link_rate));
    else
        (void)printf("%s: not connected to %s%s%s", st->name, st->hub, *st->link_error ? ": " : "",
                     st->link_error);
    if (st->rate_limit)
        (void)printf(", limited to %s%s", units_bitrate(a, (double)st->rate_limit),
                     st->rate_by_hand ? " by hand" : "");
    if (st->level > 1)
        (void)printf(", compression %u", st->level);
    (void)printf("; spool %s of %s", units_size(a, st->spool_used),
                 units_size(c, st->spool_budget));
    if (st->spool_full_ns)
        (void)printf(", full in %s", units_duration(a, st->spool_full_ns));
    (void)puts("");
}

int status_print(const Relais__Status *st, int64_t now, struct err *e)
{
    char used[UNITS_TEXT], quota[UNITS_TEXT];
    int res = 0;
    if (st->has_site)
        print_site_line(st, now);
    if (health_quota_low(st))
        (void)printf(
            "%s: %s of the quota of %s at the hub are taken, %u %%: ask the hub's operator "
            "for more, or for rules that keep less\n",
            st->name, units_size(used, st->quota_used), units_size(quota, st->quota),
            (unsigned)(100 * (double)st->quota_used / (double)st->quota));
    if (st->hub_damaged > 0)
        (void)printf("%s: hub: %llu damaged objects: relais scrub names them\n", st->name,
                     (unsigned long long)st->hub_damaged);
    if (*st->audit_error)
        (void)printf("%s: %s\n", st->name, st->audit_error);
    if (st->has_hub && *st->hub_error)
        (void)printf("%s: hub, not serving: %s\n", st->name, st->hub_error);
    else if (st->has_hub)
        (void)printf("%s: hub, %u connection%s\n", st->name, st->hub_connections,
                     st->hub_connections == 1 ? "" : "s");
    if (st->n_groups)
        res = print_groups(st, now, e);
    if (res == 0 && st->n_hub_groups)
        res = print_territory(st, now, e);
    if (res == 0)
        (void)printf("%s\n", health_word(health_status(st, now)));
    return res;
}
