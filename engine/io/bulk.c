#include "bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

int bulk_open(struct bulk *b, const char *path, int flags, mode_t mode)
{
    *b = BULK_CLOSED;
    b->cached = fio_open(path, flags, mode);
    if (b->cached < 0)
        return b->cached;
    b->direct = fio_open(path, (flags & ~(O_CREAT | O_TRUNC | O_EXCL)) | O_DIRECT, 0);
    if (b->direct == -ECANCELED) {
        bulk_close_always(b);
        return -ECANCELED;
    }
    if (b->direct < 0)
        b->direct = -1;
    return 0;
}

static bool aligned(const void *buf, uint64_t off)
{
    return ((uintptr_t)buf | off) % BULK_ALIGN == 0;
}

int bulk_write_all(struct bulk *b, const void *buf, size_t len, uint64_t off)
{
    size_t whole = len / BULK_ALIGN * BULK_ALIGN;
    int res;
    if (b->direct < 0 || whole == 0 || !aligned(buf, off))
        return fio_write_all(b->cached, buf, len, off);
    res = fio_write_all(b->direct, buf, whole, off);
    if (res == -EINVAL) /* this device wants larger blocks */
        return fio_write_all(b->cached, buf, len, off);
    if (res == 0 && whole < len)
        res = fio_write_all(b->cached, (const char *)buf + whole, len - whole, off + whole);
    return res;
}

int bulk_read_all(struct bulk *b, void *buf, size_t len, size_t cap, uint64_t off)
{
    size_t rounded = (len + BULK_ALIGN - 1) / BULK_ALIGN * BULK_ALIGN, done = 0;
    if (b->direct >= 0 && rounded <= cap && aligned(buf, off)) {
        /* A short read ends at the end of the file or, rarely, off alignment: the rest of either
         * goes the other way. */
        while (done < len && done % BULK_ALIGN == 0) {
            int n = fio_read(b->direct, (char *)buf + done, rounded - done, off + done);
            if (n == -EINVAL || n == 0)
                break;
            if (n < 0)
                return n;
            done += (size_t)n;
        }
    }
    return done >= len ? 0 : fio_read_all(b->cached, (char *)buf + done, len - done, off + done);
}

int bulk_sync(struct bulk *b)
{
    /* One inode: this flushes the cache's share, the block map, and the device. */
    return fio_sync(b->cached, true);
}

void bulk_close_always(struct bulk *b)
{
    fio_close_always(b->direct);
    fio_close_always(b->cached);
    *b = BULK_CLOSED;
}

void *bulk_alloc(size_t size)
{
    void *p = aligned_alloc(BULK_ALIGN, (size + BULK_ALIGN - 1) / BULK_ALIGN * BULK_ALIGN);
    ASSERT(p != NULL);
    return p;
}
