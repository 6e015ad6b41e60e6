#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <roaring/roaring.h>

#define LOADS_MAX    16u /* indexes in flight */
#define LOADS_MEMORY (2 * INDEX_MAX)

/* The index of one delta, on its way. */
struct load {
    struct reader *r;
    size_t point;
    struct fiber *fiber;
    struct manifest m;
    int volume; /* number in m.volumes; -1: not in it, nothing is fetched */
    uint8_t *index;
    struct digest digest;
    struct err err;
};

struct planner {
    struct plan *plan;
    struct reader *r;
    const char *volume;
    roaring_bitmap_t *wanted; /* sectors that no newer extent has covered */
    struct load loads[LOADS_MAX];
    size_t next, left; /* points still to be started: next-1, next-2 ... ; left: in flight */
    uint64_t memory;
};

static uint64_t sectors_of(uint64_t size)
{
    return (size + SECTOR_SIZE - 1) >> SECTOR_SHIFT;
}

static int volume_number(const struct manifest *m, const char *volume)
{
    for (int i = 0; i < m->volume_count; i++)
        if (strcmp(m->volumes[i].name, volume) == 0)
            return i;
    return -1;
}

/* ---- indexes ---- */

static int digest_work(void *arg)
{
    struct load *l = arg;
    digest_of(&l->digest, l->index, l->m.index_len);
    return 0;
}

static int load_index(struct load *l, struct err *e)
{
    uint64_t rp = l->r->points[l->point].rp;
    l->index = err_malloc(l->m.index_len);
    int rc = fetch_range(l->r, l->point, l->m.index_place, l->index, l->m.index_len, e);
    if (rc < 0)
        return rc;
    rc = fio_work(IO_WORK_CPU, digest_work, l);
    if (rc < 0)
        return err_os(e, rc, "digesting the index of RP %" PRIu64, rp);
    if (!digest_equal(&l->digest, &l->m.index_digest)) {
        char hex[DIGEST_HEX], want[DIGEST_HEX];
        digest_hex(hex, &l->digest);
        digest_hex(want, &l->m.index_digest);
        return err_set(e, ERR_CORRUPT,
                       "%s/%s@%" PRIu64
                       ": the index that came has digest %.16s, the signed manifest "
                       "says %.16s",
                       l->r->site, l->r->group, rp, hex, want);
    }
    return 0;
}

static void load_main(void *arg)
{
    struct load *l = arg;
    (void)load_index(l, &l->err);
}

/* Starts loads, newest first, as far as memory and number allow. */
static void start_loads(struct planner *p)
{
    while (p->next > 0 && p->left < LOADS_MAX && (p->left == 0 || p->memory < LOADS_MEMORY)) {
        struct load *l = &p->loads[(p->next - 1) % LOADS_MAX];
        *l = (struct load){.r = p->r, .point = p->next - 1, .err = ERR_INIT};
        history_decode(p->r, l->point, &l->m);
        l->volume = volume_number(&l->m, p->volume);
        if (l->volume >= 0 && l->m.extents > 0) {
            p->memory += l->m.index_len;
            l->fiber = fiber_spawn(fiber_io(), "index", load_main, l);
        }
        p->next--;
        p->left++;
    }
}

static void end_load(struct planner *p, struct load *l)
{
    if (l->fiber) {
        fiber_join(l->fiber);
        p->memory -= l->m.index_len;
    }
    manifest_free(&l->m);
    free(l->index);
    p->left--;
}

/* ---- coverage ---- */

static void add_piece(struct planner *p, const struct load *l, const struct index_entry *x,
                      uint32_t sector, uint32_t sectors)
{
    struct plan *plan = p->plan;
    if (plan->count == plan->cap) {
        plan->cap = plan->cap ? plan->cap * 2 : 1024;
        plan->pieces = err_realloc(plan->pieces, plan->cap * sizeof *plan->pieces);
    }
    struct plan_piece *piece = &plan->pieces[plan->count++];
    *piece = (struct plan_piece){.sector = sector,
                                 .sectors = sectors,
                                 .point = (uint32_t)l->point,
                                 .ext_sector = x->sector,
                                 .ext_sectors = (uint16_t)x->sectors,
                                 .source = x->source,
                                 .volume = x->volume,
                                 .codec = x->codec,
                                 .sealed_len = x->sealed_len,
                                 .place = x->place};
    memcpy(piece->tag, x->tag, SEAL_TAG_LEN);
    plan->sectors += sectors;
}

/* Adds the runs of wanted sectors that a data extent holds. */
static void add_wanted(struct planner *p, const struct load *l, const struct index_entry *x)
{
    uint64_t end = (uint64_t)x->sector + x->sectors;
    roaring_uint32_iterator_t it;
    if (roaring_bitmap_contains_range(p->wanted, x->sector, end)) {
        add_piece(p, l, x, x->sector, x->sectors);
        return;
    }
    roaring_init_iterator(p->wanted, &it);
    if (!roaring_move_uint32_iterator_equalorlarger(&it, x->sector))
        return;
    while (it.has_value && it.current_value < end) {
        uint32_t from = it.current_value, n = 0;
        do {
            n++;
            roaring_advance_uint32_iterator(&it);
        } while (it.has_value && it.current_value < end && it.current_value == from + n);
        add_piece(p, l, x, from, n);
    }
}

