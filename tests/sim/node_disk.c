/* node_disk.c: the file verbs of a node's io: latency and faults over disk.h. */
#include "err.h"
#include "node_op.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static void disk_after(struct op *op, uint64_t lo, uint64_t hi)
{
    struct world *w = op->io->w;
    uint64_t ns = rng_skewed(&w->rng, lo, hi);
    if (world_fault(w, FAULT_SLOW_DISK))
        ns += rng_between(&w->rng, 500 * IO_MS, 5 * IO_S);
    op_after(op, ns);
}

static struct op *file_op(struct io *io, struct io_req *req, enum verb verb, int fd,
                          int (*effect)(struct op *))
{
    struct op *op = op_new(io, req, verb, effect);
    struct handle *h;
    int res;
    if (!op)
        return NULL;
    op->fd = fd;
    h = op_handle(op, HANDLE_FILE, &res);
    if (!h) {
        op_finish(op, res);
        return NULL;
    }
    /* As in the kernel: a close meanwhile does not pull the file from under the request. */
    op->inode = h->inode;
    op->flags = h->flags;
    disk_hold(op->inode);
    return op;
}

static bool misaligned(const struct op *op, const void *p)
{
    return (op->flags & O_DIRECT) &&
           ((uintptr_t)p % DISK_SECTOR || op->len % DISK_SECTOR || op->off % DISK_SECTOR);
}

/* ---- content ---- */

static size_t shorten(struct op *op, enum fault f)
{
    /* Whole sectors where the request is of sectors: on a volume nothing smaller is torn. */
    size_t unit = op->len % DISK_SECTOR || op->off % DISK_SECTOR ? 1 : DISK_SECTOR;
    if (op->len <= unit || !world_fault(op->io->w, f))
        return op->len;
    return (1 + (size_t)rng_below(&op->io->w->rng, op->len / unit - 1 + (op->len % unit > 0))) *
           unit;
}

