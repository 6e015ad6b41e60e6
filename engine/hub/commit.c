/* commit.c moves heads. One fiber per connection drains the commits that were asked for, in the
 * order they came, while pieces of later deltas go on arriving. */
#include "log.h"
#include "retention.h"
#include "session.h"
#include "units.h"
#include "usage.h"

#include <stdio.h>
#include <string.h>

static int answer(struct session *s, uint32_t id, uint64_t rp, struct digest *digest, struct err *e)
{
    Relais__Committed reply = RELAIS__COMMITTED__INIT;
    reply.rp = rp;
    reply.digest = (ProtobufCBinaryData){DIGEST_LEN, digest->b};
    return session_reply(s, FRAME_Committed, id, &reply.base, e);
}

/* Drops what the head has made pointless: the delta itself and others of the group that start no
 * later (a site that merged offers the same RPs anew). */
static void forget(struct session *s, const char *group, uint64_t head)
{
    for (struct offer **at = &s->offers; *at;) {
        struct offer *o = *at;
        if (o->m.rp_first <= head && strcmp(o->m.group, group) == 0) {
            *at = o->next;
            s->offer_count--;
            offer_unref(o);
        } else {
            at = &o->next;
        }
    }
}

static int encode_entry(struct session *s, const struct offer *o, const struct catalog_entry *head,
                        struct store_head *to, struct err *e)
{
    int64_t now = io_wall(s->hub->io);
    struct catalog_entry entry = {
        .rp_first = o->m.rp_first,
        .rp = o->m.rp,
        .digest = o->digest,
        .parent = o->m.parent,
        .link = *manifest_link(&o->m, &o->digest),
        .cut_time = o->m.cut_time,
        .committed_time = now,
        .clock = retention_clock(head->clock, head->committed_time, now),
        .total_bytes = head->total_bytes + o->file_len,
        .total_objects = head->total_objects + o->objects,
        .total_rps = head->total_rps + 1,
        .flags = o->m.flags,
        .file_len = o->file_len,
        .plain_bytes = o->m.plain_bytes,
        .manifest_len = o->raw_len,
    };
    entry.good_from = o->m.good_from;
    memcpy(entry.id, o->digest.b, sizeof entry.id);
    memcpy(entry.label, o->m.label, sizeof entry.label);
    if (catalog_encode(to, &entry) < 0)
        return err_set(e, ERR_INTERNAL, "%s/%s RP %" PRIu64 ": the catalog entry is too long",
                       s->peer, o->m.group, o->m.rp);
    return 0;
}

/* A move may fail and yet have happened (a timeout, another connection of the same site): what the
 * head is now decides. */
static int move_head(struct session *s, struct offer *o, const struct store_head *from,
                     const struct catalog_entry *parent, struct err *e)
{
    struct store *store = s->hub->store;
    struct store_head to, now;
    struct catalog_entry head;
    struct err reading = ERR_INIT;
    int rc = encode_entry(s, o, parent, &to, e);
    if (rc < 0)
        return rc;
    rc = store->ops->move_head(store, s->peer, o->m.group, from, &to, e);
    if (rc == 0)
        return 0;
    if (hub_head(s->hub, s->peer, o->m.group, &now, &head, &reading) == 0 && head.rp == o->m.rp &&
        digest_equal(&head.digest, &o->digest))
        return 0;
    return err_prefix(e, "%s/%s: committing RP %" PRIu64, s->peer, o->m.group, o->m.rp);
}

static int check_parent(struct session *s, const struct offer *o, const struct catalog_entry *head,
                        struct err *e)
{
    char hex[DIGEST_HEX];
    if (o->m.rp_first == head->rp + 1 && digest_equal(&o->m.parent, &head->link))
        return 0;
    if (o->m.rp_first > head->rp + 1)
        return err_set(e, ERR_AGAIN,
                       "%s/%s: RP %" PRIu64 " cannot be committed before RP %" PRIu64
                       "; the head is RP %" PRIu64,
                       s->peer, o->m.group, o->m.rp, o->m.rp_first - 1, head->rp);
    digest_hex(hex, &head->link);
    return err_set(e, ERR_CONFLICT,
                   "%s/%s: RP %" PRIu64 " is no successor of the head, which is now RP %" PRIu64
                   " %.16s",
                   s->peer, o->m.group, o->m.rp, head->rp, hex);
}

