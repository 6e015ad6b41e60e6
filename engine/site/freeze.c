#include "freeze.h"

#include "fio.h"
#include "log.h"
#include "paths.h"

#include <errno.h>

static void mark_path(char path[PATH_CAP], const char *state_dir)
{
    path_format(path, "%s/frozen", state_dir);
}

static int leave_mark(const char *state_dir, struct err *e)
{
    static const char text[] = "relaisd runs the thaw command when it starts and finds this\n";
    char path[PATH_CAP];
    mark_path(path, state_dir);
    return fio_replace_file(path, text, sizeof text - 1, 0600, e);
}

int freeze_begin(const struct config_group *g, const char *state_dir, bool *frozen, struct err *e)
{
    int res;
    if (g->freeze[0] == '\0')
        return 0;
    res = g->thaw[0] == '\0' ? 0 : leave_mark(state_dir, e);
    if (res < 0)
        return err_prefix(e, "group %s: not frozen", g->name);
    *frozen = true;
    res = fio_command(g->freeze, g->freeze_timeout_ns);
    if (res == 0)
        return 0;
    if (res == -ETIMEDOUT)
        return err_set(e, ERR_AGAIN,
                       "group %s: the freeze command took longer than freeze-timeout, "
                       "%.1f s: %s",
                       g->name, (double)g->freeze_timeout_ns / 1e9, g->freeze);
    if (res < 0)
        return err_os(e, res, "group %s: the freeze command: %s", g->name, g->freeze);
    return err_set(e, ERR_IO, "group %s: the freeze command ended with status %d: %s", g->name, res,
                   g->freeze);
}

struct thaw {
    const struct config_group *group;
    int res;
};

static void thaw_fiber(void *arg)
{
    struct thaw *t = arg;
    t->res = fio_command(t->group->thaw, t->group->freeze_timeout_ns);
}

void freeze_end(const struct config_group *g, const char *state_dir, bool *frozen)
{
    struct thaw t = {g, 0};
    char path[PATH_CAP];
    if (!*frozen)
        return;
    *frozen = false;
    if (g->thaw[0] == '\0')
        return;
    /* A fiber of its own: the one that calls may be cancelled, and the volumes must thaw anyway. */
    fiber_join(fiber_spawn(fiber_io(), "thaw", thaw_fiber, &t));
    if (t.res != 0) {
        log_error(
            "group %s: the thaw command %s (%d): its volumes may stand still; run it by hand: %s",
            g->name, t.res == -ETIMEDOUT ? "took too long" : "failed", t.res, g->thaw);
        return;
    }
    /* Not synced: should a power cut bring it back, one thaw too many does no harm. */
    mark_path(path, state_dir);
    (void)fio_unlink_always(path);
}

void freeze_recover(const struct config_group *g, const char *state_dir)
{
    char path[PATH_CAP];
    struct io_stat st;
    bool frozen = true;
    mark_path(path, state_dir);
    if (fio_stat(path, &st) < 0)
        return;
    log_warn("group %s: relaisd ended while it held the volumes frozen; thawing them", g->name);
    freeze_end(g, state_dir, &frozen);
}
