#include "compact.h"

#include "attestation.h"
#include "fault.h"
#include "log.h"
#include "units.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PAGE        500u       /* catalog entries read at once */
#define BATCH_BYTES (16 * GIB) /* written before a switch; what is there twice meanwhile */
#define BATCH_MOST  512u       /* entries of one switch */
#define SETTLED_MAX 4096u      /* runs that are known to need nothing */

struct compaction {
    struct hub *hub;
    const char *site, *group;
    struct compact_sums *sums;
    uint64_t generation;
    struct catalog_entry *entries;
    size_t count;
};

int compact_load(struct hub *h, const char *site, const char *group, uint64_t *generation,
                 struct catalog_entry **entries, size_t *count, struct err *e)
{
    const struct store_ops *ops = h->store->ops;
    struct store_head *page = err_calloc(PAGE, sizeof *page);
    size_t cap = 0;
    uint32_t n = PAGE;
    *entries = NULL;
    *count = 0;
    int rc = ops->generation(h->store, site, group, generation, e);
    while (rc == 0 && n == PAGE) {
        uint64_t after = *count > 0 ? (*entries)[*count - 1].rp : 0;
        rc = ops->catalog(h->store, site, group, after, page, PAGE, &n, e);
        if (rc == 0 && *count + n > cap) {
            cap = cap > 0 ? cap * 2 : PAGE;
            *entries = err_realloc(*entries, cap * sizeof **entries);
        }
        for (uint32_t i = 0; i < n && rc == 0; i++)
            rc = catalog_decode(&(*entries)[(*count)++], &page[i], e);
    }
    free(page);
    if (rc < 0) {
        free(*entries);
        *entries = NULL;
        return err_prefix(e, "%s/%s", site, group);
    }
    return 0;
}

/* ---- runs that need nothing: not looked at twice ---- */

static bool is_settled(const struct hub *h, const struct digest *inputs)
{
    for (size_t i = 0; i < h->settled_count; i++)
        if (digest_equal(&h->settled[i], inputs))
            return true;
    return false;
}

static void settle(struct hub *h, const struct digest *inputs)
{
    if (!h->settled)
        h->settled = err_calloc(SETTLED_MAX, sizeof *h->settled);
    if (h->settled_count < SETTLED_MAX)
        h->settled[h->settled_count++] = *inputs;
    else
        h->settled[h->settled_next++ % SETTLED_MAX] = *inputs;
}

/* ---- one run ---- */

struct reader_of {
    struct compaction *c;
    const struct catalog_entry *entries;
};

static int read_store(void *arg, size_t n, uint64_t off, void *buf, uint32_t len, struct err *e)
{
    const struct reader_of *r = arg;
    if (fiber_cancelled())
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    return hub_read(r->c->hub, r->c->site, r->c->group, &r->entries[n], off, buf, len, e);
}

/* Outputs that are switched together: those that were written, and between them those that stay. */
struct batch {
    struct catalog_entry entries[BATCH_MOST];
    bool written[BATCH_MOST];
    size_t first[BATCH_MOST], last[BATCH_MOST]; /* inputs */
    size_t count;
    uint64_t bytes;
};

static void remove_replaced(struct compaction *c, const struct catalog_entry *old)
{
    struct store *store = c->hub->store;
    for (uint32_t i = 0; i < catalog_objects(old); i++) {
        char name[STORE_NAME_MAX];
        struct err e = ERR_INIT;
        catalog_object_name(name, c->group, old->rp, old->id, i);
        if (store->ops->remove(store, c->site, name, &e) < 0)
            log_debug("hub: %s/%s: %s; the next pass removes it", c->site, c->group, e.text);
        fault_reached(FAULT_COMPACT_REMOVED);
    }
}

static int switch_batch(struct compaction *c, const struct catalog_entry *old, struct batch *b,
                        struct err *e)
{
    const struct store_ops *ops = c->hub->store->ops;
    struct store_head *to;
    uint32_t n = 0;
    int rc;
    while (b->count > 0 && !b->written[b->count - 1])
        b->count--;
    if (b->count == 0)
        return 0;
    fault_reached(FAULT_COMPACT_WRITTEN);
    to = err_calloc(b->count, sizeof *to);
    for (size_t i = 0; i < b->count; i++)
        ASSERT(catalog_encode(&to[n++], &b->entries[i]) == 0);
    rc = ops->splice(c->hub->store, c->site, c->group, c->generation, b->entries[0].rp_first,
                     b->entries[b->count - 1].rp, to, n, e);
    free(to);
    if (rc < 0)
        return err_prefix(e, "%s/%s: compacting RP %" PRIu64 " to %" PRIu64, c->site, c->group,
                          b->entries[0].rp_first, b->entries[b->count - 1].rp);
    c->generation++;
    fault_reached(FAULT_COMPACT_SWITCHED);
    for (size_t i = 0; i < b->count; i++) {
        c->sums->deltas_out += b->written[i];
        c->sums->bytes_out += b->written[i] ? b->entries[i].file_len : 0;
        for (size_t k = b->first[i]; b->written[i] && k <= b->last[i]; k++) {
            c->sums->deltas_in++;
            c->sums->bytes_in += old[k].file_len;
            remove_replaced(c, &old[k]);
        }
    }
    b->count = 0;
    b->bytes = 0;
    return 0;
}

