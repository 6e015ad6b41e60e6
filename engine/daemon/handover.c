#include "handover.h"

#include "log.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* Names in the store: ours begin so, which those of .socket units do not. */
#define PREFIX "nbd."

/* Kept open until all exports have theirs: an attempt to start that fails closes what it took, and
 * the next one must find it again, for the address is in use. */
struct given {
    int fd;
    bool taken;
    char name[256];
};

struct handover {
    struct given *its;
    size_t count;
};

void handover_init(struct handover **out)
{
    struct handover *h = err_calloc(1, sizeof *h);
    char **names = NULL;
    int n = sd_listen_fds_with_names(1, &names); /* forgets the environment: for us only */
    if (n > 0) {
        h->count = (size_t)n;
        h->its = err_calloc(h->count, sizeof *h->its);
    }
    for (size_t i = 0; i < h->count; i++) {
        h->its[i].fd = SD_LISTEN_FDS_START + (int)i;
        (void)snprintf(h->its[i].name, sizeof h->its[i].name, "%s", names[i]);
    }
    for (char **p = names; p && *p; p++)
        free(*p);
    free(names);
    *out = h;
}

/* ---- whose is it ---- */

/* The file must still be there: a socket that no path leads to is of no use. */
static bool is_unix(int fd, const char *path)
{
    struct stat st;
    return sd_is_socket_unix(fd, SOCK_STREAM, 1, path, 0) > 0 && lstat(path, &st) == 0 &&
           S_ISSOCK(st.st_mode);
}

static bool same_address(const struct sockaddr_storage *a, const struct addrinfo *b)
{
    struct sockaddr_in6 a6, b6;
    struct sockaddr_in a4, b4;
    if (a->ss_family != b->ai_family)
        return false;
    if (a->ss_family == AF_INET6) {
        memcpy(&a6, a, sizeof a6);
        memcpy(&b6, b->ai_addr, sizeof b6);
        return a6.sin6_port == b6.sin6_port &&
               memcmp(&a6.sin6_addr, &b6.sin6_addr, sizeof a6.sin6_addr) == 0;
    }
    memcpy(&a4, a, sizeof a4);
    memcpy(&b4, b->ai_addr, sizeof b4);
    return a4.sin_port == b4.sin_port && a4.sin_addr.s_addr == b4.sin_addr.s_addr;
}

static bool is_tcp(int fd, const struct config_addr *addr)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof own;
    char service[8];
    bool found = false;
    (void)snprintf(service, sizeof service, "%u", (unsigned)addr->port);
    if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0 ||
        getsockname(fd, (struct sockaddr *)&own, &len) < 0 ||
        (own.ss_family != AF_INET && own.ss_family != AF_INET6) ||
        getaddrinfo(*addr->host ? addr->host : NULL, service, &hints, &list) != 0)
        return false;
    for (const struct addrinfo *at = list; at && !found; at = at->ai_next)
        found = same_address(&own, at);
    freeaddrinfo(list);
    return found;
}

/* The mode and owner that the configuration has by now. */
static void restyle(const struct config_volume *v)
{
    const struct config_owner *o = &v->export_owner;
    if (*o->user || *o->group)
        if (lchown(v->export.path, *o->user ? o->uid : (uid_t)-1, *o->group ? o->gid : (gid_t)-1) <
            0)
            log_warn("nbd %s: its owner cannot be changed: %m", v->export.path);
    if (chmod(v->export.path, (mode_t)v->export_mode) < 0)
        log_warn("nbd %s: its mode cannot be changed: %m", v->export.path);
}

static int take(void *arg, const struct config_volume *at, bool *ours)
{
    struct handover *h = arg;
    for (size_t i = 0; i < h->count; i++) {
        struct given *g = &h->its[i];
        int fd = g->fd;
        if (!(at->export.tcp.port ? is_tcp(fd, &at->export.tcp) : is_unix(fd, at->export.path)))
            continue;
        g->taken = true;
        *ours = strncmp(g->name, PREFIX, strlen(PREFIX)) == 0;
        if (*ours && !at->export.tcp.port)
            restyle(at);
        /* Sockets of .socket units do not block; the loop wants to wait on them. */
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        return fcntl(fd, F_DUPFD_CLOEXEC, 0);
    }
    return -1;
}

static void name_of(char dst[256], const char *listener)
{
    (void)snprintf(dst, 256, PREFIX "%.200s", listener);
    for (char *p = dst; *p; p++)
        if (*p == ':' || *p <= ' ' || *p > '~')
            *p = '_';
}

static bool keep(void *arg, const char *listener, int fd)
{
    struct handover *h = arg;
    struct given g = {.fd = -1, .taken = true};
    char state[300];
    name_of(g.name, listener);
    (void)snprintf(state, sizeof state, "FDSTORE=1\nFDNAME=%s", g.name);
    if (sd_pid_notify_with_fds(0, 0, state, &fd, 1) <= 0)
        return false;
    g.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (g.fd >= 0) {
        h->its = err_realloc(h->its, (h->count + 1) * sizeof *h->its);
        h->its[h->count++] = g;
    }
    return true;
}

struct export_keeper handover_keeper(struct handover *h)
{
    return (struct export_keeper){h, take, keep};
}

void handover_rest(struct handover *h)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct given *g = &h->its[i];
        if (!g->taken)
            log_notice("socket %s, given by the service manager: no export is there; closed",
                       g->name);
        if (!g->taken && strncmp(g->name, PREFIX, strlen(PREFIX)) == 0)
            (void)sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", g->name);
        (void)close(g->fd);
    }
    h->count = 0;
}

void handover_free(struct handover *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->count; i++)
        (void)close(h->its[i].fd);
    free(h->its);
    free(h);
}
