#include "fio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define LISTEN_RETRY (20 * IO_MS)

/* Submits a verb of fiber_io() for a request on this stack. A cancelled fiber starts nothing new; a
 * request that completes in spite of being cancelled gives its own result, so that no handle leaks.
 */
#define BEGIN(r, verb, ...)                                                                        \
    struct fiber_req r = FIBER_REQ;                                                                \
    struct io *io_ = fiber_io();                                                                   \
    ASSERT(io_ && "only a fiber can wait");                                                        \
    if (fiber_cancelled())                                                                         \
        return -ECANCELED;                                                                         \
    io_->ops->verb(io_, fiber_req(&r), __VA_ARGS__)

int fio_open(const char *path, int flags, mode_t mode)
{
    BEGIN(r, open, path, flags, mode);
    return fiber_await(&r);
}

void fio_close_always(int fd)
{
    struct fiber_req r = FIBER_REQ;
    struct io *io = fiber_io();
    ASSERT(io && "only a fiber can wait");
    if (fd < 0)
        return;
    io->ops->close(io, fiber_req(&r), fd);
    (void)fiber_await_always(&r);
}

int fio_read(int fd, void *buf, size_t len, uint64_t off)
{
    BEGIN(r, read, fd, buf, len, off);
    return fiber_await(&r);
}

static int write_some(int fd, const void *buf, size_t len, uint64_t off)
{
    BEGIN(r, write, fd, buf, len, off);
    return fiber_await(&r);
}

/* class: NULL for a read of the ring's own. */
static int read_some(const enum io_work_class *class, int fd, void *buf, size_t len, uint64_t off)
{
    if (!class)
        return fio_read(fd, buf, len, off);
    BEGIN(r, read_as, *class, fd, buf, len, off);
    return fiber_await(&r);
}

