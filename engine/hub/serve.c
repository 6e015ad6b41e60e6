#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int hub_read(struct hub *h, const char *site, const char *group, const struct catalog_entry *entry,
             uint64_t off, void *buf, uint32_t len, struct err *e)
{
    char name[STORE_NAME_MAX];
    uint8_t *at = buf;
    ASSERT(off <= entry->file_len && len <= entry->file_len - off);
    while (len > 0) {
        uint64_t within = off % PART_SIZE;
        uint32_t n = PART_SIZE - within < len ? (uint32_t)(PART_SIZE - within) : len;
        catalog_object_name(name, group, entry->rp, entry->id, (uint32_t)(off / PART_SIZE));
        int rc = h->store->ops->get(h->store, site, name, within, at, n, e);
        if (rc < 0)
            return err_prefix(e, "%s/%s RP %" PRIu64, site, group, entry->rp);
        at += n;
        off += n;
        len -= n;
    }
    return 0;
}

/* A peer reads its own groups, and those that its `reads` names as SITE/GROUP or "SITE/" and a
 * star. */
static int check_reader(const struct session *s, const char *site, const char *group, struct err *e)
{
    char one[2 * NAME_MAX_LEN + 2], all[2 * NAME_MAX_LEN + 2];
    if (strcmp(site, s->peer) == 0)
        return 0;
    (void)snprintf(one, sizeof one, "%s/%s", site, group);
    (void)snprintf(all, sizeof all, "%s/*", site);
    for (unsigned i = 0; i < s->config->read_count; i++)
        if (strcmp(s->config->reads[i], one) == 0 || strcmp(s->config->reads[i], all) == 0)
            return 0;
    return err_set(e, ERR_AUTH,
                   "peer %s may not read %s/%s: add it to reads in [peer %s] at the hub", s->peer,
                   site, group, s->peer);
}

int serve_check_target(const struct session *s, const char *site, const char *group, struct err *e)
{
    int rc = session_check_name("site", site, e);
    if (rc == 0)
        rc = session_check_name("group", group, e);
    return rc == 0 ? check_reader(s, site, group, e) : rc;
}

static void end_job(struct job *j, int rc, const char *site, const char *group, struct err *e)
{
    if (rc < 0 && session_refuse_about(j->s, j->id, site, group, e) < 0)
        link_shutdown(j->s->link);
}

/* ---- history ---- */

static int send_history(struct session *s, uint32_t id, struct catalog_entry *entries, uint32_t n,
                        bool more, struct err *e)
{
    Relais__History reply = RELAIS__HISTORY__INIT;
    Relais__RecoveryPoint *points = err_calloc(n, sizeof *points);
    Relais__RecoveryPoint **list = err_calloc(n, sizeof *list);
    for (uint32_t i = 0; i < n; i++) {
        struct catalog_entry *c = &entries[i];
        Relais__RecoveryPoint *p = list[i] = &points[i];
        relais__recovery_point__init(p);
        p->rp_first = c->rp_first;
        p->rp = c->rp;
        p->digest = (ProtobufCBinaryData){DIGEST_LEN, c->digest.b};
        p->cut_time = c->cut_time;
        p->committed_time = c->committed_time;
        p->complete = (c->flags & MANIFEST_COMPLETE) != 0;
        p->label = c->label;
        p->file_len = c->file_len;
        p->manifest_len = c->manifest_len;
        p->plain_bytes = c->plain_bytes;
    }
    reply.n_points = n;
    reply.points = list;
    reply.more = more;
    int rc = session_reply(s, FRAME_History, id, &reply.base, e);
    free(points);
    free(list);
    return rc;
}

static int history(struct job *j, struct err *e)
{
    struct hub *h = j->s->hub;
    uint32_t n = 0;
    struct store_head *raw = err_calloc(HUB_HISTORY_PAGE + 1, sizeof *raw);
    struct catalog_entry *entries = err_calloc(HUB_HISTORY_PAGE, sizeof *entries);
    int rc = h->store->ops->catalog(h->store, j->history.site, j->history.group, j->history.after,
                                    raw, HUB_HISTORY_PAGE + 1, &n, e);
    bool more = n > HUB_HISTORY_PAGE;
    if (more)
        n = HUB_HISTORY_PAGE;
    for (uint32_t i = 0; i < n && rc == 0; i++)
        rc = catalog_decode(&entries[i], &raw[i], e);
    if (rc < 0)
        rc = err_prefix(e, "%s/%s: history", j->history.site, j->history.group);
    else
        rc = send_history(j->s, j->id, entries, n, more, e);
    free(raw);
    free(entries);
    return rc;
}

