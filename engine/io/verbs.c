#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

/* The most that one read or write moves; more is a short transfer. */
#define TRANSFER_MAX (UINT64_C(1) << 30)
/* From this size a buffered transfer is given to a kernel thread: copying out of the page cache
 * would otherwise happen on the loop's thread, within the submission. */
#define TRANSFER_ASYNC (UINT64_C(256) << 10)

_Static_assert(sizeof(struct __kernel_timespec) <= 2 * sizeof(uint64_t), "fits args");

static void prepare_transfer(struct io_uring_sqe *sqe, struct io_req *req)
{
    unsigned len = (unsigned)(req->args[2] < TRANSFER_MAX ? req->args[2] : TRANSFER_MAX);
    if (LOOP_OP(req) == LOOP_READ)
        io_uring_prep_read(sqe, (int)req->args[0], sys_ptr(req->args[1]), len, req->args[3]);
    else
        io_uring_prep_write(sqe, (int)req->args[0], sys_ptr(req->args[1]), len, req->args[3]);
    if (len >= TRANSFER_ASYNC)
        io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
}

static void prepare_name(struct io_uring_sqe *sqe, struct io_req *req)
{
    const uint64_t *a = req->args;
    switch (LOOP_OP(req)) {
    case LOOP_OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, sys_ptr(a[0]), (int)a[1] | O_CLOEXEC, (mode_t)a[2]);
        return;
    case LOOP_RENAME:
        io_uring_prep_rename(sqe, sys_ptr(a[0]), sys_ptr(a[1]));
        return;
    case LOOP_UNLINK:
        io_uring_prep_unlink(sqe, sys_ptr(a[0]), 0);
        return;
    default:
        ASSERT(LOOP_OP(req) == LOOP_MKDIR);
        io_uring_prep_mkdir(sqe, sys_ptr(a[0]), (mode_t)a[1]);
        return;
    }
}

static size_t clamp(uint64_t len)
{
    return (size_t)(len < TRANSFER_MAX ? len : TRANSFER_MAX);
}

static void prepare_socket(struct io_uring_sqe *sqe, struct io_req *req)
{
    const uint64_t *a = req->args;
    int fd = (int)a[0];
    switch (LOOP_OP(req)) {
    case LOOP_ACCEPT:
        io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
        return;
    case LOOP_CONNECT:
        io_uring_prep_connect(sqe, fd, sys_ptr(a[1]), (socklen_t)a[2]);
        return;
    case LOOP_RECV:
        io_uring_prep_recv(sqe, fd, sys_ptr(a[1]), clamp(a[2]), 0);
        return;
    case LOOP_SEND:
        io_uring_prep_send(sqe, fd, sys_ptr(a[1]), clamp(a[2]), MSG_NOSIGNAL);
        return;
    default:
        ASSERT(LOOP_OP(req) == LOOP_SHUTDOWN);
        io_uring_prep_shutdown(sqe, fd, SHUT_RDWR);
        return;
    }
}

void verbs_prepare(struct io_uring_sqe *sqe, struct io_req *req)
{
    switch (LOOP_OP(req)) {
    case LOOP_READ:
    case LOOP_WRITE:
        prepare_transfer(sqe, req);
        break;
    case LOOP_CLOSE:
        io_uring_prep_close(sqe, (int)req->args[0]);
        break;
    case LOOP_SYNC:
        io_uring_prep_fsync(sqe, (int)req->args[0], req->args[1] ? IORING_FSYNC_DATASYNC : 0);
        break;
    case LOOP_TIMER:
        io_uring_prep_timeout(sqe, (struct __kernel_timespec *)(void *)req->args, 0, 0);
        break;
    case LOOP_POLL:
        io_uring_prep_poll_add(sqe, (int)req->args[0], POLLIN);
        break;
    case LOOP_OPEN:
    case LOOP_RENAME:
    case LOOP_UNLINK:
    case LOOP_MKDIR:
        prepare_name(sqe, req);
        break;
    default:
        prepare_socket(sqe, req);
        break;
    }
    io_uring_sqe_set_data(sqe, req);
}

