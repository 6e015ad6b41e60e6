#include "history.h"

#include "tables.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW   32u  /* tables in flight */
#define BATCH    256u /* manifests verified by one piece of work */
#define READINGS 5u   /* of a history that changes while it is read */

bool history_is_damage(int rc)
{
    return rc == -ERR_CORRUPT || rc == -ERR_CHAIN || rc == -ERR_AUTH || rc == -ERR_INPUT ||
           rc == -ERR_NOENT || rc == -ERR_LIMIT || rc == -ERR_IO;
}

/* Tells of it if that is wanted, and makes it 0. */
static int tell_damage(struct reader *r, int rc, struct err *e)
{
    if (rc == 0 || !r->damage || !history_is_damage(rc))
        return rc;
    r->damage->tell(r->damage->arg, e);
    r->damaged++;
    *e = (struct err)ERR_INIT;
    return 0;
}

/* ---- listing ---- */

static int check_point(const struct reader *r, const Relais__RecoveryPoint *p, struct err *e)
{
    uint64_t head = r->count ? r->points[r->count - 1].rp : 0;
    /* As if deltas had been replaced by others between two pages. */
    bool overlaps = p->rp_first > 0 && p->rp_first <= head && p->rp > head;
    if (p->rp_first != head + 1 || p->rp < p->rp_first)
        return err_set(e, overlaps ? ERR_CONFLICT : ERR_CHAIN,
                       "%s/%s: the hub's history goes from RP %" PRIu64 " to RP %" PRIu64
                       "-%" PRIu64 ": a recovery point is missing or out of order",
                       r->site, r->group, head, p->rp_first, p->rp);
    if (p->digest.len != DIGEST_LEN || p->manifest_len == 0 || p->manifest_len > MANIFEST_MAX ||
        p->file_len > DELTA_MAX + MANIFEST_MAX + DELTA_TRAILER_LEN ||
        p->file_len < (uint64_t)DELTA_HEADER_LEN + p->manifest_len + DELTA_TRAILER_LEN)
        return err_set(e, ERR_PROTO,
                       "%s/%s: RP %" PRIu64 ": the hub tells of a delta of %" PRIu64
                       " bytes with a manifest of %" PRIu32 ": out of bounds",
                       r->site, r->group, p->rp, p->file_len, p->manifest_len);
    return 0;
}

static int add_point(struct reader *r, const Relais__RecoveryPoint *p, struct err *e)
{
    int rc = check_point(r, p, e);
    /* A gap can be passed over, a step back cannot. */
    bool gap = rc == -ERR_CHAIN && r->damage && p->rp >= p->rp_first &&
               p->rp_first > (r->count ? r->points[r->count - 1].rp : 0);
    if (gap)
        rc = tell_damage(r, rc, e);
    if (rc < 0)
        return rc;
    if (r->count == HISTORY_MAX)
        return err_set(e, ERR_LIMIT, "%s/%s: more than %u recovery points", r->site, r->group,
                       (unsigned)HISTORY_MAX);
    if (r->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 256;
        r->points = err_realloc(r->points, r->cap * sizeof *r->points);
        r->links = err_realloc(r->links, r->cap * sizeof *r->links);
    }
    struct reader_point *point = &r->points[r->count];
    struct history_link *link = &r->links[r->count];
    memset(point, 0, sizeof *point);
    memset(link, 0, sizeof *link);
    point->rp_first = p->rp_first;
    point->rp = p->rp;
    point->committed_time = p->committed_time;
    point->file_len = p->file_len;
    memcpy(link->digest.b, p->digest.data, DIGEST_LEN);
    link->manifest_len = p->manifest_len;
    link->gap = gap;
    r->count++;
    return 0;
}

