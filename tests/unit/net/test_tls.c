/* tls: a link is with the peer whose key is pinned, over TLS 1.3, untouched by anyone between;
 * whoever else calls is told apart by name, quickly, and harms nothing. */
#include "net_fixture.h"
#include "tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void contains(const char *text, const char *word)
{
    if (!strstr(text, word))
        fail_msg("\"%s\" is not in \"%s\"", word, text);
}

/* A whole frame. */
static int recv_once(struct link *l, struct err *e)
{
    struct frame_header h;
    struct message m;
    char payload[256];
    int rc;
    message_init(&m);
    rc = link_recv(l, &h, &m, 5 * IO_S, e);
    if (rc == 0 && h.payload_len > 0)
        rc = link_recv_payload(l, payload, h.payload_len, e);
    message_free(&m);
    return rc;
}

/* ---- pinning ---- */

/* In TLS 1.3 the client is through before the server has seen its key. */
static void read_the_refusal(struct net_pair *p)
{
    Relais__Hello hello;
    char fp[2 * KEY_FP_LEN + 1];
    struct err e = ERR_INIT;
    assert_int_equal(p->client_rc, 0);
    relais__hello__init(&hello);
    (void)link_send(p->client, FRAME_Hello, 0, &hello.base, NULL, 0, &e);
    assert_int_equal(recv_once(p->client, &e), -ERR_AUTH);
    net_fingerprint(fp, NET_STRANGER);
    contains(e.text, "refuses our key");
    contains(e.text, fp);
    link_close(p->client);
    p->client = NULL;
}

static void a_client_that_is_not_pinned_is_refused_and_told(void *arg)
{
    struct net_pair p;
    char fp[2 * KEY_FP_LEN + 1];
    (void)arg;
    net_handshake(&p, NET_STRANGER, NET_ARRAS, "arras", read_the_refusal);
    assert_int_equal(p.server_rc, -ERR_AUTH);
    assert_null(p.server);
    net_fingerprint(fp, NET_STRANGER);
    contains(p.server_err.text, fp);
    contains(p.server_err.text, "pinned for no peer");
    net_close(&p);
}

static void a_server_with_an_unknown_key_is_refused(void *arg)
{
    struct net_pair p;
    char fp[2 * KEY_FP_LEN + 1];
    (void)arg;
    net_handshake(&p, NET_LENS, NET_STRANGER, "arras", NULL);
    assert_int_equal(p.client_rc, -ERR_AUTH);
    net_fingerprint(fp, NET_STRANGER);
    contains(p.client_err.text, fp);
    contains(p.client_err.text, "not pinned for arras");
    contains(p.client_err.text, "relais keygen --show");
    assert_int_equal(p.server_rc, -ERR_AUTH);
    contains(p.server_err.text, "refuses our key");
    net_close(&p);
}

static void a_server_that_is_another_member_is_refused_by_name(void *arg)
{
    struct net_pair p;
    (void)arg;
    net_handshake(&p, NET_LENS, NET_DOUAI, "arras", NULL);
    assert_int_equal(p.client_rc, -ERR_AUTH);
    contains(p.client_err.text, "of douai where arras was expected");
    assert_true(p.server_rc < 0);
    net_close(&p);
}

static void any_pinned_server_will_do_when_none_is_named(void *arg)
{
    struct net_pair p;
    (void)arg;
    net_handshake(&p, NET_LENS, NET_DOUAI, NULL, NULL);
    assert_int_equal(p.client_rc, 0);
    assert_string_equal(link_peer(p.client), "douai");
    assert_string_equal(link_peer(p.server), "lens");
    net_close(&p);
}

/* A hub of two daemons. */
static void any_key_of_the_one_expected_will_do_and_no_other(void *arg)
{
    (void)arg;
    for (enum net_who server = NET_ARRAS; server <= NET_STRANGER; server++) {
        struct net_pair p;
        bool right = server == NET_ARRAS || server == NET_DOUAI;
        if (server == NET_LENS)
            continue;
        net_handshake(&p, NET_LENS, server, NET_PAIR, NULL);
        assert_int_equal(p.client_rc, right ? 0 : -ERR_AUTH);
        if (right)
            assert_string_equal(link_peer(p.client), NET_PAIR);
        net_close(&p);
    }
}

static void a_server_that_nobody_pinned_is_not_even_called(void *arg)
{
    struct link *l = NULL;
    struct err e = ERR_INIT;
    char byte;
    int fds[2];
    (void)arg;
    net_socketpair(fds);
    assert_int_equal(link_tls_connect(&l, fds[0], net_tls(NET_LENS), "calais", IO_S, &e),
                     -ERR_AUTH);
    contains(e.text, "[peer calais]");
    assert_int_equal(read(fds[1], &byte, 1), 0); /* closed, and nothing was sent */
    close(fds[1]);
}