bool verbs_again(struct io_req *req, int *res)
{
    bool cancelled = (req->op & LOOP_CANCELLED) != 0;
    if (*res == -EINTR) {
        if (!cancelled)
            return true;
        *res = -ECANCELED;
    }
    /* Who gave up before being accepted is no failure of the listener's. */
    if (LOOP_OP(req) == LOOP_ACCEPT && *res == -ECONNABORTED && !cancelled)
        return true;
    if (LOOP_OP(req) == LOOP_TIMER && *res == -ETIME)
        *res = 0;
    if (LOOP_OP(req) == LOOP_ACCEPT && *res >= 0) {
        sys_tune(*res);
        if (req->args[1])
            sys_peer(*res, sys_ptr(req->args[1]));
    }
    return false;
}

/* -- Files -- */

static void verb_open(struct io *io, struct io_req *req, const char *path, int flags, mode_t mode)
{
    req->args[0] = sys_arg(path);
    req->args[1] = (uint64_t)flags;
    req->args[2] = mode;
    loop_submit(loop_of(io), req, LOOP_OPEN);
}

static void verb_close(struct io *io, struct io_req *req, int fd)
{
    req->args[0] = (uint64_t)fd;
    loop_submit(loop_of(io), req, LOOP_CLOSE);
}

static void transfer(struct io *io, struct io_req *req, enum loop_op op, int fd, uint64_t buf,
                     size_t len, uint64_t off)
{
    req->args[0] = (uint64_t)fd;
    req->args[1] = buf;
    req->args[2] = len;
    req->args[3] = off;
    loop_submit(loop_of(io), req, op);
}

static void verb_read(struct io *io, struct io_req *req, int fd, void *buf, size_t len,
                      uint64_t off)
{
    transfer(io, req, LOOP_READ, fd, sys_arg(buf), len, off);
}

static void verb_read_as(struct io *io, struct io_req *req, enum io_work_class class, int fd,
                         void *buf, size_t len, uint64_t off)
{
    struct uring *u = loop_of(io);
    req->args[0] = (uint64_t)fd;
    req->args[1] = sys_arg(buf);
    req->args[2] = len < TRANSFER_MAX ? len : TRANSFER_MAX;
    req->args[3] = off;
    loop_call(u, req, u->pools[class], sys_read);
}

static void verb_write(struct io *io, struct io_req *req, int fd, const void *buf, size_t len,
                       uint64_t off)
{
    struct uring *u = loop_of(io);
    int res;
    if (quick_write(&u->quick, fd, buf, len, off, &res))
        loop_defer(u, req, res);
    else
        transfer(io, req, LOOP_WRITE, fd, sys_arg(buf), len, off);
}

static void verb_copy(struct io *io, struct io_req *req, int from, uint64_t from_off, int to,
                      uint64_t to_off, size_t len)
{
    struct uring *u = loop_of(io);
    req->args[0] = (uint64_t)from;
    req->args[1] = from_off;
    req->args[2] = (uint64_t)to;
    req->args[3] = to_off;
    req->args[4] = len < TRANSFER_MAX ? len : TRANSFER_MAX;
    loop_call(u, req, u->pools[IO_WORK_BLOCKING], sys_copy);
}

static void verb_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    req->args[0] = (uint64_t)fd;
    req->args[1] = data_only;
    loop_submit(loop_of(io), req, LOOP_SYNC);
}

static void call(struct io *io, struct io_req *req, sys_call *fn, uint64_t a, uint64_t b,
                 uint64_t c)
{
    struct uring *u = loop_of(io);
    req->args[0] = a;
    req->args[1] = b;
    req->args[2] = c;
    loop_call(u, req, u->pools[IO_WORK_BLOCKING], fn);
}