static int list_page(struct reader *r, bool *more, struct err *e)
{
    struct line_call call = {.call = {.expect = FRAME_History}};
    Relais__HistoryGet m;
    relais__history_get__init(&m);
    m.site = r->site;
    m.group = r->group;
    m.after = r->count ? r->points[r->count - 1].rp : 0;
    int rc = line_ask(r->line, &call, FRAME_HistoryGet, &m.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    const Relais__History *h = call.call.reply.history;
    *more = h->more;
    if (h->more && h->n_points == 0)
        rc = err_set(e, ERR_PROTO, "%s/%s: an empty page of history with more to come", r->site,
                     r->group);
    for (size_t i = 0; i < h->n_points && rc == 0; i++)
        rc = add_point(r, h->points[i], e);
    line_end(r->line, &call);
    return rc;
}

/* ---- verifying ---- */

struct verification {
    const uint8_t *raw;
    uint32_t len;
    struct digest digest;
    struct manifest m;
    bool decoded;
    struct err err;
};

struct batch {
    const struct key_public *signer;
    bool each; /* no signature is left to a successor */
    size_t count;
    struct verification v[BATCH + 1]; /* one more: the successor of the last */
    bool more;                        /* there is one */
};

static void batch_decode(struct verification *v)
{
    manifest_digest(&v->digest, v->raw, v->len);
    v->decoded = manifest_decode(&v->m, v->raw, v->len, &v->err) == 0;
}

/* Whether the successor vouches for it: a manifest that a signed one names as its parent, by the
 * digest of all its bytes, is as good as signed. One that replaced others is named by what they
 * were, and needs its own signature. The head's always counts; so when all manifests verify, each
 * of them hangs on one that did. */
static bool is_vouched(const struct verification *v, const struct verification *successor)
{
    return v->decoded && successor->decoded && !(v->m.flags & MANIFEST_REPLACES) &&
           successor->m.rp_first == v->m.rp + 1 && digest_equal(&successor->m.parent, &v->digest);
}

static int verify_work(void *arg)
{
    struct batch *b = arg;
    for (size_t i = 0; i < b->count + b->more; i++)
        if (b->v[i].raw)
            batch_decode(&b->v[i]);
    for (size_t i = 0; i < b->count; i++) {
        struct verification *v = &b->v[i];
        struct err e = ERR_INIT;
        bool last = i + 1 == b->count && !b->more;
        if (!v->raw || (!b->each && !last && is_vouched(v, v + 1)))
            continue;
        if (manifest_verify(v->raw, v->len, b->signer, &e) < 0)
            v->err = e;
    }
    return 0;
}

/* Whether a signed manifest is the one due at this place of the chain. */
static int check_link(const struct reader *r, size_t i, const struct manifest *m, struct err *e)
{
    static const struct digest zero;
    const struct reader_point *p = &r->points[i];
    const struct digest *parent = i ? &r->links[i - 1].link : &zero;
    if (strcmp(m->site, r->site) != 0 || strcmp(m->group, r->group) != 0)
        return err_set(e, ERR_CHAIN, "it is a manifest of %s/%s", m->site, m->group);
    if (m->rp_first != p->rp_first || m->rp != p->rp)
        return err_set(e, ERR_CHAIN, "it is the manifest of RP %" PRIu64 "-%" PRIu64, m->rp_first,
                       m->rp);
    bool orphan = r->links[i].gap || (i && r->links[i - 1].bad);
    if (!orphan && !digest_equal(&m->parent, parent)) {
        char want[DIGEST_HEX], have[DIGEST_HEX];
        digest_hex(want, parent);
        digest_hex(have, &m->parent);
        return err_set(e, ERR_CHAIN,
                       "its parent is %.16s, but RP %" PRIu64 " is %.16s: history was forked or "
                       "rewritten",
                       have, p->rp_first - 1, want);
    }
    if (p->file_len != delta_file_len(m, r->links[i].manifest_len))
        return err_set(e, ERR_CORRUPT,
                       "the delta has %" PRIu64 " bytes at the hub, but %" PRIu64
                       " by its manifest",
                       p->file_len, delta_file_len(m, r->links[i].manifest_len));
    return 0;
}

/* What the hub said of the point gives way to what the site signed. */
static void take_over(struct reader *r, struct reader_point *p, const struct manifest *m)
{
    p->cut_time = m->cut_time;
    p->complete = manifest_offers(m, &r->good_from);
    p->plain_bytes = m->plain_bytes;
    memcpy(p->label, m->label, sizeof p->label);
}

static int verify_point(struct reader *r, size_t i, struct verification *v, struct err *e)
{
    struct history_link *l = &r->links[i];
    int rc;
    if (v->err.code != ERR_OK) {
        *e = v->err;
        rc = -(int)e->code;
    } else if (!digest_equal(&v->digest, &l->digest)) {
        rc = err_set(e, ERR_CHAIN, "the hub lists another manifest than it delivers");
    } else {
        rc = check_link(r, i, &v->m, e);
        if (rc == 0) {
            take_over(r, &r->points[i], &v->m);
            l->link = *manifest_link(&v->m, &l->digest);
        }
    }
    if (rc < 0)
        return err_prefix(e, "%s/%s: manifest of RP %" PRIu64, r->site, r->group, r->points[i].rp);
    return 0;
}

static uint64_t place_of(const struct reader *r, size_t i)
{
    return r->points[i].file_len - DELTA_TRAILER_LEN - r->links[i].manifest_len;
}

/* Those from `first` on. In their order, so that the first damage is the one that is told. */
static int verify_batch(struct reader *r, struct batch *b, const struct page_range *ranges,
                        size_t first, struct err *e)
{
    size_t left = r->count - first;
    int rc;
    memset(b, 0, sizeof *b);
    b->signer = &r->signer;
    b->each = r->damage != NULL;
    b->count = left < BATCH ? left : BATCH;
    b->more = left > BATCH;
    for (size_t i = 0; i < b->count + b->more; i++) {
        b->v[i].err = (struct err)ERR_INIT;
        b->v[i].raw = ranges[first + i].have ? r->links[first + i].raw : NULL;
        b->v[i].len = r->links[first + i].manifest_len;
    }
    rc = fio_work(IO_WORK_CPU, verify_work, b);
    if (rc < 0)
        rc = err_os(e, rc, "verifying manifests");
    for (size_t i = 0; i < b->count && rc == 0; i++) {
        const struct page_range *range = &ranges[first + i];
        if (range->have) {
            rc = verify_point(r, first + i, &b->v[i], e);
        } else {
            *e = *range->err;
            rc = -(int)e->code;
        }
        r->links[first + i].bad = rc < 0;
        rc = tell_damage(r, rc, e);
    }
    for (size_t i = 0; i < b->count + b->more; i++)
        if (b->v[i].decoded)
            manifest_free(&b->v[i].m);
    return rc;
}

static int fetch_manifests(struct reader *r, void (*progress)(void *, uint64_t, uint64_t),
                           void *arg, struct err *e)
{
    struct page_range *ranges = err_calloc(r->count, sizeof *ranges);
    struct batch *b = err_malloc(sizeof *b);
    for (size_t i = 0; i < r->count; i++) {
        struct history_link *l = &r->links[i];
        l->raw = err_malloc(l->manifest_len);
        ranges[i] = (struct page_range){
            .point = i, .off = place_of(r, i), .len = l->manifest_len, .buf = l->raw};
    }
    int rc = pages_fetch(r, ranges, r->count, progress, arg, e);
    for (size_t i = 0; i < r->count && rc == 0; i += BATCH)
        rc = verify_batch(r, b, ranges, i, e);
    for (size_t i = 0; i < r->count; i++)
        free(ranges[i].err);
    free(ranges);
    free(b);
    return rc;
}

void history_forget(struct reader *r)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->links[i].decoded)
            manifest_free(r->links[i].decoded);
        free(r->links[i].decoded);
        free(r->links[i].raw);
        free(r->links[i].tables);
    }
    r->count = 0;
    r->good_from = 0;
    r->damaged = 0;
}

