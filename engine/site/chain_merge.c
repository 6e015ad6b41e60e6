/* chain_merge.c: puts a merged delta in the place of those it merged.
 *
 *   before           5 6 7 8      and 8.merged, durable
 *   rename           5 6 7 M      M, of RP 5 to 8, has the name of RP 8: its file is gone in the
 * same step sync directory remove 5 6 7           M
 *
 * A delta that begins at or before the RPs of others is what recovery keeps (chain_recover.c). So
 * the others may be there or not, once M surely is; and M may be there or not as long as they are.
 */
#include "chain.h"

#include "fio.h"
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Number of the first delta that m takes the place of, and how many; count 0: they are not there
 * any more as they were, or not to be touched. */
static size_t find_merged(const struct chain *c, const struct chain_delta *m, size_t *count)
{
    size_t first = 0, last;
    *count = 0;
    while (first < c->count && c->deltas[first].rp_first < m->rp_first)
        first++;
    for (last = first; last < c->count && c->deltas[last].rp < m->rp;)
        last++;
    if (last == c->count || c->deltas[last].rp != m->rp ||
        !digest_equal(&c->deltas[last].link, &m->link) ||
        c->deltas[first].rp_first != m->rp_first ||
        !digest_equal(&c->deltas[first].parent, &m->parent))
        return 0;
    if (m->rp_first <= c->committed.rp || m->rp_first <= c->sent || m->rp > c->clean)
        return 0;
    *count = last - first + 1;
    return first;
}

static int remove_strays(struct chain *c, struct err *e)
{
    int res = c->stray_count > 0 ? fio_sync_dir(c->dir) : 0;
    if (res < 0)
        return err_os(e, res, "%s: syncing", c->dir);
    while (c->stray_count > 0) {
        struct chain_stray s = c->strays[c->stray_count - 1];
        char path[PATH_CAP];
        path_delta(path, c->dir, s.rp);
        res = fio_unlink(path);
        if (res < 0 && res != -ENOENT)
            return err_os(e, res, "%s: removing a delta that was merged", path);
        c->stray_count--;
        spool_gone(&c->share, s.cost);
    }
    return 0;
}

static void take_place(struct chain *c, size_t first, size_t count, const struct chain_delta *m,
                       uint64_t reserved)
{
    uint64_t last_cost = spool_cost(c->deltas[first + count - 1].file_len);
    c->strays = err_realloc(c->strays, (c->stray_count + count) * sizeof *c->strays);
    for (size_t i = first; i + 1 < first + count; i++)
        c->strays[c->stray_count++] =
            (struct chain_stray){c->deltas[i].rp, spool_cost(c->deltas[i].file_len)};
    c->deltas[first] = *m;
    c->count -= count - 1;
    memmove(c->deltas + first + 1, c->deltas + first + count,
            (c->count - first - 1) * sizeof *c->deltas);
    spool_settle(&c->share, reserved, spool_cost(m->file_len));
    spool_gone(&c->share, last_cost);
}

static int replace(struct chain *c, const struct chain_delta *m, const char *from,
                   uint64_t reserved, struct err *e)
{
    char path[PATH_CAP];
    size_t count, first = find_merged(c, m, &count);
    int res;
    if (count == 0)
        return err_set(e, ERR_AGAIN,
                       "group %s: RP %" PRIu64 " to %" PRIu64 " changed while they were merged",
                       c->group, m->rp_first, m->rp);
    path_delta(path, c->dir, m->rp);
    res = fio_rename(from, path);
    if (res < 0)
        return err_os(e, res, "%s: renaming to %s", from, path);
    take_place(c, first, count, m, reserved);
    fiber_wake_all(&c->changed);
    if (remove_strays(c, e) < 0) {
        if (e->code != ERR_CANCELED)
            log_warn("group %s: %s; tried again later", c->group, e->text);
        *e = (struct err)ERR_INIT;
    }
    return 0;
}

int chain_replace(struct chain *c, const struct chain_delta *m, const char *from, uint64_t reserved,
                  struct err *e)
{
    int res;
    if (fiber_lock(&c->writing) < 0)
        return err_os(e, -ECANCELED, "group %s", c->group);
    res = replace(c, m, from, reserved, e);
    fiber_unlock(&c->writing);
    return res;
}

int chain_sweep(struct chain *c, struct err *e)
{
    int res;
    if (c->stray_count == 0)
        return 0;
    if (fiber_lock(&c->writing) < 0)
        return err_os(e, -ECANCELED, "group %s", c->group);
    res = remove_strays(c, e);
    fiber_unlock(&c->writing);
    return res;
}
