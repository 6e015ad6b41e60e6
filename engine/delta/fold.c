#include "fold.h"

#include "delta.h"
#include "tables.h"

#include <stdlib.h>
#include <string.h>

/* What an entry takes in an index at most: head 6, volume 2, source 3, sectors 5 (of data 2),
 * length 3, tag 16; a patch's base 10. */
#define DATA_ENTRY_MAX 32u
#define ZERO_ENTRY_MAX 16u
#define PATCH_BASE_MAX 10u
#define SOURCE_LEN     (8u + SEAL_SALT_LEN + 2u)

void fold_init(struct fold *f, size_t count)
{
    *f = (struct fold){.count = count};
    f->inputs = err_calloc(count, sizeof *f->inputs);
}

void fold_free(struct fold *f, bool manifests)
{
    for (size_t i = 0; i < f->count; i++) {
        struct fold_input *in = &f->inputs[i];
        if (manifests)
            manifest_free(&in->m);
        free(in->kept);
        free(in->of);
        free(in->source);
        free(in->key);
    }
    for (size_t i = 0; i < f->volume_count; i++)
        roaring_bitmap_free(f->volumes[i].covered);
    free(f->volumes);
    free(f->inputs);
    *f = (struct fold){0};
}

/* ---- weighing ---- */

static roaring_bitmap_t *covered_of(struct fold *f, const char *volume)
{
    struct fold_volume *v;
    for (size_t i = 0; i < f->volume_count; i++)
        if (strcmp(f->volumes[i].name, volume) == 0)
            return f->volumes[i].covered;
    f->volumes = err_realloc(f->volumes, (f->volume_count + 1) * sizeof *f->volumes);
    v = &f->volumes[f->volume_count++];
    memcpy(v->name, volume, sizeof v->name);
    v->covered = roaring_bitmap_create();
    ASSERT(v->covered);
    return v->covered;
}

static void keep(struct fold_input *in, const struct index_entry *x, uint32_t n)
{
    in->kept[n / 8] = (uint8_t)(in->kept[n / 8] | 1u << (n % 8));
    in->of[x->source]++;
    in->extents++;
    in->sealed += x->sealed_len;
    in->index_max += x->kind == EXTENT_ZERO ? ZERO_ENTRY_MAX : DATA_ENTRY_MAX;
    in->index_max += x->kind == EXTENT_PATCH ? PATCH_BASE_MAX : 0;
}

/* Extents of one source do not overlap, so each may cover at once. */
static int weigh_source(struct fold_input *in, roaring_bitmap_t *const *covered,
                        struct index_reader *r, struct err *e)
{
    struct index_entry x;
    uint32_t n = r->seen;
    int res = index_next(r, &x, e), source = x.source;
    for (; res > 0 && x.source == source; n++) {
        uint64_t end = (uint64_t)x.sector + x.sectors;
        if (!roaring_bitmap_contains_range(covered[x.volume], x.sector, end)) {
            keep(in, &x, n);
            roaring_bitmap_add_range(covered[x.volume], x.sector, end);
        }
        res = index_next(r, &x, e);
    }
    return res < 0 ? res : 0;
}

int fold_weigh(struct fold *f, size_t n, const void *index, struct err *e)
{
    struct fold_input *in = &f->inputs[n];
    const struct manifest *m = &in->m;
    struct index_reader start, *sources = NULL;
    roaring_bitmap_t *covered[VOLUMES_MAX];
    uint16_t count = 0;
    int res;
    ASSERT(n < f->count && !in->weighed && (n + 1 == f->count || f->inputs[n + 1].weighed));
    for (uint16_t i = 0; i < m->volume_count; i++)
        covered[i] = covered_of(f, m->volumes[i].name);
    in->weighed = true;
    in->kept = err_calloc(m->extents / 8 + 1, 1);
    in->of = err_calloc(m->source_count + 1u, sizeof *in->of);
    index_reader_init(&start, index, m->index_len, m->extents, m->volume_count, m->source_count,
                      DELTA_HEADER_LEN, m->index_place);
    res = index_split(&start, &sources, &count, e);
    while (res == 0 && count > 0)
        res = weigh_source(in, covered, &sources[--count], e);
    free(sources);
    return res;
}

/* ---- planning ---- */

bool fold_same_volumes(const struct manifest *a, const struct manifest *b)
{
    if (a->volume_count != b->volume_count)
        return false;
    for (uint16_t i = 0; i < a->volume_count; i++)
        if (strcmp(a->volumes[i].name, b->volumes[i].name) != 0 ||
            a->volumes[i].size != b->volumes[i].size)
            return false;
    return true;
}

