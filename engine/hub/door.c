/* door.c: connections of which nobody knows yet who they are. Anybody can make one; so they have
 * places of their own, apart from those of peers, and when these are taken it is never the newcomer
 * who suffers, nor one who is alone at his address: those go that have waited for longest, of the
 * address that has most. A peer needs some round trips only to get by. */
#include "log.h"
#include "session.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* Of an IPv6 address only the network counts: a machine has 2^64 of them. */
bool door_same_source(const struct io_addr *a, const struct io_addr *b)
{
    static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint8_t a6[16], b6[16];
    if (inet_pton(AF_INET6, a->host, a6) != 1 || inet_pton(AF_INET6, b->host, b6) != 1)
        return strcmp(a->host, b->host) == 0;
    return memcmp(a6, b6, memcmp(a6, v4_mapped, sizeof v4_mapped) == 0 ? 16 : 8) == 0;
}

static bool waits(const struct session *s)
{
    return s->stranger && !s->leaving;
}

/* How many wait that came from there; NULL: from anywhere. */
static unsigned waiting(const struct hub *h, const struct io_addr *from)
{
    unsigned n = 0;
    for (const struct session *s = h->sessions; s; s = s->next)
        n += waits(s) && (!from || door_same_source(&s->from, from));
    return n;
}

/* Sends the one away that has waited for longest of those from there. */
static void end_oldest(struct hub *h, const struct io_addr *from)
{
    struct session *oldest = NULL;
    for (struct session *s = h->sessions; s; s = s->next) /* newest first */
        if (waits(s) && door_same_source(&s->from, from))
            oldest = s;
    ASSERT(oldest);
    oldest->leaving = true;
    session_break(oldest);
}

static const struct io_addr *busiest(const struct hub *h)
{
    const struct io_addr *found = NULL;
    unsigned most = 0;
    for (const struct session *s = h->sessions; s; s = s->next) {
        unsigned n = waits(s) ? waiting(h, &s->from) : 0;
        if (n >= most && n > 0) { /* of several the one that came first */
            most = n;
            found = &s->from;
        }
    }
    return found;
}

void door_make_room(struct hub *h, const struct io_addr *from)
{
    if (waiting(h, from) >= HUB_STRANGERS_SOURCE)
        end_oldest(h, from);
    else if (waiting(h, NULL) >= HUB_STRANGERS)
        end_oldest(h, busiest(h));
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
    s->hub->strangers -= s->stranger;
    s->hub->members -= s->member;
    if (s->member)
        s->known->members--;
    s->stranger = s->member = false;
}

void door_tell(struct session *s, const struct err *e)
{
    struct hub *h = s->hub;
    uint64_t now = io_now(h->io);
    if (!s->config) /* of a peer's the refusal is noted */
        audit_note(h->audit, TRAIL_STRANGERS, NULL, "", e->code, "from %s:%u: %s", s->from.host,
                   s->from.port, e->text);
    if (h->told_at && now - h->told_at < HUB_TELL_NS) {
        h->untold++;
        return;
    }
    if (h->untold > 0)
        log_warn("hub: connection from %s:%u: %s; before it %u more came to nothing", s->from.host,
                 s->from.port, e->text, h->untold);
    else
        log_warn("hub: connection from %s:%u: %s", s->from.host, s->from.port, e->text);
    h->told_at = now;
    h->untold = 0;
}
