#include "export.h"

#include "export_conn.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For clients to read the replies to what was in flight. */
#define STOP_TIME (5 * IO_S)

/* ---- connections ---- */

static void conn_main(void *arg)
{
    struct conn *c = arg;
    struct exports *x = c->listener->exports;
    int fd;
    if (greet(c) == 0) {
        c->volume->connections++;
        log_info("nbd %s: a client connected; %u now", c->who, c->volume->connections);
        c->sender = fiber_spawn(x->io, "nbd-sender", send_main, c);
        read_requests(c);
        c->closing = true;
        fiber_wake_one(&c->to_send);
        fiber_join(c->sender);
        c->volume->connections--;
        log_info("nbd %s: a client disconnected; %u left", c->who, c->volume->connections);
    }
    strangers_remove(&x->door, &c->stranger);
    buf_free_all(c);
    if (c->tls)
        stream_free(c->tls);
    free(c->tls);
    c->tls = NULL;
    free(c->offers);
    free(c->choices);
    fd = c->fd;
    c->fd = -1; /* nobody may shut it down any more */
    fio_close_always(fd);
    c->done = true;
    x->live--;
    fiber_wake_all(&x->gone);
}

static void conn_start(struct listener *l, int fd, const struct io_addr *peer)
{
    struct exports *x = l->exports;
    struct conn *c = err_calloc(1, sizeof *c);
    c->listener = l;
    c->fd = fd;
    if (l->at->tcp.port) {
        c->peer = *peer;
        strangers_add(&x->door, &c->stranger, &c->peer, c);
        (void)snprintf(c->from, sizeof c->from, "%s:%u", peer->host, (unsigned)peer->port);
    } else {
        (void)snprintf(c->from, sizeof c->from, "%s", l->name);
    }
    c->ready_tail = &c->ready;
    c->next = x->conns;
    x->conns = c;
    x->live++;
    c->reader = fiber_spawn(x->io, "nbd-reader", conn_main, c);
}

/* Frees the connections that are done; or waits for all of them. */
static void reap(struct exports *x, bool all)
{
    for (struct conn **at = &x->conns; *at;) {
        struct conn *c = *at;
        if (!c->done && !all) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        fiber_join(c->reader);
        free(c);
    }
}

static void turn_away(struct exports *x, const struct listener *l, int fd)
{
    if (!x->full)
        log_warn("nbd %s: connection refused: %u are open; raise [site] export-memory", l->name,
                 x->live);
    x->full = true;
    fio_close_always(fd);
}

/* Ends a stranger, and waits until it is gone. */
static void evict(struct exports *x, struct stranger *s)
{
    struct conn *c = s->owner;
    unsigned live = x->live;
    fiber_cancel(c->reader);
    while (x->live >= live && fiber_wait(&x->gone, FIBER_FOREVER) == 0)
        ;
}

static void admit(struct listener *l, int fd, const struct io_addr *peer)
{
    struct exports *x = l->exports;
    struct stranger *s = l->at->tcp.port ? strangers_make_room(&x->door, peer) : NULL;
    if (!s && x->live >= x->max)
        s = strangers_take_one(&x->door);
    if (s)
        evict(x, s);
    if (x->live >= x->max) {
        turn_away(x, l, fd);
        return;
    }
    x->full = false;
    conn_start(l, fd, peer);
}

static void accept_main(void *arg)
{
    struct listener *l = arg;
    struct exports *x = l->exports;
    while (!fiber_cancelled()) {
        struct io_addr peer;
        int fd = fio_accept(l->fd, &peer);
        reap(x, false);
        if (fd == -ECANCELED)
            break;
        if (fd < 0) {
            log_warn("nbd %s: accepting a connection: %s", l->name, strerror(-fd));
            (void)fiber_sleep(IO_S);
        } else {
            admit(l, fd, &peer);
        }
    }
}

/* ---- starting ---- */