static void verb_truncate(struct io *io, struct io_req *req, int fd, uint64_t size)
{
    call(io, req, sys_truncate, (uint64_t)fd, size, 0);
}

static void verb_punch(struct io *io, struct io_req *req, int fd, uint64_t off, uint64_t len,
                       bool fast)
{
    req->args[3] = fast;
    call(io, req, sys_punch, (uint64_t)fd, off, len);
}

static void verb_run(struct io *io, struct io_req *req, int fd, uint64_t off, struct io_run *out)
{
    call(io, req, sys_run, (uint64_t)fd, off, sys_arg(out));
}

static void verb_fstat(struct io *io, struct io_req *req, int fd, struct io_stat *out)
{
    call(io, req, sys_fstat, (uint64_t)fd, sys_arg(out), 0);
}

static void verb_lock(struct io *io, struct io_req *req, int fd)
{
    call(io, req, sys_lock, (uint64_t)fd, 0, 0);
}

/* -- Names -- */

static void verb_stat(struct io *io, struct io_req *req, const char *path, struct io_stat *out)
{
    call(io, req, sys_stat, sys_arg(path), sys_arg(out), 0);
}

static void verb_rename(struct io *io, struct io_req *req, const char *from, const char *to)
{
    req->args[0] = sys_arg(from);
    req->args[1] = sys_arg(to);
    loop_submit(loop_of(io), req, LOOP_RENAME);
}

static void verb_unlink(struct io *io, struct io_req *req, const char *path)
{
    req->args[0] = sys_arg(path);
    loop_submit(loop_of(io), req, LOOP_UNLINK);
}

static void verb_mkdir(struct io *io, struct io_req *req, const char *path, mode_t mode)
{
    req->args[0] = sys_arg(path);
    req->args[1] = mode;
    loop_submit(loop_of(io), req, LOOP_MKDIR);
}

static void verb_sync_dir(struct io *io, struct io_req *req, const char *path)
{
    call(io, req, sys_sync_dir, sys_arg(path), 0, 0);
}

static void verb_list(struct io *io, struct io_req *req, const char *path, struct io_names *out)
{
    call(io, req, sys_list, sys_arg(path), sys_arg(out), 0);
}

static void verb_space(struct io *io, struct io_req *req, const char *path, struct io_space *out)
{
    call(io, req, sys_space, sys_arg(path), sys_arg(out), 0);
}

/* -- Sockets -- */

static void verb_listen(struct io *io, struct io_req *req, const struct io_addr *addr, mode_t mode)
{
    call(io, req, sys_listen, sys_arg(addr), mode, 0);
}

static void verb_accept(struct io *io, struct io_req *req, int fd, struct io_addr *peer)
{
    req->args[0] = (uint64_t)fd;
    req->args[1] = sys_arg(peer);
    loop_submit(loop_of(io), req, LOOP_ACCEPT);
}

static void verb_connect(struct io *io, struct io_req *req, const struct io_addr *addr)
{
    connect_start(loop_of(io), req, addr);
}

static void verb_recv(struct io *io, struct io_req *req, int fd, void *buf, size_t len)
{
    transfer(io, req, LOOP_RECV, fd, sys_arg(buf), len, 0);
}

static void verb_send(struct io *io, struct io_req *req, int fd, const void *buf, size_t len)
{
    transfer(io, req, LOOP_SEND, fd, sys_arg(buf), len, 0);
}

static void verb_shutdown(struct io *io, struct io_req *req, int fd)
{
    req->args[0] = (uint64_t)fd;
    loop_submit(loop_of(io), req, LOOP_SHUTDOWN);
}

/* -- Time, threads -- */

static void verb_timer(struct io *io, struct io_req *req, uint64_t ns)
{
    struct __kernel_timespec ts = {.tv_sec = (int64_t)(ns / IO_S), .tv_nsec = (int64_t)(ns % IO_S)};
    memcpy(req->args, &ts, sizeof ts);
    loop_submit(loop_of(io), req, LOOP_TIMER);
}

