#include "log.h"
#include "session.h"
#include "units.h"
#include "usage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A cut from further in the future than clocks drift is worth a line in the log; it is no reason to
 * leave a hospital without a copy. */
#define FUTURE_NS (INT64_C(86400) * 1000000000)
/* What a TLS record holds. */
#define PIECE_STEP 16384u

int hub_head(struct hub *h, const char *site, const char *group, struct store_head *raw,
             struct catalog_entry *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    int rc = h->store->ops->head(h->store, site, group, raw, e);
    if (rc < 0)
        return err_prefix(e, "%s/%s: reading the head", site, group);
    if (raw->rp == 0)
        return 0;
    rc = catalog_decode(out, raw, e);
    return rc < 0 ? err_prefix(e, "%s/%s: head", site, group) : 0;
}

int ingest_check_signer(const struct session *s, struct err *e)
{
    if (s->sign)
        return 0;
    return err_set(e, ERR_AUTH,
                   "peer %s has no sign key here: add sign-key to [peer %s] at the hub", s->peer,
                   s->peer);
}

int hub_head_manifest(struct hub *h, const char *site, const char *group,
                      const struct catalog_entry *head, uint8_t **out, struct err *e)
{
    struct digest digest;
    uint8_t *manifest = err_malloc(head->manifest_len);
    int rc = hub_read(h, site, group, head, head->file_len - DELTA_TRAILER_LEN - head->manifest_len,
                      manifest, head->manifest_len, e);
    if (rc == 0) {
        manifest_digest(&digest, manifest, head->manifest_len);
        if (!digest_equal(&digest, &head->digest))
            rc = err_set(e, ERR_CORRUPT,
                         "%s/%s: the manifest of RP %" PRIu64 " in the store is not "
                         "what was committed",
                         site, group, head->rp);
    }
    if (rc == 0)
        *out = manifest;
    else
        free(manifest);
    return rc;
}

static int head_get(struct session *s, uint32_t id, const char *group, struct err *e)
{
    struct hub *h = s->hub;
    struct store_head raw;
    struct catalog_entry head;
    uint8_t *manifest = NULL;
    int rc = ingest_check_signer(s, e);
    if (rc < 0)
        return rc;
    rc = hub_head(h, s->peer, group, &raw, &head, e);
    if (rc < 0)
        return rc;
    Relais__Head reply = RELAIS__HEAD__INIT;
    if (head.rp == 0)
        return session_reply(s, FRAME_Head, id, &reply.base, e);
    rc = hub_head_manifest(h, s->peer, group, &head, &manifest, e);
    if (rc == 0) {
        reply.rp = head.rp;
        reply.digest = (ProtobufCBinaryData){DIGEST_LEN, head.digest.b};
        rc = link_send(s->link, FRAME_Head, id, &reply.base, manifest, head.manifest_len, e);
        free(manifest);
    }
    return rc;
}

int ingest_head_get(struct session *s, uint32_t id, const Relais__HeadGet *m, struct err *e)
{
    int rc = session_check_name("group", m->group, e);
    if (rc == 0)
        rc = head_get(s, id, m->group, e);
    return rc < 0 ? session_refuse(s, id, e) : 0;
}

/* ---- offers ---- */

void offer_unref(struct offer *o)
{
    ASSERT(o->refs > 0);
    if (--o->refs > 0)
        return;
    manifest_free(&o->m);
    free(o->raw);
    free(o->stored);
    free(o);
}

static struct offer *offered_by(const struct session *s, const char *group,
                                const struct digest *digest)
{
    for (struct offer *o = s->offers; o; o = o->next)
        if (digest_equal(&o->digest, digest) && strcmp(o->m.group, group) == 0)
            return o;
    return NULL;
}

struct offer *offer_find(struct session *s, const char *group, const struct digest *digest)
{
    struct offer *o = offered_by(s, group, digest);
    for (const struct session *p = s->hub->sessions; p && !o && s->voyage; p = p->next)
        if (p != s && !p->done && p->voyage == s->voyage && strcmp(p->peer, s->peer) == 0)
            o = offered_by(p, group, digest);
    return o;
}

