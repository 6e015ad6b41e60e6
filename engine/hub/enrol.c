/* enrol.c: guests: the bearers of invitations, who come with a key that nobody knows yet. They stay
 * strangers (door.c), say one thing, and are gone. What an attempt costs is bounded by the door;
 * how many attempts in vain are answered at all, by address and in all, is bounded here: with
 * secrets of 128 bits not against guessing, but so that the log stays readable and a flood is seen
 * as one. */
#include "log.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- attempts in vain ---- */

static bool recent(const struct hub *h, const struct guess *g)
{
    return g->at && io_now(h->io) - g->at < HUB_GUESS_NS;
}

static int check_guesses(const struct session *s, struct err *e)
{
    const struct hub *h = s->hub;
    unsigned all = 0, here = 0;
    for (unsigned i = 0; i < HUB_GUESSES; i++) {
        if (!recent(h, &h->guesses[i]))
            continue;
        all++;
        here += strangers_same_source(&h->guesses[i].from, &s->from);
    }
    if (here < HUB_GUESSES_FROM && all < HUB_GUESSES)
        return 0;
    return err_set(e, ERR_AGAIN,
                   "too many attempts to enrol have failed (%u from this address, %u in all); try "
                   "again in a minute",
                   here, all);
}

/* Takes the place of the oldest. */
static void note_guess(struct session *s)
{
    struct guess *oldest = &s->hub->guesses[0];
    for (unsigned i = 0; i < HUB_GUESSES; i++)
        if (s->hub->guesses[i].at < oldest->at)
            oldest = &s->hub->guesses[i];
    oldest->at = io_now(s->hub->io);
    oldest->from = s->from;
}

/* ---- what is stored under the name already ---- */

static int check_group(struct hub *h, const char *site, const char *group,
                       const struct key_public *sign, struct err *e)
{
    struct store_head raw;
    struct catalog_entry head;
    uint8_t *manifest = NULL;
    int rc = hub_head(h, site, group, &raw, &head, e);
    if (rc < 0 || head.rp == 0)
        return rc;
    rc = hub_head_manifest(h, site, group, &head, &manifest, e);
    if (rc == 0)
        rc = manifest_verify(manifest, head.manifest_len, sign, e);
    free(manifest);
    if (rc != -ERR_AUTH)
        return rc;
    return err_set(e, ERR_AUTH,
                   "the hub keeps recovery points of %s/%s that another signing key signed, and a "
                   "history has one: put that sign.key in the place of the new one, or, if it is "
                   "lost, enrol under another name (what is stored can be restored as before)",
                   site, group);
}

int enrol_check_history(struct hub *h, const char *site, const struct key_public *sign,
                        unsigned *groups, struct err *e)
{
    struct store_names names = {0};
    int rc = h->store->ops->groups(h->store, site, &names, e);
    if (rc < 0)
        return rc;
    *groups = names.count;
    for (unsigned i = 0; i < names.count && rc == 0 && sign; i++)
        rc = check_group(h, site, names.names[i], sign, e);
    free(names.names);
    return rc;
}

/* ---- the request ---- */

static int parse_request(struct session *s, const Relais__Enrol *m, struct token_offer *o,
                         struct err *e)
{
    int rc = session_check_name("site", m->site, e);
    if (rc == 0 && m->version != HUB_PROTOCOL)
        rc = err_set(e, ERR_PROTO,
                     "enrolment of version %" PRIu32 ", this hub knows %u: update "
                     "the older of them",
                     m->version, HUB_PROTOCOL);
    if (rc == 0 && (m->invitation.len != TOKEN_ID_LEN || m->proof.len != TOKEN_PROOF_LEN))
        rc = err_set(e, ERR_PROTO, "an invitation of %zu bytes and a proof of %zu",
                     m->invitation.len, m->proof.len);
    if (rc == 0)
        rc = key_public_parse(&o->sign, KEY_SIGN, m->sign_key, e);
    if (rc == 0)
        rc = key_public_parse(&o->restore, KEY_RESTORE, m->restore_key, e);
    if (rc < 0)
        return rc;
    (void)snprintf(o->site, sizeof o->site, "%s", m->site);
    o->link = *link_key(s->link);
    return 0;
}

