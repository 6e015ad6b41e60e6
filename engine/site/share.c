#include "share.h"

#include "err.h"

#include <errno.h>
#include <string.h>

/* A limited link may catch up on so much that it missed, because timers are late: more would be a
 * burst. */
#define CATCH_UP_NS (30 * IO_MS)
/* The link's speed is what the last so many bytes took: more than a kernel swallows at once. */
#define SEEN_BYTES  1e6
#define RUSH_WEIGHT 64u

/* Places that this class and those below it may have together: there is always one for who is more
 * urgent. */
static const unsigned places_max[SHARE_CLASSES] = {2, 4, SHARE_PLACES};
static const unsigned weights[SHARE_CLASSES] = {1, 4, 16};

_Static_assert(SHARE_PLACES > 4, "the most urgent have places of their own");

void share_init(struct share *s)
{
    *s = (struct share){.width = 1, .seen_bytes = 64 * 1024, .seen_ns = SHARE_PIECE_NS};
}

static enum share_class class_of(const struct share_flow *f)
{
    return f->rush > 0 ? SHARE_HIGH : f->class;
}

static uint64_t cost(const struct share_flow *f, uint64_t bytes)
{
    /* In units that the weights divide well enough; 2^64 of them are an exabyte. */
    return bytes * 16 / (f->rush > 0 ? RUSH_WEIGHT : weights[f->class]);
}

/* -- Who is next -- */

static bool place_free(const struct share *s, const struct share_flow *f)
{
    unsigned upto[SHARE_CLASSES] = {0};
    if (f->places >= SHARE_FLOW_MAX + s->width - 1)
        return false;
    for (const struct share_part *p = s->parts; p; p = p->next)
        if (p->state != SHARE_WANTS_PLACE)
            for (unsigned c = class_of(p->flow); c < SHARE_CLASSES; c++)
                upto[c]++;
    for (unsigned c = class_of(f); c < SHARE_CLASSES; c++)
        if (upto[c] >= places_max[c])
            return false;
    return true;
}

/* Parts are listed oldest first, so that the first of a group's is found before its others. */
static struct share_part *next_place(const struct share *s)
{
    struct share_part *best = NULL;
    for (struct share_part *p = s->parts; p; p = p->next)
        if (p->state == SHARE_WANTS_PLACE && !(p->flow->paused && p->flow->rush == 0) &&
            (!best || p->flow->tag < best->flow->tag) && place_free(s, p->flow))
            best = p;
    return best;
}

/* How long until the rate allows another piece. */
static uint64_t unpaid(const struct share *s, uint64_t now)
{
    return s->rate > 0 && s->free_at > now ? s->free_at - now : 0;
}

static bool stale(const struct share_part *p, uint64_t now)
{
    return p->begun && now - p->asked > SHARE_STALE_NS;
}

static bool before(const struct share_part *a, const struct share_part *b, uint64_t now)
{
    bool old_a = stale(a, now), old_b = stale(b, now);
    if (old_a || old_b)
        return old_a && (!old_b || a->asked < b->asked);
    return a->flow->tag < b->flow->tag;
}

/* Who sends next, when somebody may; *delay: how long he waits for the rate. While others do, who
 * is in a rush goes. */
static struct share_part *next_piece(const struct share *s, uint64_t now, uint64_t *delay)
{
    struct share_part *best = NULL, *rushing = NULL;
    *delay = unpaid(s, now);
    for (struct share_part *p = s->parts; p; p = p->next) {
        bool first = true;
        if (p->state != SHARE_WANTS_PIECE)
            continue;
        for (const struct share_part *q = s->parts; q != p && s->width == 1; q = q->next)
            first = first && !(q->flow == p->flow && q->state == SHARE_WANTS_PIECE);
        /* A group's parts go one after the other: fewer are open at the hub. But one that was begun
         * before an older one had been read may not wait for all of it. */
        if (!first && !stale(p, now))
            continue;
        if (!best || before(p, best, now))
            best = p;
        if (p->flow->rush > 0 && (!rushing || before(p, rushing, now)))
            rushing = p;
    }
    if (*delay > 0 && rushing) {
        *delay = 0;
        return rushing;
    }
    return best;
}

static void wake_next(struct share *s)
{
    uint64_t delay;
    struct share_part *p = next_place(s);
    if (p)
        fiber_wake_all(&p->woken);
    p = s->sending < s->width ? next_piece(s, io_now(fiber_io()), &delay) : NULL;
    if (p)
        fiber_wake_all(&p->woken);
}

void share_changed(struct share *s)
{
    for (struct share_part *p = s->parts; p; p = p->next)
        fiber_wake_all(&p->woken);
}

