#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <roaring/roaring.h>

#define BATCHES_MAX  8u  /* pages of indexes in flight */
#define BATCH_FIRST  16u /* deltas in the first page; then twice as many each time: often few do */
#define LOADS_MEMORY (2 * INDEX_MAX)

/* The index of one delta, on its way. */
struct load {
    size_t point;
    struct manifest m;
    int volume; /* number in m.volumes; -1: not in it, nothing is fetched */
    uint8_t *index;
    struct page_range *range; /* NULL: nothing is fetched */
    struct digest digest;
};

/* Deltas that follow one another, newest first, whose indexes come in one page; or one delta. */
struct batch {
    struct reader *r;
    struct fiber *fiber;
    size_t count, range_count;
    uint64_t memory;
    struct err err; /* of all of which nothing came */
    struct load loads[FETCH_MANY_MAX];
    struct page_range ranges[FETCH_MANY_MAX];
};

struct planner {
    struct plan *plan;
    struct reader *r;
    const char *volume;
    roaring_bitmap_t *wanted;           /* sectors that no newer extent has covered */
    struct batch *batches[BATCHES_MAX]; /* the oldest request first, a ring */
    size_t begun, ended;                /* batches */
    size_t next;                        /* points still to be started: next-1, next-2 ... */
    size_t size;                        /* of the next batch, at most */
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
    struct batch *b = arg;
    for (size_t i = 0; i < b->count; i++) {
        struct load *l = &b->loads[i];
        if (l->range && l->range->have)
            digest_of(&l->digest, l->index, l->m.index_len);
    }
    return 0;
}

static void batch_main(void *arg)
{
    struct batch *b = arg;
    int rc = page_fetch(b->r, b->ranges, b->range_count, &b->err);
    if (rc == 0 && (rc = fio_work(IO_WORK_CPU, digest_work, b)) < 0)
        (void)err_os(&b->err, rc, "digesting indexes");
}

/* What is wrong with the index of a delta whose batch has ended. */
static int check_index(const struct batch *b, const struct load *l, struct err *e)
{
    const struct reader *r = b->r;
    char hex[DIGEST_HEX], want[DIGEST_HEX];
    if (l->range->err || b->err.code != ERR_OK) {
        *e = l->range->err ? *l->range->err : b->err;
        return -(int)e->code;
    }
    ASSERT(l->range->have);
    if (digest_equal(&l->digest, &l->m.index_digest))
        return 0;
    digest_hex(hex, &l->digest);
    digest_hex(want, &l->m.index_digest);
    return err_set(e, ERR_CORRUPT,
                   "%s/%s@%" PRIu64 ": the index that came has digest %.16s, the signed manifest "
                   "says %.16s",
                   r->site, r->group, r->points[l->point].rp, hex, want);
}

/* False: the batch is full, and the delta is for the next one. */
static bool add_load(struct planner *p, struct batch *b, size_t point)
{
    struct load *l = &b->loads[b->count];
    *l = (struct load){.point = point};
    history_decode(p->r, point, &l->m);
    l->volume = volume_number(&l->m, p->volume);
    bool fetched = l->volume >= 0 && l->m.extents > 0;
    if (fetched && b->memory > 0 && b->memory + l->m.index_len > PAYLOAD_MAX) {
        manifest_free(&l->m);
        return false;
    }
    b->count++;
    if (fetched) {
        b->range_count++;
        b->memory += l->m.index_len;
    }
    return true;
}

static void start_batch(struct planner *p)
{
    struct batch *b = err_calloc(1, sizeof *b);
    b->r = p->r;
    b->err = (struct err)ERR_INIT;
    while (p->next > 0 && b->count < p->size && add_load(p, b, p->next - 1))
        p->next--;
    /* Ranges ascend. */
    for (size_t i = 0, at = b->range_count; i < b->count; i++) {
        struct load *l = &b->loads[i];
        if (l->volume < 0 || l->m.extents == 0)
            continue;
        l->index = err_malloc(l->m.index_len);
        l->range = &b->ranges[--at];
        *l->range = (struct page_range){
            .point = l->point, .off = l->m.index_place, .len = l->m.index_len, .buf = l->index};
    }
    if (b->range_count > 0)
        b->fiber = fiber_spawn(fiber_io(), "index", batch_main, b);
    p->memory += b->memory;
    p->batches[p->begun++ % BATCHES_MAX] = b;
    p->size = p->size * 2 < FETCH_MANY_MAX ? p->size * 2 : FETCH_MANY_MAX;
}

/* Starts as many as memory and number allow; a large index goes alone. */
static void start_batches(struct planner *p)
{
    while (p->next > 0 && p->begun - p->ended < BATCHES_MAX &&
           (p->begun == p->ended || p->memory < LOADS_MEMORY))
        start_batch(p);
}

static void end_batch(struct planner *p, struct batch *b)
{
    if (b->fiber)
        fiber_join(b->fiber);
    for (size_t i = 0; i < b->count; i++) {
        manifest_free(&b->loads[i].m);
        free(b->loads[i].index);
    }
    for (size_t i = 0; i < b->range_count; i++)
        free(b->ranges[i].err);
    p->memory -= b->memory;
    p->ended++;
    free(b);
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
static int take_load(struct planner *p, const struct batch *b, const struct load *l, struct err *e)
{
    if (l->volume < 0)
        return 0;
    uint64_t limit = sectors_of(l->m.volumes[l->volume].size);
    if (limit < UINT64_C(1) << 32)
        roaring_bitmap_remove_range_closed(p->wanted, (uint32_t)limit, UINT32_MAX);
    if (!l->range)
        return 0;
    int rc = check_index(b, l, e);
    return rc < 0 ? rc : take_index(p, l, e);
}

static int take_batch(struct planner *p, struct batch *b, struct err *e)
{
    int rc = 0;
    if (b->fiber)
        fiber_join(b->fiber);
    b->fiber = NULL;
    for (size_t i = 0; i < b->count && rc == 0 && !roaring_bitmap_is_empty(p->wanted); i++)
        rc = take_load(p, b, &b->loads[i], e);
    return rc;
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
    p->size = BATCH_FIRST;
    p->wanted = roaring_bitmap_create();
    ASSERT(p->wanted);
    int rc = find_volume(p, point, e);
    if (rc == 0 && plan->size > 0)
        roaring_bitmap_add_range_closed(p->wanted, 0, (uint32_t)(sectors_of(plan->size) - 1));
    while (rc == 0 && !roaring_bitmap_is_empty(p->wanted)) {
        start_batches(p);
        if (p->begun == p->ended)
            break;
        struct batch *b = p->batches[p->ended % BATCHES_MAX];
        rc = take_batch(p, b, e);
        end_batch(p, b);
    }
    while (p->ended < p->begun) /* those that were started and are not needed */
        end_batch(p, p->batches[p->ended % BATCHES_MAX]);
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
