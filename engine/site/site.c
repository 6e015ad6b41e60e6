#include "site.h"

#include "export.h"
#include "fio.h"
#include "footprint.h"
#include "governor.h"
#include "group.h"
#include "log.h"
#include "merger.h"
#include "shipper.h"
#include "tap.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEASURE_EVERY (5 * IO_S)

struct site {
    const struct config *config;
    struct spool spool;
    struct workshop shop;
    struct group **groups; /* in the order of the configuration */
    size_t count;
    struct site_keys keys;
    bool started;
    struct shipper shipper;
    struct governor governor;
    struct merger merger;
    struct meter spool_meter;
    struct fiber *measure;
    struct exports *exports; /* NULL: no volume is served */
    /* What site_status hands out. */
    Relais__GroupStatus *status;
    Relais__GroupStatus **status_list;
};

/* How many regions may be under way: two more than there are CPU threads, but no more than the
 * spool's budget, or the least of a group's, bears, because all of them may have to fit one delta
 * while another waits to be shipped. */
static int choose_slots(const struct config *c, unsigned workers, unsigned *slots, struct err *e)
{
    char has[UNITS_TEXT], least[UNITS_TEXT];
    uint64_t budget = c->spool_budget;
    *slots = workers + 2;
    for (unsigned i = 0; i < c->group_count; i++)
        if (c->groups[i].spool_budget > 0 && c->groups[i].spool_budget < budget)
            budget = c->groups[i].spool_budget;
    budget = spool_for_sealing(budget);
    while (*slots > 1 && budget < 2 * stretch_least(*slots))
        --*slots;
    if (budget >= 2 * stretch_least(*slots))
        return 0;
    return err_set(e, ERR_CONFIG, "%s: spool-budget %s is too little to seal anything: at least %s",
                   c->file, units_size(has, c->spool_budget),
                   units_size(least, 2 * stretch_least(1) * 8 / 7 + 1));
}

static int open_groups(struct site *s, const struct site_keys *keys, struct err *e)
{
    for (unsigned i = 0; i < s->config->group_count; i++) {
        struct group *g = err_calloc(1, sizeof *g);
        int res = group_open(g, s->config, &s->config->groups[i], &s->shop, keys->hash, e);
        if (res < 0) {
            free(g);
            return res;
        }
        s->groups[s->count++] = g;
    }
    return 0;
}

static void stop_groups(struct site *s)
{
    for (size_t i = 0; i < s->count; i++) {
        group_stop(s->groups[i]);
        free(s->groups[i]);
    }
    s->count = 0;
}

static void site_free(struct site *s)
{
    stop_groups(s);
    workshop_done(&s->shop);
    free(s->groups);
    free(s->status);
    free(s->status_list);
    free(s);
}

/* Serves the captured volumes of all groups. */
static int start_exports(struct site *s, const struct export_keeper *keeper, struct err *e)
{
    struct export_volume *its = NULL;
    size_t count = 0;
    int res = 0;
    for (size_t i = 0; i < s->count; i++)
        for (uint16_t k = 0; k < s->groups[i]->indexes.count; k++) {
            const struct volume *v = &s->groups[i]->indexes.volumes[k];
            if (!v->capture)
                continue;
            its = err_realloc(its, (count + 1) * sizeof *its);
            its[count++] =
                (struct export_volume){s->groups[i]->config->name, v->config, v->capture};
        }
    if (count > 0)
        res = export_start(&s->exports, its, count, s->config, keeper, e);
    free(its);
    return res;
}

static void measure_fiber(void *arg)
{
    struct site *s = arg;
    do {
        uint64_t now = io_now(fiber_io());
        meter_note(&s->spool_meter, now, s->spool.files);
        for (size_t i = 0; i < s->count; i++)
            group_measure(s->groups[i], now);
    } while (fiber_sleep(MEASURE_EVERY) == 0);
}

/* What the configuration implies, for whoever sets the machine's or the unit's limit. */
static void tell_memory(const struct config *c)
{
    uint64_t *sizes = err_calloc((size_t)VOLUMES_MAX * c->group_count + 1, sizeof *sizes);
    char most[UNITS_TEXT], dirty[UNITS_TEXT];
    struct footprint f;
    size_t n = 0;
    for (unsigned i = 0; i < c->group_count; i++)
        for (unsigned k = 0; k < c->groups[i].volume_count; k++) {
            struct io_stat st = {0};
            (void)fio_stat(c->groups[i].volumes[k].path, &st);
            sizes[n++] = st.size;
        }
    footprint_of(c, io_workers(fiber_io()), sizes, &f);
    log_info("memory: at most %s, and up to %s more when most of the volumes is dirty",
             units_size(most, f.total), units_size(dirty, f.dirty_max));
    free(sizes);
}

