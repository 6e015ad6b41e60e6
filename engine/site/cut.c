#include "cut.h"

#include "fio.h"
#include "freeze.h"
#include "log.h"
#include "rank.h"
#include "walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define SPACE_POLL (2 * IO_S)
#define PACE_STEP  (200 * IO_MS)

/* One cut under way. Its slot fibers take regions in volume order under `taking`, work on them in
 * parallel, and append them to the delta in the same order, by turns. */
struct cut {
    const struct cut_spec *spec;
    struct cut_progress *progress;
    struct cut_result *result;
    struct stretch_spec stretch_spec;
    struct walk walk;
    struct rank rank;
    struct fiber_mutex taking;
    bool all_taken, cutting; /* cutting: past the instant */
    unsigned reading;        /* regions taken and not read yet */
    struct fiber_cond read;  /* woken when the last read is done, and on failure */
    uint64_t next_turn, turn;
    struct fiber_cond turns;
    /* Deltas: the one that fills, and the one that only waits for its last regions. */
    struct ending *open, *closing;
    struct fiber_cond ended; /* closing's fiber was started */
    bool failed, early;      /* early: ends in good order, but not at the end */
    struct err err;
};

/* A stretch and who still owes it a region. */
struct ending {
    struct cut *cut;
    struct stretch *stretch;
    unsigned owed;
    bool closed, complete, started;
    struct fiber *fiber;
};

struct taken {
    struct walk_region at;
    struct ending *into;
    struct slot *slot;
    uint64_t turn;
};

static void cut_fail(struct cut *c, const struct err *e)
{
    if (!c->failed) {
        c->failed = true;
        c->err = *e;
    }
    fiber_wake_all(&c->turns);
    fiber_wake_all(&c->read);
    fiber_wake_all(&c->ended);
}

/* Ends the cut early but well: what is sealed stays sealed. */
static void cut_end_early(struct cut *c, const struct err *e)
{
    if (!c->early && !c->failed)
        c->err = *e;
    c->early = true;
    fiber_wake_all(&c->read);
}

/* The cut of captured volumes is not exact any more: what is taken from here on is of no instant.
 */
static void end_overrun(struct cut *c)
{
    c->result->overrun = true;
    cut_end_early(c, walk_broken(&c->walk));
}

static int check_give_up(const struct cut *c, struct err *e)
{
    if (!*c->spec->give_up)
        return 0;
    return err_set(e, ERR_AGAIN, "group %s: the cut was given up because history changed under it",
                   c->spec->chain->group);
}

/* -- The deltas -- */

static void ending_fiber(void *arg)
{
    struct ending *n = arg;
    struct cut *c = n->cut;
    struct err e = ERR_INIT;
    uint64_t rp = n->stretch->rp;
    uint64_t plain = n->stretch->plain_bytes, frame = n->stretch->frame_bytes;
    int res;
    if (c->failed) {
        stretch_abort(n->stretch);
        return;
    }
    res = stretch_finish(n->stretch, n->complete, &e);
    if (chain_tip_rp(c->spec->chain) == rp) {
        c->result->rp = rp;
        c->result->plain_bytes += plain;
        c->result->frame_bytes += frame;
    }
    if (res < 0)
        cut_fail(c, &e);
}

/* Starts finishing once no region is owed. */
static void ending_check(struct ending *n)
{
    if (!n->closed || n->owed > 0 || n->started)
        return;
    n->started = true;
    n->fiber = fiber_spawn(fiber_io(), "seal", ending_fiber, n);
    fiber_wake_all(&n->cut->ended);
}

/* Waits until the delta before the open one is in the chain. */
static int join_closing(struct cut *c, struct err *e)
{
    struct ending *n = c->closing;
    while (n && !n->started) {
        if (c->failed) {
            *e = c->err;
            return -(int)e->code;
        }
        if (fiber_wait(&c->ended, FIBER_FOREVER) == -ECANCELED)
            return err_os(e, -ECANCELED, "group %s", c->spec->chain->group);
    }
    if (!n)
        return 0;
    c->closing = NULL;
    fiber_join(n->fiber);
    free(n);
    if (c->failed) {
        *e = c->err;
        return -(int)e->code;
    }
    return 0;
}

static int open_stretch(struct cut *c, uint64_t rp, struct err *e)
{
    struct ending *n = err_calloc(1, sizeof *n);
    int res = stretch_new(&n->stretch, &c->stretch_spec, rp, e);
    n->cut = c;
    if (res < 0)
        free(n);
    else
        c->open = n;
    return res;
}

