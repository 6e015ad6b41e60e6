#include "merge_own.h"

#include "delta.h"
#include "dirty.h"
#include "fio.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What an entry takes in an index at most: head 6, volume and source 2 each, sectors 5 (of data 2),
 * length 3, tag 16. */
#define DATA_ENTRY_MAX 31u
#define ZERO_ENTRY_MAX 15u

/* -- Which -- */

static size_t reach(const struct chain_delta *d, size_t n, uint64_t clean)
{
    bool complete = false;
    size_t best = 0;
    for (size_t i = 0; i < n && d[i].rp <= clean; i++) {
        if (i > 0 && d[i - 1].labelled)
            break;
        complete |= (d[i].flags & MANIFEST_COMPLETE) != 0;
        if (!complete || (d[i].flags & MANIFEST_COMPLETE))
            best = i + 1;
    }
    return best;
}

size_t merge_reach(const struct chain *c, size_t first, size_t most)
{
    size_t n = first < c->count ? c->count - first : 0;
    return reach(c->deltas + first, n < most ? n : most, c->clean);
}

static bool same_volumes(const struct manifest *a, const struct manifest *b)
{
    if (a->volume_count != b->volume_count)
        return false;
    for (uint16_t i = 0; i < a->volume_count; i++)
        if (strcmp(a->volumes[i].name, b->volumes[i].name) != 0 ||
            a->volumes[i].size != b->volumes[i].size)
            return false;
    return true;
}

/* Fewer, so that what is left may be merged by itself. */
static void shorten(struct merge *m, size_t count)
{
    struct chain_delta *d = err_calloc(count > 0 ? count : 1, sizeof *d);
    for (size_t i = 0; i < count; i++)
        d[i] = m->inputs[i].facts;
    m->count = reach(d, count, UINT64_MAX);
    free(d);
}

/* -- Manifests -- */

int merge_give_way(const struct merge *m, struct err *e)
{
    if (!m->chain->merging.give_way)
        return 0;
    return err_set(e, ERR_AGAIN, "group %s: what is being merged can be shipped", m->chain->group);
}

int merge_file_error(struct err *e, int res, const char *path)
{
    if (res == -ENOENT)
        return err_set(e, ERR_AGAIN, "%s: it left the spool while it was merged", path);
    return err_os(e, res, "%s: reading", path);
}

static bool is_damage(int res)
{
    return res == -ERR_CORRUPT || res == -ERR_INPUT || res == -ERR_AUTH;
}

static int read_manifest(struct merge *m, struct merge_input *in, struct err *e)
{
    struct bytes_out encoded;
    struct chain_delta facts;
    char path[PATH_CAP];
    int res;
    path_delta(path, m->chain->dir, in->facts.rp);
    res = chain_read_manifest(m->chain, path, &in->m, &encoded, &facts, e);
    if (res < 0) {
        if (is_damage(res))
            m->damaged = in->facts.rp;
        return res == -ERR_NOENT ? merge_file_error(e, -ENOENT, path) : res;
    }
    in->read = true;
    bytes_free(&encoded);
    if (!digest_equal(&facts.digest, &in->facts.digest))
        return err_set(e, ERR_AGAIN, "%s: it is another than it was", path);
    return 0;
}

static int read_manifests(struct merge *m, struct err *e)
{
    size_t count = m->count, sources = 0;
    for (size_t i = 0; i < count; i++) {
        int res = merge_give_way(m, e);
        if (res == 0)
            res = read_manifest(m, &m->inputs[i], e);
        if (res < 0)
            return res;
        sources += m->inputs[i].m.source_count;
        if (sources > SOURCES_MAX || !same_volumes(&m->inputs[0].m, &m->inputs[i].m)) {
            shorten(m, i);
            return 0;
        }
    }
    return 0;
}

/* -- Indexes -- */

struct index_check {
    const uint8_t *raw;
    uint32_t len;
    struct digest digest;
};

static int index_digest(void *arg)
{
    struct index_check *c = arg;
    digest_of(&c->digest, c->raw, c->len);
    return 0;
}

