#include "group.h"

#include "fio.h"
#include "freeze.h"
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MIN (1 * IO_S)
#define RETRY_MAX (60 * IO_S)
/* Dirty bytes of captured volumes at start from which on catching up comes before the first cut. */
#define CATCH_UP SAVED_MAX
/* Cuts in a row that captured volumes outran until those who wait for a mark are told. */
#define OVERRUNS_TOLD 4
/* From then on the recovery point is worth more than the guests' speed. */
#define OVERRUNS_MANY 2
/* Between the starts of two cuts that what is dirty made due. */
#define CUT_GAP IO_S

struct group_mark {
    struct group_mark *next;
    char label[LABEL_MAX_LEN + 1];
    bool taken, done;
    int res;
    uint64_t rp;
    struct err err;
    struct fiber_cond arrived;
};

/* -- Pausing -- */

static void pause_path(char path[PATH_CAP], const struct group *g)
{
    path_format(path, "%s/paused", g->chain.state_dir);
}

int group_pause(struct group *g, bool pause, struct err *e)
{
    static const char text[] = "relais pause was here: nothing is shipped before relais resume\n";
    char path[PATH_CAP];
    int res = fiber_lock(&g->pausing);
    if (res < 0)
        return err_os(e, res, "group %s", g->config->name);
    pause_path(path, g);
    if (pause)
        res = fio_replace_file(path, text, sizeof text - 1, 0600, e);
    else if ((res = fio_unlink(path)) == 0 || res == -ENOENT)
        res = fio_sync_dir(g->chain.state_dir);
    if (res < 0)
        res = pause ? err_prefix(e, "group %s: not paused", g->config->name)
                    : err_os(e, res, "%s", path);
    else if (g->flow.paused != pause)
        log_notice("group %s: %s", g->config->name,
                   pause ? "paused: nothing is shipped until relais resume" : "resumed");
    if (res == 0)
        g->flow.paused = pause;
    fiber_unlock(&g->pausing);
    return res;
}

static int find_paused(struct group *g, struct err *e)
{
    char path[PATH_CAP];
    struct io_stat st;
    pause_path(path, g);
    int res = fio_stat(path, &st);
    g->flow.paused = res == 0;
    if (g->flow.paused)
        log_notice("group %s is paused: nothing is shipped until relais resume", g->config->name);
    return res == 0 || res == -ENOENT ? 0 : err_os(e, res, "%s", path);
}

int group_open(struct group *g, const struct config *config, const struct config_group *own,
               struct workshop *shop, const struct key_secret *hash_key, struct err *e)
{
    int res;
    *g = (struct group){.config = own, .shop = shop, .io = fiber_io()};
    g->flow.class = (enum share_class)own->priority;
    res = keyring_init(&g->keyring, config, own, e);
    if (res < 0)
        return res;
    chain_init(&g->chain, shop->spool, own->spool_budget, config->state_dir, config->name,
               own->name, key_public(shop->sign));
    indexes_init(&g->indexes, &g->chain, own, hash_key);
    g->pace.rate = own->seed_rate;
    g->written.wake = &g->wanted;
    res = find_paused(g, e);
    if (res == 0)
        res = indexes_open_captures(&g->indexes, e);
    for (uint16_t i = 0; i < g->indexes.count && res == 0 && own->cut_bytes > 0; i++)
        if (g->indexes.volumes[i].capture)
            capture_set_watch(g->indexes.volumes[i].capture, &g->written);
    if (res < 0) {
        indexes_done(&g->indexes);
        keyring_done(&g->keyring);
        chain_close(&g->chain);
    }
    return res;
}

int group_recover(struct group *g, struct err *e)
{
    int res = g->recovered ? 0 : chain_recover(&g->chain, e);
    g->recovered = res == 0;
    return res;
}

/* -- Marks -- */

/* Which marks the next cut serves: the oldest, and those after it that ask for the same label or
 * for none. An RP has one label. */