static int add_output(struct compaction *c, struct run *run, size_t n,
                      const struct catalog_entry *old, struct batch *b, struct err *e)
{
    const struct fold_output *o = &run->outputs[n];
    size_t i = b->count;
    int rc = 0;
    if (!o->rewrite && i == 0)
        return 0;
    b->written[i] = o->rewrite;
    b->first[i] = o->first;
    b->last[i] = o->first + o->count - 1;
    b->entries[i] = old[b->last[i]];
    if (o->rewrite) {
        rc = compact_write(c->hub, run, n, old, &b->entries[i], e);
        b->bytes += b->entries[i].file_len;
    }
    if (rc < 0)
        return rc;
    b->count++;
    return b->count == BATCH_MOST || b->bytes >= BATCH_BYTES ? switch_batch(c, old, b, e) : 0;
}

/* After these errors it would go no better with the next run or output. */
static bool is_over(int rc)
{
    return rc == -ERR_CONFLICT || rc == -ERR_CANCELED || rc == -ERR_AGAIN || rc == -ERR_SPACE;
}

static int write_run(struct compaction *c, struct run *run, const struct catalog_entry *old,
                     struct err *e)
{
    struct batch *b = err_calloc(1, sizeof *b);
    int rc = 0;
    for (size_t i = 0; i < run->output_count && !is_over(rc); i++) {
        struct err why = ERR_INIT;
        int one = add_output(c, run, i, old, b, &why);
        /* What could be written before it takes its place all the same; its inputs stay. */
        if (one < 0 && one != -ERR_CONFLICT && one != -ERR_CANCELED)
            (void)switch_batch(c, old, b, e);
        if (one < 0) {
            rc = one;
            *e = why;
        }
    }
    if (!is_over(rc)) {
        struct err why = ERR_INIT;
        int last = switch_batch(c, old, b, &why);
        if (last < 0) {
            rc = last;
            *e = why;
        }
    }
    free(b);
    return rc;
}

static void log_run(const struct compaction *c, const struct run *run,
                    const struct compact_sums *before)
{
    char was[UNITS_TEXT], is[UNITS_TEXT];
    log_info("hub: %s/%s: RP %" PRIu64 " to %" PRIu64 ": %" PRIu64 " deltas of %s became %" PRIu64
             " of %s",
             c->site, c->group, run->deltas[0].rp_first, run->deltas[run->count - 1].rp,
             c->sums->deltas_in - before->deltas_in,
             units_size(was, c->sums->bytes_in - before->bytes_in),
             c->sums->deltas_out - before->deltas_out,
             units_size(is, c->sums->bytes_out - before->bytes_out));
}

static const struct key_public *signer_of(const struct hub *h, const char *site)
{
    const struct hub_peer *p = roster_find(h, site);
    return p && p->sign.kind == KEY_SIGN ? &p->sign : NULL;
}

static int compact_run(struct compaction *c, size_t first, size_t count, struct err *e)
{
    const struct catalog_entry *old = c->entries + first;
    struct compact_sums before = *c->sums;
    struct reader_of reader = {.c = c, .entries = old};
    struct run run = {.site = c->site,
                      .group = c->group,
                      .count = count,
                      .read = read_store,
                      .arg = &reader,
                      .signer = signer_of(c->hub, c->site)};
    bool work = false;
    run.deltas = err_calloc(count, sizeof *run.deltas);
    for (size_t i = 0; i < count; i++)
        run.deltas[i] = (struct run_delta){.rp_first = old[i].rp_first,
                                           .rp = old[i].rp,
                                           .file_len = old[i].file_len,
                                           .manifest_len = old[i].manifest_len,
                                           .digest = old[i].digest};
    run_digest(&run.inputs, run.deltas, count);
    int rc = 0;
    if (!is_settled(c->hub, &run.inputs)) {
        rc = run_open(&run, e);
        fault_reached(FAULT_COMPACT_OPENED);
        for (size_t i = 0; rc == 0 && i < run.output_count; i++)
            work |= run.outputs[i].rewrite;
        if (rc == 0 && !work)
            settle(c->hub, &run.inputs);
        if (rc == 0 && work && !attestation_possible(c->hub, c->site))
            c->sums->waiting++;
        else if (rc == 0 && work)
            rc = write_run(c, &run, old, e);
        if (rc == 0 && c->sums->deltas_in > before.deltas_in)
            log_run(c, &run, &before);
    }
    run_close(&run);
    free(run.deltas);
    return rc;
}

/* ---- a group ---- */

int compact_group(struct hub *h, const char *site, const char *group, uint64_t generation,
                  compact_stays *stays, void *arg, struct compact_sums *sums, struct err *e)
{
    struct compaction c = {.hub = h, .site = site, .group = group, .sums = sums};
    uint64_t good_from = 0;
    size_t first = 0;
    int rc = signer_of(h, site)
                 ? compact_load(h, site, group, &c.generation, &c.entries, &c.count, e)
                 : err_set(e, ERR_AUTH, "site %s has no sign key here", site);
    if (rc == 0 && c.generation != generation)
        rc = err_set(e, ERR_CONFLICT,
                     "%s/%s: what stays was judged by a catalog of generation %" PRIu64
                     ", which is of %" PRIu64 " now: the next pass judges again",
                     site, group, generation, c.generation);
    /* Never the head: it is what the next commit and the site's memory are compared with. */
    for (size_t i = 0; i + 1 < c.count && !is_over(rc); i++) {
        if (!catalog_offers(&c.entries[i], &good_from) || !stays(arg, c.entries[i].rp))
            continue;
        size_t n = i + 1 - first, skip = n > RUN_MAX ? n - RUN_MAX : 0;
        struct err one = ERR_INIT;
        int run = n > 1 ? compact_run(&c, first + skip, n - skip, &one) : 0;
        if (run < 0) {
            rc = run;
            *e = one;
        }
        first = i + 1;
    }
    free(c.entries);
    return rc;
}
