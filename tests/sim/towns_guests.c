/* towns_guests.c: the guests of a site: connections to the exports of its captured volumes. */
#include "err.h"
#include "guest.h"
#include "towns.h"

#include <stdlib.h>
#include <string.h>

#define CONNECTIONS 3u /* to one volume, at most */
#define FIRST_OPS   12u

static uint64_t draw_size(struct rng *r)
{
    if (rng_chance(r, 500000))
        return 512 * rng_skewed(r, 16, 2048);
    return 512 * rng_between(r, 8192, 28672); /* a few regions, mostly holes */
}

void towns_make_captured(struct place *p, struct place_group *g, struct place_volume *v)
{
    struct rng *r = &p->t->w->rng;
    struct disk *d = node_disk(p->node);
    v->captured = true;
    v->size = draw_size(r);
    (void)snprintf(v->export_name, sizeof v->export_name, "%s/%s", g->name, v->name);
    v->max = v->size + 512 * rng_skewed(r, 0, 16384);
    v->told = v->size;
    v->number = ledger_add(g->ledger, v->name, v->max);
    check_add_captured(g->check, v->name, v->size, v->max, g->ledger);
    disk_poke(d, v->path, v->size - 1, "", 1);
    disk_set_steady(d, v->path);
}

void towns_fill_captured(struct place *p, struct place_group *g)
{
    struct rng *r = &p->t->w->rng;
    for (unsigned n = (unsigned)rng_below(r, FIRST_OPS); n > 0; n--) {
        const struct place_volume *v = &g->volumes[rng_below(r, g->volume_count)];
        uint64_t off, op;
        uint32_t len;
        uint8_t *buf;
        if (!v->captured)
            continue;
        off = rng_below(r, v->size / 512) * 512;
        len = (uint32_t)rng_skewed(r, 1, 1024) * 512;
        if (len > v->size - off)
            len = (uint32_t)(v->size - off);
        buf = err_malloc(len);
        op = ledger_issue(g->ledger, v->number, off, len, buf);
        disk_poke(node_disk(p->node), v->path, off, buf, len);
        ledger_ack(g->ledger, op, true);
        free(buf);
    }
}

void towns_guests_main(void *arg, struct proc *proc)
{
    struct place *p = arg;
    struct rng *r = &p->t->w->rng;
    struct guest guests[TOWNS_GROUPS * CHECK_VOLUMES * CONNECTIONS];
    struct fiber *fibers[sizeof guests / sizeof guests[0]];
    unsigned count = 0;
    bool careless = rng_chance(r, 250000); /* all of them, or one flush is everybody's */
    node_set_memory(fiber_io(), 0);        /* the judge's own */
    for (unsigned g = 0; g < p->group_count; g++)
        for (unsigned v = 0; v < p->groups[g].volume_count; v++)
            for (unsigned n = 1 + (unsigned)rng_below(r, CONNECTIONS);
                 p->groups[g].volumes[v].captured && n > 0; n--)
                guests[count++] =
                    (struct guest){.w = p->t->w,
                                   .ledger = p->groups[g].ledger,
                                   .name = p->name,
                                   .socket = TOWNS_NBD,
                                   .export_name = p->groups[g].volumes[v].export_name,
                                   .volume = p->groups[g].volumes[v].number,
                                   .size = &p->groups[g].volumes[v].size,
                                   .told = &p->groups[g].volumes[v].told,
                                   .careless = careless,
                                   .restless = rng_chance(r, p->t->heavy ? 500000 : 100000),
                                   .quiet = &p->t->quiet,
                                   .busy = &p->busy};
    for (unsigned i = 0; i < count; i++)
        fibers[i] = fiber_spawn(fiber_io(), "guest", guest_run, &guests[i]);
    proc_wait(proc, UINT64_MAX / 2);
    for (unsigned i = 0; i < count; i++)
        fiber_cancel(fibers[i]);
    for (unsigned i = 0; i < count; i++)
        fiber_join(fibers[i]);
}

/* Its daemon has left a mark of that, durably, which the next one heeds. */
static bool noted(const struct place *p, const struct place_group *g, const struct place_volume *v)
{
    char path[160];
    struct io_stat st;
    (void)snprintf(path, sizeof path, TOWNS_STATE "/%s/%s.unsynced", g->name, v->name);
    return disk_stat(node_disk(p->node), path, &st) == 0;
}

void towns_guests_start(const struct place *p)
{
    for (unsigned g = 0; g < p->group_count; g++)
        for (unsigned v = 0; v < p->groups[g].volume_count; v++)
            if (p->groups[g].volumes[v].captured &&
                disk_is_stale(node_disk(p->node), p->groups[g].volumes[v].path) &&
                noted(p, &p->groups[g], &p->groups[g].volumes[v]))
                p->t->w->did[DEED_MENDED]++;
}

bool towns_guests_stale(const struct place *p)
{
    for (unsigned g = 0; g < p->group_count; g++)
        for (unsigned v = 0; v < p->groups[g].volume_count; v++)
            if (p->groups[g].volumes[v].captured &&
                disk_is_stale(node_disk(p->node), p->groups[g].volumes[v].path) &&
                !noted(p, &p->groups[g], &p->groups[g].volumes[v]))
                return true;
    return false;
}

void towns_guests_dark(struct place *p)
{
    for (unsigned i = 0; i < p->group_count; i++) {
        const struct place_group *g = &p->groups[i];
        uint8_t *contents[CHECK_VOLUMES];
        unsigned n = 0;
        size_t len;
        for (unsigned v = 0; v < g->volume_count; v++)
            if (g->volumes[v].captured) {
                uint8_t *now = disk_peek(node_disk(p->node), g->volumes[v].path, &len);
                contents[n] = err_realloc(now, g->volumes[v].max);
                memset(contents[n++] + len, 0, g->volumes[v].max - len);
            }
        if (g->ledger)
            ledger_power_cut(g->ledger, (const uint8_t *const *)contents);
        while (n > 0)
            free(contents[--n]);
    }
}

void towns_end_guests(struct towns *t, struct place *p, uint64_t pause)
{
    if (!p->guests || !node_live(p->guests))
        return;
    procs_end(t->procs, p->guests, PROC_CRASH);
    p->guests_at = t->w->now + pause;
}

bool towns_guests_idle(const struct towns *t)
{
    for (unsigned i = 0; i < TOWNS_SITES; i++)
        if (t->sites[i].busy > 0)
            return false;
    return true;
}