static int do_read(struct op *op)
{
    if ((op->flags & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    if (misaligned(op, op->buf))
        return -EINVAL;
    if (world_fault(op->io->w, FAULT_READ_ERROR))
        return -EIO;
    return inode_read(op->inode, op->buf, shorten(op, FAULT_SHORT_READ), op->off);
}

static void verb_read(struct io *io, struct io_req *req, int fd, void *buf, size_t len,
                      uint64_t off)
{
    struct op *op = file_op(io, req, VERB_READ, fd, do_read);
    if (!op)
        return;
    op->buf = buf;
    op->len = len;
    op->off = off;
    disk_after(op, 20000, 4 * IO_MS);
}

static void verb_read_as(struct io *io, struct io_req *req, enum io_work_class class, int fd,
                         void *buf, size_t len, uint64_t off)
{
    (void)class; /* no one else wants the simulated processors */
    verb_read(io, req, fd, buf, len, off);
}

static int do_write(struct op *op)
{
    if ((op->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    if (misaligned(op, op->data))
        return -EINVAL;
    if (world_fault(op->io->w, FAULT_WRITE_ERROR))
        return -EIO;
    return inode_write(op->inode, op->data, shorten(op, FAULT_SHORT_WRITE), op->off);
}

static void verb_write(struct io *io, struct io_req *req, int fd, const void *buf, size_t len,
                       uint64_t off)
{
    struct op *op = file_op(io, req, VERB_WRITE, fd, do_write);
    if (!op)
        return;
    op->data = buf;
    op->len = len;
    op->off = off;
    disk_after(op, 10000, 4 * IO_MS);
}

/* As a read and a write at the moment when it is done. */
static int do_copy(struct op *op)
{
    int i = (int)op->mark - NODE_FIRST, n;
    uint8_t *buf;
    if (i < 0 || i >= NODE_HANDLES || op->io->handles[i].kind != HANDLE_FILE)
        return -EBADF;
    if (world_fault(op->io->w, FAULT_READ_ERROR) || world_fault(op->io->w, FAULT_WRITE_ERROR))
        return -EIO;
    buf = err_malloc(op->len);
    n = inode_read(op->io->handles[i].inode, buf, shorten(op, FAULT_SHORT_READ), op->tries);
    if (n > 0)
        n = inode_write(op->inode, buf, (size_t)n, op->off);
    free(buf);
    return n;
}

static void verb_copy(struct io *io, struct io_req *req, int from, uint64_t from_off, int to,
                      uint64_t to_off, size_t len)
{
    struct op *op = file_op(io, req, VERB_WRITE, to, do_copy);
    if (!op)
        return;
    op->mark = (uint64_t)from;
    op->tries = from_off;
    op->off = to_off;
    op->len = len;
    disk_after(op, 20000, 6 * IO_MS);
}

static int do_sync(struct op *op)
{
    if (world_fault(op->io->w, FAULT_SYNC_ERROR)) {
        inode_sync_failed(op->inode, op->mark);
        return -EIO;
    }
    inode_sync(op->inode, op->mark);
    return 0;
}

static void verb_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    struct op *op = file_op(io, req, VERB_SYNC, fd, do_sync);
    (void)data_only; /* a size that changed is needed to read the data: both forms keep it */
    if (!op)
        return;
    op->mark = inode_mark(op->inode);
    disk_after(op, 200000, 50 * IO_MS);
}

static int do_truncate(struct op *op)
{
    if ((op->flags & O_ACCMODE) == O_RDONLY)
        return -EINVAL;
    if (world_fault(op->io->w, FAULT_WRITE_ERROR))
        return -EIO;
    return inode_truncate(op->inode, op->off);
}

static void verb_truncate(struct io *io, struct io_req *req, int fd, uint64_t size)
{
    struct op *op = file_op(io, req, VERB_TRUNCATE, fd, do_truncate);
    if (!op)
        return;
    op->off = size;
    disk_after(op, 10000, IO_MS);
}

static int do_punch(struct op *op)
{
    if ((op->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    if (world_fault(op->io->w, FAULT_WRITE_ERROR))
        return -EIO;
    return inode_punch(op->inode, op->off, op->mark);
}

static void verb_punch(struct io *io, struct io_req *req, int fd, uint64_t off, uint64_t len,
                       bool fast)
{
    struct op *op = file_op(io, req, VERB_PUNCH, fd, do_punch);
    (void)fast; /* it always is */
    if (!op)
        return;
    op->off = off;
    op->mark = len;
    disk_after(op, 10000, IO_MS);
}

static int do_run(struct op *op)
{
    return inode_run(op->inode, op->off, op->out);
}

static void verb_run(struct io *io, struct io_req *req, int fd, uint64_t off, struct io_run *out)
{
    struct op *op = file_op(io, req, VERB_RUN, fd, do_run);
    if (!op)
        return;
    op->off = off;
    op->out = out;
    disk_after(op, 2000, 50000);
}

static int do_fstat(struct op *op)
{
    inode_stat(op->inode, op->out);
    return 0;
}

static void verb_fstat(struct io *io, struct io_req *req, int fd, struct io_stat *out)
{
    struct op *op = file_op(io, req, VERB_FSTAT, fd, do_fstat);
    if (!op)
        return;
    op->out = out;
    disk_after(op, 2000, 20000);
}

static int do_lock(struct op *op)
{
    int res;
    struct handle *h = op_handle(op, HANDLE_FILE, &res);
    return h ? inode_lock(h->inode, h) : res;
}

static void verb_lock(struct io *io, struct io_req *req, int fd)
{
    struct op *op = file_op(io, req, VERB_LOCK, fd, do_lock);
    if (op)
        disk_after(op, 2000, 20000);
}

/* ---- handles ---- */

static int do_open(struct op *op)
{
    struct inode *i;
    int fd, rc;
    /* EIO on opening is for files that exist: creating one draws it as a name change. */
    if (world_fault(op->io->w, FAULT_NAME_ERROR))
        return -EIO;
    rc = disk_open(op->io->node->disk, op->path, op->flags, &i);
    if (rc < 0)
        return rc;
    fd = node_handle_new(op->io, HANDLE_FILE);
    if (fd < 0) {
        disk_release(i);
        return fd;
    }
    op->io->handles[fd - NODE_FIRST].inode = i;
    op->io->handles[fd - NODE_FIRST].flags = op->flags;
    return fd;
}

static void verb_open(struct io *io, struct io_req *req, const char *path, int flags, mode_t mode)
{
    struct op *op = op_new(io, req, VERB_OPEN, do_open);
    (void)mode;
    if (!op)
        return;
    op->path = path;
    op->flags = flags;
    disk_after(op, 5000, IO_MS);
}

static int do_close(struct op *op)
{
    int i = op->fd - NODE_FIRST;
    if (i < 0 || i >= NODE_HANDLES || op->io->handles[i].kind == HANDLE_NONE)
        return -EBADF;
    node_handle_close(op->io, op->fd);
    return 0;
}

static void verb_close(struct io *io, struct io_req *req, int fd)
{
    struct op *op = op_new(io, req, VERB_CLOSE, do_close);
    if (!op)
        return;
    op->fd = fd;
    op_after(op, 1000);
}

/* ---- names ---- */

static struct op *name_op(struct io *io, struct io_req *req, enum verb verb, const char *path,
                          int (*effect)(struct op *))
{
    struct op *op = op_new(io, req, verb, effect);
    if (op) {
        op->path = path;
        op->mark = disk_name_mark(op->io->node->disk);
    }
    return op;
}

static int do_stat(struct op *op)
{
    return disk_stat(op->io->node->disk, op->path, op->out);
}

static void verb_stat(struct io *io, struct io_req *req, const char *path, struct io_stat *out)
{
    struct op *op = name_op(io, req, VERB_STAT, path, do_stat);
    if (!op)
        return;
    op->out = out;
    disk_after(op, 5000, IO_MS);
}

static int do_rename(struct op *op)
{
    if (world_fault(op->io->w, FAULT_NAME_ERROR))
        return -EIO;
    return disk_rename(op->io->node->disk, op->path, op->path2);
}

static void verb_rename(struct io *io, struct io_req *req, const char *from, const char *to)
{
    struct op *op = name_op(io, req, VERB_RENAME, from, do_rename);
    if (!op)
        return;
    op->path2 = to;
    disk_after(op, 10000, 2 * IO_MS);
}

static int do_unlink(struct op *op)
{
    if (world_fault(op->io->w, FAULT_NAME_ERROR))
        return -EIO;
    return disk_unlink(op->io->node->disk, op->path);
}

static void verb_unlink(struct io *io, struct io_req *req, const char *path)
{
    struct op *op = name_op(io, req, VERB_UNLINK, path, do_unlink);
    if (op)
        disk_after(op, 10000, 2 * IO_MS);
}

static int do_mkdir(struct op *op)
{
    if (world_fault(op->io->w, FAULT_NAME_ERROR))
        return -EIO;
    return disk_mkdir(op->io->node->disk, op->path);
}

static void verb_mkdir(struct io *io, struct io_req *req, const char *path, mode_t mode)
{
    struct op *op = name_op(io, req, VERB_MKDIR, path, do_mkdir);
    (void)mode;
    if (op)
        disk_after(op, 10000, 2 * IO_MS);
}

static int do_sync_dir(struct op *op)
{
    if (world_fault(op->io->w, FAULT_NAME_ERROR))
        return -EIO;
    return disk_sync_dir(op->io->node->disk, op->path, op->mark);
}

static void verb_sync_dir(struct io *io, struct io_req *req, const char *path)
{
    struct op *op = name_op(io, req, VERB_SYNC_DIR, path, do_sync_dir);
    if (op)
        disk_after(op, 200000, 30 * IO_MS);
}

static int do_list(struct op *op)
{
    return disk_list(op->io->node->disk, op->path, op->out);
}

static void verb_list(struct io *io, struct io_req *req, const char *path, struct io_names *out)
{
    struct op *op = name_op(io, req, VERB_LIST, path, do_list);
    if (!op)
        return;
    op->out = out;
    disk_after(op, 10000, 2 * IO_MS);
}

static int do_space(struct op *op)
{
    disk_space(op->io->node->disk, op->out);
    return 0;
}

static void verb_space(struct io *io, struct io_req *req, const char *path, struct io_space *out)
{
    struct op *op = name_op(io, req, VERB_SPACE, path, do_space);
    if (!op)
        return;
    op->out = out;
    disk_after(op, 5000, 50000);
}

void node_disk_verbs(struct io_ops *ops)
{
    ops->open = verb_open;
    ops->close = verb_close;
    ops->read = verb_read;
    ops->read_as = verb_read_as;
    ops->copy = verb_copy;
    ops->write = verb_write;
    ops->sync = verb_sync;
    ops->truncate = verb_truncate;
    ops->punch = verb_punch;
    ops->run = verb_run;
    ops->fstat = verb_fstat;
    ops->lock = verb_lock;
    ops->stat = verb_stat;
    ops->rename = verb_rename;
    ops->unlink = verb_unlink;
    ops->mkdir = verb_mkdir;
    ops->sync_dir = verb_sync_dir;
    ops->list = verb_list;
    ops->space = verb_space;
}

void node_disk_power_cut(struct node_io *io)
{
    for (struct op *op = io->ops; op; op = op->next) {
        bool changes = op->verb == VERB_WRITE || op->verb == VERB_TRUNCATE ||
                       op->verb == VERB_PUNCH || op->verb == VERB_RENAME ||
                       op->verb == VERB_UNLINK || op->verb == VERB_MKDIR || op->verb == VERB_SYNC ||
                       op->verb == VERB_SYNC_DIR;
        if (changes && !op->ready && rng_chance(&io->w->rng, 500000))
            (void)op->effect(op);
    }
}