static uint64_t kept_bytes(const struct fold_input *in)
{
    return in->sealed + in->index_max;
}

static uint64_t dead_bytes(const struct fold_input *in)
{
    uint64_t gone = in->m.extents - in->extents;
    return in->m.sealed_bytes - in->sealed + gone * SEAL_TAG_LEN;
}

/* Bounds of what is gathered, as if no two inputs had a data key in common but neighbours. */
struct gathered {
    uint64_t extents, index, sealed, tables;
    uint32_t sources, keys;
    const struct datakey_wraps *last;
};

static void gather(struct gathered *g, const struct fold_input *in)
{
    g->extents += in->extents;
    g->index += in->index_max;
    g->sealed += in->sealed;
    for (uint16_t s = 0; s < in->m.source_count; s++) {
        const struct datakey_wraps *w = &in->m.keys[in->m.sources[s].key];
        if (in->of[s] == 0)
            continue;
        g->sources++;
        g->tables += SOURCE_LEN;
        if (!g->last || g->last->count != w->count ||
            memcmp(g->last->id, w->id, sizeof w->id) != 0) {
            g->keys++;
            g->tables += DATAKEY_ID_LEN + 2 + w->count * sizeof w->wraps[0];
        }
        g->last = w;
    }
}

static bool within(const struct gathered *g)
{
    return g->extents < EXTENTS_MAX && g->index + KIB < INDEX_MAX && g->sources <= SOURCES_MAX &&
           g->keys <= DATA_KEYS_MAX && g->tables <= TABLES_MAX &&
           DELTA_HEADER_LEN + g->sealed + g->index + g->tables < DELTA_MAX;
}

struct plan {
    const struct fold *f;
    struct fold_output *out;
    size_t count;
};

static void add_output(struct plan *p, size_t first, size_t count, bool rewrite)
{
    p->out[p->count++] = (struct fold_output){.first = first, .count = count, .rewrite = rewrite};
}

static void settle_one(struct plan *p, size_t n)
{
    const struct fold_input *in = &p->f->inputs[n];
    struct gathered alone = {0};
    uint64_t dead = dead_bytes(in);
    gather(&alone, in);
    /* One that is within its own bounds need not be within these, which are estimates. */
    add_output(p, n, 1, dead > 0 && dead * FOLD_DEAD > dead + kept_bytes(in) && within(&alone));
}

/* Inputs that fit one delta: together, or around the largest of them. */
static void settle(struct plan *p, size_t first, size_t count)
{
    const struct fold_input *in = p->f->inputs;
    uint64_t all = 0, dead = 0, most = 0;
    size_t largest = first;
    for (size_t i = first; i < first + count; i++) {
        all += kept_bytes(&in[i]);
        dead += dead_bytes(&in[i]);
        if (kept_bytes(&in[i]) >= most) {
            most = kept_bytes(&in[i]);
            largest = i;
        }
    }
    if (count == 0)
        return;
    if (count == 1) {
        settle_one(p, first);
    } else if (most <= FOLD_SMALL || (all - most + dead) >= most / FOLD_RATIO) {
        add_output(p, first, count, true);
    } else {
        settle(p, first, largest - first);
        settle_one(p, largest);
        settle(p, largest + 1, first + count - largest - 1);
    }
}

size_t fold_plan(const struct fold *f, struct fold_output *out)
{
    struct plan p = {.f = f, .out = out};
    for (size_t i = 0, n; i < f->count; i += n) {
        struct gathered g = {0}, more;
        gather(&g, &f->inputs[i]);
        for (n = 1; i + n < f->count; n++) {
            more = g;
            gather(&more, &f->inputs[i + n]);
            if (!within(&more) || !fold_same_volumes(&f->inputs[i].m, &f->inputs[i + n].m))
                break;
            g = more;
        }
        settle(&p, i, n);
    }
    return p.count;
}

/* The number of a data key in the output, which earlier inputs may have given it already. */
static uint16_t place_key(const struct fold *f, struct fold_output *o, size_t input, uint16_t k)
{
    const struct datakey_wraps *w = &f->inputs[input].m.keys[k];
    for (size_t i = input + 1; i-- > o->first;) {
        const struct fold_input *in = &f->inputs[i];
        for (uint16_t j = 0; j < in->m.key_count; j++)
            if (in->key[j] != FOLD_NOWHERE && in->m.keys[j].count == w->count &&
                memcmp(in->m.keys[j].id, w->id, sizeof w->id) == 0 &&
                memcmp(in->m.keys[j].wraps, w->wraps, w->count * sizeof w->wraps[0]) == 0)
                return in->key[j];
    }
    return o->keys++;
}

