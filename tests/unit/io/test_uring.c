/* uring: every request completes exactly once, from the loop, with the right result. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop_test.h"

/* -- Files -- */

static void a_loop_with_nothing_pending_returns(void **state)
{
    (void)state;
    uring_run(io);
    uring_run(io);
    assert_int_equal(io_workers(io), 3);
}

static void what_is_written_is_read_and_the_end_is_short(void **state)
{
    char buf[16] = "";
    int fd = CALL(open, path("f"), O_RDWR | O_CREAT, 0600);
    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(CALL(write, fd, "0123456789", 10, 5), 10);
    assert_int_equal(CALL(sync, fd, true), 0);
    assert_int_equal(CALL(sync, fd, false), 0);
    assert_int_equal(CALL(read, fd, buf, sizeof buf, 7), 8);
    assert_memory_equal(buf, "23456789", 8);
    assert_int_equal(CALL(read, fd, buf, sizeof buf, 15), 0);
    assert_int_equal(CALL(read, fd, buf, sizeof buf, 1000), 0);
    assert_int_equal(CALL(close, fd), 0);
    assert_int_equal(CALL(close, fd), -EBADF);
    assert_int_equal(CALL(open, path("missing"), O_RDONLY, 0), -ENOENT);
}

static void a_copy_between_files_is_short_at_the_end(void **state)
{
    char buf[16] = "";
    int from = CALL(open, path("from"), O_RDWR | O_CREAT, 0600);
    int to = CALL(open, path("to"), O_RDWR | O_CREAT, 0600), pipes[2];
    (void)state;
    assert_int_equal(CALL(write, from, "0123456789", 10, 0), 10);
    assert_int_equal(CALL(copy, from, 3, to, 5, 4), 4);
    assert_int_equal(CALL(copy, from, 8, to, 0, 4), 2);
    assert_int_equal(CALL(copy, from, 10, to, 0, 4), 0);
    assert_int_equal(CALL(read, to, buf, sizeof buf, 0), 9);
    assert_memory_equal(buf,
                        "89\0\0\0"
                        "3456",
                        9);
    assert_int_equal(CALL(copy, from, 0, -1, 0, 4), -EBADF);
    assert_int_equal(pipe(pipes), 0);
    assert_true(CALL(copy, pipes[0], 0, to, 0, 4) < 0); /* nor by hand */
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    assert_int_equal(CALL(close, from), 0);
    assert_int_equal(CALL(close, to), 0);
}

static void a_large_transfer_keeps_its_bytes(void **state)
{
    const size_t len = 5 << 20;
    unsigned char *out = test_malloc(len), *in = test_calloc(1, len);
    struct result w[2], r[2];
    int fd = CALL(open, path("large"), O_RDWR | O_CREAT, 0600);
    (void)state;
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)(i * 2654435761u >> 13);
    /* Two at a time, large enough to leave the loop's thread. */
    io->ops->write(io, req(&w[0]), fd, out, len / 2, 0);
    io->ops->write(io, req(&w[1]), fd, out + len / 2, len / 2, len / 2);
    uring_run(io);
    io->ops->read(io, req(&r[0]), fd, in, len / 2, 0);
    io->ops->read(io, req(&r[1]), fd, in + len / 2, len / 2, len / 2);
    uring_run(io);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(w[i].res, len / 2);
        assert_int_equal(r[i].res, len / 2);
        assert_int_equal(r[i].times, 1);
    }
    assert_memory_equal(in, out, len);
    (void)CALL(close, fd);
    test_free(out);
    test_free(in);
}

