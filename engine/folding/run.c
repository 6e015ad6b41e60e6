#include "run.h"

#include "delta.h"
#include "fio.h"
#include "tables.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Read at once from the end of a delta: of a small one that is index, tables and manifest. */
#define TAIL_LEN ((uint32_t)(16 * KIB))

/* The end of a delta's file, without the trailer. */
struct tail {
    uint8_t *p;
    uint64_t from, end;
};

void run_digest(struct digest *out, const struct run_delta *deltas, size_t count)
{
    uint8_t *all = err_malloc(count * DIGEST_LEN + 1);
    for (size_t i = 0; i < count; i++)
        memcpy(all + i * DIGEST_LEN, deltas[i].digest.b, DIGEST_LEN);
    digest_of(out, all, count * DIGEST_LEN);
    free(all);
}

static int name_delta(const struct run *r, size_t n, struct err *e)
{
    return err_prefix(e, "%s/%s: delta of RP %" PRIu64, r->site, r->group, r->deltas[n].rp);
}

/* Bytes of the delta, from the tail where they are in it. *out is the caller's. */
static int read_range(const struct run *r, size_t n, const struct tail *t, uint64_t off,
                      uint32_t len, uint8_t **out, struct err *e)
{
    int res = 0;
    *out = err_malloc(len > 0 ? len : 1);
    if (t && off >= t->from && off + len <= t->end)
        memcpy(*out, t->p + (off - t->from), len);
    else if (len > 0)
        res = r->read(r->arg, n, off, *out, len, e);
    if (res < 0) {
        free(*out);
        *out = NULL;
    }
    return res;
}

/* ---- manifests ---- */

struct reading {
    struct run *run;
    size_t n;
    const uint8_t *manifest, *tables;
    struct err err;
};

static int check_manifest(void *arg)
{
    struct reading *x = arg;
    const struct run_delta *d = &x->run->deltas[x->n];
    struct digest digest;
    manifest_digest(&digest, x->manifest, d->manifest_len);
    if (!digest_equal(&digest, &d->digest))
        (void)err_set(&x->err, ERR_CORRUPT, "its manifest differs from its digest");
    else if (manifest_verify(x->manifest, d->manifest_len, x->run->signer, &x->err) == 0)
        (void)manifest_decode(&x->run->fold.inputs[x->n].m, x->manifest, d->manifest_len, &x->err);
    return 0;
}

static int check_place(const struct run *r, size_t n, struct err *e)
{
    static const struct digest zero;
    const struct run_delta *d = &r->deltas[n];
    const struct manifest *m = &r->fold.inputs[n].m;
    const struct digest *parent = n > 0 ? &r->fold.inputs[n - 1].link : &m->parent;
    if (strcmp(m->site, r->site) != 0 || strcmp(m->group, r->group) != 0)
        return err_set(e, ERR_CHAIN, "it is a manifest of %s/%s", m->site, m->group);
    if (m->rp_first != d->rp_first || m->rp != d->rp ||
        (n > 0 && m->rp_first != r->deltas[n - 1].rp + 1))
        return err_set(e, ERR_CHAIN, "it is RP %" PRIu64 "-%" PRIu64 ", which is not what is due",
                       m->rp_first, m->rp);
    if (!digest_equal(&m->parent, m->rp_first == 1 ? &zero : parent))
        return err_set(e, ERR_CHAIN, "its parent is another than the delta before it");
    if (delta_file_len(m, d->manifest_len) != d->file_len)
        return err_set(e, ERR_CORRUPT, "it has %" PRIu64 " bytes, by its manifest %" PRIu64,
                       d->file_len, delta_file_len(m, d->manifest_len));
    return 0;
}

static int check_tables(void *arg)
{
    struct reading *x = arg;
    struct manifest *m = &x->run->fold.inputs[x->n].m;
    (void)tables_decode(m, x->tables, m->tables_len, &x->err);
    return 0;
}

static int on_worker(int (*fn)(void *), struct reading *x, struct err *e)
{
    int res = fio_work(IO_WORK_LOW, fn, x);
    if (res < 0)
        return err_os(e, res, "reading it");
    if (x->err.code != ERR_OK) {
        *e = x->err;
        return -(int)e->code;
    }
    return 0;
}

