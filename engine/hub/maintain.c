/* The fiber that compacts. One hub at a time does, under a lease; a pass goes over all groups of
 * all sites that sign, and what fails in one is told and does not stop the others. */
#include "maintain.h"

#include "log.h"
#include "verdict.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_RETRY (5 * IO_S)

struct maintenance {
    struct hub *hub;
    struct fiber *fiber;
    struct lease lease;
    uint64_t asked, begun, ended; /* passes */
    struct fiber_cond wake;
    struct compact_sums sums, last; /* of the pass under way; of the last one */
    struct err failed, error;       /* likewise: the last of them */
};

static bool stays(void *arg, uint64_t rp)
{
    return verdict_stays(arg, rp);
}

static int compact(struct maintenance *m, const char *site, const char *group, struct err *e)
{
    struct hub *h = m->hub;
    struct verdict v;
    bool changed;
    uint64_t generation = 0;
    int rc = verdict_note_rules(h->store, h->config, site, group, &changed, e);
    if (rc == 0)
        rc = h->store->ops->generation(h->store, site, group, &generation, e);
    if (rc < 0)
        return rc;
    rc = verdict_make(&v, h->store, h->config, site, group, 0, e);
    if (rc < 0)
        return rc;
    rc = compact_group(h, site, group, generation, stays, &v, &m->sums, e);
    verdict_free(&v);
    return rc;
}

static int maintain_group(struct maintenance *m, const char *site, const char *group, struct err *e)
{
    struct hub *h = m->hub;
    int rc = lease_hold(&m->lease, e);
    if (rc < 0)
        return rc;
    rc = compact(m, site, group, e);
    if (rc == -ERR_CANCELED || rc == -ERR_CONFLICT)
        return rc;
    /* A delta that is damaged for good leaves something behind in every pass. */
    struct err why = ERR_INIT;
    int orphans = orphans_remove(h, site, group, &m->sums.orphans, &why);
    if (rc == 0 && orphans < 0) {
        *e = why;
        rc = orphans;
    }
    return rc;
}

static void note(struct maintenance *m, const struct err *e)
{
    if (e->code != ERR_CANCELED)
        log_warn("hub: maintenance: %s", e->text);
    m->failed = *e;
}

static void maintain_site(struct maintenance *m, const char *site)
{
    struct store *store = m->hub->store;
    struct store_names names = {0};
    struct err e = ERR_INIT;
    int rc = store->ops->groups(store, site, &names, &e);
    if (rc < 0)
        note(m, &e);
    for (uint32_t i = 0; i < names.count && !fiber_cancelled(); i++) {
        e = (struct err)ERR_INIT;
        if (maintain_group(m, site, names.names[i], &e) < 0)
            note(m, &e);
    }
    free(names.names);
}

/* By name, for peers may come and go meanwhile. */
static void pass(struct maintenance *m)
{
    const struct hub *h = m->hub;
    unsigned count = h->peer_count;
    char(*names)[NAME_MAX_LEN + 1] = err_calloc(count + 1u, sizeof *names);
    for (unsigned i = 0; i < count; i++)
        if (h->peers[i]->sign.kind == KEY_SIGN)
            (void)snprintf(names[i], sizeof names[i], "%s", h->peers[i]->config.name);
    for (unsigned i = 0; i < count && !fiber_cancelled(); i++)
        if (names[i][0])
            maintain_site(m, names[i]);
    free(names);
}

/* Waits for the time, or for somebody who asks. False: the hub stops. */
static bool wait_turn(struct maintenance *m, uint64_t ns)
{
    int res = m->asked > m->begun ? 0 : fiber_wait(&m->wake, ns);
    return res != -ECANCELED && !fiber_cancelled();
}

static void maintain_main(void *arg)
{
    struct maintenance *m = arg;
    uint64_t every = m->hub->config->compact_interval;
    if (every == 0)
        every = FIBER_FOREVER;
    while (wait_turn(m, every)) {
        struct err e = ERR_INIT;
        uint64_t asked = m->asked;
        int rc;
        while ((rc = lease_take(&m->lease, &e)) == -ERR_AGAIN && fiber_sleep(LEASE_RETRY) == 0)
            e = (struct err)ERR_INIT;
        m->begun = asked;
        m->sums = (struct compact_sums){0};
        m->failed = (struct err)ERR_INIT;
        if (rc == 0)
            pass(m);
        else
            note(m, &e);
        lease_release(&m->lease);
        m->last = m->sums;
        m->error = m->failed;
        m->ended = asked;
    }
}

void maintain_start(struct hub *h)
{
    struct maintenance *m = err_calloc(1, sizeof *m);
    m->hub = h;
    m->error = m->failed = (struct err)ERR_INIT;
    lease_init(&m->lease, h->store, "compaction", h->config->name);
    h->maintenance = m;
    m->fiber = fiber_spawn(h->io, "hub-maintain", maintain_main, m);
}

void maintain_stop(struct hub *h)
{
    struct maintenance *m = h->maintenance;
    if (!m)
        return;
    fiber_cancel(m->fiber);
    fiber_join(m->fiber);
    free(h->settled);
    free(m);
    h->maintenance = NULL;
}

int maintain_answer(struct hub *h, struct link *l, uint32_t id, const Relais__Compact *ask,
                    struct err *e)
{
    struct maintenance *m = h->maintenance;
    char text[ERR_TEXT_MAX];
    Relais__Compacted out;
    relais__compacted__init(&out);
    out.pass = ask->pass == 0 ? ++m->asked : ask->pass;
    if (ask->pass == 0)
        fiber_wake_all(&m->wake);
    out.over = m->ended >= out.pass;
    if (out.over) {
        out.deltas_in = m->last.deltas_in;
        out.deltas_out = m->last.deltas_out;
        out.bytes_in = m->last.bytes_in;
        out.bytes_out = m->last.bytes_out;
        out.orphans = m->last.orphans;
        out.waiting = m->last.waiting;
        message_text(text, sizeof text, m->error.text);
        out.error = text;
    }
    return link_send(l, FRAME_Compacted, id, &out.base, NULL, 0, e);
}
