/* relais pause, relais resume: whether a group is shipped. */
#include "client.h"
#include "command.h"
#include "units.h"

#include <string.h>

struct pause {
    const char *group;
    bool pause;
};

static int tell(void *arg, const struct message *reply, struct err *e)
{
    const struct pause *p = arg;
    char lag[UNITS_TEXT];
    (void)e;
    (void)printf("%s: %s; %s to ship\n", p->group,
                 p->pause ? "paused until relais resume, also over restarts; cuts go on"
                          : "resumed",
                 units_size(lag, reply->pause_state->lag_bytes));
    return 0;
}

static int ask(struct pause *p, const char *control, struct err *e)
{
    Relais__PauseSet set;
    relais__pause_set__init(&set);
    set.group = (char *)(uintptr_t)p->group;
    set.pause = p->pause;
    return client_ask_alone(
        control, &(struct client_request){FRAME_PauseSet, FRAME_PauseState, &set.base, tell, p}, e);
}

int cmd_pause(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    struct pause p = {.pause = strcmp(argv[0], "pause") == 0};
    const char *name = p.pause ? "pause" : "resume";
    struct config *config = NULL;
    int res;
    if (command_option(ctx, argc, argv, "", options, e) != -1)
        return -(int)e->code;
    if (argc - optind != 1)
        return command_misuse(name, e, "one GROUP is needed");
    p.group = argv[optind];
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    if (!config_group(config, p.group)) {
        res = err_set(e, ERR_NOENT, "%s: there is no [group %.48s] in %s", name, p.group,
                      config->file);
    } else {
        res = ask(&p, config->control, e);
        if (res != 0)
            res = err_prefix(e, "%s %s", name, p.group);
    }
    config_free(config);
    return res;
}
