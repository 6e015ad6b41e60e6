/* Parts on their way in. A site whose urgent group has something to ship puts its pieces between
 * those of another group's part, so that a connection may have LINK_PARTS_OPEN of them, each with a
 * buffer of the hub's.
 *
 * Connections that keep buffers and wait for more could wait for each other for ever. So a buffer
 * is given only when, after that, some order is left in which every connection could get all that
 * it may ask for and finish (the banker's algorithm, with the same claim for all). */
#include "session.h"

#include <string.h>

/* How many parts a connection may have open: the least memory of a hub holds LINK_PARTS_OPEN. */
static unsigned claim(const struct hub *h)
{
    return h->parts.max < LINK_PARTS_OPEN ? h->parts.max : LINK_PARTS_OPEN;
}

/* Whether all can still finish when s gets one more. Buffers of parts that are being stored count
 * as free: they wait for nobody here. */
static bool safe(const struct session *s)
{
    const struct hub *h = s->hub;
    unsigned keep[LINK_PARTS_OPEN + 1] = {0}, all = claim(h), used = 1, left;
    for (const struct session *p = h->sessions; p; p = p->next) {
        keep[p->partial_count + (p == s ? 1 : 0)]++;
        used += p->partial_count;
    }
    if (used > h->parts.max)
        return false;
    left = h->parts.max - used;
    for (unsigned n = all; n > 0; n--) {
        if (keep[n] == 0)
            continue;
        if (all - n > left)
            return false;
        left += n * keep[n];
    }
    return true;
}

struct partial *partial_find(struct session *s, const struct offer *o, uint32_t part)
{
    for (unsigned i = 0; i < LINK_PARTS_OPEN; i++) {
        struct partial *p = &s->partials[i];
        if (p->buf && p->offer == o && p->part == part)
            return p;
    }
    return NULL;
}

int partial_begin(struct session *s, struct offer *o, uint32_t part, struct partial **out,
                  struct err *e)
{
    struct partial *p = s->partials;
    uint8_t *buf;
    if (s->partial_count == claim(s->hub))
        return err_set(e, ERR_PROTO,
                       "part %" PRIu32 " of RP %" PRIu64 " begins while %u others have not ended, "
                       "as many as may be",
                       part, o->m.rp, s->partial_count);
    while (p->buf)
        p++;
    /* The offer may be committed by a job, and dropped, while this waits. */
    o->refs++;
    while (!safe(s) || !(buf = bufpool_try(&s->hub->parts))) {
        int rc = session_wait(s, &s->hub->parts.freed, e);
        if (rc < 0) {
            offer_unref(o);
            return rc;
        }
    }
    *p = (struct partial){
        .offer = o, .buf = buf, .part = part, .len = manifest_part_len(&o->m, part)};
    p->since = io_now(s->hub->io);
    s->partial_count++;
    *out = p;
    return 0;
}

void partial_end(struct session *s, struct partial *p)
{
    memset(p, 0, sizeof *p);
    s->partial_count--;
}

/* A peer that keeps a buffer and lives on pings, or on other parts, would keep memory from others.
 */
int partial_check_age(struct session *s, struct err *e)
{
    uint64_t now = io_now(s->hub->io);
    for (unsigned i = 0; i < LINK_PARTS_OPEN; i++) {
        const struct partial *p = &s->partials[i];
        if (p->buf && now - p->since > HUB_PARTIAL_NS)
            return err_set(e, ERR_PROTO,
                           "part %" PRIu32 ": no piece came for %u s after the first %" PRIu32
                           " bytes",
                           p->part, (unsigned)(HUB_PARTIAL_NS / IO_S), p->filled);
    }
    return 0;
}

void partial_excuse(struct session *s, uint64_t ns)
{
    uint64_t now = io_now(s->hub->io);
    for (unsigned i = 0; i < LINK_PARTS_OPEN; i++) {
        struct partial *p = &s->partials[i];
        p->since = now - p->since > ns ? p->since + ns : now;
    }
}

void partial_drop_all(struct session *s)
{
    for (unsigned i = 0; i < LINK_PARTS_OPEN; i++) {
        struct partial *p = &s->partials[i];
        if (!p->buf)
            continue;
        bufpool_give(&s->hub->parts, p->buf);
        offer_unref(p->offer);
        partial_end(s, p);
    }
}
