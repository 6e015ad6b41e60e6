/* relais retention: which recovery points stay at the hub, and why; a pass, now. */
#include "json_out.h"
#include "keeping.h"
#include "table.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

struct retention {
    struct keeping keeping;
    const char *site, *group;
    bool json, pass;
    struct table *table;
    json_t *array; /* of groups */
};

/* "all, hourly": the order of engine/hub/retention.h. */
static const char *why_text(char dst[128], uint32_t why)
{
    static const char *const words[] = {"pinned", "newest", "locked", "labelled", "all",
                                        "hourly", "daily",  "weekly", "monthly",  "yearly"};
    int n = snprintf(dst, 128, "%s", why ? "" : "goes");
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        if (why >> i & 1)
            n += snprintf(dst + n, (size_t)(128 - n), "%s%s", n ? ", " : "", words[i]);
    return dst;
}

/* ---- for people ---- */

static void print_rules(const struct keeping_group *g, const Relais__Retention *m, bool pass)
{
    char lock[UNITS_TEXT] = "none", left[UNITS_TEXT], stay[UNITS_TEXT], go[UNITS_TEXT];
    if (m->lock_ns > 0)
        units_duration(lock, m->lock_ns);
    (void)printf("%s/%s: keep = %s; lock = %s\n", g->site, g->group, m->keep, lock);
    if (m->until_ns > 0)
        (void)printf("  until %s from now; the configuration says: %s; lock = %s\n",
                     units_duration(left, m->until_ns), m->said,
                     m->said_lock_ns ? units_duration(lock, m->said_lock_ns) : "none");
    (void)printf("  %llu stay, %s; %llu %s, %s\n", (unsigned long long)m->stay_rps,
                 units_size(stay, m->stay_bytes), (unsigned long long)m->go_rps,
                 pass ? "went" : "go with the next pass", units_size(go, m->go_bytes));
    for (size_t i = 0; i < m->n_pins; i++) {
        const Relais__RetentionPin *p = m->pins[i];
        (void)printf("  RP %llu is pinned by %s%s%s\n", (unsigned long long)p->rp,
                     *p->by ? p->by : "the hub's operator",
                     p->left_ns ? "; unpinned, which holds in " : "",
                     p->left_ns ? units_duration(left, p->left_ns) : "");
    }
}

static int print_run(struct retention *r, const struct keeping_group *g,
                     const Relais__RetentionRun *run, struct err *e)
{
    char group[2 * NAME_MAX_LEN + 2], rp[48], count[24], complete[24], bytes[UNITS_TEXT],
        from[UNITS_TEXT], to[UNITS_TEXT], why[128];
    const char *cells[] = {group, rp, count, complete, bytes, from, to, why_text(why, run->why)};
    (void)snprintf(group, sizeof group, "%s/%s", g->site, g->group);
    if (run->first == run->last)
        (void)snprintf(rp, sizeof rp, "%llu", (unsigned long long)run->first);
    else
        (void)snprintf(rp, sizeof rp, "%llu-%llu", (unsigned long long)run->first,
                       (unsigned long long)run->last);
    (void)snprintf(count, sizeof count, "%llu", (unsigned long long)run->count);
    (void)snprintf(complete, sizeof complete, "%llu", (unsigned long long)run->complete);
    units_size(bytes, run->bytes);
    units_time(from, run->from);
    units_time(to, run->to);
    return table_row(r->table, cells, NULL, e);
}

/* ---- as JSON ---- */

static json_t *rules_json(const struct keeping_group *g, const Relais__Retention *m)
{
    json_t *pins = json_array();
    for (size_t i = 0; i < m->n_pins; i++)
        (void)json_array_append_new(
            pins, json_pack("{s:I, s:s, s:f, s:f}", "rp", (json_int_t)m->pins[i]->rp, "by",
                            m->pins[i]->by, "time", (double)m->pins[i]->time / 1e9, "left",
                            (double)m->pins[i]->left_ns / 1e9));
    return json_pack("{s:s, s:s, s:f, s:s, s:f, s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:o, s:o}",
                     "site", g->site, "group", g->group, "now", (double)m->now / 1e9, "keep",
                     m->keep, "lock", (double)m->lock_ns / 1e9, "said", m->said, "said_lock",
                     (double)m->said_lock_ns / 1e9, "until", (double)m->until_ns / 1e9, "stay_rps",
                     (json_int_t)m->stay_rps, "stay_bytes", (json_int_t)m->stay_bytes, "go_rps",
                     (json_int_t)m->go_rps, "go_bytes", (json_int_t)m->go_bytes, "pins", pins,
                     "runs", json_array());
}

