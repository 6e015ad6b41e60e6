/* The status as JSON. Names and units stay as they are once released: scripts read them. Times are
 * seconds since 1970, durations seconds, both with fractions; sizes are bytes. */
#include "health.h"
#include "json_out.h"
#include "status_view.h"

#include <stdio.h>
#include <stdlib.h>

static double seconds(int64_t ns)
{
    return (double)ns / 1e9;
}

/* null when there is no such RP. */
static json_t *cut_json(uint64_t rp, int64_t cut)
{
    return rp ? json_real(seconds(cut)) : json_null();
}

static json_t *rpo_json(uint64_t rp, int64_t cut, int64_t now)
{
    return rp ? json_real((double)health_rpo(rp, cut, now) / 1e9) : json_null();
}

/* Seconds; null when it goes on for ever, as far as can be told. */
static json_t *lasts_json(uint64_t ns)
{
    return ns > 0 ? json_real((double)ns / 1e9) : json_null();
}

static json_t *group_json(const Relais__GroupStatus *g, int64_t now)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, "
        "s:I, s:f, s:f, s:I, s:f, s:I, s:I}",
        "group", g->group, "state", g->state, "health", health_word(health_group(g, now)), "error",
        g->error, "sealed_rp", (json_int_t)g->sealed_rp, "committed_rp",
        (json_int_t)g->committed_rp, "complete_rp", (json_int_t)g->complete_rp, "sealed_cut",
        cut_json(g->sealed_rp, g->sealed_cut), "committed_cut",
        cut_json(g->committed_rp, g->committed_cut), "complete_cut",
        cut_json(g->complete_rp, g->complete_cut), "rpo",
        rpo_json(g->complete_rp, g->complete_cut, now), "lag_bytes", (json_int_t)g->lag_bytes,
        "lag_rps", (json_int_t)g->lag_rps, "frame_bytes", (json_int_t)g->frame_bytes, "plain_bytes",
        (json_int_t)g->plain_bytes, "scan_done", (json_int_t)g->scan_done, "scan_total",
        (json_int_t)g->scan_total, "eta", (double)g->eta_ns / 1e9, "interval",
        (double)g->interval_ns / 1e9, "first_rp", (json_int_t)g->first_rp, "pass_eta",
        (double)g->pass_eta_ns / 1e9, "seed_rate", (json_int_t)g->seed_rate, "dirty_bytes",
        (json_int_t)g->dirty_bytes);
}

/* How its shipping is steered, and who uses it. */
static int add_steering(json_t *group, const Relais__GroupStatus *g)
{
    return json_object_set_new(group, "priority", json_string(g->priority)) |
           json_object_set_new(group, "paused", json_boolean(g->paused)) |
           json_object_set_new(group, "draining", json_boolean(g->draining)) |
           json_object_set_new(group, "shipped_bytes", json_integer((json_int_t)g->shipped_bytes)) |
           json_object_set_new(group, "exports", json_integer(g->exports)) |
           json_object_set_new(group, "clients", json_integer(g->clients));
}

/* What the spool holds of it, and how long that goes on. */
static int add_spool(json_t *group, const Relais__GroupStatus *g)
{
    return json_object_set_new(group, "spool_used", json_integer((json_int_t)g->spool_used)) |
           json_object_set_new(group, "spool_budget",
                               g->spool_budget > 0 ? json_integer((json_int_t)g->spool_budget)
                                                   : json_null()) |
           json_object_set_new(group, "spool_full", lasts_json(g->spool_full_ns)) |
           json_object_set_new(group, "merging", json_boolean(g->merging)) |
           json_object_set_new(group, "merged_rps", json_integer((json_int_t)g->merged_rps)) |
           json_object_set_new(group, "seal_rate", json_integer((json_int_t)g->seal_rate));
}

static int add_site_steering(json_t *root, const Relais__Status *st)
{
    return json_object_set_new(root, "rate_limit",
                               st->rate_limit > 0 ? json_integer((json_int_t)st->rate_limit)
                                                  : json_null()) |
           json_object_set_new(root, "rate_by_hand", json_boolean(st->rate_by_hand)) |
           json_object_set_new(root, "level", json_integer(st->level)) |
           json_object_set_new(root, "quota",
                               st->quota > 0 ? json_integer((json_int_t)st->quota) : json_null()) |
           json_object_set_new(root, "quota_used",
                               st->quota > 0 ? json_integer((json_int_t)st->quota_used)
                                             : json_null()) |
           json_object_set_new(root, "spool_full", lasts_json(st->spool_full_ns));
}

static json_t *hub_group_json(const Relais__HubGroup *g, int64_t now)
{
    return json_pack("{s:s, s:s, s:s, s:b, s:I, s:o, s:f, s:I, s:o, s:o}", "site", g->site, "group",
                     g->group, "health", health_word(health_hub_group(g, now)), "connected",
                     (int)g->connected, "rp", (json_int_t)g->rp, "cut",
                     cut_json(g->rp, g->cut_time), "committed", seconds(g->committed_time),
                     "complete_rp", (json_int_t)g->complete_rp, "complete_cut",
                     cut_json(g->complete_rp, g->complete_cut_time), "rpo",
                     rpo_json(g->complete_rp, g->complete_cut_time, now));
}

int status_print_json(const Relais__Status *st, int64_t now, struct err *e)
{
    json_t *groups = json_array(), *territory = json_array(), *root = NULL;
    int bad = !groups || !territory;
    for (size_t i = 0; i < st->n_groups && !bad; i++)
        bad = json_array_append_new(groups, group_json(st->groups[i], now)) |
              add_steering(json_array_get(groups, i), st->groups[i]) |
              add_spool(json_array_get(groups, i), st->groups[i]);
    for (size_t i = 0; i < st->n_hub_groups && !bad; i++)
        bad = json_array_append_new(territory, hub_group_json(st->hub_groups[i], now));
    if (!bad)
        root = json_pack(
            "{s:s, s:s, s:s, s:f, s:b, s:b, s:s, s:b, s:o, s:s, s:s, s:I, s:I, s:I, s:I, "
            "s:I, s:O, s:O, s:s}",
            "name", st->name, "software", st->software, "health",
            health_word(health_status(st, now)), "uptime", (double)st->uptime_ns / 1e9, "site",
            (int)st->has_site, "is_hub", (int)st->has_hub, "hub", st->hub, "connected",
            (int)st->connected, "connected_since",
            cut_json(st->connected ? 1 : 0, st->connected_since), "link_error", st->link_error,
            "hub_error", st->hub_error, "link_rate", (json_int_t)st->link_rate, "spool_used",
            (json_int_t)st->spool_used, "spool_budget", (json_int_t)st->spool_budget,
            "hub_connections", (json_int_t)st->hub_connections, "memory", (json_int_t)st->memory,
            "groups", groups, "territory", territory, "audit_error", st->audit_error);
    if (root && add_site_steering(root, st) != 0) {
        json_decref(root);
        root = NULL;
    }
    bad = json_out(root, 2, e) != 0;
    json_decref(groups);
    json_decref(territory);
    return bad ? -(int)e->code : 0;
}
