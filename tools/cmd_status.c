/* relais status: how replication stands, as the local daemon knows it. */
#include "client.h"
#include "command.h"
#include "health.h"
#include "status_view.h"

#include <string.h>

struct asked {
    bool json;
    enum health health;
};

static int tell(void *arg, const struct message *reply, struct err *e)
{
    struct asked *a = arg;
    int64_t now = io_wall(fiber_io());
    a->health = health_status(reply->status, now);
    return a->json ? status_print_json(reply->status, now, e) : status_print(reply->status, now, e);
}

int cmd_status(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"territory", no_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    struct asked a = {.health = HEALTH_UNKNOWN};
    Relais__StatusGet get;
    struct config *config = NULL;
    int c, res;
    relais__status_get__init(&get);
    while ((c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        if (c == 't')
            get.territory = true;
        else
            a.json = true;
    }
    if (optind < argc)
        return command_misuse("status", e, "\"%.40s\" is one argument too many", argv[optind]);
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    res = client_ask_alone(
        config->control,
        &(struct client_request){FRAME_StatusGet, FRAME_Status, &get.base, tell, &a}, e);
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