static void history_job(struct job *j)
{
    struct err e = ERR_INIT;
    int rc = history(j, &e);
    end_job(j, rc, j->history.site, j->history.group, &e);
}

int serve_history(struct session *s, uint32_t id, const Relais__HistoryGet *m, struct err *e)
{
    struct job j = {.run = history_job, .id = id};
    if (serve_check_target(s, m->site, m->group, e) < 0)
        return session_refuse_about(s, id, m->site, m->group, e);
    reads_open(s, m->site, m->group);
    (void)snprintf(j.history.site, sizeof j.history.site, "%s", m->site);
    (void)snprintf(j.history.group, sizeof j.history.group, "%s", m->group);
    j.history.after = m->after;
    return session_spawn(s, &j, e);
}

/* ---- fetch ---- */

/* Whether what was asked for is part of a delta by now that replaces others. */
static bool was_replaced(const struct store_head *raw, const struct job *j,
                         struct catalog_entry *scratch)
{
    struct err e = ERR_INIT;
    return catalog_decode(scratch, raw, &e) == 0 && scratch->rp_first <= j->fetch.rp &&
           (scratch->flags & MANIFEST_REPLACES) &&
           (scratch->rp != j->fetch.rp || !digest_equal(&scratch->digest, &j->fetch.digest));
}

/* The committed entry with this number and digest. */
static int find_committed(struct job *j, struct catalog_entry *out, struct err *e)
{
    struct session *s = j->s;
    struct store *store = s->hub->store;
    const char *site = j->fetch.site, *group = j->fetch.group;
    struct store_head raw;
    uint32_t n = 0;
    for (unsigned i = 0; i < HUB_KNOWN; i++)
        if (s->recent[i].entry.rp == j->fetch.rp && strcmp(s->recent[i].site, site) == 0 &&
            strcmp(s->recent[i].group, group) == 0 &&
            digest_equal(&s->recent[i].entry.digest, &j->fetch.digest)) {
            *out = s->recent[i].entry;
            return 0;
        }
    int rc = store->ops->catalog(store, site, group, j->fetch.rp - 1, &raw, 1, &n, e);
    if (rc == 0 && n == 1 && raw.rp == j->fetch.rp)
        rc = catalog_decode(out, &raw, e);
    if (rc < 0)
        return err_prefix(e, "%s/%s RP %" PRIu64, site, group, j->fetch.rp);
    if (n == 1 && rc == 0 && was_replaced(&raw, j, out))
        return err_set(e, ERR_CONFLICT,
                       "%s/%s: the delta of RP %" PRIu64 " was replaced by another, signed by the "
                       "site: read the history again",
                       site, group, j->fetch.rp);
    if (n == 0 || raw.rp != j->fetch.rp || !digest_equal(&out->digest, &j->fetch.digest))
        return err_set(e, ERR_NOENT, "%s/%s: no RP %" PRIu64 " with this digest is committed", site,
                       group, j->fetch.rp);
    unsigned slot = s->recent_next++ % HUB_KNOWN;
    s->recent[slot].entry = *out;
    memcpy(s->recent[slot].site, site, sizeof s->recent[slot].site);
    memcpy(s->recent[slot].group, group, sizeof s->recent[slot].group);
    return 0;
}

/* An object is gone: what this connection remembers of the catalog may be out of date. */
static int look_again(struct job *j, struct err *e)
{
    struct session *s = j->s;
    struct catalog_entry entry;
    struct err why = ERR_INIT;
    for (unsigned i = 0; i < HUB_KNOWN; i++)
        if (s->recent[i].entry.rp == j->fetch.rp)
            s->recent[i].entry.rp = 0;
    if (find_committed(j, &entry, &why) == -ERR_CONFLICT)
        *e = why;
    return -(int)e->code;
}