static void names_come_and_go(void **state)
{
    struct io_stat st;
    struct io_names names;
    int fd = CALL(open, path("b"), O_RDWR | O_CREAT, 0600);
    (void)state;
    (void)CALL(write, fd, "x", 1, 0);
    (void)CALL(close, fd);
    assert_int_equal(CALL(mkdir, path("d"), 0700), 0);
    assert_int_equal(CALL(mkdir, path("d"), 0700), -EEXIST);
    assert_int_equal(CALL(rename, path("b"), path("d/c")), 0);
    assert_int_equal(CALL(stat, path("b"), &st), -ENOENT);
    assert_int_equal(CALL(stat, path("d/c"), &st), 0);
    assert_true(st.is_file && !st.is_dir && !st.is_block && st.size == 1);
    assert_true(llabs(st.mtime_ns - io_wall(io)) < INT64_C(60000000000));
    assert_int_equal(CALL(stat, path("d"), &st), 0);
    assert_true(st.is_dir && !st.is_file);
    (void)CALL(mkdir, path("d/a"), 0700);
    (void)CALL(mkdir, path("d/B"), 0700);
    assert_int_equal(CALL(sync_dir, path("d")), 0);
    assert_int_equal(CALL(list, path("d"), &names), 0);
    assert_int_equal(names.count, 3);
    assert_string_equal(names.names[0], "B");
    assert_string_equal(names.names[1], "a");
    assert_string_equal(names.names[2], "c");
    io_names_free(&names);
    assert_int_equal(CALL(unlink, path("d/c")), 0);
    assert_int_equal(CALL(unlink, path("d/c")), -ENOENT);
    assert_int_equal(CALL(list, path("d/c"), &names), -ENOENT);
    assert_int_equal(CALL(sync_dir, path("d/c")), -ENOENT);
}

static void runs_tell_data_from_holes(void **state)
{
    const uint64_t m = 1 << 20;
    char *buf = test_calloc(1, m);
    struct io_run run;
    struct io_stat st;
    uint64_t off = 0, data = 0;
    int fd = CALL(open, path("sparse"), O_RDWR | O_CREAT, 0600);
    (void)state;
    memset(buf, 'x', m);
    assert_int_equal(CALL(truncate, fd, 4 * m), 0);
    assert_int_equal(CALL(write, fd, buf, m, m), (int)m);
    assert_int_equal(CALL(fstat, fd, &st), 0);
    assert_true(st.size == 4 * m && st.allocated < 2 * m);
    while (off < 4 * m) {
        assert_int_equal(CALL(run, fd, off, &run), 0);
        assert_true(run.start == off && run.end > off && run.end <= 4 * m);
        data += run.data ? run.end - run.start : 0;
        off = run.end;
    }
    assert_true(data >= m && data < 2 * m);
    assert_int_equal(CALL(run, fd, m + 5, &run), 0);
    assert_true(run.data && run.end == 2 * m);
    assert_int_equal(CALL(run, fd, 4 * m, &run), -EINVAL);

    assert_int_equal(CALL(punch, fd, m, m / 2, true), 0);
    assert_int_equal(CALL(read, fd, buf, m, m), (int)m);
    for (size_t i = 0; i < m; i++)
        assert_int_equal(buf[i], i < m / 2 ? 0 : 'x');
    assert_int_equal(CALL(fstat, fd, &st), 0);
    assert_true(st.size == 4 * m && st.allocated < m);
    (void)CALL(close, fd);
    fd = CALL(open, "/dev/null", O_RDWR | O_CLOEXEC, 0); /* has no holes */
    assert_true(fd >= 0);
    assert_int_equal(CALL(punch, fd, 0, m, true), -ENOTSUP);
    assert_int_equal(CALL(punch, fd, 0, m, false), 0);
    (void)CALL(close, fd);
    test_free(buf);
}

static void only_one_holds_the_lock(void **state)
{
    int a = CALL(open, path("lock"), O_RDWR | O_CREAT, 0600);
    int b = CALL(open, path("lock"), O_RDWR, 0);
    (void)state;
    assert_int_equal(CALL(lock, a), 0);
    assert_int_equal(CALL(lock, b), -EWOULDBLOCK);
    (void)CALL(close, a);
    assert_int_equal(CALL(lock, b), 0);
    (void)CALL(close, b);
}

static void space_is_told(void **state)
{
    struct io_space space;
    (void)state;
    assert_int_equal(CALL(space, dir, &space), 0);
    assert_true(space.total >= space.available && space.total > 0);
    assert_int_equal(CALL(space, path("missing"), &space), -ENOENT);
}

#define MANY 5000

