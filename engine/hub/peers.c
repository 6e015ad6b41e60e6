/* peers.c: what an admin asks of the roster over the control socket: invitations, approval,
 * revocation, who is there. */
#include "bytes.h"
#include "log.h"
#include "maintain.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

/* ---- invitations ---- */

static int take_reads(struct register_reads *out, const Relais__Invite *m, struct err *e)
{
    out->count = 0;
    if (m->n_reads > CONFIG_READS_MAX)
        return err_set(e, ERR_LIMIT, "%zu grants; at most %u may be", m->n_reads, CONFIG_READS_MAX);
    for (size_t i = 0; i < m->n_reads; i++) {
        if (config_read_check(m->reads[i], e) != 0) {
            e->code = ERR_USAGE;
            return err_prefix(e, "reads");
        }
        memcpy(out->grants[out->count++], m->reads[i], strlen(m->reads[i]) + 1);
    }
    return 0;
}

static int check_invite(const struct hub *h, const Relais__Invite *m, struct err *e)
{
    const struct config *c = h->config;
    int rc = session_check_name("site", m->site, e);
    if (rc < 0) {
        e->code = ERR_USAGE;
        return -ERR_USAGE;
    }
    if (c->hub_addr_count == 0)
        return err_set(
            e, ERR_CONFIG,
            "%s: an invitation names where sites reach this hub: add address = HOST:PORT "
            "to [hub], and restart relaisd",
            c->file);
    if (strcmp(m->site, c->name) == 0 || config_peer(c, m->site))
        return err_set(e, ERR_EXISTS,
                       "%s stands in %s; what it may do is changed there, or remove its section to "
                       "invite it",
                       m->site, c->file);
    if (m->valid_s > (uint64_t)REGISTER_VALID_MAX)
        return err_set(e, ERR_LIMIT, "an invitation holds for 1s to 30d");
    return 0;
}

static int invite(struct hub *h, const Relais__Invite *m, struct token *t, int64_t *until,
                  struct err *e)
{
    struct register_reads *reads = err_calloc(1, sizeof *reads);
    struct enrolled next;
    struct key_secret *key;
    unsigned broken;
    int64_t now = roster_now(h);
    int rc = take_reads(reads, m, e);
    if (rc == 0)
        rc = roster_begin(h, &next, e);
    if (rc < 0) {
        free(reads);
        return rc;
    }
    token_draw(t, tls_key(h->tls));
    key = token_key(t);
    *until = now + (int64_t)m->valid_s;
    rc = register_invite(&next, m->site, key_public(key), m->keep_reads ? NULL : reads, m->approved,
                         now, *until, e);
    key_free(key);
    free(reads);
    if (rc < 0) {
        roster_abandon(h, &next);
        return rc;
    }
    return roster_commit(h, &next, &broken, e);
}

static int answer_invite(struct hub *h, struct link *l, uint32_t id, const Relais__Invite *m,
                         struct err *why, struct err *e)
{
    struct token t = {.addr_count = h->config->hub_addr_count};
    char text[TOKEN_TEXT_MAX];
    Relais__Invited reply;
    int64_t until = 0;
    int rc = check_invite(h, m, why);
    relais__invited__init(&reply);
    (void)snprintf(t.site, sizeof t.site, "%s", m->site);
    memcpy(t.addrs, h->config->hub_addrs, sizeof t.addrs);
    if (rc == 0)
        rc = invite(h, m, &t, &until, why);
    if (rc == 0)
        rc = token_print(text, &t, why);
    if (rc == 0) {
        log_notice("hub: %s is invited, for %llu s%s", m->site, (unsigned long long)m->valid_s,
                   m->approved ? ", and approved" : "");
        audit_note(h->audit, TRAIL_PEER, NULL, m->site, ERR_OK, "invited for %llu s%s",
                   (unsigned long long)m->valid_s, m->approved ? ", and approved" : "");
        reply.token = text;
        reply.until = until * (int64_t)IO_S;
        rc = link_send(l, FRAME_Invited, id, &reply.base, NULL, 0, e);
    } else {
        rc = 1;
    }
    sodium_memzero(&t, sizeof t);
    sodium_memzero(text, sizeof text);
    return rc;
}

/* ---- who is there ---- */

