#include "uring.h"

#include "fiber.h"
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SQ_ENTRIES       1024u
#define CQ_ENTRIES       8192u
#define BATCH            64u
#define BLOCKING_THREADS 32u
#define BLOCKING_STACK   (512 * 1024)
#define CPU_STACK        (2 * 1024 * 1024)

struct signals {
    struct signals *next;
    struct io_req poll;
    int fd;
    void (*on_signal)(void *arg, int signo);
    void *arg;
};

void loop_list_append(struct loop_list *l, struct io_req *req)
{
    req->next = NULL;
    req->prev = l->tail;
    if (l->tail)
        l->tail->next = req;
    else
        l->head = req;
    l->tail = req;
}

void loop_list_remove(struct loop_list *l, struct io_req *req)
{
    if (req->prev)
        req->prev->next = req->next;
    else
        l->head = req->next;
    if (req->next)
        req->next->prev = req->prev;
    else
        l->tail = req->prev;
    req->next = req->prev = NULL;
}

static void set_place(struct io_req *req, enum loop_place place)
{
    req->op = (req->op & ~0xff00) | (int)place << 8;
}

/* -- Submitting -- */

/* A full submission queue is not flushed here, in the middle of somebody's turn: the request waits
 * for the loop, which submits once per turn. */
static void to_ring(struct uring *u, struct io_req *req)
{
    struct io_uring_sqe *sqe = u->parked.head ? NULL : io_uring_get_sqe(&u->ring);
    if (!sqe) {
        set_place(req, PLACE_PARKED);
        loop_list_append(&u->parked, req);
        return;
    }
    set_place(req, PLACE_RING);
    verbs_prepare(sqe, req);
}

void loop_submit(struct uring *u, struct io_req *req, enum loop_op op)
{
    u->pending++;
    req->op = (int)op;
    to_ring(u, req);
}

void loop_call(struct uring *u, struct io_req *req, struct pool *pool, sys_call *fn)
{
    u->pending++;
    req->args[7] = sys_arg(pool);
    req->args[8] = (uint64_t)(uintptr_t)fn;
    req->op = LOOP_NO_OP | PLACE_POOL << 8;
    pool_submit(pool, req);
}

void loop_finish(struct uring *u, struct io_req *req, int res)
{
    req->res = res;
    set_place(req, PLACE_DEFERRED);
    loop_list_append(&u->deferred, req);
}

void loop_defer(struct uring *u, struct io_req *req, int res)
{
    u->pending++;
    req->op = LOOP_NO_OP;
    loop_finish(u, req, res);
}

void loop_post(struct uring *u, struct io_req *req)
{
    bool wake;
    (void)pthread_mutex_lock(&u->lock);
    loop_list_append(&u->posted, req);
    wake = u->asleep;
    u->asleep = false;
    if (wake) {
        uint64_t one = 1;
        /* Under the lock: after it, the loop might be gone with its eventfd. */
        ASSERT(write(u->wake_fd, &one, sizeof one) == sizeof one);
    }
    (void)pthread_mutex_unlock(&u->lock);
}

static void run_on_thread(void *ctx, struct io_req *req)
{
    sys_call *fn = (sys_call *)(uintptr_t)req->args[8];
    req->res = fn(req->args);
    loop_post(ctx, req);
}

/* -- Completing -- */

static void complete(struct uring *u, struct io_req *req, int res)
{
    ASSERT(u->pending > 0);
    u->pending--;
    req->op = 0;
    req->done(req, res);
}

static void poll_again(struct uring *u, struct io_req *req, int fd)
{
    req->args[0] = (uint64_t)fd;
    req->op = LOOP_POLL;
    to_ring(u, req);
}

static void on_wake(struct uring *u)
{
    uint64_t count;
    ASSERT(read(u->wake_fd, &count, sizeof count) == sizeof count || errno == EAGAIN);
    poll_again(u, &u->wake, u->wake_fd);
}

static void on_signals(struct uring *u, struct signals *s)
{
    struct signalfd_siginfo info;
    while (read(s->fd, &info, sizeof info) == sizeof info)
        s->on_signal(s->arg, (int)info.ssi_signo);
    poll_again(u, &s->poll, s->fd);
}

static void on_cqe(struct uring *u, struct io_req *req, int res)
{
    if (req->op & LOOP_CANCELING) {
        loop_list_remove(&u->cancels, req);
        req->op &= ~LOOP_CANCELING;
    }
    if (req == &u->wake)
        on_wake(u);
    else if (LOOP_OP(req) == LOOP_POLL)
        on_signals(u, req->owner);
    else if (verbs_again(req, &res))
        to_ring(u, req);
    else
        complete(u, req, res);
}

/* Entries are copied out and given back before their completions run, so that a completion that
 * causes others finds room. One turn reaps what is there, not what keeps arriving. */
