/* relais status: how replication stands, as the local daemon knows it. */
#include "client.h"
#include "command.h"
#include "health.h"
#include "status_view.h"

#include <string.h>

struct asked {
    const char *control;
    bool territory, json;
    enum health health;
};

static int ask(void *arg, struct err *e)
{
    struct asked *a = arg;
    struct caller *c = NULL;
    struct call call = {.expect = FRAME_Status};
    Relais__StatusGet get;
    int64_t now = io_wall(fiber_io());
    int res = client_control(&c, a->control, e);
    if (res != 0)
        return res;
    relais__status_get__init(&get);
    get.territory = a->territory;
    res = call_start(c, &call, FRAME_StatusGet, &get.base, NULL, 0, e);
    if (res == 0) {
        res = call_wait(&call, e);
        if (res == 0) {
            const Relais__Status *st = call.reply.status;
            a->health = health_status(st, now);
            res = a->json ? status_print_json(st, now, e) : status_print(st, now, e);
        }
        call_end(&call);
    }
    caller_free(c);
    return res;
}

int cmd_status(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"territory", no_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    struct asked a = {.health = HEALTH_UNKNOWN};
    struct config *config = NULL;
    int c, res;
    while ((c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        if (c == 't')
            a.territory = true;
        else
            a.json = true;
    }
    if (optind < argc)
        return command_misuse("status", e, "\"%.40s\" is one argument too many", argv[optind]);
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    a.control = config->control;
    res = client_run(ask, &a, e);
    config_free(config);
    if (res == 0)
        return (int)a.health;
    /* That the daemon does not answer is a finding, with a status of its own: a monitor tells it
     * from a wrong command line. */
    if (a.json)
        (void)puts("{\"health\": \"unknown\"}");
    (void)fprintf(stderr, "relais: status unknown: %s\n", e->text);
    return (int)HEALTH_UNKNOWN;
}
