/* scenario_territory.c: whole daemons under every kind of trouble; then the trouble stops, and all
 * that was written must reach the hub within a bounded time. By day for a minute or two in which
 * much goes wrong; by night for longer than a data key lives; and with two hubs on one store. */
#include "err.h"
#include "net.h"
#include "towns.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DISK_LARGE   (UINT64_C(1) << 34)
#define CONVERGE_MAX (15 * 60 * IO_S)

static struct place *any_place(struct towns *t, struct rng *r)
{
    uint64_t i = rng_below(r, 2 * TOWNS_SITES + 3);
    return i == 0 ? &t->reader : i <= 2 ? &t->hubs[i % t->hub_count] : &t->sites[i % TOWNS_SITES];
}

static void cut_link(struct towns *t, struct rng *r, const struct place *site)
{
    const struct node *hub = t->hubs[t->hub_count > 1 ? rng_below(r, t->hub_count) : 0].node;
    if (rng_chance(r, 600000)) {
        net_cut(t->w->net, site->node, hub, true);
    } else {
        bool up = rng_chance(r, 500000);
        net_path(t->w->net, up ? site->node : hub, up ? hub : site->node)->lost = true;
        t->w->count[FAULT_ONE_WAY]++;
        world_trace(t->w, "the link %s %s loses everything one way", up ? "from" : "to",
                    site->name);
    }
}

static void squeeze(struct towns *t, struct rng *r, struct place *p)
{
    uint64_t left = rng_skewed(r, 0, 4 << 20);
    disk_set_capacity(node_disk(p->node), disk_used(node_disk(p->node)) + left);
    world_trace(t->w, "%s: the disk has %" PRIu64 " KiB left", p->name, left / 1024);
}

static void rot(struct towns *t)
{
    struct io_names names;
    char path[256];
    const struct place *p = &t->sites[0];
    (void)snprintf(path, sizeof path, STORE_ROOT "/sites/%s/objects/%s/0000000000000+", p->name,
                   p->groups[0].name);
    if (disk_list(t->store.disk, path, &names) < 0)
        return;
    if (names.count > 0) {
        size_t n = strlen(path), len;
        uint8_t *content;
        (void)snprintf(path + n, sizeof path - n, "/%s", names.names[names.count - 1]);
        content = disk_peek(t->store.disk, path, &len);
        if (content && len > 0)
            disk_rot(t->store.disk, path, rng_below(&t->w->rng, len));
        free(content);
    }
    io_names_free(&names);
}

/* Spoils part of a sector, and writes down what was there. Near its beginning, where extents are:
 * who cannot read the newest manifest knows no history to go on from. */
static void rot_sector(struct towns *t, struct rng *r, const char *path)
{
    struct disk *d = t->store.disk;
    size_t len;
    uint8_t *was = disk_peek(d, path, &len), *is;
    uint64_t off = was && len > 2048 ? rng_below(r, len / 4) : 0;
    for (unsigned i = 0; was && len > 2048 && i < 8; i++)
        disk_rot(d, path, off + i);
    is = disk_peek(d, path, &len);
    for (unsigned i = 0; is && len > 2048 && i < 8; i++) {
        struct check_rot rot = {.off = off + i, .was = was[off + i], .is = is[off + i]};
        (void)snprintf(rot.path, sizeof rot.path, "%s", path);
        t->rots.rots = err_realloc(t->rots.rots, (t->rots.count + 1) * sizeof rot);
        t->rots.rots[t->rots.count++] = rot;
    }
    world_trace(t->w, "arras: a sector of %s rots", path);
    free(was);
    free(is);
}

/* An object of the first group of the first site, which is the one that may suffer. */
static void rot_object(struct towns *t, struct rng *r)
{
    struct io_names names;
    char path[256];
    const struct place *p = &t->sites[0];
    (void)snprintf(path, sizeof path, STORE_ROOT "/sites/%s/objects/%s/0000000000000+", p->name,
                   p->groups[0].name);
    if (!t->store.disk || disk_list(t->store.disk, path, &names) < 0)
        return;
    if (names.count > 0) {
        size_t n = strlen(path);
        (void)snprintf(path + n, sizeof path - n, "/%s", names.names[rng_below(r, names.count)]);
        rot_sector(t, r, path);
    }
    io_names_free(&names);
}

