/* link: frames arrive whole and true, from whom they claim to be, or the link breaks with a reason.
 */
#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void send_ok(struct link *l, uint8_t type, const ProtobufCMessage *any, const void *payload,
                    uint32_t len)
{
    struct err e = ERR_INIT;
    if (link_send(l, type, 3, any, payload, len, &e) < 0)
        fail_msg("%s", e.text);
}

static void send_part(struct link *l, uint32_t number, const void *payload, uint32_t len)
{
    Relais__Part part;
    relais__part__init(&part);
    part.part = number;
    send_ok(l, FRAME_Part, &part.base, payload, len);
}

static void recv_ok(struct link *l, struct frame_header *h, struct message *m)
{
    struct err e = ERR_INIT;
    if (link_recv(l, h, m, 5 * IO_S, &e) < 0)
        fail_msg("%s", e.text);
}

/* link_recv must fail with code; its text goes to e. */
static void recv_fails(struct link *l, enum err_code code, uint64_t idle_ns, struct err *e)
{
    struct frame_header h = {.type = 99};
    struct message m;
    int rc;
    message_init(&m);
    rc = link_recv(l, &h, &m, idle_ns, e);
    if (rc != -(int)code)
        fail_msg("%s instead of %s: %s", err_name(e->code), err_name(code), e->text);
    assert_int_equal(h.type, 0);
    message_free(&m);
}

static void contains(const char *text, const char *word)
{
    if (!strstr(text, word))
        fail_msg("\"%s\" is not in \"%s\"", word, text);
}

/* ---- frames ---- */

static void exchange(struct net_pair *p)
{
    struct frame_header h;
    struct message m;
    struct err e = ERR_INIT;
    char got[8];
    message_init(&m);
    send_part(p->client, 7, "12345678", 8);
    recv_ok(p->server, &h, &m);
    assert_int_equal(h.type, FRAME_Part);
    assert_int_equal(h.id, 3);
    assert_int_equal(h.payload_len, 8);
    assert_int_equal(m.part->part, 7);
    assert_int_equal(link_recv_payload(p->server, got, 3, &e), 0);
    assert_int_equal(link_recv_payload(p->server, got + 3, 5, &e), 0);
    assert_memory_equal(got, "12345678", 8);
    assert_true(link_bytes_in(p->server) == h.message_len + 8);
    assert_true(link_bytes_out(p->client) == link_bytes_in(p->server));
    message_free(&m);
}

static void both_ends_know_each_other(void *arg)
{
    struct net_pair p;
    (void)arg;
    net_connect(&p, false);
    assert_string_equal(link_peer(p.client), "arras");
    assert_string_equal(link_peer(p.server), "lens");
    exchange(&p);
    net_close(&p);
}

static void a_plain_link_carries_the_same_frames(void *arg)
{
    struct net_pair p;
    (void)arg;
    net_connect(&p, true);
    assert_string_equal(link_peer(p.client), "");
    exchange(&p);
    net_close(&p);
}

static void an_oversize_message_is_not_sent_and_the_link_stays_whole(void *arg)
{
    struct net_pair p;
    struct err e = ERR_INIT;
    Relais__Need need;
    (void)arg;
    net_connect(&p, false);
    relais__need__init(&need);
    need.missing.len = MESSAGE_MAX;
    need.missing.data = calloc(1, MESSAGE_MAX);
    assert_int_equal(link_send(p.client, FRAME_Need, 1, &need.base, NULL, 0, &e), -ERR_LIMIT);
    free(need.missing.data);
    exchange(&p);
    net_close(&p);
}

