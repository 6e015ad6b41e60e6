/* roster.c: whom the hub knows. Peers of relais.conf hold as long as it runs; members that enrolled
 * come and go while it does. All changes go through one file that is replaced as a whole, so what
 * holds is what would hold after a crash. */
#include "log.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void file_name(char dst[CONFIG_PATH_MAX + 32], const struct hub *h)
{
    (void)snprintf(dst, CONFIG_PATH_MAX + 32, "%s/" REGISTER_FILE, h->config->state_dir);
}

int64_t roster_now(const struct hub *h)
{
    return io_wall(h->io) / (int64_t)IO_S;
}

void roster_welcome(struct hub *h)
{
    tls_welcome_guests(h->tls, register_open(&h->enrolled, roster_now(h)));
}

struct hub_peer *roster_find(const struct hub *h, const char *name)
{
    for (unsigned i = 0; i < h->peer_count; i++)
        if (strcmp(h->peers[i]->config.name, name) == 0)
            return h->peers[i];
    return NULL;
}

static struct hub_peer *add(struct hub *h)
{
    h->peers = err_realloc(h->peers, (h->peer_count + 1) * sizeof(*h->peers));
    return h->peers[h->peer_count++] = err_calloc(1, sizeof(**h->peers));
}

static int add_configured(struct hub *h, const struct config_peer *c, struct err *e)
{
    struct hub_peer *p = add(h);
    p->config = *c;
    p->sign.kind = KEY_KINDS;
    int rc = 0;
    for (unsigned i = 0; i < c->link_key_count && rc == 0; i++)
        rc = key_public_parse(&p->links[p->link_count++], KEY_LINK, c->link_keys[i], e);
    if (rc < 0)
        return err_prefix(e, "%s:%d: link key of peer %s", h->config->file, c->line, c->name);
    rc = c->sign_key[0] ? key_public_parse(&p->sign, KEY_SIGN, c->sign_key, e) : 0;
    return rc < 0 ? err_prefix(e, "%s:%d: sign key of peer %s", h->config->file, c->line, c->name)
                  : 0;
}

/* What a member may do now. */
static void apply_member(struct hub *h, const struct register_member *m)
{
    static const enum hub_standing standings[] = {[MEMBER_PENDING] = STANDING_PENDING,
                                                  [MEMBER_ACTIVE] = STANDING_ACTIVE,
                                                  [MEMBER_REVOKED] = STANDING_REVOKED};
    struct hub_peer *p = roster_find(h, m->name);
    if (p && !p->enrolled)
        return; /* relais.conf has the last word: somebody wrote it by hand */
    if (!p)
        p = add(h);
    p->enrolled = true;
    p->standing = standings[m->state];
    p->links[0] = m->link;
    p->link_count = 1;
    p->sign = m->sign;
    memcpy(p->config.name, m->name, sizeof p->config.name);
    key_public_word(p->config.link_keys[0], &m->link);
    p->config.link_key_count = 1;
    key_public_word(p->config.sign_key, &m->sign);
    p->config.read_count = m->reads.count;
    memcpy(p->config.reads, m->reads.grants, sizeof p->config.reads);
}

/* Who shows which key is whom; a key that was revoked is nobody's. */
static void apply_pins(struct hub *h)
{
    for (unsigned i = 0; i < h->peer_count; i++) {
        struct hub_peer *p = h->peers[i];
        struct tls_peer pin = {.key = p->links[0]};
        if (!p->enrolled)
            p->standing =
                register_revoked(&h->enrolled, &p->links[0]) ? STANDING_REVOKED : STANDING_ACTIVE;
        memcpy(pin.name, p->config.name, sizeof pin.name);
        if (p->standing == STANDING_REVOKED)
            tls_unpin(h->tls, pin.name);
        else if (p->enrolled)
            tls_pin(h->tls, &pin);
    }
    roster_welcome(h);
}

bool roster_has_key(const struct hub_peer *p, const struct key_public *link)
{
    for (unsigned i = 0; i < p->link_count; i++)
        if (memcmp(p->links[i].b, link->b, KEY_LEN) == 0)
            return true;
    return false;
}

/* A connection is that of a key: when that is its peer's no more, it ends. */
static unsigned break_others(struct hub *h)
{
    unsigned n = 0;
    for (struct session *s = h->sessions; s; s = s->next) {
        if (s->done || s->leaving || !s->known || !s->link)
            continue;
        if (s->known->standing == STANDING_ACTIVE && roster_has_key(s->known, link_key(s->link)))
            continue;
        s->leaving = true;
        n += s->member;
        session_break(s);
    }
    return n;
}

