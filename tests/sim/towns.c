#include "towns.h"

#include "err.h"
#include "memory.h"
#include "net.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DISK_LARGE (UINT64_C(1) << 34)

static struct key_secret *draw_key(struct world *w, enum key_kind kind)
{
    uint8_t seed[32];
    rng_bytes(&w->rng, seed, sizeof seed);
    return key_generate(kind, seed);
}

/* ---- volumes ---- */

static void volume_write(struct place *p, struct place_volume *v, uint64_t off, uint64_t len)
{
    struct rng *r = &p->t->w->rng;
    uint8_t variant;
    switch (rng_below(r, 5)) {
    case 0:
        memset(v->content + off, 0, len);
        break;
    case 2: /* one of two states: what was there before comes back, and may count as unchanged */
        variant = (uint8_t)(0x41 + rng_below(r, 2));
        for (uint64_t i = 0; i < len; i++)
            v->content[off + i] = (uint8_t)(variant + (off + i) / SECTOR_SIZE);
        break;
    case 1: /* repetitive, as text and tables are */
        for (uint64_t i = 0; i < len; i++)
            v->content[off + i] =
                (uint8_t)("patient;date;value\n"[i % 19] + (rng_below(r, 16) == 0));
        break;
    default:
        rng_bytes(r, v->content + off, len);
    }
    disk_poke(node_disk(p->node), v->path, off, v->content + off, len);
}

/* Somebody works on the group's volumes. The first 8 bytes are the number of the cut. */
static void group_write(struct place *p, struct place_group *g)
{
    struct rng *r = &p->t->w->rng;
    struct place_volume *v = &g->volumes[rng_below(r, g->volume_count)];
    uint64_t off, len;
    if (v->captured)
        return;
    off = rng_skewed(r, 8, v->size - 1);
    len = rng_skewed(r, 1, p->t->heavy ? 8 << 20 : 128 * 1024);
    if (rng_chance(r, 500000))
        off = off < SECTOR_SIZE ? SECTOR_SIZE : off / SECTOR_SIZE * SECTOR_SIZE;
    if (len > v->size - off)
        len = v->size - off;
    volume_write(p, v, off, len);
    g->changed = true;
}

/* The volumes come to rest: that is a cut of them. */
static void group_freeze(struct place *p, struct place_group *g)
{
    const uint8_t *contents[CHECK_VOLUMES];
    g->frozen = true;
    if (!g->changed)
        return; /* as they were at the cut before */
    g->changed = false;
    g->cut++;
    p->t->cuts++;
    for (unsigned i = 0; i < g->volume_count; i++) {
        struct place_volume *v = &g->volumes[i];
        contents[i] = v->content;
        if (v->captured)
            continue;
        for (unsigned b = 0; b < 8; b++)
            v->content[b] = (uint8_t)(g->cut >> (8 * b));
        disk_poke(node_disk(p->node), v->path, 0, v->content, 8);
    }
    check_cut(g->check, g->cut, contents);
    world_trace(p->t->w, "%s: %s rests: cut %" PRIu64, p->name, g->name, g->cut);
}

static int on_command(void *arg, struct node *n, const char *command, uint64_t *ns)
{
    struct place *p = arg;
    (void)n;
    *ns = rng_skewed(&p->t->w->rng, IO_MS, 2 * IO_S);
    for (unsigned i = 0; i < p->group_count; i++) {
        struct place_group *g = &p->groups[i];
        if (strncmp(command, "freeze ", 7) == 0 && strcmp(command + 7, g->name) == 0) {
            unsigned was = memory_enter(MEMORY_NOBODY);
            group_freeze(p, g);
            (void)memory_enter(was);
            return 0;
        }
        if (strncmp(command, "thaw ", 5) == 0 && strcmp(command + 5, g->name) == 0) {
            g->frozen = false;
            return 0;
        }
    }
    world_fail(p->t->w, "%s: ran the command '%s', which its configuration does not name", p->name,
               command);
    return 127;
}

/* ---- making ---- */

static void make_scanned(struct place *p, struct place_group *g, struct place_volume *v)
{
    struct towns *t = p->t;
    v->size = 512 * rng_skewed(&t->w->rng, 16, 2048);
    if (t->heavy)
        v->size = 512 * rng_between(&t->w->rng, 8192, 65536);
    v->max = v->size + 512 * rng_skewed(&t->w->rng, 0, 16384);
    v->content = err_calloc(v->max, 1);
    disk_poke(node_disk(p->node), v->path, v->size - 1, "", 1); /* the rest is a hole */
    check_add_volume(g->check, v->name, v->size, v->max);
    g->scans = true;
}