static void offer_mark(struct offer *o, uint32_t part)
{
    if (!o->stored[part]) {
        o->stored[part] = 1;
        o->lacking--;
    }
}

/* Whether the file's object n is in the store, as a whole. */
static int object_stored(struct session *s, const struct offer *o, uint32_t n, bool *stored,
                         struct err *e)
{
    struct store *store = s->hub->store;
    uint64_t size = 0, want = o->file_len - n * PART_SIZE;
    char name[STORE_NAME_MAX];
    catalog_object_name(name, o->m.group, o->m.rp, o->digest.b, n);
    struct err why = ERR_INIT;
    int rc = store->ops->size(store, s->peer, name, &size, &why);
    *stored = rc == 0 && size == (want < PART_SIZE ? want : PART_SIZE);
    if (rc == 0 || rc == -ERR_NOENT)
        return 0;
    *e = why;
    return rc;
}

/* What of the file the last part's object does not hold is in one more: both or neither. */
static int part_stored(struct session *s, const struct offer *o, uint32_t part, bool *stored,
                       struct err *e)
{
    int rc = object_stored(s, o, part, stored, e);
    if (rc == 0 && *stored && part + 1 == o->m.part_count && o->objects > o->m.part_count)
        rc = object_stored(s, o, part + 1, stored, e);
    return rc;
}

/* Asks for each part by name, because a listing may cost a walk over all that the site ever stored.
 * Parts come in order but for those that are put at once: behind so many that lack there are no
 * more, and one that is overlooked is only sent again. */
int offer_survey(struct session *s, struct offer *o, struct err *e)
{
    uint32_t lacking = 0;
    for (uint32_t part = 0; part < o->m.part_count && lacking < HUB_JOBS_MAX; part++) {
        bool stored = o->stored[part] != 0;
        int rc = stored ? 0 : part_stored(s, o, part, &stored, e);
        if (rc < 0)
            return err_prefix(e, "%s/%s RP %" PRIu64, s->peer, o->m.group, o->m.rp);
        if (stored)
            offer_mark(o, part);
        lacking = stored ? 0 : lacking + 1;
    }
    return 0;
}

/* Whether the manifest itself is sound and this peer's. */
static int check_identity(const struct session *s, const struct offer *o, const char *group,
                          struct err *e)
{
    const struct manifest *m = &o->m;
    if (strcmp(m->site, s->peer) != 0)
        return err_set(e, ERR_AUTH,
                       "the manifest is of site %s, but the peer is %s: a site ships only "
                       "its own groups",
                       m->site, s->peer);
    if (strcmp(m->group, group) != 0)
        return err_set(e, ERR_PROTO, "offer for group %s with a manifest of group %s", group,
                       m->group);
    int rc = manifest_verify(o->raw, o->raw_len, s->sign, e);
    if (rc < 0)
        return err_prefix(e, "%s/%s RP %" PRIu64, s->peer, group, m->rp);
    uint64_t content = manifest_place(m);
    if (m->rp_first == 0 || m->rp_first > m->rp || content > DELTA_MAX ||
        m->part_count != manifest_parts_of(content) || m->part_count == 0)
        return err_set(e, ERR_INPUT,
                       "%s/%s: RPs %" PRIu64 "-%" PRIu64 ", %" PRIu64 " bytes in %" PRIu32
                       " parts: numbers that do not fit each other",
                       s->peer, group, m->rp_first, m->rp, content, m->part_count);
    return 0;
}

static bool continues_offer(const struct session *s, const struct manifest *m)
{
    for (const struct offer *p = s->offers; p; p = p->next)
        if (strcmp(p->m.group, m->group) == 0 && m->rp_first == p->m.rp + 1 &&
            digest_equal(&m->parent, manifest_link(&p->m, &p->digest)))
            return true;
    return false;
}

/* Whether it continues the head, or an offer of this connection that will be the head. The offers
 * are asked first: while the head is read, a commit may make the parent the head and end its offer.
 */