struct row {
    Relais__Peer p;
    char link[KEY_WORD_MAX], sign[KEY_WORD_MAX], restore[KEY_WORD_MAX], fp[TOKEN_FINGERPRINT];
    char address[CONFIG_ADDR_TEXT];
    char *reads[CONFIG_READS_MAX];
};

struct rows {
    const struct enrolled *enrolled; /* as of one moment */
    struct row *rows;
    Relais__Peer **list;
    size_t count;
};

static struct row *add_row(struct rows *t, const char *name, const char *state)
{
    struct row *r = &t->rows[t->count];
    relais__peer__init(&r->p);
    t->list[t->count++] = &r->p;
    r->p.name = (char *)(uintptr_t)name;
    r->p.state = (char *)(uintptr_t)state;
    return r;
}

static void set_reads(struct row *r, const char (*grants)[2 * NAME_MAX_LEN + 2], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        r->reads[i] = (char *)(uintptr_t)grants[i];
    r->p.reads = r->reads;
    r->p.n_reads = count;
}

static void set_keys(struct row *r, const struct hub_peer *p, const struct register_member *m)
{
    key_public_word(r->link, &p->links[0]);
    r->p.link_key = r->link;
    if (p->sign.kind == KEY_SIGN) {
        key_public_word(r->sign, &p->sign);
        token_fingerprint(r->fp, &p->links[0], &p->sign);
        r->p.sign_key = r->sign;
        r->p.fingerprint = r->fp;
    }
    if (m) {
        key_public_word(r->restore, &m->restore);
        r->p.restore_key = r->restore;
    }
}

static void list_peer(struct rows *t, const struct hub_peer *p)
{
    static const char *const states[] = {[STANDING_ACTIVE] = "active",
                                         [STANDING_PENDING] = "pending",
                                         [STANDING_REVOKED] = "revoked"};
    const struct register_member *m =
        p->enrolled ? register_member(t->enrolled, p->config.name) : NULL;
    const struct register_revoked *gone = register_revoked(t->enrolled, &p->links[0]);
    struct row *r = add_row(t, p->config.name, states[p->standing]);
    set_keys(r, p, m);
    r->p.enrolled = p->enrolled;
    r->p.seen = p->seen;
    r->p.connections = p->members;
    if (p->seen) {
        const struct io_addr *from = &p->seen_from;
        (void)snprintf(r->address, sizeof r->address, "%s", from->host);
        r->p.address = r->address;
    }
    if (m)
        r->p.since = m->since * (int64_t)IO_S;
    if (gone) {
        r->p.since = gone->since * (int64_t)IO_S;
        r->p.reason = (char *)(uintptr_t)gone->reason;
    }
    set_reads(r, (const char(*)[2 * NAME_MAX_LEN + 2]) p->config.reads, p->config.read_count);
}

static void list_invitations(struct rows *t, int64_t now)
{
    for (unsigned i = 0; i < t->enrolled->invitation_count; i++) {
        const struct register_invitation *inv = &t->enrolled->invitations[i];
        if (inv->used || inv->withdrawn || inv->until <= now)
            continue;
        struct row *r = add_row(t, inv->site, "invited");
        r->p.enrolled = true;
        r->p.since = inv->made * (int64_t)IO_S;
        r->p.until = inv->until * (int64_t)IO_S;
        r->p.approved = inv->approved;
        set_reads(r, (const char(*)[2 * NAME_MAX_LEN + 2]) inv->reads.grants, inv->reads.count);
    }
}

/* As many of them, from `after` on, as fit a message. */
static void fill_page(Relais__Peers *reply, const struct rows *t, size_t after)
{
    size_t size = 64;
    reply->peers = t->list + (after < t->count ? after : t->count);
    for (size_t i = after; i < t->count; i++) {
        size += message_packed_size(&t->rows[i].p.base) + 8;
        if (size > MESSAGE_MAX) {
            reply->more = true;
            return;
        }
        reply->n_peers++;
    }
}

static int answer_peers(struct hub *h, struct link *l, uint32_t id, const Relais__PeersGet *m,
                        struct err *e)
{
    Relais__Peers reply;
    struct enrolled now;
    size_t max = h->peer_count + h->enrolled.invitation_count;
    struct rows t = {&now, err_calloc(max, sizeof *t.rows), err_calloc(max, sizeof(*t.list)), 0};
    register_copy(&now, &h->enrolled);
    for (unsigned i = 0; i < h->peer_count; i++)
        list_peer(&t, h->peers[i]);
    list_invitations(&t, roster_now(h));
    relais__peers__init(&reply);
    fill_page(&reply, &t, m->after);
    reply.since = h->since;
    int rc = link_send(l, FRAME_Peers, id, &reply.base, NULL, 0, e);
    register_free(&now);
    free(t.rows);
    free(t.list);
    return rc;
}

