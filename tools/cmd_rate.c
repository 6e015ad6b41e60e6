/* relais rate: how fast the site ships. */
#include "client.h"
#include "command.h"
#include "units.h"

struct rate {
    const char *control, *rate;
};

static void print(const Relais__RateState *s)
{
    char rate[UNITS_TEXT], until[UNITS_TEXT];
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
}

static int ask(void *arg, struct err *e)
{
    struct rate *r = arg;
    struct caller *c = NULL;
    struct call call = {.expect = FRAME_RateState};
    Relais__RateSet set;
    int res = client_control(&c, r->control, e);
    if (res != 0)
        return res;
    relais__rate_set__init(&set);
    set.rate = (char *)(uintptr_t)r->rate;
    res = call_start(c, &call, FRAME_RateSet, &set.base, NULL, 0, e);
    if (res == 0) {
        res = call_wait(&call, e);
        if (res == 0)
            print(call.reply.rate_state);
        call_end(&call);
    }
    caller_free(c);
    return res;
}

int cmd_rate(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    struct rate r = {.rate = ""};
    struct config *config = NULL;
    int res;
    if (command_option(ctx, argc, argv, "", options, e) != -1)
        return -(int)e->code;
    if (argc - optind > 1)
        return command_misuse("rate", e, "\"%.40s\" is one argument too many", argv[optind + 1]);
    if (optind < argc)
        r.rate = argv[optind];
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    r.control = config->control;
    res = client_run(ask, &r, e);
    config_free(config);
    return res != 0 ? err_prefix(e, "rate") : 0;
}
