#include "freeze.h"

#include "fio.h"
#include "log.h"

#include <errno.h>

int freeze_begin(const struct config_group *g, bool *frozen, struct err *e)
{
    int res;
    if (g->freeze[0] == '\0')
        return 0;
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

void freeze_end(const struct config_group *g, bool *frozen)
{
    struct thaw t = {g, 0};
    if (!*frozen)
        return;
    *frozen = false;
    if (g->thaw[0] == '\0')
        return;
    /* A fiber of its own: the one that calls may be cancelled, and the volumes must thaw anyway. */
    fiber_join(fiber_spawn(fiber_io(), "thaw", thaw_fiber, &t));
    if (t.res != 0)
        log_error(
            "group %s: the thaw command %s (%d): its volumes may stand still; run it by hand: %s",
            g->name, t.res == -ETIMEDOUT ? "took too long" : "failed", t.res, g->thaw);
}
