#include "net_fixture.h"

#include "bytes.h"
#include "uring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

const char *const net_names[NET_WHO] = {"arras", "lens", "douai", "stranger"};
static struct key_secret *keys[NET_WHO];
static struct tls *tls[NET_WHO];

void net_run(void (*fn)(void *arg), void *arg)
{
    struct io *io;
    struct err e = ERR_INIT;
    if (uring_new(&io, 1, &e) < 0)
        fail_msg("%s", e.text);
    fiber_detach(fiber_spawn(io, "test", fn, arg));
    uring_run(io);
    uring_free(io);
}

int net_keys_make(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    assert_int_equal(key_init(&e), 0);
    for (int i = 0; i < NET_WHO; i++)
        keys[i] = key_generate(KEY_LINK, NULL);
    for (int i = 0; i < NET_WHO; i++) {
        struct tls_peer peers[NET_WHO + 2];
        size_t n = 0;
        for (int k = 0; k < NET_STRANGER; k++) {
            if (k == i)
                continue;
            (void)snprintf(peers[n].name, sizeof peers[n].name, "%s", net_names[k]);
            peers[n++].key = *key_public(keys[k]);
        }
        for (int k = 0; i == NET_LENS && k < 2; k++) {
            (void)snprintf(peers[n].name, sizeof peers[n].name, NET_PAIR);
            peers[n++].key = *key_public(keys[k == 0 ? NET_ARRAS : NET_DOUAI]);
        }
        if (tls_new(&tls[i], keys[i], peers, n, &e) < 0)
            fail_msg("%s", e.text);
    }
    return 0;
}

int net_keys_free(void **state)
{
    (void)state;
    for (int i = 0; i < NET_WHO; i++) {
        tls_free(tls[i]);
        key_free(keys[i]);
    }
    return 0;
}

struct tls *net_tls(enum net_who who)
{
    return tls[who];
}

void net_fingerprint(char dst[2 * KEY_FP_LEN + 1], enum net_who who)
{
    uint8_t fp[KEY_FP_LEN];
    key_fingerprint(fp, key_public(keys[who]));
    bytes_hex(dst, fp, sizeof fp);
}

void net_socketpair(int fds[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&at, sizeof at), 0);
    fds[1] = accept(listener, NULL, NULL);
    assert_true(fds[1] >= 0);
    close(listener);
}

struct accepting {
    struct net_pair *pair;
    int fd;
    enum net_who who;
};

static void do_accept(void *arg)
{
    struct accepting *a = arg;
    a->pair->server_rc =
        link_tls_accept(&a->pair->server, a->fd, net_tls(a->who), 5 * IO_S, &a->pair->server_err);
}

void net_handshake(struct net_pair *p, enum net_who client, enum net_who server, const char *expect,
                   void (*then)(struct net_pair *p))
{
    int fds[2];
    struct accepting a = {p, -1, server};
    struct fiber *f;
    *p = (struct net_pair){0};
    net_socketpair(fds);
    a.fd = fds[1];
    f = fiber_spawn(fiber_io(), "accept", do_accept, &a);
    p->client_rc =
        link_tls_connect(&p->client, fds[0], net_tls(client), expect, 5 * IO_S, &p->client_err);
    if (then)
        then(p);
    fiber_join(f);
}

void net_connect(struct net_pair *p, bool plain)
{
    if (plain) {
        int fds[2];
        *p = (struct net_pair){0};
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(link_plain(&p->client, fds[0], &p->client_err), 0);
        assert_int_equal(link_plain(&p->server, fds[1], &p->server_err), 0);
        return;
    }
    net_handshake(p, NET_LENS, NET_ARRAS, "arras", NULL);
    if (p->client_rc < 0 || p->server_rc < 0)
        fail_msg("client: %s; server: %s", p->client_err.text, p->server_err.text);
}

void net_close(struct net_pair *p)
{
    link_close(p->client);
    link_close(p->server);
    p->client = p->server = NULL;
}

void net_pattern(void *dst, size_t len, uint64_t seed)
{
    uint64_t *w = dst;
    for (size_t i = 0; i < len / 8; i++)
        w[i] = (seed << 32 | i) * UINT64_C(0x9e3779b97f4a7c15);
}

bool net_pattern_is(const void *p, size_t len, uint64_t seed)
{
    const uint64_t *w = p;
    for (size_t i = 0; i < len / 8; i++)
        if (w[i] != (seed << 32 | i) * UINT64_C(0x9e3779b97f4a7c15))
            return false;
    return true;
}