static int check_chain(struct session *s, struct offer *o, bool *committed, struct err *e)
{
    struct store_head raw;
    struct catalog_entry head;
    const struct manifest *m = &o->m;
    char hex[DIGEST_HEX];
    if (continues_offer(s, m))
        return 0;
    int rc = hub_head(s->hub, s->peer, m->group, &raw, &head, e);
    if (rc < 0)
        return rc;
    *committed = head.rp == m->rp && digest_equal(&head.digest, &o->digest);
    if (*committed || (m->rp_first == head.rp + 1 && digest_equal(&m->parent, &head.link)))
        return 0;
    digest_hex(hex, &head.link);
    return err_set(e, ERR_CHAIN,
                   "%s/%s: RP %" PRIu64 "-%" PRIu64 " does not continue the head, RP %" PRIu64
                   " %.16s",
                   s->peer, m->group, m->rp_first, m->rp, head.rp, hex);
}

/* What is stored and what is on its way must fit the site's quota. What the hub itself writes when
 * it folds does not ask. */
static int check_quota(struct session *s, struct offer *o, struct err *e)
{
    uint64_t quota = s->config->quota, coming = 0;
    char used[UNITS_TEXT], size[UNITS_TEXT], all[UNITS_TEXT];
    struct usage_sum sum;
    if (quota == 0)
        return 0;
    int rc = usage_site(s->hub->usage, s->peer, false, &sum, e);
    if (rc < 0)
        return rc;
    for (const struct session *p = s->hub->sessions; p; p = p->next)
        for (const struct offer *q = strcmp(p->peer, s->peer) == 0 ? p->offers : NULL; q;
             q = q->next)
            coming += digest_equal(&q->digest, &o->digest) ? 0 : q->file_len;
    if (sum.bytes <= quota && coming <= quota - sum.bytes &&
        o->file_len <= quota - sum.bytes - coming) {
        o->quota = quota;
        o->quota_used = sum.bytes + coming + o->file_len;
        return 0;
    }
    return err_set(e, ERR_SPACE,
                   "quota reached at the hub: %s has %s stored of %s, RP %" PRIu64
                   " of %s needs %s more; ask the hub's operator for more quota or rules that keep "
                   "less",
                   s->peer, units_size(used, sum.bytes), units_size(all, quota), o->m.rp,
                   o->m.group, units_size(size, o->file_len));
}

/* A site may have GROUPS_MAX groups; one more is refused before it takes space. */
static int check_groups(struct session *s, const struct offer *o, struct err *e)
{
    struct store *store = s->hub->store;
    struct store_names names = {0};
    if (o->m.rp_first != 1)
        return 0;
    int rc = store->ops->groups(store, s->peer, &names, e);
    if (rc < 0)
        return rc;
    free(names.names);
    if (names.count >= GROUPS_MAX)
        return err_set(e, ERR_LIMIT,
                       "site %s has %" PRIu32 " groups, %u are allowed: group %s is not "
                       "taken",
                       s->peer, names.count, GROUPS_MAX, o->m.group);
    return 0;
}

static int answer_offer(struct session *s, uint32_t id, const struct offer *o, bool committed,
                        struct err *e)
{
    Relais__Need need = RELAIS__NEED__INIT;
    Relais__PartBegun begun[LINK_PARTS_OPEN], *list[LINK_PARTS_OPEN];
    uint8_t bits[(PARTS_MAX + 7) / 8] = {0};
    need.committed = committed;
    need.quota = o->quota;
    need.quota_used = o->quota_used;
    if (!committed) {
        for (uint32_t i = 0; i < o->m.part_count; i++)
            if (!o->stored[i])
                bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << (i % 8));
        need.n_begun = kept_list(s, o, begun);
        for (size_t i = 0; i < need.n_begun; i++)
            list[i] = &begun[i];
        need.begun = list;
        need.missing = (ProtobufCBinaryData){(o->m.part_count + 7) / 8, bits};
    }
    return session_reply(s, FRAME_Need, id, &need.base, e);
}

