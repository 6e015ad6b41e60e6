#include "net.h"

#include "err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW      (128u * 1024u) /* bytes in flight and unread, one way */
#define BACKLOG_MAX 64u
#define GIVE_UP     (60 * IO_S) /* how long a sender repeats itself in vain */

enum segment_kind { SEGMENT_DATA, SEGMENT_FIN, SEGMENT_RST };
struct segment {
    struct segment *next;
    uint64_t at;
    size_t len;
    enum segment_kind kind;
};

struct endpoint {
    struct world_event ev; /* first: the next segment arrives */
    struct net *net;
    struct stream *stream;
    struct endpoint *peer;
    unsigned node;
    struct endpoint *waiting; /* next in a listener's backlog */
    bool open;                /* somebody owns it */
    bool gone;                /* its machine lost power: it answers nothing */
    bool shut;                /* shut down by its owner */
    bool mute;                /* what its owner sends gets lost from here on */
    bool eof;                 /* the peer's end arrived */
    int error;
    struct io_addr from;
    /* Ring of bytes sent to it: `arrived` of `len` may be read. */
    uint8_t *ring;
    size_t head, len, arrived;
    struct segment *flight, **flight_end;
    uint64_t last_at, stalled_since;
    struct op *readers, *writers;
};

struct stream {
    struct stream *next, *prev;
    struct endpoint end[2];
};

struct listener {
    struct listener *next;
    struct net *net;
    struct node_io *io;
    struct io_addr addr;
    struct endpoint *backlog;
    unsigned waiting;
    struct op *acceptors;
};

struct net {
    struct world *w;
    struct node *nodes[NET_NODES];
    struct net_path paths[NET_NODES][NET_NODES];
    unsigned machine[NET_NODES]; /* the node whose unix sockets it sees */
    struct listener *listeners;
    struct stream *streams;
    uint16_t next_port;
};

/* ---- nodes and paths ---- */

struct net *net_new(struct world *w)
{
    struct net *net = err_calloc(1, sizeof *net);
    net->w = w;
    net->next_port = 40000;
    return net;
}

void net_free(struct net *w)
{
    if (!w)
        return;
    ASSERT(!w->streams && !w->listeners);
    free(w);
}

unsigned net_join(struct net *w, struct node *n)
{
    unsigned i = 0;
    while (i < NET_NODES && w->nodes[i])
        i++;
    ASSERT(i < NET_NODES);
    w->nodes[i] = n;
    w->machine[i] = i;
    for (unsigned j = 0; j < NET_NODES; j++) {
        struct net_path p = {.latency = rng_between(&w->w->rng, 200000, 20 * IO_MS),
                             .jitter = rng_below(&w->w->rng, 5 * IO_MS),
                             .rate = rng_between(&w->w->rng, 2000000, 125000000)};
        if (i == j)
            p = (struct net_path){
                .latency = 20000, .jitter = 10000, .rate = 1000000000, .local = true};
        w->paths[i][j] = w->paths[j][i] = p;
    }
    return i;
}

bool net_leave(struct net *w, unsigned number)
{
    w->nodes[number] = NULL;
    for (unsigned i = 0; i < NET_NODES; i++)
        if (w->nodes[i])
            return false;
    return true;
}

struct net_path *net_path(struct net *w, const struct node *from, const struct node *to)
{
    return &w->paths[from->number][to->number];
}

void net_cut(struct net *w, const struct node *a, const struct node *b, bool lost)
{
    net_path(w, a, b)->lost = net_path(w, b, a)->lost = lost;
    if (lost)
        w->w->count[FAULT_PARTITION]++;
    world_trace(w->w, "the link between %s and %s is %s", a->host, b->host,
                lost ? "cut" : "whole again");
}

void net_same_machine(struct net *w, const struct node *a, const struct node *b)
{
    w->machine[a->number] = b->number;
    w->paths[a->number][b->number] = w->paths[b->number][a->number] =
        w->paths[a->number][a->number];
}

void net_heal(struct net *w)
{
    for (unsigned i = 0; i < NET_NODES; i++)
        for (unsigned j = 0; j < NET_NODES; j++)
            w->paths[i][j].lost = false;
}

