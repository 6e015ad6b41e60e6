#include "health.h"

#include <stdbool.h>
#include <string.h>

const char *health_word(enum health h)
{
    static const char *const words[] = {"well", "degraded", "broken", "unknown"};
    return words[h];
}

enum health health_worse(enum health a, enum health b)
{
    return a > b ? a : b;
}

uint64_t health_rpo(uint64_t rp, int64_t cut, int64_t now)
{
    return rp && now > cut ? (uint64_t)now - (uint64_t)cut : 0;
}

enum health health_group(const Relais__GroupStatus *g, int64_t now)
{
    /* States of a group that keeps up. All others that are not "broken", also ones that a later
     * daemon may add, mean that protection is behind. */
    static const char *const fine[] = {"idle", "scanning", "sealed", "shipping"};
    uint64_t rpo = health_rpo(g->complete_rp, g->complete_cut, now);
    bool ok = false;
    if (strcmp(g->state, "broken") == 0 || strcmp(g->state, "disk-failed") == 0)
        return HEALTH_BROKEN;
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
        ok = ok || strcmp(g->state, fine[i]) == 0;
    if (!ok || g->complete_rp == 0)
        return HEALTH_DEGRADED;
    /* Division, not 3 * interval: that one may overflow, this one may not. */
    if (g->interval_ns > 0 && rpo > HEALTH_RPO_FLOOR_NS && rpo / 3 > g->interval_ns)
        return HEALTH_DEGRADED;
    return HEALTH_WELL;
}

enum health health_hub_group(const Relais__HubGroup *g, int64_t now)
{
    uint64_t rpo = health_rpo(g->complete_rp, g->complete_cut_time, now);
    if (g->complete_rp && rpo > HEALTH_TERRITORY_BAD_NS)
        return HEALTH_BROKEN;
    if (!g->connected || g->complete_rp == 0 || rpo > HEALTH_TERRITORY_OLD_NS)
        return HEALTH_DEGRADED;
    return HEALTH_WELL;
}

bool health_quota_low(const Relais__Status *st)
{
    return st->quota > 0 && st->quota_used >= st->quota - st->quota / 10;
}

enum health health_status(const Relais__Status *st, int64_t now)
{
    enum health h = HEALTH_WELL;
    for (size_t i = 0; i < st->n_groups; i++)
        h = health_worse(h, health_group(st->groups[i], now));
    for (size_t i = 0; i < st->n_hub_groups; i++)
        h = health_worse(h, health_hub_group(st->hub_groups[i], now));
    if (st->has_site && !st->connected)
        h = health_worse(h, HEALTH_DEGRADED);
    if (health_quota_low(st))
        h = health_worse(h, HEALTH_DEGRADED);
    if (st->hub_damaged > 0)
        h = health_worse(h, HEALTH_BROKEN);
    if (*st->hub_error || *st->audit_error)
        h = health_worse(h, HEALTH_BROKEN);
    return h;
}
