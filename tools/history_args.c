#include "history_args.h"

#include "bytes.h"
#include "passphrase.h"

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

static int copy_name(char dst[NAME_MAX_LEN + 1], const char *src, size_t len)
{
    if (len > NAME_MAX_LEN)
        return -1;
    memcpy(dst, src, len);
    dst[len] = '\0';
    return bytes_is_name(dst) ? 0 : -1;
}

/* "records", "lens/records@12", "records@2026-11-22 12:00", "records@latest". */
static int parse_what(struct history_args *h, const char *command, const char *what, struct err *e)
{
    const char *at = strchr(what, '@'), *end = at ? at : what + strlen(what);
    const char *slash = memchr(what, '/', (size_t)(end - what));
    const char *site = h->site_option ? h->site_option : h->config->name;
    if (slash && h->site_option)
        return command_misuse(command, e, "the site is given twice: \"%.50s\" and --site", what);
    if (slash ? copy_name(h->site, what, (size_t)(slash - what))
              : copy_name(h->site, site, strlen(site)))
        return command_misuse(command, e, "\"%.50s\" names no site", slash ? what : site);
    if (copy_name(h->group, slash ? slash + 1 : what, (size_t)(end - (slash ? slash + 1 : what))) !=
        0)
        return command_misuse(command, e, "\"%.50s\" is no [SITE/]GROUP[@POINT]", what);
    h->has_point = at != NULL;
    if (!at)
        return 0;
    at++;
    if (strlen(at) + 2 > sizeof h->point)
        return command_misuse(command, e, "\"%.50s...\" is no recovery point", at);
    /* reader_find tells numbers from times by the @. */
    if (strcmp(at, "latest") == 0 || (*at && at[strspn(at, "0123456789")] == '\0'))
        (void)snprintf(h->point, sizeof h->point, "%s", at);
    else if (*at)
        (void)snprintf(h->point, sizeof h->point, "@%s", at);
    else
        return command_misuse(command, e, "a number, a time or \"latest\" follows the @");
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

int history_open(struct history_args *h, struct err *e)
{
    int res = client_hub_connect(&h->caller, &h->hub, e);
    if (res != 0)
        return res;
    progress_start(&h->progress, "verifying the history");
    res = reader_open(&h->reader, h->caller, h->site, h->group, &h->signer, on_history, h, e);
    progress_end(&h->progress);
    return res;
}

void history_close(struct history_args *h)
{
    if (h->reader)
        reader_close(h->reader);
    h->reader = NULL;
    if (h->caller)
        caller_free(h->caller);
    h->caller = NULL;
}

void history_free(struct history_args *h)
{
    for (size_t i = 0; i < h->key_count; i++)
        key_free(h->keys[i]);
    client_hub_close(&h->hub);
    config_free(h->config);
}