/* A cut that holds nobody up waits for the spool; the shipper empties it meanwhile. A freeze holds
 * somebody up, and so does a cut of captured volumes, for which old content must be kept. */
static int open_when_space(struct cut *c, uint64_t rp, struct err *e)
{
    struct spool *spool = c->spec->shop->spool;
    bool may_wait = c->spec->catching_up || (c->spec->config->freeze[0] == '\0' &&
                                             !(c->cutting && c->spec->indexes->captures));
    int res;
    while ((res = open_stretch(c, rp, e)) == -ERR_SPACE && may_wait && !c->failed) {
        c->progress->no_space = *e;
        c->progress->waiting_for_space = true;
        if (fiber_wait(&spool->freed, SPACE_POLL) == -ECANCELED) {
            res = err_os(e, -ECANCELED, "group %s", c->spec->chain->group);
            break;
        }
        res = check_give_up(c, e);
        if (res < 0)
            break;
    }
    c->progress->waiting_for_space = false;
    return res;
}

/* Closes the open delta and opens the next one. */
static int next_stretch(struct cut *c, struct err *e)
{
    uint64_t rp = c->open->stretch->rp + 1;
    int res = join_closing(c, e);
    if (res < 0)
        return res;
    c->closing = c->open;
    c->open = NULL;
    c->closing->closed = true;
    ending_check(c->closing);
    return open_when_space(c, rp, e);
}

/* -- The regions -- */

/* 1 and a region, 0 at the end. Under `taking`. */
static int take_locked(struct cut *c, struct taken *t, struct err *e)
{
    int res;
    if (c->failed || c->early || c->all_taken)
        return 0;
    res = check_give_up(c, e);
    if (res < 0)
        return res;
    res = walk_next(&c->walk, &t->at, e);
    c->progress->done = c->walk.done;
    if (res < 0 && walk_broken(&c->walk)) {
        end_overrun(c);
        return 0;
    }
    if (res <= 0) {
        c->all_taken = res == 0;
        return res;
    }
    if (stretch_full(c->open->stretch)) {
        res = next_stretch(c, e);
        if (res == -ERR_SPACE && !c->open) {
            c->result->no_space = true;
            cut_end_early(c, e);
            return 0;
        }
        if (res < 0)
            return res;
    }
    t->slot = workshop_take(c->spec->shop);
    if (!t->slot)
        return err_os(e, -ECANCELED, "group %s", c->spec->chain->group);
    if (c->failed || c->early) {
        workshop_give(c->spec->shop, t->slot);
        return 0;
    }
    t->into = c->open;
    t->into->owed++;
    t->turn = c->next_turn++;
    c->reading++;
    return 1;
}

static int take(struct cut *c, struct taken *t, struct err *e)
{
    int res = fiber_lock(&c->taking);
    if (res < 0)
        return err_os(e, res, "group %s", c->spec->chain->group);
    res = take_locked(c, t, e);
    if (res <= 0)
        fiber_wake_all(&c->read);
    fiber_unlock(&c->taking);
    return res;
}

static int process(struct cut *c, struct taken *t, enum io_work_class class, struct err *e)
{
    struct region *r = &t->slot->region;
    struct volume *v = &c->spec->indexes->volumes[t->at.volume];
    uint64_t started;
    int res;
    r->volume = v->number;
    r->group_id = c->spec->indexes->group_id;
    r->volume_id = v->id;
    r->hash_key = v->index.key;
    r->level = c->spec->shop->level;
    stretch_prepare(t->into->stretch, r);
    started = io_now(fiber_io());
    res = fio_work(class, region_process, r);
    c->spec->shop->work_ns += io_now(fiber_io()) - started;
    return res < 0 ? err_os(e, res, "group %s", c->spec->chain->group) : 0;
}

static int append_in_turn(struct cut *c, struct taken *t, struct err *e)
{
    int res;
    while (c->turn != t->turn && !c->failed)
        if (fiber_wait(&c->turns, FIBER_FOREVER) == -ECANCELED)
            return err_os(e, -ECANCELED, "group %s", c->spec->chain->group);
    if (c->failed)
        return 0;
    res = stretch_append(t->into->stretch, &t->slot->region, e);
    c->turn++;
    fiber_wake_all(&c->turns);
    return res;
}

/* -- The pace: of what nobody waits for. Old content is kept while captured volumes are cut, and
 * somebody stands still while a freeze lasts. -- */