/* The invitation whose bearer this provably is, in r. */
static int find_invitation(struct session *s, const Relais__Enrol *m, const struct token_offer *o,
                           struct enrolled *r, struct register_invitation **out, struct err *e)
{
    uint8_t binding[LINK_BINDING_LEN];
    struct register_invitation *inv = register_invitation(r, m->invitation.data);
    int rc = inv ? link_binding(s->link, binding, e)
                 : err_set(e, ERR_AUTH, "there is no such invitation here; ask for a new one");
    if (rc == 0)
        rc = token_check(m->proof.data, &inv->key, o, tls_key(s->hub->tls), binding, e);
    if (rc < 0)
        note_guess(s);
    *out = inv;
    return rc;
}

static int take(struct session *s, const Relais__Enrol *m, struct token_offer *o,
                struct enrolled *r, struct register_member **out, struct err *e)
{
    struct hub *h = s->hub;
    struct register_invitation *inv;
    unsigned groups = 0;
    int rc = find_invitation(s, m, o, r, &inv, e);
    if (rc == 0 && (strcmp(o->site, h->config->name) == 0 || config_peer(h->config, o->site)))
        rc = err_set(e, ERR_EXISTS, "%s stands in the hub's relais.conf", o->site);
    for (unsigned i = 0; i < h->config->peer_count && rc == 0; i++)
        if (roster_has_key(h->peers[i], &o->link))
            rc = err_set(e, ERR_CONFLICT, "this link key is that of %s already",
                         h->peers[i]->config.name);
    if (rc == 0)
        rc = enrol_check_history(h, o->site, &o->sign, &groups, e);
    return rc == 0 ? register_enrol(r, inv, o, roster_now(h), out, e) : rc;
}

/* Makes it a member, durably. */
static int enrol(struct session *s, const Relais__Enrol *m, struct token_offer *o, struct err *e)
{
    struct register_member *member = NULL;
    struct enrolled next;
    unsigned broken;
    int rc = roster_begin(s->hub, &next, e);
    if (rc < 0)
        return rc;
    rc = take(s, m, o, &next, &member, e);
    if (rc < 0) {
        roster_abandon(s->hub, &next);
        return rc;
    }
    return roster_commit(s->hub, &next, &broken, e);
}

/* ---- the answer ---- */

struct answer {
    Relais__Enrolled m;
    Relais__Member *rows, **members;
    char (*words)[2][KEY_WORD_MAX];
    char *reads[CONFIG_READS_MAX], *links[CONFIG_LINK_KEYS_MAX];
    size_t size;
};

static void add_member(struct answer *a, const char *name, const char *sign, const char *restore)
{
    size_t i = a->m.n_members;
    relais__member__init(&a->rows[i]);
    a->rows[i].name = (char *)(uintptr_t)name;
    (void)snprintf(a->words[i][0], KEY_WORD_MAX, "%s", sign);
    (void)snprintf(a->words[i][1], KEY_WORD_MAX, "%s", restore);
    a->rows[i].sign_key = a->words[i][0];
    a->rows[i].restore_key = a->words[i][1];
    a->members[i] = &a->rows[i];
    a->size += message_packed_size(&a->rows[i].base) + 8;
    if (a->size < MESSAGE_MAX) /* there are territories and territories */
        a->m.n_members++;
}

/* The others, by the public words that the hub has of them. Whoever gets them had better compare
 * fingerprints before it believes them: they are the hub's word only. */
static void list_members(struct answer *a, const struct hub *h, const struct enrolled *r,
                         const char *but)
{
    char sign[KEY_WORD_MAX], restore[KEY_WORD_MAX];
    size_t max = h->config->peer_count + r->member_count + 1;
    a->rows = err_calloc(max, sizeof *a->rows);
    a->members = err_calloc(max, sizeof(*a->members));
    a->words = err_calloc(max, sizeof *a->words);
    a->m.members = a->members;
    for (unsigned i = 0; i < h->config->peer_count; i++)
        if (h->config->peers[i].sign_key[0] && h->peers[i]->standing == STANDING_ACTIVE &&
            strcmp(h->config->peers[i].name, h->config->name) != 0)
            add_member(a, h->config->peers[i].name, h->config->peers[i].sign_key, "");
    for (unsigned i = 0; i < r->member_count; i++) {
        const struct register_member *m = &r->members[i];
        if (m->state != MEMBER_ACTIVE || strcmp(m->name, but) == 0)
            continue;
        key_public_word(sign, &m->sign);
        key_public_word(restore, &m->restore);
        add_member(a, m->name, sign, restore);
    }
}