static const char *take_marks(struct group *g)
{
    const char *label = "";
    for (struct group_mark *m = g->marks; m; m = m->next) {
        if (m->label[0] != '\0' && label[0] != '\0' && strcmp(m->label, label) != 0)
            break;
        if (m->label[0] != '\0')
            label = m->label;
        m->taken = true;
    }
    return label;
}

static void answer_marks(struct group *g, bool all, int res, uint64_t rp, const struct err *e)
{
    struct group_mark **link = &g->marks;
    while (*link) {
        struct group_mark *m = *link;
        if (!all && !m->taken) {
            link = &m->next;
            continue;
        }
        *link = m->next;
        m->done = true;
        m->res = res;
        m->rp = rp;
        m->err = *e;
        fiber_wake_all(&m->arrived);
    }
}

int group_mark(struct group *g, const char *label, uint64_t *rp, struct err *e)
{
    struct group_mark mark = {.res = 0}, **link = &g->marks;
    if (g->stopping)
        return err_set(e, ERR_AGAIN, "group %s: relaisd is stopping", g->config->name);
    (void)snprintf(mark.label, sizeof mark.label, "%s", label);
    while (*link)
        link = &(*link)->next;
    *link = &mark;
    fiber_wake_all(&g->wanted);
    g->visitors++;
    while (!mark.done)
        if (fiber_wait(&mark.arrived, FIBER_FOREVER) == -ECANCELED)
            break;
    g->visitors--;
    if (!mark.done) {
        for (link = &g->marks; *link != &mark; link = &(*link)->next)
            ;
        *link = mark.next;
        return err_os(e, -ECANCELED, "group %s", g->config->name);
    }
    *rp = mark.rp;
    if (mark.res < 0)
        *e = mark.err;
    return mark.res;
}

static int wait_committed(struct group *g, uint64_t *rp, struct err *e)
{
    uint64_t turns = g->turns;
    while (g->chain.committed.rp < *rp) {
        if (g->broken.code != ERR_OK) {
            *e = g->broken;
            return -(int)e->code;
        }
        if (g->stopping)
            return err_set(e, ERR_AGAIN,
                           "group %s: relaisd is stopping; RP %" PRIu64 " is sealed and "
                           "will be shipped",
                           g->config->name, *rp);
        if (fiber_wait(&g->chain.changed, FIBER_FOREVER) == -ECANCELED)
            return err_os(e, -ECANCELED, "group %s", g->config->name);
        /* The number alone proves nothing then: another RP may bear it. */
        if (g->turns != turns)
            return err_set(e, ERR_AGAIN,
                           "group %s: history changed before RP %" PRIu64
                           " was committed, and may have lost it; mark again",
                           g->config->name, *rp);
        *rp = chain_stands_for(&g->chain, *rp);
    }
    return 0;
}

int group_wait_committed(struct group *g, uint64_t *rp, struct err *e)
{
    int res;
    g->visitors++;
    res = wait_committed(g, rp, e);
    g->visitors--;
    return res;
}

/* -- Turns of history, asked for by the shipper -- */

static bool turn_wanted(const struct group *g)
{
    return g->adopt || g->damaged;
}

static int wait_turned(struct group *g)
{
    g->give_up = true;
    fiber_wake_all(&g->wanted);
    while (turn_wanted(g) && !g->stopping) {
        int res = fiber_wait(&g->turned, FIBER_FOREVER);
        if (res == -ECANCELED)
            return res;
    }
    return turn_wanted(g) ? -ECANCELED : 0;
}

int group_adopt(struct group *g, const struct chain_committed *head)
{
    g->head = *head;
    g->adopt = true;
    return wait_turned(g);
}

int group_drop(struct group *g, uint64_t rp, const char *why)
{
    g->damaged_rp = rp;
    (void)snprintf(g->why, sizeof g->why, "%s", why);
    g->damaged = true;
    return wait_turned(g);
}

