#include "register.h"

#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void register_free(struct enrolled *r)
{
    free(r->invitations);
    free(r->members);
    free(r->revoked);
    *r = (struct enrolled){NULL, NULL, NULL, 0, 0, 0};
}

static void *copy_of(const void *from, unsigned count, size_t size)
{
    void *to = count > 0 ? err_malloc(count * size) : NULL;
    if (count > 0)
        memcpy(to, from, count * size);
    return to;
}

void register_copy(struct enrolled *out, const struct enrolled *r)
{
    *out = *r;
    out->invitations = copy_of(r->invitations, r->invitation_count, sizeof *r->invitations);
    out->members = copy_of(r->members, r->member_count, sizeof *r->members);
    out->revoked = copy_of(r->revoked, r->revoked_count, sizeof *r->revoked);
}

/* ---- finding ---- */

const char *register_state_name(enum register_state s)
{
    static const char *const names[] = {
        [MEMBER_PENDING] = "pending", [MEMBER_ACTIVE] = "active", [MEMBER_REVOKED] = "revoked"};
    return names[s];
}

struct register_member *register_member(const struct enrolled *r, const char *name)
{
    for (unsigned i = 0; i < r->member_count; i++)
        if (strcmp(r->members[i].name, name) == 0)
            return &r->members[i];
    return NULL;
}

static bool same_key(const struct key_public *a, const struct key_public *b)
{
    return memcmp(a->b, b->b, KEY_LEN) == 0;
}

const struct register_revoked *register_revoked(const struct enrolled *r,
                                                const struct key_public *link)
{
    for (unsigned i = 0; i < r->revoked_count; i++)
        if (same_key(&r->revoked[i].link, link))
            return &r->revoked[i];
    return NULL;
}

struct register_invitation *register_invitation(const struct enrolled *r,
                                                const uint8_t id[TOKEN_ID_LEN])
{
    uint8_t fp[KEY_FP_LEN];
    for (unsigned i = 0; i < r->invitation_count; i++) {
        key_fingerprint(fp, &r->invitations[i].key);
        if (memcmp(fp, id, TOKEN_ID_LEN) == 0)
            return &r->invitations[i];
    }
    return NULL;
}

static bool is_open(const struct register_invitation *inv, int64_t now)
{
    return !inv->withdrawn && inv->used == 0 && inv->until > now;
}

bool register_open(const struct enrolled *r, int64_t now)
{
    /* One that was used lets its bearer ask again, should the answer have been lost. */
    for (unsigned i = 0; i < r->invitation_count; i++)
        if (r->invitations[i].until > now && !r->invitations[i].withdrawn)
            return true;
    return false;
}

void register_expire(struct enrolled *r, int64_t now)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < r->invitation_count; i++)
        if (now - r->invitations[i].until < REGISTER_REMEMBER_S)
            r->invitations[kept++] = r->invitations[i];
    r->invitation_count = kept;
}

/* ---- invitations ---- */

void register_withdraw(struct enrolled *r, const char *site, int64_t now, bool *was)
{
    *was = false;
    for (unsigned i = 0; i < r->invitation_count; i++) {
        struct register_invitation *inv = &r->invitations[i];
        if (strcmp(inv->site, site) == 0 && is_open(inv, now)) {
            inv->withdrawn = true;
            *was = true;
        }
    }
}

int register_invite(struct enrolled *r, const char *site, const struct key_public *key,
                    const struct register_reads *reads, bool approved, int64_t now, int64_t until,
                    struct err *e)
{
    const struct register_member *m = register_member(r, site);
    struct register_invitation *inv;
    bool was;
    if (m && m->state != MEMBER_REVOKED)
        return err_set(e, ERR_EXISTS,
                       "%s is a member already (%s); should its key be lost or stolen: relais "
                       "peers replace %s",
                       site, register_state_name(m->state), site);
    if (until - now < REGISTER_VALID_MIN || until - now > REGISTER_VALID_MAX)
        return err_set(e, ERR_LIMIT, "an invitation holds for 1s to 30d");
    register_expire(r, now);
    register_withdraw(r, site, now, &was);
    if (r->invitation_count == REGISTER_INVITED_MAX)
        return err_set(e, ERR_LIMIT,
                       "%u invitations were made in the last weeks, as many as may be",
                       r->invitation_count);
    r->invitations =
        err_realloc(r->invitations, (r->invitation_count + 1) * sizeof *r->invitations);
    inv = &r->invitations[r->invitation_count++];
    memset(inv, 0, sizeof *inv);
    (void)snprintf(inv->site, sizeof inv->site, "%s", site);
    inv->key = *key;
    inv->made = now;
    inv->until = until;
    inv->approved = approved;
    if (reads)
        inv->reads = *reads;
    else if (m)
        inv->reads = m->reads;
    return 0;
}

/* ---- members ---- */

