/* towns_reader.c: somebody in Douai who restores volumes of others all the time, with the engine's
 * reader, over the same bad links onto the same bad disks. What a restore says is there must be
 * byte for byte a cut; and what the reader calls forged or damaged is a failure of the run, for
 * nobody forges here. */
#include "../../engine/reader/share.h" /* the site has one of that name, too */
#include "err.h"
#include "memory.h"
#include "reader.h"
#include "towns.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TARGET "/srv/restored"

struct restorer {
    struct place *place;
    struct proc *proc;
    struct tls *tls;
    const struct place *site;
    struct place_group *group;
    unsigned volume;
};

/* rotted: what the hub has of the group is spoilt, and it is right to say so. CONFLICT: compaction
 * replaced deltas that were being read; the next attempt reads the history again. */
static bool excusable(enum err_code code, bool rotted)
{
    return (rotted && (code == ERR_CORRUPT || code == ERR_AUTH)) || code == ERR_NET ||
           code == ERR_IO || code == ERR_AGAIN || code == ERR_CONFLICT || code == ERR_SPACE ||
           code == ERR_CANCELED || code == ERR_OS || code == ERR_NOENT;
}

static bool is_rotted(const struct place *site, const struct place_group *g)
{
    return site->t->rots.count > 0 && g == &site->t->sites[0].groups[0];
}

int towns_connect(struct towns *t, struct tls *tls, struct caller **out, struct err *e)
{
    const struct place *hub = &t->hubs[t->hub_count > 1 ? rng_below(&t->w->rng, t->hub_count) : 0];
    struct io_addr addr = {.port = 7440};
    struct link *l;
    int fd;
    (void)snprintf(addr.host, sizeof addr.host, "%s", hub->name);
    fd = fio_connect(&addr, 10 * IO_S);
    if (fd < 0)
        return err_os(e, fd, "connecting to %s", hub->name);
    if (link_tls_connect(&l, fd, tls, "arras", 10 * IO_S, e) || caller_new(out, l, e))
        return -(int)e->code;
    return 0;
}

/* All RPs up to the newest that is there now are open to the later reader when that has succeeded.
 */
static int grant(struct place *site, struct place_group *g, struct caller *c, struct err *e)
{
    struct towns *t = site->t;
    struct share_granted done;
    struct reader *reader;
    const struct reader_point *points;
    size_t count;
    int rc = reader_open(&reader, c, site->name, g->name, key_public(site->sign), NULL, NULL, e);
    if (rc)
        return rc;
    points = reader_points(reader, &count);
    rc = count > 0 ? share_grant(reader, &t->restore, 1, key_public(t->newcomer), &done, e) : 0;
    if (rc == 0 && count > 0 && !node_is_dead(fiber_io())) {
        if (done.closed > 0)
            world_fail(t->w, "%s/%s: %" PRIu64 " data keys are open to nobody", site->name, g->name,
                       done.closed);
        g->granted = points[count - 1].rp;
        t->w->did[DEED_GRANTED]++;
    }
    reader_close(reader);
    return rc;
}

void towns_grant(struct place *site, struct place_group *g, struct tls *tls)
{
    struct world *w = site->t->w;
    struct err e = ERR_INIT;
    struct caller *c;
    int rc = towns_connect(site->t, tls, &c, &e);
    if (rc == 0) {
        rc = grant(site, g, c, &e);
        caller_free(c);
    }
    if (rc == 0)
        return;
    world_trace(w, "%s: granting %s: %.120s", site->name, g->name, e.text);
    if (!excusable(e.code, is_rotted(site, g)))
        world_fail(w, "%s: granting %s to a reader: %s: %s", site->name, g->name, err_name(e.code),
                   e.text);
}

