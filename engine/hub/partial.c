/* Parts on their way in. A site whose urgent group has something to ship puts its pieces between
 * those of another group's part, so that a connection may have LINK_PARTS_OPEN of them, each with a
 * buffer of the hub's.
 *
 * Connections that keep buffers and wait for more could wait for each other for ever. So a buffer
 * is given only when, after that, some order is left in which every connection could get all that
 * it may ask for and finish (the banker's algorithm, with the same claim for all), in the hub's
 * memory and in the half of it that one site may use. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many parts a connection may have open: the least memory of a hub holds LINK_PARTS_OPEN. */
static unsigned claim(const struct hub *h)
{
    return h->parts.max < LINK_PARTS_OPEN ? h->parts.max : LINK_PARTS_OPEN;
}

/* What the connections of one site may hold: what a stolen one holds for ever, a byte now and then,
 * is not all. */
static unsigned share(const struct hub *h)
{
    return h->parts.max / 2 > claim(h) ? h->parts.max / 2 : claim(h);
}

/* Whether all connections, or those of s's site, can still finish with so many buffers when s gets
 * one more. Buffers of parts that are being stored count as free: they wait for nobody here. */
static bool all_can_finish(const struct session *s, bool of_site, unsigned buffers)
{
    unsigned keep[LINK_PARTS_OPEN + 1] = {0}, all = claim(s->hub), used = 1, left;
    for (const struct session *p = s->hub->sessions; p; p = p->next) {
        if (of_site && strcmp(p->peer, s->peer) != 0)
            continue;
        keep[p->partial_count + (p == s ? 1 : 0)]++;
        used += p->partial_count;
    }
    if (used > buffers)
        return false;
    left = buffers - used;
    for (unsigned n = all; n > 0; n--) {
        if (keep[n] == 0)
            continue;
        if (all - n > left)
            return false;
        left += n * keep[n];
    }
    return true;
}

/* Both look at those that keep most first: so there is one order that does for both. */
static bool safe(const struct session *s)
{
    const struct hub *h = s->hub;
    return all_can_finish(s, false, h->parts.max) && all_can_finish(s, true, share(h));
}

/* ---- beginnings that are kept ---- */

static bool is_of(const struct kept *k, const struct session *s, const struct offer *o)
{
    return strcmp(k->site, s->peer) == 0 && digest_equal(&k->digest, &o->digest);
}

/* Takes the one at `at` out of the list and frees it; its buffer passes to the caller. */
static uint8_t *kept_unlist(struct kept **at)
{
    struct kept *k = *at;
    uint8_t *buf = k->buf;
    *at = k->next;
    free(k);
    return buf;
}

/* Gives the oldest one's buffer back, of one site or of any. False: there is none. */
static bool kept_evict(struct hub *h, const char *site)
{
    struct kept **at = &h->kept;
    while (*at && site && strcmp((*at)->site, site) != 0)
        at = &(*at)->next;
    if (!*at)
        return false;
    bufpool_give(&h->parts, kept_unlist(at));
    return true;
}

static void kept_add(struct session *s, const struct partial *p)
{
    struct hub *h = s->hub;
    struct kept *k = err_calloc(1, sizeof *k), **at = &h->kept;
    unsigned all = 0, its = 0;
    for (; *at; at = &(*at)->next) {
        all++;
        its += strcmp((*at)->site, s->peer) == 0;
    }
    (void)snprintf(k->site, sizeof k->site, "%s", s->peer);
    k->digest = p->offer->digest;
    k->buf = p->buf;
    k->part = p->part;
    k->filled = p->filled;
    k->since = io_now(h->io);
    *at = k;
    if (its >= LINK_PARTS_OPEN)
        (void)kept_evict(h, s->peer);
    else if (all >= h->parts.max / 2) /* all: without this one */
        (void)kept_evict(h, NULL);
}

unsigned kept_list(const struct session *s, const struct offer *o, Relais__PartBegun *out)
{
    unsigned n = 0;
    for (const struct kept *k = s->hub->kept; k && n < LINK_PARTS_OPEN; k = k->next) {
        uint32_t len;
        if (!is_of(k, s, o) || o->stored[k->part])
            continue;
        /* One byte at least is left to be sent: it brings the request that is answered. */
        len = manifest_part_len(&o->m, k->part);
        relais__part_begun__init(&out[n]);
        out[n].part = k->part;
        out[n].filled = k->filled < len ? k->filled : len - 1;
        n++;
    }
    return n;
}

void kept_expire(struct hub *h)
{
    while (h->kept && io_now(h->io) - h->kept->since > HUB_KEPT_NS)
        (void)kept_evict(h, NULL);
}

void kept_free(struct hub *h)
{
    while (kept_evict(h, NULL))
        ;
}

/* ---- parts that come in ---- */

struct partial *partial_find(struct session *s, const struct offer *o, uint32_t part)
{
    for (unsigned i = 0; i < LINK_PARTS_OPEN; i++) {
        struct partial *p = &s->partials[i];
        if (p->buf && p->offer == o && p->part == part)
            return p;
    }
    return NULL;
}

/* The part comes anew, as a whole. */
static void kept_drop(struct session *s, const struct offer *o, uint32_t part)
{
    struct kept **at = &s->hub->kept;
    while (*at && (!is_of(*at, s, o) || (*at)->part != part))
        at = &(*at)->next;
    if (*at)
        bufpool_give(&s->hub->parts, kept_unlist(at));
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
    kept_drop(s, o, part);
    /* The offer may be committed by a job, and dropped, while this waits. */
    o->refs++;
    while (!safe(s) || !(buf = bufpool_try(&s->hub->parts))) {
        if (safe(s) && kept_evict(s->hub, NULL))
            continue;
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

/* Its place in the list, or the list's end. */
static struct kept **kept_find(struct session *s, const struct offer *o, uint32_t part)
{
    struct kept **at = &s->hub->kept;
    while (*at && (!is_of(*at, s, o) || (*at)->part != part))
        at = &(*at)->next;
    return at;
}

/* What is kept gives way to whoever needs its buffer, so that waiting for it keeps nothing from
 * anybody. */
int kept_resume(struct session *s, struct offer *o, uint32_t part, uint32_t offset, struct err *e)
{
    struct kept **at = kept_find(s, o, part);
    struct partial *p = s->partials;
    int rc = 0;
    if (!*at || (*at)->filled < offset || s->partial_count == claim(s->hub))
        return -ERR_NOENT;
    o->refs++; /* as in partial_begin */
    while (rc == 0 && *(at = kept_find(s, o, part)) && !safe(s))
        rc = session_wait(s, &s->hub->parts.freed, e);
    if (rc < 0 || !*at) {
        offer_unref(o);
        return rc < 0 ? rc : -ERR_NOENT;
    }
    while (p->buf)
        p++;
    *p = (struct partial){.offer = o, .part = part, .len = manifest_part_len(&o->m, part)};
    p->buf = kept_unlist(at);
    p->filled = offset;
    p->since = io_now(s->hub->io);
    s->partial_count++;
    return 0;
}

void partial_keep_all(struct session *s)
{
    for (unsigned i = 0; i < LINK_PARTS_OPEN; i++) {
        struct partial *p = &s->partials[i];
        if (!p->buf)
            continue;
        if (p->filled > 0 && !p->offer->stored[p->part])
            kept_add(s, p);
        else
            bufpool_give(&s->hub->parts, p->buf);
        offer_unref(p->offer);
        partial_end(s, p);
    }
    fiber_wake_all(&s->hub->parts.freed); /* a buffer that is kept is one that may be had */
}
