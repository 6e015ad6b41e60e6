#include "rest.h"

#include "fio.h"
#include "log.h"
#include "paths.h"
#include "record.h"
#include "units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "RELAISR1"

int rest_save(const char *path, int fd, struct err *e)
{
    struct bytes_out out = bytes_out(RECORD_MAX);
    struct io_stat st;
    /* Times too are lost in a power cut unless the whole inode is synced. */
    int res = fio_sync(fd, false);
    if (res == 0)
        res = fio_fstat(fd, &st);
    if (res < 0)
        return err_os(e, res, "%s: looking at the volume to be left", path);
    if (!st.is_file)
        return 0;
    bytes_put_u64(&out, st.size);
    bytes_put_u64(&out, (uint64_t)st.mtime_ns);
    bytes_put_u64(&out, (uint64_t)st.ctime_ns);
    bytes_put_u64(&out, st.inode);
    res = record_save(path, MAGIC, &out, e);
    bytes_free(&out);
    return res;
}

static bool differs(const struct io_stat *was, const struct io_stat *is, char why[ERR_TEXT_MAX])
{
    char a[UNITS_TEXT], b[UNITS_TEXT];
    why[0] = '\0';
    if (was->inode != is->inode)
        (void)snprintf(why, ERR_TEXT_MAX, "it is another file now");
    else if (was->size != is->size)
        (void)snprintf(why, ERR_TEXT_MAX, "it had %" PRIu64 " bytes and has %" PRIu64, was->size,
                       is->size);
    else if (was->mtime_ns != is->mtime_ns)
        (void)snprintf(why, ERR_TEXT_MAX, "it was last written %s and not %s",
                       units_time(a, is->mtime_ns), units_time(b, was->mtime_ns));
    else if (was->ctime_ns != is->ctime_ns) /* times can be set back; this one cannot */
        (void)snprintf(why, ERR_TEXT_MAX, "its inode was changed %s, last known %s",
                       units_time(a, is->ctime_ns), units_time(b, was->ctime_ns));
    return why[0] != '\0';
}

int rest_check(const char *path, int fd, bool *changed, char why[ERR_TEXT_MAX], struct err *e)
{
    struct io_stat was = {0}, is;
    struct bytes_in in;
    void *file;
    int res = record_load(path, MAGIC, &file, &in, e);
    *changed = false;
    if (res == -ERR_NOENT)
        return 0;
    if (res == -ERR_CORRUPT) {
        *changed = true;
        (void)snprintf(why, ERR_TEXT_MAX, "what was known of it is damaged: %.400s", e->text);
        return 0;
    }
    if (res < 0)
        return res;
    was.size = bytes_get_u64(&in);
    was.mtime_ns = (int64_t)bytes_get_u64(&in);
    was.ctime_ns = (int64_t)bytes_get_u64(&in);
    was.inode = bytes_get_u64(&in);
    free(file);
    res = fio_fstat(fd, &is);
    if (res < 0)
        return err_os(e, res, "%s: looking at the volume", path);
    *changed = differs(&was, &is, why);
    return 0;
}

int rest_forget(const char *path, struct err *e)
{
    char dir[PATH_CAP];
    int res = fio_unlink(path);
    if (res == -ENOENT)
        return 0;
    path_format(dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    if (res == 0)
        res = fio_sync_dir(dir);
    return res < 0 ? err_os(e, res, "%s: removing", path) : 0;
}
