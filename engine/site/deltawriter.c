#include "deltawriter.h"

#include "bulk.h"
#include "delta.h"
#include "tables.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT 3u

struct deltawriter {
    struct bufpool *parts;
    char path[PATH_CAP], tmp[PATH_CAP];
    struct bulk file;
    uint8_t *buf;    /* the part that fills; NULL: none yet */
    uint64_t len;    /* bytes appended to the file */
    uint64_t sealed; /* of them sealed extents */
    struct index_writer index;
    struct digest *digests; /* of each part, set by its fiber */
    uint32_t digest_cap;
    struct fiber *flying[IN_FLIGHT]; /* parts on their way to the disk, oldest first */
    unsigned flying_count;
    bool failed;
    struct err err; /* of a part's fiber */
};

struct part {
    struct deltawriter *w;
    uint8_t *buf;
    size_t len;
    uint32_t number;
    struct digest digest;
};

int deltawriter_new(struct deltawriter **out, struct bufpool *parts, const char *path,
                    uint16_t sources, struct err *e)
{
    struct deltawriter *w = err_calloc(1, sizeof *w);
    int res;
    w->parts = parts;
    path_format(w->path, "%s", path);
    path_format(w->tmp, "%s.tmp", path);
    index_writer_init(&w->index, DELTA_HEADER_LEN, sources);
    res = bulk_open(&w->file, w->tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (res < 0) {
        res = err_os(e, res, "%s: creating", w->tmp);
        index_writer_free(&w->index);
        free(w);
        return res;
    }
    *out = w;
    return 0;
}

static int part_digest(void *arg)
{
    struct part *p = arg;
    digest_of(&p->digest, p->buf, p->len);
    return 0;
}

static void part_fiber(void *arg)
{
    struct part *p = arg;
    struct deltawriter *w = p->w;
    int res = fio_work(IO_WORK_LOW, part_digest, p);
    if (res >= 0)
        res = bulk_write_all(&w->file, p->buf, p->len, (uint64_t)p->number * PART_SIZE);
    if (res < 0 && !w->failed) {
        w->failed = true;
        (void)err_os(&w->err, res, "%s: writing", w->tmp);
    }
    w->digests[p->number] = p->digest;
    bufpool_give(w->parts, p->buf);
    free(p);
}

/* Joining is not cancellable: no fiber may leave before its parts. */
static void land_oldest(struct deltawriter *w)
{
    fiber_join(w->flying[0]);
    w->flying_count--;
    memmove(w->flying, w->flying + 1, w->flying_count * sizeof w->flying[0]);
}

/* Hands the part that fills to a fiber. Not cancelled with whoever appends: it ends on its own. */
static void part_launch(struct deltawriter *w)
{
    struct part *p = err_malloc(sizeof *p);
    uint32_t number = (uint32_t)((w->len - 1) / PART_SIZE);
    *p = (struct part){.w = w,
                       .buf = w->buf,
                       .len = (size_t)(w->len - (uint64_t)number * PART_SIZE),
                       .number = number};
    if (number >= w->digest_cap) {
        w->digest_cap = w->digest_cap ? w->digest_cap * 2 : 16;
        w->digests = err_realloc(w->digests, w->digest_cap * sizeof *w->digests);
    }
    w->buf = NULL;
    while (w->flying_count == IN_FLIGHT)
        land_oldest(w);
    w->flying[w->flying_count++] = fiber_spawn(fiber_io(), "part", part_fiber, p);
}

static void land_all(struct deltawriter *w)
{
    while (w->flying_count > 0)
        land_oldest(w);
}

static int append_bytes(struct deltawriter *w, const uint8_t *src, size_t len, struct err *e)
{
    while (len > 0) {
        size_t at = (size_t)(w->len % PART_SIZE);
        size_t n = PART_SIZE - at < len ? PART_SIZE - at : len;
        if (w->failed) {
            *e = w->err;
            return -(int)e->code;
        }
        if (w->len / PART_SIZE >= PARTS_MAX)
            return err_set(e, ERR_LIMIT, "%s: more than %u parts", w->tmp, PARTS_MAX);
        if (!w->buf) {
            w->buf = bufpool_take(w->parts);
            if (!w->buf)
                return err_os(e, -ECANCELED, "%s", w->tmp);
        }
        memcpy(w->buf + at, src, n);
        w->len += n;
        src += n;
        len -= n;
        if (w->len % PART_SIZE == 0)
            part_launch(w);
    }
    return 0;
}

static int begin(struct deltawriter *w, struct err *e)
{
    uint8_t header[DELTA_HEADER_LEN];
    if (w->len > 0)
        return 0;
    delta_header(header);
    return append_bytes(w, header, sizeof header, e);
}

int deltawriter_entry(struct deltawriter *w, struct index_entry *entry, struct err *e)
{
    if (index_append(&w->index, entry))
        return 0;
    return err_set(e, ERR_LIMIT, "%s: more than %u extents, or an index of more than %llu bytes",
                   w->tmp, EXTENTS_MAX, (unsigned long long)INDEX_MAX);
}

int deltawriter_bytes(struct deltawriter *w, const uint8_t *sealed, size_t len, struct err *e)
{
    int res = begin(w, e);
    if (res < 0)
        return res;
    w->sealed += len;
    return append_bytes(w, sealed, len, e);
}

int deltawriter_append(struct deltawriter *w, struct index_entry *entries, uint32_t count,
                       const uint8_t *sealed, struct err *e)
{
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        int res = deltawriter_entry(w, &entries[i], e);
        if (res < 0)
            return res;
        len += entries[i].sealed_len;
    }
    return deltawriter_bytes(w, sealed, len, e);
}

