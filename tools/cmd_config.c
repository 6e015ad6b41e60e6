/* relais config: checks relais.conf as the daemon would, prints the reference of its options. */
#include "command.h"

#include <string.h>

static void report(void *arg, int line, const char *text)
{
    const char *file = arg;
    if (line)
        (void)fprintf(stderr, "%s:%d: %s\n", file, line, text);
    else
        (void)fprintf(stderr, "%s: %s\n", file, text);
}

static int check(const char *file, struct err *e)
{
    struct config *c = NULL;
    unsigned volumes = 0;
    int res = config_load(&c, file, true, report, (void *)(uintptr_t)file, e);
    if (res != 0)
        return res;
    for (unsigned i = 0; i < c->group_count; i++)
        volumes += c->groups[i].volume_count;
    (void)printf("%s: good: site %s, groups: %u, volumes: %u, peers: %u%s%s\n", file, c->name,
                 c->group_count, volumes, c->peer_count, c->has_hub ? ", hub on " : "",
                 c->has_hub ? c->store : "");
    config_free(c);
    return 0;
}

/* Words for the shell's completion: a broken configuration completes nothing. */
static int groups(const char *file)
{
    struct config *c = NULL;
    struct err e = ERR_INIT;
    if (config_load(&c, file, false, NULL, NULL, &e) != 0)
        return 0;
    for (unsigned i = 0; i < c->group_count; i++)
        (void)puts(c->groups[i].name);
    config_free(c);
    return 0;
}

int cmd_config(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    const char *what;
    if (command_option(ctx, argc, argv, "", options, e) != -1)
        return -(int)e->code;
    if (argc - optind != 1)
        return command_misuse("config", e, "one argument is needed");
    what = argv[optind];
    if (strcmp(what, "check") == 0)
        return check(ctx->config_file, e);
    if (strcmp(what, "groups") == 0)
        return groups(ctx->config_file);
    if (strcmp(what, "reference") != 0)
        return command_misuse("config", e, "\"%.40s\" is not one of its arguments", what);
    config_print_reference();
    return 0;
}
