/* towns_proc.c: the daemons, started as the real one starts them, but for the files of keys. */
#include "err.h"
#include "footprint.h"
#include "hub.h"
#include "memory.h"
#include "pins.h"
#include "store.h"
#include "towns.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void tell(void *arg, int line, const char *text)
{
    struct place *p = arg;
    world_trace(p->t->w, "%s: configuration line %d: %s", p->name, line, text);
}

struct daemon {
    struct place *place;
    struct proc *proc;
    struct config *config;
    struct tls *tls;
};

/* The judge's sizes of the volumes, the engine's sum: it must hold for both. */
static uint64_t memory_max(const struct daemon *d)
{
    uint64_t sizes[TOWNS_GROUPS * CHECK_VOLUMES] = {0};
    struct footprint f;
    unsigned n = 0;
    for (unsigned g = 0; g < d->place->group_count; g++)
        for (unsigned v = 0; v < d->place->groups[g].volume_count; v++)
            sizes[n++] = d->place->groups[g].volumes[v].size;
    footprint_of(d->config, 2, sizes, &f);
    return f.total + f.dirty_max;
}

/* What cannot fail in a simulated world: a failure is the judge's own. */
static void daemon_init(struct daemon *d, struct place *place, struct proc *proc)
{
    struct err e = ERR_INIT;
    struct pins pins = {0};
    *d = (struct daemon){.place = place, .proc = proc};
    if (config_parse(&d->config, place->name, place->config_text, strlen(place->config_text), tell,
                     place, &e))
        err_panic(__FILE__, __LINE__, e.text);
    for (unsigned i = 0; i < d->config->peer_count; i++)
        ASSERT(pins_add(&pins, d->config, &d->config->peers[i], &e) == 0);
    if (tls_new(&d->tls, place->link, pins.peers, pins.count, &e))
        err_panic(__FILE__, __LINE__, e.text);
    node_set_memory(fiber_io(), memory_max(d));
    pins_free(&pins);
}

static void daemon_free(struct daemon *d)
{
    tls_free(d->tls);
    config_free(d->config);
}

/* A start that failed: a supervisor starts it again. False when the process is to end. */
static bool again(struct daemon *d, const char *what, const struct err *e)
{
    struct world *w = d->place->t->w;
    world_trace(w, "%s: %s: %.120s", d->place->name, what, e->text);
    if (proc_stopping(d->proc) || w->failed)
        return false;
    if (e->code != ERR_IO && e->code != ERR_SPACE && e->code != ERR_AGAIN && e->code != ERR_OS &&
        e->code != ERR_NET && e->code != ERR_CANCELED)
        world_fail(w, "%s: %s: %s", d->place->name, what, e->text);
    proc_wait(d->proc, 2 * IO_S);
    return !proc_stopping(d->proc) && !w->failed;
}

void towns_hub_main(void *arg, struct proc *p)
{
    struct daemon d;
    struct store *store = NULL;
    struct hub *hub = NULL;
    struct err e = ERR_INIT;
    daemon_init(&d, arg, p);
    if (d.place->t->pool)
        store = pool_open(d.place->t->pool);
    while (!store && store_dir_open(&store, STORE_ROOT, &e) && again(&d, "opening the store", &e))
        ;
    while (store && hub_start(&hub, d.config, store, d.tls, &e) && again(&d, "starting", &e))
        ;
    if (hub) {
        proc_wait(p, UINT64_MAX / 2);
        hub_stop(hub);
    }
    if (store)
        store->ops->close(store);
    daemon_free(&d);
}

/* Marks now and then, as an operator would; at the end, until the last state is at the hub. */
struct operator
{
    struct daemon *d;
    struct site *site;
};

/* The end of a mark that waits: committed, and now and then ahead of pauses and rates. */
static enum site_mark_end end_of(struct rng *r, bool wait)
{
    if (!wait)
        return SITE_SEALED;
    return rng_chance(r, 250000) ? SITE_DRAINED : SITE_COMMITTED;
}

