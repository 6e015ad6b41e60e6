#include "history.h"

#include <stdlib.h>
#include <string.h>

#define LANES 8u /* pages in flight */

/* ---- one page ---- */

/* What a page's request is made of. */
struct page {
    uint64_t rp[FETCH_MANY_MAX], offset[FETCH_MANY_MAX];
    uint32_t length[FETCH_MANY_MAX];
    uint8_t digests[FETCH_MANY_MAX * DIGEST_LEN];
    uint8_t payload[PAYLOAD_MAX];
};

static int ask(struct reader *r, struct page *p, const struct page_range *x, size_t n,
               uint32_t *came, struct err *e)
{
    struct line_call call = {.call = {.expect = FRAME_FetchedMany, .payload = p->payload}};
    Relais__FetchMany m;
    relais__fetch_many__init(&m);
    for (size_t i = 0; i < n; i++) {
        p->rp[i] = r->points[x[i].point].rp;
        p->offset[i] = x[i].off;
        p->length[i] = x[i].len;
        memcpy(p->digests + i * DIGEST_LEN, r->links[x[i].point].digest.b, DIGEST_LEN);
        call.call.payload_cap += x[i].len;
    }
    m.site = r->site;
    m.group = r->group;
    m.n_rp = m.n_offset = m.n_length = n;
    m.rp = p->rp;
    m.offset = p->offset;
    m.length = p->length;
    m.digests = (ProtobufCBinaryData){n * DIGEST_LEN, p->digests};
    int rc = line_ask(r->line, &call, FRAME_FetchMany, &m.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    *came = call.call.payload_len;
    line_end(r->line, &call);
    return 0;
}

/* As many ranges, from the first on, as came. */
static int take(const struct reader *r, const struct page *p, struct page_range *x, size_t n,
                uint32_t came, size_t *taken, struct err *e)
{
    uint32_t at = 0;
    size_t i = 0;
    for (; i < n && came - at >= x[i].len; i++) {
        memcpy(x[i].buf, p->payload + at, x[i].len);
        x[i].have = true;
        at += x[i].len;
    }
    *taken = i;
    if (i > 0 && at == came)
        return 0;
    return err_set(e, ERR_PROTO,
                   "%s/%s: asked for ranges of %zu deltas, %" PRIu32
                   " bytes came, which is no whole "
                   "number of them",
                   r->site, r->group, n, came);
}

/* What the page could not bring, on its own: so the error is that of one delta. */
static int fetch_alone(struct reader *r, struct page_range *x, struct err *e)
{
    struct err why = ERR_INIT;
    int rc = fetch_range(r, x->point, x->off, x->buf, x->len, &why);
    x->have = rc == 0;
    if (rc == 0)
        return 0;
    if (!history_is_damage(rc)) {
        *e = why;
        return rc;
    }
    x->err = err_malloc(sizeof *x->err);
    *x->err = why;
    return 0;
}

int page_fetch(struct reader *r, struct page_range *ranges, size_t n, struct err *e)
{
    struct page *p;
    int rc = 0;
    ASSERT(n <= FETCH_MANY_MAX);
    if (n == 1)
        return fetch_alone(r, ranges, e);
    p = err_malloc(sizeof *p);
    for (size_t i = 0; i < n && rc == 0;) {
        struct err why = ERR_INIT;
        uint32_t came = 0;
        size_t taken = 0;
        rc = ask(r, p, ranges + i, n - i, &came, &why);
        if (rc == 0) {
            rc = take(r, p, ranges + i, n - i, came, &taken, e);
            i += taken;
        } else if (history_is_damage(rc) || rc == -ERR_AGAIN) {
            rc = fetch_alone(r, &ranges[i++], e);
        } else {
            *e = why;
        }
    }
    free(p);
    return rc;
}

/* ---- many ---- */

struct pages {
    struct reader *r;
    struct page_range *ranges;
    size_t count, next, done;
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
    int rc;
    struct err *e;
};

static size_t cut_page(const struct pages *p, size_t from)
{
    uint64_t len = 0;
    size_t n = 0;
    while (from + n < p->count && n < FETCH_MANY_MAX &&
           len + p->ranges[from + n].len <= PAYLOAD_MAX)
        len += p->ranges[from + n++].len;
    return n;
}

static void lane_main(void *arg)
{
    struct pages *p = arg;
    while (p->rc == 0 && p->next < p->count) {
        struct err e = ERR_INIT;
        size_t from = p->next, n = cut_page(p, from);
        p->next += n;
        int rc = page_fetch(p->r, p->ranges + from, n, &e);
        if (rc < 0 && p->rc == 0) {
            p->rc = rc;
            *p->e = e;
        }
        p->done += n;
        if (p->rc == 0 && p->progress)
            p->progress(p->arg, p->done, p->count);
    }
}

int pages_fetch(struct reader *r, struct page_range *ranges, size_t n,
                void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
                struct err *e)
{
    struct pages p = {
        .r = r, .ranges = ranges, .count = n, .progress = progress, .arg = arg, .e = e};
    struct fiber *lanes[LANES];
    for (unsigned i = 0; i < LANES; i++)
        lanes[i] = fiber_spawn(fiber_io(), "page", lane_main, &p);
    for (unsigned i = 0; i < LANES; i++) {
        if (fiber_cancelled())
            fiber_cancel(lanes[i]);
        fiber_join(lanes[i]);
    }
    return p.rc;
}