/* Any complete RP, the newest one more often than not. */
static int choose(struct restorer *r, struct reader *reader, uint64_t *rp, struct err *e)
{
    struct rng *rng = &r->place->t->w->rng;
    size_t count, from;
    const struct reader_point *points = reader_points(reader, &count);
    if (count == 0 || rng_chance(rng, 600000))
        return reader_find(reader, "latest", 0, rp, e);
    from = (size_t)rng_below(rng, count);
    for (size_t i = 0; i < count; i++)
        if (points[(from + i) % count].complete) {
            *rp = points[(from + i) % count].rp;
            return 0;
        }
    return err_set(e, ERR_NOENT, "no complete RP");
}

static void compare(struct restorer *r, uint64_t rp)
{
    struct world *w = r->place->t->w;
    unsigned was;
    size_t len;
    uint8_t *content = disk_peek(node_disk(r->place->node), TARGET, &len);
    if (!content) {
        world_fail(w, "restoring %s/%s@%" PRIu64 " succeeded, but there is no target",
                   r->site->name, r->group->name, rp);
        return;
    }
    was = memory_enter(MEMORY_NOBODY);
    check_restored(r->group->check, r->volume, content, len, rp);
    (void)memory_enter(was);
    free(content);
    r->place->restored++;
}

static int restore(struct restorer *r, struct caller *c, struct err *e)
{
    struct towns *t = r->place->t;
    struct key_secret *keys[] = {t->restore};
    struct restore_options options = {.keys = keys, .key_count = 1, .force = true};
    struct restore_progress done = {0};
    struct reader *reader;
    uint64_t rp;
    bool late;
    int rc = reader_open(&reader, c, r->site->name, r->group->name, key_public(r->site->sign), NULL,
                         NULL, e);
    if (rc)
        return rc;
    rc = choose(r, reader, &rp, e);
    late = rc == 0 && rp <= r->group->granted && rng_chance(&t->w->rng, 500000);
    if (late)
        keys[0] = t->newcomer;
    if (rc == 0)
        rc = reader_restore(reader, rp, r->group->volumes[r->volume].name, TARGET, &options, &done,
                            e);
    reader_close(reader);
    if (rc == 0 && !node_is_dead(fiber_io())) {
        t->w->did[DEED_LATE_READER] += late;
        compare(r, rp);
    }
    return rc;
}

static void attempt(struct restorer *r)
{
    struct towns *t = r->place->t;
    struct rng *rng = &t->w->rng;
    struct caller *c;
    struct err e = ERR_INIT;
    int rc;
    r->site = &t->sites[rng_below(rng, TOWNS_SITES)];
    r->group = &t->sites[r->site - t->sites].groups[rng_below(rng, r->site->group_count)];
    r->volume = (unsigned)rng_below(rng, r->group->volume_count);
    rc = towns_connect(t, r->tls, &c, &e);
    if (rc == 0) {
        rc = restore(r, c, &e);
        caller_free(c);
    }
    if (rc == 0)
        return;
    world_trace(t->w, "douai: restoring %s/%s: %.120s", r->site->name, r->group->name, e.text);
    if (!excusable(e.code, is_rotted(r->site, r->group)))
        world_fail(t->w, "douai: restoring %s/%s: %s: %s", r->site->name, r->group->name,
                   err_name(e.code), e.text);
}

static void restore_always(void *arg)
{
    struct restorer *r = arg;
    while (!fiber_cancelled() && !node_is_dead(fiber_io()) && !r->place->t->w->failed) {
        attempt(r);
        (void)fiber_sleep(rng_skewed(&r->place->t->w->rng, IO_S, 30 * IO_S));
    }
}

void towns_reader_main(void *arg, struct proc *p)
{
    struct place *place = arg;
    struct restorer r = {.place = place, .proc = p};
    struct tls_peer hub = {.name = "arras", .key = *key_public(place->t->hubs[0].link)};
    struct fiber *f;
    struct err e = ERR_INIT;
    ASSERT(tls_new(&r.tls, place->link, &hub, 1, &e) == 0);
    f = fiber_spawn(fiber_io(), "restorer", restore_always, &r);
    proc_wait(p, UINT64_MAX / 2);
    fiber_cancel(f);
    fiber_join(f);
    tls_free(r.tls);
}