/* The server room burnt down; the volumes were restored, the daemon starts with nothing but its
 * keys. Or a part of what it knew is gone. */
static void wipe(struct towns *t, struct rng *r, struct place *site)
{
    uint64_t which = rng_below(r, 3);
    towns_end(t, site, PROC_CRASH, rng_skewed(r, 0, 3 * IO_S));
    if (which != 0)
        disk_wipe(node_disk(site->node), TOWNS_STATE);
    if (which != 1)
        disk_wipe(node_disk(site->node), TOWNS_SPOOL);
    t->w->count[FAULT_WIPED]++;
    world_trace(t->w, "%s: loses its %s", site->name,
                which == 0   ? "spool"
                : which == 1 ? "state"
                             : "spool and state");
}

/* A bit of one of the site's own files flips, unnoticed until it is read. */
static void decay(struct towns *t, struct rng *r, struct place *site)
{
    const struct place_group *g = &site->groups[rng_below(r, site->group_count)];
    struct io_names names;
    char path[256];
    uint8_t *content;
    size_t len;
    (void)snprintf(path, sizeof path, "%s/%s", rng_chance(r, 500000) ? TOWNS_STATE : TOWNS_SPOOL,
                   g->name);
    if (disk_list(node_disk(site->node), path, &names) < 0)
        return;
    if (names.count > 0) {
        size_t n = strlen(path);
        (void)snprintf(path + n, sizeof path - n, "/%s", names.names[rng_below(r, names.count)]);
        content = disk_peek(node_disk(site->node), path, &len);
        if (content && len > 0) {
            world_trace(t->w, "%s: a bit of %s flips", site->name, path);
            disk_rot(node_disk(site->node), path, rng_below(r, len));
        }
        free(content);
    }
    io_names_free(&names);
}

static void jump(struct towns *t, struct rng *r, struct place *p)
{
    node_jump(p->node, (int64_t)rng_below(r, 7200 * IO_S) - (int64_t)(3600 * IO_S));
    if (!towns_is_hub(t, p) || t->keep == 0)
        return;
    for (unsigned i = 0; i < TOWNS_SITES; i++) /* ages are what the hub thinks they are */
        for (unsigned g = 0; g < t->sites[i].group_count; g++)
            check_keep(t->sites[i].groups[g].check, LEDGER_NEVER);
}

static void trouble(struct towns *t)
{
    struct rng own, *r = &own;
    bool now = world_trouble(t->w, r);
    struct place *p = any_place(t, r), *site = &t->sites[rng_below(r, TOWNS_SITES)];
    uint64_t pause = rng_chance(r, 200000) ? rng_below(r, 60 * IO_S) : rng_skewed(r, 0, 3 * IO_S);
    if (!now)
        return;
    switch (rng_below(r, 19)) {
    case 0:
    case 1:
    case 2:
    case 3:
        towns_end(t, p, PROC_CRASH, pause);
        break;
    case 4:
    case 5:
        towns_end(t, p, PROC_KILL, pause);
        break;
    case 6:
        towns_end(t, p, PROC_STOP, pause);
        break;
    case 7:
    case 8:
        cut_link(t, r, site);
        break;
    case 9:
    case 10:
        net_heal(t->w->net);
        break;
    case 11:
        jump(t, r, p);
        break;
    case 12:
    case 13:
        squeeze(t, r, p);
        break;
    case 14:
        wipe(t, r, site);
        break;
    case 15:
        if (rng_chance(r, 300000))
            rot_object(t, r);
        else
            decay(t, r, site);
        break;
    case 16:
        towns_end_guests(t, site, pause);
        break;
    default:
        disk_set_capacity(node_disk(p->node), DISK_LARGE);
        break;
    }
    if (t->plant == PLANT_BIT_ROT)
        rot(t);
}