static int add_run(json_t *group, const Relais__RetentionRun *run)
{
    char why[128];
    return json_array_append_new(
        json_object_get(group, "runs"),
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b, s:s}", "first", (json_int_t)run->first,
                  "last", (json_int_t)run->last, "count", (json_int_t)run->count, "complete",
                  (json_int_t)run->complete, "bytes", (json_int_t)run->bytes, "from",
                  (double)run->from / 1e9, "to", (double)run->to / 1e9, "goes",
                  (int)(run->why == 0), "why", why_text(why, run->why)));
}

/* ---- asking ---- */

static int take_page(struct retention *r, const struct keeping_group *g, const Relais__Retention *m,
                     bool first, json_t **group, struct err *e)
{
    int res = 0;
    if (first && r->json && (*group = rules_json(g, m)) == NULL)
        return err_set(e, ERR_OS, "out of memory");
    if (first && r->json)
        (void)json_array_append(r->array, *group);
    else if (first)
        print_rules(g, m, r->pass);
    for (size_t i = 0; i < m->n_runs && res == 0; i++)
        res = !r->json                          ? print_run(r, g, m->runs[i], e)
              : add_run(*group, m->runs[i]) < 0 ? err_set(e, ERR_OS, "out of memory")
                                                : 0;
    return res;
}

static int ask_group(struct retention *r, struct keeping_group *g, struct err *e)
{
    Relais__RetentionGet q;
    json_t *group = NULL;
    bool more = true, first = true;
    int res = 0;
    relais__retention_get__init(&q);
    q.site = g->site;
    q.group = g->group;
    q.pass = r->pass;
    while (res == 0 && more) {
        struct call call;
        res = keeping_ask(&r->keeping, &call, FRAME_RetentionGet, FRAME_Retention, &q.base, e);
        if (res != 0)
            break;
        const Relais__Retention *m = call.reply.retention;
        res = take_page(r, g, m, first, &group, e);
        more = m->more && m->n_runs > 0;
        q.after = m->n_runs > 0 ? m->runs[m->n_runs - 1]->last : 0;
        q.now = m->now;
        q.pass = false;
        first = false;
        call_end(&call);
    }
    json_decref(group);
    return res;
}

static int run(void *arg, struct err *e)
{
    struct retention *r = arg;
    struct keeping_group *groups = NULL;
    size_t count = 0;
    int res = keeping_connect(&r->keeping, e);
    if (res == 0)
        res = keeping_groups(&r->keeping, r->site, r->group, &groups, &count, e);
    for (size_t i = 0; i < count && res == 0; i++)
        res = ask_group(r, &groups[i], e);
    free(groups);
    keeping_disconnect(&r->keeping);
    if (res != 0)
        return res;
    if (r->json)
        return json_out(json_incref(r->array), 1, e);
    return table_print(r->table, e);
}

int cmd_retention(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {
        {"site", required_argument, NULL, 's'}, {"group", required_argument, NULL, 'g'},
        {"dry-run", no_argument, NULL, 'n'},    {"now", no_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},       {NULL, 0, NULL, 0}};
    static const struct table_column columns[] = {
        {"GROUP", false}, {"RP", false},   {"RPS", true}, {"COMPLETE", true},
        {"SIZE", true},   {"FROM", false}, {"TO", false}, {"WHY", false}};
    struct retention r = {.json = false};
    bool dry = false;
    int c;
    while ((c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        if (c == 's')
            r.site = optarg;
        if (c == 'g')
            r.group = optarg;
        dry = dry || c == 'n';
        r.pass = r.pass || c == 'p';
        r.json = r.json || c == 'j';
    }
    if (optind < argc)
        return command_misuse("retention", e, "\"%.40s\" is one argument too many", argv[optind]);
    if (dry && r.pass)
        return command_misuse("retention", e, "--dry-run and --now exclude each other");
    int res = keeping_prepare(&r.keeping, ctx, e);
    if (res == 0)
        res = table_new(&r.table, columns, sizeof columns / sizeof columns[0], e);
    r.array = json_array();
    if (res == 0)
        res = client_run(run, &r, e);
    if (r.table)
        table_free(r.table);
    json_decref(r.array);
    keeping_close(&r.keeping);
    return res != 0 ? err_prefix(e, "retention") : 0;
}