/* ---- endpoints ---- */

static void retry_all(struct op **queue)
{
    while (*queue)
        op_retry(*queue);
}

static void finish_all(struct op **queue, int res)
{
    while (*queue)
        op_finish(*queue, res);
}

static void drop_bytes(struct endpoint *e)
{
    while (e->flight) {
        struct segment *s = e->flight;
        e->flight = s->next;
        free(s);
    }
    e->flight_end = &e->flight;
    e->head = e->len = e->arrived = 0;
    world_forget(e->net->w, &e->ev);
}

static void stream_maybe_free(struct stream *s)
{
    if (s->end[0].open || s->end[1].open)
        return;
    for (unsigned i = 0; i < 2; i++) {
        drop_bytes(&s->end[i]);
        free(s->end[i].ring);
    }
    if (s->next)
        s->next->prev = s->prev;
    if (s->prev)
        s->prev->next = s->next;
    else
        s->end[0].net->streams = s->next;
    free(s);
}

static void endpoint_fail(struct endpoint *e, int error)
{
    if (e->error)
        return;
    e->error = error;
    drop_bytes(e);
    retry_all(&e->readers);
    retry_all(&e->writers);
}

static void arrive(struct world_event *ev);

/* Sends a segment towards e, at the pace of the path. */
static void segment_send(struct endpoint *e, enum segment_kind kind, size_t len, uint64_t delay)
{
    struct world *w = e->net->w;
    struct net_path *p = &e->net->paths[e->peer->node][e->node];
    struct segment *s = err_calloc(1, sizeof *s);
    uint64_t start = p->free_at > w->now ? p->free_at : w->now;
    p->free_at = start + (len + 60) * IO_S / p->rate;
    s->at = p->free_at + p->latency + rng_below(&w->rng, p->jitter + 1) + delay;
    if (s->at < e->last_at)
        s->at = e->last_at;
    e->last_at = s->at;
    s->kind = kind;
    s->len = len;
    *e->flight_end = s;
    e->flight_end = &s->next;
    if (!e->ev.slot)
        world_at(w, &e->ev, e->flight->at, arrive);
}

static bool stalled(struct endpoint *e)
{
    struct world *w = e->net->w;
    if (!e->net->paths[e->peer->node][e->node].lost) {
        e->stalled_since = 0;
        return false;
    }
    if (!e->stalled_since) {
        e->stalled_since = w->now;
        w->count[FAULT_STALLED]++;
    }
    if (w->now - e->stalled_since < GIVE_UP) {
        world_at(w, &e->ev, w->now + rng_between(&w->rng, 200 * IO_MS, 3 * IO_S), arrive);
        return true;
    }
    w->count[FAULT_TIMED_OUT]++;
    drop_bytes(e);
    endpoint_fail(e->peer, -ETIMEDOUT);
    return true;
}

static void arrive(struct world_event *ev)
{
    struct endpoint *e = (struct endpoint *)ev;
    struct segment *s = e->flight;
    struct segment now = *s;
    if (stalled(e))
        return;
    e->flight = s->next;
    if (!e->flight)
        e->flight_end = &e->flight;
    free(s);
    if (e->flight)
        world_at(e->net->w, &e->ev, e->flight->at, arrive);
    if (!e->open) {
        /* Its kernel answers with a reset; if it has lost power, later or never. */
        if (now.kind == SEGMENT_DATA && e->peer->open && !e->peer->error)
            segment_send(e->peer, SEGMENT_RST, 0,
                         e->gone ? rng_between(&e->net->w->rng, IO_S, 40 * IO_S) : 0);
        return;
    }
    if (now.kind == SEGMENT_RST) {
        endpoint_fail(e, -ECONNRESET);
        return;
    }
    if (now.kind == SEGMENT_FIN)
        e->eof = true;
    e->arrived += now.len;
    retry_all(&e->readers);
}

