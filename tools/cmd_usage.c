/* relais usage: what sites have stored at the hub, and shipped per month. */
#include "json_out.h"
#include "keeping.h"
#include "table.h"
#include "units.h"

struct usage {
    struct keeping keeping;
    char *site;
    bool json;
};

static int row(struct table *t, const char *site, const char *what, const char *bytes,
               uint64_t objects, uint64_t rps, const char *quota, struct err *e)
{
    char o[24], r[24];
    const char *cells[] = {site, what, bytes, o, r, quota};
    (void)snprintf(o, sizeof o, "%llu", (unsigned long long)objects);
    (void)snprintf(r, sizeof r, "%llu", (unsigned long long)rps);
    return table_row(t, cells, NULL, e);
}

static int site_rows(struct table *t, const Relais__UsageSite *s, struct err *e)
{
    char bytes[UNITS_TEXT], size[UNITS_TEXT], quota[2 * UNITS_TEXT] = "none", month[48];
    if (s->quota > 0)
        (void)snprintf(quota, sizeof quota, "%.1f %% of %s",
                       100 * (double)s->bytes / (double)s->quota, units_size(size, s->quota));
    int res = row(t, s->site, "stored", units_size(bytes, s->bytes), s->objects, s->rps, quota, e);
    for (size_t i = 0; i < s->n_months && res == 0; i++) {
        const Relais__UsageMonth *m = s->months[i];
        (void)snprintf(month, sizeof month, "shipped in %04u-%02u", m->month / 12,
                       m->month % 12 + 1);
        res = row(t, s->site, month, units_size(bytes, m->bytes), m->objects, m->rps, "", e);
    }
    return res;
}

static int print_table(const Relais__Usage *u, struct err *e)
{
    static const struct table_column columns[] = {{"SITE", false}, {"WHAT", false},
                                                  {"SIZE", true},  {"OBJECTS", true},
                                                  {"RPS", true},   {"QUOTA", false}};
    struct table *t = NULL;
    int res = table_new(&t, columns, sizeof columns / sizeof columns[0], e);
    for (size_t i = 0; i < u->n_sites && res == 0; i++)
        res = site_rows(t, u->sites[i], e);
    if (res == 0)
        res = table_print(t, e);
    if (t)
        table_free(t);
    return res;
}

static json_t *site_json(const Relais__UsageSite *s)
{
    json_t *months = json_array();
    char name[48];
    for (size_t i = 0; i < s->n_months; i++) {
        const Relais__UsageMonth *m = s->months[i];
        (void)snprintf(name, sizeof name, "%04u-%02u", m->month / 12, m->month % 12 + 1);
        (void)json_array_append_new(
            months, json_pack("{s:s, s:I, s:I, s:I}", "month", name, "bytes", (json_int_t)m->bytes,
                              "objects", (json_int_t)m->objects, "rps", (json_int_t)m->rps));
    }
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "site", s->site, "bytes",
                     (json_int_t)s->bytes, "objects", (json_int_t)s->objects, "rps",
                     (json_int_t)s->rps, "quota", (json_int_t)s->quota, "months", months);
}

static int print_json(const Relais__Usage *u, struct err *e)
{
    json_t *sites = json_array();
    for (size_t i = 0; i < u->n_sites; i++)
        (void)json_array_append_new(sites, site_json(u->sites[i]));
    return json_out(sites, 1, e);
}

static int run(void *arg, struct err *e)
{
    struct usage *u = arg;
    Relais__UsageGet q;
    struct call call;
    relais__usage_get__init(&q);
    if (u->site)
        q.site = u->site;
    int res = keeping_connect(&u->keeping, e);
    if (res == 0)
        res = keeping_ask(&u->keeping, &call, FRAME_UsageGet, FRAME_Usage, &q.base, e);
    if (res == 0) {
        res = u->json ? print_json(call.reply.usage, e) : print_table(call.reply.usage, e);
        call_end(&call);
    }
    keeping_disconnect(&u->keeping);
    return res;
}

int cmd_usage(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"site", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    struct usage u = {.json = false};
    int c;
    while ((c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        if (c == 's')
            u.site = optarg;
        u.json = u.json || c == 'j';
    }
    if (optind < argc)
        return command_misuse("usage", e, "\"%.40s\" is one argument too many", argv[optind]);
    int res = keeping_prepare(&u.keeping, ctx, e);
    if (res == 0)
        res = client_run(run, &u, e);
    keeping_close(&u.keeping);
    return res != 0 ? err_prefix(e, "usage") : 0;
}
