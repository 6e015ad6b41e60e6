#include "merge_own.h"

#include "delta.h"
#include "fio.h"
#include "tables.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

/* Bytes of an input's file between two places that its manifest tells of. */
static int load_range(const struct merge *m, const struct merge_input *in, uint64_t place,
                      uint32_t len, uint8_t **raw, struct err *e)
{
    char path[PATH_CAP];
    int fd, res;
    path_delta(path, m->chain->dir, in->facts.rp);
    *raw = err_malloc(len > 0 ? len : 1); /* manifest_decode bounds it */
    fd = fio_open(path, O_RDONLY | O_CLOEXEC, 0);
    res = fd < 0 ? fd : fio_read_all(fd, *raw, len, place);
    fio_close_always(fd);
    if (res == 0)
        return 0;
    free(*raw);
    *raw = NULL;
    return merge_file_error(e, res, path);
}

static bool is_damage(int res)
{
    return res == -ERR_CORRUPT || res == -ERR_INPUT || res == -ERR_AUTH;
}

static int read_tables(struct merge *m, struct merge_input *in, struct manifest *d, struct err *e)
{
    uint8_t *raw;
    int res = load_range(m, in, manifest_tables_place(d), d->tables_len, &raw, e);
    if (res < 0)
        return res;
    res = tables_decode(d, raw, d->tables_len, e);
    free(raw);
    if (is_damage(res))
        m->damaged = in->facts.rp;
    return res < 0 ? err_prefix(e, "group %s: delta of RP %" PRIu64, m->chain->group, in->facts.rp)
                   : 0;
}

static int read_manifest(struct merge *m, size_t n, struct err *e)
{
    struct merge_input *in = &m->inputs[n];
    struct manifest *d = &m->fold.inputs[n].m;
    struct bytes_out encoded;
    struct chain_delta facts;
    char path[PATH_CAP];
    int res;
    path_delta(path, m->chain->dir, in->facts.rp);
    res = chain_read_manifest(m->chain, path, d, &encoded, &facts, e);
    if (res < 0) {
        if (is_damage(res))
            m->damaged = in->facts.rp;
        return res == -ERR_NOENT ? merge_file_error(e, -ENOENT, path) : res;
    }
    m->fold.inputs[n].link = in->facts.link;
    bytes_free(&encoded);
    if (!digest_equal(&facts.digest, &in->facts.digest))
        return err_set(e, ERR_AGAIN, "%s: it is another than it was", path);
    return read_tables(m, in, d, e);
}

static int read_manifests(struct merge *m, struct err *e)
{
    const struct fold_input *in = m->fold.inputs;
    size_t count = m->count, sources = 0;
    for (size_t i = 0; i < count; i++) {
        int res = merge_give_way(m, e);
        if (res == 0)
            res = read_manifest(m, i, e);
        if (res < 0)
            return res;
        sources += in[i].m.source_count;
        if (sources > SOURCES_MAX || !fold_same_volumes(&in[0].m, &in[i].m)) {
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

int merge_load_index(struct merge *m, size_t n, uint8_t **raw, struct err *e)
{
    const struct manifest *d = &m->fold.inputs[n].m;
    const struct merge_input *in = &m->inputs[n];
    struct index_check check = {.len = d->index_len};
    int res = load_range(m, in, d->index_place, d->index_len, raw, e);
    if (res < 0)
        return res;
    check.raw = *raw;
    res = fio_work(IO_WORK_LOW, index_digest, &check);
    if (res < 0) {
        res = err_os(e, res, "group %s: reading the index of RP %" PRIu64, m->chain->group,
                     in->facts.rp);
    } else if (!digest_equal(&check.digest, &d->index_digest)) {
        m->damaged = in->facts.rp;
        res = err_set(e, ERR_CORRUPT,
                      "group %s: the index of RP %" PRIu64 " in the spool differs from its digest",
                      m->chain->group, in->facts.rp);
    }
    if (res < 0) {
        free(*raw);
        *raw = NULL;
    }
    return res;
}

/* On a worker. */
struct weighing {
    struct fold *fold;
    size_t input;
    const uint8_t *raw;
    struct err err;
};

static int weigh_work(void *arg)
{
    struct weighing *w = arg;
    (void)fold_weigh(w->fold, w->input, w->raw, &w->err);
    return 0;
}

static int weigh(struct merge *m, size_t n, struct err *e)
{
    struct weighing w = {.fold = &m->fold, .input = n, .err = ERR_INIT};
    uint8_t *raw;
    int res = merge_load_index(m, n, &raw, e);
    if (res < 0)
        return res;
    w.raw = raw;
    res = fio_work(IO_WORK_LOW, weigh_work, &w);
    free(raw);
    if (res < 0)
        return err_os(e, res, "group %s: weighing a merge", m->chain->group);
    if (w.err.code != ERR_OK) { /* signed, and no index: a defect or a newer version's */
        *e = w.err;
        return err_prefix(e, "group %s: delta of RP %" PRIu64, m->chain->group,
                          m->inputs[n].facts.rp);
    }
    m->kept += m->fold.inputs[n].extents;
    return 0;
}

static int weigh_all(struct merge *m, struct err *e)
{
    int res = 0;
    for (size_t i = m->count; i-- > 0 && res == 0;) {
        res = merge_give_way(m, e);
        if (res == 0)
            res = weigh(m, i, e);
    }
    return res;
}

/* -- What it comes to -- */

/* Everything of a manifest but volumes and parts is shorter. */
#define MANIFEST_BASE 512u

static void sum_up(struct merge *m)
{
    const struct manifest *first = &m->fold.inputs[0].m;
    uint64_t manifest = MANIFEST_BASE;
    m->output = (struct fold_output){.count = m->count, .rewrite = true};
    m->fits = fold_place(&m->fold, &m->output);
    m->rp_first = m->inputs[0].facts.rp_first;
    m->rp = m->inputs[m->count - 1].facts.rp;
    for (size_t i = 0; i < m->count; i++)
        m->in_cost += spool_cost(m->inputs[i].facts.file_len);
    for (uint16_t i = 0; i < first->volume_count; i++)
        manifest += 1 + strlen(first->volumes[i].name) + 8;
    manifest += (m->output.out_max / PART_SIZE + 1) * DIGEST_LEN;
    m->out_len = m->output.out_max + manifest + DELTA_TRAILER_LEN;
    m->out_cost = spool_cost(m->out_len);
}

int merge_plan(struct merge *m, struct chain *c, size_t first, size_t count, struct err *e)
{
    int res;
    *m = (struct merge){.chain = c, .count = count, .asked = count};
    ASSERT(count >= 2 && first + count <= c->count && c->merging.first == 0);
    m->inputs = err_calloc(count, sizeof *m->inputs);
    fold_init(&m->fold, count);
    for (size_t i = 0; i < count; i++)
        m->inputs[i].facts = c->deltas[first + i];
    c->merging.first = m->inputs[0].facts.rp_first;
    c->merging.last = m->inputs[count - 1].facts.rp;
    c->merging.give_way = false;
    res = read_manifests(m, e);
    if (res < 0 || m->count < 2)
        return res;
    /* Those that were read and are left out stay in the array, to be freed. */
    m->fold.count = m->count;
    res = weigh_all(m, e);
    if (res == 0)
        sum_up(m);
    return res;
}

void merge_end(struct merge *m)
{
    struct chain *c = m->chain;
    m->fold.count = m->asked;
    fold_free(&m->fold, true);
    free(m->inputs);
    m->inputs = NULL;
    c->merging.first = c->merging.last = 0;
    c->merging.give_way = false;
    fiber_wake_all(&c->changed);
}