static int load_once(struct reader *r, void (*progress)(void *arg, uint64_t done, uint64_t total),
                     void *arg, bool *listed, struct err *e)
{
    bool more = true;
    *listed = false;
    while (more) {
        int rc = list_page(r, &more, e);
        if (rc < 0)
            return rc;
    }
    *listed = true;
    if (r->count == 0)
        return err_set(e, ERR_NOENT, "%s/%s: the hub has no recovery point of such a group",
                       r->site, r->group);
    int rc = fetch_manifests(r, progress, arg, e);
    if (rc == 0 && r->damaged > 0)
        rc = err_set(e, ERR_CHAIN, "%s/%s: %zu of %zu places of the history are damaged", r->site,
                     r->group, r->damaged, r->count);
    return rc;
}

int history_load(struct reader *r, void (*progress)(void *arg, uint64_t done, uint64_t total),
                 void *arg, struct err *e)
{
    bool listed;
    int rc = load_once(r, progress, arg, &listed, e);
    for (unsigned i = 1; i < READINGS && rc == -ERR_CONFLICT; i++) {
        history_forget(r);
        *e = (struct err)ERR_INIT;
        rc = load_once(r, progress, arg, &listed, e);
    }
    /* No hub folds so often: this one lies. */
    if (rc == -ERR_CONFLICT && !listed)
        rc = -(int)(e->code = ERR_CHAIN);
    return rc;
}