/* What only two hubs and what they share can suffer. */
static void trouble_twins(struct towns *t)
{
    struct rng own, *r = &own;
    bool now = world_trouble(t->w, r);
    struct place *hub = &t->hubs[rng_below(r, t->hub_count)];
    if (!now)
        return;
    switch (rng_below(r, 8)) {
    case 0:
    case 1:
        pool_part(t->pool, hub->node, true);
        break;
    case 2:
        pool_set_full(t->pool, true);
        break;
    case 3:
    case 4:
        pool_heal(t->pool);
        break;
    case 5: /* the link leads to the other one only, then back */
        net_cut(t->w->net, t->sites[rng_below(r, TOWNS_SITES)].node, hub->node, true);
        break;
    default: /* long enough for the other one to do its work meanwhile */
        node_pause(hub->node, rng_skewed(r, 10 * IO_MS, 60 * IO_S), rng_chance(r, 500000));
        break;
    }
}

static bool all_finished(const struct towns *t)
{
    if (t->reader.restored < 3) /* since the faults stopped */
        return false;
    for (unsigned i = 0; i < TOWNS_SITES; i++)
        for (unsigned g = 0; g < t->sites[i].group_count; g++)
            if (!t->sites[i].groups[g].finished)
                return false;
    return true;
}

/* Says why a group is not done. */
static void fail_late(struct towns *t)
{
    t->late = true;
    towns_spend(t, IO_S);
    for (unsigned i = 0; i < TOWNS_SITES; i++) {
        struct place *p = &t->sites[i];
        if (!p->site)
            world_fail(t->w, "%s: has not started although nothing is broken any more", p->name);
        for (unsigned g = 0; g < p->group_count; g++)
            if (!p->groups[g].finished)
                world_fail(t->w, "%s/%s has not converged %u minutes after the last fault", p->name,
                           p->groups[g].name, (unsigned)(CONVERGE_MAX / (60 * IO_S)));
    }
    world_fail(t->w, "douai: only %" PRIu64 " restores succeeded after the last fault",
               t->reader.restored);
}

/* No guest writes any more: the last mark is what its volumes hold. */
static void settled(struct place *p, const struct place_group *g)
{
    for (unsigned i = 0; i < g->volume_count; i++) {
        size_t len;
        uint8_t *content;
        if (!g->volumes[i].captured)
            continue;
        content = disk_peek(node_disk(p->node), g->volumes[i].path, &len);
        check_settled(g->check, i, content);
        free(content);
    }
}

/* Guests that had asked for something get their answers; what others had asked for when they died
 * is done too, or never will be. */
static void quiesce(struct towns *t)
{
    uint64_t until = t->w->now + 10 * 60 * IO_S;
    t->quiet = true;
    while (!towns_guests_idle(t) && t->w->now < until && !t->w->failed)
        towns_spend(t, IO_S);
    if (!towns_guests_idle(t))
        world_fail(t->w, "a guest has no answer ten minutes after the last fault");
    towns_spend(t, 30 * IO_S);
}

static void check_last(struct towns *t)
{
    towns_check(t);
    for (unsigned i = 0; i < TOWNS_SITES; i++)
        for (unsigned g = 0; g < t->sites[i].group_count && !t->w->failed; g++) {
            const struct place_group *group = &t->sites[i].groups[g];
            settled(&t->sites[i], group);
            if (group->scans && check_head_cut(group->check) != group->cut)
                world_fail(t->w,
                           "%s/%s: marked and committed, yet the hub has cut %" PRIu64
                           " and not the last, %" PRIu64,
                           t->sites[i].name, group->name, check_head_cut(group->check), group->cut);
        }
}

static void converge(struct towns *t)
{
    uint64_t until;
    world_trace(t->w, "no more faults");
    t->w->calm = true;
    net_heal(t->w->net);
    if (t->pool)
        pool_heal(t->pool);
    for (unsigned i = 0; i < t->hub_count; i++)
        disk_set_capacity(node_disk(t->hubs[i].node), DISK_LARGE);
    disk_set_capacity(node_disk(t->reader.node), DISK_LARGE);
    for (unsigned i = 0; i < TOWNS_SITES; i++)
        disk_set_capacity(node_disk(t->sites[i].node), DISK_LARGE);
    quiesce(t);
    t->finale = true;
    t->reader.restored = 0;
    until = t->w->now + CONVERGE_MAX;
    while (!all_finished(t) && t->w->now < until && !t->w->failed)
        towns_spend(t, IO_S);
    if (t->w->failed)
        return;
    if (!all_finished(t)) {
        fail_late(t);
        return;
    }
    check_last(t);
    /* And it is still so when the power of the hub fails now. */
    for (unsigned i = 0; i < t->hub_count; i++)
        towns_end(t, &t->hubs[i], PROC_CRASH, 0);
    check_last(t);
    procs_end(t->procs, t->reader.node, PROC_STOP);
    for (unsigned i = 0; i < TOWNS_SITES; i++)
        towns_end_guests(t, &t->sites[i], 0);
    for (unsigned i = 0; i < TOWNS_SITES; i++)
        procs_end(t->procs, t->sites[i].node, PROC_STOP);
    procs_settle(t->procs);
    pool_settle(t->pool);
}