static void reap(struct uring *u)
{
    unsigned budget = io_uring_cq_ready(&u->ring);
    struct io_uring_cqe *cqes[BATCH];
    struct {
        struct io_req *req;
        int res;
    } got[BATCH];
    do {
        unsigned n = io_uring_peek_batch_cqe(&u->ring, cqes, BATCH);
        if (n == 0)
            return;
        for (unsigned i = 0; i < n; i++) {
            got[i].req = io_uring_cqe_get_data(cqes[i]);
            got[i].res = cqes[i]->res;
        }
        io_uring_cq_advance(&u->ring, n);
        for (unsigned i = 0; i < n; i++)
            if (got[i].req) /* a cancel's own completion has none */
                on_cqe(u, got[i].req, got[i].res);
        budget = budget > n ? budget - n : 0;
    } while (budget > 0);
}

static void complete_deferred(struct uring *u)
{
    struct io_req *last = u->deferred.tail;
    while (last) {
        struct io_req *req = u->deferred.head;
        loop_list_remove(&u->deferred, req);
        if (req == last)
            last = NULL;
        complete(u, req, req->res);
    }
}

static void complete_posted(struct uring *u)
{
    struct loop_list got;
    (void)pthread_mutex_lock(&u->lock);
    got = u->posted;
    u->posted.head = u->posted.tail = NULL;
    u->asleep = false;
    (void)pthread_mutex_unlock(&u->lock);
    /* From here on a request is the loop's to complete: nothing can cancel it. */
    for (struct io_req *req = got.head; req; req = req->next)
        set_place(req, PLACE_DEFERRED);
    while (got.head) {
        struct io_req *req = got.head;
        loop_list_remove(&got, req);
        complete(u, req, req->res);
    }
}

/* -- The loop -- */

static void fill_ring(struct uring *u)
{
    struct io_uring_sqe *sqe;
    while (u->cancels.head && (sqe = io_uring_get_sqe(&u->ring))) {
        struct io_req *req = u->cancels.head;
        loop_list_remove(&u->cancels, req);
        req->op &= ~LOOP_CANCELING;
        io_uring_prep_cancel64(sqe, sys_arg(req), 0);
        io_uring_sqe_set_data(sqe, NULL);
    }
    while (u->parked.head && (sqe = io_uring_get_sqe(&u->ring))) {
        struct io_req *req = u->parked.head;
        loop_list_remove(&u->parked, req);
        set_place(req, PLACE_RING);
        verbs_prepare(sqe, req);
    }
}

/* Whether the loop may sleep; from then on a post wakes it. */
static bool fall_asleep(struct uring *u)
{
    bool sleep;
    if (u->deferred.head || u->parked.head || u->cancels.head)
        return false;
    (void)pthread_mutex_lock(&u->lock);
    sleep = u->asleep = !u->posted.head;
    (void)pthread_mutex_unlock(&u->lock);
    return sleep;
}

static void turn(struct uring *u)
{
    bool sleep;
    int res;
    quick_turn(&u->quick);
    fill_ring(u);
    sleep = fall_asleep(u);
    if (sleep)
        res = io_uring_submit_and_wait(&u->ring, 1);
    else
        res = io_uring_submit_and_get_events(&u->ring);
    /* EBUSY: completions must be reaped first. EAGAIN: the kernel is short of memory; what was not
     * submitted is still queued. Both get another try in the next turn. */
    ASSERT(res >= 0 || res == -EINTR || res == -EBUSY || res == -EAGAIN);
    if (res == -EAGAIN && io_uring_cq_ready(&u->ring) == 0)
        (void)usleep(1000);
    reap(u);
    complete_posted(u);
    complete_deferred(u);
}

void uring_run(struct io *io)
{
    struct uring *u = loop_of(io);
    ASSERT(!fiber_self());
    if (!u->enabled) {
        /* io_uring_enable_rings is not exported by liburing 2.3. */
        if (u->ring.flags & IORING_SETUP_R_DISABLED)
            ASSERT(io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
                                     0) == 0);
        (void)io_uring_register_ring_fd(&u->ring); /* saves a lookup per system call */
        u->enabled = true;
    }
    while (u->pending > u->orphans && !u->stop)
        turn(u);
    u->stop = false;
}

void uring_stop(struct io *io)
{
    loop_of(io)->stop = true;
}

/* -- Setting up -- */

static int ring_error(int res, struct err *e)
{
    switch (res) {
    case -EPERM:
    case -EACCES:
    case -ENOSYS:
        return err_set(e, ERR_OS,
                       "io_uring is disabled here (%s): set sysctl kernel.io_uring_disabled=0, and "
                       "in a container allow it in the seccomp profile",
                       strerror(-res));
    case -ENOMEM:
        return err_set(e, ERR_OS,
                       "not enough memory for an io_uring: raise the locked memory limit "
                       "(LimitMEMLOCK=infinity, ulimit -l)");
    default:
        return err_set(e, ERR_OS, "cannot create an io_uring: %s", strerror(-res));
    }
}