int site_open(struct site **out, const struct config *config, const struct site_keys *keys,
              const struct export_keeper *keeper, struct err *e)
{
    struct io *io = fiber_io();
    unsigned slots;
    struct site *s;
    int res = choose_slots(config, io_workers(io), &slots, e);
    if (res < 0)
        return res;
    s = err_calloc(1, sizeof *s);
    s->config = config;
    s->keys = *keys;
    spool_init(&s->spool, config->spool_dir, config->spool_budget, config->spool_reserve);
    workshop_init(&s->shop, &s->spool, keys->sign,
                  config->compression == CONFIG_LEVEL_AUTO ? LEVEL_LEAST : config->compression,
                  config->delta_max, slots);
    s->shop.pace.rate = config->seed_rate;
    s->groups = err_calloc(config->group_count, sizeof(struct group *));
    s->status = err_calloc(config->group_count, sizeof *s->status);
    s->status_list = err_calloc(config->group_count, sizeof(Relais__GroupStatus *));
    res = open_groups(s, keys, e);
    if (res == 0)
        res = start_exports(s, keeper, e);
    if (res < 0)
        site_free(s);
    else
        *out = s;
    return res;
}

int site_start(struct site *s, struct err *e)
{
    const struct config *c = s->config;
    ASSERT(!s->started);
    for (size_t i = 0; i < s->count; i++) {
        int res = group_recover(s->groups[i], e);
        if (res < 0)
            return res;
    }
    tell_memory(c);
    for (size_t i = 0; i < s->count; i++)
        group_start(s->groups[i]);
    merger_init(&s->merger, s->groups, s->count, &s->spool, s->keys.sign);
    shipper_start(&s->shipper, c->hub[0] ? config_peer(c, c->hub) : NULL, s->keys.tls, s->keys.sign,
                  s->groups, s->count, c->state_dir, c->lanes_max);
    governor_start(&s->governor, c, &s->shipper.share, &s->shop, s->groups, s->count);
    merger_start(&s->merger);
    s->measure = fiber_spawn(fiber_io(), "measure", measure_fiber, s);
    s->started = true;
    return 0;
}

bool site_serves(const struct site *s)
{
    return s->exports != NULL;
}

static int check_label(const char *label, struct err *e)
{
    if (strlen(label) > LABEL_MAX_LEN)
        return err_set(e, ERR_INPUT, "the label has %zu bytes; at most %u are possible",
                       strlen(label), LABEL_MAX_LEN);
    for (const char *p = label; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return err_set(e, ERR_INPUT, "the label has the control character 0x%02x",
                           (unsigned)(unsigned char)*p);
    return 0;
}

static struct group *find_group(struct site *s, const char *name, struct err *e)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->groups[i]->config->name, name) == 0)
            return s->groups[i];
    (void)err_set(e, ERR_NOENT,
                  "site %s has no group \"%.60s\"; its groups are the [group NAME] sections of %s",
                  s->config->name, name, s->config->file);
    return NULL;
}

int site_rotate(struct site *s, const char *group, unsigned *count, struct err *e)
{
    struct group *g = *group ? find_group(s, group, e) : NULL;
    *count = 0;
    if (*group && !g)
        return -(int)e->code;
    for (size_t i = 0; i < s->count; i++)
        if (!g || g == s->groups[i]) {
            group_rotate(s->groups[i]);
            (*count)++;
        }
    return 0;
}

/* How many drain a group: each goes away by itself, also by its asker's ctrl-C. */
static void rush(struct site *s, struct group *g, int more)
{
    g->flow.rush = (unsigned)((int)g->flow.rush + more);
    shipper_group_changed(&s->shipper, g);
}

int site_mark(struct site *s, const char *group, const char *label, enum site_mark_end end,
              uint64_t *rp, bool *committed, struct err *e)
{
    struct group *g = find_group(s, group, e);
    int res = g ? check_label(label, e) : -ERR_NOENT;
    if (res < 0)
        return res;
    g->visitors++; /* so that it is there to the end */
    if (end == SITE_DRAINED)
        rush(s, g, 1);
    res = group_mark(g, label, rp, e);
    if (res == 0 && end != SITE_SEALED)
        res = group_wait_committed(g, rp, e);
    if (end == SITE_DRAINED)
        rush(s, g, -1);
    *committed = res == 0 && g->chain.committed.rp >= *rp;
    g->visitors--;
    return res;
}

int site_pause(struct site *s, const char *group, bool pause, uint64_t *lag, struct err *e)
{
    struct group *g = find_group(s, group, e);
    uint64_t rps;
    int res;
    if (!g)
        return -ERR_NOENT;
    g->visitors++;
    res = group_pause(g, pause, e);
    if (res == 0)
        shipper_group_changed(&s->shipper, g);
    chain_lag(&g->chain, lag, &rps);
    g->visitors--;
    return res;
}

int site_rate(struct site *s, const char *rate, Relais__RateState *out, struct err *e)
{
    uint64_t limit = 0;
    int res = 0;
    if (strcmp(rate, "schedule") == 0)
        governor_follow(&s->governor);
    else if (*rate)
        res = rates_parse_rate(&limit, rate, e);
    if (res < 0) {
        e->code = ERR_INPUT; /* it is no configuration that is wrong */
        return -ERR_INPUT;
    }
    if (*rate && strcmp(rate, "schedule") != 0)
        governor_hold(&s->governor, limit);
    governor_rate(&s->governor, out);
    return 0;
}

