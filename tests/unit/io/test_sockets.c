/* sockets of the loop: both address families, stale sockets, and receives that end. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop_test.h"

static struct io_addr at_path(const char *name)
{
    struct io_addr a = {.host = ""};
    (void)snprintf(a.path, sizeof a.path, "%s/%s", dir, name);
    return a;
}

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    (void)close(fd);
    return ntohs(in.sin_port);
}

static void talk(const struct io_addr *on, const struct io_addr *to, struct io_addr *peer)
{
    struct result a, c, r;
    char buf[8] = "";
    int l = CALL(listen, on, 0600);
    assert_true(l >= 0);
    io->ops->accept(io, req(&a), l, peer);
    io->ops->connect(io, req(&c), to);
    uring_run(io);
    assert_true(a.res >= 0);
    assert_true(c.res >= 0);
    io->ops->recv(io, req(&r), a.res, buf, sizeof buf);
    assert_int_equal(CALL(send, c.res, "hello", 5), 5);
    assert_int_equal(r.res, 5);
    assert_string_equal(buf, "hello");
    assert_int_equal(CALL(shutdown, c.res), 0);
    assert_int_equal(CALL(recv, a.res, buf, sizeof buf), 0);
    assert_int_equal(CALL(send, c.res, "x", 1), -EPIPE); /* and no SIGPIPE */
    (void)CALL(close, a.res);
    (void)CALL(close, c.res);
    (void)CALL(close, l);
}

static void tcp_talks_over_both_families(void **state)
{
    struct io_addr any = {.port = free_port()}, four = {.host = "127.0.0.1", .port = any.port};
    struct io_addr name = {.host = "localhost", .port = any.port}, peer;
    (void)state;
    talk(&any, &four, &peer);
    assert_string_equal(peer.host, "127.0.0.1");
    assert_true(peer.port != 0);
    talk(&any, &name, &peer);
    talk(&four, &four, NULL);
}

static void a_connection_to_nobody_is_refused(void **state)
{
    struct io_addr four = {.host = "127.0.0.1", .port = free_port()};
    struct io_addr gone = at_path("nobody"), unknown = {.host = "relais.invalid", .port = 1};
    struct result r;
    (void)state;
    assert_int_equal(CALL(connect, &four), -ECONNREFUSED);
    assert_int_equal(CALL(connect, &gone), -ENOENT);
    assert_int_equal(CALL(connect, &unknown), -EHOSTUNREACH);
    io->ops->connect(io, req(&r), &unknown);
    io->ops->cancel(io, &r.req); /* a lookup cannot be stopped, but its caller is released */
    assert_int_equal(wait_for(&r), -ECANCELED);
}