static void more_requests_than_the_queue_holds_all_complete(void **state)
{
    struct result *r = test_calloc(MANY, sizeof *r);
    uint32_t *got = test_calloc(MANY, sizeof *got);
    int fd = CALL(open, path("numbers"), O_RDWR | O_CREAT, 0600);
    (void)state;
    for (uint32_t i = 0; i < MANY; i++)
        got[i] = i ^ 0x5a5a5a5a;
    assert_int_equal(CALL(write, fd, got, MANY * sizeof *got, 0), MANY * sizeof *got);
    memset(got, 0, MANY * sizeof *got);
    for (uint32_t i = 0; i < MANY; i++)
        io->ops->read(io, req(&r[i]), fd, &got[i], sizeof got[i], i * sizeof got[i]);
    uring_run(io);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(r[i].times, 1);
        assert_int_equal(r[i].res, sizeof got[i]);
        assert_int_equal(got[i], i ^ 0x5a5a5a5a);
    }
    (void)CALL(close, fd);
    test_free(r);
    test_free(got);
}

/* -- Time -- */

static void timers_end_in_order_and_not_early(void **state)
{
    struct result r[3];
    uint64_t start = io_now(io);
    (void)state;
    io->ops->timer(io, req(&r[0]), 30 * IO_MS);
    io->ops->timer(io, req(&r[1]), 10 * IO_MS);
    io->ops->timer(io, req(&r[2]), 20 * IO_MS);
    uring_run(io);
    assert_true(r[1].when < r[2].when && r[2].when < r[0].when);
    assert_true(r[1].when - start >= 10 * IO_MS);
    assert_true(r[0].when - start >= 30 * IO_MS && r[0].when - start < 2 * IO_S);
    assert_int_equal(r[0].res, 0);
}

static void ten_thousand_timers_all_end(void **state)
{
    struct result *r = test_calloc(10000, sizeof *r);
    (void)state;
    for (size_t i = 0; i < 10000; i++)
        io->ops->timer(io, req(&r[i]), i % 10 == 9 ? 3600 * IO_S : (i * 7919 % 50) * IO_MS);
    for (size_t i = 9; i < 10000; i += 10)
        io->ops->cancel(io, &r[i].req); /* parked ones and submitted ones */
    uring_run(io);
    for (size_t i = 0; i < 10000; i++) {
        assert_int_equal(r[i].times, 1);
        assert_int_equal(r[i].res, i % 10 == 9 ? -ECANCELED : 0);
    }
    test_free(r);
}

static void stop_and_count(struct io_req *req_, int res)
{
    (void)res;
    ++*(int *)req_->owner;
    uring_stop(io);
}

static void stopping_leaves_the_rest_for_the_next_run(void **state)
{
    int stops = 0;
    struct io_req d = {.done = stop_and_count, .owner = &stops};
    struct result r;
    (void)state;
    io->ops->timer(io, req(&r), 20 * IO_MS);
    io->ops->defer(io, &d);
    assert_int_equal(stops, 0);
    uring_run(io);
    assert_int_equal(stops, 1);
    assert_int_equal(r.times, 0);
    assert_int_equal(wait_for(&r), 0);
}

static void randomness_differs(void **state)
{
    unsigned char a[64] = {0}, b[64] = {0};
    (void)state;
    io_random(io, a, sizeof a);
    io_random(io, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

/* -- Threads -- */

struct job {
    pthread_barrier_t *barrier;
    pthread_t thread;
    int give;
};

static int work(void *arg)
{
    struct job *j = arg;
    j->thread = pthread_self();
    if (j->barrier)
        (void)pthread_barrier_wait(j->barrier);
    return j->give;
}

static void work_runs_on_as_many_threads_as_promised(void **state)
{
    struct result r[3], b;
    struct job j[3], blocking = {.give = 9};
    pthread_barrier_t barrier;
    (void)state;
    (void)pthread_barrier_init(&barrier, NULL, 3); /* passes only when all three run at once */
    for (int i = 0; i < 3; i++) {
        j[i] = (struct job){.barrier = &barrier, .give = i == 2 ? -EBADMSG : i};
        io->ops->work(io, req(&r[i]), IO_WORK_CPU, work, &j[i]);
    }
    io->ops->work(io, req(&b), IO_WORK_BLOCKING, work, &blocking);
    uring_run(io);
    assert_int_equal(b.res, 9);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r[i].times, 1);
        assert_int_equal(r[i].res, i == 2 ? -EBADMSG : i);
        assert_false(pthread_equal(j[i].thread, pthread_self()));
    }
    (void)pthread_barrier_destroy(&barrier);
}

