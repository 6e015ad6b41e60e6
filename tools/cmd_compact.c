/* relais compact: a pass over what the hub stores, now. */
#include "client.h"
#include "command.h"
#include "units.h"

#define POLL (200 * IO_MS)

struct asking {
    const char *control;
    bool wait, over;
    uint64_t pass;
};

static void print(const Relais__Compacted *c)
{
    char in[UNITS_TEXT], out[UNITS_TEXT];
    (void)printf("%llu deltas of %s became %llu of %s; %llu objects that nothing referred to were "
                 "removed\n",
                 (unsigned long long)c->deltas_in, units_size(in, c->bytes_in),
                 (unsigned long long)c->deltas_out, units_size(out, c->bytes_out),
                 (unsigned long long)c->orphans);
    if (c->waiting > 0)
        (void)printf("%llu more runs wait for their sites, which have to sign\n",
                     (unsigned long long)c->waiting);
}

static int take(void *arg, const struct message *reply, struct err *e)
{
    struct asking *a = arg;
    const Relais__Compacted *c = reply->compacted;
    a->pass = c->pass;
    a->over = c->over;
    if (!a->over)
        return 0;
    print(c);
    return c->error[0] ? err_set(e, ERR_AGAIN, "the next pass tries again: %.400s", c->error) : 0;
}

static int ask(void *arg, struct err *e)
{
    struct asking *a = arg;
    Relais__Compact m;
    struct client_request r = {FRAME_Compact, FRAME_Compacted, &m.base, take, a};
    int res;
    relais__compact__init(&m);
    res = client_ask(a->control, &r, e);
    while (res == 0 && a->wait && !a->over) {
        if (fiber_sleep(POLL) < 0)
            return err_set(e, ERR_CANCELED, "the pass goes on at the hub");
        m.pass = a->pass;
        res = client_ask(a->control, &r, e);
    }
    return res;
}

int cmd_compact(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"wait", no_argument, NULL, 'w'}, {NULL, 0, NULL, 0}};
    struct config *config = NULL;
    struct asking a = {0};
    int c, res;
    while ((c = command_option(ctx, argc, argv, "w", options, e)) != -1) {
        if (c != 'w')
            return -(int)e->code;
        a.wait = true;
    }
    if (argc != optind)
        return command_misuse("compact", e, "no argument but --wait");
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    a.control = config->control;
    res = client_run(ask, &a, e);
    if (res == 0 && !a.wait)
        (void)printf("a pass was asked for\n");
    config_free(config);
    return res != 0 ? err_prefix(e, "compact") : 0;
}
