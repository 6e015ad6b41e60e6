#include "clients.h"

#include "err.h"

#include <errno.h>
#include <libnbd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What libnbd says when there is no server any more; any other error is an answer of one. */
static bool gone(int error)
{
    return error == ENOTCONN || error == ECONNRESET || error == EPIPE || error == ESHUTDOWN ||
           error == ECONNREFUSED;
}

static void fail(struct clients *all, const char *what, int error)
{
    if (!all->failure[0])
        (void)snprintf(all->failure, sizeof all->failure, "%s: %s: %s", what, strerror(error),
                       nbd_get_error() ? nbd_get_error() : "");
}

static bool stopping(struct clients *all)
{
    bool stop;
    pthread_mutex_lock(&all->lock);
    stop = all->stop || all->failure[0];
    pthread_mutex_unlock(&all->lock);
    return stop;
}

/* An answer, or none: called once for each request. Retires it. */
static int completed(void *arg, int *error)
{
    struct flying *f = arg;
    struct clients *all = f->client->all;
    pthread_mutex_lock(&all->lock);
    if (*error == 0 && f->logged)
        oracle_ack(&all->oracle, f->op);
    else if (*error == 0)
        all->flushes++;
    else if (!gone(*error))
        fail(all, "a request was refused", *error);
    if (*error == 0)
        f->used = false;
    pthread_mutex_unlock(&all->lock);
    return 1;
}

static uint32_t pick_len(unsigned *seed, uint64_t most)
{
    unsigned kind = (unsigned)rand_r(seed) % 16;
    uint64_t len = kind < 8    ? 4096 * (1 + (uint64_t)rand_r(seed) % 4)
                   : kind < 15 ? 512 * (1 + (uint64_t)rand_r(seed) % 20)
                               : 512 * (1 + (uint64_t)rand_r(seed) % (CLIENT_BYTES / 512));
    return (uint32_t)(len < most ? len : most);
}

static int64_t send_one(struct client *c, struct nbd_handle *nbd, struct flying *f, unsigned kind,
                        uint64_t off, uint32_t len)
{
    nbd_completion_callback done = {.callback = completed, .user_data = f};
    switch (kind) {
    case 0:
    case 1:
        return nbd_aio_flush(nbd, done, 0);
    case 2:
    case 3:
        return nbd_aio_trim(nbd, len, off, done, 0);
    case 4:
        return nbd_aio_zero(nbd, len, off, done, 0);
    case 5:
        return nbd_aio_zero(nbd, len, off, done, LIBNBD_CMD_FLAG_NO_HOLE);
    case 6:
    case 7:
        return nbd_aio_pwrite(nbd, f->payload, len, off, done, LIBNBD_CMD_FLAG_FUA);
    default:
        (void)c;
        return nbd_aio_pwrite(nbd, f->payload, len, off, done, 0);
    }
}

/* A random request. What it writes is numbered, and the number has the instant before it is sent.
 */
static bool issue(struct client *c, struct nbd_handle *nbd, struct flying *f)
{
    struct clients *all = c->all;
    unsigned kind = (unsigned)rand_r(&c->seed) % 24;
    uint64_t off = (uint64_t)rand_r(&c->seed) % (c->size / 512) * 512;
    uint32_t len;
    if (rand_r(&c->seed) % 4 == 0)
        off %= 128u * 1024; /* where they meet */
    if (rand_r(&c->seed) % 2)
        off = off / 4096 * 4096;
    len = pick_len(&c->seed, c->size - off);
    f->used = true;
    f->logged = kind > 1;
    if (f->logged) {
        pthread_mutex_lock(&all->lock);
        f->op = oracle_issue(&all->oracle, c->volume, off, len, kind < 6 ? NULL : f->payload);
        pthread_mutex_unlock(&all->lock);
    }
    f->cookie = send_one(c, nbd, f, kind, off, len);
    return f->cookie >= 0;
}

static unsigned in_flight(const struct client *c)
{
    unsigned n = 0;
    for (unsigned i = 0; i < CLIENT_DEPTH; i++)
        n += c->flying[i].used;
    return n;
}

/* A server answers the handshake: the one before is dead, and with it what it had not answered. */
static void bury(struct client *c)
{
    struct clients *all = c->all;
    pthread_mutex_lock(&all->lock);
    all->connects++;
    for (unsigned i = 0; i < CLIENT_DEPTH; i++) {
        struct flying *f = &c->flying[i];
        if (f->used && f->logged)
            oracle_lost(&all->oracle, f->op);
        all->lost += f->used;
        f->used = false;
    }
    pthread_mutex_unlock(&all->lock);
}

/* Until the server is gone, or the end. */
static void converse(struct client *c, struct nbd_handle *nbd)
{
    bool ending = false;
    while (!nbd_aio_is_dead(nbd) && !nbd_aio_is_closed(nbd)) {
        ending = ending || stopping(c->all);
        if (ending && in_flight(c) == 0)
            return;
        for (unsigned i = 0; i < CLIENT_DEPTH && !ending; i++)
            if (!c->flying[i].used && !issue(c, nbd, &c->flying[i]))
                break;
        if (nbd_poll(nbd, 1000) < 0)
            return;
        if (rand_r(&c->seed) % 4 == 0)
            (void)usleep((unsigned)rand_r(&c->seed) % 4000);
    }
}

void *client_run(void *arg)
{
    struct client *c = arg;
    for (unsigned i = 0; i < CLIENT_DEPTH; i++) {
        c->flying[i].client = c;
        c->flying[i].payload = err_malloc(CLIENT_BYTES);
    }
    while (!stopping(c->all)) {
        struct nbd_handle *nbd = nbd_create();
        ASSERT(nbd != NULL);
        if (nbd_connect_uri(nbd, c->uri) == 0) {
            bury(c);
            c->size = (uint64_t)nbd_get_size(nbd);
            converse(c, nbd);
        } else {
            (void)usleep(10000);
        }
        nbd_close(nbd); /* calls back for all that is under way */
    }
    for (unsigned i = 0; i < CLIENT_DEPTH; i++)
        free(c->flying[i].payload);
    return NULL;
}