static void log_commit(const struct session *s, const struct offer *o)
{
    char came[UNITS_TEXT], size[UNITS_TEXT], duration[UNITS_TEXT];
    log_info(
        "hub: %s/%s RP %" PRIu64 " committed: %s in %" PRIu32 " parts, %s came, %s since the offer",
        s->peer, o->m.group, o->m.rp, units_size(size, o->file_len), o->m.part_count,
        units_size(came, o->bytes_in), units_duration(duration, io_now(s->hub->io) - o->since));
}

/* The offer's delta becomes the head, or the reason why not. */
static int commit_offer(struct session *s, struct offer *o, const struct store_head *from,
                        const struct catalog_entry *head, struct err *e)
{
    int rc = check_parent(s, o, head, e);
    if (rc < 0)
        return rc;
    /* Another connection of this site may have brought some of the parts. */
    if (o->lacking > 0 && (rc = offer_survey(s, o, e)) < 0)
        return rc;
    if (o->lacking > 0)
        return err_set(e, ERR_AGAIN,
                       "%s/%s RP %" PRIu64 ": %" PRIu32 " of %" PRIu32 " parts are not "
                       "stored yet",
                       s->peer, o->m.group, o->m.rp, o->lacking, o->m.part_count);
    rc = move_head(s, o, from, head, e);
    if (rc == 0) {
        usage_committed(s->hub->usage, s->peer, o->m.group, o->file_len, o->objects);
        log_commit(s, o);
    }
    return rc;
}

static int commit_one(struct session *s, struct commit_request *r, struct err *e)
{
    struct store_head raw;
    struct catalog_entry head;
    int rc = hub_head(s->hub, s->peer, r->group, &raw, &head, e);
    if (rc < 0)
        return rc;
    struct offer *o = offer_find(s, r->group, &r->digest);
    if (head.rp && digest_equal(&head.digest, &r->digest)) {
        forget(s, r->group, head.rp);
        return answer(s, r->id, head.rp, &r->digest, e);
    }
    if (!o)
        return err_set(e, ERR_PROTO,
                       "commit of a delta of group %s that is not offered on this "
                       "connection",
                       r->group);
    o->refs++;
    rc = commit_offer(s, o, &raw, &head, e);
    if (rc == 0) {
        forget(s, r->group, o->m.rp);
        rc = answer(s, r->id, o->m.rp, &r->digest, e);
    }
    offer_unref(o);
    return rc;
}

static void commit_job(struct job *j)
{
    struct session *s = j->s;
    while (s->commit_count) {
        struct commit_request r = s->commits[0];
        struct err e = ERR_INIT;
        s->commit_count--;
        memmove(s->commits, s->commits + 1, s->commit_count * sizeof *s->commits);
        if (commit_one(s, &r, &e) < 0 && session_refuse(s, r.id, &e) < 0) {
            link_shutdown(s->link);
            s->commit_count = 0;
        }
    }
    s->committing = false;
}

static int commit_queue(struct session *s, uint32_t id, const Relais__Commit *m, struct err *e)
{
    struct commit_request r = {.id = id};
    int rc = ingest_check_signer(s, e);
    if (rc == 0)
        rc = session_check_name("group", m->group, e);
    if (rc == 0)
        rc = session_check_digest(&r.digest, &m->digest, e);
    if (rc < 0)
        return rc;
    if (s->commit_count == HUB_COMMITS_MAX)
        return err_set(e, ERR_PROTO, "%u commits wait already, as many as may", HUB_COMMITS_MAX);
    (void)snprintf(r.group, sizeof r.group, "%s", m->group);
    s->commits[s->commit_count++] = r;
    return 0;
}

int commit_ask(struct session *s, uint32_t id, const Relais__Commit *m, struct err *e)
{
    struct job j = {.run = commit_job, .id = id};
    if (commit_queue(s, id, m, e) < 0)
        return session_refuse(s, id, e);
    if (s->committing)
        return 0;
    s->committing = true;
    return session_spawn(s, &j, e);
}