static void add_volume(struct exports *x, const struct export_volume *from)
{
    struct served *v = &x->volumes[x->volume_count++];
    struct listener *l = NULL;
    (void)snprintf(v->name, sizeof v->name, "%s/%s", from->group, from->config->name);
    v->config = from->config;
    v->capture = from->capture;
    crew_init(&v->crew, x->io);
    for (size_t i = 0; i < x->listener_count; i++)
        if (listener_is(&x->listeners[i], &from->config->export))
            l = &x->listeners[i];
    if (!l) {
        l = &x->listeners[x->listener_count++];
        listener_init(l, x, from->config);
    }
    l->volumes = err_realloc(l->volumes, (l->count + 1) * sizeof(struct served *));
    l->volumes[l->count++] = v;
}

static int start_listener(struct listener *l, const struct export_keeper *keeper, struct err *e)
{
    int res = listener_open(l, keeper, e);
    if (res < 0)
        return res;
    l->fiber = fiber_spawn(l->exports->io, "nbd-accept", accept_main, l);
    log_info("nbd %s: serving %zu volume%s", l->name, l->count, l->count == 1 ? "" : "s");
    return 0;
}

static bool over_tcp(const struct exports *x)
{
    for (size_t i = 0; i < x->listener_count; i++)
        if (x->listeners[i].at->tcp.port)
            return true;
    return false;
}

int export_start(struct exports **out, const struct export_volume *volumes, size_t count,
                 const struct config *config, const struct export_keeper *keeper, struct err *e)
{
    struct exports *x = err_calloc(1, sizeof *x);
    int res = 0;
    x->io = fiber_io();
    x->door = (struct strangers){.max = EXPORT_STRANGERS, .source = EXPORT_STRANGERS_SOURCE};
    /* Pointers to the elements are kept: no reallocation. */
    x->volumes = err_calloc(count, sizeof *x->volumes);
    x->listeners = err_calloc(count, sizeof *x->listeners);
    for (size_t i = 0; i < count; i++)
        add_volume(x, &volumes[i]);
    x->max = (unsigned)(config->export_memory /
                        (EXPORT_CONN_MEMORY + (over_tcp(x) ? EXPORT_TLS_MEMORY : 0)));
    ASSERT(x->max > 0);
    if (over_tcp(x))
        res = x509_open(&x->x509, config->export_tls, e);
    for (size_t i = 0; i < x->listener_count && res == 0; i++)
        res = start_listener(&x->listeners[i], keeper, e);
    if (res < 0)
        export_stop(x);
    else
        *out = x;
    return res;
}

/* ---- stopping ---- */

static void stop_listening(struct listener *l)
{
    if (!l->fiber)
        return;
    fiber_cancel(l->fiber);
    fiber_join(l->fiber);
    listener_close(l);
}

static void shut(struct exports *x, struct conn *c)
{
    struct fiber_req r = FIBER_REQ;
    if (c->fd < 0)
        return;
    log_warn("nbd %s: closed on a client that does not read its replies", c->from);
    x->io->ops->shutdown(x->io, fiber_req(&r), c->fd);
    (void)fiber_await_always(&r);
}

void export_stop(struct exports *x)
{
    uint64_t deadline;
    if (!x)
        return;
    for (size_t i = 0; i < x->listener_count; i++)
        stop_listening(&x->listeners[i]);
    for (struct conn *c = x->conns; c; c = c->next)
        fiber_cancel(c->reader);
    deadline = io_now(x->io) + STOP_TIME;
    while (x->live > 0 && io_now(x->io) < deadline)
        if (fiber_wait(&x->gone, deadline - io_now(x->io)) == -ECANCELED)
            break;
    for (struct conn *c = x->conns; c; c = c->next)
        shut(x, c);
    reap(x, true);
    for (size_t i = 0; i < x->volume_count; i++)
        crew_stop(&x->volumes[i].crew);
    for (size_t i = 0; i < x->listener_count; i++)
        free(x->listeners[i].volumes);
    x509_free(x->x509);
    free(x->listeners);
    free(x->volumes);
    free(x);
}

unsigned export_connections(const struct exports *x, const struct capture *capture)
{
    for (size_t i = 0; x && i < x->volume_count; i++)
        if (x->volumes[i].capture == capture)
            return x->volumes[i].connections;
    return 0;
}