/* ---- approval and revocation ---- */

static int change(struct hub *h, const Relais__PeerSet *m, struct enrolled *next, struct err *e)
{
    const struct hub_peer *p = roster_find(h, m->name);
    bool was;
    if (strcmp(m->action, "approve") == 0)
        return register_approve(next, m->name, m->fingerprint, roster_now(h), e);
    register_withdraw(next, m->name, roster_now(h), &was);
    if (strcmp(m->action, "withdraw") == 0)
        return was ? 0
                   : err_set(e, ERR_NOENT,
                             "no invitation of %.60s is open; relais peers shows them", m->name);
    if (strcmp(m->action, "revoke") != 0)
        return err_set(e, ERR_PROTO, "\"%.20s\" is nothing that can be done with a peer",
                       m->action);
    if (strcmp(m->name, h->config->name) == 0)
        return err_set(e, ERR_USAGE, "%s is this hub itself", m->name);
    if (!p)
        return err_set(e, ERR_NOENT, "no peer \"%.60s\"%s", m->name,
                       was ? "; it has an open invitation: relais peers withdraw" : "");
    int rc = 0;
    for (unsigned i = 0; i < p->link_count && rc == 0; i++)
        rc = register_revoke(next, m->name, &p->links[i], m->reason, roster_now(h), e);
    return rc;
}

static int set(struct hub *h, const Relais__PeerSet *m, unsigned *broken, struct err *e)
{
    struct enrolled next;
    int rc = roster_begin(h, &next, e);
    if (rc < 0)
        return rc;
    rc = change(h, m, &next, e);
    if (rc < 0) {
        roster_abandon(h, &next);
        return rc;
    }
    return roster_commit(h, &next, broken, e);
}

static int answer_set(struct hub *h, struct link *l, uint32_t id, const Relais__PeerSet *m,
                      struct err *why, struct err *e)
{
    Relais__PeerDone reply;
    unsigned broken = 0, groups = 0;
    struct err store = ERR_INIT;
    int rc = set(h, m, &broken, why);
    audit_note(h->audit, TRAIL_PEER, NULL, bytes_is_name(m->name) ? m->name : "", why->code,
               "%.20s%s%s%s%s", m->action, *m->reason ? ": " : "", m->reason, rc < 0 ? ": " : "",
               rc < 0 ? why->text : "");
    if (rc < 0)
        return 1;
    log_notice("hub: peers %s %s%s%s", m->action, m->name, *m->reason ? ": " : "", m->reason);
    /* Only to be told: a store that is away is no reason to say that it was not done. */
    (void)enrol_check_history(h, m->name, NULL, &groups, &store);
    relais__peer_done__init(&reply);
    reply.connections = broken;
    reply.groups = groups;
    return link_send(l, FRAME_PeerDone, id, &reply.base, NULL, 0, e);
}

int hub_answer(struct hub *h, struct link *l, const struct frame_header *f, const struct message *m,
               struct err *e)
{
    struct err why = ERR_INIT;
    int rc;
    if (f->type == FRAME_Compact) {
        audit_note(h->audit, TRAIL_OPERATOR, NULL, "", ERR_OK, "a pass of compaction");
        return maintain_answer(h, l, f->id, m->compact, e);
    }
    if (f->type == FRAME_PeersGet)
        return answer_peers(h, l, f->id, m->peers_get, e);
    if (hub_ask_is(f->type)) {
        struct hub_ask ask;
        rc = hub_ask_take(&ask, f->type, m, &why);
        if (rc == 0)
            rc = hub_ask_answer(h, &ask, NULL, l, f->id, &why);
        return rc < 0 ? link_refuse(l, f->id, &why, e) : 0;
    }
    if (f->type == FRAME_Invite)
        rc = answer_invite(h, l, f->id, m->invite, &why, e);
    else
        rc = answer_set(h, l, f->id, m->peer_set, &why, e);
    return rc > 0 ? link_refuse(l, f->id, &why, e) : rc;
}
