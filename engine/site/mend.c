#include "mend.h"

#include "bounds.h"
#include "fio.h"
#include "log.h"
#include "record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define MAGIC "RELAISU1"
#define PIECE (1 * MIB)

int mend_note(const char *path, const char *why, struct err *e)
{
    struct bytes_out out = bytes_out(RECORD_MAX);
    int res;
    bytes_put_str(&out, why);
    res = record_save(path, MAGIC, &out, e);
    bytes_free(&out);
    return res;
}

static int rewrite(int fd, uint8_t *buf, uint64_t off, uint64_t len)
{
    while (len > 0) {
        size_t n = len < PIECE ? (size_t)len : PIECE;
        int res = fio_read_all(fd, buf, n, off);
        /* What cannot be read is not in the cache: there is nothing to write. */
        if (res == 0)
            res = fio_write_all(fd, buf, n, off);
        else if (res == -EIO)
            res = 0;
        if (res < 0)
            return res;
        off += n;
        len -= n;
    }
    return 0;
}

/* Data is written again, holes are punched again: a zeroing may be what was lost. */
static int mend_range(int fd, uint8_t *buf, uint64_t off, uint64_t end)
{
    int res = 0;
    while (res == 0 && off < end) {
        struct io_run run = {0};
        res = fio_run(fd, off, &run);
        if (res < 0)
            break;
        if (run.end > end)
            run.end = end;
        if (run.data) {
            res = rewrite(fd, buf, off, run.end - off);
        } else {
            res = fio_punch(fd, off, run.end - off, false);
            res = res == -EOPNOTSUPP ? 0 : res;
        }
        off = run.end;
    }
    return res;
}

static int mend_hot(int fd, const struct actlog *log)
{
    uint8_t *buf = err_malloc(PIECE);
    uint32_t regions = actlog_regions(log);
    int res = 0;
    for (uint32_t r = actlog_next_hot(log, 0); res == 0 && r < regions;
         r = actlog_next_hot(log, r + 1)) {
        uint64_t end = (uint64_t)(r + 1) * REGION_SIZE;
        res = mend_range(fd, buf, (uint64_t)r * REGION_SIZE,
                         end < actlog_size(log) ? end : actlog_size(log));
    }
    free(buf);
    return res < 0 ? res : fio_sync(fd, true);
}

int mend_volume(const char *path, const char *volume, int fd, const struct actlog *log,
                bool *mended, struct err *e)
{
    struct io_stat st;
    int res = fio_stat(path, &st); /* its content is for people */
    *mended = false;
    if (res == -ENOENT)
        return 0;
    if (res == 0)
        res = mend_hot(fd, log);
    if (res == 0) /* it may come back in a power cut, and is heeded once more */
        res = fio_unlink(path);
    if (res < 0)
        return err_os(e, res,
                      "volume %s: a sync of it had failed, and writing again what that may have "
                      "lost fails too; check the disk, then restart relaisd",
                      volume);
    *mended = true;
    log_notice("volume %s: a sync of it had failed; %" PRIu32 " regions were written again", volume,
               actlog_hot_count(log));
    return 0;
}