/* ---- strangers ---- */

struct raw_client {
    int fd, version;
};

/* A TLS client of the usual kind, on a thread of its own: without certificate, trusting anybody. */
static void *raw_connect(void *arg)
{
    struct raw_client *r = arg;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;
    char byte;
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, r->version);
    SSL_CTX_set_max_proto_version(ctx, r->version);
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, r->fd);
    if (SSL_connect(ssl) == 1)
        (void)SSL_read(ssl, &byte, 1);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    ERR_clear_error();
    close(r->fd);
    return NULL;
}

static void raw_client_is_refused(int version, enum err_code code, const char *word)
{
    struct raw_client r = {-1, version};
    struct link *l = NULL;
    struct err e = ERR_INIT;
    pthread_t thread;
    int fds[2];
    net_socketpair(fds);
    r.fd = fds[0];
    assert_int_equal(pthread_create(&thread, NULL, raw_connect, &r), 0);
    assert_int_equal(link_tls_accept(&l, fds[1], net_tls(NET_ARRAS), 5 * IO_S, &e), -(int)code);
    contains(e.text, word);
    pthread_join(thread, NULL);
}

static void a_tls_1_2_client_is_refused(void *arg)
{
    (void)arg;
    raw_client_is_refused(TLS1_2_VERSION, ERR_PROTO, "TLS 1.3");
}

static void a_client_without_a_certificate_is_refused(void *arg)
{
    (void)arg;
    raw_client_is_refused(TLS1_3_VERSION, ERR_AUTH, "no key");
}

static int accept_bytes(const void *bytes, size_t len, bool hang_up, struct err *e)
{
    struct link *l = NULL;
    int rc, fds[2];
    net_socketpair(fds);
    assert_int_equal(write(fds[0], bytes, len), len);
    if (hang_up)
        shutdown(fds[0], SHUT_WR);
    rc = link_tls_accept(&l, fds[1], net_tls(NET_ARRAS), 50 * IO_MS, e);
    assert_null(l);
    close(fds[0]);
    return rc;
}

static void plain_garbage_is_an_error_and_no_more(void *arg)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: arras\r\n\r\n";
    uint8_t noise[4096];
    struct err e = ERR_INIT;
    (void)arg;
    assert_int_equal(accept_bytes(http, sizeof http - 1, true, &e), -ERR_PROTO);
    contains(e.text, "is it relaisd?");
    for (uint64_t i = 0; i < 20; i++) {
        net_pattern(noise, sizeof noise, i);
        noise[0] = 0x16; /* claims to be a handshake record */
        noise[1] = noise[2] = 3;
        noise[3] &= 0x1f;
        assert_true(accept_bytes(noise, 5 + i * 200, true, &e) < 0);
        assert_true(e.code == ERR_PROTO || e.code == ERR_NET);
    }
}

static void a_silent_or_leaving_peer_ends_the_handshake(void *arg)
{
    struct err e = ERR_INIT;
    (void)arg;
    assert_int_equal(accept_bytes("\x16\x03\x01", 3, false, &e), -ERR_NET);
    contains(e.text, "in time");
    assert_int_equal(accept_bytes("\x16\x03\x01", 3, true, &e), -ERR_NET);
    contains(e.text, "closed the connection during the handshake");
}

/* ---- someone between ---- */

struct tap {
    int from, to;
    size_t chunk;
    bool flip, cut;     /* done to the next chunk */
    const char *needle; /* looked for in what passes */
    bool seen;
    uint64_t passed;
};

static void tap_run(void *arg)
{
    struct tap *t = arg;
    uint8_t buf[4096];
    for (;;) {
        int n = fio_recv(t->from, buf, t->chunk, FIBER_FOREVER);
        if (n <= 0 || t->cut)
            break;
        if (t->flip) {
            buf[n - 1] ^= 1;
            t->flip = false;
        }
        if (t->needle && memmem(buf, (size_t)n, t->needle, strlen(t->needle)))
            t->seen = true;
        t->passed += (uint64_t)n;
        if (fio_send_all(t->to, buf, (size_t)n, FIBER_FOREVER) < 0)
            break;
    }
    (void)fio_shutdown(t->to);
    (void)fio_shutdown(t->from);
}

struct accepting {
    int fd;
    struct link *l;
    int rc;
    struct err e;
};