static void make_group(struct towns *t, struct place *p, struct place_group *g, const char *name)
{
    struct rng *r = &t->w->rng;
    uint64_t kind = rng_below(r, 3); /* scanned, captured, some of each */
    (void)snprintf(g->name, sizeof g->name, "%s", name);
    g->check =
        check_new(t->w, &t->store, p->name, g->name, key_public(p->sign), t->restore, t->nonces);
    check_keep(g->check, t->keep);
    g->volume_count = (kind == 2 ? 2 : 1) + (unsigned)rng_below(r, 2);
    g->changed = true;
    if (kind > 0) {
        char full[40];
        (void)snprintf(full, sizeof full, "%.16s/%s", p->name, name);
        g->ledger = ledger_new(t->w, full);
    }
    for (unsigned i = 0; i < g->volume_count; i++) {
        struct place_volume *v = &g->volumes[i];
        (void)snprintf(v->name, sizeof v->name, "v%u", i);
        (void)snprintf(v->path, sizeof v->path, "/srv/volumes/%s-v%u", name, i);
        if (kind == 1 || (kind == 2 && i % 2 == 0))
            towns_make_captured(p, g, v);
        else
            make_scanned(p, g, v);
    }
    for (unsigned n = (unsigned)rng_below(r, 30); n > 0; n--)
        group_write(p, g);
    if (g->ledger)
        towns_fill_captured(p, g);
}

static size_t group_config(struct towns *t, const struct place_group *g, char *text, size_t cap)
{
    size_t n = (size_t)snprintf(text, cap, "[group %s]\ninterval = %us\n", g->name,
                                (unsigned)rng_between(&t->w->rng, 1, 15) * (t->night ? 40 : 1));
    if (g->scans || rng_chance(&t->w->rng, 300000))
        n += (size_t)snprintf(text + n, cap - n, "freeze = freeze %s\nthaw = thaw %s\n", g->name,
                              g->name);
    for (unsigned i = 0; i < g->volume_count; i++) {
        const struct place_volume *v = &g->volumes[i];
        n += (size_t)snprintf(text + n, cap - n, "[volume %s/%s]\npath = %s\n", g->name, v->name,
                              v->path);
        if (v->captured)
            n += (size_t)snprintf(text + n, cap - n, "source = nbd\nexport = unix:" TOWNS_NBD "\n");
    }
    return n;
}

static void site_config(struct towns *t, struct place *p)
{
    char word[KEY_WORD_MAX], *text = err_malloc(16384);
    size_t n;
    key_public_word(word, key_public(t->restore));
    n = (size_t)snprintf(text, 16384,
                         "[site]\nname = %s\nstate = /var/lib/relais\nspool = /var/spool/relais\n"
                         "spool-budget = 44MiB\nspool-reserve = 1MiB\ndelta-max = 8MiB\n"
                         "export-memory = 64MiB\n"
                         "hub = arras\nreaders = %s\ncompression = %u\n",
                         p->name, word, (unsigned)rng_below(&t->w->rng, 4));
    key_public_word(word, key_public(t->hubs[0].link));
    n += (size_t)snprintf(text + n, 16384 - n, "[peer arras]\nlink-key = %s\naddress = %s\n", word,
                          t->hub_count > 1 ? "arras:7440, arras-two:7440" : "arras:7440");
    for (unsigned i = 0; i < p->group_count; i++)
        n += group_config(t, &p->groups[i], text + n, 16384 - n);
    p->config_text = text;
}

static void hub_config(struct towns *t, struct place *hub)
{
    char word[KEY_WORD_MAX];
    char *text = err_malloc(16384);
    size_t n = (size_t)snprintf(
        text, 16384, "[site]\nname = arras\n[hub]\nlisten = :7440\nstore = dir:%s\n", STORE_ROOT);
    if (t->keep)
        n += (size_t)snprintf(text + n, 16384 - n,
                              "keep = all %us\nlock = never\ncompact-interval = %us\n",
                              (unsigned)(t->keep / IO_S), t->night ? 60 : 4);
    for (unsigned i = 0; i < TOWNS_SITES; i++) {
        char link[KEY_WORD_MAX], sign[KEY_WORD_MAX];
        key_public_word(link, key_public(t->sites[i].link));
        key_public_word(sign, key_public(t->sites[i].sign));
        n += (size_t)snprintf(text + n, 16384 - n, "[peer %s]\nlink-key = %s\nsign-key = %s\n",
                              t->sites[i].name, link, sign);
    }
    key_public_word(word, key_public(t->reader.link));
    (void)snprintf(text + n, 16384 - n, "[peer douai]\nlink-key = %s\nreads = bethune/*, lens/*\n",
                   word);
    hub->config_text = text;
}