static int read_parts_of(struct run *r, size_t n, const struct tail *t, struct err *e)
{
    const struct run_delta *d = &r->deltas[n];
    struct fold_input *in = &r->fold.inputs[n];
    struct reading x = {.run = r, .n = n, .err = ERR_INIT};
    uint8_t *raw = NULL;
    int res = read_range(r, n, t, t->end - d->manifest_len, d->manifest_len, &raw, e);
    x.manifest = raw;
    if (res == 0)
        res = on_worker(check_manifest, &x, e);
    if (res == 0)
        res = check_place(r, n, e);
    if (res == 0)
        in->link = *manifest_link(&in->m, &d->digest);
    free(raw);
    raw = NULL;
    if (res == 0)
        res = read_range(r, n, t, manifest_tables_place(&in->m), in->m.tables_len, &raw, e);
    x.tables = raw;
    if (res == 0)
        res = on_worker(check_tables, &x, e);
    free(raw);
    if (res == 0 && r->held + in->m.index_len <= RUN_HOLD) {
        res = read_range(r, n, t, in->m.index_place, in->m.index_len, &r->indexes[n], e);
        r->held += in->m.index_len;
    }
    return res;
}

static int read_delta(struct run *r, size_t n, struct err *e)
{
    const struct run_delta *d = &r->deltas[n];
    struct tail t = {.end = d->file_len - DELTA_TRAILER_LEN};
    int res;
    if (d->manifest_len == 0 || d->manifest_len > MANIFEST_MAX ||
        d->file_len > DELTA_MAX + MANIFEST_MAX + DELTA_TRAILER_LEN ||
        d->file_len < (uint64_t)DELTA_HEADER_LEN + d->manifest_len + DELTA_TRAILER_LEN)
        return err_set(e, ERR_INPUT, "%" PRIu64 " bytes with a manifest of %" PRIu32, d->file_len,
                       d->manifest_len);
    t.from = t.end < TAIL_LEN ? 0 : t.end - TAIL_LEN;
    t.p = err_malloc(TAIL_LEN);
    res = r->read(r->arg, n, t.from, t.p, (uint32_t)(t.end - t.from), e);
    if (res == 0)
        res = read_parts_of(r, n, &t, e);
    free(t.p);
    return res;
}

/* ---- indexes ---- */

struct indexing {
    struct run *run;
    size_t n;
    const uint8_t *raw;
    struct run_built *built; /* NULL: it is weighed */
    struct err err;
};

static int take_entry(void *arg, struct index_entry *x, uint64_t from, struct err *e)
{
    struct run_built *b = arg;
    (void)from;
    if (!index_append(&b->index, x))
        return err_set(e, ERR_LIMIT, "more extents than a delta may have");
    fold_count(&b->m, x);
    return 0;
}

static int index_work(void *arg)
{
    struct indexing *x = arg;
    const struct manifest *m = &x->run->fold.inputs[x->n].m;
    struct digest d;
    digest_of(&d, x->raw, m->index_len);
    if (!digest_equal(&d, &m->index_digest))
        (void)err_set(&x->err, ERR_CORRUPT, "its index differs from its digest");
    else if (x->built)
        (void)fold_emit(&x->run->fold, x->n, x->raw, take_entry, x->built, &x->err);
    else
        (void)fold_weigh(&x->run->fold, x->n, x->raw, &x->err);
    return 0;
}

/* The index, from what is held or read again; *raw is the caller's to free when *own. */
static int get_index(struct run *r, size_t n, uint8_t **raw, bool *own, struct err *e)
{
    const struct manifest *m = &r->fold.inputs[n].m;
    *raw = r->indexes[n];
    *own = !*raw;
    return *own ? read_range(r, n, NULL, m->index_place, m->index_len, raw, e) : 0;
}

