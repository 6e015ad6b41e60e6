#include "lanes.h"

#include "log.h"

#include <errno.h>
#include <string.h>

/* A link that was wanted for so much of a look was busy. */
#define BUSY_SHARE 0.9

static bool works(const struct lane *lane)
{
    struct err ignored = ERR_INIT;
    return lane->caller && !lane->retiring && caller_broken(lane->caller, &ignored) == 0;
}

unsigned lanes_count(const struct lanes *l)
{
    unsigned n = 0;
    for (unsigned i = 0; i < LANES_MAX; i++)
        n += works(&l->lane[i]);
    return n;
}

struct lane *lane_take(struct lanes *l)
{
    struct lane *best = works(&l->lane[0]) ? &l->lane[0] : NULL;
    for (unsigned i = 1; i < LANES_MAX && best; i++)
        if (works(&l->lane[i]) && l->lane[i].sending < best->sending)
            best = &l->lane[i];
    if (best) {
        best->users++;
        best->sending++;
    }
    return best;
}

void lane_sent(struct lane *lane)
{
    ASSERT(lane->sending > 0);
    lane->sending--;
}

void lane_give(struct lanes *l, struct lane *lane)
{
    ASSERT(lane->users > 0);
    if (--lane->users == 0 && !works(lane))
        fiber_wake_all(&l->wake);
}

bool lane_lost(const struct lanes *l, const struct lane *lane)
{
    struct err ignored = ERR_INIT;
    return lane != &l->lane[0] && caller_broken(lane->caller, &ignored) < 0 && works(&l->lane[0]);
}

uint64_t lanes_bytes_out(const struct lanes *l)
{
    uint64_t sum = l->closed_bytes;
    for (unsigned i = 0; i < LANES_MAX; i++)
        if (l->lane[i].caller)
            sum += link_bytes_out(caller_link(l->lane[i].caller));
    return sum;
}

/* ---- the keeper ---- */

static void set_width(struct lanes *l)
{
    unsigned n = lanes_count(l);
    n = n > 0 ? n : 1;
    if (l->share->width == n)
        return;
    l->share->width = n;
    share_changed(l->share);
}

static void close_lane(struct lanes *l, unsigned i)
{
    struct lane *lane = &l->lane[i];
    struct caller *c = lane->caller;
    ASSERT(i > 0 && lane->users == 0);
    l->closed_bytes += link_bytes_out(caller_link(c));
    *lane = (struct lane){0};
    if (l->tried == (int)i)
        l->tried = -1;
    caller_free(c);
}

/* Closes what broke or is not wanted any more and that nobody is on. */
static void reap(struct lanes *l)
{
    for (unsigned i = 1; i < LANES_MAX; i++) {
        struct lane *lane = &l->lane[i];
        struct err e = ERR_INIT;
        if (!lane->caller || works(lane))
            continue;
        if (caller_broken(lane->caller, &e) < 0 && !lane->retiring)
            log_info("hub: connection %u broke: %s", i + 1, e.text);
        lane->retiring = true;
        if (lane->users == 0)
            close_lane(l, i);
    }
    set_width(l);
}

static int join(struct lanes *l, struct caller *c, struct err *e)
{
    Relais__Join m;
    relais__join__init(&m);
    m.voyage = l->voyage;
    return call_send(c, FRAME_Join, &m.base, NULL, 0, e);
}

static void measure_anew(struct lanes *l)
{
    l->looks = 0;
    l->sum_bytes = l->sum_ns = 0;
}

static void put_off(struct lanes *l)
{
    l->next_try = io_now(fiber_io()) + l->wait;
    l->wait = l->wait * 2 < LANES_WAIT_MAX ? l->wait * 2 : LANES_WAIT_MAX;
    measure_anew(l);
}

static void open_another(struct lanes *l)
{
    struct caller *c = NULL;
    struct err e = ERR_INIT;
    unsigned i = 1;
    l->before = (double)l->sum_bytes / (double)l->sum_ns;
    while (i < LANES_MAX && l->lane[i].caller)
        i++;
    if (i == LANES_MAX)
        return;
    if (l->open(l->arg, &c, &e) < 0) {
        log_info("hub: another connection was not to be had: %s", e.text);
        put_off(l);
        return;
    }
    if (l->stopping || join(l, c, &e) < 0) {
        caller_free(c);
        put_off(l);
        return;
    }
    l->lane[i] = (struct lane){.caller = c};
    l->tried = (int)i;
    measure_anew(l);
    set_width(l);
}

static void judge(struct lanes *l)
{
    double now = (double)l->sum_bytes / (double)l->sum_ns;
    unsigned n = lanes_count(l);
    if (now >= l->before * LANES_GAIN) {
        log_info("hub: %u connections carry %.1f Mbit/s, %u carried %.1f", n, now * 8000, n - 1,
                 l->before * 8000);
        l->tried = -1;
        l->useful = true;
        l->wait = LANES_WAIT_MIN;
        l->next_try = 0;
    } else {
        l->lane[l->tried].retiring = true;
        put_off(l);
    }
    measure_anew(l);
}

static void look(struct lanes *l)
{
    uint64_t now = io_now(fiber_io()), bytes = lanes_bytes_out(l);
    uint64_t busy = share_busy_ns(l->share, now), ns = now - l->at;
    bool was_busy = (double)(busy - l->busy_ns) >= BUSY_SHARE * (double)ns;
    unsigned skip = l->tried >= 0 ? 1 : 0;
    if (!was_busy || l->share->rate > 0) {
        measure_anew(l);
    } else if (l->looks++ >= skip) {
        l->sum_bytes += bytes - l->bytes;
        l->sum_ns += ns;
    }
    l->at = now;
    l->bytes = bytes;
    l->busy_ns = busy;
    if (l->looks < LANES_LOOKS + skip)
        return;
    if (l->tried >= 0)
        judge(l);
    else if (lanes_count(l) < l->max && now >= l->next_try)
        open_another(l);
    else
        measure_anew(l);
}

static void keep(void *arg)
{
    struct lanes *l = arg;
    while (!l->stopping) {
        uint64_t now = io_now(fiber_io()), due = l->at + l->look_ns;
        if (now < due && fiber_wait(&l->wake, due - now) == -ECANCELED)
            break;
        reap(l);
        if (!l->stopping && io_now(fiber_io()) >= due)
            look(l);
    }
}

void lanes_start(struct lanes *l, struct caller *first)
{
    *l = (struct lanes){.max = l->max < LANES_MAX ? l->max : LANES_MAX,
                        .share = l->share,
                        .voyage = l->voyage,
                        .look_ns = l->look_ns ? l->look_ns : LANES_LOOK_NS,
                        .useful = l->useful,
                        .open = l->open,
                        .arg = l->arg,
                        .tried = -1,
                        .wait = LANES_WAIT_MIN};
    l->lane[0].caller = first;
    l->at = io_now(fiber_io());
    l->next_try = l->useful ? 0 : l->at + LANES_WAIT_FIRST * l->look_ns;
    l->busy_ns = share_busy_ns(l->share, l->at);
    l->keeper = fiber_spawn(fiber_io(), "lanes", keep, l);
}

void lanes_stop(struct lanes *l)
{
    l->stopping = true;
    fiber_cancel(l->keeper);
    fiber_join(l->keeper);
    for (unsigned i = 1; i < LANES_MAX; i++)
        if (l->lane[i].caller)
            close_lane(l, i);
    l->lane[0] = (struct lane){0};
    l->share->width = 1;
}
