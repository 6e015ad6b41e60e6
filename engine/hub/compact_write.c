#include "attestation.h"
#include "compact.h"
#include "fault.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A delta that is written as objects: a slice fills, the full ones are put. */
struct writing {
    struct hub *hub;
    struct run *run;
    const struct catalog_entry *entries; /* of the run's deltas */
    uint64_t rp;
    uint8_t id[CATALOG_ID_LEN];
    uint8_t *slice; /* PART_SIZE */
    uint64_t len;   /* of the file so far */
    struct digest *digests;
    uint32_t parts;
    uint8_t *window; /* a part of an input's file */
    size_t input;
    uint64_t from, end;
};

/* ---- objects ---- */

static int put_slice(struct writing *w, uint32_t number, size_t len, struct err *e)
{
    struct store *store = w->hub->store;
    char name[STORE_NAME_MAX];
    catalog_object_name(name, w->run->group, w->rp, w->id, number);
    return store->ops->put(store, w->run->site, name, w->slice, len, e);
}

struct digesting {
    const uint8_t *p;
    size_t len;
    struct digest *out;
};

static int digest_work(void *arg)
{
    struct digesting *d = arg;
    digest_of(d->out, d->p, d->len);
    return 0;
}

/* The part that the slice holds ends here. */
static int end_part(struct writing *w, size_t len, struct err *e)
{
    w->digests = err_realloc(w->digests, (w->parts + 1) * sizeof *w->digests);
    struct digesting d = {.p = w->slice, .len = len, .out = &w->digests[w->parts++]};
    int rc = fio_work(IO_WORK_LOW, digest_work, &d);
    return rc < 0 ? err_os(e, rc, "digesting a part") : 0;
}

