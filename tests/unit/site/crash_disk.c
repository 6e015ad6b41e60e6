#include "crash_disk.h"

#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct crash_disk *disk_of;

/* Whether this step is not to happen; then it has been answered. */
static bool fails(struct io *io, struct io_req *req)
{
    struct crash_disk *d = disk_of;
    d->step++;
    if (d->at == 0 || d->step < d->at || (d->once && d->step > d->at))
        return false;
    d->hit = true;
    d->real->expect(io, req);
    d->real->post(io, req, -EIO);
    return true;
}

static void crash_open(struct io *io, struct io_req *req, const char *path, int flags, mode_t mode)
{
    if (!(flags & O_CREAT) || !fails(io, req))
        disk_of->real->open(io, req, path, flags, mode);
}

static void crash_write(struct io *io, struct io_req *req, int fd, const void *buf, size_t len,
                        uint64_t off)
{
    if (!fails(io, req))
        disk_of->real->write(io, req, fd, buf, len, off);
}

static void crash_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    if (!fails(io, req))
        disk_of->real->sync(io, req, fd, data_only);
}

static void crash_truncate(struct io *io, struct io_req *req, int fd, uint64_t size)
{
    if (!fails(io, req))
        disk_of->real->truncate(io, req, fd, size);
}

static struct crash_name *note(bool removed, const char *from, const char *path)
{
    struct crash_disk *d = disk_of;
    struct crash_name *n = &d->names[d->name_count];
    ASSERT(d->name_count < CRASH_NAMES);
    n->removed = removed;
    (void)snprintf(n->from, sizeof n->from, "%s", from);
    (void)snprintf(n->path, sizeof n->path, "%s", path);
    (void)snprintf(n->kept, sizeof n->kept, "%s/%u", d->side, d->name_count);
    (void)unlink(n->kept);
    n->replaced = link(path, n->kept) == 0;
    d->name_count++;
    return n;
}

static void crash_rename(struct io *io, struct io_req *req, const char *from, const char *to)
{
    if (fails(io, req))
        return;
    (void)note(false, from, to);
    disk_of->real->rename(io, req, from, to);
}

static void crash_unlink(struct io *io, struct io_req *req, const char *path)
{
    if (fails(io, req))
        return;
    (void)note(true, "", path);
    disk_of->real->unlink(io, req, path);
}

/* One directory is all that these tests use at a time. */
static void crash_sync_dir(struct io *io, struct io_req *req, const char *path)
{
    if (fails(io, req))
        return;
    disk_of->name_count = 0;
    disk_of->real->sync_dir(io, req, path);
}

void crash_disk_begin(struct crash_disk *d, struct io *io, uint64_t at, bool once)
{
    ASSERT(!disk_of);
    memset(d, 0, sizeof *d);
    disk_of = d;
    d->at = at;
    d->once = once;
    (void)snprintf(d->side, sizeof d->side, "/var/tmp/relais-crash-XXXXXX");
    ASSERT(mkdtemp(d->side) != NULL);
    d->io = io;
    d->real = io->ops;
    d->ops = *io->ops;
    d->ops.open = crash_open;
    d->ops.write = crash_write;
    d->ops.sync = crash_sync;
    d->ops.truncate = crash_truncate;
    d->ops.rename = crash_rename;
    d->ops.unlink = crash_unlink;
    d->ops.sync_dir = crash_sync_dir;
    io->ops = &d->ops;
}

void crash_disk_end(struct crash_disk *d)
{
    ASSERT(disk_of == d);
    d->io->ops = d->real;
    disk_of = NULL;
}

void crash_disk_forget(struct crash_disk *d, unsigned count)
{
    while (count-- > 0 && d->name_count > 0) {
        const struct crash_name *n = &d->names[--d->name_count];
        if (!n->removed)
            ASSERT(rename(n->path, n->from) == 0);
        if (n->replaced)
            ASSERT(link(n->kept, n->path) == 0);
    }
}

void crash_disk_free(struct crash_disk *d)
{
    char command[80];
    (void)snprintf(command, sizeof command, "rm -rf %s", d->side);
    ASSERT(system(command) == 0);
}
