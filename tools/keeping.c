#include "keeping.h"

#include <stdlib.h>
#include <string.h>

int keeping_prepare(struct keeping *k, struct command_context *ctx, struct err *e)
{
    *k = (struct keeping){.config = NULL};
    int res = command_config(&k->config, ctx, e);
    if (res == 0 && !k->config->has_hub)
        res = client_hub_open(&k->hub, k->config, e);
    return res;
}

void keeping_close(struct keeping *k)
{
    client_hub_close(&k->hub);
    config_free(k->config);
    k->config = NULL;
}

int keeping_connect(struct keeping *k, struct err *e)
{
    return k->config->has_hub ? client_control(&k->caller, k->config->control, e)
                              : client_hub_connect(&k->caller, &k->hub, e);
}

void keeping_disconnect(struct keeping *k)
{
    if (k->caller)
        caller_free(k->caller);
    k->caller = NULL;
}

int keeping_ask(struct keeping *k, struct call *call, uint8_t type, uint8_t expect,
                const ProtobufCMessage *message, struct err *e)
{
    *call = (struct call){.expect = expect};
    int res = call_start(k->caller, call, type, message, NULL, 0, e);
    if (res == 0 && (res = call_wait(call, e)) != 0)
        call_end(call);
    return res;
}

static int take(struct keeping_group **out, size_t *count, Relais__HubGroup *const *rows, size_t n,
                const char *site, const char *group, struct err *e)
{
    *count = 0;
    *out = err_calloc(n + 1, sizeof **out);
    for (size_t i = 0; i < n; i++) {
        struct keeping_group *g = &(*out)[*count];
        if ((site && strcmp(site, rows[i]->site) != 0) ||
            (group && strcmp(group, rows[i]->group) != 0))
            continue;
        (void)snprintf(g->site, sizeof g->site, "%s", rows[i]->site);
        (void)snprintf(g->group, sizeof g->group, "%s", rows[i]->group);
        ++*count;
    }
    if (*count > 0)
        return 0;
    free(*out);
    *out = NULL;
    return err_set(e, ERR_NOENT, "the hub has no such group");
}

int keeping_groups(struct keeping *k, const char *site, const char *group,
                   struct keeping_group **out, size_t *count, struct err *e)
{
    Relais__StatusGet status = RELAIS__STATUS_GET__INIT;
    Relais__TerritoryGet territory = RELAIS__TERRITORY_GET__INIT;
    struct call call;
    bool hub = k->config->has_hub;
    /* What another lets us read is not listed to us: it is asked for by name. */
    if (!hub && site && group && strcmp(site, k->config->name) != 0) {
        *out = err_calloc(1, sizeof **out);
        *count = 1;
        (void)snprintf((*out)->site, sizeof(*out)->site, "%s", site);
        (void)snprintf((*out)->group, sizeof(*out)->group, "%s", group);
        return 0;
    }
    status.territory = true;
    int res = hub ? keeping_ask(k, &call, FRAME_StatusGet, FRAME_Status, &status.base, e)
                  : keeping_ask(k, &call, FRAME_TerritoryGet, FRAME_Territory, &territory.base, e);
    if (res != 0)
        return res;
    const Relais__Status *st = call.reply.status;
    const Relais__Territory *t = call.reply.territory;
    res = take(out, count, hub ? st->hub_groups : t->groups, hub ? st->n_hub_groups : t->n_groups,
               site, group, e);
    call_end(&call);
    return res;
}