static int turn(struct group *g, struct err *e)
{
    int res = indexes_forget(&g->indexes, e);
    if (res == 0 && g->damaged)
        res = chain_drop(&g->chain, g->damaged_rp, g->why, e);
    if (res == 0)
        g->damaged = false;
    if (res == 0 && g->adopt)
        res = chain_adopt(&g->chain, &g->head, e);
    if (res == 0) {
        g->adopt = g->give_up = false;
        g->turns++;
    }
    fiber_wake_all(&g->turned);
    fiber_wake_all(&g->chain.changed);
    return res;
}

/* -- The fiber -- */

/* Makes sure that the indexes are true; both may take several tries on a disk that fails. */
static int settle(struct group *g, struct err *e)
{
    int res = turn_wanted(g) ? turn(g, e) : 0;
    if (res == 0 && !g->indexes.trusted) {
        res = indexes_recover(&g->indexes, e);
        if (res == 0 && (g->indexes.seeding || indexes_captured_dirty(&g->indexes) > CATCH_UP))
            g->catch_up = true;
    }
    return res;
}

static void note_result(struct group *g, int res, const struct err *e)
{
    const struct cut_result *r = &g->last;
    g->plain_bytes += r->plain_bytes;
    g->frame_bytes += r->frame_bytes;
    if (r->end != CUT_FAILED && res == 0)
        g->indexes.seeding = false;
    if (res == 0) {
        if (g->error.code != ERR_OK)
            log_notice("group %s: sealing goes on, RP %" PRIu64, g->config->name, r->rp);
        g->error = (struct err)ERR_INIT;
        return;
    }
    if (res != -ERR_CANCELED && strcmp(g->error.text, e->text) != 0)
        log_warn("%s", e->text);
    g->error = *e;
}

/* One pass: catching up when much is to be shipped and a freeze would have to last as long, or old
 * content of captured volumes to be kept as long; else a cut. *complete: whether it made a complete
 * RP. */
static int pass(struct group *g, bool *complete, struct err *e)
{
    struct cut_spec spec = {.shop = g->shop,
                            .chain = &g->chain,
                            .indexes = &g->indexes,
                            .keyring = &g->keyring,
                            .config = g->config,
                            .label = "",
                            .pace = &g->pace,
                            .give_up = &g->give_up};
    char label[LABEL_MAX_LEN + 1] = "";
    int res = settle(g, e);
    bool first;
    *complete = false;
    if (res < 0) {
        g->last = (struct cut_result){.end = CUT_FAILED};
        note_result(g, res, e);
        return res;
    }
    spec.catching_up = g->catch_up && (g->config->freeze[0] != '\0' || g->indexes.captures);
    if (!spec.catching_up)
        (void)snprintf(label, sizeof label, "%s", take_marks(g));
    spec.label = label;
    spec.insist = g->overruns >= OVERRUNS_MANY;
    spec.asked = !spec.catching_up && g->marks;
    first = chain_complete_rp(&g->chain) == 0;
    g->cutting = true;
    g->cut_started = io_now(fiber_io());
    res = cut_run(&spec, &g->progress, &g->last, e);
    g->cutting = false;
    g->cut_took = io_now(fiber_io()) - g->cut_started;
    g->catch_up = res < 0 && (g->last.frozen_too_long || g->last.no_space || g->last.overrun);
    *complete = res == 0 && g->last.end == CUT_COMPLETE;
    note_result(g, res, e);
    if (*complete && first) {
        g->first_rp = g->last.rp;
        log_notice("group %s: RP %" PRIu64 " is its first complete recovery point: seeding is done",
                   g->config->name, g->first_rp);
    }
    if (*complete)
        answer_marks(g, false, 0, g->last.rp, e);
    return res;
}

/* Whether as much is dirty as starts a cut. If not, writers will wake us: when they may have made
 * it as much, but not for every write where the same is written again and again. */