static void mark(struct operator* o, struct place_group *g, bool wait)
{
    struct world *w = o->d->place->t->w;
    struct err e = ERR_INIT;
    uint64_t rp = 0;
    unsigned was = memory_enter(MEMORY_NOBODY); /* what the judge remembers */
    bool committed = false, finale = o->d->place->t->finale;
    uint64_t least = g->scans ? g->cut + g->changed : 0, asked = check_asked(g->check);
    int rc;
    (void)memory_enter(was);
    rc = site_mark(o->site, g->name, finale ? "last" : "", end_of(&o->d->place->t->w->rng, wait),
                   &rp, &committed, &e);
    if (node_is_dead(fiber_io()))
        return;
    if (rc) {
        world_trace(w, "%s: marking %s: %.120s", o->d->place->name, g->name, e.text);
        return;
    }
    world_trace(w, "%s: marked %s: RP %" PRIu64 "%s", o->d->place->name, g->name, rp,
                committed ? ", committed" : "");
    was = memory_enter(MEMORY_NOBODY);
    if (committed)
        check_marked(g->check, rp, least, asked);
    (void)memory_enter(was);
    if (wait && !committed)
        world_fail(w, "%s: marking %s waited and returned without a commit", o->d->place->name,
                   g->name);
    g->finished = g->finished || (finale && wait && committed);
}

static void pause(struct operator* o, struct place_group *g, bool yes)
{
    struct world *w = o->d->place->t->w;
    struct err e = ERR_INIT;
    uint64_t lag;
    int rc = site_pause(o->site, g->name, yes, &lag, &e);
    if (yes || rc == 0)
        g->paused = yes;
    if (rc == 0 && !node_is_dead(fiber_io()))
        world_trace(w, "%s: %s %s", o->d->place->name, yes ? "pauses" : "resumes", g->name);
}

static void rotate(struct operator* o, const struct place_group *g)
{
    struct err e = ERR_INIT;
    unsigned count;
    if (site_rotate(o->site, g->name, &count, &e))
        world_fail(o->d->place->t->w, "%s: %s", g->name, e.text);
    o->d->place->t->w->did[DEED_ROTATE]++;
}

/* Somebody made a volume larger, and says so. */
static void resize(struct operator* o, struct place_group *g, unsigned volume)
{
    struct place *p = o->d->place;
    struct err e = ERR_INIT;
    Relais__Resized done;
    uint64_t size = g->volumes[volume].size;
    int rc = site_resize(o->site, g->name, g->volumes[volume].name, &done, &e);
    if (node_is_dead(fiber_io()))
        return;
    if (rc)
        world_trace(p->t->w, "%s: resizing: %.120s", p->name, e.text);
    else if (done.size < size)
        world_fail(p->t->w, "%s/%s: resized to %" PRIu64 " bytes, yet the volume had %" PRIu64,
                   p->name, g->name, done.size, size);
    else
        g->volumes[volume].told = size;
}

static void resize_all(struct operator* o)
{
    for (unsigned i = 0; i < o->d->place->group_count; i++)
        for (unsigned v = 0; v < o->d->place->groups[i].volume_count; v++)
            if (o->d->place->groups[i].volumes[v].captured)
                resize(o, &o->d->place->groups[i], v);
}

