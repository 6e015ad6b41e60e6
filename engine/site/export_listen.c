/* Where clients come from: the sockets of an export. */
#include "export_conn.h"

#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void listener_init(struct listener *l, struct exports *x, const struct config_volume *config)
{
    const struct config_export *at = &config->export;
    l->exports = x;
    l->fd = -1;
    l->at = at;
    l->config = config;
    l->mode = (mode_t)config->export_mode;
    l->owner = &config->export_owner;
    if (at->tcp.port) {
        bool v6 = strchr(at->tcp.host, ':');
        (void)snprintf(l->name, sizeof l->name, v6 ? "tcp:[%s]:%u" : "tcp:%s:%u", at->tcp.host,
                       (unsigned)at->tcp.port);
    } else {
        (void)snprintf(l->name, sizeof l->name, "%s", at->path);
    }
}

bool listener_is(const struct listener *l, const struct config_export *at)
{
    return strcmp(l->at->path, at->path) == 0 && strcmp(l->at->tcp.host, at->tcp.host) == 0 &&
           l->at->tcp.port == at->tcp.port;
}

static int make_directory(const char *path)
{
    char dir[CONFIG_PATH_MAX];
    (void)snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    return *dir ? fio_mkdirs(dir, 0755) : 0;
}

/* One that is there already. */
static bool take_over(struct listener *l, const struct export_keeper *keeper)
{
    bool ours = false;
    l->fd = keeper ? keeper->take(keeper->arg, l->config, &ours) : -1;
    if (l->fd < 0)
        return false;
    l->kept = true;
    log_info("nbd %s: going on with the socket %s", l->name,
             ours ? "of the relaisd before this one" : "that the service manager gave");
    return true;
}

int listener_open(struct listener *l, const struct export_keeper *keeper, struct err *e)
{
    struct io_addr addr = {.owned = *l->owner->user || *l->owner->group,
                           .uid = *l->owner->user ? l->owner->uid : (uid_t)-1,
                           .gid = *l->owner->group ? l->owner->gid : (gid_t)-1,
                           .port = l->at->tcp.port};
    int res = 0;
    _Static_assert(sizeof addr.path == sizeof l->at->path, "a path fits");
    _Static_assert(sizeof addr.host == sizeof l->at->tcp.host, "a host fits");
    memcpy(addr.path, l->at->path, sizeof addr.path);
    memcpy(addr.host, l->at->tcp.host, sizeof addr.host);
    if (take_over(l, keeper))
        return 0;
    if (*addr.path)
        res = make_directory(addr.path);
    if (res == 0)
        res = fio_listen(&addr, l->mode);
    if (res == -EPERM && addr.owned)
        return err_set(e, ERR_OS,
                       "export %s: relaisd may not give it to %s%s%s; let it run as that user, be "
                       "in that group (SupplementaryGroups=), or have CAP_CHOWN "
                       "(AmbientCapabilities=)",
                       l->name, l->owner->user, *l->owner->group ? ":" : "", l->owner->group);
    if (res < 0)
        return err_os(e, res, "export %s", l->name);
    l->fd = res;
    l->kept = keeper && keeper->keep(keeper->arg, l->name, l->fd);
    return 0;
}

void listener_close(struct listener *l)
{
    if (l->fd < 0)
        return;
    fio_close_always(l->fd);
    l->fd = -1;
    if (*l->at->path && !l->kept)
        (void)fio_unlink_always(l->at->path);
}
