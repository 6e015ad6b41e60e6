#include "client.h"

#include "pins.h"
#include "uring.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_NS   (10 * IO_S)
#define HANDSHAKE_NS (10 * IO_S)

struct run {
    struct io *io;
    struct fiber *fiber;
    int (*fn)(void *arg, struct err *e);
    void *arg;
    struct err *e;
    int res;
    bool interrupted;
};

static void run_main(void *arg)
{
    struct run *r = arg;
    r->res = r->fn(r->arg, r->e);
    uring_stop(r->io);
}

static void on_signal(void *arg, int signo)
{
    struct run *r = arg;
    if (r->interrupted)
        _exit(128 + signo);
    r->interrupted = true;
    fiber_cancel(r->fiber);
}

int client_run(int (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
    static const int signals[] = {SIGINT, SIGTERM};
    struct run r = {.fn = fn, .arg = arg, .e = e};
    int res = uring_new(&r.io, 0, e);
    if (res != 0)
        return res;
    res = uring_signals(r.io, signals, sizeof signals / sizeof signals[0], on_signal, &r, e);
    if (res == 0) {
        r.fiber = fiber_spawn(r.io, "client", run_main, &r);
        uring_run(r.io);
        fiber_join(r.fiber);
        res = r.res;
    }
    uring_free(r.io);
    return res;
}

int client_control(struct caller **out, const char *path, struct err *e)
{
    struct io_addr addr = {0};
    struct link *l = NULL;
    int fd, res;
    if (strlen(path) >= sizeof addr.path)
        return err_set(e, ERR_CONFIG, "control socket %s: the path is too long", path);
    memcpy(addr.path, path, strlen(path) + 1);
    fd = fio_connect(&addr, CONNECT_NS);
    if (fd == -ECANCELED)
        return err_set(e, ERR_CANCELED, "interrupted");
    if (fd < 0) {
        res = err_os(e, fd, "control socket %s%s", path,
                     fd == -ENOENT || fd == -ECONNREFUSED ? " (is relaisd running?)" : "");
        e->code = fd == -EACCES ? ERR_AUTH : ERR_NET;
        return res < 0 ? -(int)e->code : res;
    }
    res = link_plain(&l, fd, e);
    return res != 0 ? res : caller_new(out, l, e);
}

int client_ask(const char *control, const struct client_request *r, struct err *e)
{
    struct caller *c = NULL;
    struct call call = {.expect = r->expect};
    int res = client_control(&c, control, e);
    if (res != 0)
        return res;
    res = call_start(c, &call, r->type, r->message, NULL, 0, e);
    if (res == 0) {
        res = call_wait(&call, e);
        if (res == 0)
            res = r->take(r->arg, &call.reply, e);
        call_end(&call);
    }
    caller_free(c);
    return res;
}

struct asked_alone {
    const char *control;
    const struct client_request *request;
};

static int ask_alone(void *arg, struct err *e)
{
    const struct asked_alone *a = arg;
    return client_ask(a->control, a->request, e);
}

int client_ask_alone(const char *control, const struct client_request *r, struct err *e)
{
    struct asked_alone a = {control, r};
    return client_run(ask_alone, &a, e);
}

int client_hub_open(struct client_hub *h, const struct config *c, struct err *e)
{
    struct pins pins = {0};
    int res;
    *h = (struct client_hub){0};
    h->peer = config_peer(c, *c->hub ? c->hub : c->name);
    if (!h->peer || h->peer->addr_count == 0)
        return err_set(e, ERR_CONFIG,
                       "%s: no hub to ask; set [site] hub and the address of its [peer]", c->file);
    res = pins_add(&pins, c, h->peer, e);
    if (res == 0)
        res = key_file_load(&h->key, KEY_LINK, c->link_key_file, NULL, e);
    if (res == 0)
        res = tls_new(&h->tls, h->key, pins.peers, pins.count, e);
    pins_free(&pins);
    if (res != 0)
        client_hub_close(h);
    return res;
}

void client_hub_close(struct client_hub *h)
{
    tls_free(h->tls);
    key_free(h->key);
    *h = (struct client_hub){0};
}

static int connect_one(struct caller **out, const struct client_hub *h,
                       const struct config_addr *at, struct err *e)
{
    struct io_addr addr = {.port = at->port};
    struct link *l = NULL;
    int fd, res;
    memcpy(addr.host, at->host, sizeof addr.host);
    /* Where there are others, one that does not answer is not waited for so long. */
    uint64_t shorter = h->peer->addr_count > 1 ? 3 : 1;
    fd = fio_connect(&addr, CONNECT_NS / shorter);
    if (fd < 0) {
        res = err_os(e, fd, "hub %s at %s:%u", h->peer->name, at->host, at->port);
        if (e->code != ERR_CANCELED)
            e->code = ERR_NET;
        return res < 0 ? -(int)e->code : res;
    }
    res = link_tls_connect(&l, fd, h->tls, h->peer->name, HANDSHAKE_NS / shorter, e);
    if (res == 0)
        res = caller_new(out, l, e);
    return res != 0 ? err_prefix(e, "hub %s at %s:%u", h->peer->name, at->host, at->port) : 0;
}

int client_hub_connect(struct caller **out, struct client_hub *h, struct err *e)
{
    int res = 0;
    for (unsigned i = 0; i < h->peer->addr_count; i++) {
        const struct config_addr *at = &h->peer->addrs[h->at];
        h->at = (h->at + 1) % h->peer->addr_count;
        res = connect_one(out, h, at, e);
        if (res == 0 || e->code == ERR_CANCELED)
            break;
    }
    return res;
}

int client_signer(struct key_public *out, const struct config *c, const char *site,
                  const char *word, struct err *e)
{
    const struct config_peer *peer = config_peer(c, site);
    struct key_secret *own = NULL;
    int res;
    if (word)
        return key_public_parse(out, KEY_SIGN, word, e) != 0 ? err_prefix(e, "--signer") : 0;
    if (strcmp(site, c->name) == 0) {
        res = key_file_load(&own, KEY_SIGN, c->sign_key_file, NULL, e);
        if (res == 0) {
            *out = *key_public(own);
            key_free(own);
            return 0;
        }
        /* The room that burnt may have held it; the hub's operator knows the public word. */
        if (!peer || !*peer->sign_key)
            return err_prefix(e, "the key that %s signed with (else give --signer sign:...)", site);
    }
    if (!peer || !*peer->sign_key)
        return err_set(
            e, ERR_CONFIG,
            "%s: the key that %s signs with is not known here; add sign-key to [peer %s], "
            "or give --signer sign:...",
            c->file, site, site);
    res = key_public_parse(out, KEY_SIGN, peer->sign_key, e);
    return res != 0 ? err_prefix(e, "%s:%d: [peer %s] sign-key", c->file, peer->line, site) : 0;
}
