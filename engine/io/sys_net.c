#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG       128
#define KEEPALIVE_S   30
#define KEEPALIVE_GAP 10
#define KEEPALIVE_N   6
/* Bytes that the peer's kernel does not acknowledge for so long mean that the path is dead. Not
 * less than LINK_SEND_NS: the time that a living peer takes nothing, because it waits for memory,
 * counts here too, and only pings tell such a one from a dead path, within seconds. */
#define UNACKED_MS (30 * 1000)
/* Unsent bytes that the kernel holds: enough to keep it busy, little enough that a ping, or a more
 * urgent group, does not queue for seconds behind them on a thin line, and that bytes it takes for
 * a dead path do not pass for a sign of life for long. */
#define UNSENT_BYTES (256 * 1024)
/* Taken up only by what is on its way. */
#define SEND_BUFFER (16 << 20)

static void set_option(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

/* What a send buffer grows to by itself: the last of three numbers. */
static int autotuned(void)
{
    char text[64] = "";
    int fd = open("/proc/sys/net/ipv4/tcp_wmem", O_RDONLY | O_CLOEXEC), least, first, most = 0;
    if (fd < 0)
        return INT_MAX;
    if (read(fd, text, sizeof text - 1) <= 0 ||
        sscanf(text, "%d %d %d", &least, &first, &most) != 3)
        most = INT_MAX;
    (void)close(fd);
    return most;
}

/* A line that loses packets keeps two round trips' worth of bytes unacknowledged: at 1 Gbit/s and
 * 80 ms that is 20 MB, and the kernel stops at 4 MiB by itself. Asking for more turns its own
 * tuning off, so another socket tells first what asking brings. */
static void widen(int fd)
{
    int got = 0, probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof got;
    if (probe < 0)
        return;
    set_option(probe, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
    if (getsockopt(probe, SOL_SOCKET, SO_SNDBUF, &got, &len) == 0 && got > autotuned())
        set_option(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
    (void)close(probe);
}

void sys_tune(int fd)
{
    /* All of these are wishes: on a unix socket they do not exist, and bbr is a module. */
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_GAP);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_N);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS);
    set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
    widen(fd);
}

uint64_t sys_unacked(int fd)
{
    int n = 0;
    return ioctl(fd, SIOCOUTQ, &n) == 0 && n > 0 ? (uint64_t)n : 0;
}

void sys_peer(int fd, struct io_addr *peer)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof ss;
    char service[8];
    memset(peer, 0, sizeof *peer);
    if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0)
        return; /* it has gone already; the first read will tell */
    if (ss.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &ss, sizeof in6);
        /* A dual-stack listener shows IPv4 peers as ::ffff:a.b.c.d: say what people would. */
        if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
            struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = in6.sin6_port};
            memcpy(&in.sin_addr, &in6.sin6_addr.s6_addr[12], 4);
            memcpy(&ss, &in, sizeof in);
            len = sizeof in;
        }
        peer->port = ntohs(in6.sin6_port);
    } else if (ss.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &ss, sizeof in);
        peer->port = ntohs(in.sin_port);
    } else {
        return; /* a unix peer has no name of its own */
    }
    (void)getnameinfo((struct sockaddr *)&ss, len, peer->host, sizeof peer->host, service,
                      sizeof service, NI_NUMERICHOST | NI_NUMERICSERV);
}

int sys_unix_addr(struct sockaddr_un *out, const char *path)
{
    size_t n = strlen(path);
    if (n >= sizeof out->sun_path)
        return -ENAMETOOLONG;
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    memcpy(out->sun_path, path, n + 1);
    return 0;
}

static int resolve(const struct io_addr *addr, int flags, struct addrinfo **out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    char service[8];
    *out = NULL;
    (void)snprintf(service, sizeof service, "%u", (unsigned)addr->port);
    return getaddrinfo(addr->host[0] ? addr->host : NULL, service, &hints, out);
}

int sys_resolve(const uint64_t *args)
{
    switch (resolve(sys_ptr(args[0]), AI_ADDRCONFIG, sys_ptr(args[1]))) {
    case 0:
        return 0;
    case EAI_SYSTEM:
        return errno ? -errno : -EIO;
    case EAI_MEMORY:
        return -ENOMEM;
    default: /* no such name, or nobody who would know: either way there is no route to it */
        return -EHOSTUNREACH;
    }
}

int sys_resolve_literal(const uint64_t *args)
{
    return resolve(sys_ptr(args[0]), AI_NUMERICHOST, sys_ptr(args[1])) == 0 ? 0 : -EAGAIN;
}

/* A socket file that nobody listens on any more, as a killed daemon leaves it, is removed. */
static int clear_stale(const struct sockaddr_un *un)
{
    struct stat st;
    int fd, res;
    if (lstat(un->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    res = connect(fd, (const struct sockaddr *)un, sizeof *un) < 0 ? -errno : 0;
    (void)close(fd);
    if (res != -ECONNREFUSED)
        return -EADDRINUSE; /* accepted, or would be when its queue has room */
    return unlink(un->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int listen_unix(const struct io_addr *addr, mode_t mode)
{
    struct sockaddr_un un;
    int fd, res = sys_unix_addr(&un, addr->path);
    if (res == 0)
        res = clear_stale(&un);
    if (res < 0)
        return res;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* The file is born with the socket's mode less the umask, so it is never wider than asked. */
    if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&un, sizeof un) < 0) {
        res = -errno;
        (void)close(fd);
        return res;
    }
    /* Nobody connects before it listens. The mode comes after the owner, so that the old group
     * never has what is meant for the new one. */
    if ((addr->owned && lchown(addr->path, addr->uid, addr->gid) < 0) ||
        chmod(addr->path, mode) < 0 || listen(fd, BACKLOG) < 0) {
        res = -errno;
        (void)unlink(addr->path);
        (void)close(fd);
        return res;
    }
    return fd;
}

static int listen_at(const struct addrinfo *at)
{
    int res, fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, at->ai_protocol);
    if (fd < 0)
        return -errno;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (at->ai_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    sys_tune(fd); /* accepted connections inherit what must be known before the handshake */
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        res = -errno;
        (void)close(fd);
        return res;
    }
    return fd;
}

int sys_listen(const uint64_t *args)
{
    const struct io_addr *addr = sys_ptr(args[0]);
    struct addrinfo *list = NULL;
    int res = -EADDRNOTAVAIL;
    if (addr->path[0])
        return listen_unix(addr, (mode_t)args[1]);
    if (resolve(addr, AI_PASSIVE, &list) != 0)
        return -EADDRNOTAVAIL;
    /* "Any" is both families on one IPv6 socket; on a machine without IPv6 the IPv4 one is left. */
    for (int pass = 0; pass < 2 && res < 0; pass++) {
        for (const struct addrinfo *at = list; at && res < 0; at = at->ai_next)
            if ((at->ai_family == AF_INET6) == (pass == 0))
                res = listen_at(at);
    }
    freeaddrinfo(list);
    return res;
}
