/* relais readers: who can open a group's recovery points; and one more who can. */
#include "history_args.h"
#include "share.h"
#include "table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct readers {
    struct history_args history;
    const char *to_word;
    struct key_public to;
};

static bool is_word(const char *word, const uint8_t *fp)
{
    struct key_public k;
    uint8_t own[KEY_FP_LEN];
    struct err e = ERR_INIT;
    if (key_public_parse(&k, KEY_RESTORE, word, &e) != 0)
        return false;
    key_fingerprint(own, &k);
    return memcmp(own, fp, KEY_FP_LEN) == 0;
}

/* Where this machine's configuration names it, when it tells of this site. */
static const char *configured(const struct readers *r, const uint8_t *fp)
{
    const struct config *c = r->history.config;
    const struct config_group *g = config_group(c, r->history.group);
    if (strcmp(c->name, r->history.site) != 0 || !g)
        return "";
    for (unsigned i = 0; i < c->reader_count; i++)
        if (is_word(c->readers[i], fp))
            return "readers of [site]";
    for (unsigned i = 0; i < g->reader_count; i++)
        if (is_word(g->readers[i], fp))
            return "readers of [group]";
    return "not any more";
}

static int print_row(struct table *t, const struct readers *r, const struct share_reader *s,
                     struct err *e)
{
    char fp[2 * KEY_FP_LEN + 1], rps[64] = "none", keys[32], granted[32];
    const char *cells[] = {
        fp, rps, keys, granted, s->newest ? "yes" : "no", configured(r, s->fingerprint)};
    bytes_hex(fp, s->fingerprint, KEY_FP_LEN);
    if (s->points > 0)
        (void)snprintf(rps, sizeof rps, "%" PRIu64 "-%" PRIu64 " (%" PRIu64 ")", s->first, s->last,
                       s->points);
    (void)snprintf(keys, sizeof keys, "%" PRIu64, s->keys);
    (void)snprintf(granted, sizeof granted, "%" PRIu64, s->granted);
    return table_row(t, cells, NULL, e);
}

static int print_list(const struct readers *r, const struct share_reader *rows, size_t count,
                      struct err *e)
{
    static const struct table_column columns[] = {{"READER", false}, {"DELTAS OF RP", false},
                                                  {"KEYS", true},    {"GRANTED", true},
                                                  {"NEWEST", false}, {"CONFIGURED", false}};
    struct table *t = NULL;
    int res = table_new(&t, columns, sizeof columns / sizeof columns[0], e);
    for (size_t i = 0; i < count && res == 0; i++)
        res = print_row(t, r, &rows[i], e);
    if (res == 0)
        res = table_print(t, e);
    table_free(t);
    for (size_t i = 0; i < count && res == 0; i++) {
        char fp[2 * KEY_FP_LEN + 1];
        bytes_hex(fp, rows[i].fingerprint, KEY_FP_LEN);
        if (!rows[i].newest && rows[i].points > 0)
            (void)printf("%s reads nothing sealed after RP %" PRIu64
                         "; what it could read before, it still can, as long as a hub serves it or "
                         "it kept copies\n",
                         fp, rows[i].last);
    }
    return res;
}

static int list_once(void *arg, struct err *e)
{
    struct readers *r = arg;
    struct share_reader *rows = err_calloc(SHARE_READERS_MAX, sizeof *rows);
    size_t count = 0;
    int res = history_open(&r->history, e);
    if (res == 0)
        res = share_list(r->history.reader, rows, &count, e);
    if (res == 0)
        res = print_list(r, rows, count, e);
    history_close(&r->history);
    free(rows);
    return res;
}

static int grant_once(void *arg, struct err *e)
{
    struct readers *r = arg;
    const struct history_args *h = &r->history;
    struct share_granted done;
    char fp[2 * KEY_FP_LEN + 1];
    uint8_t to[KEY_FP_LEN];
    int res = history_open(&r->history, e);
    if (res == 0)
        res = share_grant(h->reader, h->keys, h->key_count, &r->to, &done, e);
    history_close(&r->history);
    if (res != 0)
        return res;
    key_fingerprint(to, &r->to);
    bytes_hex(fp, to, KEY_FP_LEN);
    (void)printf("%s/%s: %s can open %" PRIu64 " of %" PRIu64 " data keys: %" PRIu64
                 " more than before\n",
                 h->site, h->group, fp, done.had + done.granted, done.keys, done.granted);
    if (done.closed > 0)
        (void)printf("%" PRIu64 " are open to none of the keys given here: recovery points that "
                     "need them cannot be shared with these keys\n",
                     done.closed);
    (void)printf("what is sealed from now on needs it in readers of [group %s] at %s, and %s must "
                 "let its peer read (reads of [peer])\n",
                 h->group, h->site, h->hub.peer->name);
    return 0;
}

static int list(void *arg, struct err *e)
{
    return history_attempt(list_once, arg, e);
}

static int grant(void *arg, struct err *e)
{
    return history_attempt(grant_once, arg, e);
}

static int parse(struct readers *r, struct command_context *ctx, int argc, char **argv,
                 struct err *e)
{
    static const struct option options[] = {
        HISTORY_OPTIONS, {"to", required_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
    int c, res = 0;
    while (res == 0 && (c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            res = -(int)e->code;
        else if (c == 't')
            r->to_word = optarg;
        else
            res = history_option(&r->history, "readers", c, optarg, e);
    }
    return res;
}

int cmd_readers(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    struct readers *r = err_calloc(1, sizeof *r);
    bool granting = false;
    int res = parse(r, ctx, argc, argv, e);
    if (res == 0) {
        granting = argc - optind == 2 && strcmp(argv[optind], "grant") == 0;
        if (argc - optind != 2 || (!granting && strcmp(argv[optind], "list") != 0))
            res = command_misuse("readers", e, "list or grant, and one [SITE/]GROUP, are needed");
    }
    if (res == 0 && granting && (!r->to_word || r->history.key_count == 0))
        res = command_misuse("readers", e,
                             "grant needs --to restore:..., and --key FILE of one that can read");
    if (res == 0 && granting && key_public_parse(&r->to, KEY_RESTORE, r->to_word, e) != 0)
        res = err_prefix(e, "--to");
    if (res == 0)
        res = history_prepare(&r->history, "readers", ctx, argv[optind + 1], e);
    if (res == 0)
        res = client_run(granting ? grant : list, r, e);
    history_free(&r->history);
    free(r);
    return res;
}