static bool enough_dirty(struct group *g)
{
    uint64_t limit = g->config->cut_bytes, dirty, left;
    if (limit == 0)
        return false;
    dirty = indexes_captured_dirty(&g->indexes);
    if (dirty >= limit)
        return true;
    left = limit - dirty > limit / 16 ? limit - dirty : limit / 16;
    g->written.left = (int64_t)left;
    return false;
}

/* Until the next cut is due, a mark or a turn is wanted. What is dirty makes a cut due earlier, but
 * not one right after the other. */
static void wait_due(struct group *g, uint64_t started, uint64_t due)
{
    struct io *io = fiber_io();
    while (!g->stopping && !turn_wanted(g) && !g->marks) {
        uint64_t now = io_now(io);
        uint64_t wake = due > started + CUT_GAP && enough_dirty(g) ? started + CUT_GAP : due;
        if (now >= wake)
            return;
        (void)fiber_wait(&g->wanted, wake == FIBER_FOREVER ? FIBER_FOREVER : wake - now);
        if (fiber_cancelled())
            return;
    }
}

/* A cut that failed is tried again after a while that grows; space coming back ends the wait. */
static void wait_retry(struct group *g, uint64_t *delay)
{
    *delay = *delay == 0 ? RETRY_MIN : *delay * 2 < RETRY_MAX ? *delay * 2 : RETRY_MAX;
    if (g->last.no_space || g->error.code == ERR_SPACE)
        (void)fiber_wait(&g->shop->spool->freed, *delay);
    else
        (void)fiber_wait(&g->wanted, *delay);
}

/* What follows a pass that failed. Returns whether the next one is due at once. */
static bool after_failure(struct group *g, int res, uint64_t *retry, const struct err *e)
{
    if (turn_wanted(g) && g->indexes.trusted)
        return true; /* that is what ended it; marks wait for the next */
    if (g->last.frozen_too_long && ++g->too_long == 1)
        return true; /* once more, after catching up; then with the next interval */
    if (g->last.overrun && ++g->overruns % OVERRUNS_TOLD != 0)
        return true; /* again, after catching up, until it is a cut */
    answer_marks(g, true, res, 0, e);
    if (g->last.frozen_too_long)
        return false;
    if (g->config->interval_ns == 0 && g->config->cut_bytes == 0 && !turn_wanted(g))
        return false; /* whoever asked knows */
    wait_retry(g, retry);
    return true;
}

static void group_fiber(void *arg)
{
    struct group *g = arg;
    struct io *io = fiber_io();
    uint64_t interval = g->config->interval_ns, started = 0, retry = 0;
    bool due_now = interval > 0;
    struct err e = ERR_INIT;
    freeze_recover(g->config, g->chain.state_dir);
    if (settle(g, &e) < 0)
        note_result(g, -(int)e.code, &e);
    while (!g->stopping && !fiber_cancelled()) {
        bool complete;
        int res;
        if (!due_now)
            wait_due(g, started, interval > 0 ? started + interval : FIBER_FOREVER);
        if (g->stopping || fiber_cancelled())
            break;
        if (turn_wanted(g) && !g->marks && interval == 0) {
            due_now = false;
            if (settle(g, &e) < 0)
                wait_retry(g, &retry);
            continue;
        }
        started = io_now(io);
        res = pass(g, &complete, &e);
        if (res < 0) {
            due_now = after_failure(g, res, &retry, &e);
            continue;
        }
        due_now = !complete; /* a pass without a cut is followed by the cut */
        retry = 0;
        if (complete)
            g->too_long = g->overruns = 0;
    }
}

static void keeper_fiber(void *arg)
{
    struct group *g = arg;
    keyring_watch(&g->keyring);
}

void group_rotate(struct group *g)
{
    keyring_rotate(&g->keyring);
    log_notice("group %s: the next delta has a new data key", g->config->name);
}