static struct stream *stream_new(struct net *w, unsigned from, unsigned to)
{
    struct stream *s = err_calloc(1, sizeof *s);
    for (unsigned i = 0; i < 2; i++) {
        struct endpoint *e = &s->end[i];
        e->net = w;
        e->stream = s;
        e->peer = &s->end[!i];
        e->node = i ? to : from;
        e->open = true;
        e->ring = err_malloc(WINDOW);
        e->flight_end = &e->flight;
        (void)snprintf(e->from.host, sizeof e->from.host, "%s", w->nodes[i ? from : to]->host);
        e->from.port = w->next_port;
    }
    if (++w->next_port == 0)
        w->next_port = 40000;
    s->next = w->streams;
    if (w->streams)
        w->streams->prev = s;
    w->streams = s;
    return s;
}

/* ---- listening and connecting ---- */

static struct listener *listener_of(struct net *w, unsigned node, const struct io_addr *a)
{
    for (struct listener *l = w->listeners; l; l = l->next) {
        bool same = a->path[0] ? strcmp(l->addr.path, a->path) == 0
                               : !l->addr.path[0] && l->addr.port == a->port;
        if (l->io->node->number == node && same)
            return l;
    }
    return NULL;
}

int net_listen(struct net *w, struct node_io *io, const struct io_addr *addr, struct listener **out)
{
    struct listener *l;
    if (listener_of(w, io->node->number, addr))
        return -EADDRINUSE;
    l = err_calloc(1, sizeof *l);
    l->net = w;
    l->io = io;
    l->addr = *addr;
    l->next = w->listeners;
    w->listeners = l;
    *out = l;
    return 0;
}

void net_unlisten(struct listener *l)
{
    struct listener **at = &l->net->listeners;
    finish_all(&l->acceptors, -ECANCELED);
    while (l->backlog) {
        struct endpoint *e = l->backlog;
        l->backlog = e->waiting;
        if (!e->peer->error && e->peer->open)
            segment_send(e->peer, SEGMENT_RST, 0, 0);
        e->shut = true;
        net_close(e);
    }
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    free(l);
}

int net_accept(struct op *op, struct listener *l, struct endpoint **out, struct io_addr *peer)
{
    if (!l->backlog) {
        *out = NULL;
        op_park(op, &l->acceptors);
        return 0;
    }
    *out = l->backlog;
    l->backlog = (*out)->waiting;
    l->waiting--;
    if (peer)
        *peer = (*out)->from;
    return 0;
}

static unsigned number_of(const struct net *w, const struct node_io *io, const struct io_addr *addr)
{
    if (addr->path[0])
        return w->machine[io->node->number];
    for (unsigned i = 0; i < NET_NODES; i++)
        if (w->nodes[i] && strcmp(w->nodes[i]->host, addr->host) == 0)
            return i;
    return NET_NODES;
}

uint64_t net_round_trip(struct net *w, struct node_io *io, const struct io_addr *addr)
{
    unsigned to = number_of(w, io, addr);
    if (to == NET_NODES)
        return IO_MS;
    return w->paths[io->node->number][to].latency + w->paths[to][io->node->number].latency;
}

int net_connect(struct net *w, struct node_io *io, const struct io_addr *addr,
                struct endpoint **out)
{
    unsigned from = io->node->number, to = number_of(w, io, addr);
    struct listener *l;
    struct stream *s;
    struct endpoint **at;
    if (to == NET_NODES)
        return -ENOENT; /* as a name that does not resolve */
    if (w->paths[from][to].lost || w->paths[to][from].lost)
        return -EAGAIN;
    if (!w->nodes[to]->live)
        return rng_chance(&w->w->rng, 300000) ? -EHOSTUNREACH : -EAGAIN;
    l = listener_of(w, to, addr);
    if (!l || (!w->paths[from][to].local && world_fault(w->w, FAULT_REFUSED)))
        return -ECONNREFUSED;
    if (l->waiting >= BACKLOG_MAX)
        return -EAGAIN;
    for (s = w->streams; s; s = s->next)
        if (s->end[0].node == from && s->end[1].node == to && s->end[0].open && !s->end[0].gone &&
            !w->paths[from][to].local)
            break;
    w->w->did[DEED_SECOND] += s != NULL;
    s = stream_new(w, from, to);
    for (at = &l->backlog; *at;)
        at = &(*at)->waiting;
    *at = &s->end[1];
    l->waiting++;
    retry_all(&l->acceptors);
    *out = &s->end[0];
    return 0;
}

