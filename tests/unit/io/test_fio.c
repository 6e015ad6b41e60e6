/* fio: sequential code over the real loop; whole files are replaced or left alone. */
#include "err.h"
#include "fio.h"
#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct io *io;
static char dir[64];

static int setup(void **state)
{
    struct err e;
    (void)state;
    (void)snprintf(dir, sizeof dir, "relais-fio-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    return uring_new(&io, 2, &e);
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    uring_free(io);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static const char *path(const char *name)
{
    static char paths[4][128];
    static int next;
    char *p = paths[next++ % 4];
    (void)snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

/* Runs fn as a fiber to its end. Checks in it are `expect`s: a cmocka assertion would jump off its
 * stack. */
static int failures;
#define expect(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                         \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static void run(void (*fn)(void *arg), void *arg)
{
    struct fiber *f = fiber_spawn(io, "test", fn, arg);
    failures = 0;
    uring_run(io);
    assert_true(fiber_finished(f));
    fiber_join(f);
    assert_int_equal(failures, 0);
}

/* -- Whole files -- */

static void replace(void *arg)
{
    const char *p = path("state");
    struct err e = ERR_INIT;
    struct io_stat st;
    void *data;
    size_t len;
    (void)arg;
    expect(fio_replace_file(p, "first", 5, 0640, &e) == 0);
    expect(fio_replace_file(p, "second version", 14, 0640, &e) == 0);
    expect(fio_load_file(p, 100, &data, &len, &e) == 0);
    expect(len == 14 && strcmp(data, "second version") == 0);
    free(data);
    expect(fio_replace_file(p, "", 0, 0640, &e) == 0);
    expect(fio_load_file(p, 100, &data, &len, &e) == 0);
    expect(len == 0 && strcmp(data, "") == 0);
    free(data);
    expect(fio_stat(path("state.tmp"), &st) == -ENOENT);
}

static void a_file_is_replaced_as_a_whole(void **state)
{
    struct stat st;
    (void)state;
    run(replace, NULL);
    assert_int_equal(stat(path("state"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640 & ~022);
}

static void replace_badly(void *arg)
{
    char name[5000];
    struct err e = ERR_INIT;
    (void)arg;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    expect(fio_replace_file(path("no/such"), "x", 1, 0600, &e) == -ERR_NOENT);
    expect(strstr(e.text, "/no/such.tmp") && strstr(e.text, "No such file"));
    expect(fio_replace_file(name, "x", 1, 0600, &e) == -ERR_LIMIT);
    /* The target is a directory: the new content must go again. */
    expect(fio_mkdirs(path("target"), 0700) == 0);
    expect(fio_replace_file(path("target"), "x", 1, 0600, &e) == -ERR_IO);
    expect(strstr(e.text, "target.tmp to "));
}

static void a_failed_replacement_says_why_and_leaves_nothing(void **state)
{
    (void)state;
    run(replace_badly, NULL);
    assert_int_equal(access(path("target.tmp"), F_OK), -1);
}

static void load(void *arg)
{
    struct err e = ERR_INIT;
    void *data = &e;
    size_t len = 1;
    (void)arg;
    expect(fio_replace_file(path("f"), "0123456789", 10, 0600, &e) == 0);
    expect(fio_load_file(path("f"), 10, &data, &len, &e) == 0 && len == 10);
    free(data);
    expect(fio_load_file(path("f"), 9, &data, &len, &e) == -ERR_LIMIT);
    expect(!data && len == 0 && strstr(e.text, "/f is larger than the 9 bytes"));
    expect(fio_load_file(path("g"), 9, &data, &len, &e) == -ERR_NOENT);
    expect(strstr(e.text, "/g"));
    expect(fio_load_file(dir, 1 << 20, &data, &len, &e) == -ERR_IO);
    /* Files that tell no size before they are read. */
    expect(fio_load_file("/proc/self/status", 1 << 20, &data, &len, &e) == 0);
    expect(len > 100 && strlen(data) == len);
    free(data);
    expect(fio_load_file("/proc/self/status", 100, &data, &len, &e) == -ERR_LIMIT);
    expect(fio_load_file("/dev/zero", 1000, &data, &len, &e) == -ERR_LIMIT);
}

static void a_file_is_loaded_up_to_a_limit(void **state)
{
    (void)state;
    run(load, NULL);
}

static void make_dirs(void *arg)
{
    struct io_stat st;
    struct err e;
    (void)arg;
    expect(fio_mkdirs(path("a/b//c/"), 0700) == 0);
    expect(fio_stat(path("a/b/c"), &st) == 0 && st.is_dir);
    expect(fio_mkdirs(path("a/b/c"), 0700) == 0);
    expect(fio_mkdirs("/", 0700) == 0);
    expect(fio_mkdirs("", 0700) == -ENOENT);
    expect(fio_replace_file(path("a/file"), "x", 1, 0600, &e) == 0);
    expect(fio_mkdirs(path("a/file"), 0700) == -ENOTDIR);
    expect(fio_mkdirs(path("a/file/d"), 0700) == -ENOTDIR);
}

static void directories_are_made_with_their_parents(void **state)
{
    (void)state;
    run(make_dirs, NULL);
}

static char synced[512];
static unsigned syncs_that_fail;
static const struct io_ops *real;

static void noted_sync_dir(struct io *at, struct io_req *req, const char *p)
{
    static const char *const nowhere = "/no/such/directory";
    size_t n = strlen(synced);
    if (syncs_that_fail > 0) {
        syncs_that_fail--;
        p = nowhere;
    } else {
        (void)snprintf(synced + n, sizeof synced - n, "%s;", p);
    }
    real->sync_dir(at, req, p);
}

static void make_dirs_again(void *arg)
{
    struct io_ops ops = *io->ops;
    char above[600];
    (void)arg;
    real = io->ops;
    ops.sync_dir = noted_sync_dir;
    io->ops = &ops;
    syncs_that_fail = 1;
    expect(fio_mkdirs(path("again"), 0700) < 0); /* made, and maybe lost in a power cut */
    synced[0] = '\0';
    expect(fio_mkdirs(path("again/below"), 0700) == 0);
    (void)snprintf(above, sizeof above, ";%s;", dir);
    expect(strstr(synced, above));
    (void)snprintf(above, sizeof above, ";%s;", path("again"));
    expect(strstr(synced, above));
    io->ops = real;
}

static void names_that_an_earlier_attempt_left_unsynced_are_made_durable(void **state)
{
    (void)state;
    run(make_dirs_again, NULL);
}

static void read_and_write(void *arg)
{
    char buf[32];
    int fd = fio_open(path("f"), O_RDWR | O_CREAT, 0600);
    (void)arg;
    expect(fd >= 0);
    expect(fio_write_all(fd, "abcdefgh", 8, 4) == 0);
    expect(fio_read_all(fd, buf, 8, 4) == 0 && memcmp(buf, "abcdefgh", 8) == 0);
    expect(fio_read_all(fd, buf, 9, 4) == -ENODATA);
    expect(fio_read_all(fd, buf, 0, 99) == 0);
    expect(fio_read(fd, buf, 32, 8) == 4);
    expect(fio_truncate(fd, 6) == 0 && fio_read(fd, buf, 32, 0) == 6);
    expect(fio_sync(fd, true) == 0);
    expect(fio_write_all(-1, "x", 1, 0) == -EBADF);
    fio_close_always(fd);
    fio_close_always(-1);
}

static void all_forms_move_all_or_fail(void **state)
{
    (void)state;
    run(read_and_write, NULL);
}

/* -- Sockets -- */

static void receive(void *arg)
{
    const int *fds = arg;
    char buf[8], *big = err_calloc(1, 4 << 20);
    uint64_t start = io_now(fiber_io());
    expect(fio_recv(fds[0], buf, sizeof buf, 20 * IO_MS) == -ETIMEDOUT);
    expect(io_now(fiber_io()) - start >= 20 * IO_MS);
    expect(fio_send_all(fds[1], "abc", 3, 60 * IO_S) == 0);
    expect(fio_recv(fds[0], buf, sizeof buf, FIBER_FOREVER) == 3);
    /* Nobody reads: it stops when no more goes in. */
    expect(fio_send_all(fds[1], big, 4 << 20, 20 * IO_MS) == -ETIMEDOUT);
    expect(fio_shutdown(fds[1]) == 0);
    free(big);
}

static void a_receive_and_a_send_end_in_time(void **state)
{
    int fds[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    run(receive, fds);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void serve(void *arg)
{
    int fd, n, *listener = arg;
    char buf[1000];
    fd = fio_accept(*listener, NULL);
    expect(fd >= 0);
    while ((n = fio_recv(fd, buf, sizeof buf, 60 * IO_S)) > 0)
        expect(fio_send_all(fd, buf, (size_t)n, 60 * IO_S) == 0);
    expect(n == 0);
    fio_close_always(fd);
}

static void echo(void *arg)
{
    struct io_addr addr = {.host = ""};
    struct fiber *server;
    char buf[256];
    int fd, listener;
    (void)arg;
    (void)snprintf(addr.path, sizeof addr.path, "%s", path("sock"));
    listener = fio_listen(&addr, 0600);
    expect(listener >= 0);
    server = fiber_spawn(fiber_io(), "server", serve, &listener);
    fd = fio_connect(&addr, 60 * IO_S);
    expect(fd >= 0);
    for (int i = 0; i < 1000; i++) {
        int got = 0;
        memset(buf, i, sizeof buf);
        expect(fio_send_all(fd, buf, sizeof buf, 60 * IO_S) == 0);
        memset(buf, i + 1, sizeof buf);
        while (got < (int)sizeof buf) {
            int n = fio_recv(fd, buf + got, sizeof buf - (size_t)got, 60 * IO_S);
            expect(n > 0);
            if (n <= 0)
                break;
            got += n;
        }
        expect(buf[0] == (char)i && buf[255] == (char)i);
    }
    expect(fio_shutdown(fd) == 0);
    fiber_join(server);
    fio_close_always(fd);
    fio_close_always(listener);
}

static void two_fibers_talk(void **state)
{
    (void)state;
    run(echo, NULL);
}

/* -- Cancelling -- */

struct unwinding {
    int sock;
    int recv, open, again, unlinked;
    int file; /* the handle, closed by the fiber in spite of it all */
};

static void unwind(void *arg)
{
    struct unwinding *u = arg;
    char c;
    u->file = fio_open(path("half"), O_RDWR | O_CREAT, 0600);
    u->recv = fio_recv(u->sock, &c, 1, FIBER_FOREVER);
    u->open = fio_open(path("never"), O_RDWR | O_CREAT, 0600);
    u->again = fio_write_all(u->file, "x", 1, 0);
    fio_close_always(u->file);
    u->unlinked = fio_unlink_always(path("half"));
}

static void cancel_unwinding(void *arg)
{
    struct unwinding *u = arg;
    struct fiber *f = fiber_spawn(fiber_io(), "unwinding", unwind, u);
    expect(fiber_sleep(20 * IO_MS) == 0);
    expect(!fiber_finished(f));
    fiber_cancel(f);
    fiber_join(f);
}

static void cancelling_unwinds_and_cleans_up(void **state)
{
    struct unwinding u = {.recv = 1, .open = 1, .again = 1, .unlinked = 1};
    int fds[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    u.sock = fds[0];
    run(cancel_unwinding, &u);
    assert_int_equal(u.recv, -ECANCELED);
    assert_int_equal(u.open, -ECANCELED);
    assert_int_equal(u.again, -ECANCELED);
    assert_int_equal(u.unlinked, 0);
    assert_int_equal(fcntl(u.file, F_GETFD), -1);
    assert_int_equal(access(path("half"), F_OK), -1);
    assert_int_equal(access(path("never"), F_OK), -1);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* -- Threads -- */

static int add_one(void *arg)
{
    return ++*(int *)arg;
}

static void work_much(void *arg)
{
    int n = 0;
    (void)arg;
    for (int i = 0; i < 2000; i++)
        expect(fio_work(i % 2 ? IO_WORK_CPU : IO_WORK_BLOCKING, add_one, &n) == i + 1);
    expect(fio_command("exit 4", 60 * IO_S) == 4);
}

static void work_and_commands_give_their_result(void **state)
{
    (void)state;
    run(work_much, NULL);
}

static void sleep_long(void *arg)
{
    (void)arg;
    expect(fiber_sleep(3600 * IO_S) == -ECANCELED);
}

static void stop_early(void *arg)
{
    struct fiber *f = fiber_spawn(fiber_io(), "sleeper", sleep_long, NULL);
    (void)arg;
    expect(fiber_yield() == 0 && fiber_yield() == 0);
    fiber_cancel(f);
    fiber_join(f);
    uring_stop(fiber_io());
}

static void a_loop_that_was_stopped_is_freed_though_its_timer_was_armed(void **state)
{
    (void)state;
    run(stop_early, NULL); /* the teardown frees it */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_replaced_as_a_whole),
        TEST(a_failed_replacement_says_why_and_leaves_nothing),
        TEST(a_file_is_loaded_up_to_a_limit),
        TEST(directories_are_made_with_their_parents),
        TEST(names_that_an_earlier_attempt_left_unsynced_are_made_durable),
        TEST(all_forms_move_all_or_fail),
        TEST(a_receive_and_a_send_end_in_time),
        TEST(two_fibers_talk),
        TEST(cancelling_unwinds_and_cleans_up),
        TEST(work_and_commands_give_their_result),
        TEST(a_loop_that_was_stopped_is_freed_though_its_timer_was_armed),
    };
    (void)umask(022);
    return cmocka_run_group_tests_name("fio", tests, NULL, NULL);
}
