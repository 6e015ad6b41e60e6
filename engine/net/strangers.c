#include "strangers.h"

#include "err.h"

#include <arpa/inet.h>
#include <string.h>

bool strangers_same_source(const struct io_addr *a, const struct io_addr *b)
{
    static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint8_t a6[16], b6[16];
    if (inet_pton(AF_INET6, a->host, a6) != 1 || inet_pton(AF_INET6, b->host, b6) != 1)
        return strcmp(a->host, b->host) == 0;
    return memcmp(a6, b6, memcmp(a6, v4_mapped, sizeof v4_mapped) == 0 ? 16 : 8) == 0;
}

void strangers_add(struct strangers *set, struct stranger *s, const struct io_addr *from,
                   void *owner)
{
    *s = (struct stranger){.next = set->newest, .from = from, .owner = owner, .waits = true};
    set->newest = s;
    set->count++;
}

void strangers_remove(struct strangers *set, struct stranger *s)
{
    struct stranger **at = &set->newest;
    if (!s->waits)
        return;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->waits = false;
    ASSERT(set->count > 0);
    set->count--;
}

/* How many wait that came from there. */
static unsigned waiting(const struct strangers *set, const struct io_addr *from)
{
    unsigned n = 0;
    for (const struct stranger *s = set->newest; s; s = s->next)
        n += strangers_same_source(s->from, from);
    return n;
}

static struct stranger *take_oldest(struct strangers *set, const struct io_addr *from)
{
    struct stranger *oldest = NULL;
    for (struct stranger *s = set->newest; s; s = s->next)
        if (strangers_same_source(s->from, from))
            oldest = s;
    ASSERT(oldest);
    strangers_remove(set, oldest);
    return oldest;
}

struct stranger *strangers_take_one(struct strangers *set)
{
    const struct io_addr *found = NULL;
    unsigned most = 0;
    for (const struct stranger *s = set->newest; s; s = s->next) {
        unsigned n = waiting(set, s->from);
        if (n >= most) { /* of several the one that came first */
            most = n;
            found = s->from;
        }
    }
    return found ? take_oldest(set, found) : NULL;
}

struct stranger *strangers_make_room(struct strangers *set, const struct io_addr *from)
{
    if (waiting(set, from) >= set->source)
        return take_oldest(set, from);
    return set->count >= set->max ? strangers_take_one(set) : NULL;
}

bool strangers_tell(struct strangers *set, uint64_t now, unsigned *untold)
{
    if (set->told_at && now - set->told_at < STRANGERS_TELL_NS) {
        set->untold++;
        return false;
    }
    *untold = set->untold;
    set->told_at = now;
    set->untold = 0;
    return true;
}