static void verb_work(struct io *io, struct io_req *req, enum io_work_class class,
                      int (*fn)(void *arg), void *arg)
{
    struct uring *u = loop_of(io);
    req->args[0] = (uint64_t)(uintptr_t)fn;
    req->args[1] = sys_arg(arg);
    loop_call(u, req, u->pools[class], sys_work);
}

static void verb_command(struct io *io, struct io_req *req, const char *command,
                         uint64_t timeout_ns)
{
    call(io, req, sys_command, sys_arg(command), timeout_ns, 0);
}

static void verb_defer(struct io *io, struct io_req *req)
{
    loop_defer(loop_of(io), req, 0);
}

static void verb_expect(struct io *io, struct io_req *req)
{
    loop_of(io)->pending++;
    req->op = LOOP_NO_OP | PLACE_FOREIGN << 8;
}

static void verb_post(struct io *io, struct io_req *req, int res)
{
    req->res = res;
    loop_post(loop_of(io), req);
}

static void verb_cancel(struct io *io, struct io_req *req)
{
    struct uring *u = loop_of(io);
    if (req->op & LOOP_CANCELLED)
        return;
    switch (LOOP_PLACE(req)) {
    case PLACE_PARKED:
        loop_list_remove(&u->parked, req);
        loop_finish(u, req, -ECANCELED);
        break;
    case PLACE_RING:
        req->op |= LOOP_CANCELLED | LOOP_CANCELING;
        loop_list_append(&u->cancels, req);
        break;
    case PLACE_POOL:
        req->op |= LOOP_CANCELLED;
        if (pool_remove((struct pool *)sys_ptr(req->args[7]), req))
            loop_finish(u, req, -ECANCELED);
        break;
    case PLACE_CONNECT:
        connect_cancel(u, req);
        break;
    case PLACE_NONE:
    case PLACE_DEFERRED:
    case PLACE_FOREIGN:
        break;
    }
}

/* -- Clocks, randomness -- */

static uint64_t verb_now(struct io *io)
{
    struct timespec ts;
    (void)io;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (uint64_t)ts.tv_sec * IO_S + (uint64_t)ts.tv_nsec;
}

static int64_t verb_wall(struct io *io)
{
    struct timespec ts;
    (void)io;
    ASSERT(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return (int64_t)ts.tv_sec * (int64_t)IO_S + ts.tv_nsec;
}

static void verb_random(struct io *io, void *buf, size_t len)
{
    char *p = buf;
    (void)io;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        ASSERT(n > 0 || errno == EINTR);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

static uint64_t verb_unacked(struct io *io, int fd)
{
    (void)io;
    return sys_unacked(fd);
}

static unsigned verb_workers(struct io *io)
{
    return loop_of(io)->workers;
}

const struct io_ops loop_ops = {
    .open = verb_open,
    .close = verb_close,
    .read = verb_read,
    .write = verb_write,
    .read_as = verb_read_as,
    .copy = verb_copy,
    .sync = verb_sync,
    .truncate = verb_truncate,
    .punch = verb_punch,
    .run = verb_run,
    .fstat = verb_fstat,
    .lock = verb_lock,
    .stat = verb_stat,
    .rename = verb_rename,
    .unlink = verb_unlink,
    .mkdir = verb_mkdir,
    .sync_dir = verb_sync_dir,
    .list = verb_list,
    .space = verb_space,
    .listen = verb_listen,
    .accept = verb_accept,
    .connect = verb_connect,
    .recv = verb_recv,
    .send = verb_send,
    .shutdown = verb_shutdown,
    .timer = verb_timer,
    .cancel = verb_cancel,
    .work = verb_work,
    .command = verb_command,
    .defer = verb_defer,
    .expect = verb_expect,
    .post = verb_post,
    .now = verb_now,
    .wall = verb_wall,
    .random = verb_random,
    .workers = verb_workers,
    .unacked = verb_unacked,
};