static int send_answer(struct session *s, uint32_t id, const struct enrolled *r, const char *site,
                       struct err *e)
{
    const struct config *c = s->hub->config;
    const struct config_peer *own = config_peer(c, c->name);
    const struct register_member *m = register_member(r, site);
    struct answer *a;
    if (!m) /* revoked and forgotten while we wrote */
        return err_set(e, ERR_AUTH, "%s is no member any more", site);
    a = err_calloc(1, sizeof *a);
    relais__enrolled__init(&a->m);
    a->m.hub = (char *)(uintptr_t)c->name;
    a->m.pending = m->state == MEMBER_PENDING;
    if (own)
        a->m.sign_key = (char *)(uintptr_t)own->sign_key;
    a->m.escrow = (char *)(uintptr_t)c->escrow;
    for (unsigned i = 0; own && i < own->link_key_count; i++)
        a->links[a->m.n_link_keys++] = (char *)(uintptr_t)own->link_keys[i];
    a->m.link_keys = a->links;
    for (unsigned i = 0; i < m->reads.count; i++)
        a->reads[a->m.n_reads++] = (char *)(uintptr_t)m->reads.grants[i];
    a->m.reads = a->reads;
    a->size = message_packed_size(&a->m.base) + 64;
    list_members(a, s->hub, r, site);
    int rc = session_reply(s, FRAME_Enrolled, id, &a->m.base, e);
    free(a->rows);
    free(a->members);
    free(a->words);
    free(a);
    return rc;
}

/* From a copy: while it is sent the register may change. */
static int answer(struct session *s, uint32_t id, const char *site, struct err *e)
{
    struct enrolled now;
    register_copy(&now, &s->hub->enrolled);
    int rc = send_answer(s, id, &now, site, e);
    register_free(&now);
    return rc;
}

static void tell(const struct session *s, const struct token_offer *o)
{
    const struct register_member *m = register_member(&s->hub->enrolled, o->site);
    bool member = m && m->state == MEMBER_ACTIVE;
    char fp[TOKEN_FINGERPRINT];
    token_fingerprint(fp, &o->link, &o->sign);
    audit_note(s->hub->audit, TRAIL_PEER, o->site, o->site, ERR_OK,
               "enrolled from %s:%u, fingerprint %s: %s", s->from.host, s->from.port, fp,
               member ? "active" : "pending");
    log_notice("hub: %s enrolled from %s:%u, fingerprint %s: %s", o->site, s->from.host,
               s->from.port, fp, member ? "it is a member" : "waits for relais peers approve");
}

int enrol_guest(struct session *s, uint64_t until, struct err *e)
{
    struct frame_header f = {0};
    struct token_offer o = {.sign = {.kind = KEY_SIGN}};
    uint64_t now = io_now(s->hub->io);
    int rc = link_recv(s->link, &f, &s->msg, now < until ? until - now : 1, e);
    if (rc < 0)
        return err_prefix(e, "a guest");
    if (f.type != FRAME_Enrol)
        rc = err_set(e, ERR_PROTO, "%s came where Enrol was due", frame_type_name(f.type));
    if (rc == 0)
        rc = check_guesses(s, e);
    if (rc == 0)
        rc = parse_request(s, s->msg.enrol, &o, e);
    if (rc == 0)
        rc = enrol(s, s->msg.enrol, &o, e);
    if (rc < 0) {
        struct err sending = ERR_INIT, why = *e;
        if (why.code == ERR_CANCELED)
            (void)err_set(&why, ERR_AGAIN, "the hub is stopping; try again later");
        (void)link_refuse(s->link, f.id, &why, &sending);
        audit_note(s->hub->audit, TRAIL_PEER, NULL, o.site, why.code, "enrolment from %s:%u: %s",
                   s->from.host, s->from.port, why.text);
        return err_prefix(e, "enrolment of %s", *o.site ? o.site : "a guest");
    }
    tell(s, &o);
    return answer(s, f.id, o.site, e);
}
