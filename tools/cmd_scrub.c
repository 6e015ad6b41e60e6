/* relais scrub: what the hub found when it read all that it stores; and once more, now. */
#include "json_out.h"
#include "keeping.h"
#include "table.h"
#include "units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POLL_NS (IO_S / 2)
#define BROKEN  2 /* exit status: something is damaged */

struct scrub {
    struct keeping keeping;
    bool json, now, wait;
    int status;
};

static void part_text(char dst[32], uint32_t object)
{
    if (object == UINT32_MAX)
        (void)snprintf(dst, 32, "manifest");
    else
        (void)snprintf(dst, 32, "part %u", object);
}

/* At most: what was sealed again later is not needed from then on. */
static void harms_text(char *dst, size_t size, const Relais__ScrubDamage *d)
{
    if (d->upto == 0)
        (void)snprintf(dst, size, "RP %llu and later", (unsigned long long)d->rp);
    else if (d->upto < d->rp)
        (void)snprintf(dst, size, "none");
    else
        (void)snprintf(dst, size, "RP %llu to %llu", (unsigned long long)d->rp,
                       (unsigned long long)d->upto);
}

static int print_table(const Relais__ScrubState *s, struct err *e)
{
    static const struct table_column columns[] = {{"GROUP", false}, {"RP", true},
                                                  {"WHAT", false},  {"IS", false},
                                                  {"HARMS", false}, {"FOUND", false}};
    struct table *t = NULL;
    char last[UNITS_TEXT], bytes[UNITS_TEXT];
    (void)printf("%s%s; %llu damaged\n", s->last ? "all was read since " : "not all was read yet",
                 s->last ? units_time(last, s->last) : "", (unsigned long long)s->damaged_total);
    if (s->running)
        (void)printf("a pass is under way: %s read\n", units_size(bytes, s->bytes_done));
    if (s->n_damaged == 0)
        return 0;
    int res = table_new(&t, columns, sizeof columns / sizeof columns[0], e);
    for (size_t i = 0; i < s->n_damaged && res == 0; i++) {
        const Relais__ScrubDamage *d = s->damaged[i];
        char group[2 * NAME_MAX_LEN + 2], rp[24], part[32], harms[64], found[UNITS_TEXT];
        const char *cells[] = {group, rp, part, d->what, harms, found};
        (void)snprintf(group, sizeof group, "%s/%s", d->site, d->group);
        (void)snprintf(rp, sizeof rp, "%llu", (unsigned long long)d->rp);
        part_text(part, d->object);
        harms_text(harms, sizeof harms, d);
        units_time(found, d->found);
        res = table_row(t, cells, NULL, e);
    }
    if (res == 0)
        res = table_print(t, e);
    if (t)
        table_free(t);
    if (res == 0)
        (void)printf("At most these recovery points cannot be restored whole; relais verify tells "
                     "which.\n");
    return res;
}

static int print_json(const Relais__ScrubState *s, struct err *e)
{
    json_t *damaged = json_array();
    for (size_t i = 0; i < s->n_damaged; i++) {
        const Relais__ScrubDamage *d = s->damaged[i];
        char part[32];
        part_text(part, d->object);
        (void)json_array_append_new(
            damaged, json_pack("{s:s, s:s, s:I, s:s, s:s, s:I, s:f}", "site", d->site, "group",
                               d->group, "rp", (json_int_t)d->rp, "part", part, "is", d->what,
                               "upto", (json_int_t)d->upto, "found", (double)d->found / 1e9));
    }
    return json_out(json_pack("{s:b, s:I, s:f, s:I, s:o}", "running", (int)s->running, "bytes_done",
                              (json_int_t)s->bytes_done, "last", (double)s->last / 1e9,
                              "damaged_total", (json_int_t)s->damaged_total, "damaged", damaged),
                    1, e);
}

static int run(void *arg, struct err *e)
{
    struct scrub *s = arg;
    Relais__ScrubSet q;
    struct call call;
    bool again = true;
    relais__scrub_set__init(&q);
    q.now = s->now;
    int res = keeping_connect(&s->keeping, e);
    while (res == 0 && again) {
        res = keeping_ask(&s->keeping, &call, FRAME_ScrubSet, FRAME_ScrubState, &q.base, e);
        if (res != 0)
            break;
        const Relais__ScrubState *m = call.reply.scrub_state;
        again = s->wait && m->running;
        if (!again) {
            s->status = m->damaged_total > 0 ? BROKEN : 0;
            res = s->json ? print_json(m, e) : print_table(m, e);
        }
        call_end(&call);
        q.now = false;
        if (res == 0 && again && fiber_sleep(POLL_NS) < 0)
            res = err_set(e, ERR_CANCELED, "interrupted; the pass goes on");
    }
    keeping_disconnect(&s->keeping);
    return res;
}

int cmd_scrub(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"now", no_argument, NULL, 'n'},
                                            {"wait", no_argument, NULL, 'w'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    struct scrub s = {.json = false};
    int c;
    while ((c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        s.now = s.now || c == 'n';
        s.wait = s.wait || c == 'w';
        s.json = s.json || c == 'j';
    }
    if (optind < argc)
        return command_misuse("scrub", e, "\"%.40s\" is one argument too many", argv[optind]);
    int res = keeping_prepare(&s.keeping, ctx, e);
    if (res == 0)
        res = client_run(run, &s, e);
    keeping_close(&s.keeping);
    return res != 0 ? err_prefix(e, "scrub") : s.status;
}