/* Decodes what o->raw holds and looks into the store. */
static int offer_prepare(struct session *s, struct offer *o, const char *group, bool *committed,
                         struct err *e)
{
    int rc = ingest_check_signer(s, e);
    if (rc < 0)
        return rc;
    rc = manifest_decode(&o->m, o->raw, o->raw_len, e);
    if (rc < 0)
        return err_prefix(e, "manifest offered for %s/%s", s->peer, group);
    rc = check_identity(s, o, group, e);
    if (rc < 0)
        return rc;
    manifest_digest(&o->digest, o->raw, o->raw_len);
    rc = check_chain(s, o, committed, e);
    if (rc == 0)
        rc = check_groups(s, o, e);
    if (rc < 0 || *committed)
        return rc;
    o->file_len = delta_file_len(&o->m, o->raw_len);
    o->objects = (uint32_t)((o->file_len + PART_SIZE - 1) / PART_SIZE);
    rc = check_quota(s, o, e);
    if (rc < 0)
        return rc;
    ASSERT(o->objects - o->m.part_count <= 1);
    o->lacking = o->m.part_count;
    o->stored = err_calloc(o->m.part_count, 1);
    if (o->m.cut_time > io_wall(s->hub->io) + FUTURE_NS)
        log_warn("hub: %s/%s RP %" PRIu64 ": cut more than a day in the future: check the clocks",
                 s->peer, group, o->m.rp);
    return offer_survey(s, o, e);
}

static void offer_append(struct session *s, struct offer *o)
{
    struct offer **at = &s->offers;
    while (*at)
        at = &(*at)->next;
    *at = o;
    s->offer_count++;
}

static int offer(struct session *s, uint32_t id, struct offer *o, const char *group, struct err *e)
{
    bool committed = false;
    int rc = offer_prepare(s, o, group, &committed, e);
    if (rc < 0)
        return rc;
    struct offer *known = committed ? NULL : offered_by(s, group, &o->digest);
    if (known)
        return answer_offer(s, id, known, false, e);
    if (!committed) {
        if (s->offer_count == HUB_OFFERS_MAX)
            return err_set(e, ERR_AGAIN,
                           "%u deltas are offered and not committed, as many as may be",
                           HUB_OFFERS_MAX);
        o->refs++;
        offer_append(s, o);
    }
    return answer_offer(s, id, o, committed, e);
}

/* A site's connections of an earlier voyage are dead, even if this end has not noticed: what they
 * still store is waited for, so that it need not come again. Not for long, should the store be
 * stuck. (waits) */
static int end_earlier(struct session *s, uint64_t voyage, struct err *e)
{
    uint64_t until = io_now(s->hub->io) + HUB_BREAK_NS;
    int rc = 0;
    if (voyage == 0 || s->voyage == voyage)
        return 0;
    s->voyage = voyage;
    for (;;) {
        bool any = false;
        for (struct session *p = s->hub->sessions; p; p = p->next) {
            if (p == s || p->done || p->voyage == 0 || p->voyage == voyage ||
                strcmp(p->peer, s->peer) != 0)
                continue;
            session_break(p);
            any = true;
        }
        if (!any || rc < 0 || io_now(s->hub->io) >= until)
            return rc;
        rc = session_wait(s, &s->hub->session_ended, e);
    }
}

int ingest_offer(struct session *s, const struct frame_header *h, const Relais__Offer *m,
                 struct err *e)
{
    char group[NAME_MAX_LEN + 1];
    int rc = session_check_name("group", m->group, e);
    if (rc == 0 && (h->payload_len == 0 || h->payload_len > MANIFEST_MAX))
        rc = err_set(e, ERR_PROTO, "offer with a manifest of %" PRIu32 " bytes: at most %u",
                     h->payload_len, (unsigned)MANIFEST_MAX);
    if (rc < 0)
        return session_refuse(s, h->id, e);
    (void)snprintf(group, sizeof group, "%s", m->group);
    uint64_t voyage = m->voyage;
    struct offer *o = err_calloc(1, sizeof *o);
    o->refs = 1;
    o->since = io_now(s->hub->io);
    o->raw_len = h->payload_len;
    o->raw = err_malloc(o->raw_len);
    rc = link_recv_payload(s->link, o->raw, o->raw_len, e);
    if (rc == 0)
        rc = end_earlier(s, voyage, e);
    if (rc == 0 && offer(s, h->id, o, group, e) < 0)
        rc = session_refuse(s, h->id, e);
    offer_unref(o);
    return rc;
}

