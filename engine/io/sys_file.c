#include "sys.h"

#include "err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ZEROES     65536
#define COPY_PIECE 65536

int sys_work(const uint64_t *args)
{
    int (*fn)(void *arg) = (int (*)(void *))(uintptr_t)args[0];
    return fn(sys_ptr(args[1]));
}

int sys_read(const uint64_t *args)
{
    ssize_t n;
    do {
        n = pread((int)args[0], sys_ptr(args[1]), (size_t)args[2], (off_t)args[3]);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

static int copy_by_hand(int from, off_t from_off, int to, off_t to_off, size_t len)
{
    char buf[COPY_PIECE];
    size_t done = 0;
    while (done < len) {
        size_t want = len - done < sizeof buf ? len - done : sizeof buf;
        ssize_t n = pread(from, buf, want, from_off + (off_t)done);
        if (n > 0)
            n = pwrite(to, buf, (size_t)n, to_off + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return done > 0 ? (int)done : -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int)done;
}

/* Devices, and files of two file systems of different kinds, cannot be copied by the kernel. */
int sys_copy(const uint64_t *args)
{
    off_t from_off = (off_t)args[1], to_off = (off_t)args[3];
    ssize_t n;
    do {
        n = copy_file_range((int)args[0], &from_off, (int)args[2], &to_off, (size_t)args[4], 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
        return copy_by_hand((int)args[0], (off_t)args[1], (int)args[2], (off_t)args[3],
                            (size_t)args[4]);
    return n < 0 ? -errno : (int)n;
}

int sys_truncate(const uint64_t *args)
{
    return ftruncate((int)args[0], (off_t)args[1]) < 0 ? -errno : 0;
}

static int facts_of(int fd, struct io_stat *out)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *out = (struct io_stat){
        .size = (uint64_t)st.st_size,
        .allocated = (uint64_t)st.st_blocks * 512,
        .mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
        .ctime_ns = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
        .inode = (uint64_t)st.st_ino,
        .is_dir = S_ISDIR(st.st_mode),
        .is_file = S_ISREG(st.st_mode),
        .is_block = S_ISBLK(st.st_mode),
    };
    if (out->is_block) {
        if (ioctl(fd, BLKGETSIZE64, &out->size) < 0)
            return -errno;
        out->allocated = out->size;
    }
    return 0;
}

int sys_fstat(const uint64_t *args)
{
    return facts_of((int)args[0], sys_ptr(args[1]));
}

int sys_stat(const uint64_t *args)
{
    const char *path = sys_ptr(args[0]);
    struct stat st;
    int res, fd;
    /* O_PATH needs no permission on the file itself, but a device must be opened for its size. */
    if (stat(path, &st) < 0)
        return -errno;
    fd = open(path, (S_ISBLK(st.st_mode) ? O_RDONLY | O_NONBLOCK : O_PATH) | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    res = facts_of(fd, sys_ptr(args[1]));
    (void)close(fd);
    return res;
}

static int write_zeroes(int fd, uint64_t off, uint64_t len)
{
    static const char zeroes[ZEROES];
    struct io_stat st;
    int res = facts_of(fd, &st);
    if (res < 0)
        return res;
    if (off >= st.size)
        return 0;
    if (len > st.size - off)
        len = st.size - off;
    while (len) {
        ssize_t n = pwrite(fd, zeroes, len < ZEROES ? (size_t)len : ZEROES, (off_t)off);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            off += (uint64_t)n;
            len -= (uint64_t)n;
        }
    }
    return 0;
}

/* fallocate knows block devices too (there it discards, or writes zeroes in the device). */
int sys_punch(const uint64_t *args)
{
    static const int ways[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    int fd = (int)args[0];
    if (args[2] == 0)
        return 0;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        int res;
        do {
            res = fallocate(fd, ways[i], (off_t)args[1], (off_t)args[2]);
        } while (res < 0 && errno == EINTR);
        if (res == 0)
            return 0;
        if (errno != EOPNOTSUPP && errno != ENODEV && errno != EINVAL)
            return -errno;
    }
    return args[3] ? -EOPNOTSUPP : write_zeroes(fd, args[1], args[2]);
}

int sys_run(const uint64_t *args)
{
    int fd = (int)args[0];
    off_t off = (off_t)args[1], data, hole;
    struct io_run *out = sys_ptr(args[2]);
    struct io_stat st;
    int res = facts_of(fd, &st);
    if (res < 0)
        return res;
    if (args[1] >= st.size)
        return -EINVAL;
    *out = (struct io_run){args[1], st.size, true};
    /* lseek moves the file's position, which nobody uses: reads and writes name their offset. */
    data = lseek(fd, off, SEEK_DATA);
    if (data < 0 && errno == ENXIO) {
        out->data = false; /* up to the end */
        return 0;
    }
    if (data < 0)
        return errno == EINVAL || errno == ESPIPE || errno == EOPNOTSUPP ? 0 : -errno;
    if (data > off) {
        out->data = false;
        out->end = (uint64_t)data < st.size ? (uint64_t)data : st.size;
        return 0;
    }
    hole = lseek(fd, off, SEEK_HOLE);
    if (hole > off && (uint64_t)hole < st.size)
        out->end = (uint64_t)hole;
    return 0;
}

int sys_lock(const uint64_t *args)
{
    return flock((int)args[0], LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

int sys_sync_dir(const uint64_t *args)
{
    int res, fd = open(sys_ptr(args[0]), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    res = fsync(fd) < 0 ? -errno : 0;
    (void)close(fd);
    return res;
}

static int by_bytes(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

int sys_list(const uint64_t *args)
{
    struct io_names *out = sys_ptr(args[1]);
    size_t cap = 0;
    int res;
    DIR *dir = opendir(sys_ptr(args[0]));
    out->names = NULL;
    out->count = 0;
    if (!dir)
        return -errno;
    for (;;) {
        const struct dirent *d;
        errno = 0;
        d = readdir(dir);
        if (!d)
            break;
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        if (out->count == cap) {
            cap = cap ? 2 * cap : 64;
            out->names = err_realloc(out->names, cap * sizeof(char *));
        }
        out->names[out->count++] = err_strdup(d->d_name);
    }
    res = -errno;
    (void)closedir(dir);
    if (res < 0)
        io_names_free(out);
    else if (out->count)
        qsort(out->names, out->count, sizeof(char *), by_bytes);
    return res;
}

int sys_space(const uint64_t *args)
{
    struct io_space *out = sys_ptr(args[1]);
    struct statvfs vfs;
    if (statvfs(sys_ptr(args[0]), &vfs) < 0)
        return -errno;
    out->total = (uint64_t)vfs.f_blocks * vfs.f_frsize;
    out->available = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return 0;
}
