/* relais pause, relais resume: whether a group is shipped. */
#include "client.h"
#include "command.h"
#include "units.h"

#include <string.h>

struct pause {
    const char *control, *group;
    bool pause;
};

static int ask(void *arg, struct err *e)
{
    struct pause *p = arg;
    struct caller *c = NULL;
    struct call call = {.expect = FRAME_PauseState};
    Relais__PauseSet set;
    char lag[UNITS_TEXT];
    int res = client_control(&c, p->control, e);
    if (res != 0)
        return res;
    relais__pause_set__init(&set);
    set.group = (char *)(uintptr_t)p->group;
    set.pause = p->pause;
    res = call_start(c, &call, FRAME_PauseSet, &set.base, NULL, 0, e);
    if (res == 0) {
        res = call_wait(&call, e);
        if (res == 0)
            (void)printf("%s: %s; %s to ship\n", p->group,
                         p->pause ? "paused until relais resume, also over restarts; cuts go on"
                                  : "resumed",
                         units_size(lag, call.reply.pause_state->lag_bytes));
        call_end(&call);
    }
    caller_free(c);
    return res;
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
        p.control = config->control;
        res = client_run(ask, &p, e);
        if (res != 0)
            res = err_prefix(e, "%s %s", name, p.group);
    }
    config_free(config);
    return res;
}