int ingest_join(struct session *s, const Relais__Join *m, struct err *e)
{
    if (m->voyage == 0) {
        (void)err_set(e, ERR_PROTO, "a connection joins no voyage");
        return session_refuse(s, 0, e);
    }
    return end_earlier(s, m->voyage, e);
}

int ingest_withdraw(struct session *s, const Relais__Withdraw *m, struct err *e)
{
    int rc = session_check_name("group", m->group, e);
    if (rc < 0)
        return session_refuse(s, 0, e);
    for (struct offer **at = &s->offers; *at;) {
        struct offer *o = *at;
        if (strcmp(o->m.group, m->group) == 0) {
            *at = o->next;
            s->offer_count--;
            offer_unref(o);
        } else {
            at = &o->next;
        }
    }
    return 0;
}

/* ---- parts ---- */

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

/* Puts the part's object; behind the last part go manifest and trailer, in one more object what no
 * longer fits. */
static int part_put(struct session *s, struct job *j, struct err *e)
{
    struct store *store = s->hub->store;
    struct offer *o = j->store.offer;
    char name[STORE_NAME_MAX];
    uint32_t len = j->store.len;
    if (j->store.part + 1 == o->m.part_count) {
        uint8_t trailer[DELTA_TRAILER_LEN], *tail = err_malloc(o->raw_len + DELTA_TRAILER_LEN);
        uint32_t tail_len = o->raw_len + DELTA_TRAILER_LEN, room = (uint32_t)PART_SIZE - len;
        delta_trailer(trailer, o->raw_len);
        memcpy(tail, o->raw, o->raw_len);
        memcpy(tail + o->raw_len, trailer, DELTA_TRAILER_LEN);
        uint32_t here = tail_len < room ? tail_len : room;
        int rc = 0;
        memcpy(j->store.buf + len, tail, here);
        len += here;
        if (here < tail_len) {
            catalog_object_name(name, o->m.group, o->m.rp, o->digest.b, j->store.part + 1);
            rc = store->ops->put(store, s->peer, name, tail + here, tail_len - here, e);
        }
        free(tail);
        if (rc < 0)
            return rc;
    }
    catalog_object_name(name, o->m.group, o->m.rp, o->digest.b, j->store.part);
    return store->ops->put(store, s->peer, name, j->store.buf, len, e);
}

static int part_check_and_put(struct session *s, struct job *j, struct err *e)
{
    struct offer *o = j->store.offer;
    struct part_check check = {.buf = j->store.buf, .len = j->store.len};
    int rc = fio_work(IO_WORK_CPU, part_digest, &check);
    if (rc < 0)
        return err_os(e, rc, "part %" PRIu32, j->store.part);
    if (!digest_equal(&check.digest, &o->m.parts[j->store.part]))
        return err_set(e, ERR_CORRUPT,
                       "%s/%s RP %" PRIu64 ": the bytes of part %" PRIu32 " that came "
                       "are not those that the manifest names",
                       s->peer, o->m.group, o->m.rp, j->store.part);
    rc = part_put(s, j, e);
    if (rc < 0)
        return err_prefix(e, "%s/%s RP %" PRIu64 ": storing part %" PRIu32, s->peer, o->m.group,
                          o->m.rp, j->store.part);
    return 0;
}