static int fetch(struct job *j, struct err *e)
{
    struct session *s = j->s;
    struct catalog_entry entry;
    Relais__Fetched reply = RELAIS__FETCHED__INIT;
    int rc = find_committed(j, &entry, e);
    if (rc < 0)
        return rc;
    if (j->fetch.offset > entry.file_len || j->fetch.length > entry.file_len - j->fetch.offset)
        return err_set(e, ERR_INPUT,
                       "%s/%s RP %" PRIu64 ": %" PRIu32 " bytes at %" PRIu64
                       " of a delta of %" PRIu64,
                       j->fetch.site, j->fetch.group, j->fetch.rp, j->fetch.length, j->fetch.offset,
                       entry.file_len);
    uint8_t *buf = bufpool_take(&s->hub->fetches);
    if (!buf)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    rc = hub_read(s->hub, j->fetch.site, j->fetch.group, &entry, j->fetch.offset, buf,
                  j->fetch.length, e);
    if (rc == -ERR_NOENT)
        rc = look_again(j, e);
    if (rc == 0)
        rc = link_send(s->link, FRAME_Fetched, j->id, &reply.base, buf, j->fetch.length, e);
    if (rc == 0)
        reads_fetched(s, j->fetch.site, j->fetch.group, j->fetch.rp, j->fetch.length);
    bufpool_give(&s->hub->fetches, buf);
    return rc;
}

static void fetch_job(struct job *j)
{
    struct err e = ERR_INIT;
    int rc = fetch(j, &e);
    end_job(j, rc, j->fetch.site, j->fetch.group, &e);
}

int serve_fetch(struct session *s, uint32_t id, const Relais__Fetch *m, struct err *e)
{
    struct job j = {.run = fetch_job, .id = id};
    int rc = serve_check_target(s, m->site, m->group, e);
    if (rc == 0)
        rc = session_check_digest(&j.fetch.digest, &m->digest, e);
    if (rc == 0 && (m->length == 0 || m->length > PAYLOAD_MAX || m->rp == 0))
        rc = err_set(e, ERR_PROTO,
                     "fetch of %" PRIu32 " bytes of RP %" PRIu64 ": 1 to %u of RP 1 or "
                     "later",
                     m->length, m->rp, (unsigned)PAYLOAD_MAX);
    if (rc < 0)
        return session_refuse_about(s, id, m->site, m->group, e);
    (void)snprintf(j.fetch.site, sizeof j.fetch.site, "%s", m->site);
    (void)snprintf(j.fetch.group, sizeof j.fetch.group, "%s", m->group);
    j.fetch.rp = m->rp;
    j.fetch.offset = m->offset;
    j.fetch.length = m->length;
    return session_spawn(s, &j, e);
}

/* ---- territory ---- */

static void territory_job(struct job *j)
{
    struct err e = ERR_INIT;
    struct territory t = {0};
    int rc = territory_add(&t, j->s->hub, j->s->peer, &e);
    if (rc == 0) {
        Relais__Territory reply = RELAIS__TERRITORY__INIT;
        reply.n_groups = t.count;
        reply.groups = t.groups;
        rc = session_reply(j->s, FRAME_Territory, j->id, &reply.base, &e);
    }
    territory_free(&t);
    end_job(j, rc, j->s->peer, "", &e);
}

/* Over the link a peer learns of its own site only; the whole territory is for the control socket.
 */
int serve_territory(struct session *s, uint32_t id, struct err *e)
{
    struct job j = {.run = territory_job, .id = id};
    return session_spawn(s, &j, e);
}

/* ---- the audit log ---- */

static int audit(struct job *j, struct err *e)
{
    struct session *s = j->s;
    struct audit_page page = {.bytes = bufpool_take(&s->hub->fetches)};
    Relais__AuditEntries reply = RELAIS__AUDIT_ENTRIES__INIT;
    if (!page.bytes)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    int rc = audit_read(s->hub->audit, j->audit.after, j->audit.since, s->peer, &page, e);
    if (rc == 0) {
        reply.first = page.first;
        reply.end = page.end.seq;
        reply.digest = (ProtobufCBinaryData){DIGEST_LEN, page.end.link.b};
        rc = link_send(s->link, FRAME_AuditEntries, j->id, &reply.base, page.bytes, page.len, e);
    }
    bufpool_give(&s->hub->fetches, page.bytes);
    return rc;
}

static void audit_job(struct job *j)
{
    struct err e = ERR_INIT;
    int rc = audit(j, &e);
    end_job(j, rc, j->s->peer, "", &e);
}

/* A peer sees what it did and what was done with its data; of the rest enough to follow the chain.
 */
int serve_audit(struct session *s, uint32_t id, const Relais__AuditGet *m, struct err *e)
{
    struct job j = {.run = audit_job, .id = id};
    j.audit.after = m->after;
    j.audit.since = m->since;
    return session_spawn(s, &j, e);
}