void group_start(struct group *g)
{
    ASSERT(g->recovered);
    g->keeper = fiber_spawn(fiber_io(), "group-keys", keeper_fiber, g);
    g->fiber = fiber_spawn(fiber_io(), "group", group_fiber, g);
}

static void wait_left(void *arg)
{
    const struct group *g = arg;
    while (g->visitors > 0)
        (void)fiber_yield();
}

void group_stop(struct group *g)
{
    struct err e = ERR_INIT;
    g->stopping = true;
    if (g->fiber) {
        fiber_cancel(g->fiber);
        fiber_join(g->fiber);
        g->fiber = NULL;
        fiber_cancel(g->keeper);
        fiber_join(g->keeper);
        g->keeper = NULL;
    }
    (void)err_set(&e, ERR_AGAIN, "group %s: relaisd is stopping", g->config->name);
    answer_marks(g, true, -ERR_AGAIN, 0, &e);
    fiber_wake_all(&g->turned);
    fiber_wake_all(&g->chain.changed);
    /* Joining is not cancellable, waiting would be. */
    fiber_join(fiber_spawn(fiber_io(), "leaving", wait_left, g));
    indexes_rest(&g->indexes);
    indexes_done(&g->indexes);
    keyring_done(&g->keyring);
    chain_close(&g->chain);
}

/* -- Status -- */

static const struct err *failed_volume(const struct group *g)
{
    const struct err *failed = NULL;
    for (uint16_t i = 0; i < g->indexes.count && !failed; i++)
        if (g->indexes.volumes[i].capture)
            failed = capture_failed(g->indexes.volumes[i].capture);
    return failed;
}

/* How long the pass under way goes on, as fast as it went so far; 0: unknown. */
static uint64_t pass_eta(const struct group *g)
{
    const struct cut_progress *p = &g->progress;
    uint64_t elapsed = g->cutting && p->began > 0 ? io_now(g->io) - p->began : 0;
    if (elapsed < IO_S || p->done == 0 || p->done >= p->total)
        return 0;
    return (uint64_t)((double)elapsed * (double)(p->total - p->done) / (double)p->done);
}

/* What the hub refused matters until something gets across. */
static bool is_refused(const struct group *g)
{
    return g->link_up && !group_held(g) && g->refused.code != ERR_OK &&
           g->refused_at == g->chain.committed.rp;
}

static const char *state_word(const struct group *g, uint64_t lag)
{
    if (failed_volume(g))
        return "disk-failed";
    if (g->broken.code != ERR_OK)
        return "broken";
    if (g->progress.waiting_for_space || (g->error.code == ERR_SPACE && !g->progress.frozen))
        return "spool-full";
    if (g->too_long > 0)
        return "frozen-too-long";
    if (chain_complete_rp(&g->chain) == 0)
        return "seeding";
    if (g->cutting && g->indexes.seeding)
        return "seeding";
    if (g->cutting)
        return "scanning";
    if (group_held(g))
        return "paused";
    if (!g->link_up)
        return "offline";
    if (lag == 0)
        return "idle";
    if (is_refused(g) && g->refused.code == ERR_SPACE)
        return "hub-full";
    return g->shipping ? "shipping" : "sealed";
}

static char *priority_word(const struct group *g)
{
    static const char *const words[] = {
        [SHARE_LOW] = "low", [SHARE_NORMAL] = "normal", [SHARE_HIGH] = "high"};
    return (char *)(uintptr_t)words[g->flow.class];
}

void group_measure(struct group *g, uint64_t now)
{
    if (g->link_up != g->metered_up)
        meter_reset(&g->shipped); /* what was shipped before says nothing of what will be */
    g->metered_up = g->link_up;
    meter_note(&g->shipped, now, g->chain.shipped_bytes);
    meter_note(&g->sealed, now, g->chain.sealed_bytes);
    meter_note(&g->spool, now, g->chain.share.files);
}