int merge_load_index(struct merge *m, const struct merge_input *in, uint8_t **raw, struct err *e)
{
    struct index_check check = {.len = in->m.index_len};
    char path[PATH_CAP];
    int fd, res;
    path_delta(path, m->chain->dir, in->facts.rp);
    *raw = err_malloc(in->m.index_len > 0 ? in->m.index_len : 1); /* manifest_decode bounds it */
    fd = fio_open(path, O_RDONLY | O_CLOEXEC, 0);
    res = fd < 0 ? fd : fio_read_all(fd, *raw, in->m.index_len, in->m.index_place);
    fio_close_always(fd);
    check.raw = *raw;
    if (res == 0)
        res = fio_work(IO_WORK_LOW, index_digest, &check);
    if (res < 0) {
        res = merge_file_error(e, res, path);
    } else if (!digest_equal(&check.digest, &in->m.index_digest)) {
        m->damaged = in->facts.rp;
        res = err_set(e, ERR_CORRUPT, "%s: its index differs from its digest", path);
    }
    if (res < 0) {
        free(*raw);
        *raw = NULL;
    }
    return res;
}

/* On a worker: which extents of one delta are not covered by what is newer. */
struct weighing {
    struct merge_input *in;
    const uint8_t *raw;
    struct dirty **covered; /* by number of the volume */
    uint64_t kept;
    struct err err;
};

static void keep(struct weighing *w, const struct index_entry *x, uint32_t n)
{
    struct merge_input *in = w->in;
    in->kept[n / 8] = (uint8_t)(in->kept[n / 8] | 1u << (n % 8));
    in->of[x->source]++;
    in->sealed += x->sealed_len;
    in->index_max += x->kind == EXTENT_ZERO ? ZERO_ENTRY_MAX : DATA_ENTRY_MAX;
    w->kept++;
}

/* Extents of one source do not overlap, so each may cover at once. */
static int weigh_source(struct weighing *w, struct index_reader *r)
{
    struct index_entry x;
    uint32_t n = r->seen;
    int res = index_next(r, &x, &w->err), source = x.source;
    for (; res > 0 && x.source == source; n++) {
        struct dirty *covered = w->covered[x.volume];
        if (!dirty_full(covered, x.sector, (uint64_t)x.sector + x.sectors)) {
            keep(w, &x, n);
            dirty_add(covered, x.sector, x.sectors);
        }
        res = index_next(r, &x, &w->err);
    }
    return res < 0 ? res : 0;
}

static int weigh_work(void *arg)
{
    struct weighing *w = arg;
    const struct manifest *m = &w->in->m;
    struct index_reader start, *sources = NULL;
    uint16_t count = 0;
    int res;
    index_reader_init(&start, w->raw, m->index_len, m->extents, m->volume_count, m->source_count,
                      DELTA_HEADER_LEN, m->index_place);
    res = index_split(&start, &sources, &count, &w->err);
    while (res == 0 && count > 0)
        res = weigh_source(w, &sources[--count]);
    free(sources);
    return 0;
}

static int weigh(struct merge *m, struct merge_input *in, struct dirty **covered, struct err *e)
{
    struct weighing w = {.in = in, .covered = covered, .err = ERR_INIT};
    uint8_t *raw;
    int res = merge_load_index(m, in, &raw, e);
    if (res < 0)
        return res;
    w.raw = raw;
    in->kept = err_calloc(in->m.extents / 8 + 1, 1);
    in->of = err_calloc(in->m.source_count + 1u, sizeof *in->of);
    res = fio_work(IO_WORK_LOW, weigh_work, &w);
    free(raw);
    if (res < 0)
        return err_os(e, res, "group %s: weighing a merge", m->chain->group);
    if (w.err.code != ERR_OK) { /* signed, and no index: a defect or a newer version's */
        *e = w.err;
        return err_prefix(e, "group %s: delta of RP %" PRIu64, m->chain->group, in->facts.rp);
    }
    m->kept += w.kept;
    return 0;
}

static int weigh_all(struct merge *m, struct err *e)
{
    uint16_t volumes = m->inputs[0].m.volume_count;
    struct dirty **covered = err_calloc(volumes, sizeof *covered);
    int res = 0;
    for (uint16_t i = 0; i < volumes; i++)
        covered[i] = dirty_new();
    for (size_t i = m->count; i-- > 0 && res == 0;) {
        res = merge_give_way(m, e);
        if (res == 0)
            res = weigh(m, &m->inputs[i], covered, e);
    }
    for (uint16_t i = 0; i < volumes; i++)
        dirty_free(covered[i]);
    free(covered);
    return res;
}

/* -- What it comes to -- */

