#include "export.h"

#include "export_conn.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For clients to read the replies to what was in flight. */
#define STOP_TIME (5 * IO_S)

#define OFFER_FLAGS                                                                                \
    (NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |   \
     NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE | NBD_FLAG_SEND_FAST_ZERO)

struct exports {
    struct io *io;
    struct served *volumes;
    size_t volume_count;
    struct listener *listeners;
    size_t listener_count;
    struct conn *conns;
    unsigned live, max;
    bool full; /* somebody was turned away, and that was said */
    struct fiber_cond gone;
};

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
    buf_free_all(c);
    fd = c->fd;
    c->fd = -1; /* nobody may shut it down any more */
    fio_close_always(fd);
    c->done = true;
    x->live--;
    fiber_wake_all(&x->gone);
}

static void conn_start(struct listener *l, int fd)
{
    struct exports *x = l->exports;
    struct conn *c = err_calloc(1, sizeof *c);
    c->listener = l;
    c->fd = fd;
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
        log_warn("nbd %s: connection refused: %u are open; raise [site] export-memory", l->path,
                 x->live);
    x->full = true;
    fio_close_always(fd);
}

static void accept_main(void *arg)
{
    struct listener *l = arg;
    struct exports *x = l->exports;
    while (!fiber_cancelled()) {
        int fd = fio_accept(l->fd, NULL);
        reap(x, false);
        if (fd == -ECANCELED)
            break;
        if (fd < 0) {
            log_warn("nbd %s: accepting a connection: %s", l->path, strerror(-fd));
            (void)fiber_sleep(IO_S);
        } else if (x->live >= x->max) {
            turn_away(x, l, fd);
        } else {
            x->full = false;
            conn_start(l, fd);
        }
    }
}

/* ---- starting ---- */

static void add_volume(struct exports *x, const struct export_volume *from)
{
    struct served *v = &x->volumes[x->volume_count++];
    struct listener *l = NULL;
    (void)snprintf(v->name, sizeof v->name, "%s/%s", from->group, from->config->name);
    v->capture = from->capture;
    crew_init(&v->crew, x->io);
    for (size_t i = 0; i < x->listener_count; i++)
        if (strcmp(x->listeners[i].path, from->config->export_path) == 0)
            l = &x->listeners[i];
    if (!l) {
        l = &x->listeners[x->listener_count++];
        l->exports = x;
        l->fd = -1;
        l->path = from->config->export_path;
        l->mode = (mode_t)from->config->export_mode;
    }
    l->offers = err_realloc(l->offers, (l->count + 1) * sizeof *l->offers);
    l->volumes = err_realloc(l->volumes, (l->count + 1) * sizeof(struct served *));
    l->volumes[l->count] = v;
    l->offers[l->count++] = (struct nbd_export){.name = v->name,
                                                .description = from->config->path,
                                                .size = capture_size(v->capture),
                                                .flags = OFFER_FLAGS,
                                                .block_min = 1,
                                                .block_preferred = SECTOR_SIZE};
}

static int listen_at(struct listener *l, struct err *e)
{
    struct io_addr addr = {0};
    char dir[CONFIG_PATH_MAX];
    int res;
    ASSERT(strlen(l->path) < sizeof addr.path); /* config checks it */
    memcpy(addr.path, l->path, strlen(l->path) + 1);
    (void)snprintf(dir, sizeof dir, "%s", l->path);
    *strrchr(dir, '/') = '\0';
    res = *dir ? fio_mkdirs(dir, 0755) : 0;
    if (res == 0)
        res = fio_listen(&addr, l->mode);
    if (res < 0)
        return err_os(e, res, "export socket %s", l->path);
    l->fd = res;
    l->fiber = fiber_spawn(l->exports->io, "nbd-accept", accept_main, l);
    log_info("nbd %s: serving %zu volume%s", l->path, l->count, l->count == 1 ? "" : "s");
    return 0;
}

int export_start(struct exports **out, const struct export_volume *volumes, size_t count,
                 uint64_t memory, struct err *e)
{
    struct exports *x = err_calloc(1, sizeof *x);
    ASSERT(memory >= EXPORT_CONN_MEMORY);
    x->io = fiber_io();
    x->max = (unsigned)(memory / EXPORT_CONN_MEMORY);
    /* Pointers to the elements are kept: no reallocation. */
    x->volumes = err_calloc(count, sizeof *x->volumes);
    x->listeners = err_calloc(count, sizeof *x->listeners);
    for (size_t i = 0; i < count; i++)
        add_volume(x, &volumes[i]);
    for (size_t i = 0; i < x->listener_count; i++)
        if (listen_at(&x->listeners[i], e) < 0) {
            export_stop(x);
            return -(int)e->code;
        }
    *out = x;
    return 0;
}

/* ---- stopping ---- */

static void stop_listening(struct listener *l)
{
    if (!l->fiber)
        return;
    fiber_cancel(l->fiber);
    fiber_join(l->fiber);
    fio_close_always(l->fd);
    (void)fio_unlink_always(l->path);
}

static void shut(struct exports *x, struct conn *c)
{
    struct fiber_req r = FIBER_REQ;
    if (c->fd < 0)
        return;
    log_warn("nbd %s: closed on a client that does not read its replies", c->listener->path);
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
    for (size_t i = 0; i < x->listener_count; i++) {
        free(x->listeners[i].offers);
        free(x->listeners[i].volumes);
    }
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
