/* serve_many.c: ranges of many committed deltas in one reply. A history of recovery points that are
 * seconds apart is tens of thousands of small deltas: whoever opens it would else wait for as many
 * round trips. The catalog is read a page at a time, and objects LANES at a time. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANES 4u   /* objects of one request that are read at once */
#define PAGE  128u /* catalog entries read at once */

struct many_range {
    uint64_t rp, offset;
    struct digest digest;
    uint32_t length, at; /* at: in the reply */
    uint64_t file_len;   /* of its delta; 0: not found */
    uint8_t id[CATALOG_ID_LEN];
    bool done;
};

struct many {
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    uint32_t count, len;
    struct many_range *ranges;
};

struct many_read {
    struct hub *hub;
    const struct many *many;
    uint8_t *buf;
    uint32_t next;
    bool failed;
    struct err first; /* of the first range: why it is not done */
};

/* ---- what is asked for ---- */

static void many_free(struct many *m)
{
    if (m)
        free(m->ranges);
    free(m);
}

/* Ascending, each once, and no more than a payload holds. */
static int check_ranges(const struct many *m, struct err *e)
{
    uint64_t len = 0, before = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct many_range *x = &m->ranges[i];
        len += x->length;
        if (x->rp <= before || x->length == 0)
            return err_set(e, ERR_PROTO,
                           "%" PRIu32 " bytes of RP %" PRIu64 " behind RP %" PRIu64
                           ": ranges ascend by RP, none is empty",
                           x->length, x->rp, before);
        before = x->rp;
    }
    if (len > PAYLOAD_MAX)
        return err_set(e, ERR_PROTO, "ranges of %" PRIu64 " bytes in all, at most %u", len,
                       (unsigned)PAYLOAD_MAX);
    return 0;
}

static int take_ranges(struct many *m, const Relais__FetchMany *ask, struct err *e)
{
    if (ask->n_rp == 0 || ask->n_rp > FETCH_MANY_MAX || ask->n_offset != ask->n_rp ||
        ask->n_length != ask->n_rp || ask->digests.len != ask->n_rp * DIGEST_LEN)
        return err_set(
            e, ERR_PROTO,
            "%zu RPs, %zu offsets, %zu lengths, digests of %zu bytes: as many of each, 1 "
            "to %u",
            ask->n_rp, ask->n_offset, ask->n_length, ask->digests.len, FETCH_MANY_MAX);
    m->count = (uint32_t)ask->n_rp;
    m->ranges = err_calloc(m->count, sizeof *m->ranges);
    for (uint32_t i = 0; i < m->count; i++) {
        struct many_range *x = &m->ranges[i];
        x->rp = ask->rp[i];
        x->offset = ask->offset[i];
        x->length = ask->length[i];
        memcpy(x->digest.b, ask->digests.data + i * DIGEST_LEN, DIGEST_LEN);
    }
    int rc = check_ranges(m, e);
    for (uint32_t i = 0; i < m->count && rc == 0; i++) {
        m->ranges[i].at = m->len;
        m->len += m->ranges[i].length;
    }
    return rc;
}

/* ---- the catalog ---- */

static int take_entry(struct many_range *x, const struct store_head *raw, struct err *e)
{
    struct catalog_entry entry;
    int rc = catalog_decode(&entry, raw, e);
    if (rc < 0)
        return rc;
    if (!digest_equal(&entry.digest, &x->digest) || x->offset > entry.file_len ||
        x->length > entry.file_len - x->offset)
        return 0;
    x->file_len = entry.file_len;
    memcpy(x->id, entry.id, sizeof x->id);
    return 0;
}

/* Both ascend. Ranges of deltas that are not there as they were asked for are left unfound. */
static int find_entries(struct hub *h, struct many *m, struct err *e)
{
    struct store_head *page = err_calloc(PAGE, sizeof *page);
    uint32_t at = 0, n = PAGE;
    int rc = 0;
    while (rc == 0 && at < m->count && n == PAGE) {
        rc = h->store->ops->catalog(h->store, m->site, m->group, m->ranges[at].rp - 1, page, PAGE,
                                    &n, e);
        for (uint32_t i = 0; rc == 0 && i < n && at < m->count; i++) {
            while (at < m->count && m->ranges[at].rp < page[i].rp)
                at++;
            if (at < m->count && m->ranges[at].rp == page[i].rp)
                rc = take_entry(&m->ranges[at++], &page[i], e);
        }
    }
    free(page);
    return rc < 0 ? err_prefix(e, "%s/%s", m->site, m->group) : 0;
}