static void accept_run(void *arg)
{
    struct accepting *a = arg;
    a->rc = link_tls_accept(&a->l, a->fd, net_tls(NET_ARRAS), 5 * IO_S, &a->e);
}

struct between {
    struct tap up, down;
    struct fiber *f[2];
    struct accepting a;
    struct link *client;
    int rc;
    struct err e;
};

/* Client and server with a tap on either direction between them. flip: 1 up, 2 down, in the
 * handshake. */
static void between_start(struct between *b, size_t chunk, int flip)
{
    int c[2], s[2];
    struct fiber *accepting;
    memset(b, 0, sizeof *b);
    net_socketpair(c);
    net_socketpair(s);
    b->up = (struct tap){.from = c[1], .to = s[0], .chunk = chunk, .flip = flip == 1};
    b->down = (struct tap){.from = s[0], .to = c[1], .chunk = chunk, .flip = flip == 2};
    b->f[0] = fiber_spawn(fiber_io(), "up", tap_run, &b->up);
    b->f[1] = fiber_spawn(fiber_io(), "down", tap_run, &b->down);
    b->a.fd = s[1];
    accepting = fiber_spawn(fiber_io(), "accept", accept_run, &b->a);
    b->rc = link_tls_connect(&b->client, c[0], net_tls(NET_LENS), "arras", 5 * IO_S, &b->e);
    fiber_join(accepting);
}

static void between_end(struct between *b)
{
    link_close(b->client);
    link_close(b->a.l);
    fiber_join(b->f[0]);
    fiber_join(b->f[1]);
    close(b->up.from);
    close(b->up.to);
}

static void send_text(struct link *l, const char *text)
{
    Relais__Part part;
    struct err e = ERR_INIT;
    relais__part__init(&part);
    if (link_send(l, FRAME_Part, 1, &part.base, text, (uint32_t)strlen(text), &e) < 0)
        fail_msg("%s", e.text);
}