struct rank {
    int policy, nice;
};

static int tell_rank(void *arg)
{
    struct rank *r = arg;
    r->policy = sched_getscheduler(0);
    r->nice = getpriority(PRIO_PROCESS, (id_t)gettid());
    return 0;
}

static void work_that_can_wait_gives_way_to_what_cannot(void **state)
{
    static const enum io_work_class classes[] = {IO_WORK_CPU, IO_WORK_LOW, IO_WORK_IDLE,
                                                 IO_WORK_BLOCKING};
    struct result r[4];
    struct rank ranks[4];
    struct rank own;
    (void)state;
    (void)tell_rank(&own);
    for (int i = 0; i < 4; i++)
        io->ops->work(io, req(&r[i]), classes[i], tell_rank, &ranks[i]);
    uring_run(io);
    assert_memory_equal(&ranks[0], &own, sizeof own);
    assert_int_equal(ranks[1].policy, SCHED_OTHER);
    assert_true(ranks[1].nice > own.nice || own.nice == 19);
    assert_int_equal(ranks[2].policy, SCHED_IDLE);
    assert_memory_equal(&ranks[3], &own, sizeof own);
}

static void a_thread_of_any_class_reads_a_file(void **state)
{
    struct result r[2];
    char in[2][8] = {{0}};
    int fd = open(path("read"), O_RDWR | O_CREAT, 0600);
    (void)state;
    assert_int_equal(write(fd, "abcdefgh", 8), 8);
    io->ops->read_as(io, req(&r[0]), IO_WORK_IDLE, fd, in[0], 4, 2);
    io->ops->read_as(io, req(&r[1]), IO_WORK_LOW, fd, in[1], 8, 6);
    uring_run(io);
    assert_int_equal(r[0].res, 4);
    assert_memory_equal(in[0], "cdef", 4);
    assert_int_equal(r[1].res, 2); /* the end of the file */
    assert_memory_equal(in[1], "gh", 2);
    io->ops->read_as(io, req(&r[0]), IO_WORK_IDLE, -1, in[0], 4, 0);
    uring_run(io);
    assert_int_equal(r[0].res, -EBADF);
    (void)close(fd);
}

struct gated {
    sem_t begun, go;
};

static int pass_gate(void *arg)
{
    struct gated *g = arg;
    (void)sem_post(&g->begun);
    while (sem_wait(&g->go) < 0)
        ;
    return 1;
}

static void work_that_has_not_begun_is_cancelled_and_work_that_runs_is_not(void **state)
{
    struct result r[16];
    struct gated g;
    (void)state;
    (void)sem_init(&g.begun, 0, 0);
    (void)sem_init(&g.go, 0, 0);
    for (int i = 0; i < 16; i++)
        io->ops->work(io, req(&r[i]), IO_WORK_CPU, pass_gate, &g);
    for (int i = 0; i < 3; i++)
        (void)sem_wait(&g.begun);
    for (int i = 0; i < 16; i++)
        io->ops->cancel(io, &r[i].req);
    for (int i = 0; i < 16; i++)
        (void)sem_post(&g.go);
    uring_run(io);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(r[i].times, 1);
        assert_int_equal(r[i].res, i < 3 ? 1 : -ECANCELED);
    }
    (void)sem_destroy(&g.begun);
    (void)sem_destroy(&g.go);
}

#define POSTS 2000

static void *post_all(void *arg)
{
    struct result *r = arg;
    for (int i = 0; i < POSTS; i++) {
        if (i % 100 == 0)
            (void)usleep(200); /* let the loop fall asleep now and then */
        io->ops->post(io, &r[i].req, i);
    }
    return NULL;
}

