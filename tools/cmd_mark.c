/* relais mark: a recovery point now, with a label. relais drain: one now, and all that the hub
 * lacks. */
#include "client.h"
#include "command.h"
#include "progress.h"
#include "units.h"

#include <string.h>

struct mark {
    const char *control, *group, *label;
    bool wait, drain;
    struct caller *caller;
    struct progress progress;
};

static void show(struct mark *m, const Relais__GroupStatus *g)
{
    char text[160], lag[UNITS_TEXT];
    if (g->scan_total > 0 && g->scan_done < g->scan_total) {
        progress_update(&m->progress, g->scan_done, g->scan_total, true);
        return;
    }
    (void)snprintf(text, sizeof text, "%.40s%s%s%s", g->state, g->lag_bytes ? ", " : "",
                   g->lag_bytes ? units_size(lag, g->lag_bytes) : "",
                   g->lag_bytes ? " to ship" : "");
    progress_say(&m->progress, text);
}

/* Asks for the group's state beside the mark, on the same connection, until cancelled. */
static void watch(void *arg)
{
    struct mark *m = arg;
    Relais__StatusGet get;
    relais__status_get__init(&get);
    while (fiber_sleep(IO_S / 2) == 0) {
        struct call call = {.expect = FRAME_Status};
        struct err e = ERR_INIT;
        int res = call_start(m->caller, &call, FRAME_StatusGet, &get.base, NULL, 0, &e);
        if (res != 0)
            return;
        res = call_wait(&call, &e);
        for (size_t i = 0; res == 0 && i < call.reply.status->n_groups; i++)
            if (strcmp(call.reply.status->groups[i]->group, m->group) == 0)
                show(m, call.reply.status->groups[i]);
        call_end(&call);
        if (res != 0)
            return;
    }
}

static int wait_marked(struct mark *m, struct err *e)
{
    struct call call = {.expect = FRAME_Marked};
    Relais__MarkSet set;
    struct fiber *watcher;
    int res;
    relais__mark_set__init(&set);
    set.group = (char *)(uintptr_t)m->group;
    set.label = (char *)(uintptr_t)m->label;
    set.wait = m->wait;
    set.drain = m->drain;
    res = call_start(m->caller, &call, FRAME_MarkSet, &set.base, NULL, 0, e);
    if (res != 0)
        return res;
    progress_start(&m->progress, m->group);
    watcher = fiber_spawn(fiber_io(), "mark-watch", watch, m);
    res = call_wait(&call, e);
    fiber_cancel(watcher);
    fiber_join(watcher);
    progress_end(&m->progress);
    if (res == 0)
        (void)printf("%s: recovery point %llu %s%s%s%s\n", m->group,
                     (unsigned long long)call.reply.marked->rp,
                     call.reply.marked->committed ? "committed by the hub" : "sealed",
                     *m->label ? " (" : "", m->label, *m->label ? ")" : "");
    call_end(&call);
    return res;
}

static int mark(void *arg, struct err *e)
{
    struct mark *m = arg;
    int res = client_control(&m->caller, m->control, e);
    if (res != 0)
        return res;
    res = wait_marked(m, e);
    caller_free(m->caller);
    if (res == -ERR_CANCELED)
        return err_set(e, ERR_CANCELED,
                       m->drain ? "drain %s: interrupted; rates and pauses hold again"
                                : "mark %s: interrupted; the cut that was asked for takes place "
                                  "all the same",
                       m->group);
    return res != 0 ? err_prefix(e, m->drain ? "drain %s" : "mark %s", m->group) : 0;
}

static int run(struct mark *m, const char *name, struct command_context *ctx, struct err *e)
{
    struct config *config = NULL;
    int res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    if (!config_group(config, m->group)) {
        res = err_set(e, ERR_NOENT, "%s: there is no [group %.48s] in %s", name, m->group,
                      config->file);
    } else {
        m->control = config->control;
        res = client_run(mark, m, e);
    }
    config_free(config);
    return res;
}

int cmd_mark(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"label", required_argument, NULL, 'l'},
                                            {"wait", no_argument, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    struct mark m = {.label = ""};
    int c;
    while ((c = command_option(ctx, argc, argv, "l:w", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        if (c == 'l')
            m.label = optarg;
        else
            m.wait = true;
    }
    if (argc - optind != 1)
        return command_misuse("mark", e, "one GROUP is needed");
    m.group = argv[optind];
    if (strlen(m.label) > LABEL_MAX_LEN)
        return command_misuse("mark", e, "the label is %zu bytes long; at most %u are allowed",
                              strlen(m.label), LABEL_MAX_LEN);
    return run(&m, "mark", ctx, e);
}

int cmd_drain(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    struct mark m = {.label = "", .wait = true, .drain = true};
    if (command_option(ctx, argc, argv, "", options, e) != -1)
        return -(int)e->code;
    if (argc - optind != 1)
        return command_misuse("drain", e, "one GROUP is needed");
    m.group = argv[optind];
    return run(&m, "drain", ctx, e);
}