static unsigned apply(struct hub *h)
{
    for (unsigned i = 0; i < h->peer_count; i++)
        if (h->peers[i]->enrolled) /* a file that was put in the place of ours may lack it */
            h->peers[i]->standing = STANDING_REVOKED;
    for (unsigned i = 0; i < h->enrolled.member_count; i++)
        apply_member(h, &h->enrolled.members[i]);
    apply_pins(h);
    return break_others(h);
}

/* ---- the file ---- */

static int load(struct hub *h, struct enrolled *out, struct err *e)
{
    char path[CONFIG_PATH_MAX + 32];
    struct err why = ERR_INIT;
    void *text = NULL;
    size_t len = 0;
    if (!*h->config->state_dir)
        return 0;
    file_name(path, h);
    int rc = fio_load_file(path, REGISTER_FILE_MAX, &text, &len, &why);
    if (rc == -ERR_NOENT)
        return 0; /* nobody has been invited yet */
    if (rc == 0) {
        rc = register_parse(out, text, len, &why);
        if (rc < 0)
            rc = err_prefix(&why, "%s", path);
        free(text);
    }
    if (rc < 0)
        *e = why;
    return rc;
}

int roster_open(struct hub *h, struct err *e)
{
    int rc = 0;
    for (unsigned i = 0; i < h->config->peer_count && rc == 0; i++)
        rc = add_configured(h, &h->config->peers[i], e);
    if (rc == 0)
        rc = load(h, &h->enrolled, e);
    if (rc < 0)
        return rc;
    h->since = io_wall(h->io);
    for (unsigned i = 0; i < h->enrolled.member_count; i++)
        if (config_peer(h->config, h->enrolled.members[i].name))
            log_warn("hub: %s has enrolled and stands in %s too: its section there counts",
                     h->enrolled.members[i].name, h->config->file);
    (void)apply(h);
    return 0;
}

int hub_reload(struct hub *h, struct err *e)
{
    struct enrolled now = {NULL, NULL, NULL, 0, 0, 0};
    unsigned broken;
    if (fiber_lock(&h->enrolling) < 0)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    int rc = load(h, &now, e);
    if (rc == 0 && h->enrolled.member_count > 0 && now.member_count == 0)
        rc = err_set(e, ERR_NOENT, "%s/" REGISTER_FILE " names nobody any more",
                     h->config->state_dir);
    if (rc == 0) {
        register_free(&h->enrolled);
        h->enrolled = now;
        broken = apply(h);
        log_notice("hub: %u members have enrolled; %u connections were broken", now.member_count,
                   broken);
    }
    audit_note(h->audit, TRAIL_OPERATOR, NULL, "", rc < 0 ? e->code : ERR_OK,
               "the register of members, read again%s%s", rc < 0 ? ": " : "",
               rc < 0 ? e->text : "");
    fiber_unlock(&h->enrolling);
    return rc;
}

void roster_free(struct hub *h)
{
    tls_welcome_guests(h->tls, false);
    register_free(&h->enrolled);
    for (unsigned i = 0; i < h->peer_count; i++) {
        if (h->peers[i]->enrolled)
            tls_unpin(h->tls, h->peers[i]->config.name);
        free(h->peers[i]);
    }
    free(h->peers);
}

int roster_begin(struct hub *h, struct enrolled *next, struct err *e)
{
    if (fiber_lock(&h->enrolling) < 0)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    register_copy(next, &h->enrolled);
    return 0;
}

void roster_abandon(struct hub *h, struct enrolled *next)
{
    register_free(next);
    fiber_unlock(&h->enrolling);
}

int roster_commit(struct hub *h, struct enrolled *next, unsigned *broken, struct err *e)
{
    char path[CONFIG_PATH_MAX + 32], *text = NULL;
    size_t len = 0;
    file_name(path, h);
    int rc = register_text(&text, &len, next, e);
    if (rc == 0)
        rc = fio_replace_file(path, text, len, 0600, e);
    free(text);
    if (rc < 0) {
        roster_abandon(h, next);
        return rc;
    }
    register_free(&h->enrolled);
    h->enrolled = *next;
    *broken = apply(h);
    fiber_unlock(&h->enrolling);
    return 0;
}
