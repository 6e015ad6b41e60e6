/* io.h: the one seam to the outside world: disk, sockets, clock, randomness, threads, commands.
 *
 * Each verb takes a caller-owned request. Exactly one terminal completion follows, `req->done(req,
 * res)`, always from the loop and never from inside the call that submitted; res is >= 0, or a
 * negative errno. The request and every buffer and string it names stay the caller's and must live,
 * untouched, until then (a cancelled request's too). Submission order is not execution order: to
 * order two operations, submit the second from the completion of the first.
 *
 * All verbs are called on the loop's thread, except io_post. Two implementations: io_uring
 * (uring.h) and the deterministic simulator (tests/sim). Most code does not call these verbs but
 * their blocking forms for fibers, in fio.h. */
#ifndef RELAIS_IO_H
#define RELAIS_IO_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct io;

struct io_req {
    void (*done)(struct io_req *req, int res); /* set before submitting */
    void *owner;                               /* the caller's */
    /* The implementation's, from submission to completion. */
    struct io_req *next, *prev;
    int res;
    int op;
    uint64_t args[10];
};

/* File facts. size is that of the device for a block device. */
struct io_stat {
    uint64_t size;
    uint64_t allocated; /* bytes */
    int64_t mtime_ns, ctime_ns;
    uint64_t inode;
    bool is_dir, is_file, is_block;
};

/* A run of a file as SEEK_DATA/SEEK_HOLE tell it: [start, end), data or hole. */
struct io_run {
    uint64_t start, end;
    bool data;
};

/* Names in a directory, without "." and "..", sorted by bytes. Free with io_names_free. */
struct io_names {
    char **names;
    size_t count;
};
void io_names_free(struct io_names *names);

struct io_space {
    uint64_t total, available; /* bytes, available to an unprivileged writer */
};

/* An IPv4/IPv6 endpoint, or a unix socket (path not empty). */
struct io_addr {
    char host[256]; /* name or literal address; "" on listening means any */
    uint16_t port;
    char path[108];
    /* Listening on a path: whose the socket file is to be, (uid_t)-1 and (gid_t)-1 as it is. */
    bool owned;
    uid_t uid;
    gid_t gid;
};

/* What work on a thread waits for, and who waits for it. */
enum io_work_class {
    IO_WORK_CPU,     /* computes; somebody waits for it */
    IO_WORK_LOW,     /* computes; others go first, but a busy machine does not starve it */
    IO_WORK_IDLE,    /* computes; on a busy machine it hardly gets on: for what can wait */
    IO_WORK_BLOCKING /* waits for disks, names, commands */
};
#define IO_WORK_CLASSES 4u

