/* relais rate: how fast the site ships. */
#include "client.h"
#include "command.h"
#include "units.h"

static int tell(void *arg, const struct message *reply, struct err *e)
{
    const Relais__RateState *s = reply->rate_state;
    char rate[UNITS_TEXT], until[UNITS_TEXT];
    (void)arg;
    (void)e;
    (void)printf("%s", s->rate > 0 ? units_bitrate(rate, (double)s->rate) : "no limit");
    if (s->by_hand)
        (void)printf(", set by hand: until relaisd starts again, or relais rate schedule\n");
    else if (*s->rule)
        (void)printf(", by the rule \"%s\"", s->rule);
    else
        (void)printf(", no rule of the configuration holds now");
    if (!s->by_hand)
        (void)printf("%s%s\n", s->until ? "; changes at " : "",
                     s->until ? units_time(until, s->until) : "");
    return 0;
}

int cmd_rate(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    Relais__RateSet set;
    struct config *config = NULL;
    int res;
    if (command_option(ctx, argc, argv, "", options, e) != -1)
        return -(int)e->code;
    if (argc - optind > 1)
        return command_misuse("rate", e, "\"%.40s\" is one argument too many", argv[optind + 1]);
    relais__rate_set__init(&set);
    if (optind < argc)
        set.rate = argv[optind];
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    res = client_ask_alone(
        config->control,
        &(struct client_request){FRAME_RateSet, FRAME_RateState, &set.base, tell, NULL}, e);
    config_free(config);
    return res != 0 ? err_prefix(e, "rate") : 0;
}
