#include "guest.h"

#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)
#define LOOK_NS  (NS_PER_S / 10) /* how often an idle guest looks whether it is to stop */
#define SECTOR   4096u

struct slot {
    struct guest *guest;
    uint8_t *buf;
    uint64_t sent;
    enum guest_verb verb;
    uint32_t len;
    bool busy;
};

struct guest {
    struct workload *workload;
    struct nbd_handle *nbd;
    pthread_t thread;
    bool running;
    atomic_bool stop;
    uint64_t begin, end;
    struct slot slots[SCENARIO_DEPTH_MAX];
    unsigned depth, in_flight;
    uint8_t *seen;        /* a bit for each sector that was written */
    pthread_mutex_t lock; /* of what follows */
    struct guest_counts counts;
    struct err err;
};

uint64_t guest_now(void)
{
    struct timespec t;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void fail(struct guest *g, const char *what)
{
    (void)pthread_mutex_lock(&g->lock);
    if (g->err.code == ERR_OK)
        (void)err_set(&g->err, ERR_IO, "the guest's %s failed: %s", what, nbd_get_error());
    (void)pthread_mutex_unlock(&g->lock);
    atomic_store(&g->stop, true);
}

/* ---- requests ---- */

static int on_answer(void *arg, int *error)
{
    static const char *const names[GUEST_VERBS] = {"read", "write", "flush"};
    struct slot *s = arg;
    struct guest *g = s->guest;
    uint64_t took = guest_now() - s->sent;
    s->busy = false;
    g->in_flight--;
    if (*error != 0) {
        fail(g, names[s->verb]);
        return 1;
    }
    (void)pthread_mutex_lock(&g->lock);
    hist_add(&g->counts.took[s->verb], took);
    if (s->verb == GUEST_READ)
        g->counts.read_bytes += s->len;
    else
        g->counts.written_bytes += s->len;
    (void)pthread_mutex_unlock(&g->lock);
    return 1; /* the command is retired */
}

/* The sectors that were not written before, in bytes. */
static uint64_t mark_seen(struct guest *g, uint64_t off, uint64_t len)
{
    uint64_t fresh = 0;
    for (uint64_t s = off / SECTOR; s <= (off + len - 1) / SECTOR; s++)
        if (!(g->seen[s / 8] & (1u << (s % 8)))) {
            g->seen[s / 8] = (uint8_t)(g->seen[s / 8] | (1u << (s % 8)));
            fresh += SECTOR;
        }
    return fresh;
}

static int64_t send_op(struct guest *g, struct slot *s, const struct load_op *op)
{
    nbd_completion_callback done = {.callback = on_answer, .user_data = s};
    switch (op->verb) {
    case LOAD_READ:
        return nbd_aio_pread(g->nbd, s->buf, op->len, op->off, done, 0);
    case LOAD_WRITE:
        return nbd_aio_pwrite(g->nbd, s->buf, op->len, op->off, done, 0);
    case LOAD_ZERO:
        return nbd_aio_zero(g->nbd, op->len, op->off, done, 0);
    case LOAD_TRIM:
        return nbd_aio_trim(g->nbd, op->len, op->off, done, 0);
    case LOAD_FLUSH:
    case LOAD_VERBS:
        break;
    }
    return nbd_aio_flush(g->nbd, done, 0);
}

static void issue(struct guest *g, const struct load_op *op)
{
    struct slot *s = g->slots;
    uint64_t now, fresh = 0;
    while (s->busy)
        s++;
    s->verb = op->verb == LOAD_READ    ? GUEST_READ
              : op->verb == LOAD_FLUSH ? GUEST_FLUSH
                                       : GUEST_WRITE;
    s->len = op->len;
    if (op->verb == LOAD_WRITE)
        workload_content(g->workload, op, s->buf);
    if (s->verb == GUEST_WRITE)
        fresh = mark_seen(g, op->off, op->len);
    s->busy = true;
    g->in_flight++;
    now = s->sent = guest_now();
    (void)pthread_mutex_lock(&g->lock);
    g->counts.changed_bytes += fresh;
    if (op->due > 0 && now - g->begin > op->due && now - g->begin - op->due > g->counts.behind_max)
        g->counts.behind_max = now - g->begin - op->due;
    (void)pthread_mutex_unlock(&g->lock);
    if (send_op(g, s, op) < 0) {
        s->busy = false;
        g->in_flight--;
        fail(g, "request");
    }
}

/* ---- the thread ---- */

/* Takes what came, for wait_ns at most. */
static void turn(struct guest *g, uint64_t wait_ns)
{
    struct timespec t = {(time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S)};
    unsigned direction = nbd_aio_get_direction(g->nbd);
    struct pollfd f = {.fd = nbd_aio_get_fd(g->nbd)};
    if (direction & LIBNBD_AIO_DIRECTION_READ)
        f.events |= POLLIN;
    if (direction & LIBNBD_AIO_DIRECTION_WRITE)
        f.events |= POLLOUT;
    if (ppoll(&f, 1, &t, NULL) <= 0)
        return;
    if ((f.revents & (POLLIN | POLLHUP | POLLERR)) && (direction & LIBNBD_AIO_DIRECTION_READ)) {
        if (nbd_aio_notify_read(g->nbd) < 0)
            fail(g, "connection");
    } else if (f.revents & POLLOUT) {
        if (nbd_aio_notify_write(g->nbd) < 0)
            fail(g, "connection");
    }
    if (nbd_aio_is_dead(g->nbd) || nbd_aio_is_closed(g->nbd))
        fail(g, "connection");
}

/* Until the request may be sent; 0: now. */
static uint64_t wait_for(const struct guest *g, const struct load_op *op)
{
    uint64_t now = guest_now(), due = g->begin + op->due;
    if (g->in_flight == g->depth || (op->after_all && g->in_flight > 0))
        return LOOK_NS;
    if (now >= due)
        return 0;
    return due - now < LOOK_NS ? due - now : LOOK_NS;
}

static void *guest_main(void *arg)
{
    struct guest *g = arg;
    struct load_op op;
    bool have = false, over = false;
    while (!atomic_load(&g->stop) && (have || !over)) {
        uint64_t wait;
        if (!have) {
            have = workload_next(g->workload, &op);
            over = !have;
            continue;
        }
        if (guest_now() >= g->end)
            break;
        wait = wait_for(g, &op);
        if (wait > 0) {
            turn(g, wait);
            continue;
        }
        issue(g, &op);
        have = false;
    }
    while (g->in_flight > 0 && !nbd_aio_is_dead(g->nbd) && !nbd_aio_is_closed(g->nbd))
        turn(g, LOOK_NS);
    (void)pthread_mutex_lock(&g->lock);
    g->counts.done = over;
    (void)pthread_mutex_unlock(&g->lock);
    return NULL;
}

/* ---- from outside ---- */

static int connect_export(struct guest *g, const char *socket, const char *export, struct err *e)
{
    g->nbd = nbd_create();
    if (!g->nbd || nbd_set_export_name(g->nbd, export) < 0 || nbd_connect_unix(g->nbd, socket) < 0)
        return err_set(e, ERR_NET, "export %s at %s: %s", export, socket, nbd_get_error());
    if (nbd_get_size(g->nbd) < (int64_t)workload_size(g->workload))
        return err_set(e, ERR_IO, "export %s has %lld bytes, its workload %llu", export,
                       (long long)nbd_get_size(g->nbd),
                       (unsigned long long)workload_size(g->workload));
    return 0;
}

int guest_start(struct guest **out, const struct workload_spec *spec, const char *socket,
                const char *export, uint64_t begin, uint64_t end, struct err *e)
{
    struct guest *g = err_calloc(1, sizeof *g);
    sigset_t all, before;
    int rc = workload_new(&g->workload, spec, e);
    (void)pthread_mutex_init(&g->lock, NULL);
    g->begin = begin;
    g->end = end;
    g->depth = spec->depth;
    if (rc == 0)
        rc = connect_export(g, socket, export, e);
    if (rc < 0) {
        guest_stop(g);
        return rc;
    }
    g->seen = err_calloc(workload_size(g->workload) / SECTOR / 8 + 1, 1);
    for (unsigned i = 0; i < g->depth; i++) {
        g->slots[i].guest = g;
        g->slots[i].buf = err_malloc(workload_longest(g->workload));
    }
    (void)sigfillset(&all); /* signals are for the run */
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    g->running = pthread_create(&g->thread, NULL, guest_main, g) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!g->running) {
        guest_stop(g);
        return err_set(e, ERR_OS, "starting a thread");
    }
    *out = g;
    return 0;
}

