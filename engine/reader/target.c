#include "target.h"

#include "bounds.h"
#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZERO_STEP GIB /* punched at a time: a stop is heeded in between */

static void parent_of(char dst[TARGET_PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        (void)snprintf(dst, TARGET_PATH_MAX, ".");
    else
        (void)snprintf(dst, TARGET_PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

int target_check(struct target *t, const char *path, bool force, struct err *e)
{
    struct io_stat st = {0};
    char dir[TARGET_PATH_MAX];
    memset(t, 0, sizeof *t);
    t->fd = -1;
    t->bulk = BULK_CLOSED;
    t->nowhere = !path;
    if (!path)
        return 0;
    if (!path[0] || strlen(path) >= TARGET_PATH_MAX)
        return err_set(e, ERR_INPUT, "a target is a path of 1 to %u bytes", TARGET_PATH_MAX - 1);
    (void)snprintf(t->path, sizeof t->path, "%s", path);
    (void)snprintf(t->part, sizeof t->part, "%s.relais-part", path);
    int res = fio_stat(path, &st);
    if (res == 0) {
        if (!st.is_file && !st.is_block)
            return err_set(e, ERR_INPUT, "%s is neither a file nor a block device", path);
        if (!force)
            return err_set(e, ERR_EXISTS,
                           "%s exists already: nothing was changed; --force overwrites it", path);
        t->device = st.is_block;
        return 0;
    }
    if (res != -ENOENT)
        return err_os(e, res, "%s", path);
    parent_of(dir, path);
    res = fio_stat(dir, &st);
    if (res < 0)
        return err_os(e, res, "%s: its directory %s", path, dir);
    return 0;
}

/* ---- open ---- */

static int open_device(struct target *t, struct err *e)
{
    struct io_stat st = {0};
    t->fd = fio_open(t->path, O_RDWR | O_EXCL | O_CLOEXEC, 0);
    if (t->fd < 0)
        return err_os(e, t->fd, "%s: opening (is it mounted?)", t->path);
    int res = fio_fstat(t->fd, &st);
    if (res < 0)
        return err_os(e, res, "%s", t->path);
    if (st.size < t->size)
        return err_set(e, ERR_SPACE,
                       "%s has %llu bytes, the volume %llu: use a device that is large enough",
                       t->path, (unsigned long long)st.size, (unsigned long long)t->size);
    return 0;
}

static int open_part(struct target *t, bool resume, struct err *e)
{
    struct io_stat st = {0};
    t->fd = fio_open(t->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (t->fd < 0)
        return err_os(e, t->fd, "%s: creating", t->part);
    int res = fio_lock(t->fd);
    if (res < 0) {
        fio_close_always(t->fd);
        t->fd = -1;
        return err_set(e, ERR_AGAIN, "%s: another restore is writing it", t->part);
    }
    res = fio_fstat(t->fd, &st);
    t->resumed = resume && res == 0 && st.size == t->size;
    if (res == 0 && !t->resumed)
        res = fio_truncate(t->fd, 0);
    if (res == 0 && !t->resumed)
        res = fio_truncate(t->fd, t->size);
    return res < 0 ? err_os(e, res, "%s: making it %llu bytes large", t->part,
                            (unsigned long long)t->size)
                   : 0;
}

int target_open(struct target *t, uint64_t size, bool resume, struct err *e)
{
    t->size = size;
    if (t->nowhere)
        return 0;
    return t->device ? open_device(t, e) : open_part(t, resume, e);
}

static const char *name_of(const struct target *t)
{
    return t->device ? t->path : t->part;
}

/* ---- reading and writing ---- */

int target_write(struct target *t, const void *buf, size_t len, uint64_t off, struct err *e)
{
    if (t->nowhere || off >= t->size)
        return 0;
    if (len > t->size - off)
        len = (size_t)(t->size - off);
    int res = fio_write_all(t->fd, buf, len, off);
    if (res < 0)
        return err_os(e, res, "%s: writing %zu bytes at %llu", name_of(t), len,
                      (unsigned long long)off);
    return 0;
}

int target_read(struct target *t, void *buf, size_t len, uint64_t off, struct err *e)
{
    if (off >= t->size)
        return 0;
    if (len > t->size - off)
        len = (size_t)(t->size - off);
    size_t room = (len + BULK_ALIGN - 1) / BULK_ALIGN * BULK_ALIGN;
    int res = t->bulk.cached >= 0 ? bulk_read_all(&t->bulk, buf, len, room, off)
                                  : fio_read_all(t->fd, buf, len, off);
    if (res < 0)
        return err_os(e, res, "%s: reading %zu bytes at %llu", name_of(t), len,
                      (unsigned long long)off);
    return 0;
}

static int write_zeroes(struct target *t, uint64_t off, uint64_t len, struct err *e)
{
    void *zeroes = err_calloc(1, EXTENT_MAX);
    int rc = 0;
    for (uint64_t at = 0; at < len && rc == 0; at += EXTENT_MAX) {
        uint64_t n = len - at < EXTENT_MAX ? len - at : EXTENT_MAX;
        rc = target_write(t, zeroes, n, off + at, e);
    }
    free(zeroes);
    return rc;
}

static int zero_data(struct target *t, uint64_t off, uint64_t len, struct err *e)
{
    for (uint64_t at = 0; at < len; at += ZERO_STEP) {
        uint64_t n = len - at < ZERO_STEP ? len - at : ZERO_STEP;
        int res = fio_punch(t->fd, off + at, n, false);
        if (res == -ECANCELED)
            return err_os(e, res, "%s", name_of(t));
        /* Not every device can, or takes odd lengths: then zeroes are written. */
        int rc = res < 0 ? write_zeroes(t, off + at, n, e) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The run at off, cut at end. A device has no holes, whatever it says. */
static int run_at(struct target *t, uint64_t off, uint64_t end, struct io_run *run, struct err *e)
{
    *run = (struct io_run){off, end, true};
    int res = t->device ? 0 : fio_run(t->fd, off, run);
    if (res < 0)
        return err_os(e, res, "%s: looking for data at %llu", name_of(t), (unsigned long long)off);
    if (run->end > end)
        run->end = end;
    return 0;
}

int target_zero(struct target *t, uint64_t off, uint64_t len, struct err *e)
{
    uint64_t end = off + len < t->size ? off + len : t->size;
    int rc = 0;
    while (off < end && rc == 0) {
        struct io_run run;
        rc = run_at(t, off, end, &run, e);
        if (rc == 0 && run.data)
            rc = zero_data(t, off, run.end - off, e);
        off = run.end;
    }
    return rc;
}

/* Up to where [off, end) is zeroes. */
static int scan_zeroes(struct target *t, uint64_t off, uint64_t end, uint64_t *zero_to,
                       struct err *e)
{
    uint8_t *buf = bulk_alloc(EXTENT_MAX);
    int rc = 0;
    while (off < end) {
        size_t n = end - off < EXTENT_MAX ? (size_t)(end - off) : EXTENT_MAX;
        rc = target_read(t, buf, n, off, e);
        if (rc < 0)
            break;
        if (!bytes_zero(buf, n)) {
            for (size_t i = 0; buf[i] == 0; i++)
                off++;
            break;
        }
        off += n;
    }
    *zero_to = off;
    free(buf);
    return rc;
}

int target_is_zero(struct target *t, uint64_t off, uint64_t len, uint64_t *zero_to, struct err *e)
{
    uint64_t end = off + len < t->size ? off + len : t->size;
    while (off < end) {
        struct io_run run;
        uint64_t to;
        int rc = run_at(t, off, end, &run, e);
        to = run.end;
        if (rc == 0 && run.data)
            rc = scan_zeroes(t, off, run.end, &to, e);
        if (rc < 0)
            return rc;
        off = to;
        if (to < run.end)
            break;
    }
    *zero_to = off < end ? off : end;
    return 0;
}

/* ---- the end ---- */

int target_sync(struct target *t, struct err *e)
{
    int res = t->nowhere ? 0 : fio_sync(t->fd, false);
    return res < 0 ? err_os(e, res, "%s: making it durable", name_of(t)) : 0;
}

int target_read_from_disk(struct target *t, struct err *e)
{
    int res = bulk_open(&t->bulk, name_of(t), O_RDONLY | O_CLOEXEC, 0);
    return res < 0 ? err_os(e, res, "%s: opening to read it back", name_of(t)) : 0;
}

int target_finish(struct target *t, struct err *e)
{
    char dir[TARGET_PATH_MAX];
    if (t->nowhere || t->device)
        return 0;
    int res = fio_rename(t->part, t->path);
    if (res < 0)
        return err_os(e, res, "%s: renaming to %s", t->part, t->path);
    parent_of(dir, t->path);
    res = fio_sync_dir(dir);
    return res < 0 ? err_os(e, res, "%s: making its name durable", t->path) : 0;
}

void target_close(struct target *t)
{
    bulk_close_always(&t->bulk);
    fio_close_always(t->fd);
    t->fd = -1;
}