/* Somebody works for a while, then nobody does; mostly nothing happens, or one outage that lasts.
 */
static void night(struct towns *t, struct rng *plan)
{
    uint64_t until = t->w->now + rng_between(plan, 70, 100) * 60 * IO_S;
    if (rng_chance(plan, 500000))
        net_cut(t->w->net, t->sites[0].node, t->hubs[0].node, true);
    while (t->w->now < until && !t->w->failed) {
        towns_spend(t, rng_skewed(plan, IO_S, 20 * IO_S));
        if (rng_chance(plan, 150000) && !t->w->failed)
            trouble(t);
        t->quiet = true;
        towns_spend(t, rng_between(plan, 1, 12) * 60 * IO_S);
        t->quiet = false;
    }
}

/* The hub is out of reach for longer than spools last, and the other troubles go on meanwhile. */
static void outage(struct towns *t, struct rng *plan)
{
    uint64_t until = t->w->now + rng_between(plan, 30, 90) * IO_S;
    while (t->w->now < until && !t->w->failed) {
        for (unsigned i = 0; i < TOWNS_SITES; i++)
            if (!net_path(t->w->net, t->sites[i].node, t->hubs[0].node)->lost)
                net_cut(t->w->net, t->sites[i].node, t->hubs[0].node, true);
        towns_spend(t, rng_skewed(plan, 100 * IO_MS, 10 * IO_S));
        if (rng_chance(plan, 300000) && !t->w->failed)
            trouble(t);
    }
    net_heal(t->w->net);
}

static void run(struct world *w, enum plant plant, enum towns_kind kind)
{
    bool is_night = kind == TOWNS_NIGHT;
    struct towns *t = towns_new(w, plant, kind);
    struct rng plan;
    uint64_t until;
    rng_seed(&plan, w->seed, UINT64_C(1) << 61);
    scenario_draw_faults(w);
    if (t->pool)
        scenario_draw_pool_faults(w);
    until = w->now + rng_between(&plan, 20, 120) * IO_S;
    if (is_night)
        night(t, &plan);
    if (kind == TOWNS_OUTAGE)
        outage(t, &plan);
    while (!is_night && w->now < until && !w->failed) {
        if (rng_chance(&plan, 600000))
            towns_spend_until_cut(t, 20 * IO_S);
        else
            towns_spend(t, rng_skewed(&plan, 10 * IO_MS, 20 * IO_S));
        if (!w->failed && t->pool && rng_chance(&plan, 400000))
            trouble_twins(t);
        else if (!w->failed)
            trouble(t);
    }
    if (!w->failed)
        converge(t);
    if (!w->failed)
        towns_free(t);
}

static void run_day(struct world *w, enum plant plant)
{
    run(w, plant, TOWNS_DAY);
}

static void run_night(struct world *w, enum plant plant)
{
    run(w, plant, TOWNS_NIGHT);
}

static void run_twins(struct world *w, enum plant plant)
{
    run(w, plant, TOWNS_TWINS);
}

static void run_outage(struct world *w, enum plant plant)
{
    run(w, plant, TOWNS_OUTAGE);
}

const struct scenario scenario_outage = {.name = "outage", .run = run_outage, .every = 4};

const struct scenario scenario_twins = {.name = "twins", .run = run_twins, .every = 2};

const struct scenario scenario_night = {.name = "night", .run = run_night, .every = 16};

const struct scenario scenario_territory = {
    .name = "territory",
    .run = run_day,
    .every = 1,
    .plants = 1u << PLANT_SYNC_LIES | 1u << PLANT_SYNC_DIR_LIES | 1u << PLANT_RENAME_TEARS |
              1u << PLANT_BIT_ROT | 1u << PLANT_FREEZE_LEAKS,
};
