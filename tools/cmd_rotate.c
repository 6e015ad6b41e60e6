/* relais rotate: a new data key from the next delta on, before the hour is over. */
#include "client.h"
#include "command.h"

struct rotate {
    const char *control, *group;
};

static int rotate(void *arg, struct err *e)
{
    struct rotate *r = arg;
    struct call call = {.expect = FRAME_Rotated};
    struct caller *caller = NULL;
    Relais__Rotate m;
    int res = client_control(&caller, r->control, e);
    if (res != 0)
        return res;
    relais__rotate__init(&m);
    m.group = (char *)(uintptr_t)r->group;
    res = call_start(caller, &call, FRAME_Rotate, &m.base, NULL, 0, e);
    if (res == 0) {
        res = call_wait(&call, e);
        if (res == 0)
            (void)printf("%u group%s: the data key is wiped; the next delta has a new one\n",
                         (unsigned)call.reply.rotated->groups,
                         call.reply.rotated->groups == 1 ? "" : "s");
        call_end(&call);
    }
    caller_free(caller);
    return res != 0 ? err_prefix(e, "rotate") : 0;
}

int cmd_rotate(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    struct rotate r = {.group = ""};
    struct config *config = NULL;
    int res;
    if (command_option(ctx, argc, argv, "", options, e) != -1)
        return -(int)e->code;
    if (argc - optind > 1)
        return command_misuse("rotate", e, "one GROUP, or none for all");
    if (argc - optind == 1)
        r.group = argv[optind];
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    r.control = config->control;
    res = client_run(rotate, &r, e);
    config_free(config);
    return res;
}