/* Whether the bearer of inv, which it proved, may still use it. 1: it did. */
static int check_use(const struct enrolled *r, const struct register_invitation *inv,
                     const struct token_offer *o, int64_t now, struct err *e)
{
    const struct register_member *m = register_member(r, inv->site);
    char when[UNITS_TEXT];
    if (strcmp(inv->site, o->site) != 0)
        return err_set(e, ERR_AUTH, "the invitation is for %s, not for %s", inv->site, o->site);
    if (inv->withdrawn)
        return err_set(e, ERR_AUTH, "the invitation was withdrawn; ask for a new one");
    if (inv->used && m && m->state != MEMBER_REVOKED && same_key(&inv->used_by, &o->link) &&
        same_key(&m->link, &o->link) && same_key(&m->sign, &o->sign))
        return 1;
    if (inv->used)
        return err_set(e, ERR_AUTH,
                       "the invitation was used already, at %s, by another key: if that was not "
                       "you, have it revoked at the hub at once (relais peers revoke %s)",
                       units_time(when, inv->used * INT64_C(1000000000)), inv->site);
    if (inv->until <= now)
        return err_set(e, ERR_AUTH, "the invitation has expired, at %s; ask for a new one",
                       units_time(when, inv->until * INT64_C(1000000000)));
    return 0;
}

static int check_keys(const struct enrolled *r, const struct token_offer *o, struct err *e)
{
    const struct register_revoked *gone = register_revoked(r, &o->link);
    const struct register_member *m = register_member(r, o->site);
    char when[UNITS_TEXT];
    if (gone)
        return err_set(e, ERR_AUTH,
                       "this link key was revoked, at %s, as that of %s; make a new one",
                       units_time(when, gone->since * INT64_C(1000000000)), gone->name);
    for (unsigned i = 0; i < r->member_count; i++)
        if (same_key(&r->members[i].link, &o->link) && &r->members[i] != m)
            return err_set(e, ERR_CONFLICT,
                           "this link key is that of %s already; each member has its own",
                           r->members[i].name);
    if (m && m->state != MEMBER_REVOKED)
        return err_set(e, ERR_EXISTS, "%s is a member already (%s)", o->site,
                       register_state_name(m->state));
    return 0;
}

int register_enrol(struct enrolled *r, struct register_invitation *inv, const struct token_offer *o,
                   int64_t now, struct register_member **out, struct err *e)
{
    struct register_member *m = register_member(r, o->site);
    int rc = check_use(r, inv, o, now, e);
    if (rc == 0)
        rc = check_keys(r, o, e);
    if (rc != 0) {
        *out = m;
        return rc < 0 ? rc : 0;
    }
    if (!m && r->member_count == PEERS_MAX)
        return err_set(e, ERR_LIMIT, "there are %u members, as many as may be", PEERS_MAX);
    if (!m) {
        r->members = err_realloc(r->members, (r->member_count + 1) * sizeof *r->members);
        m = &r->members[r->member_count++];
    }
    memset(m, 0, sizeof *m);
    (void)snprintf(m->name, sizeof m->name, "%s", o->site);
    m->state = inv->approved ? MEMBER_ACTIVE : MEMBER_PENDING;
    m->link = o->link;
    m->sign = o->sign;
    m->restore = o->restore;
    m->since = now;
    m->reads = inv->reads;
    inv->used = now;
    inv->used_by = o->link;
    *out = m;
    return 0;
}

int register_approve(struct enrolled *r, const char *name, const char *fingerprint, int64_t now,
                     struct err *e)
{
    struct register_member *m = register_member(r, name);
    char fp[TOKEN_FINGERPRINT];
    if (!m)
        return err_set(e, ERR_NOENT, "%.60s has not enrolled; relais peers shows who has", name);
    if (m->state == MEMBER_REVOKED)
        return err_set(e, ERR_AUTH, "%s was revoked; invite it again: relais territory invite %s",
                       name, name);
    token_fingerprint(fp, &m->link, &m->sign);
    if (!token_fingerprint_is(fp, fingerprint))
        return err_set(
            e, ERR_AUTH,
            "%s enrolled with fingerprint %s, which is not what was given: somebody else "
            "may have used its invitation; if it is not a slip: relais peers revoke %s",
            name, fp, name);
    if (m->state == MEMBER_ACTIVE)
        return err_set(e, ERR_EXISTS, "%s is approved already", name);
    m->state = MEMBER_ACTIVE;
    m->since = now;
    return 0;
}

int register_revoke(struct enrolled *r, const char *name, const struct key_public *link,
                    const char *reason, int64_t now, struct err *e)
{
    struct register_member *m = register_member(r, name);
    struct register_revoked *gone;
    if (register_revoked(r, link))
        return err_set(e, ERR_EXISTS, "the key of %s is revoked already", name);
    if (strlen(reason) >= sizeof gone->reason)
        return err_set(e, ERR_LIMIT, "the reason has %zu bytes; at most %zu may be", strlen(reason),
                       sizeof gone->reason - 1);
    if (r->revoked_count == REGISTER_REVOKED_MAX)
        return err_set(e, ERR_LIMIT, "%u keys are revoked, as many as may be", r->revoked_count);
    r->revoked = err_realloc(r->revoked, (r->revoked_count + 1) * sizeof *r->revoked);
    gone = &r->revoked[r->revoked_count++];
    memset(gone, 0, sizeof *gone);
    (void)snprintf(gone->name, sizeof gone->name, "%s", name);
    (void)snprintf(gone->reason, sizeof gone->reason, "%s", reason);
    gone->link = *link;
    gone->since = now;
    if (m && same_key(&m->link, link)) {
        m->state = MEMBER_REVOKED;
        m->since = now;
    }
    return 0;
}
