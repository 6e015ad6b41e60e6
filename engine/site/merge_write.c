#include "merge_own.h"

#include "bulk.h"
#include "delta.h"
#include "deltawriter.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writing {
    struct merge *merge;
    struct deltawriter *w;
    merge_pace *pace;
    void *arg;
    struct manifest m; /* of what is written */
    /* The input that is read, and its part in `part`. */
    size_t input;
    char path[PATH_CAP];
    struct bulk file;
    uint8_t *part;
    uint32_t part_number;
    bool part_read;
};

struct part_check {
    const uint8_t *buf;
    uint32_t len;
    struct digest digest;
};

static int part_digest(void *arg)
{
    struct part_check *c = arg;
    digest_of(&c->digest, c->buf, c->len);
    return 0;
}

static int read_part(struct writing *w, uint32_t n, struct err *e)
{
    struct part_check check = {.buf = w->part,
                               .len = manifest_part_len(&w->merge->fold.inputs[w->input].m, n)};
    int res = w->pace(w->arg, e);
    if (res == 0)
        res = merge_give_way(w->merge, e);
    if (res < 0)
        return res;
    w->part_read = false;
    res = bulk_read_all(&w->file, w->part, check.len, PART_SIZE, (uint64_t)n * PART_SIZE);
    if (res == 0)
        res = fio_work(IO_WORK_LOW, part_digest, &check);
    if (res < 0)
        return err_os(e, res, "%s: reading part %" PRIu32, w->path, n);
    if (!digest_equal(&check.digest, &w->merge->fold.inputs[w->input].m.parts[n])) {
        w->merge->damaged = w->merge->inputs[w->input].facts.rp;
        return err_set(e, ERR_CORRUPT, "%s: part %" PRIu32 " differs from its digest", w->path, n);
    }
    w->part_number = n;
    w->part_read = true;
    return 0;
}

/* The sealed bytes of one extent, which may lie in two parts. */
static int copy(struct writing *w, uint64_t place, uint64_t len, struct err *e)
{
    while (len > 0) {
        uint32_t n = (uint32_t)(place / PART_SIZE);
        uint64_t off = place % PART_SIZE, some = PART_SIZE - off < len ? PART_SIZE - off : len;
        int res = w->part_read && w->part_number == n ? 0 : read_part(w, n, e);
        if (res == 0)
            res = deltawriter_bytes(w->w, w->part + off, some, e);
        if (res < 0)
            return res;
        place += some;
        len -= some;
    }
    return 0;
}

static int take(void *arg, struct index_entry *x, uint64_t from, struct err *e)
{
    struct writing *w = arg;
    int res = deltawriter_entry(w->w, x, e);
    fold_count(&w->m, x);
    return res < 0 ? res : copy(w, from, x->sealed_len, e);
}

static int write_input(struct writing *w, size_t n, struct err *e)
{
    struct merge *m = w->merge;
    uint8_t *raw;
    int res = merge_give_way(m, e);
    if (res == 0)
        res = merge_load_index(m, n, &raw, e);
    if (res < 0)
        return res;
    w->input = n;
    w->part_read = false;
    path_delta(w->path, m->chain->dir, m->inputs[n].facts.rp);
    res = bulk_open(&w->file, w->path, O_RDONLY | O_CLOEXEC, 0);
    res = res < 0 ? merge_file_error(e, res, w->path) : fold_emit(&m->fold, n, raw, take, w, e);
    bulk_close_always(&w->file);
    w->file = BULK_CLOSED;
    free(raw);
    return res;
}

static int write_inputs(struct writing *w, struct err *e)
{
    struct merge *m = w->merge;
    int res = 0;
    w->part = bulk_alloc(PART_SIZE);
    for (size_t i = 0; i < m->count && res == 0; i++)
        res = write_input(w, i, e);
    free(w->part);
    return res;
}

/* -- The manifest -- */

static int finish(struct writing *w, const struct key_secret *sign, struct chain_delta *d,
                  struct err *e)
{
    const struct merge *m = w->merge;
    struct manifest out = w->m;
    int res;
    *d = (struct chain_delta){.rp_first = out.rp_first,
                              .rp = out.rp,
                              .link = out.stands_for,
                              .parent = out.parent,
                              .cut_time = out.cut_time,
                              .flags = out.flags,
                              .labelled = out.label[0] != '\0'};
    res = deltawriter_finish(w->w, &out, sign, m->chain->dir, &d->digest, &d->file_len,
                             &d->manifest_len, e);
    w->w = NULL;
    ASSERT(res < 0 || d->file_len <= m->out_len); /* or the spool could pass its budget */
    return res;
}

int merge_write(struct merge *m, struct bufpool *parts, const struct key_secret *sign,
                uint64_t reserved, merge_pace *pace, void *arg, struct err *e)
{
    struct writing w = {.merge = m, .pace = pace, .arg = arg, .file = BULK_CLOSED};
    struct chain_delta d;
    char path[PATH_CAP];
    int res;
    ASSERT(m->fits && m->count >= 2 && reserved >= m->out_cost);
    fold_manifest(&m->fold, &m->output, m->inputs[m->count - 1].facts.rp, &w.m);
    path_merged(path, m->chain->dir, m->inputs[m->count - 1].facts.rp);
    res = deltawriter_new(&w.w, parts, path, m->output.sources, e);
    if (res == 0)
        res = write_inputs(&w, e);
    if (res == 0)
        res = finish(&w, sign, &d, e);
    deltawriter_abort(w.w);
    free(w.m.sources);
    free(w.m.keys);
    if (res == 0) {
        res = chain_replace(m->chain, &d, path, reserved, e);
        if (res < 0)
            (void)fio_unlink_always(path);
    }
    if (res < 0)
        spool_settle(&m->chain->share, reserved, 0);
    return res;
}
