/* fio.h: the verbs of io.h in blocking form, for fibers. All of them (wait).
 *
 * Results are as in io.h: >= 0, or a negative errno; -ECANCELED when the fiber was cancelled. Forms
 * that end in _all loop over short transfers: they return 0, or a negative errno. */
#ifndef RELAIS_FIO_H
#define RELAIS_FIO_H

#include "err.h"
#include "fiber.h"

int fio_open(const char *path, int flags, mode_t mode);
/* Closes even in a cancelled fiber; ignores -1. */
void fio_close_always(int fd);
int fio_read(int fd, void *buf, size_t len, uint64_t off);
/* Reads exactly len bytes; -ENODATA when the file ends before. */
int fio_read_all(int fd, void *buf, size_t len, uint64_t off);
/* As fio_read_all, by a thread (io.h: read_as). */
int fio_read_all_as(enum io_work_class class, int fd, void *buf, size_t len, uint64_t off);
/* -ENODATA when the file that is copied from ends before. */
int fio_copy_all(int from, uint64_t from_off, int to, uint64_t to_off, size_t len);
int fio_write_all(int fd, const void *buf, size_t len, uint64_t off);
int fio_sync(int fd, bool data_only);
int fio_truncate(int fd, uint64_t size);
int fio_punch(int fd, uint64_t off, uint64_t len, bool fast);
int fio_run(int fd, uint64_t off, struct io_run *out);
int fio_fstat(int fd, struct io_stat *out);
int fio_lock(int fd);
int fio_stat(const char *path, struct io_stat *out);
int fio_rename(const char *from, const char *to);
int fio_unlink(const char *path);
int fio_unlink_always(const char *path);
int fio_mkdir(const char *path, mode_t mode);
/* mkdir -p, with all names durable, those too that are there already. 0 also when it exists. */
int fio_mkdirs(const char *path, mode_t mode);
int fio_sync_dir(const char *path);
int fio_list(const char *path, struct io_names *out);
int fio_space(const char *path, struct io_space *out);
/* Tries for FIO_LISTEN_NS while the address is in use: the kernel takes a ring apart, and lets go
 * of its listening sockets, some time after the process that was killed is gone. */
#define FIO_LISTEN_NS (3 * IO_S)
int fio_listen(const struct io_addr *addr, mode_t mode);
int fio_accept(int fd, struct io_addr *peer);
/* -ETIMEDOUT when there was no connection within timeout_ns. */
int fio_connect(const struct io_addr *addr, uint64_t timeout_ns);
/* -ETIMEDOUT when nothing came within timeout_ns. */
int fio_recv(int fd, void *buf, size_t len, uint64_t timeout_ns);
/* -ETIMEDOUT when nothing more was taken for timeout_ns. */
int fio_send_all(int fd, const void *buf, size_t len, uint64_t timeout_ns);
int fio_shutdown(int fd);
int fio_work(enum io_work_class class, int (*fn)(void *arg), void *arg);
int fio_command(const char *command, uint64_t timeout_ns);

/* Replaces the file at path as a whole: path.tmp is written, synced, renamed over it, and the
 * directory synced. After a crash the file is the old or the new one. Errors name the path. */
int fio_replace_file(const char *path, const void *data, size_t len, mode_t mode, struct err *e);
/* Reads a whole file of at most max bytes into *out (malloc'd, NUL behind it). Errors: NOENT,
 * LIMIT, IO. */
int fio_load_file(const char *path, size_t max, void **out, size_t *len, struct err *e);

#endif