ssize_t history_find(const struct reader *r, uint64_t rp)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (r->points[mid].rp < rp)
            low = mid + 1;
        else
            high = mid;
    }
    return low < r->count && r->points[low].rp == rp ? (ssize_t)low : -1;
}

void history_decode(const struct reader *r, size_t point, struct manifest *out)
{
    struct err e = ERR_INIT;
    /* It decoded when its chain was verified, and nobody writes to it. */
    int rc = manifest_decode(out, r->links[point].raw, r->links[point].manifest_len, &e);
    ASSERT(rc == 0);
}

/* ---- tables ---- */

struct tables_job {
    struct manifest *m;
    const uint8_t *raw;
    struct err err;
};

static int tables_work(void *arg)
{
    struct tables_job *j = arg;
    (void)tables_decode(j->m, j->raw, j->m->tables_len, &j->err);
    return 0;
}

int history_decode_tables(struct reader *r, size_t point, struct manifest *out, struct err *e)
{
    struct history_link *l = &r->links[point];
    int rc = 0;
    history_decode(r, point, out);
    if (!l->tables) {
        uint8_t *raw = err_malloc(out->tables_len > 0 ? out->tables_len : 1);
        rc = fetch_range(r, point, manifest_tables_place(out), raw, out->tables_len, e);
        if (rc < 0)
            free(raw);
        else
            l->tables = raw;
    }
    struct tables_job j = {.m = out, .raw = l->tables, .err = ERR_INIT};
    if (rc == 0 && (rc = fio_work(IO_WORK_CPU, tables_work, &j)) < 0)
        return err_os(e, rc, "reading tables");
    if (rc < 0 || j.err.code == ERR_OK)
        return rc;
    *e = j.err;
    free(l->tables);
    l->tables = NULL;
    return err_prefix(e, "%s/%s: delta of RP %" PRIu64, r->site, r->group, r->points[point].rp);
}

struct tables_load {
    struct reader *r;
    size_t *next;
    struct fiber *fiber;
    struct err err;
};

static void tables_main(void *arg)
{
    struct tables_load *l = arg;
    while (l->err.code == ERR_OK && *l->next < l->r->count) {
        struct manifest m;
        (void)history_decode_tables(l->r, (*l->next)++, &m, &l->err);
        manifest_free(&m);
    }
}

int history_load_tables(struct reader *r, struct err *e)
{
    struct tables_load *loads = err_calloc(WINDOW, sizeof *loads);
    size_t next = 0;
    int rc = 0;
    for (unsigned i = 0; i < WINDOW; i++) {
        loads[i] = (struct tables_load){.r = r, .next = &next, .err = ERR_INIT};
        loads[i].fiber = fiber_spawn(fiber_io(), "tables", tables_main, &loads[i]);
    }
    for (unsigned i = 0; i < WINDOW; i++) {
        fiber_join(loads[i].fiber);
        if (loads[i].err.code != ERR_OK && rc == 0) {
            *e = loads[i].err;
            rc = -(int)e->code;
        }
    }
    free(loads);
    return rc;
}