static void recv_text(struct link *l, const char *text)
{
    struct frame_header h;
    struct message m;
    struct err e = ERR_INIT;
    char got[256];
    message_init(&m);
    if (link_recv(l, &h, &m, 5 * IO_S, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(h.payload_len, strlen(text));
    assert_int_equal(link_recv_payload(l, got, h.payload_len, &e), 0);
    assert_memory_equal(got, text, h.payload_len);
    message_free(&m);
}

static void frames_survive_being_cut_into_single_bytes(void *arg)
{
    struct between b;
    (void)arg;
    between_start(&b, 1, 0);
    if (b.rc < 0 || b.a.rc < 0)
        fail_msg("%s / %s", b.e.text, b.a.e.text);
    send_text(b.client, "a few bytes up");
    send_text(b.a.l, "and some down");
    recv_text(b.a.l, "a few bytes up");
    recv_text(b.client, "and some down");
    between_end(&b);
}

static void nothing_plain_passes_between(void *arg)
{
    static const char secret[] = "Dupont, Jeanne, 1951-03-07";
    struct between b;
    (void)arg;
    between_start(&b, 4096, 0);
    assert_int_equal(b.rc, 0);
    b.up.needle = secret;
    b.up.passed = 0;
    send_text(b.client, secret);
    recv_text(b.a.l, secret);
    assert_true(b.up.passed > sizeof secret);
    assert_false(b.up.seen);
    between_end(&b);
}

static void a_flipped_bit_in_a_frame_breaks_the_link(void *arg)
{
    struct between b;
    struct err e = ERR_INIT;
    (void)arg;
    between_start(&b, 4096, 0);
    assert_int_equal(b.rc, 0);
    b.up.flip = true;
    send_text(b.client, "true");
    assert_int_equal(recv_once(b.a.l, &e), -ERR_PROTO);
    contains(e.text, "lens");
    assert_int_equal(recv_once(b.client, &e), -ERR_PROTO); /* the alert says so */
    between_end(&b);
}

static void a_flipped_bit_in_the_handshake_ends_it(void *arg)
{
    (void)arg;
    for (int flip = 1; flip <= 2; flip++) {
        struct between b;
        between_start(&b, 4096, flip);
        assert_true(b.a.rc < 0);
        assert_true(b.rc < 0);
        between_end(&b);
    }
}

static void a_line_cut_within_a_frame_is_a_network_error(void *arg)
{
    struct between b;
    struct err e = ERR_INIT;
    (void)arg;
    between_start(&b, 40, 0); /* a frame's first record comes in pieces */
    assert_int_equal(b.rc, 0);
    send_text(b.client, "first");
    recv_text(b.a.l, "first");
    b.up.cut = true;
    send_text(b.client, "a second one that is lost");
    assert_int_equal(recv_once(b.a.l, &e), -ERR_NET);
    assert_int_equal(recv_once(b.client, &e), -ERR_NET);
    between_end(&b);
}

/* ---- keys that age ---- */

struct updater {
    int fd;
    int updates; /* KeyUpdate messages that came back */
    bool replied;
};

static void count_updates(int write_p, int version, int content_type, const void *buf, size_t len,
                          SSL *ssl, void *arg)
{
    struct updater *u = arg;
    (void)version;
    (void)ssl;
    if (!write_p && content_type == SSL3_RT_HANDSHAKE && len > 0 &&
        *(const uint8_t *)buf == SSL3_MT_KEY_UPDATE)
        u->updates++;
}

/* A pinned peer with OpenSSL's own hands: asks for new keys, sends a frame, then listens. */
static void *update_keys(void *arg)
{
    struct updater *u = arg;
    struct tls_verdict v = {0};
    struct timeval patience = {.tv_sec = 5};
    struct err e = ERR_INIT;
    uint8_t frame[FRAME_HEADER_LEN], byte;
    SSL *ssl;
    if (tls_open(&ssl, net_tls(NET_LENS), false, BIO_new_socket(u->fd, BIO_NOCLOSE), &v, &e) < 0)
        return NULL;
    SSL_set_msg_callback(ssl, count_updates);
    SSL_set_msg_callback_arg(ssl, u);
    frame_header_encode(frame, &(struct frame_header){.type = FRAME_Ping});
    if (SSL_connect(ssl) == 1 && SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 &&
        SSL_write(ssl, frame, sizeof frame) == sizeof frame) {
        (void)setsockopt(u->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        u->replied = SSL_read(ssl, &byte, 1) == 1;
    }
    SSL_free(ssl);
    ERR_clear_error();
    close(u->fd);
    return NULL;
}

static void a_peer_that_asks_for_new_keys_gets_them_with_the_next_frame(void *arg)
{
    struct updater u = {0};
    struct link *l = NULL;
    struct err e = ERR_INIT;
    pthread_t thread;
    int fds[2];
    (void)arg;
    net_socketpair(fds);
    u.fd = fds[0];
    assert_int_equal(pthread_create(&thread, NULL, update_keys, &u), 0);
    assert_int_equal(link_tls_accept(&l, fds[1], net_tls(NET_ARRAS), 5 * IO_S, &e), 0);
    assert_int_equal(recv_once(l, &e), 0);
    send_text(l, "under new keys");
    assert_int_equal(recv_once(l, &e), -ERR_NET); /* the peer has heard enough and leaves */
    pthread_join(thread, NULL);
    assert_int_equal(u.updates, 1);
    assert_true(u.replied);
    link_close(l);
}

/* ---- */

#define IN_LOOP(name)                                                                              \
    static void name##_(void **state)                                                              \
    {                                                                                              \
        (void)state;                                                                               \
        net_run(name, NULL);                                                                       \
    }
#define TESTS(X)                                                                                   \
    X(a_client_that_is_not_pinned_is_refused_and_told)                                             \
    X(a_server_with_an_unknown_key_is_refused)                                                     \
    X(a_server_that_is_another_member_is_refused_by_name)                                          \
    X(any_pinned_server_will_do_when_none_is_named)                                                \
    X(any_key_of_the_one_expected_will_do_and_no_other)                                            \
    X(a_server_that_nobody_pinned_is_not_even_called)                                              \
    X(a_tls_1_2_client_is_refused)                                                                 \
    X(a_client_without_a_certificate_is_refused)                                                   \
    X(plain_garbage_is_an_error_and_no_more)                                                       \
    X(a_silent_or_leaving_peer_ends_the_handshake)                                                 \
    X(frames_survive_being_cut_into_single_bytes)                                                  \
    X(nothing_plain_passes_between)                                                                \
    X(a_flipped_bit_in_a_frame_breaks_the_link)                                                    \
    X(a_flipped_bit_in_the_handshake_ends_it)                                                      \
    X(a_line_cut_within_a_frame_is_a_network_error)                                                \
    X(a_peer_that_asks_for_new_keys_gets_them_with_the_next_frame)
TESTS(IN_LOOP)

int main(void)
{
#define ENTRY(name) {#name, name##_, NULL, NULL, NULL},
    const struct CMUnitTest tests[] = {TESTS(ENTRY)};
    return cmocka_run_group_tests(tests, net_keys_make, net_keys_free);
}