/* The best way that the kernel knows: completions are run when this thread asks for them, and do
 * not interrupt it. */
static int ring_new(struct io_uring *ring, struct err *e)
{
    static const unsigned ways[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED |
            IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
        0,
    };
    struct io_uring_probe *probe;
    bool known;
    int res = -EINVAL;
    for (size_t i = 0; res == -EINVAL && i < sizeof ways / sizeof ways[0]; i++) {
        struct io_uring_params p = {.flags = ways[i] | IORING_SETUP_CQSIZE,
                                    .cq_entries = CQ_ENTRIES};
        res = io_uring_queue_init_params(SQ_ENTRIES, ring, &p);
    }
    if (res < 0)
        return ring_error(res, e);
    probe = io_uring_get_probe_ring(ring);
    known = probe && io_uring_opcode_supported(probe, IORING_OP_MKDIRAT);
    io_uring_free_probe(probe);
    if (known && (ring->features & IORING_FEAT_NODROP))
        return 0;
    io_uring_queue_exit(ring);
    return err_set(e, ERR_OS, "the kernel's io_uring is too old: Linux 5.15 or later is needed");
}

static int start_pools(struct uring *u)
{
    static void (*const prepare[])(void) = {
        [IO_WORK_LOW] = sys_rank_low, [IO_WORK_IDLE] = sys_rank_idle, [IO_WORK_BLOCKING] = NULL};
    int res = 0;
    for (unsigned i = 0; i < IO_WORK_CLASSES && res == 0; i++) {
        bool blocking = i == IO_WORK_BLOCKING;
        res = pool_new(&u->pools[i], blocking ? BLOCKING_THREADS : u->workers,
                       blocking ? BLOCKING_STACK : CPU_STACK, prepare[i], run_on_thread, u);
    }
    return res;
}

static void stop_pools(struct uring *u)
{
    for (unsigned i = 0; i < IO_WORK_CLASSES; i++)
        pool_free(u->pools[i]);
}

int uring_new(struct io **out, unsigned workers, struct err *e)
{
    struct uring *u = err_calloc(1, sizeof *u);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int res;
    *out = NULL;
    u->io.ops = &loop_ops;
    u->workers = workers ? workers : online > 0 ? (unsigned)online : 1;
    (void)pthread_mutex_init(&u->lock, NULL);
    res = ring_new(&u->ring, e);
    if (res < 0)
        goto no_ring;
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->wake_fd < 0) {
        res = err_os(e, errno, "cannot create an eventfd");
        goto no_eventfd;
    }
    res = start_pools(u);
    if (res < 0) {
        res = err_set(e, ERR_OS, "cannot start a thread: %s; raise the limit (TasksMax, ulimit -u)",
                      strerror(-res));
        goto no_threads;
    }
    poll_again(u, &u->wake, u->wake_fd);
    *out = &u->io;
    return 0;

no_threads:
    stop_pools(u);
    (void)close(u->wake_fd);
no_eventfd:
    io_uring_queue_exit(&u->ring);
no_ring:
    (void)pthread_mutex_destroy(&u->lock);
    free(u);
    return res;
}

int uring_signals(struct io *io, const int *signos, size_t n,
                  void (*on_signal)(void *arg, int signo), void *arg, struct err *e)
{
    struct uring *u = loop_of(io);
    struct signals *s;
    sigset_t set;
    int fd;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < n; i++)
        ASSERT(sigaddset(&set, signos[i]) == 0);
    ASSERT(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return err_set(e, ERR_OS, "cannot create a signalfd: %s", strerror(errno));
    s = err_calloc(1, sizeof *s);
    s->fd = fd;
    s->on_signal = on_signal;
    s->arg = arg;
    s->poll.owner = s;
    s->next = u->signals;
    u->signals = s;
    poll_again(u, &s->poll, fd);
    return 0;
}

void uring_free(struct io *io)
{
    struct uring *u = loop_of(io);
    if (!u)
        return;
    while (!fiber_idle(io) && fiber_count(io) == 0)
        turn(u); /* the scheduler's timer is still on its way back */
    fiber_cleanup(io);
    ASSERT(u->pending == u->orphans);
    stop_pools(u);
    while (u->posted.head) {
        struct io_req *req = u->posted.head;
        loop_list_remove(&u->posted, req);
        u->pending--;
        connect_drop(u, req);
    }
    ASSERT(u->pending == 0 && u->orphans == 0);
    io_uring_queue_exit(&u->ring);
    while (u->signals) {
        struct signals *s = u->signals;
        u->signals = s->next;
        (void)close(s->fd);
        free(s);
    }
    (void)close(u->wake_fd);
    (void)pthread_mutex_destroy(&u->lock);
    free(u);
}