uint64_t deltawriter_len(const struct deltawriter *w)
{
    return w->len + w->index.out.len + MANIFEST_MAX + DELTA_TRAILER_LEN;
}

uint64_t deltawriter_index_len(const struct deltawriter *w)
{
    return w->index.out.len;
}

uint32_t deltawriter_extents(const struct deltawriter *w)
{
    return w->index.count;
}

static void writer_free(struct deltawriter *w)
{
    ASSERT(w->flying_count == 0);
    if (w->buf)
        bufpool_give(w->parts, w->buf);
    index_writer_free(&w->index);
    free(w->digests);
    free(w);
}

struct index_job {
    const struct bytes_out *index;
    struct digest digest;
};

static int index_digest(void *arg)
{
    struct index_job *job = arg;
    digest_of(&job->digest, job->index->p, job->index->len);
    return 0;
}

static int append_tables(struct deltawriter *w, struct manifest *m, struct err *e)
{
    struct bytes_out out = bytes_out(TABLES_MAX);
    int res = tables_encode(&out, m, e);
    if (res == 0)
        res = append_bytes(w, out.p, out.len, e);
    bytes_free(&out);
    return res;
}

/* Index, tables, then the digests of all parts: what the manifest says of the bytes before it. */
static int close_parts(struct deltawriter *w, struct manifest *m, struct err *e)
{
    struct index_job job = {.index = &w->index.out};
    int res = begin(w, e);
    if (res < 0)
        return res;
    m->index_place = w->len;
    m->index_len = (uint32_t)w->index.out.len;
    m->extents = w->index.count;
    m->sealed_bytes = w->sealed;
    res = fio_work(IO_WORK_CPU, index_digest, &job);
    if (res < 0)
        return err_os(e, res, "%s: digesting its index", w->tmp);
    m->index_digest = job.digest;
    res = append_bytes(w, w->index.out.p, w->index.out.len, e);
    if (res == 0)
        res = append_tables(w, m, e);
    if (res < 0)
        return res;
    if (w->buf)
        part_launch(w);
    land_all(w);
    if (w->failed) {
        *e = w->err;
        return -(int)e->code;
    }
    m->part_count = manifest_parts_of(w->len);
    m->parts = w->digests;
    return 0;
}

static int write_tail(struct deltawriter *w, const struct bytes_out *manifest, uint64_t *file_len,
                      struct err *e)
{
    uint8_t trailer[DELTA_TRAILER_LEN];
    int res = bulk_write_all(&w->file, manifest->p, manifest->len, w->len);
    delta_trailer(trailer, (uint32_t)manifest->len);
    if (res == 0)
        res = bulk_write_all(&w->file, trailer, sizeof trailer, w->len + manifest->len);
    if (res == 0)
        res = bulk_sync(&w->file);
    *file_len = w->len + manifest->len + sizeof trailer;
    return res < 0 ? err_os(e, res, "%s: writing", w->tmp) : 0;
}

int deltawriter_finish(struct deltawriter *w, struct manifest *m, const struct key_secret *sign,
                       const char *dir, struct digest *digest, uint64_t *file_len,
                       uint32_t *manifest_len, struct err *e)
{
    struct bytes_out encoded = bytes_out(MANIFEST_MAX);
    int res = close_parts(w, m, e);
    if (res == 0)
        res = manifest_encode(&encoded, m, sign, e);
    if (res == 0)
        res = write_tail(w, &encoded, file_len, e);
    m->parts = NULL;
    if (res < 0)
        goto failed;
    manifest_digest(digest, encoded.p, encoded.len);
    *manifest_len = (uint32_t)encoded.len;
    res = fio_rename(w->tmp, w->path);
    if (res < 0) {
        res = err_os(e, res, "%s: renaming to %s", w->tmp, w->path);
        goto failed;
    }
    res = fio_sync_dir(dir);
    if (res < 0) {
        /* It may or may not be there after a crash. Nobody has counted on it yet. */
        (void)fio_unlink_always(w->path);
        res = err_os(e, res, "%s: syncing", dir);
        goto failed;
    }
    bulk_close_always(&w->file);
    bytes_free(&encoded);
    writer_free(w);
    return 0;
failed:
    bytes_free(&encoded);
    deltawriter_abort(w);
    return res;
}

void deltawriter_abort(struct deltawriter *w)
{
    if (!w)
        return;
    land_all(w);
    bulk_close_always(&w->file);
    (void)fio_unlink_always(w->tmp);
    writer_free(w);
}