static void a_refusal_travels_with_its_code_and_harmless_text(void *arg)
{
    struct net_pair p;
    struct frame_header h;
    struct message m;
    struct err e = ERR_INIT;
    const struct err why = {ERR_SPACE, "pool \x1b[2J is full\n"};
    (void)arg;
    net_connect(&p, false);
    message_init(&m);
    assert_int_equal(link_refuse(p.server, 9, &why, &e), 0);
    recv_ok(p.client, &h, &m);
    assert_int_equal(h.type, FRAME_Refused);
    assert_int_equal(h.id, 9);
    assert_int_equal(m.refused->code, ERR_SPACE);
    assert_string_equal(m.refused->text, "pool ?[2J is full?");
    message_free(&m);
    net_close(&p);
}

/* ---- volume ---- */

enum { FRAMES = 400 }; /* of 256 KiB: 100 MiB each way */

struct stream {
    struct link *l;
    uint64_t seed;
    int frames;
};

static void stream_out(void *arg)
{
    struct stream *s = arg;
    uint8_t *buf = malloc(PAYLOAD_MAX);
    for (int i = 0; i < s->frames; i++) {
        net_pattern(buf, PAYLOAD_MAX, s->seed + (uint64_t)i);
        if (i % 64 == 40)
            link_rekey(s->l);
        send_part(s->l, (uint32_t)i, buf, PAYLOAD_MAX);
    }
    free(buf);
}

static void stream_in(void *arg)
{
    struct stream *s = arg;
    uint8_t *buf = malloc(PAYLOAD_MAX);
    struct frame_header h;
    struct message m;
    struct err e = ERR_INIT;
    message_init(&m);
    for (int i = 0; i < s->frames; i++) {
        recv_ok(s->l, &h, &m);
        assert_int_equal(m.part->part, i);
        if (link_recv_payload(s->l, buf, h.payload_len, &e) < 0)
            fail_msg("%s", e.text);
        assert_true(net_pattern_is(buf, PAYLOAD_MAX, s->seed + (uint64_t)i));
    }
    message_free(&m);
    free(buf);
}

static void a_hundred_mib_pass_both_ways_at_once_under_changing_keys(void *arg)
{
    struct net_pair p;
    struct fiber *f[4];
    (void)arg;
    net_connect(&p, false);
    struct stream up_out = {p.client, 1000, FRAMES}, up_in = {p.server, 1000, FRAMES};
    struct stream down_out = {p.server, 9000, FRAMES}, down_in = {p.client, 9000, FRAMES};
    f[0] = fiber_spawn(fiber_io(), "up-out", stream_out, &up_out);
    f[1] = fiber_spawn(fiber_io(), "up-in", stream_in, &up_in);
    f[2] = fiber_spawn(fiber_io(), "down-out", stream_out, &down_out);
    f[3] = fiber_spawn(fiber_io(), "down-in", stream_in, &down_in);
    for (int i = 0; i < 4; i++)
        fiber_join(f[i]);
    assert_true(link_bytes_in(p.client) >= FRAMES * PAYLOAD_MAX);
    net_close(&p);
}

struct writer {
    struct link *l;
    uint32_t number;
    uint64_t finished_at;
};

static void write_many(void *arg)
{
    struct writer *w = arg;
    uint64_t buf[1024];
    for (uint64_t i = 0; i < 50; i++) {
        net_pattern(buf, sizeof buf, w->number * 1000 + i);
        send_part(w->l, w->number, buf, sizeof buf);
    }
    w->finished_at = link_bytes_out(w->l);
}

static void several_writers_take_turns_with_whole_frames(void *arg)
{
    enum { WRITERS = 4 };
    struct net_pair p;
    struct writer w[WRITERS];
    struct fiber *f[WRITERS];
    uint64_t buf[1024], next[WRITERS] = {0};
    struct frame_header h;
    struct message m;
    struct err e = ERR_INIT;
    (void)arg;
    net_connect(&p, false);
    message_init(&m);
    for (uint32_t i = 0; i < WRITERS; i++) {
        w[i] = (struct writer){p.client, i, 0};
        f[i] = fiber_spawn(fiber_io(), "writer", write_many, &w[i]);
    }
    for (int i = 0; i < WRITERS * 50; i++) {
        recv_ok(p.server, &h, &m);
        assert_int_equal(h.payload_len, sizeof buf);
        assert_int_equal(link_recv_payload(p.server, buf, sizeof buf, &e), 0);
        uint32_t who = m.part->part;
        assert_true(who < WRITERS);
        assert_true(net_pattern_is(buf, sizeof buf, who * 1000 + next[who]++));
        /* Fair: nobody is a few frames ahead of anybody. */
        for (int k = 0; k < WRITERS; k++)
            assert_true(next[who] <= next[k] + 2);
    }
    for (int i = 0; i < WRITERS; i++)
        fiber_join(f[i]);
    message_free(&m);
    net_close(&p);
}

