/* relais rotate: a new data key from the next delta on, before the hour is over. */
#include "client.h"
#include "command.h"

static int tell(void *arg, const struct message *reply, struct err *e)
{
    uint32_t groups = reply->rotated->groups;
    (void)arg;
    (void)e;
    (void)printf("%u group%s: the data key is wiped; the next delta has a new one\n",
                 (unsigned)groups, groups == 1 ? "" : "s");
    return 0;
}

int cmd_rotate(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    Relais__Rotate m;
    struct config *config = NULL;
    int res;
    if (command_option(ctx, argc, argv, "", options, e) != -1)
        return -(int)e->code;
    if (argc - optind > 1)
        return command_misuse("rotate", e, "one GROUP, or none for all");
    relais__rotate__init(&m);
    if (argc - optind == 1)
        m.group = argv[optind];
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    res = client_ask_alone(
        config->control, &(struct client_request){FRAME_Rotate, FRAME_Rotated, &m.base, tell, NULL},
        e);
    config_free(config);
    return res != 0 ? err_prefix(e, "rotate") : 0;
}
