#include "lossy_disk.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRAIN 512u

/* What a grain held before it was written; newest first, so that undoing in order is right whatever
 * is kept. */
struct lossy_undo {
    struct lossy_undo *next;
    int fd;
    uint64_t off, number;
    uint8_t was[GRAIN];
};

struct lossy_sync {
    struct lossy_disk *disk;
    struct io_req *orig, own;
    int fd;
    uint64_t number; /* writes before it */
};

static struct lossy_disk *disk_of;

static void remember(struct lossy_disk *d, int fd, uint64_t off, uint64_t len)
{
    uint64_t end = off + len;
    d->writes++;
    for (off = off / GRAIN * GRAIN; off < end; off += GRAIN) {
        struct lossy_undo *u = err_calloc(1, sizeof *u);
        u->fd = fd;
        u->off = off;
        u->number = d->writes;
        ASSERT(pread(fd, u->was, GRAIN, (off_t)off) >= 0);
        u->next = d->undo;
        d->undo = u;
    }
}

static void lossy_write(struct io *io, struct io_req *req, int fd, const void *buf, size_t len,
                        uint64_t off)
{
    if (disk_of->is_lossy(disk_of->arg, fd))
        remember(disk_of, fd, off, len);
    disk_of->real->write(io, req, fd, buf, len, off);
}

static void lossy_punch(struct io *io, struct io_req *req, int fd, uint64_t off, uint64_t len,
                        bool fast)
{
    if (disk_of->is_lossy(disk_of->arg, fd))
        remember(disk_of, fd, off, len);
    disk_of->real->punch(io, req, fd, off, len, fast);
}

/* What had been written when the sync began is safe. (A write that had not ended may not be, but
 * whoever relies on it has waited for it.) */
static void sync_done(struct io_req *req, int res)
{
    struct lossy_sync *s = req->owner;
    struct lossy_undo **link = &s->disk->undo;
    struct io_req *orig = s->orig;
    while (res >= 0 && *link) {
        struct lossy_undo *u = *link;
        if (u->fd != s->fd || u->number > s->number) {
            link = &u->next;
            continue;
        }
        *link = u->next;
        free(u);
    }
    free(s);
    orig->done(orig, res);
}

static void lossy_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    struct lossy_sync *s = err_calloc(1, sizeof *s);
    *s = (struct lossy_sync){.disk = disk_of, .orig = req, .fd = fd, .number = disk_of->writes};
    s->own.done = sync_done;
    s->own.owner = s;
    disk_of->real->sync(io, &s->own, fd, data_only);
}

/* A sync is not cut short: what is asked for is its own request, which the loop does not know. */
static void lossy_cancel(struct io *io, struct io_req *req)
{
    if (req->op != 0)
        disk_of->real->cancel(io, req);
}

void lossy_disk_begin(struct lossy_disk *d, struct io *io)
{
    ASSERT(!disk_of);
    disk_of = d;
    d->io = io;
    d->real = io->ops;
    d->ops = *io->ops;
    d->ops.write = lossy_write;
    d->ops.punch = lossy_punch;
    d->ops.sync = lossy_sync;
    d->ops.cancel = lossy_cancel;
    io->ops = &d->ops;
}

static void drop(struct lossy_disk *d)
{
    while (d->undo) {
        struct lossy_undo *u = d->undo;
        d->undo = u->next;
        free(u);
    }
}

void lossy_disk_cut_power(struct lossy_disk *d)
{
    for (struct lossy_undo *u = d->undo; u; u = u->next)
        if (rand_r(&d->seed) % 2) {
            d->lost++;
            ASSERT(pwrite(u->fd, u->was, GRAIN, (off_t)u->off) == GRAIN);
        }
    drop(d);
}

void lossy_disk_end(struct lossy_disk *d)
{
    ASSERT(disk_of == d);
    drop(d);
    d->io->ops = d->real;
    disk_of = NULL;
}
