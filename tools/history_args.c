#include "history_args.h"

#include "bytes.h"
#include "passphrase.h"
#include "seen.h"

#include <stdlib.h>
#include <string.h>

int history_option(struct history_args *h, const char *command, int option, const char *value,
                   struct err *e)
{
    char *end;
    unsigned long n;
    switch (option) {
    case 'k':
        if (h->key_count == HISTORY_KEYS_MAX)
            return command_misuse(command, e, "more than %d keys", HISTORY_KEYS_MAX);
        h->key_files[h->key_count++] = value;
        return 0;
    case 'P':
        h->passphrase_file = value;
        return 0;
    case 'B':
        h->rolled_back = true;
        return 0;
    case 'S':
        h->site_option = value;
        return 0;
    case 'g':
        h->signer_word = value;
        return 0;
    default:
        n = strtoul(value, &end, 10);
        if (*value < '0' || *value > '9' || *end || n < 1 || n > CALLS_MAX)
            return command_misuse(command, e, "--parallel %.20s: 1 to %u is allowed", value,
                                  CALLS_MAX);
        h->parallel = (unsigned)n;
        return 0;
    }
}

static int parse_what(struct history_args *h, const char *command, const char *what, struct err *e)
{
    struct err why = ERR_INIT;
    struct selector s;
    if (selector_parse(&s, what, h->site_option, h->config->name, &why) < 0)
        return command_misuse(command, e, "%s", why.text);
    memcpy(h->site, s.site, sizeof h->site);
    memcpy(h->group, s.group, sizeof h->group);
    memcpy(h->point, s.point, sizeof h->point);
    h->has_point = s.has_point;
    return 0;
}

int history_prepare(struct history_args *h, const char *command, struct command_context *ctx,
                    const char *what, struct err *e)
{
    struct passphrase_source source = {h->passphrase_file, "passphrase"};
    const struct key_asker asker = passphrase_asker(&source);
    int res = command_config(&h->config, ctx, e);
    if (res == 0)
        res = parse_what(h, command, what, e);
    if (res == 0)
        res = client_signer(&h->signer, h->config, h->site, h->signer_word, e);
    for (size_t i = 0; i < h->key_count && res == 0; i++)
        res = key_file_load(&h->keys[i], KEY_RESTORE, h->key_files[i], &asker, e);
    if (res == 0)
        res = client_hub_open(&h->hub, h->config, e);
    return res;
}

static void on_history(void *arg, uint64_t done, uint64_t total)
{
    struct history_args *h = arg;
    progress_update(&h->progress, done, total, false);
}

static int take_own(void *arg, const struct message *reply, struct err *e)
{
    struct history_args *h = arg;
    const Relais__Status *st = reply->status;
    (void)e;
    for (size_t i = 0; i < st->n_groups; i++) {
        const Relais__GroupStatus *g = st->groups[i];
        if (strcmp(st->name, h->site) != 0 || strcmp(g->group, h->group) != 0 ||
            g->committed_link.len != DIGEST_LEN)
            continue;
        h->own_asked = true;
        h->own_rp = g->committed_rp;
        memcpy(h->own_link.b, g->committed_link.data, DIGEST_LEN);
    }
    return 0;
}

/* What the site's own daemon knows committed, before the hub is asked: later it may know more. A
 * daemon that does not answer is no reason not to restore. (waits) */
static void ask_own(struct history_args *h)
{
    struct err e = ERR_INIT;
    Relais__StatusGet get;
    relais__status_get__init(&get);
    if (strcmp(h->site, h->config->name) == 0 && config_group(h->config, h->group))
        (void)client_ask(
            h->config->control,
            &(struct client_request){FRAME_StatusGet, FRAME_Status, &get.base, take_own, h}, &e);
}

static int check_own(const struct history_args *h, struct err *e)
{
    struct digest link;
    size_t count;
    const struct reader_point *points = reader_points(h->reader, &count);
    if (!h->own_asked || h->own_rp == 0)
        return 0;
    if (points[count - 1].rp < h->own_rp)
        return err_set(e, ERR_CHAIN,
                       "%s/%s: the hub's history ends with RP %llu, but this site knows RP %llu "
                       "committed: it was rolled back or cut off. --rolled-back goes on with what "
                       "there is",
                       h->site, h->group, (unsigned long long)points[count - 1].rp,
                       (unsigned long long)h->own_rp);
    if (reader_folded(h->reader, h->own_rp))
        return 0;
    if (!reader_link(h->reader, h->own_rp, &link) || !digest_equal(&link, &h->own_link))
        return err_set(e, ERR_CHAIN,
                       "%s/%s: RP %llu at the hub is not the one that this site knows committed: "
                       "there are two histories. --rolled-back goes on with the hub's",
                       h->site, h->group, (unsigned long long)h->own_rp);
    return 0;
}

static int check_known(struct history_args *h, struct err *e)
{
    int res = check_own(h, e);
    if (res == 0)
        res = seen_check(h->reader, h->site, h->group, &h->signer, e);
    if (res < 0 && h->rolled_back) {
        (void)fprintf(stderr, "relais: going on as asked, although %s\n", e->text);
        res = 0;
    }
    if (res == 0)
        seen_keep(h->reader, h->site, h->group, &h->signer);
    return res;
}

static int connect_again(void *arg, struct caller **out, struct err *e)
{
    struct history_args *h = arg;
    return client_hub_connect(out, &h->hub, e);
}

int history_open(struct history_args *h, struct err *e)
{
    struct caller *first = NULL;
    int res;
    ask_own(h);
    res = connect_again(h, &first, e);
    if (res != 0)
        return res;
    line_init(&h->line, first, connect_again, h);
    progress_start(&h->progress, "verifying the history");
    res = reader_open_all(&h->reader, &h->line, h->site, h->group, &h->signer, h->damage,
                          on_history, h, e);
    progress_end(&h->progress);
    return res == 0 ? check_known(h, e) : res;
}

void history_close(struct history_args *h)
{
    if (h->reader)
        reader_close(h->reader);
    h->reader = NULL;
    line_close(&h->line);
}

#define ATTEMPTS 5u

int history_attempt(int (*once)(void *arg, struct err *e), void *arg, struct err *e)
{
    int res = once(arg, e);
    for (unsigned i = 1; i < ATTEMPTS && res == -ERR_CONFLICT; i++) {
        (void)fprintf(stderr, "relais: %s: once more\n", e->text);
        *e = (struct err)ERR_INIT;
        res = once(arg, e);
    }
    return res;
}

void history_free(struct history_args *h)
{
    for (size_t i = 0; i < h->key_count; i++)
        key_free(h->keys[i]);
    client_hub_close(&h->hub);
    config_free(h->config);
}