static bool is_paced(const struct cut *c, uint16_t volume)
{
    const struct indexes *x = c->spec->indexes;
    return c->spec->catching_up ||
           (!c->progress->frozen && volume < x->count && !x->volumes[volume].capture);
}

/* Before a slot is taken, which others could use meanwhile. In steps: the cut may end. */
static int keep_pace(const struct cut *c, struct err *e)
{
    while (is_paced(c, c->walk.volume) && !c->failed && !c->early && !*c->spec->give_up) {
        uint64_t now = io_now(fiber_io()), all = pace_wait(&c->spec->shop->pace, now);
        uint64_t ns = c->spec->pace ? pace_wait(c->spec->pace, now) : 0;
        if (ns < all)
            ns = all;
        if (ns == 0)
            break;
        if (fiber_sleep(ns < PACE_STEP ? ns : PACE_STEP) < 0)
            return err_os(e, -ECANCELED, "group %s", c->spec->chain->group);
    }
    return 0;
}

static void note_read(const struct cut *c, const struct taken *t)
{
    const struct region *r = &t->slot->region;
    const uint64_t *read = r->captured ? r->taken : r->present;
    uint64_t now = io_now(fiber_io()), bytes = 0;
    if (r->hole || !is_paced(c, t->at.volume))
        return;
    for (uint32_t i = 0; i < REGION_SECTORS / 64; i++)
        bytes += (uint64_t)__builtin_popcountll(read[i]) << SECTOR_SHIFT;
    if (c->spec->pace)
        pace_note(c->spec->pace, now, bytes);
    pace_note(&c->spec->shop->pace, now, bytes);
}

static void slot_fiber(void *arg)
{
    struct cut *c = arg;
    for (;;) {
        struct err e = ERR_INIT;
        struct taken t;
        int res = keep_pace(c, &e);
        if (res == 0)
            res = take(c, &t, &e);
        if (res > 0) {
            enum io_work_class class = rank_class(&c->rank, io_now(fiber_io()));
            res = walk_read(&c->walk, &t.at, t.slot, class, &e);
            if (--c->reading == 0)
                fiber_wake_all(&c->read);
            if (res == 0)
                note_read(c, &t);
            c->progress->done = c->walk.done;
            if (res == 0)
                res = process(c, &t, class, &e);
            if (res == 0)
                res = append_in_turn(c, &t, &e);
            rank_note(&c->rank);
            workshop_give(c->spec->shop, t.slot);
            t.into->owed--;
            if (res < 0)
                cut_fail(c, &e);
            ending_check(t.into);
            continue;
        }
        if (res < 0)
            cut_fail(c, &e);
        return;
    }
}

/* -- The cut -- */

/* Until the volumes have been read, or no longer need to stand still: what ends early is no
 * complete RP, so the reads under way, which a disk may hold for ever, are not waited for. */
static int wait_read(struct cut *c, struct err *e)
{
    const struct config_group *config = c->spec->config;
    struct io *io = fiber_io();
    bool frozen = c->progress->frozen && config->freeze_max_ns > 0;
    uint64_t deadline = io_now(io) + config->freeze_max_ns;
    while (!c->failed && !c->early && (c->reading > 0 || !c->all_taken)) {
        uint64_t now = io_now(io);
        if (frozen && now >= deadline) {
            (void)err_set(e, ERR_AGAIN,
                          "group %s: the scan held the freeze for %.1f s, freeze-max is "
                          "%.1f s; thawed; what changed is caught up before the next cut",
                          config->name, (double)(now - (deadline - config->freeze_max_ns)) / 1e9,
                          (double)config->freeze_max_ns / 1e9);
            c->result->frozen_too_long = true;
            cut_end_early(c, e);
            break;
        }
        if (fiber_wait(&c->read, frozen ? deadline - now : FIBER_FOREVER) == -ECANCELED)
            return err_os(e, -ECANCELED, "group %s", config->name);
    }
    return 0;
}

static void scan(struct cut *c)
{
    unsigned n = c->spec->shop->slot_count;
    struct fiber **fibers = err_calloc(n, sizeof(struct fiber *));
    struct err e = ERR_INIT;
    for (unsigned i = 0; i < n; i++)
        fibers[i] = fiber_spawn(fiber_io(), "scan", slot_fiber, c);
    if (wait_read(c, &e) < 0)
        cut_fail(c, &e);
    freeze_end(c->spec->config, c->spec->chain->state_dir, &c->progress->frozen);
    for (unsigned i = 0; i < n; i++) {
        if (c->failed)
            fiber_cancel(fibers[i]);
        fiber_join(fibers[i]);
    }
    free(fibers);
}