void share_set_rate(struct share *s, uint64_t rate)
{
    uint64_t now = io_now(fiber_io());
    if (s->rate == rate)
        return;
    /* What was sent at the old rate is paid for: at a new one it might take hours. */
    if (s->free_at > now + SHARE_PIECE_NS)
        s->free_at = now + SHARE_PIECE_NS;
    s->rate = rate;
    share_changed(s);
}

/* -- A part's way -- */

static void want(struct share *s, bool more)
{
    uint64_t now = io_now(fiber_io());
    if (more && s->wanting++ == 0)
        s->busy_since = now;
    else if (!more && --s->wanting == 0)
        s->busy_ns += now - s->busy_since;
}

uint64_t share_busy_ns(const struct share *s, uint64_t now)
{
    return s->busy_ns + (s->wanting > 0 ? now - s->busy_since : 0);
}

static void unlist(struct share *s, struct share_part *p)
{
    struct share_part **at = &s->parts;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    p->state = SHARE_IDLE;
}

int share_begin(struct share *s, struct share_part *p, struct share_flow *flow)
{
    struct share_part **at = &s->parts;
    *p = (struct share_part){.flow = flow, .state = SHARE_WANTS_PLACE};
    while (*at)
        at = &(*at)->next;
    *at = p;
    while (next_place(s) != p) {
        int res = flow->paused && flow->rush == 0 ? -EAGAIN : fiber_wait(&p->woken, FIBER_FOREVER);
        if (res == -EAGAIN || res == -ECANCELED) {
            unlist(s, p);
            wake_next(s);
            return res;
        }
    }
    p->state = SHARE_HAS_PLACE;
    /* What it did not use while it had nothing to ship is gone. */
    if (flow->places++ == 0 && flow->tag < s->now)
        flow->tag = s->now;
    wake_next(s);
    return 0;
}

uint32_t share_piece(const struct share *s)
{
    double speed = s->seen_bytes / s->seen_ns; /* bytes/ns */
    if (s->rate > 0 && (double)s->rate / 1e9 < speed)
        speed = (double)s->rate / 1e9;
    if (speed * (double)SHARE_PIECE_NS >= (double)PAYLOAD_MAX)
        return (uint32_t)PAYLOAD_MAX;
    uint32_t n = (uint32_t)(speed * (double)SHARE_PIECE_NS) / 4096 * 4096;
    return n < SHARE_PIECE_MIN ? SHARE_PIECE_MIN : n;
}

int share_turn(struct share *s, struct share_part *p)
{
    uint64_t now = io_now(fiber_io());
    ASSERT(p->state == SHARE_HAS_PLACE);
    p->state = SHARE_WANTS_PIECE;
    p->asked = now;
    want(s, true);
    for (;;) {
        uint64_t delay = 0;
        bool mine = s->sending < s->width && next_piece(s, now, &delay) == p;
        int res = 0;
        if (mine && delay == 0)
            break;
        res = fiber_wait(&p->woken, mine ? delay : SHARE_STALE_NS);
        if (res == -ECANCELED) {
            p->state = SHARE_HAS_PLACE;
            want(s, false);
            wake_next(s);
            return res;
        }
        now = io_now(fiber_io());
    }
    p->state = SHARE_SENDS;
    p->begun = true;
    p->granted = now;
    s->sending++;
    if (s->now < p->flow->tag)
        s->now = p->flow->tag;
    wake_next(s);
    return 0;
}

void share_charge(struct share *s, uint64_t bytes)
{
    uint64_t now = io_now(fiber_io());
    if (s->rate == 0)
        return;
    if (s->free_at + CATCH_UP_NS < now)
        s->free_at = now - CATCH_UP_NS;
    s->free_at += (uint64_t)((double)bytes * 1e9 / (double)s->rate);
}

static void note_speed(struct share *s, uint64_t bytes, uint64_t ns)
{
    double keep = (double)bytes < SEEN_BYTES / 2 ? 1 - (double)bytes / SEEN_BYTES : 0.5;
    s->seen_bytes = s->seen_bytes * keep + (double)bytes;
    s->seen_ns = s->seen_ns * keep + (double)ns + 1;
}

void share_sent(struct share *s, struct share_part *p, uint64_t bytes)
{
    struct share_flow *f = p->flow;
    ASSERT(p->state == SHARE_SENDS);
    p->state = SHARE_HAS_PLACE;
    s->sending--;
    want(s, false);
    if (bytes > 0) {
        note_speed(s, bytes, io_now(fiber_io()) - p->granted);
        f->sent += bytes;
        f->tag += cost(f, bytes);
        if (f->rush == 0)
            share_charge(s, bytes);
    }
    wake_next(s);
}

void share_end(struct share *s, struct share_part *p)
{
    ASSERT(p->state == SHARE_HAS_PLACE);
    unlist(s, p);
    p->flow->places--;
    wake_next(s);
}