/* ---- breaking ---- */

/* Writes raw bytes where a plain link's peer would. */
static void recv_raw(const void *bytes, size_t len, enum err_code code, const char *word)
{
    int fds[2];
    struct link *l;
    struct err e = ERR_INIT;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(write(fds[1], bytes, len), len);
    close(fds[1]);
    assert_int_equal(link_plain(&l, fds[0], &e), 0);
    recv_fails(l, code, 5 * IO_S, &e);
    contains(e.text, word);
    assert_int_equal(link_ended(l), len == 0);
    /* It stays broken, for the same reason. */
    recv_fails(l, code, 5 * IO_S, &e);
    contains(e.text, word);
    link_close(l);
}

static void malformed_frames_break_the_link(void *arg)
{
    uint8_t b[FRAME_HEADER_LEN + 8] = {0x52, 0x4c, FRAME_Part, 0, 1, 0, 0, 0};
    (void)arg;
    recv_raw(b, 0, ERR_NET, "closed the connection");
    recv_raw(b, 7, ERR_NET, "middle of a frame");
    b[8] = 100;
    recv_raw(b, sizeof b, ERR_NET, "middle of a frame");
    b[8] = 2;
    b[16] = 0x0f; /* wire type 7 */
    recv_raw(b, sizeof b, ERR_PROTO, "malformed");
    b[10] = 2;
    recv_raw(b, sizeof b, ERR_LIMIT, "131074 bytes");
    b[10] = 0;
    b[15] = 0x7f;
    recv_raw(b, sizeof b, ERR_LIMIT, "payload of 2130706432 bytes");
    b[2] = 77;
    recv_raw(b, sizeof b, ERR_PROTO, "77");
    b[0] = 'G';
    recv_raw(b, sizeof b, ERR_PROTO, "not relais");
}

static void a_peer_that_leaves_between_frames_has_ended(void *arg)
{
    struct net_pair p;
    struct err e = ERR_INIT;
    (void)arg;
    net_connect(&p, false);
    link_close(p.client);
    p.client = NULL;
    recv_fails(p.server, ERR_NET, 5 * IO_S, &e);
    contains(e.text, "lens closed the connection");
    assert_true(link_ended(p.server));
    net_close(&p);
}

static void a_peer_that_vanishes_within_a_payload_is_an_error(void *arg)
{
    struct net_pair p;
    struct frame_header h;
    struct message m;
    struct err e = ERR_INIT;
    uint8_t header[FRAME_HEADER_LEN + 10], got[100];
    int fds[2];
    (void)arg;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    frame_header_encode(header, &(struct frame_header){FRAME_Part, 1, 0, 100});
    assert_int_equal(write(fds[1], header, sizeof header), sizeof header);
    close(fds[1]);
    assert_int_equal(link_plain(&p.server, fds[0], &e), 0);
    message_init(&m);
    recv_ok(p.server, &h, &m);
    assert_int_equal(link_recv_payload(p.server, got, 100, &e), -ERR_NET);
    contains(e.text, "middle of a frame");
    assert_false(link_ended(p.server));
    message_free(&m);
    link_close(p.server);
}

