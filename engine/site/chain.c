#include "chain.h"

#include "fio.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

uint64_t chain_tip_rp(const struct chain *c)
{
    if (c->count > 0 && c->deltas[c->count - 1].rp > c->committed.rp)
        return c->deltas[c->count - 1].rp;
    return c->committed.rp;
}

void chain_tip(const struct chain *c, struct digest *link, int64_t *cut_time)
{
    const struct chain_delta *d = chain_find(c, chain_tip_rp(c));
    *link = d ? d->link : c->committed.link;
    *cut_time = d ? d->cut_time : c->committed.cut_time;
}

const struct chain_delta *chain_find(const struct chain *c, uint64_t rp)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (c->deltas[mid].rp < rp)
            low = mid + 1;
        else
            high = mid;
    }
    return low < c->count && c->deltas[low].rp == rp ? &c->deltas[low] : NULL;
}

bool chain_link(const struct chain *c, uint64_t rp, struct digest *out)
{
    const struct chain_delta *d = chain_find(c, rp);
    if (d)
        *out = d->link;
    else if (c->count > 0 && c->deltas[0].rp_first == rp + 1)
        *out = c->deltas[0].parent;
    else if (rp == c->committed.rp && rp > 0)
        *out = c->committed.link;
    else
        return false;
    return true;
}

uint64_t chain_stands_for(const struct chain *c, uint64_t rp)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->deltas[i].rp_first <= rp && rp <= c->deltas[i].rp)
            return c->deltas[i].rp;
    return rp;
}

void chain_lag(const struct chain *c, uint64_t *bytes, uint64_t *rps)
{
    *bytes = 0;
    *rps = 0;
    for (size_t i = c->count; i > 0 && c->deltas[i - 1].rp > c->committed.rp; i--) {
        *bytes += c->deltas[i - 1].file_len;
        *rps += c->deltas[i - 1].rp - c->deltas[i - 1].rp_first + 1;
    }
}

uint64_t chain_complete_rp(const struct chain *c)
{
    for (size_t i = c->count; i > 0; i--)
        if (c->deltas[i - 1].flags & MANIFEST_COMPLETE)
            return c->deltas[i - 1].rp;
    return c->committed.complete_rp;
}

uint64_t chain_to_ship(struct chain *c, uint64_t next)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct chain_delta *d = &c->deltas[i];
        if (d->rp_first < next)
            continue;
        if (d->rp < c->merging.first || d->rp_first > c->merging.last)
            return d->rp;
        c->merging.give_way = true;
        return 0;
    }
    return 0;
}

void chain_sending(struct chain *c, uint64_t rp)
{
    if (rp > c->sent)
        c->sent = rp;
}

static void push(struct chain *c, const struct chain_delta *d)
{
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->deltas = err_realloc(c->deltas, c->cap * sizeof *c->deltas);
    }
    c->deltas[c->count++] = *d;
}

void chain_append(struct chain *c, const struct chain_delta *d, uint64_t reserved)
{
    struct digest tip;
    int64_t cut;
    chain_tip(c, &tip, &cut);
    ASSERT(d->rp_first == chain_tip_rp(c) + 1 && digest_equal(&d->parent, &tip));
    push(c, d);
    c->sealed_bytes += d->file_len;
    spool_settle(&c->share, reserved, spool_cost(d->file_len));
    fiber_wake_all(&c->changed);
}

int chain_save_committed(struct chain *c, const struct chain_committed *n, struct err *e)
{
    struct bytes_out out = bytes_out(SLOT_BODY_MAX);
    char path[PATH_CAP];
    int res;
    path_format(path, "%s/committed", c->state_dir);
    bytes_put_u64(&out, n->rp);
    bytes_put(&out, n->link.b, DIGEST_LEN);
    bytes_put_u64(&out, (uint64_t)n->cut_time);
    bytes_put_u64(&out, n->complete_rp);
    bytes_put_u64(&out, (uint64_t)n->complete_cut);
    res = slots_save(&c->record, path, CHAIN_MAGIC, &out, e);
    bytes_free(&out);
    return res;
}

/* Takes deltas that nobody needs any more off the list, then off the disk. A crash in between
 * leaves a file that recovery finds older than the committed RP. */