static const struct volume *find_volume(const struct site *s, const char *group, const char *volume)
{
    for (size_t i = 0; i < s->count; i++)
        for (uint16_t k = 0; k < s->groups[i]->indexes.count; k++)
            if (strcmp(s->groups[i]->config->name, group) == 0 &&
                strcmp(s->groups[i]->indexes.volumes[k].config->name, volume) == 0)
                return &s->groups[i]->indexes.volumes[k];
    return NULL;
}

static int no_volume(const struct site *s, const char *group, const char *volume, struct err *e)
{
    return err_set(e, ERR_NOENT,
                   "site %s has no volume \"%.60s/%.60s\"; its volumes are the [volume "
                   "GROUP/NAME] sections of %s",
                   s->config->name, group, volume, s->config->file);
}

int site_resize(struct site *s, const char *group, const char *volume, Relais__Resized *out,
                struct err *e)
{
    const struct volume *v = find_volume(s, group, volume);
    struct io_stat st;
    int res;
    relais__resized__init(out);
    if (!v)
        return no_volume(s, group, volume, e);
    if (!v->capture) {
        res = fio_stat(v->config->path, &st);
        out->size = st.size;
        return res < 0 ? err_os(e, res, "volume %s/%s: %s", group, volume, v->config->path) : 0;
    }
    out->captured = true;
    out->was = capture_size(v->capture);
    res = capture_resize(v->capture, e);
    out->size = capture_size(v->capture);
    out->clients = export_connections(s->exports, v->capture);
    return res;
}

int site_record(struct site *s, const Relais__Record *m, Relais__Recorded *out, struct err *e)
{
    const struct volume *v = find_volume(s, m->group, m->volume);
    struct tap_taken taken = {.entries = NULL};
    uint64_t token = m->token;
    int res = 0;
    relais__recorded__init(out);
    if (!v)
        return no_volume(s, m->group, m->volume, e);
    if (!v->capture)
        return err_set(e, ERR_CONFIG,
                       "volume %s/%s is not served (source = nbd): its writes are not seen",
                       m->group, m->volume);
    if (token == 0)
        res = tap_start(v->capture, &token, e);
    if (res == 0)
        res = tap_take(v->capture, token, &taken, e);
    if (m->stop)
        tap_stop(v->capture, token);
    out->token = token;
    out->size = capture_size(v->capture);
    out->entries = (ProtobufCBinaryData){taken.len, (uint8_t *)(uintptr_t)taken.entries};
    out->dropped = taken.dropped;
    out->more = taken.more;
    return res;
}

static void count_clients(const struct site *s, size_t i)
{
    const struct indexes *x = &s->groups[i]->indexes;
    for (uint16_t k = 0; k < x->count; k++)
        if (x->volumes[k].capture) {
            s->status[i].exports++;
            s->status[i].clients += export_connections(s->exports, x->volumes[k].capture);
        }
}

void site_status(struct site *s, Relais__Status *out)
{
    struct shipper *sh = &s->shipper;
    uint64_t rate = shipper_rate(sh);
    out->has_site = true;
    out->hub = (char *)(uintptr_t)s->config->hub;
    out->connected = sh->caller != NULL;
    out->connected_since = sh->caller ? sh->since : 0;
    out->link_error = (char *)(uintptr_t)(sh->caller ? "" : sh->error.text);
    out->link_rate = rate;
    out->rate_limit = sh->share.rate;
    out->rate_by_hand = s->governor.by_hand;
    out->level = (uint32_t)s->shop.level;
    out->quota = sh->quota;
    out->quota_used = sh->quota_used;
    out->spool_used = s->spool.files;
    out->spool_budget = s->spool.budget;
    out->spool_full_ns =
        meter_lasts((double)spool_for_sealing(s->spool.budget) - (double)s->spool.files,
                    meter_rate(&s->spool_meter));
    if (sh->witness.known) {
        out->audit_end = sh->witness.end.seq;
        out->audit_link = (ProtobufCBinaryData){DIGEST_LEN, sh->witness.end.link.b};
    }
    out->audit_error = sh->witness.error.text;
    for (size_t i = 0; i < s->count; i++) {
        group_status(s->groups[i], rate, &s->status[i]);
        count_clients(s, i);
        s->status_list[i] = &s->status[i];
    }
    out->n_groups = s->count;
    out->groups = s->status_list;
}

void site_stop(struct site *s)
{
    if (s->started)
        governor_stop(&s->governor);
    export_stop(s->exports);
    if (s->started) {
        fiber_cancel(s->measure);
        fiber_join(s->measure);
        merger_stop(&s->merger);
        shipper_stop(&s->shipper);
    }
    site_free(s);
}

struct shipper *site_shipper(struct site *s)
{
    return &s->shipper;
}
