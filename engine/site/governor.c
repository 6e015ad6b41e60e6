#include "governor.h"

#include "fio.h"
#include "log.h"
#include "units.h"

#include <errno.h>
#include <stdio.h>

#define PERIOD IO_S

/* -- Rates -- */

static void set_rate(struct governor *g)
{
    const struct rate_rule *rule = rates_rule_at(&g->config->rates, io_wall(fiber_io()));
    uint64_t rate = g->by_hand ? g->rate : rule ? rule->rate : 0;
    char text[UNITS_TEXT];
    if (rate != g->share->rate)
        log_notice("shipping %s%s%s", rate > 0 ? "at most at " : "without a limit",
                   rate > 0 ? units_bitrate(text, (double)rate) : "",
                   g->by_hand ? ", until relaisd starts again" : "");
    share_set_rate(g->share, rate);
}

void governor_hold(struct governor *g, uint64_t rate)
{
    g->by_hand = true;
    g->rate = rate;
    set_rate(g);
}

void governor_follow(struct governor *g)
{
    g->by_hand = false;
    set_rate(g);
}

void governor_rate(struct governor *g, Relais__RateState *out)
{
    int64_t wall = io_wall(fiber_io());
    const struct rate_rule *rule = rates_rule_at(&g->config->rates, wall);
    relais__rate_state__init(out);
    g->rule[0] = '\0';
    if (rule)
        (void)rates_text(g->rule, rule);
    out->rule = g->rule;
    out->rate = g->share->rate;
    out->by_hand = g->by_hand;
    out->until = g->by_hand ? 0 : rates_change(&g->config->rates, wall);
}

/* -- Compression -- */

/* In intervals of the group. A cut that waits for space waits for the link, and a pass that only
 * catches up has no interval to keep. */
static double cut_load(const struct group *g, uint64_t now)
{
    uint64_t took = g->cutting ? now - g->cut_started : g->cut_took;
    if (g->config->interval_ns == 0 || g->catch_up || g->indexes.seeding ||
        g->progress.waiting_for_space)
        return 0;
    return (double)took / (double)g->config->interval_ns;
}

static void set_level(struct governor *g)
{
    uint64_t now = io_now(fiber_io()), busy = share_busy_ns(g->share, now), sent = 0, rps;
    double period = (double)(now - g->at);
    struct level_input in = {0};
    for (size_t i = 0; i < g->count; i++) {
        double cut = cut_load(g->groups[i], now);
        uint64_t lag;
        chain_lag(&g->groups[i]->chain, &lag, &rps);
        in.lag += lag;
        in.cut = cut > in.cut ? cut : in.cut;
        sent += g->groups[i]->flow.sent;
    }
    in.shipped = sent - g->sent;
    in.link = (double)(busy - g->busy_ns) / period;
    in.workers =
        (double)(g->shop->work_ns - g->work_ns) / (period * (double)io_workers(fiber_io()));
    g->at = now;
    g->busy_ns = busy;
    g->work_ns = g->shop->work_ns;
    g->sent = sent;
    if (g->config->compression == CONFIG_LEVEL_AUTO)
        g->shop->level = level_step(&g->level, &in);
}

static void governor_fiber(void *arg)
{
    struct governor *g = arg;
    while (!g->stopping) {
        set_rate(g);
        if (fiber_wait(&g->changed, PERIOD) == -ECANCELED)
            return;
        if (!g->stopping && io_now(fiber_io()) > g->at)
            set_level(g);
    }
}

void governor_start(struct governor *g, const struct config *config, struct share *share,
                    struct workshop *shop, struct group **groups, size_t count)
{
    *g = (struct governor){
        .config = config, .share = share, .shop = shop, .groups = groups, .count = count};
    g->at = io_now(fiber_io());
    level_init(&g->level);
    set_rate(g); /* before anything is shipped */
    g->fiber = fiber_spawn(fiber_io(), "governor", governor_fiber, g);
}

void governor_stop(struct governor *g)
{
    g->stopping = true;
    fiber_wake_all(&g->changed);
    fiber_join(g->fiber);
}