bool fold_place(struct fold *f, struct fold_output *o)
{
    struct gathered g = {0};
    o->sources = o->keys = 0;
    for (size_t i = o->first; i < o->first + o->count; i++) {
        gather(&g, &f->inputs[i]);
        if (!within(&g))
            return false;
    }
    for (size_t i = o->first; i < o->first + o->count; i++) {
        struct fold_input *in = &f->inputs[i];
        free(in->source);
        free(in->key);
        in->source = err_calloc(in->m.source_count + 1u, sizeof *in->source);
        in->key = err_calloc(in->m.key_count + 1u, sizeof *in->key);
        memset(in->key, 0xff, in->m.key_count * sizeof *in->key);
        for (uint16_t s = 0; s < in->m.source_count; s++) {
            uint16_t k = in->m.sources[s].key;
            in->source[s] = in->of[s] > 0 ? o->sources++ : FOLD_NOWHERE;
            if (in->of[s] > 0 && in->key[k] == FOLD_NOWHERE)
                in->key[k] = place_key(f, o, i, k);
        }
    }
    o->out_max = DELTA_HEADER_LEN + g.sealed + g.index + g.tables;
    return true;
}

/* ---- the output ---- */

int fold_emit(const struct fold *f, size_t n, const void *index, fold_take *take, void *arg,
              struct err *e)
{
    const struct fold_input *in = &f->inputs[n];
    const struct manifest *m = &in->m;
    struct index_reader r;
    struct index_entry x;
    int res;
    index_reader_init(&r, index, m->index_len, m->extents, m->volume_count, m->source_count,
                      DELTA_HEADER_LEN, m->index_place);
    for (uint32_t i = 0; (res = index_next(&r, &x, e)) > 0; i++) {
        uint64_t from = x.place;
        if (!(in->kept[i / 8] >> (i % 8) & 1))
            continue;
        x.source = in->source[x.source];
        res = take(arg, &x, from, e);
        if (res < 0)
            break;
    }
    return res;
}

static void fill_tables(const struct fold *f, const struct fold_output *o, struct manifest *out)
{
    out->sources = err_calloc(o->sources + 1u, sizeof *out->sources);
    out->keys = err_calloc(o->keys + 1u, sizeof *out->keys);
    out->source_count = o->sources;
    out->key_count = o->keys;
    for (size_t i = o->first; i < o->first + o->count; i++) {
        const struct fold_input *in = &f->inputs[i];
        for (uint16_t s = 0; s < in->m.source_count; s++) {
            uint16_t k = in->m.sources[s].key;
            if (in->source[s] == FOLD_NOWHERE)
                continue;
            out->sources[in->source[s]] = in->m.sources[s];
            out->sources[in->source[s]].key = in->key[k];
            out->keys[in->key[k]] = in->m.keys[k];
        }
    }
}

void fold_manifest(const struct fold *f, const struct fold_output *o, uint64_t good_from,
                   struct manifest *out)
{
    const struct fold_input *end = &f->inputs[o->first + o->count - 1];
    const struct manifest *first = &f->inputs[o->first].m, *last = &end->m;
    ASSERT(good_from >= last->rp);
    *out = (struct manifest){.rp_first = first->rp_first,
                             .rp = last->rp,
                             .parent = first->parent,
                             .stands_for = end->link,
                             .good_from = good_from,
                             .cut_time = last->cut_time,
                             .flags = last->flags | MANIFEST_REPLACES,
                             .volume_count = first->volume_count,
                             .volumes = first->volumes};
    memcpy(out->site, last->site, sizeof out->site);
    memcpy(out->group, last->group, sizeof out->group);
    memcpy(out->label, last->label, sizeof out->label);
    fill_tables(f, o, out);
}

void fold_count(struct manifest *m, const struct index_entry *x)
{
    if (x->kind == EXTENT_ZERO)
        return;
    m->plain_bytes += (uint64_t)x->sectors << SECTOR_SHIFT;
    m->frame_bytes += x->sealed_len + (x->codec == CODEC_ZSTD ? 4u : 0u);
    m->sealed_bytes += x->sealed_len;
}

int fold_close(struct manifest *m, const struct index_writer *w, struct bytes_out *tables,
               struct err *e)
{
    m->extents = w->count;
    m->index_place = DELTA_HEADER_LEN + m->sealed_bytes;
    m->index_len = (uint32_t)w->out.len;
    digest_of(&m->index_digest, w->out.p, w->out.len);
    int res = tables_encode(tables, m, e);
    m->part_count = manifest_parts_of(manifest_place(m));
    return res;
}