/* The number of a data key in what is written, which earlier inputs may have given it already. */
static uint16_t place_key(struct merge *m, size_t input, uint16_t k)
{
    const struct datakey_wraps *w = &m->inputs[input].m.keys[k];
    for (size_t i = input + 1; i-- > 0;) {
        const struct merge_input *in = &m->inputs[i];
        for (uint16_t j = 0; j < in->m.key_count; j++)
            if (in->key[j] != MERGE_NOWHERE && in->m.keys[j].count == w->count &&
                memcmp(in->m.keys[j].id, w->id, sizeof w->id) == 0 &&
                memcmp(in->m.keys[j].wraps, w->wraps, w->count * sizeof w->wraps[0]) == 0)
                return in->key[j];
    }
    return m->keys++;
}

/* Numbers the sources and keys of which something is left. Bytes that they take in a manifest. */
static uint64_t place_tables(struct merge *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct merge_input *in = &m->inputs[i];
        in->source = err_calloc(in->m.source_count + 1u, sizeof *in->source);
        in->key = err_calloc(in->m.key_count + 1u, sizeof *in->key);
        memset(in->key, 0xff, in->m.key_count * sizeof *in->key);
        for (uint16_t s = 0; s < in->m.source_count; s++) {
            uint16_t k = in->m.sources[s].key, keys = m->keys;
            in->source[s] = in->of[s] > 0 ? m->sources++ : MERGE_NOWHERE;
            if (in->of[s] == 0)
                continue;
            bytes += 8 + SEAL_SALT_LEN + 2;
            if (in->key[k] == MERGE_NOWHERE)
                in->key[k] = place_key(m, i, k);
            if (m->keys > keys)
                bytes += DATAKEY_ID_LEN + 2 + in->m.keys[k].count * sizeof in->m.keys[k].wraps[0];
        }
    }
    return bytes;
}

/* Everything of a manifest but its tables is shorter. */
#define MANIFEST_BASE 512u

static void sum_up(struct merge *m)
{

    uint64_t manifest = MANIFEST_BASE + place_tables(m), sealed = 0, index = 0, content;
    m->rp_first = m->inputs[0].facts.rp_first;
    m->rp = m->inputs[m->count - 1].facts.rp;
    for (size_t i = 0; i < m->count; i++) {
        const struct merge_input *in = &m->inputs[i];
        m->in_cost += spool_cost(in->facts.file_len);
        sealed += in->sealed;
        index += in->index_max;
    }
    for (uint16_t i = 0; i < m->inputs[0].m.volume_count; i++)
        manifest += 1 + strlen(m->inputs[0].m.volumes[i].name) + 8;
    content = DELTA_HEADER_LEN + sealed + index;
    manifest += (content / PART_SIZE + 1) * DIGEST_LEN;
    m->out_len = content + manifest + DELTA_TRAILER_LEN;
    m->out_cost = spool_cost(m->out_len);
    m->fits = m->kept < EXTENTS_MAX && index + KIB < INDEX_MAX && content < DELTA_MAX &&
              manifest <= MANIFEST_MAX && m->keys <= DATA_KEYS_MAX;
}

int merge_plan(struct merge *m, struct chain *c, size_t first, size_t count, struct err *e)
{
    int res;
    *m = (struct merge){.chain = c, .count = count, .asked = count};
    ASSERT(count >= 2 && first + count <= c->count && c->merging.first == 0);
    m->inputs = err_calloc(count, sizeof *m->inputs);
    for (size_t i = 0; i < count; i++)
        m->inputs[i].facts = c->deltas[first + i];
    c->merging.first = m->inputs[0].facts.rp_first;
    c->merging.last = m->inputs[count - 1].facts.rp;
    c->merging.give_way = false;
    res = read_manifests(m, e);
    if (res < 0 || m->count < 2)
        return res;
    res = weigh_all(m, e);
    if (res == 0)
        sum_up(m);
    return res;
}

void merge_end(struct merge *m)
{
    struct chain *c = m->chain;
    for (size_t i = 0; i < m->asked; i++) {
        struct merge_input *in = &m->inputs[i];
        if (in->read)
            manifest_free(&in->m);
        free(in->kept);
        free(in->of);
        free(in->source);
        free(in->key);
    }
    free(m->inputs);
    m->inputs = NULL;
    c->merging.first = c->merging.last = 0;
    c->merging.give_way = false;
    fiber_wake_all(&c->changed);
}