static int take_entry(struct planner *p, const struct load *l, const struct index_entry *x,
                      struct err *e)
{
    uint64_t end = (uint64_t)x->sector + x->sectors;
    if (x->sectors == 0 || end > UINT64_C(1) << 32)
        return err_set(e, ERR_INPUT, "extent of %" PRIu32 " sectors at %" PRIu32, x->sectors,
                       x->sector);
    if (x->kind == EXTENT_PATCH)
        return err_set(e, ERR_INPUT,
                       "the extent at sector %" PRIu32 " is a patch: this version of relais cannot "
                       "read it, use a newer one",
                       x->sector);
    if (x->kind == EXTENT_DATA) {
        if (x->sectors > EXTENT_SECTORS || x->sealed_len > seal_bound(x->sectors))
            return err_set(e, ERR_LIMIT, "extent of %" PRIu32 " sectors in %" PRIu32 " bytes",
                           x->sectors, x->sealed_len);
        add_wanted(p, l, x);
    }
    roaring_bitmap_remove_range_closed(p->wanted, x->sector, (uint32_t)(end - 1));
    return 0;
}

/* The entries of one source, from a reader placed before the first of them. */
static int take_source(struct planner *p, const struct load *l, struct index_reader *in,
                       struct err *e)
{
    struct index_entry x;
    int rc = index_next(in, &x, e), source = x.source;
    while (rc > 0 && x.source == source) {
        if (x.volume == l->volume && (rc = take_entry(p, l, &x, e)) < 0)
            break;
        rc = index_next(in, &x, e);
    }
    return rc < 0 ? rc : 0;
}

static int take_index(struct planner *p, const struct load *l, struct err *e)
{
    struct index_reader in, *sources = NULL;
    uint16_t count = 0;
    index_reader_init(&in, l->index, l->m.index_len, l->m.extents, l->m.volume_count,
                      l->m.source_count, DELTA_HEADER_LEN, l->m.index_place);
    int rc = index_split(&in, &sources, &count, e);
    if (rc == 0)
        while (rc == 0 && count > 0)
            rc = take_source(p, l, &sources[--count], e);
    free(sources);
    if (rc < 0)
        return err_prefix(e, "%s/%s@%" PRIu64 ": volume %s", p->r->site, p->r->group,
                          p->r->points[l->point].rp, p->volume);
    return 0;
}

/* The next older point: narrows to its size, then takes its extents. */
static int take_load(struct planner *p, struct load *l, struct err *e)
{
    if (l->volume < 0)
        return 0;
    uint64_t limit = sectors_of(l->m.volumes[l->volume].size);
    if (limit < UINT64_C(1) << 32)
        roaring_bitmap_remove_range_closed(p->wanted, (uint32_t)limit, UINT32_MAX);
    if (!l->fiber)
        return 0;
    fiber_join(l->fiber);
    l->fiber = NULL;
    p->memory -= l->m.index_len;
    if (l->err.code != ERR_OK) {
        *e = l->err;
        return -(int)e->code;
    }
    return take_index(p, l, e);
}

/* The size of the volume: as the newest manifest up to the point that has it tells. */
static int find_volume(struct planner *p, size_t point, struct err *e)
{
    char known[ERR_TEXT_MAX / 2] = "";
    for (size_t i = point + 1; i-- > 0;) {
        struct manifest m;
        history_decode(p->r, i, &m);
        int n = volume_number(&m, p->volume);
        if (n >= 0)
            p->plan->size = m.volumes[n].size;
        for (int v = 0; n < 0 && i == point && v < m.volume_count; v++) {
            size_t at = strlen(known);
            (void)snprintf(known + at, sizeof known - at, "%s%s", at ? ", " : "",
                           m.volumes[v].name);
        }
        manifest_free(&m);
        if (n >= 0)
            return 0;
    }
    return err_set(e, ERR_NOENT, "%s/%s@%" PRIu64 ": no volume \"%.60s\"; there are: %s",
                   p->r->site, p->r->group, p->r->points[point].rp, p->volume,
                   known[0] ? known : "none");
}

static int by_place(const void *a, const void *b)
{
    const struct plan_piece *x = a, *y = b;
    if (x->point != y->point)
        return x->point < y->point ? -1 : 1;
    if (x->place != y->place)
        return x->place < y->place ? -1 : 1;
    return x->sector < y->sector ? -1 : x->sector > y->sector;
}

int plan_make(struct plan *plan, struct reader *r, size_t point, const char *volume, struct err *e)
{
    struct planner *p = err_calloc(1, sizeof *p);
    memset(plan, 0, sizeof *plan);
    p->plan = plan;
    p->r = r;
    p->volume = volume;
    p->next = point + 1;
    p->wanted = roaring_bitmap_create();
    ASSERT(p->wanted);
    int rc = find_volume(p, point, e);
    if (rc == 0 && plan->size > 0)
        roaring_bitmap_add_range_closed(p->wanted, 0, (uint32_t)(sectors_of(plan->size) - 1));
    for (size_t i = point + 1; i-- > 0 && rc == 0 && !roaring_bitmap_is_empty(p->wanted);) {
        start_loads(p);
        struct load *l = &p->loads[i % LOADS_MAX];
        ASSERT(l->point == i);
        rc = take_load(p, l, e);
        end_load(p, l);
    }
    while (p->left) { /* those that were started and are not needed */
        size_t i = p->next + p->left - 1;
        end_load(p, &p->loads[i % LOADS_MAX]);
    }
    roaring_bitmap_free(p->wanted);
    free(p);
    if (plan->count > 0) /* no pieces: no array */
        qsort(plan->pieces, plan->count, sizeof *plan->pieces, by_place);
    return rc;
}

void plan_free(struct plan *p)
{
    free(p->pieces);
    memset(p, 0, sizeof *p);
}