static int release(struct chain *c, struct err *e)
{
    while (c->count > 0 && c->deltas[0].rp <= c->committed.rp && c->deltas[0].rp <= c->clean) {
        struct chain_delta d = c->deltas[0];
        char path[PATH_CAP];
        int res;
        memmove(c->deltas, c->deltas + 1, --c->count * sizeof *c->deltas);
        path_delta(path, c->dir, d.rp);
        res = fio_unlink_always(path);
        spool_gone(&c->share, spool_cost(d.file_len));
        if (res < 0 && res != -ENOENT)
            return err_os(e, res, "%s: removing a committed delta", path);
    }
    return 0;
}

int chain_set_clean(struct chain *c, uint64_t rp, struct err *e)
{
    int res;
    if (fiber_lock(&c->writing) < 0)
        return err_os(e, -ECANCELED, "group %s", c->group);
    c->clean = rp;
    res = release(c, e);
    fiber_unlock(&c->writing);
    return res;
}

int chain_commit(struct chain *c, uint64_t rp, struct err *e)
{
    struct chain_committed n;
    uint64_t shipped = 0;
    int res;
    if (fiber_lock(&c->writing) < 0)
        return err_os(e, -ECANCELED, "group %s", c->group);
    n = c->committed;
    for (size_t i = 0; i < c->count && c->deltas[i].rp <= rp; i++) {
        const struct chain_delta *d = &c->deltas[i];
        if (d->rp <= c->committed.rp)
            continue;
        shipped += d->file_len;
        n.rp = d->rp;
        n.link = d->link;
        n.cut_time = d->cut_time;
        if (d->flags & MANIFEST_COMPLETE) {
            n.complete_rp = d->rp;
            n.complete_cut = d->cut_time;
        }
    }
    res = n.rp > c->committed.rp ? chain_save_committed(c, &n, e) : 0;
    if (res == 0) {
        c->committed = n;
        c->shipped_bytes += shipped;
        fiber_wake_all(&c->changed);
        res = release(c, e);
    }
    fiber_unlock(&c->writing);
    return res;
}

/* Removes the deltas from number `from` on, newest first: whatever a crash leaves is contiguous. */
static int drop_from(struct chain *c, size_t from, struct err *e)
{
    while (c->count > from) {
        struct chain_delta d = c->deltas[--c->count];
        char path[PATH_CAP];
        int res;
        path_delta(path, c->dir, d.rp);
        res = fio_unlink_always(path);
        spool_gone(&c->share, spool_cost(d.file_len));
        if (res < 0 && res != -ENOENT)
            return err_os(e, res, "%s: removing", path);
    }
    return 0;
}

/* Before RPs are given anew: a name that one of them gets must not be removed later. And only when
 * what they were merged into surely is there. */
static int drop_strays(struct chain *c, struct err *e)
{
    int res = c->stray_count > 0 ? fio_sync_dir(c->dir) : 0;
    if (res < 0)
        return err_os(e, res, "%s: syncing", c->dir);
    while (c->stray_count > 0) {
        struct chain_stray s = c->strays[--c->stray_count];
        char path[PATH_CAP];
        path_delta(path, c->dir, s.rp);
        (void)fio_unlink_always(path);
        spool_gone(&c->share, s.cost);
    }
    return 0;
}

int chain_adopt(struct chain *c, const struct chain_committed *head, struct err *e)
{
    int res;
    if (fiber_lock(&c->writing) < 0)
        return err_os(e, -ECANCELED, "group %s", c->group);
    res = drop_strays(c, e);
    if (res == 0)
        res = drop_from(c, 0, e);
    if (res == 0)
        res = chain_save_committed(c, head, e);
    if (res == 0) {
        c->committed = *head;
        c->clean = head->rp;
        fiber_wake_all(&c->changed);
    }
    fiber_unlock(&c->writing);
    return res;
}

int chain_drop(struct chain *c, uint64_t rp, const char *why, struct err *e)
{
    const struct chain_delta *d;
    int res;
    if (fiber_lock(&c->writing) < 0)
        return err_os(e, -ECANCELED, "group %s", c->group);
    res = drop_strays(c, e);
    d = res == 0 ? chain_find(c, rp) : NULL;
    if (d)
        res = drop_from(c, (size_t)(d - c->deltas) + 1, e);
    if (d && res == 0) {
        spool_gone(&c->share, spool_cost(c->deltas[--c->count].file_len));
        res = chain_aside(c, rp, why, e);
        fiber_wake_all(&c->changed);
    }
    fiber_unlock(&c->writing);
    return res;
}

void chain_close(struct chain *c)
{
    free(c->deltas);
    free(c->strays);
    c->strays = NULL;
    c->stray_count = 0;
    c->deltas = NULL;
    c->count = c->cap = 0;
}