static void make_place(struct towns *t, struct place *p, const char *name)
{
    p->t = t;
    (void)snprintf(p->name, sizeof p->name, "%s", name);
    p->node = node_new(t->w, name, DISK_LARGE);
    p->link = draw_key(t->w, KEY_LINK);
    p->start_at = t->w->now;
}

static void make_hubs(struct towns *t, enum towns_kind kind)
{
    static const char *const hosts[TOWNS_HUBS] = {"arras", "arras-two"};
    t->hub_count = kind == TOWNS_TWINS ? 2 : 1;
    for (unsigned i = 0; i < t->hub_count; i++)
        make_place(t, &t->hubs[i], hosts[i]);
    if (t->hub_count > 1) { /* one peer, wherever it runs */
        key_free(t->hubs[1].link);
        t->hubs[1].link = t->hubs[0].link;
    }
    if (kind == TOWNS_TWINS) {
        t->store.pool = t->pool = pool_new(t->w);
    } else {
        t->store.disk = node_disk(t->hubs[0].node);
        t->store.rots = &t->rots;
        (void)snprintf(t->store.root, sizeof t->store.root, "%s", STORE_ROOT);
    }
}

/* One machine for all of a site's guests, which is part of the site's. */
static void make_guests(struct towns *t, struct place *p)
{
    char host[32];
    bool any = false;
    for (unsigned g = 0; g < p->group_count; g++)
        any = any || p->groups[g].ledger;
    if (!any)
        return;
    (void)snprintf(host, sizeof host, "%.16s-guests", p->name);
    p->guests = node_new(t->w, host, DISK_LARGE);
    net_same_machine(t->w->net, p->guests, p->node);
}

/* The pool moved a head: right then all must be there, and signed. */
static void on_moved(void *arg, const char *site, const char *group)
{
    struct towns *t = arg;
    for (unsigned i = 0; i < TOWNS_SITES; i++)
        for (unsigned g = 0; g < t->sites[i].group_count; g++)
            if (strcmp(t->sites[i].name, site) == 0 &&
                strcmp(t->sites[i].groups[g].name, group) == 0)
                check_run(t->sites[i].groups[g].check);
}

struct towns *towns_new(struct world *w, enum plant plant, enum towns_kind kind)
{
    static const char *const names[TOWNS_SITES] = {"bethune", "lens"};
    static const char *const groups[TOWNS_GROUPS] = {"records", "imaging"};
    struct towns *t = err_calloc(1, sizeof *t);
    t->w = w;
    t->plant = plant;
    t->night = kind == TOWNS_NIGHT;
    t->heavy = rng_chance(&w->rng, 50000) || kind == TOWNS_OUTAGE;
    if (rng_chance(&w->rng, 600000))
        t->keep = rng_between(&w->rng, 5, 40) * (t->night ? 40 : 1) * IO_S;
    t->procs = procs_new(w);
    t->restore = draw_key(w, KEY_RESTORE);
    t->newcomer = draw_key(w, KEY_RESTORE);
    t->nonces = nonces_new(w, t->restore);
    make_hubs(t, kind);
    make_place(t, &t->reader, "douai");
    disk_poke(node_disk(t->reader.node), "/srv/about", 0, "restored",
              8); /* the directory, really */
    if (t->pool)
        pool_watch(t->pool, on_moved, t);
    scenario_plant(node_disk(t->hubs[0].node), plant);
    for (unsigned i = 0; i < TOWNS_SITES; i++) {
        struct place *p = &t->sites[i];
        make_place(t, p, names[i]);
        p->sign = draw_key(w, KEY_SIGN);
        p->hash = draw_key(w, KEY_HASH);
        p->group_count = 1 + (unsigned)rng_below(&w->rng, TOWNS_GROUPS);
        for (unsigned g = 0; g < p->group_count; g++)
            make_group(t, p, &p->groups[g], groups[g]);
        node_set_script(p->node, (struct node_script){on_command, p});
        make_guests(t, p);
        site_config(t, p);
    }
    for (unsigned i = 0; i < t->hub_count; i++)
        hub_config(t, &t->hubs[i]);
    return t;
}

static void free_place(struct place *p)
{
    for (unsigned g = 0; g < p->group_count; g++) {
        check_free(p->groups[g].check);
        ledger_free(p->groups[g].ledger);
        for (unsigned v = 0; v < p->groups[g].volume_count; v++)
            free(p->groups[g].volumes[v].content);
    }
    if (p != &p->t->hubs[1])
        key_free(p->link);
    key_free(p->sign);
    key_free(p->hash);
    node_free(p->guests);
    free(p->config_text);
    node_free(p->node);
}