/* ---- reading ---- */

static int read_range(struct many_read *r, const struct many_range *x, struct err *e)
{
    const struct many *m = r->many;
    struct catalog_entry entry = {.rp = x->rp, .file_len = x->file_len};
    memcpy(entry.id, x->id, sizeof entry.id);
    if (x->file_len == 0)
        return err_set(e, ERR_NOENT, "%s/%s: no RP %" PRIu64 " with this digest and range", m->site,
                       m->group, x->rp);
    return hub_read(r->hub, m->site, m->group, &entry, x->offset, r->buf + x->at, x->length, e);
}

static void lane_main(void *arg)
{
    struct many_read *r = arg;
    while (!r->failed && r->next < r->many->count) {
        struct many_range *x = &r->many->ranges[r->next++];
        struct err e = ERR_INIT;
        x->done = read_range(r, x, &e) == 0;
        r->failed |= !x->done;
        if (x == r->many->ranges)
            r->first = e;
    }
}

/* Returns how many ranges, from the first on, are in buf. */
static uint32_t read_ranges(struct hub *h, const struct many *m, uint8_t *buf, struct err *e)
{
    struct many_read r = {.hub = h, .many = m, .buf = buf, .first = ERR_INIT};
    struct fiber *lanes[LANES];
    uint32_t done = 0;
    for (unsigned i = 1; i < LANES; i++)
        lanes[i] = fiber_spawn(h->io, "hub-many", lane_main, &r);
    lane_main(&r);
    for (unsigned i = 1; i < LANES; i++) {
        if (fiber_cancelled())
            fiber_cancel(lanes[i]);
        fiber_join(lanes[i]);
    }
    while (done < m->count && m->ranges[done].done)
        done++;
    *e = r.first;
    return done;
}

static int answer(struct job *j, struct err *e)
{
    struct session *s = j->s;
    struct many *m = j->many;
    Relais__FetchedMany reply = RELAIS__FETCHED_MANY__INIT;
    int rc = find_entries(s->hub, m, e);
    uint8_t *buf = rc == 0 ? bufpool_take(&s->hub->fetches) : NULL;
    if (rc < 0)
        return rc;
    if (!buf)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    uint32_t done = read_ranges(s->hub, m, buf, e);
    if (done == 0) {
        rc = -(int)e->code;
    } else {
        const struct many_range *last = &m->ranges[done - 1];
        rc = link_send(s->link, FRAME_FetchedMany, j->id, &reply.base, buf, last->at + last->length,
                       e);
        for (uint32_t i = 0; i < done && rc == 0; i++)
            reads_fetched(s, m->site, m->group, m->ranges[i].rp, m->ranges[i].length);
    }
    bufpool_give(&s->hub->fetches, buf);
    return rc;
}

static void many_job(struct job *j)
{
    struct err e = ERR_INIT;
    if (answer(j, &e) < 0 &&
        session_refuse_about(j->s, j->id, j->many->site, j->many->group, &e) < 0)
        link_shutdown(j->s->link);
    many_free(j->many);
    j->many = NULL;
}

int serve_many(struct session *s, uint32_t id, const Relais__FetchMany *ask, struct err *e)
{
    struct many *m = err_calloc(1, sizeof *m);
    struct job j = {.run = many_job, .id = id, .many = m};
    int rc = serve_check_target(s, ask->site, ask->group, e);
    if (rc == 0)
        rc = take_ranges(m, ask, e);
    if (rc < 0) {
        many_free(m);
        return session_refuse_about(s, id, ask->site, ask->group, e);
    }
    (void)snprintf(m->site, sizeof m->site, "%s", ask->site);
    (void)snprintf(m->group, sizeof m->group, "%s", ask->group);
    rc = session_spawn(s, &j, e);
    if (rc < 0)
        many_free(m);
    return rc;
}
