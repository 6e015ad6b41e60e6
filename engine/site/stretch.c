#include "stretch.h"

#include "delta.h"
#include "log.h"
#include "units.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one region can add at most: bytes of sealed extents and their index entries. Regions under
 * way when a delta is full still go into it. */
#define ENTRY_MAX   40u
#define REGION_MOST (REGION_SIZE + (uint64_t)REGION_SECTORS * ENTRY_MAX)
#define DELTA_BASE  (MANIFEST_MAX + DELTA_HEADER_LEN + DELTA_TRAILER_LEN + 4096)
#define HASHES_MOST (8 * MIB) /* memory for the new hashes of one delta */

uint64_t stretch_least(unsigned slots)
{
    return DELTA_BASE + (slots + 1) * REGION_MOST;
}

/* Bytes that a delta may reserve: what is configured, and never so much that the regions under way
 * could lead past the bounds of the format. */
static uint64_t most(const struct workshop *shop)
{
    uint64_t slack = DELTA_BASE + shop->slot_count * REGION_MOST;
    uint64_t bound = DELTA_MAX - INDEX_MAX;
    uint64_t want = shop->delta_max < bound ? shop->delta_max : bound;
    return want + slack < bound ? want + slack : bound;
}

static int open_file(struct stretch *s, struct err *e)
{
    char path[PATH_CAP];
    path_delta(path, s->spec->chain->dir, s->rp);
    return deltawriter_new(&s->writer, &s->spec->shop->parts, path, 1, e);
}

int stretch_new(struct stretch **out, const struct stretch_spec *spec, uint64_t rp, struct err *e)
{
    struct workshop *shop = spec->shop;
    struct io *io = fiber_io();
    const struct datakey *key;
    struct stretch *s = err_calloc(1, sizeof *s);
    int res;
    s->spec = spec;
    s->rp = rp;
    res = spool_reserve(&spec->chain->share, SPOOL_SEAL, most(shop),
                        stretch_least(shop->slot_count), &s->reserved, e);
    if (res < 0) {
        free(s);
        return res;
    }
    s->soft = s->reserved - DELTA_BASE - shop->slot_count * REGION_MOST;
    res = open_file(s, e);
    if (res < 0) {
        spool_settle(&spec->chain->share, s->reserved, 0);
        free(s);
        return res;
    }
    key = keyring_key(spec->keyring, io);
    s->keys_wiped = spec->keyring->wiped;
    s->wraps = *datakey_wraps(key);
    s->source = (struct manifest_source){.rp = rp};
    io_random(io, s->source.salt, sizeof s->source.salt);
    seal_key_derive(&s->key, datakey_secret(key), s->source.salt);
    *out = s;
    return 0;
}

void stretch_prepare(const struct stretch *s, struct region *r)
{
    r->seal_key = &s->key;
    r->rp = s->rp;
}

int stretch_append(struct stretch *s, struct region *r, struct err *e)
{
    struct volume *v = &s->spec->indexes->volumes[r->volume];
    int res;
    for (uint32_t i = 0; i < r->run_count; i++) {
        const struct region_run *run = &r->runs[i];
        hashes_add(&s->hashes, r->volume, run->sector, run->sectors,
                   run->zero || v->capture ? NULL : r->fresh + (run->sector - r->first));
        if (!v->capture)
            dirty_add(v->dirty, run->sector, run->sectors);
    }
    if (r->extent_count == 0)
        return 0;
    res = deltawriter_append(s->writer, r->extents, r->extent_count, r->out, e);
    s->plain_bytes += r->plain_bytes;
    s->frame_bytes += r->frame_bytes;
    return res;
}

bool stretch_full(const struct stretch *s)
{
    uint32_t under_way = s->spec->shop->slot_count * REGION_SECTORS;
    return s->keys_wiped != s->spec->keyring->wiped ||
           deltawriter_len(s->writer) >= s->soft + DELTA_BASE ||
           deltawriter_extents(s->writer) + under_way + REGION_SECTORS > EXTENTS_MAX ||
           deltawriter_index_len(s->writer) + (uint64_t)(under_way + REGION_SECTORS) * ENTRY_MAX >
               INDEX_MAX ||
           hashes_size(&s->hashes) > HASHES_MOST;
}

static void stretch_free(struct stretch *s)
{
    sodium_memzero(&s->key, sizeof s->key);
    hashes_free(&s->hashes);
    free(s);
}

void stretch_abort(struct stretch *s)
{
    if (!s)
        return;
    deltawriter_abort(s->writer);
    spool_settle(&s->spec->chain->share, s->reserved, 0);
    stretch_free(s);
}

static void fill_manifest(struct stretch *s, bool complete, struct manifest *m,
                          struct manifest_volume *volumes)
{
    const struct stretch_spec *spec = s->spec;
    int64_t cut;
    *m = (struct manifest){.rp_first = s->rp,
                           .rp = s->rp,
                           .cut_time = spec->cut_time,
                           .flags = complete ? MANIFEST_COMPLETE : 0,
                           .plain_bytes = s->plain_bytes,
                           .frame_bytes = s->frame_bytes,
                           .volume_count = spec->indexes->count,
                           .source_count = 1,
                           .key_count = 1,
                           .volumes = volumes,
                           .sources = &s->source,
                           .keys = &s->wraps};
    (void)snprintf(m->site, sizeof m->site, "%s", spec->chain->site);
    (void)snprintf(m->group, sizeof m->group, "%s", spec->chain->group);
    if (complete)
        (void)snprintf(m->label, sizeof m->label, "%s", spec->label);
    chain_tip(spec->chain, &m->parent, &cut);
    for (uint16_t i = 0; i < spec->indexes->count; i++) {
        (void)snprintf(volumes[i].name, sizeof volumes[i].name, "%s",
                       spec->indexes->volumes[i].config->name);
        volumes[i].size = spec->sizes[i];
    }
}

int stretch_finish(struct stretch *s, bool complete, struct err *e)
{
    const struct stretch_spec *spec = s->spec;
    struct manifest_volume *volumes = err_calloc(spec->indexes->count, sizeof *volumes);
    struct chain_delta d;
    struct manifest m;
    char size[UNITS_TEXT];
    int res;
    ASSERT(chain_tip_rp(spec->chain) + 1 == s->rp);
    fill_manifest(s, complete, &m, volumes);
    d = (struct chain_delta){.rp_first = s->rp,
                             .rp = s->rp,
                             .parent = m.parent,
                             .cut_time = m.cut_time,
                             .flags = m.flags,
                             .labelled = m.label[0] != '\0'};
    res = deltawriter_finish(s->writer, &m, spec->shop->sign, spec->chain->dir, &d.digest,
                             &d.file_len, &d.manifest_len, e);
    d.link = d.digest;
    free(volumes);
    if (res < 0) {
        spool_settle(&spec->chain->share, s->reserved, 0);
        stretch_free(s);
        return res;
    }
    chain_append(spec->chain, &d, s->reserved);
    log_debug("group %s: RP %" PRIu64 " is sealed%s, %" PRIu32 " extents, %s", spec->chain->group,
              s->rp, complete ? "" : " (one stretch of a longer change)", m.extents,
              units_size(size, d.file_len));
    res = indexes_seal(spec->indexes, &s->hashes, e);
    stretch_free(s);
    return res;
}