/* Until the hub has what it has not now, as fast as it got on while the link was up, less what is
 * sealed meanwhile; what is not sealed yet counts as its share of sealed bytes. 0: unknown, or
 * never at this rate. */
static uint64_t caught_up(const struct group *g, uint64_t lag, uint64_t rate)
{
    double ratio = g->plain_bytes > 0 ? (double)g->frame_bytes / (double)g->plain_bytes : 1, out,
           left;
    left = (double)lag + (double)indexes_captured_dirty(&g->indexes) * ratio;
    out = meter_rate(&g->shipped);
    if (out < (double)rate)
        out = (double)rate; /* a delta that is half across does not count as shipped */
    return lag > 0 ? meter_lasts(left, out - meter_rate(&g->sealed)) : 0;
}

static void status_of_spool(const struct group *g, Relais__GroupStatus *out)
{
    const struct spool_share *h = &g->chain.share;
    double rate = meter_rate(&g->sealed);
    out->spool_used = h->files;
    out->merging = g->merging;
    out->merged_rps = g->merged_rps;
    out->seal_rate = rate > 0 ? (uint64_t)rate : 0;
    if (h->budget == UINT64_MAX)
        return;
    out->spool_budget = h->budget;
    out->spool_full_ns =
        meter_lasts((double)spool_for_sealing(h->budget) - (double)h->files, meter_rate(&g->spool));
}

/* What is wrong, the worst first: a disk, the history, room to seal, sealing, shipping. */
static const char *error_text(const struct group *g)
{
    const struct err *failed = failed_volume(g);
    if (failed)
        return failed->text;
    if (g->broken.code != ERR_OK)
        return g->broken.text;
    if (g->progress.waiting_for_space)
        return g->progress.no_space.text;
    if (g->error.code != ERR_OK)
        return g->error.text;
    if (is_refused(g))
        return g->refused.text;
    return "";
}

void group_status(struct group *g, uint64_t rate, Relais__GroupStatus *out)
{
    uint64_t bytes, rps;
    struct digest tip;
    int64_t cut;
    relais__group_status__init(out);
    chain_lag(&g->chain, &bytes, &rps);
    chain_tip(&g->chain, &tip, &cut);
    out->group = g->chain.group;
    out->state = (char *)(uintptr_t)state_word(g, rps);
    out->error = (char *)(uintptr_t)error_text(g);
    out->sealed_rp = chain_tip_rp(&g->chain);
    out->sealed_cut = cut;
    out->committed_rp = g->chain.committed.rp;
    out->committed_cut = g->chain.committed.cut_time;
    if (g->chain.committed.rp > 0)
        out->committed_link =
            (ProtobufCBinaryData){DIGEST_LEN, (uint8_t *)(uintptr_t)g->chain.committed.link.b};
    out->complete_rp = g->chain.committed.complete_rp;
    out->complete_cut = g->chain.committed.complete_cut;
    out->lag_bytes = bytes;
    out->lag_rps = rps;
    out->frame_bytes = g->frame_bytes;
    out->plain_bytes = g->plain_bytes;
    out->scan_done = g->cutting ? g->progress.done : 0;
    out->scan_total = g->cutting ? g->progress.total : 0;
    out->eta_ns = caught_up(g, bytes, rate);
    out->interval_ns = g->config->interval_ns;
    out->priority = priority_word(g);
    out->paused = g->flow.paused;
    out->shipped_bytes = g->flow.sent;
    out->draining = g->flow.rush > 0;
    out->first_rp = g->first_rp;
    out->pass_eta_ns = pass_eta(g);
    out->seed_rate = g->pace.rate;
    if (g->shop->pace.rate > 0 && (out->seed_rate == 0 || g->shop->pace.rate < out->seed_rate))
        out->seed_rate = g->shop->pace.rate;
    status_of_spool(g, out);
    out->dirty_bytes = indexes_captured_dirty(&g->indexes);
}