void towns_free(struct towns *t)
{
    procs_free(t->procs);
    for (unsigned i = 0; i < TOWNS_SITES; i++)
        free_place(&t->sites[i]);
    for (unsigned i = 0; i < t->hub_count; i++)
        free_place(&t->hubs[i]);
    free_place(&t->reader);
    pool_free(t->pool);
    free(t->rots.rots);
    nonces_free(t->nonces);
    key_free(t->restore);
    key_free(t->newcomer);
    free(t);
}

/* ---- living ---- */

void towns_grow(struct towns *t, struct place *p, struct place_group *g, unsigned volume)
{
    struct place_volume *v = &g->volumes[volume];
    if (v->size == v->max || (g->frozen && !v->captured))
        return;
    v->size += 512 * rng_between(&t->w->rng, 1, (v->max - v->size) / 512);
    disk_poke(node_disk(p->node), v->path, v->size - 1, "", 1);
    check_grown(g->check, volume, v->size);
    g->changed = true;
    world_trace(t->w, "%s: %s/%s grows to %" PRIu64 " bytes", p->name, g->name, v->name, v->size);
}

bool towns_is_hub(const struct towns *t, const struct place *p)
{
    return p == &t->hubs[0] || p == &t->hubs[1];
}

void towns_check(struct towns *t)
{
    for (unsigned i = 0; i < TOWNS_SITES; i++) {
        towns_check_spool(t, &t->sites[i]);
        for (unsigned g = 0; g < t->sites[i].group_count; g++)
            check_run(t->sites[i].groups[g].check);
    }
}

void towns_end(struct towns *t, struct place *p, enum proc_end how, uint64_t pause)
{
    if (!node_live(p->node))
        return;
    if (how != PROC_CRASH && towns_guests_stale(p))
        how = PROC_CRASH;
    if (how == PROC_CRASH)
        towns_end_guests(t, p, pause + rng_below(&t->w->rng, 5 * IO_S));
    procs_end(t->procs, p->node, how);
    if (how == PROC_CRASH)
        towns_guests_dark(p);
    p->site = NULL;
    p->start_at = t->w->now + pause;
    for (unsigned g = 0; g < p->group_count && how == PROC_CRASH; g++)
        p->groups[g].frozen = false; /* whatever froze them lost power too */
    if (towns_is_hub(t, p) && how == PROC_CRASH)
        towns_check(t);
}

static void live(struct towns *t, struct place *p)
{
    if (!node_live(p->node) && t->w->now >= p->start_at)
        towns_guests_start(p);
    if (!node_live(p->node) && t->w->now >= p->start_at)
        (void)proc_start(t->procs, p->node,
                         towns_is_hub(t, p) ? towns_hub_main
                         : p == &t->reader  ? towns_reader_main
                                            : towns_site_main,
                         p);
    if (p->guests && !node_live(p->guests) && t->w->now >= p->guests_at)
        (void)proc_start(t->procs, p->guests, towns_guests_main, p);
    for (unsigned g = 0; g < p->group_count && !t->quiet; g++) {
        struct place_group *group = &p->groups[g];
        bool may = !group->frozen || t->plant == PLANT_FREEZE_LEAKS;
        if (may && rng_chance(&t->w->rng, 150000))
            group_write(p, group);
    }
}

void towns_spend(struct towns *t, uint64_t ns)
{
    uint64_t until = t->w->now + ns;
    do {
        uint64_t step = rng_between(&t->w->rng, 5 * IO_MS, 100 * IO_MS);
        for (unsigned i = 0; i < t->hub_count; i++)
            live(t, &t->hubs[i]);
        live(t, &t->reader);
        for (unsigned i = 0; i < TOWNS_SITES; i++)
            live(t, &t->sites[i]);
        world_run_until(t->w, t->w->now + step < until ? t->w->now + step : until);
        procs_reap(t->procs);
        if (t->w->now >= t->check_at) {
            towns_check(t);
            t->check_at = t->w->now + rng_between(&t->w->rng, IO_S, 10 * IO_S);
        }
    } while (t->w->now < until && !t->w->failed);
}

void towns_spend_until_cut(struct towns *t, uint64_t ns)
{
    uint64_t until = t->w->now + ns, cuts = t->cuts;
    while (t->cuts == cuts && t->w->now < until && !t->w->failed)
        towns_spend(t, 10 * IO_MS);
    world_run_events(t->w, rng_skewed(&t->w->rng, 0, 1500), t->w->now + IO_S);
    procs_reap(t->procs);
}