static void operate(void *arg)
{
    struct operator* o = arg;
    struct place *p = o->d->place;
    struct rng *r = &p->t->w->rng;
    while (!fiber_cancelled() && !node_is_dead(fiber_io()) && !p->t->w->failed) {
        struct place_group *g = &p->groups[rng_below(r, p->group_count)];
        if (p->t->finale) {
            resize_all(o);
            for (unsigned i = 0; i < p->group_count; i++)
                if (!p->groups[i].finished)
                    mark(o, &p->groups[i], true);
        } else if (rng_chance(r, 300000)) {
            mark(o, g, rng_chance(r, 500000));
        } else if (rng_chance(r, 150000)) {
            pause(o, g, rng_chance(r, 500000));
        } else if (rng_chance(r, 100000)) {
            rotate(o, g);
        } else if (rng_chance(r, 80000)) {
            towns_grant(p, g, o->d->tls);
        } else if (rng_chance(r, 150000)) {
            unsigned volume = (unsigned)rng_below(r, g->volume_count), was;
            was = memory_enter(MEMORY_NOBODY);
            towns_grow(p->t, p, g, volume);
            (void)memory_enter(was);
            resize(o, g, volume);
        }
        (void)fiber_sleep(rng_skewed(r, IO_S, 20 * IO_S) * (p->t->night ? 10 : 1));
    }
}

static void note_group(struct place *p, struct place_group *g, const Relais__GroupStatus *s)
{
    check_acked(g->check, s->committed_rp);
    p->t->w->did[DEED_OVER] += strcmp(s->state, "spool-full") == 0 && !g->over;
    g->over = strcmp(s->state, "spool-full") == 0;
    /* Of a group that is frozen the freeze is told; of others this is what shows. */
    if (!g->scans && s->sealed_rp != g->sealed)
        p->t->cuts++;
    g->sealed = s->sealed_rp;
}

/* What the site has been told is committed must never be missing from here on. */
static void overhear(struct operator* o)
{
    struct place *p = o->d->place;
    Relais__Status s;
    relais__status__init(&s);
    site_status(o->site, &s);
    for (size_t i = 0; i < s.n_groups; i++) {
        const Relais__GroupStatus *g = s.groups[i];
        if (p->t->late)
            world_trace(p->t->w,
                        "%s/%s: %s, sealed RP %" PRIu64 ", committed RP %" PRIu64 ", error '%s', "
                        "link '%s'",
                        p->name, g->group, g->state, g->sealed_rp, g->committed_rp, g->error,
                        s.link_error);
        for (unsigned n = 0; n < p->group_count; n++)
            if (strcmp(g->group, p->groups[n].name) == 0)
                note_group(p, &p->groups[n], g);
    }
}

static void overhear_always(void *arg)
{
    struct operator* o = arg;
    struct towns *t = o->d->place->t;
    while (!fiber_cancelled() && !node_is_dead(fiber_io()) && !t->w->failed) {
        overhear(o);
        /* Not the operator's: it may wait for what is paused. */
        for (unsigned i = 0; t->finale && i < o->d->place->group_count; i++)
            if (o->d->place->groups[i].paused)
                pause(o, &o->d->place->groups[i], false);
        (void)fiber_sleep(rng_between(&t->w->rng, 5 * IO_MS, 100 * IO_MS) * (t->night ? 40 : 1));
    }
}

void towns_site_main(void *arg, struct proc *p)
{
    struct place *place = arg;
    struct daemon d;
    struct site_keys keys = {.sign = place->sign, .hash = place->hash};
    struct operator o = {.d = &d};
    bool up = false;
    struct fiber *operator, * listener;
    struct err e = ERR_INIT;
    daemon_init(&d, place, p);
    keys.tls = d.tls;
    while (site_open(&o.site, d.config, &keys, NULL, &e) && again(&d, "opening", &e))
        ;
    while (o.site && !(up = site_start(o.site, &e) == 0) && again(&d, "starting", &e))
        ;
    if (o.site && !up)
        site_stop(o.site);
    if (up) {
        if (!proc_stopping(p))
            place->site = o.site;
        operator= fiber_spawn(fiber_io(), "operator", operate, &o);
        listener = fiber_spawn(fiber_io(), "listener", overhear_always, &o);
        proc_wait(p, UINT64_MAX / 2);
        if (place->site == o.site)
            place->site = NULL;
        fiber_cancel(operator);
        fiber_join(operator);
        fiber_cancel(listener);
        fiber_join(listener);
        site_stop(o.site);
    }
    daemon_free(&d);
}