/* Brings the last deltas to their ends: into the chain, or to nothing. */
static void end_stretches(struct cut *c)
{
    struct err e = ERR_INIT;
    /* After the last region was handed out, and before it was read, is in time to break it too. */
    if (!c->failed && !c->early && walk_broken(&c->walk))
        end_overrun(c);
    if (c->open && !c->failed) {
        if (join_closing(c, &e) < 0)
            cut_fail(c, &e);
        ASSERT(c->closing == NULL || c->failed);
    }
    if (c->open && !c->failed) {
        c->open->closed = true;
        c->open->complete = !c->early && !c->spec->catching_up;
        ending_check(c->open);
    }
    if (c->closing && c->closing->started)
        fiber_join(c->closing->fiber);
    else if (c->closing)
        stretch_abort(c->closing->stretch);
    if (c->open && c->open->started)
        fiber_join(c->open->fiber);
    else if (c->open)
        stretch_abort(c->open->stretch);
    if (!c->failed)
        c->result->end = c->open && c->open->complete ? CUT_COMPLETE : CUT_SEALED;
    free(c->closing);
    free(c->open);
}

/* A volume that is not there fails the cut before anything is frozen. */
static int look_for_volumes(struct cut *c, struct err *e)
{
    struct walk w;
    int res = walk_open(&w, c->spec->indexes, e);
    if (res == 0)
        walk_close(&w);
    return res;
}

/* Opens the volumes as they are now: while the cut waited for space, or to be frozen, they may have
 * been resized or replaced. */
static int open_volumes(struct cut *c, struct err *e)
{
    int res = walk_open(&c->walk, c->spec->indexes, e);
    c->progress->total = c->walk.total;
    c->stretch_spec.sizes = c->walk.sizes;
    return res;
}

static int run(struct cut *c, struct err *e)
{
    int res = look_for_volumes(c, e);
    if (res < 0)
        return res;
    res = open_when_space(c, chain_tip_rp(c->spec->chain) + 1, e);
    if (res == -ERR_SPACE)
        c->result->no_space = true;
    if (res == 0 && !c->spec->catching_up)
        res = freeze_begin(c->spec->config, c->spec->chain->state_dir, &c->progress->frozen, e);
    if (res == 0)
        res = open_volumes(c, e);
    if (res == 0) {
        c->stretch_spec.cut_time = fiber_io()->ops->wall(fiber_io());
        walk_cut(&c->walk, !c->spec->catching_up, c->spec->insist);
        c->cutting = true;
        c->progress->began = io_now(fiber_io());
        c->progress->total = c->walk.total;
        c->rank.held_up = c->progress->frozen && c->spec->indexes->scans;
        c->rank.asked = c->spec->asked || !c->spec->indexes->captures;
        if (!c->spec->indexes->scans)
            freeze_end(c->spec->config, c->spec->chain->state_dir, &c->progress->frozen);
        res = walk_settle(&c->walk, e);
    }
    if (res == 0) {
        scan(c);
    } else {
        freeze_end(c->spec->config, c->spec->chain->state_dir, &c->progress->frozen);
        cut_fail(c, e);
    }
    end_stretches(c);
    if (c->walk.indexes) { /* they were opened */
        walk_end(&c->walk);
        walk_close(&c->walk);
    }
    if (c->failed || c->early)
        *e = c->err;
    return c->failed || c->early ? -(int)e->code : 0;
}

int cut_run(const struct cut_spec *spec, struct cut_progress *progress, struct cut_result *result,
            struct err *e)
{
    struct cut c = {.spec = spec,
                    .progress = progress,
                    .result = result,
                    .stretch_spec = {.shop = spec->shop,
                                     .chain = spec->chain,
                                     .indexes = spec->indexes,
                                     .keyring = spec->keyring,
                                     .label = spec->label}};
    int res;
    ASSERT(spec->indexes->trusted);
    *progress = (struct cut_progress){0};
    *result = (struct cut_result){.end = CUT_FAILED};
    res = workshop_enter(spec->shop);
    if (res < 0)
        return err_os(e, res, "group %s", spec->chain->group);
    res = run(&c, e);
    workshop_leave(spec->shop);
    return res;
}