static int read_all(const enum io_work_class *class, int fd, void *buf, size_t len, uint64_t off)
{
    char *p = buf;
    while (len) {
        int n = read_some(class, fd, p, len, off);
        if (n < 0)
            return n;
        if (n == 0)
            return -ENODATA;
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int fio_read_all(int fd, void *buf, size_t len, uint64_t off)
{
    return read_all(NULL, fd, buf, len, off);
}

int fio_read_all_as(enum io_work_class class, int fd, void *buf, size_t len, uint64_t off)
{
    return read_all(&class, fd, buf, len, off);
}

static int copy_some(int from, uint64_t from_off, int to, uint64_t to_off, size_t len)
{
    BEGIN(r, copy, from, from_off, to, to_off, len);
    return fiber_await(&r);
}

int fio_copy_all(int from, uint64_t from_off, int to, uint64_t to_off, size_t len)
{
    while (len) {
        int n = copy_some(from, from_off, to, to_off, len);
        if (n < 0)
            return n;
        if (n == 0)
            return -ENODATA;
        from_off += (uint64_t)n;
        to_off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int fio_write_all(int fd, const void *buf, size_t len, uint64_t off)
{
    const char *p = buf;
    while (len) {
        int n = write_some(fd, p, len, off);
        if (n < 0)
            return n;
        if (n == 0)
            return -EIO;
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int fio_sync(int fd, bool data_only)
{
    BEGIN(r, sync, fd, data_only);
    return fiber_await(&r);
}

int fio_truncate(int fd, uint64_t size)
{
    BEGIN(r, truncate, fd, size);
    return fiber_await(&r);
}

int fio_punch(int fd, uint64_t off, uint64_t len, bool fast)
{
    BEGIN(r, punch, fd, off, len, fast);
    return fiber_await(&r);
}

int fio_run(int fd, uint64_t off, struct io_run *out)
{
    BEGIN(r, run, fd, off, out);
    return fiber_await(&r);
}

int fio_fstat(int fd, struct io_stat *out)
{
    BEGIN(r, fstat, fd, out);
    return fiber_await(&r);
}

int fio_lock(int fd)
{
    BEGIN(r, lock, fd);
    return fiber_await(&r);
}

int fio_stat(const char *path, struct io_stat *out)
{
    BEGIN(r, stat, path, out);
    return fiber_await(&r);
}

int fio_rename(const char *from, const char *to)
{
    BEGIN(r, rename, from, to);
    return fiber_await(&r);
}

int fio_unlink(const char *path)
{
    BEGIN(r, unlink, path);
    return fiber_await(&r);
}

int fio_unlink_always(const char *path)
{
    struct fiber_req r = FIBER_REQ;
    struct io *io = fiber_io();
    ASSERT(io && "only a fiber can wait");
    io->ops->unlink(io, fiber_req(&r), path);
    return fiber_await_always(&r);
}

int fio_mkdir(const char *path, mode_t mode)
{
    BEGIN(r, mkdir, path, mode);
    return fiber_await(&r);
}

int fio_sync_dir(const char *path)
{
    BEGIN(r, sync_dir, path);
    return fiber_await(&r);
}

int fio_list(const char *path, struct io_names *out)
{
    BEGIN(r, list, path, out);
    return fiber_await(&r);
}

int fio_space(const char *path, struct io_space *out)
{
    BEGIN(r, space, path, out);
    return fiber_await(&r);
}

static int listen_once(const struct io_addr *addr, mode_t mode)
{
    BEGIN(r, listen, addr, mode);
    return fiber_await(&r);
}

int fio_listen(const struct io_addr *addr, mode_t mode)
{
    uint64_t began = io_now(fiber_io());
    int res;
    while ((res = listen_once(addr, mode)) == -EADDRINUSE &&
           io_now(fiber_io()) - began < FIO_LISTEN_NS)
        if (fiber_sleep(LISTEN_RETRY) < 0)
            return -ECANCELED;
    return res;
}

int fio_accept(int fd, struct io_addr *peer)
{
    BEGIN(r, accept, fd, peer);
    return fiber_await(&r);
}

int fio_connect(const struct io_addr *addr, uint64_t timeout_ns)
{
    BEGIN(r, connect, addr);
    return fiber_await_for(&r, timeout_ns);
}

int fio_recv(int fd, void *buf, size_t len, uint64_t timeout_ns)
{
    BEGIN(r, recv, fd, buf, len);
    return fiber_await_for(&r, timeout_ns);
}

static int send_some(int fd, const void *buf, size_t len, uint64_t timeout_ns)
{
    BEGIN(r, send, fd, buf, len);
    return fiber_await_for(&r, timeout_ns);
}

int fio_send_all(int fd, const void *buf, size_t len, uint64_t timeout_ns)
{
    const char *p = buf;
    while (len) {
        int n = send_some(fd, p, len, timeout_ns);
        if (n < 0)
            return n;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int fio_shutdown(int fd)
{
    BEGIN(r, shutdown, fd);
    return fiber_await(&r);
}

int fio_work(enum io_work_class class, int (*fn)(void *arg), void *arg)
{
    BEGIN(r, work, class, fn, arg);
    return fiber_await(&r);
}

int fio_command(const char *command, uint64_t timeout_ns)
{
    BEGIN(r, command, command, timeout_ns);
    return fiber_await(&r);
}

/* -- Whole files -- */

/* The directory that holds path's last name, into dir (of PATH_MAX): 0 or -ENAMETOOLONG. */
static int parent_of(char *dir, const char *path)
{
    size_t n = strlen(path);
    if (n >= PATH_MAX)
        return -ENAMETOOLONG;
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    memcpy(dir, n ? path : ".", n ? n : 1);
    dir[n ? n : 1] = '\0';
    return 0;
}

static int sync_parent(const char *path)
{
    char dir[PATH_MAX];
    int res = parent_of(dir, path);
    return res < 0 ? res : fio_sync_dir(dir);
}

/* Makes one directory if it is not there, and its name durable in any case: one that is there may
 * have been made by a run that crashed, or failed, before it got to sync it. */
static int ensure_dir(const char *path, mode_t mode)
{
    struct io_stat st;
    int res = fio_mkdir(path, mode);
    if (res == 0)
        return sync_parent(path);
    if (res != -EEXIST)
        return res;
    res = fio_stat(path, &st);
    if (res < 0)
        return res;
    if (!st.is_dir)
        return -ENOTDIR;
    res = sync_parent(path);
    /* Who may not even read the directory above did not make this one. */
    return res == -EACCES ? 0 : res;
}

int fio_mkdirs(const char *path, mode_t mode)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    int res = 0;
    if (n == 0)
        return -ENOENT;
    if (n >= sizeof part)
        return -ENAMETOOLONG;
    for (size_t i = 1; i <= n && res == 0; i++) {
        if ((path[i] != '/' && path[i] != '\0') || path[i - 1] == '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        res = ensure_dir(part, mode);
    }
    return res;
}

int fio_replace_file(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
    char tmp[PATH_MAX];
    size_t n = strlen(path);
    int fd, res;
    if (n + sizeof ".tmp" > sizeof tmp)
        return err_set(e, ERR_LIMIT, "%.80s...: the path is longer than %zu bytes", path,
                       sizeof tmp - sizeof ".tmp");
    memcpy(tmp, path, n);
    memcpy(tmp + n, ".tmp", sizeof ".tmp");

    fd = fio_open(tmp, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (fd < 0)
        return err_os(e, fd, "cannot create %s", tmp);
    res = fio_write_all(fd, data, len, 0);
    if (res == 0)
        res = fio_sync(fd, false);
    fio_close_always(fd);
    if (res < 0) {
        (void)err_os(e, res, "cannot write %s", tmp);
        goto failed;
    }
    res = fio_rename(tmp, path);
    if (res < 0) {
        (void)err_os(e, res, "cannot rename %s to %s", tmp, path);
        goto failed;
    }
    res = sync_parent(path);
    if (res < 0)
        return err_os(e, res, "%s is replaced, but cannot sync its directory", path);
    return 0;

failed:
    (void)fio_unlink_always(tmp);
    return -(int)e->code;
}

/* Reads fd to its end into a buffer that grows as needed; more than max bytes are -EFBIG. */
static int read_to_end(int fd, size_t guess, size_t max, char **out, size_t *len)
{
    size_t cap = guess < max ? guess : max;
    char *p = err_malloc(cap + 1);
    *out = p;
    *len = 0;
    for (;;) {
        /* The byte behind the capacity tells a file that ends there from one that goes on. */
        int n = fio_read(fd, p + *len, cap + 1 - *len, *len);
        if (n < 0)
            return n;
        *len += (size_t)n;
        if (n == 0)
            return 0;
        if (*len <= cap)
            continue;
        if (cap == max)
            return -EFBIG;
        cap = cap < max / 2 ? 2 * cap + 64 : max;
        if (cap > max)
            cap = max;
        *out = p = err_realloc(p, cap + 1);
    }
}

int fio_load_file(const char *path, size_t max, void **out, size_t *len, struct err *e)
{
    struct io_stat st = {0};
    char *p = NULL;
    int res, fd = fio_open(path, O_RDONLY, 0);
    *out = NULL;
    *len = 0;
    if (fd < 0)
        return err_os(e, fd, "cannot open %s", path);
    res = fio_fstat(fd, &st);
    if (res == 0 && st.size > max)
        res = -EFBIG;
    if (res == 0)
        res = read_to_end(fd, (size_t)st.size, max, &p, len);
    fio_close_always(fd);
    if (res < 0) {
        free(p);
        *len = 0;
        if (res == -EFBIG)
            return err_set(e, ERR_LIMIT, "%s is larger than the %zu bytes such a file may have",
                           path, max);
        return err_os(e, res, "cannot read %s", path);
    }
    p[*len] = '\0';
    *out = p;
    return 0;
}