static void a_stale_unix_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    struct io_addr a = at_path("sock"), f = at_path("file");
    struct stat st;
    int second, l, fd;
    (void)state;
    talk(&a, &a, NULL); /* leaves the socket file behind */
    assert_int_equal(stat(a.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    l = CALL(listen, &a, 0660);
    assert_true(l >= 0);
    assert_int_equal(stat(a.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    second = CALL(listen, &a, 0600);
    assert_int_equal(second, -EADDRINUSE);
    (void)CALL(close, l);
    fd = CALL(open, f.path, O_RDWR | O_CREAT, 0600);
    (void)CALL(close, fd);
    assert_int_equal(CALL(listen, &f, 0600), -EEXIST);
    assert_int_equal(stat(f.path, &st), 0);
}

static void on_timer_cancel(struct io_req *req_, int res)
{
    struct result *r = req_->owner; /* of the request to cancel */
    (void)res;
    io->ops->cancel(io, &r->req);
    io->ops->cancel(io, &r->req);
}

static void pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void a_pending_receive_is_cancelled(void **state)
{
    struct result r;
    struct io_req t = {.done = on_timer_cancel, .owner = &r};
    char buf[4];
    int fds[2];
    (void)state;
    pair(fds);
    io->ops->recv(io, req(&r), fds[0], buf, sizeof buf);
    io->ops->timer(io, &t, 5 * IO_MS);
    assert_int_equal(wait_for(&r), -ECANCELED);
    /* Cancelled in the turn that submitted it, and once it has completed. */
    io->ops->recv(io, req(&r), fds[0], buf, sizeof buf);
    io->ops->cancel(io, &r.req);
    assert_int_equal(wait_for(&r), -ECANCELED);
    io->ops->cancel(io, &r.req);
    assert_int_equal(write(fds[1], "abc", 3), 3);
    io->ops->recv(io, req(&r), fds[0], buf, sizeof buf);
    assert_int_equal(wait_for(&r), 3);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

struct reuse {
    struct result second, received;
    int fds[2];
    char buf[4];
};

static void on_first(struct io_req *req_, int res)
{
    struct reuse *u = req_->owner;
    (void)res;
    io->ops->cancel(io, &u->second.req);
}

static void on_second(struct io_req *req_, int res)
{
    struct reuse *u = req_->owner;
    u->second.res = res;
    req_->done = done;
    req_->owner = &u->received;
    io->ops->recv(io, req_, u->fds[0], u->buf, sizeof u->buf);
}

static void on_later(struct io_req *req_, int res)
{
    struct reuse *u = req_->owner;
    (void)res;
    (void)!write(u->fds[1], "abc", 3);
}

static void a_cancel_that_came_too_late_spares_the_next_use_of_the_request(void **state)
{
    struct reuse u = {.second.res = -1};
    struct io_req first = {.done = on_first, .owner = &u};
    struct io_req later = {.done = on_later, .owner = &u};
    char a, b;
    int fd = CALL(open, path("two"), O_RDWR | O_CREAT, 0600);
    (void)state;
    pair(u.fds);
    assert_int_equal(CALL(write, fd, "ab", 2, 0), 2);
    u.second.req.done = on_second;
    u.second.req.owner = &u;
    /* Both have completed when the first's completion runs. */
    io->ops->read(io, &first, fd, &a, 1, 0);
    io->ops->read(io, &u.second.req, fd, &b, 1, 1);
    io->ops->timer(io, &later, 10 * IO_MS);
    uring_run(io);
    assert_int_equal(u.second.res, 1);
    assert_int_equal(b, 'b');
    assert_int_equal(u.received.times, 1);
    assert_int_equal(u.received.res, 3);
    (void)CALL(close, fd);
    (void)close(u.fds[0]);
    (void)close(u.fds[1]);
}

static void a_pending_receive_ends_at_shutdown(void **state)
{
    struct result r;
    char buf[4];
    int fds[2];
    (void)state;
    pair(fds);
    io->ops->recv(io, req(&r), fds[0], buf, sizeof buf);
    assert_int_equal(CALL(shutdown, fds[0]), 0);
    assert_int_equal(r.res, 0);
    assert_int_equal(r.times, 1);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void a_send_into_a_full_socket_is_short_or_waits(void **state)
{
    const size_t len = 8 << 20;
    char *buf = test_calloc(1, len), *sink = test_malloc(len);
    size_t sent = 0, got = 0;
    int fds[2];
    (void)state;
    pair(fds);
    while (got < len) {
        struct result s, r;
        if (sent < len)
            io->ops->send(io, req(&s), fds[0], buf + sent, len - sent);
        io->ops->recv(io, req(&r), fds[1], sink, len);
        uring_run(io);
        assert_true(r.res > 0);
        got += (size_t)r.res;
        if (sent < len) {
            assert_true(s.res > 0);
            sent += (size_t)s.res;
        }
    }
    assert_int_equal(sent, len);
    (void)close(fds[0]);
    (void)close(fds[1]);
    test_free(buf);
    test_free(sink);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tcp_talks_over_both_families),
        TEST(a_connection_to_nobody_is_refused),
        TEST(a_stale_unix_socket_is_replaced_and_a_live_one_is_not),
        TEST(a_pending_receive_is_cancelled),
        TEST(a_cancel_that_came_too_late_spares_the_next_use_of_the_request),
        TEST(a_pending_receive_ends_at_shutdown),
        TEST(a_send_into_a_full_socket_is_short_or_waits),
    };
    return cmocka_run_group_tests_name("sockets", tests, NULL, NULL);
}