static void part_job(struct job *j)
{
    struct session *s = j->s;
    struct offer *o = j->store.offer;
    struct err e = ERR_INIT;
    int rc = part_check_and_put(s, j, &e);
    bufpool_give(&s->hub->parts, j->store.buf);
    if (rc == 0) {
        Relais__PartStored reply = RELAIS__PART_STORED__INIT;
        offer_mark(o, j->store.part);
        reply.part = j->store.part;
        rc = session_reply(s, FRAME_PartStored, j->id, &reply.base, &e);
    } else {
        rc = session_refuse(s, j->id, &e);
    }
    if (rc < 0)
        link_shutdown(s->link);
    offer_unref(o);
}

static int part_finish(struct session *s, uint32_t id, struct partial *p, struct err *e)
{
    struct job j = {.run = part_job, .id = id};
    j.store.offer = p->offer;
    j.store.buf = p->buf;
    j.store.part = p->part;
    j.store.len = p->len;
    int rc = session_spawn(s, &j, e);
    if (rc == 0)
        partial_end(s, p);
    return rc;
}

static int check_piece(struct session *s, const struct frame_header *h, const Relais__Part *m,
                       struct offer **out, struct err *e)
{
    struct digest digest;
    int rc = session_check_name("group", m->group, e);
    if (rc == 0)
        rc = session_check_digest(&digest, &m->digest, e);
    if (rc < 0)
        return rc;
    struct offer *o = offer_find(s, m->group, &digest);
    if (!o)
        return err_set(e, ERR_PROTO,
                       "a part of a delta of group %s that is not offered on this "
                       "connection",
                       m->group);
    if (m->part >= o->m.part_count)
        return err_set(e, ERR_PROTO, "part %" PRIu32 " of %" PRIu32, m->part, o->m.part_count);
    uint32_t len = manifest_part_len(&o->m, m->part);
    if (h->payload_len == 0 || m->offset > len || h->payload_len > len - m->offset)
        return err_set(e, ERR_PROTO,
                       "part %" PRIu32 " of %" PRIu32 " bytes: piece of %" PRIu32 " at %" PRIu32,
                       m->part, len, h->payload_len, m->offset);
    const struct partial *p = partial_find(s, o, m->part);
    uint32_t part = m->part, offset = m->offset, due = p ? p->filled : 0;
    rc = offset == due ? 0 : p ? -ERR_NOENT : kept_resume(s, o, part, offset, e);
    if (rc == -ERR_NOENT)
        return err_set(e, ERR_PROTO,
                       "part %" PRIu32 ": piece at %" PRIu32 " where %" PRIu32
                       " was due: pieces of a part come in order",
                       part, offset, due);
    if (rc < 0)
        return rc;
    *out = o;
    return 0;
}

/* By the record, so that what came before the connection broke is known. */
static int take_piece(struct session *s, struct partial *p, uint32_t len, struct err *e)
{
    while (len > 0) {
        uint32_t n = len < PIECE_STEP ? len : PIECE_STEP;
        int rc = link_recv_payload(s->link, p->buf + p->filled, n, e);
        if (rc < 0)
            return rc;
        p->filled += n;
        p->offer->bytes_in += n;
        len -= n;
    }
    p->since = io_now(s->hub->io);
    return 0;
}

int ingest_part(struct session *s, const struct frame_header *h, const Relais__Part *m,
                struct err *e)
{
    struct offer *o = NULL;
    struct partial *p;
    uint32_t part = m->part;
    int rc = check_piece(s, h, m, &o, e);
    if (rc < 0)
        return session_refuse(s, h->id, e);
    p = partial_find(s, o, part);
    if (!p) {
        rc = partial_begin(s, o, part, &p, e);
        if (rc == -ERR_PROTO)
            return session_refuse(s, h->id, e);
        if (rc < 0)
            return rc;
    }
    rc = take_piece(s, p, h->payload_len, e);
    if (rc < 0)
        return rc;
    return p->filled == p->len ? part_finish(s, h->id, p, e) : 0;
}

void ingest_drop(struct session *s)
{
    while (s->offers) {
        struct offer *o = s->offers;
        s->offers = o->next;
        offer_unref(o);
    }
    s->offer_count = 0;
}
