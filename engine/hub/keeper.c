#include "keeper.h"

#include "lease.h"
#include "log.h"
#include "session.h"
#include "units.h"
#include "usage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct keeper {
    struct hub *hub;
    struct fiber *fiber;
    struct fiber_cond woken;
    struct fiber_mutex turn;
    struct lease lease;
};

unsigned keeper_sites(const struct hub *h, char (**out)[NAME_MAX_LEN + 1])
{
    unsigned n = 0;
    *out = err_calloc(h->peer_count + 1, sizeof **out);
    for (unsigned i = 0; i < h->peer_count; i++)
        if (h->peers[i]->sign.kind == KEY_SIGN)
            memcpy((*out)[n++], h->peers[i]->config.name, NAME_MAX_LEN + 1);
    return n;
}

static void tell_rules(struct keeper *k, const char *site, const char *group)
{
    struct keep keep;
    uint64_t lock;
    char text[KEEP_TEXT], lock_text[UNITS_TEXT], subject[TRAIL_SUBJECT_MAX + 1];
    config_keep(k->hub->config, site, group, &keep, &lock);
    keep_text(text, &keep);
    if (lock > 0)
        units_duration(lock_text, lock);
    log_notice("hub: %s/%s: rules from now on: %s; lock %s", site, group, text,
               lock > 0 ? lock_text : "none");
    (void)snprintf(subject, sizeof subject, "%s/%s", site, group);
    audit_note(k->hub->audit, TRAIL_RETENTION, NULL, subject, ERR_OK, "rules: %.150s; lock %s",
               text, lock > 0 ? lock_text : "none");
}

static uint64_t going(const struct verdict *v)
{
    uint64_t n = 0;
    for (size_t i = 0; i < v->count; i++)
        n += v->why[i] == RETENTION_GOES;
    return n;
}

/* Has the turn and the lease. */
static int pass(struct keeper *k, const char *site, const char *group, struct verdict *out,
                struct err *e)
{
    struct hub *h = k->hub;
    bool changed = false;
    int rc = verdict_note_rules(h->store, h->config, site, group, &changed, e);
    if (rc == 0 && changed)
        tell_rules(k, site, group);
    if (rc == 0)
        rc = usage_record(h->usage, site, group, io_wall(h->io), e);
    if (rc == 0)
        rc = verdict_make(out, h->store, h->config, site, group, 0, e);
    if (rc == 0 && going(out) > 0)
        log_info("hub: %s/%s: %llu of %zu recovery points are kept by no rule any more", site,
                 group, (unsigned long long)going(out), out->count);
    return rc;
}

int keeper_group(struct keeper *k, const char *site, const char *group, struct verdict *out,
                 struct err *e)
{
    if (fiber_lock(&k->turn) != 0)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    bool mine = !k->lease.held; /* the round's otherwise, which goes on */
    int rc = mine ? lease_take(&k->lease, e) : lease_hold(&k->lease, e);
    if (rc == 0)
        rc = pass(k, site, group, out, e);
    if (mine)
        lease_release(&k->lease);
    fiber_unlock(&k->turn);
    return rc;
}

static int site_pass(struct keeper *k, const char *site, struct err *e)
{
    struct store_names names = {0};
    struct store *store = k->hub->store;
    struct usage_sum sum;
    int rc = store->ops->groups(store, site, &names, e);
    for (uint32_t i = 0; i < names.count && rc == 0; i++) {
        struct verdict v = {0};
        if (fiber_lock(&k->turn) != 0)
            rc = err_set(e, ERR_CANCELED, "the hub is stopping");
        if (rc < 0)
            break;
        rc = lease_hold(&k->lease, e);
        if (rc == 0 && pass(k, site, names.names[i], &v, e) < 0 && e->code != ERR_CANCELED)
            log_warn("hub: retention of %s/%s: %s", site, names.names[i], e->text);
        fiber_unlock(&k->turn);
        verdict_free(&v);
    }
    free(names.names);
    return rc == 0 ? usage_site(k->hub->usage, site, true, &sum, e) : rc;
}

static void all_sites(struct keeper *k)
{
    struct hub *h = k->hub;
    struct err e = ERR_INIT;
    if (fiber_lock(&k->turn) != 0)
        return;
    int rc = lease_take(&k->lease, &e);
    fiber_unlock(&k->turn);
    if (rc < 0) {
        if (e.code != ERR_AGAIN && e.code != ERR_CANCELED)
            log_warn("hub: retention: %s", e.text);
        return;
    }
    char(*sites)[NAME_MAX_LEN + 1];
    unsigned count = keeper_sites(h, &sites);
    for (unsigned i = 0; i < count && !fiber_cancelled(); i++)
        if (site_pass(k, sites[i], &e) < 0) {
            if (e.code != ERR_CANCELED)
                log_warn("hub: retention of %s: %s", sites[i], e.text);
            break;
        }
    free(sites);
    lease_release(&k->lease);
}

static void keeper_main(void *arg)
{
    struct keeper *k = arg;
    uint64_t wait = KEEPER_FIRST_NS;
    while (!fiber_cancelled()) {
        if (fiber_wait(&k->woken, wait) == -ECANCELED)
            break;
        all_sites(k);
        wait = KEEPER_PASS_NS;
    }
}

struct keeper *keeper_start(struct hub *h)
{
    struct keeper *k = err_calloc(1, sizeof *k);
    k->hub = h;
    lease_init(&k->lease, h->store, KEEPER_LEASE, h->config->name);
    k->fiber = fiber_spawn(h->io, "hub-keeper", keeper_main, k);
    return k;
}

void keeper_stop(struct keeper *k)
{
    if (!k)
        return;
    fiber_cancel(k->fiber);
    fiber_join(k->fiber);
    free(k);
}
