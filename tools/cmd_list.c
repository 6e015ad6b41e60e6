/* relais list: the recovery points of a group, their chain verified. */
#include "history_args.h"
#include "json_out.h"
#include "table.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

#define NEWEST 40                    /* rows without --all */
#define REMARK (LABEL_MAX_LEN + 32u) /* bytes of the last column */

struct list {
    struct history_args history;
    bool json, all;
};

/* The first complete RP ends seeding. Only a history that is known from its beginning tells which
 * it is. 0: none. */
static uint64_t first_complete(const struct reader_point *points, size_t count)
{
    if (count == 0 || points[0].rp_first != 1)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (points[i].complete)
            return points[i].rp;
    return 0;
}

static const char *remark(const struct reader_point *p, uint64_t first, char dst[REMARK])
{
    if (!p->complete)
        return first == 0 || p->rp < first ? "(seeding)" : "(part of the next)";
    if (p->rp != first)
        return p->label;
    (void)snprintf(dst, REMARK, "%s%s(the first complete one)", p->label, *p->label ? " " : "");
    return dst;
}

static int print_table(const struct list *l, const struct reader_point *points, size_t count,
                       struct err *e)
{
    static const struct table_column columns[] = {{"RP", true},         {"CUT", false},
                                                  {"COMMITTED", false}, {"CHANGED", true},
                                                  {"SHIPPED", true},    {"LABEL", false}};
    size_t from = !l->all && count > NEWEST ? count - NEWEST : 0;
    uint64_t first = first_complete(points, count);
    struct table *t = NULL;
    int res = table_new(&t, columns, sizeof columns / sizeof columns[0], e);
    for (size_t i = from; i < count && res == 0; i++) {
        const struct reader_point *p = &points[i];
        char rp[48], cut[UNITS_TEXT], committed[UNITS_TEXT], changed[UNITS_TEXT],
            shipped[UNITS_TEXT], last[REMARK];
        const char *cells[] = {rp, cut, committed, changed, shipped, remark(p, first, last)};
        (void)snprintf(rp, sizeof rp, "%llu", (unsigned long long)p->rp);
        units_time(cut, p->cut_time);
        units_time(committed, p->committed_time);
        units_size(changed, p->plain_bytes);
        units_size(shipped, p->file_len);
        res = table_row(t, cells, NULL, e);
    }
    if (res == 0)
        res = table_print(t, e);
    table_free(t);
    if (res == 0 && from > 0)
        (void)fprintf(stderr, "relais: the newest %d of %zu; --all shows all\n", NEWEST, count);
    return res;
}

static int print_json(const struct list *l, const struct reader_point *points, size_t count,
                      struct err *e)
{
    json_t *array = json_array(), *root;
    int bad = !array;
    for (size_t i = 0; i < count && !bad; i++) {
        const struct reader_point *p = &points[i];
        bad = json_array_append_new(
            array,
            json_pack("{s:I, s:I, s:f, s:f, s:b, s:s, s:I, s:I}", "rp_first",
                      (json_int_t)p->rp_first, "rp", (json_int_t)p->rp, "cut",
                      (double)p->cut_time / 1e9, "committed", (double)p->committed_time / 1e9,
                      "complete", (int)p->complete, "label", p->label, "file_len",
                      (json_int_t)p->file_len, "plain_bytes", (json_int_t)p->plain_bytes));
    }
    root = bad ? NULL
               : json_pack("{s:s, s:s, s:I, s:O}", "site", l->history.site, "group",
                           l->history.group, "first_complete",
                           (json_int_t)first_complete(points, count), "points", array);
    bad = json_out(root, 1, e) != 0;
    json_decref(array);
    return bad ? -(int)e->code : 0;
}

static int list(void *arg, struct err *e)
{
    struct list *l = arg;
    int res = history_open(&l->history, e);
    if (res == 0) {
        size_t count = 0;
        const struct reader_point *points = reader_points(l->history.reader, &count);
        res = l->json ? print_json(l, points, count, e) : print_table(l, points, count, e);
    }
    history_close(&l->history);
    return res;
}

int cmd_list(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {HISTORY_OPTIONS,
                                            {"json", no_argument, NULL, 'j'},
                                            {"all", no_argument, NULL, 'a'},
                                            {NULL, 0, NULL, 0}};
    struct list *l = err_calloc(1, sizeof *l);
    int c, res = 0;
    while (res == 0 && (c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            res = -(int)e->code;
        else if (c == 'j')
            l->json = true;
        else if (c == 'a')
            l->all = true;
        else
            res = history_option(&l->history, "list", c, optarg, e);
    }
    if (res == 0 && argc - optind != 1)
        res = command_misuse("list", e, "one [SITE/]GROUP is needed");
    if (res == 0)
        res = history_prepare(&l->history, "list", ctx, argv[optind], e);
    if (res == 0)
        res = client_run(list, l, e);
    history_free(&l->history);
    free(l);
    return res;
}