static void silence_ends_at_the_idle_limit(void *arg)
{
    struct net_pair p;
    struct err e = ERR_INIT;
    (void)arg;
    net_connect(&p, false);
    recv_fails(p.client, ERR_NET, 30 * IO_MS, &e);
    contains(e.text, "arras");
    contains(e.text, "no progress");
    net_close(&p);
}

static void wait_for_frame(void *arg)
{
    struct err e = ERR_INIT;
    recv_fails(arg, ERR_NET, FIBER_FOREVER, &e);
    contains(e.text, "shut down here");
}

static void write_until_broken(void *arg)
{
    struct err e = ERR_INIT;
    Relais__Part part;
    uint8_t *buf = calloc(1, PAYLOAD_MAX);
    relais__part__init(&part);
    while (link_send(arg, FRAME_Part, 0, &part.base, buf, PAYLOAD_MAX, &e) == 0)
        ;
    assert_int_equal(e.code, ERR_NET);
    contains(e.text, "shut down here");
    free(buf);
}

static void shutdown_wakes_reader_and_writers(void *arg)
{
    struct net_pair p;
    struct fiber *f[3];
    struct err e = ERR_INIT;
    (void)arg;
    net_connect(&p, false);
    f[0] = fiber_spawn(fiber_io(), "reader", wait_for_frame, p.client);
    f[1] = fiber_spawn(fiber_io(), "writer", write_until_broken, p.client);
    f[2] = fiber_spawn(fiber_io(), "writer", write_until_broken, p.client);
    (void)fiber_sleep(50 * IO_MS); /* until the writers are stuck, since nobody reads */
    link_shutdown(p.client);
    link_shutdown(p.client);
    for (int i = 0; i < 3; i++)
        fiber_join(f[i]);
    recv_fails(p.client, ERR_NET, IO_S, &e);
    net_close(&p);
}

static void wait_until_cancelled(void *arg)
{
    struct err e = ERR_INIT;
    recv_fails(arg, ERR_CANCELED, FIBER_FOREVER, &e);
    link_shutdown(arg);
}

static void a_cancelled_reader_breaks_the_link_and_can_close_it(void *arg)
{
    struct net_pair p;
    struct fiber *f;
    struct err e = ERR_INIT;
    (void)arg;
    net_connect(&p, false);
    f = fiber_spawn(fiber_io(), "reader", wait_until_cancelled, p.client);
    (void)fiber_sleep(5 * IO_MS);
    fiber_cancel(f);
    fiber_join(f);
    recv_fails(p.client, ERR_NET, IO_S, &e); /* not CANCELED: this fiber was not */
    contains(e.text, "given up here");
    net_close(&p);
}

/* ---- */

#define IN_LOOP(name)                                                                              \
    static void name##_(void **state)                                                              \
    {                                                                                              \
        (void)state;                                                                               \
        net_run(name, NULL);                                                                       \
    }
#define TESTS(X)                                                                                   \
    X(both_ends_know_each_other)                                                                   \
    X(a_plain_link_carries_the_same_frames)                                                        \
    X(an_oversize_message_is_not_sent_and_the_link_stays_whole)                                    \
    X(a_refusal_travels_with_its_code_and_harmless_text)                                           \
    X(a_hundred_mib_pass_both_ways_at_once_under_changing_keys)                                    \
    X(several_writers_take_turns_with_whole_frames)                                                \
    X(malformed_frames_break_the_link)                                                             \
    X(a_peer_that_leaves_between_frames_has_ended)                                                 \
    X(a_peer_that_vanishes_within_a_payload_is_an_error)                                           \
    X(silence_ends_at_the_idle_limit)                                                              \
    X(shutdown_wakes_reader_and_writers)                                                           \
    X(a_cancelled_reader_breaks_the_link_and_can_close_it)
TESTS(IN_LOOP)

int main(void)
{
#define ENTRY(name) {#name, name##_, NULL, NULL, NULL},
    const struct CMUnitTest tests[] = {TESTS(ENTRY)};
    return cmocka_run_group_tests(tests, net_keys_make, net_keys_free);
}