void guest_take(struct guest *g, struct guest_counts *into)
{
    (void)pthread_mutex_lock(&g->lock);
    for (unsigned v = 0; v < GUEST_VERBS; v++)
        hist_merge(&into->took[v], &g->counts.took[v]);
    into->read_bytes += g->counts.read_bytes;
    into->written_bytes += g->counts.written_bytes;
    into->changed_bytes += g->counts.changed_bytes;
    if (g->counts.behind_max > into->behind_max)
        into->behind_max = g->counts.behind_max;
    into->done = g->counts.done;
    g->counts = (struct guest_counts){.done = g->counts.done};
    (void)pthread_mutex_unlock(&g->lock);
}

int guest_failed(struct guest *g, struct err *e)
{
    (void)pthread_mutex_lock(&g->lock);
    if (g->err.code != ERR_OK)
        *e = g->err;
    (void)pthread_mutex_unlock(&g->lock);
    return e->code != ERR_OK ? -(int)e->code : 0;
}

void guest_stop(struct guest *g)
{
    if (!g)
        return;
    atomic_store(&g->stop, true);
    if (g->running)
        (void)pthread_join(g->thread, NULL);
    if (g->nbd && nbd_aio_is_ready(g->nbd))
        (void)nbd_shutdown(g->nbd, 0);
    nbd_close(g->nbd);
    for (unsigned i = 0; i < g->depth; i++)
        free(g->slots[i].buf);
    workload_free(g->workload);
    free(g->seen);
    (void)pthread_mutex_destroy(&g->lock);
    free(g);
}