static void other_threads_complete_what_was_expected(void **state)
{
    struct result *r = test_calloc(2 * POSTS, sizeof *r);
    pthread_t t[2];
    (void)state;
    for (int i = 0; i < 2 * POSTS; i++)
        io->ops->expect(io, req(&r[i]));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, post_all, r + i * POSTS), 0);
    uring_run(io); /* returns only when all came */
    for (int i = 0; i < 2 * POSTS; i++) {
        assert_int_equal(r[i].times, 1);
        assert_int_equal(r[i].res, i % POSTS);
    }
    for (int i = 0; i < 2; i++)
        (void)pthread_join(t[i], NULL);
    test_free(r);
}

/* -- Commands -- */

static void a_command_completes_with_its_status(void **state)
{
    char command[64];
    int fd;
    (void)state;
    assert_int_equal(CALL(command, "exit 7", 60 * IO_S), 7);
    assert_int_equal(CALL(command, "kill -KILL $$", 60 * IO_S), 128 + SIGKILL);
    assert_int_equal(CALL(command, "test -z \"$(cat)\" && echo nobody reads this", 60 * IO_S), 0);
    assert_int_equal(CALL(command, "no-such-command-anywhere 2>/dev/null", 60 * IO_S), 127);
    /* What the daemon has open is not the command's. */
    fd = CALL(open, path("private"), O_RDWR | O_CREAT, 0600);
    (void)snprintf(command, sizeof command, "test ! -e /proc/self/fd/%d", fd);
    assert_int_equal(CALL(command, command, 60 * IO_S), 0);
    (void)CALL(close, fd);
}

static void a_command_that_takes_too_long_is_killed_with_its_children(void **state)
{
    char command[256];
    uint64_t start = io_now(io);
    (void)state;
    (void)snprintf(command, sizeof command,
                   "(trap '' TERM; sleep 0.2; sleep 0.2; touch %s/survived) & wait", dir);
    assert_int_equal(CALL(command, command, 50 * IO_MS), -ETIMEDOUT);
    assert_true(io_now(io) - start < 1500 * IO_MS);
    (void)CALL(timer, 600 * IO_MS);
    assert_int_equal(access(path("survived"), F_OK), -1);
}

/* -- Signals -- */

static void on_signal(void *arg, int signo)
{
    *(int *)arg = signo;
    uring_stop(io);
}

static void a_signal_arrives_in_the_loop(void **state)
{
    const int signos[] = {SIGUSR1, SIGUSR2};
    struct result r;
    struct err e;
    int got = 0;
    (void)state;
    assert_int_equal(uring_signals(io, signos, 2, on_signal, &got, &e), 0);
    uring_run(io); /* waiting for signals alone is not pending */
    io->ops->timer(io, req(&r), 10 * IO_S);
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    uring_run(io);
    assert_int_equal(got, SIGUSR2);
    assert_int_equal(r.times, 0);
    /* A command does not inherit that the signal is blocked. */
    io->ops->cancel(io, &r.req);
    assert_int_equal(wait_for(&r), -ECANCELED);
    assert_int_equal(CALL(command, "kill -USR1 $$; exit 0", 60 * IO_S), 128 + SIGUSR1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_loop_with_nothing_pending_returns),
        TEST(what_is_written_is_read_and_the_end_is_short),
        TEST(a_copy_between_files_is_short_at_the_end),
        TEST(a_large_transfer_keeps_its_bytes),
        TEST(names_come_and_go),
        TEST(runs_tell_data_from_holes),
        TEST(only_one_holds_the_lock),
        TEST(space_is_told),
        TEST(more_requests_than_the_queue_holds_all_complete),
        TEST(timers_end_in_order_and_not_early),
        TEST(ten_thousand_timers_all_end),
        TEST(stopping_leaves_the_rest_for_the_next_run),
        TEST(randomness_differs),
        TEST(work_runs_on_as_many_threads_as_promised),
        TEST(work_that_can_wait_gives_way_to_what_cannot),
        TEST(a_thread_of_any_class_reads_a_file),
        TEST(work_that_has_not_begun_is_cancelled_and_work_that_runs_is_not),
        TEST(other_threads_complete_what_was_expected),
        TEST(a_command_completes_with_its_status),
        TEST(a_command_that_takes_too_long_is_killed_with_its_children),
        TEST(a_signal_arrives_in_the_loop),
    };
    return cmocka_run_group_tests_name("uring", tests, NULL, NULL);
}
