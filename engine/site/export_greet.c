/* The handshake on the socket. */
#include "export_conn.h"

#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For all of it: who is not through by then is not going to be. */
#define GREET_TIME (30 * IO_S)
#define SEND_TIME  (10 * IO_S)
/* Of it, for TLS, and for a stranger to ask for it. */
#define TLS_TIME (10 * IO_S)

#define OFFER_FLAGS                                                                                \
    (NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |   \
     NBD_FLAG_CAN_MULTI_CONN | NBD_FLAG_SEND_CACHE | NBD_FLAG_SEND_FAST_ZERO)

/* ---- what there is for this client ---- */

static bool may_use(const struct conn *c, const struct config_volume *v)
{
    for (unsigned i = 0; i < v->client_count; i++)
        if (c->tls && x509_is(c->tls, v->clients[i]))
            return true;
    return v->client_count == 0 || !c->tls;
}

/* Sizes are those of now: a volume that is resized has its new one for clients that come later. */
static void make_offers(struct conn *c)
{
    const struct listener *l = c->listener;
    c->offers = err_calloc(l->count, sizeof *c->offers);
    c->choices = err_calloc(l->count, sizeof(struct served *));
    for (size_t i = 0; i < l->count; i++) {
        struct served *v = l->volumes[i];
        if (!may_use(c, v->config))
            continue;
        c->choices[c->offer_count] = v;
        c->offers[c->offer_count++] = (struct nbd_export){.name = v->name,
                                                          .description = v->config->path,
                                                          .size = capture_size(v->capture),
                                                          .flags = OFFER_FLAGS,
                                                          .block_min = 1,
                                                          .block_preferred = SECTOR_SIZE};
    }
}

/* ---- TLS ---- */

void greet_tell(struct conn *c, const char *fmt, ...)
{
    struct exports *x = c->listener->exports;
    char text[ERR_TEXT_MAX];
    unsigned untold = 0;
    va_list ap;
    if (c->listener->at->tcp.port && !strangers_tell(&x->door, io_now(x->io), &untold))
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (untold > 0)
        log_warn("nbd %s: connection closed%s; before it %u more came to nothing", c->from, text,
                 untold);
    else
        log_warn("nbd %s: connection closed%s", c->from, text);
}

static int secure(struct conn *c, struct nbd_handshake *h)
{
    struct stream *s = err_malloc(sizeof *s);
    char name[X509_NAME_TEXT];
    struct err e = ERR_INIT;
    size_t n = strlen(c->from);
    ASSERT(c->pos == c->fill); /* the handshake has looked: nothing in clear is left */
    stream_init(s, c->fd);
    c->tls = s;
    if (x509_accept(c->listener->exports->x509, s, TLS_TIME, &e) < 0) {
        if (e.code != ERR_CANCELED)
            greet_tell(c, ": %s", e.text);
        return -ECONNABORTED;
    }
    strangers_remove(&c->listener->exports->door, &c->stranger);
    x509_name(s, name);
    (void)snprintf(c->from + n, sizeof c->from - n, " (%s)", name);
    make_offers(c);
    if (c->offer_count == 0) {
        greet_tell(c, ": no export here is for this client; see export-clients");
        return -ECONNABORTED;
    }
    nbd_handshake_secured(h, c->offers, c->offer_count);
    return 0;
}

/* ---- the handshake ---- */

/* Receives more of the client's message, of which [pos, fill) is there. */
static int receive(struct conn *c, uint64_t deadline)
{
    uint64_t now = io_now(fiber_io());
    int n;
    memmove(c->in->mem, c->in->mem + c->pos, c->fill - c->pos);
    c->fill -= c->pos;
    c->pos = 0;
    ASSERT(c->fill < EXPORT_BUF);
    if (now >= deadline)
        return -ETIMEDOUT;
    n = conn_recv(c, c->in->mem + c->fill, EXPORT_BUF - c->fill, deadline - now);
    if (n > 0)
        c->fill += (uint32_t)n;
    return n == 0 ? -ECONNRESET : n < 0 ? n : 0;
}

static int haggle(struct conn *c, struct nbd_handshake *h, struct bytes_out *out)
{
    uint64_t deadline = io_now(fiber_io()) + (c->listener->at->tcp.port ? TLS_TIME : GREET_TIME);
    for (;;) {
        size_t used;
        int res;
        enum nbd_next next =
            nbd_handshake_take(h, c->in->mem + c->pos, c->fill - c->pos, &used, out);
        c->pos += (uint32_t)used;
        res = out->len ? conn_send_all(c, out->p, out->len, SEND_TIME) : 0;
        out->len = 0;
        if (res < 0)
            return res;
        if (next == NBD_TRANSMIT)
            return 0;
        if (next == NBD_STARTTLS) {
            res = secure(c, h);
            deadline = io_now(fiber_io()) + GREET_TIME;
        }
        if (next == NBD_CLOSE)
            return -ECONNABORTED;
        if (res == 0 && used == 0)
            res = receive(c, deadline);
        if (res < 0)
            return res;
    }
}

int greet(struct conn *c)
{
    bool tcp = c->listener->at->tcp.port != 0;
    struct nbd_handshake h;
    struct bytes_out out = bytes_out(NBD_ANSWER_MAX);
    uint8_t greeting[NBD_GREETING_LEN];
    int res;
    c->in = buf_take(c);
    if (!c->in)
        return -ECANCELED;
    if (!tcp)
        make_offers(c);
    nbd_handshake_init(&h, tcp ? NBD_TLS_REQUIRED : NBD_TLS_NONE, c->offers, c->offer_count);
    nbd_handshake_greeting(greeting);
    res = conn_send_all(c, greeting, sizeof greeting, SEND_TIME);
    if (res == 0)
        res = haggle(c, &h, &out);
    bytes_free(&out);
    if (h.why)
        greet_tell(c, " in the handshake: %s", h.why);
    else if (res == -ETIMEDOUT)
        greet_tell(c, ": no handshake in time");
    if (res < 0)
        return res;
    c->session = h.session;
    c->volume = c->choices[h.session.export - c->offers];
    (void)snprintf(c->who, sizeof c->who, "%s%s%s", c->volume->name, c->tls ? " " : "",
                   c->tls ? c->from : "");
    return 0;
}