/* ---- streams ---- */

static size_t split(struct endpoint *e, size_t n)
{
    return n > 1 && world_fault(e->net->w, FAULT_SPLIT)
               ? 1 + (size_t)rng_skewed(&e->net->w->rng, 0, n - 1)
               : n;
}

int net_recv(struct op *op, struct endpoint *e, void *buf, size_t len)
{
    uint8_t *p = buf;
    if (e->error)
        return e->error;
    if (e->shut)
        return 0;
    if (e->arrived > 0 && len > 0) {
        size_t n = split(e, len < e->arrived ? len : e->arrived);
        size_t first = n < WINDOW - e->head ? n : WINDOW - e->head;
        memcpy(p, e->ring + e->head, first);
        memcpy(p + first, e->ring, n - first);
        e->head = (e->head + n) % WINDOW;
        e->len -= n;
        e->arrived -= n;
        retry_all(&e->peer->writers);
        return (int)n;
    }
    if (e->eof || len == 0)
        return 0;
    op_park(op, &e->readers);
    return -EAGAIN;
}

static void misbehave(struct endpoint *e)
{
    struct world *w = e->net->w;
    if (world_fault(w, FAULT_RESET)) {
        if (e->peer->open && !e->peer->error)
            segment_send(e->peer, SEGMENT_RST, 0, 0);
        endpoint_fail(e, -ECONNRESET);
    } else if (world_fault(w, FAULT_HALF_CLOSE)) {
        if (e->peer->open && !e->mute)
            segment_send(e->peer, SEGMENT_FIN, 0, 0);
        e->mute = true;
    }
}

int net_send(struct op *op, struct endpoint *e, const void *buf, size_t len)
{
    struct endpoint *to = e->peer;
    size_t n, tail, first;
    if (!e->error && !e->shut && !e->net->paths[e->node][to->node].local)
        misbehave(e);
    if (e->error)
        return e->error;
    if (e->shut)
        return -EPIPE;
    if (e->mute || len == 0)
        return (int)len;
    n = len < WINDOW - to->len ? len : WINDOW - to->len;
    if (n == 0) {
        op_park(op, &e->writers);
        return -EAGAIN;
    }
    n = split(e, n);
    tail = (to->head + to->len) % WINDOW;
    first = n < WINDOW - tail ? n : WINDOW - tail;
    memcpy(to->ring + tail, buf, first);
    memcpy(to->ring, (const uint8_t *)buf + first, n - first);
    to->len += n;
    segment_send(to, SEGMENT_DATA, n, 0);
    return (int)n;
}

int net_shutdown(struct endpoint *e)
{
    if (e->error || e->shut)
        return 0;
    e->shut = true;
    if (!e->gone && !e->mute && e->peer->open && !e->peer->error)
        segment_send(e->peer, SEGMENT_FIN, 0, 0);
    retry_all(&e->readers);
    retry_all(&e->writers);
    return 0;
}

void net_close(struct endpoint *e)
{
    struct endpoint *peer = e->peer;
    ASSERT(e->open);
    finish_all(&e->readers, -ECANCELED);
    finish_all(&e->writers, -ECANCELED);
    if (!e->gone && !e->mute && !e->error && peer->open && !peer->error) {
        if (e->arrived > 0)
            segment_send(peer, SEGMENT_RST, 0, 0);
        else if (!e->shut)
            segment_send(peer, SEGMENT_FIN, 0, 0);
    }
    e->open = false;
    stream_maybe_free(e->stream);
}

void net_power_cut(struct net *w, unsigned number)
{
    for (struct stream *s = w->streams; s; s = s->next)
        for (unsigned i = 0; i < 2; i++)
            if (s->end[i].node == number && s->end[i].open) {
                s->end[i].gone = true;
                w->w->count[FAULT_VANISHED]++;
            }
}