static int work_index(struct run *r, size_t n, struct run_built *built, struct err *e)
{
    struct indexing x = {.run = r, .n = n, .built = built, .err = ERR_INIT};
    uint8_t *raw;
    bool own;
    int res = get_index(r, n, &raw, &own, e);
    if (res < 0)
        return res;
    x.raw = raw;
    res = fio_work(IO_WORK_LOW, index_work, &x);
    if (own)
        free(raw);
    if (res < 0)
        return err_os(e, res, "reading an index");
    *e = x.err;
    return -(int)x.err.code;
}

/* ---- the run ---- */

int run_open(struct run *r, struct err *e)
{
    int res = 0;
    if (r->count == 0 || r->count > RUN_MAX)
        return err_set(e, ERR_LIMIT, "%s/%s: a run of %zu deltas; 1 to %u are possible", r->site,
                       r->group, r->count, RUN_MAX);
    run_digest(&r->inputs, r->deltas, r->count);
    fold_init(&r->fold, r->count);
    r->indexes = err_calloc(r->count, sizeof *r->indexes);
    r->outputs = err_calloc(r->count, sizeof *r->outputs);
    for (size_t i = 0; i < r->count && res == 0; i++)
        if ((res = read_delta(r, i, e)) < 0)
            return name_delta(r, i, e);
    for (size_t i = r->count; i-- > 0 && res == 0;)
        if ((res = work_index(r, i, NULL, e)) < 0)
            return name_delta(r, i, e);
    r->output_count = fold_plan(&r->fold, r->outputs);
    return 0;
}

void run_close(struct run *r)
{
    for (size_t i = 0; r->indexes && i < r->count; i++)
        free(r->indexes[i]);
    free(r->indexes);
    free(r->outputs);
    fold_free(&r->fold, true);
    r->indexes = NULL;
    r->outputs = NULL;
}

static int close_work(void *arg)
{
    struct indexing *x = arg;
    (void)fold_close(&x->built->m, &x->built->index, &x->built->tables, &x->err);
    return 0;
}

int run_build(struct run *r, size_t output, struct run_built *out, struct err *e)
{
    struct fold_output *o = &r->outputs[output];
    struct indexing x = {.run = r, .built = out, .err = ERR_INIT};
    int res = 0;
    bool fits = fold_place(&r->fold, o);
    ASSERT(fits); /* the plan saw to it */
    fold_manifest(&r->fold, o, r->deltas[r->count - 1].rp, &out->m);
    index_writer_init(&out->index, DELTA_HEADER_LEN, o->sources);
    out->tables = bytes_out(TABLES_MAX);
    for (size_t i = o->first; i < o->first + o->count && res == 0; i++)
        if ((res = work_index(r, i, out, e)) < 0)
            res = name_delta(r, i, e);
    if (res < 0)
        return res;
    res = fio_work(IO_WORK_LOW, close_work, &x);
    if (res < 0)
        return err_os(e, res, "closing an index");
    *e = x.err;
    return -(int)x.err.code;
}

void run_built_free(struct run_built *b)
{
    index_writer_free(&b->index);
    bytes_free(&b->tables);
    free(b->m.sources);
    free(b->m.keys);
    *b = (struct run_built){0};
}

struct extents {
    int (*take)(void *arg, size_t input, uint64_t from, uint32_t len, struct err *e);
    void *arg;
    size_t input;
};

static int take_extent(void *arg, struct index_entry *x, uint64_t from, struct err *e)
{
    struct extents *s = arg;
    return x->sealed_len > 0 ? s->take(s->arg, s->input, from, x->sealed_len, e) : 0;
}

int run_extents(struct run *r, size_t output,
                int (*take)(void *arg, size_t input, uint64_t from, uint32_t len, struct err *e),
                void *arg, struct err *e)
{
    const struct fold_output *o = &r->outputs[output];
    struct extents s = {.take = take, .arg = arg};
    int res = 0;
    for (size_t i = o->first; i < o->first + o->count && res == 0; i++) {
        uint8_t *raw;
        bool own;
        res = get_index(r, i, &raw, &own, e);
        s.input = i;
        if (res == 0)
            res = fold_emit(&r->fold, i, raw, take_extent, &s, e);
        if (own)
            free(raw);
    }
    return res;
}