struct io_ops {
    /* Files. Handles are small ints. A read or write may be short. */
    void (*open)(struct io *, struct io_req *, const char *path, int flags, mode_t mode);
    void (*close)(struct io *, struct io_req *, int fd);
    void (*read)(struct io *, struct io_req *, int fd, void *buf, size_t len, uint64_t off);
    void (*write)(struct io *, struct io_req *, int fd, const void *buf, size_t len, uint64_t off);
    /* As read, but by a thread of that class: copying out of the page cache is work, too. */
    void (*read_as)(struct io *, struct io_req *, enum io_work_class, int fd, void *buf, size_t len,
                    uint64_t off);
    /* Copies between two files, which may be short, past our memory where the kernel can: as a read
     * and a write of the same bytes, so a file that changes meanwhile gives a mixture. */
    void (*copy)(struct io *, struct io_req *, int from, uint64_t from_off, int to, uint64_t to_off,
                 size_t len);
    void (*sync)(struct io *, struct io_req *, int fd, bool data_only);
    void (*truncate)(struct io *, struct io_req *, int fd, uint64_t size);
    /* Makes [off, off+len) read as zeroes, releasing space where the file system can; where it
     * cannot, by writing them, or, fast, not at all: -ENOTSUP. */
    void (*punch)(struct io *, struct io_req *, int fd, uint64_t off, uint64_t len, bool fast);
    /* The run at `off`: up to the next change between data and hole, at most to the end of file.
     * Where the file system cannot tell, all is data. off < size. */
    void (*run)(struct io *, struct io_req *, int fd, uint64_t off, struct io_run *out);
    void (*fstat)(struct io *, struct io_req *, int fd, struct io_stat *out);
    /* Takes an exclusive lock that dies with the process: 0, or -EWOULDBLOCK at once. */
    void (*lock)(struct io *, struct io_req *, int fd);
    /* Names. A name change is durable only after sync_dir of its directory. */
    void (*stat)(struct io *, struct io_req *, const char *path, struct io_stat *out);
    void (*rename)(struct io *, struct io_req *, const char *from, const char *to);
    void (*unlink)(struct io *, struct io_req *, const char *path);
    void (*mkdir)(struct io *, struct io_req *, const char *path, mode_t mode);
    void (*sync_dir)(struct io *, struct io_req *, const char *path);
    void (*list)(struct io *, struct io_req *, const char *path, struct io_names *out);
    void (*space)(struct io *, struct io_req *, const char *path, struct io_space *out);
    /* Sockets. listen/connect/accept complete with a handle. A unix listener replaces a stale
     * socket file; mode applies to it. recv of 0 is the end. recv and send may be short. */
    void (*listen)(struct io *, struct io_req *, const struct io_addr *addr, mode_t mode);
    void (*accept)(struct io *, struct io_req *, int fd, struct io_addr *peer /* or NULL */);
    void (*connect)(struct io *, struct io_req *, const struct io_addr *addr);
    void (*recv)(struct io *, struct io_req *, int fd, void *buf, size_t len);
    void (*send)(struct io *, struct io_req *, int fd, const void *buf, size_t len);
    void (*shutdown)(struct io *, struct io_req *, int fd); /* both ways; pending recv/send end */
    /* Bytes that were sent on a socket and that the peer's kernel has not acknowledged yet; answers
     * at once. A kernel takes bytes for a dead path too: only what is acknowledged is a sign of
     * life. */
    uint64_t (*unacked)(struct io *, int fd);
    /* Time: completes with 0 after ns nanoseconds of monotonic time. */
    void (*timer)(struct io *, struct io_req *, uint64_t ns);
    /* Asks that a request in flight end soon; it completes with its result or -ECANCELED. A no-op
     * when it has completed. CPU work and commands that run are not interrupted. */
    void (*cancel)(struct io *, struct io_req *);
    /* Runs fn(arg) on a worker thread, then completes with its result. fn may touch nothing but
     * arg. */
    void (*work)(struct io *, struct io_req *, enum io_work_class, int (*fn)(void *arg), void *arg);
    /* Runs /bin/sh -c command with stdin and stdout from/to /dev/null and stderr inherited;
     * completes with its exit status (128+signal when killed), -ETIMEDOUT after it was killed for
     * taking longer than timeout_ns. */
    void (*command)(struct io *, struct io_req *, const char *command, uint64_t timeout_ns);
    /* Completes with 0 in a later turn of the loop. */
    void (*defer)(struct io *, struct io_req *);
    /* For other threads (librados callbacks): completes req with res. Announce with expect first,
     * on the loop's thread, so that the loop knows something is pending. */
    void (*expect)(struct io *, struct io_req *);
    void (*post)(struct io *, struct io_req *, int res);
    /* Clocks (ns) and randomness (cryptographic in the real one; seeded in the simulator). */
    uint64_t (*now)(struct io *); /* monotonic */
    int64_t (*wall)(struct io *); /* UTC since 1970; may jump */
    void (*random)(struct io *, void *buf, size_t len);
    /* Number of threads that each class of computing work spreads over, >= 1. */
    unsigned (*workers)(struct io *);
};

struct io {
    const struct io_ops *ops;
    void *fibers; /* fiber.c's scheduler state, created on first use */
};

static inline uint64_t io_now(struct io *io)
{
    return io->ops->now(io);
}
static inline int64_t io_wall(struct io *io)
{
    return io->ops->wall(io);
}
static inline void io_random(struct io *io, void *buf, size_t len)
{
    io->ops->random(io, buf, len);
}
static inline unsigned io_workers(struct io *io)
{
    return io->ops->workers(io);
}

#define IO_MS UINT64_C(1000000)
#define IO_S  UINT64_C(1000000000)

#endif
