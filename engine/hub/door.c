/* door.c: connections of which nobody knows yet who they are (strangers.h), until they have said
 * Hello under a key that is pinned; and the places of those that have. */
#include "log.h"
#include "session.h"

void door_make_room(struct hub *h, const struct io_addr *from)
{
    struct stranger *s = strangers_make_room(&h->door, from);
    if (s)
        session_break(s->owner);
    /* Their memory counts until they are gone. */
    while (h->strangers >= HUB_STRANGERS && fiber_wait(&h->session_ended, FIBER_FOREVER) == 0)
        ;
}

/* Peers but this one that are not connected, and how many peers there are. */
static unsigned absent(const struct session *s, unsigned *all)
{
    const struct hub *h = s->hub;
    unsigned n = 0;
    *all = 0;
    for (unsigned i = 0; i < h->peer_count; i++) {
        const struct hub_peer *p = h->peers[i];
        if (p->standing != STANDING_ACTIVE)
            continue;
        (*all)++;
        n += p->members == 0 && p != s->known;
    }
    return n;
}

int door_pass(struct session *s, struct err *e)
{
    struct hub *h = s->hub;
    unsigned max = h->config->connections_max, all;
    /* Nobody takes the last place of somebody else. Where there are fewer places than peers, that
     * is not to be had. */
    unsigned kept = absent(s, &all);
    if (max < all)
        kept = 0;
    if (h->members + kept >= max)
        return err_set(e, ERR_AGAIN,
                       "%u connections are open and %u kept for peers that have none, as many as "
                       "[hub] connections allows (%u)",
                       h->members, kept, max);
    door_leave(s);
    s->member = true;
    s->known->members++;
    h->members++;
    return 0;
}

void door_leave(struct session *s)
{
    strangers_remove(&s->hub->door, &s->waiting);
    s->hub->strangers -= s->stranger;
    s->hub->members -= s->member;
    if (s->member)
        s->known->members--;
    s->stranger = s->member = false;
}

void door_tell(struct session *s, const struct err *e)
{
    struct hub *h = s->hub;
    unsigned untold;
    if (!s->config) /* of a peer's the refusal is noted */
        audit_note(h->audit, TRAIL_STRANGERS, NULL, "", e->code, "from %s:%u: %s", s->from.host,
                   s->from.port, e->text);
    if (!strangers_tell(&h->door, io_now(h->io), &untold))
        return;
    if (untold > 0)
        log_warn("hub: connection from %s:%u: %s; before it %u more came to nothing", s->from.host,
                 s->from.port, e->text, untold);
    else
        log_warn("hub: connection from %s:%u: %s", s->from.host, s->from.port, e->text);
}