/* parts: what is written belongs to a part; the manifest and the trailer do not. */
static int put_bytes(struct writing *w, const void *p, size_t len, bool parts, struct err *e)
{
    const uint8_t *src = p;
    while (len > 0) {
        size_t at = (size_t)(w->len % PART_SIZE);
        size_t n = PART_SIZE - at < len ? PART_SIZE - at : len;
        memcpy(w->slice + at, src, n);
        w->len += n;
        src += n;
        len -= n;
        if (w->len % PART_SIZE != 0)
            continue;
        int rc = parts ? end_part(w, PART_SIZE, e) : 0;
        if (rc == 0)
            rc = put_slice(w, (uint32_t)(w->len / PART_SIZE - 1), PART_SIZE, e);
        fault_reached(FAULT_COMPACT_PART);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- extents ---- */

/* Leaves the disks to others. */
static int rest(const struct writing *w, uint64_t bytes, struct err *e)
{
    uint64_t rate = w->hub->config->compact_rate;
    if (rate > 0 && fiber_sleep((uint64_t)((double)bytes * 1e9 / (double)rate)) < 0)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    return 0;
}

/* A whole part of an input, held against the digest that the site signed: what has rotted in the
 * store must not come under a new digest, or nobody would ever notice. */
static int read_part(struct writing *w, size_t input, uint64_t from, struct err *e)
{
    const struct manifest *m = &w->run->fold.inputs[input].m;
    uint32_t part = (uint32_t)(from / PART_SIZE), len = manifest_part_len(m, part);
    struct digest found;
    struct digesting d = {.p = w->window, .len = len, .out = &found};
    int rc = rest(w, len, e);
    w->end = 0;
    if (rc == 0)
        rc = w->run->read(w->run->arg, input, part * PART_SIZE, w->window, len, e);
    if (rc < 0)
        return rc;
    rc = fio_work(IO_WORK_LOW, digest_work, &d);
    if (rc < 0)
        return err_os(e, rc, "digesting a part");
    if (!digest_equal(&found, &m->parts[part]))
        return err_set(e, ERR_CORRUPT,
                       "%s/%s RP %" PRIu64 ": part %" PRIu32 " in the store is not what the site "
                       "signed: it has decayed; nothing is made of it",
                       w->run->site, w->run->group, m->rp, part);
    w->input = input;
    w->from = part * PART_SIZE;
    w->end = w->from + len;
    return 0;
}

static int copy_extent(void *arg, size_t input, uint64_t from, uint32_t len, struct err *e)
{
    struct writing *w = arg;
    while (len > 0) {
        uint32_t n;
        if (w->end == 0 || input != w->input || from < w->from || from >= w->end) {
            int rc = read_part(w, input, from, e);
            if (rc < 0)
                return rc;
        }
        n = w->end - from < len ? (uint32_t)(w->end - from) : len;
        int rc = put_bytes(w, w->window + (from - w->from), n, true, e);
        if (rc < 0)
            return rc;
        from += n;
        len -= n;
    }
    return 0;
}

static int write_parts(struct writing *w, size_t output, struct run_built *b, struct err *e)
{
    uint8_t header[DELTA_HEADER_LEN];
    delta_header(header);
    int rc = put_bytes(w, header, sizeof header, true, e);
    if (rc == 0)
        rc = run_extents(w->run, output, copy_extent, w, e);
    if (rc == 0)
        rc = put_bytes(w, b->index.out.p, b->index.out.len, true, e);
    if (rc == 0)
        rc = put_bytes(w, b->tables.p, b->tables.len, true, e);
    if (rc == 0 && w->len % PART_SIZE != 0)
        rc = end_part(w, (size_t)(w->len % PART_SIZE), e);
    ASSERT(rc < 0 || (w->len == manifest_place(&b->m) && w->parts == b->m.part_count));
    b->m.parts = w->digests;
    fault_reached(FAULT_COMPACT_PARTS);
    return rc;
}

/* ---- the manifest ---- */

/* raw: without a signature, then with it. */
static int have_signed(struct writing *w, struct bytes_out *raw, struct err *e)
{
    const struct run *run = w->run;
    struct proposal p = {.site = run->site,
                         .group = run->group,
                         .rp_first = run->deltas[0].rp_first,
                         .rp = run->deltas[run->count - 1].rp,
                         .inputs = run->inputs,
                         .manifest = raw->p,
                         .len = raw->len};
    int rc = attestation_ask(w->hub, &p, e);
    if (rc < 0)
        return rc;
    fault_reached(FAULT_COMPACT_SIGNED);
    bytes_put(raw, p.signature, sizeof p.signature);
    rc = manifest_verify(raw->p, raw->len, run->signer, e);
    return rc < 0 ? err_prefix(e, "%s/%s: what the site signed", run->site, run->group) : 0;
}

static int write_end(struct writing *w, const struct bytes_out *raw, struct err *e)
{
    uint8_t trailer[DELTA_TRAILER_LEN];
    delta_trailer(trailer, (uint32_t)raw->len);
    int rc = put_bytes(w, raw->p, raw->len, false, e);
    if (rc == 0)
        rc = put_bytes(w, trailer, sizeof trailer, false, e);
    if (rc == 0 && w->len % PART_SIZE != 0)
        rc = put_slice(w, (uint32_t)(w->len / PART_SIZE), (size_t)(w->len % PART_SIZE), e);
    return rc;
}

/* What is not the delta's own, committed when and so on, is as it was of the last that it replaces.
 */
static void fill_entry(const struct writing *w, const struct manifest *m,
                       const struct bytes_out *raw, struct catalog_entry *out)
{
    out->rp_first = m->rp_first;
    out->rp = m->rp;
    manifest_digest(&out->digest, raw->p, raw->len);
    out->parent = m->parent;
    out->link = m->stands_for;
    out->flags = m->flags;
    out->good_from = m->good_from;
    out->file_len = w->len;
    out->plain_bytes = m->plain_bytes;
    out->manifest_len = (uint32_t)raw->len;
    memcpy(out->id, w->id, sizeof out->id);
}

int compact_write(struct hub *h, struct run *run, size_t output,
                  const struct catalog_entry *entries, struct catalog_entry *out, struct err *e)
{
    const struct fold_output *o = &run->outputs[output];
    size_t last = o->first + o->count - 1;
    struct writing w = {.hub = h, .run = run, .entries = entries, .rp = entries[last].rp};
    struct bytes_out raw = bytes_out(MANIFEST_MAX);
    struct run_built b = {0};
    int rc;
    io_random(h->io, w.id, sizeof w.id);
    w.slice = err_malloc(PART_SIZE);
    w.window = err_malloc(PART_SIZE);
    rc = run_build(run, output, &b, e);
    if (rc == 0)
        rc = write_parts(&w, output, &b, e);
    if (rc == 0)
        rc = manifest_encode_unsigned(&raw, &b.m, e);
    if (rc == 0)
        rc = have_signed(&w, &raw, e);
    if (rc == 0)
        rc = write_end(&w, &raw, e);
    if (rc == 0) {
        *out = entries[last];
        fill_entry(&w, &b.m, &raw, out);
    }
    run_built_free(&b);
    bytes_free(&raw);
    free(w.digests);
    free(w.slice);
    free(w.window);
    return rc;
}
