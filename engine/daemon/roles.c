/* Roles come up by themselves: what a person can mend without touching the configuration (a full
 * disk, a Ceph that is down) is tried again, anything else ends a daemon that has no other role. */
#include "daemon.h"

#include "export.h"
#include "handover.h"
#include "log.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

/* A part on its way over a thin link, the commits that were asked for. */
#define HUB_DRAIN_NS (10 * IO_S)
#define RETRY_MIN    IO_S
#define RETRY_MAX    (30 * IO_S)

/* Logs the error when it is news and keeps it for the status. Waits before the next attempt; false
 * when cancelled. */
static bool wait_to_retry(struct daemon *d, const char *role, char known[ERR_TEXT_MAX],
                          const struct err *e, uint64_t *backoff)
{
    char text[UNITS_TEXT];
    if (d->stopping)
        return false;
    if (strcmp(known, e->text) != 0) {
        (void)snprintf(known, ERR_TEXT_MAX, "%s", e->text);
        log_error("%s: %s; trying again, at least every %s", role, e->text,
                  units_duration(text, RETRY_MAX));
    }
    fiber_wake_all(&d->changed);
    if (fiber_sleep(*backoff) != 0)
        return false;
    *backoff = *backoff * 2 < RETRY_MAX ? *backoff * 2 : RETRY_MAX;
    return true;
}

static bool may_pass(enum err_code code)
{
    return code == ERR_IO || code == ERR_SPACE || code == ERR_AGAIN || code == ERR_NET ||
           code == ERR_OS || code == ERR_NOENT;
}

/* Logs and keeps the failure of the site. Whether to try again, after a while. */
static bool site_again(struct daemon *d, const struct err *e, uint64_t *backoff)
{
    if (e->code == ERR_CANCELED)
        return false;
    /* A hub goes on serving the others, and this site its guests, while a person looks at its
     * state.
     */
    if (!may_pass(e->code) && !d->config->has_hub && !(d->serving && site_serves(d->serving))) {
        daemon_stop(d, e);
        return false;
    }
    return wait_to_retry(d, "site", d->site_error, e, backoff);
}

void roles_start_site(void *arg)
{
    struct daemon *d = arg;
    const struct site_keys keys = {d->sign_key, d->hash_key, d->tls};
    struct export_keeper keeper = handover_keeper(d->handover);
    uint64_t backoff = RETRY_MIN;
    struct err e = ERR_INIT;
    while (site_open(&d->serving, d->config, &keys, &keeper, &e) != 0) {
        if (!site_again(d, &e, &backoff))
            return;
        e = (struct err)ERR_INIT;
    }
    handover_rest(d->handover);
    backoff = RETRY_MIN;
    while (site_start(d->serving, &e) != 0) {
        if (!site_again(d, &e, &backoff))
            return;
        e = (struct err)ERR_INIT;
    }
    d->site = d->serving;
    d->site_error[0] = '\0';
    log_notice("site %s: %u group%s, shipping to %s", d->config->name, d->config->group_count,
               d->config->group_count == 1 ? "" : "s", d->config->hub);
    fiber_wake_all(&d->changed);
}

static int open_store(struct daemon *d, struct err *e)
{
    const struct config *c = d->config;
    if (strncmp(c->store, "dir:", 4) == 0)
        return store_dir_open(&d->store, c->store + 4, e);
    return store_rados_open(&d->store, c->ceph_conf, c->ceph_user, c->ceph_keyring,
                            c->store + strlen("rados:"), e);
}

void roles_start_hub(void *arg)
{
    struct daemon *d = arg;
    uint64_t backoff = RETRY_MIN;
    struct err e = ERR_INIT;
    struct hub *hub = NULL;
    while (open_store(d, &e) != 0) {
        if (e.code == ERR_CANCELED)
            return;
        (void)err_prefix(&e, "store %s", d->config->store);
        if (!wait_to_retry(d, "hub", d->hub_error, &e, &backoff))
            return;
        e = (struct err)ERR_INIT;
    }
    if (hub_start(&hub, d->config, d->store, d->tls, &e) != 0) {
        /* The address is taken or not ours: the configuration is wrong, or another hub runs. */
        if (e.code != ERR_CANCELED)
            daemon_stop(d, &e);
        return;
    }
    d->hub = hub;
    d->hub_error[0] = '\0';
    fiber_wake_all(&d->changed);
}

void roles_stop(struct daemon *d)
{
    /* Connections to the hub are left in good order, while the site's guests are still served. */
    if (d->hub)
        hub_drain(d->hub, HUB_DRAIN_NS);
    /* The site first: it ships to the hub, perhaps to ours. */
    d->site = NULL;
    if (d->serving)
        site_stop(d->serving);
    d->serving = NULL;
    if (d->hub)
        hub_stop(d->hub);
    d->hub = NULL;
    if (d->store)
        d->store->ops->close(d->store);
    d->store = NULL;
}
