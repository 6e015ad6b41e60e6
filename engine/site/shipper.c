#include "shipper.h"

#include "attest.h"
#include "fio.h"
#include "log.h"
#include "ship.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_NS   (4 * IO_S) /* three SYNs; then the next address */
#define HANDSHAKE_NS (10 * IO_S)
#define BACKOFF_MIN  (100 * IO_MS)
/* An attempt is three packets; a link that is back and not made use of costs the RPO. */
#define BACKOFF_MAX (5 * IO_S)
/* A connection that lasted so long, or carried so much, was a success. */
#define STEADY_NS    (5 * IO_S)
#define STEADY_BYTES (256 * KIB)

struct passenger {
    struct shipper *shipper;
    struct group *group;
    struct fiber *fiber;
};

static void passenger_fiber(void *arg)
{
    struct passenger *p = arg;
    ship_group(p->shipper, p->group);
    p->shipper->riding--;
    fiber_wake_all(&p->shipper->news);
}

static void witness_fiber(void *arg)
{
    struct shipper *s = arg;
    witness_ride(&s->witness, s->caller);
}

/* An address that does not answer keeps from trying the next; when none did, it may be the line
 * that is slow. */
static uint64_t handshake_ns(const struct shipper *s)
{
    return s->failed < s->hub->addr_count && s->hub->addr_count > 1 ? HANDSHAKE_NS / 2
                                                                    : HANDSHAKE_NS;
}

static int connect_hub(struct shipper *s, unsigned at, struct caller **out, struct err *e)
{
    const struct config_addr *to = &s->hub->addrs[at];
    struct io_addr addr = {.port = to->port};
    struct link *link;
    int fd, res;
    (void)snprintf(addr.host, sizeof addr.host, "%s", to->host);
    fd = fio_connect(&addr, CONNECT_NS);
    if (fd < 0)
        return err_os(e, fd, "hub %s at %s port %u", s->hub->name, to->host, (unsigned)to->port);
    res = link_tls_connect(&link, fd, s->tls, s->hub->name, handshake_ns(s), e);
    if (res == 0)
        res = caller_new(out, link, e);
    return res < 0
               ? err_prefix(e, "hub %s at %s port %u", s->hub->name, to->host, (unsigned)to->port)
               : 0;
}

static int open_lane(void *arg, struct caller **out, struct err *e)
{
    struct shipper *s = arg;
    return connect_hub(s, s->at, out, e);
}

/* ---- leaving a connection in good order ---- */

static void depart(struct shipper *s, const char *why)
{
    if (s->departing)
        return;
    log_notice("hub %s: %s: going on at another address", s->hub->name, why);
    s->departing = true;
    for (size_t i = 0; i < s->count; i++)
        fiber_wake_all(&s->groups[i]->chain.changed);
    fiber_wake_all(&s->news);
}

void shipper_served(struct shipper *s)
{
    s->trouble = 0;
}

void shipper_refused(struct shipper *s, const struct err *why)
{
    uint64_t now = io_now(fiber_io());
    if (s->hub->addr_count < 2 || (why->code != ERR_AGAIN && why->code != ERR_IO &&
                                   why->code != ERR_AUTH && why->code != ERR_OS))
        return;
    if (s->trouble == 0)
        s->trouble = now;
    if (now - s->trouble < SHIPPER_PATIENCE_NS)
        return;
    if (s->at == 0)
        s->home_after = now + SHIPPER_HOME_LATER_NS;
    depart(s, why->text);
}

/* Whether the first address answers as a hub does. */
static bool home_answers(struct shipper *s)
{
    struct err e = ERR_INIT;
    struct caller *c = NULL;
    bool well = connect_hub(s, 0, &c, &e) == 0 && !caller_leaving(c);
    caller_free(c);
    return well;
}

/* While the connection is to another address than the first. */
static void homing_fiber(void *arg)
{
    struct shipper *s = arg;
    unsigned well = 0;
    while (!s->departing && fiber_wait(&s->homing_end, SHIPPER_HOME_NS) == -ETIMEDOUT) {
        if (io_now(fiber_io()) < s->home_after)
            continue;
        well = home_answers(s) ? well + 1 : 0;
        if (well < SHIPPER_HOME_TIMES || s->departing)
            continue;
        s->homeward = true;
        depart(s, "the first address answers again");
    }
}

static void sample(struct shipper *s)
{
    memmove(s->samples + 1, s->samples, (SHIPPER_SAMPLES - 1) * sizeof s->samples[0]);
    s->samples[0].at = io_now(fiber_io());
    s->samples[0].bytes = lanes_bytes_out(&s->lanes);
    if (s->sample_count < SHIPPER_SAMPLES)
        s->sample_count++;
}

uint64_t shipper_rate(const struct shipper *s)
{
    unsigned last = s->sample_count > 0 ? s->sample_count - 1 : 0;
    uint64_t ns = s->samples[0].at - s->samples[last].at;
    if (!s->caller || ns == 0)
        return 0;
    return (uint64_t)((double)(s->samples[0].bytes - s->samples[last].bytes) * 1e9 / (double)ns);
}

static void set_link_up(struct shipper *s, bool up)
{
    for (size_t i = 0; i < s->count; i++)
        s->groups[i]->link_up = up;
}

/* As long as the connection works. Returns what it carried. */
static uint64_t ride(struct shipper *s)
{
    struct passenger *riders = err_calloc(s->count, sizeof *riders);
    struct fiber *homing = NULL;
    struct io *io = fiber_io();
    struct err e = ERR_INIT;
    s->since = io->ops->wall(io);
    io_random(io, &s->voyage, sizeof s->voyage);
    s->voyage |= 1;
    s->lanes.voyage = s->voyage;
    lanes_start(&s->lanes, s->caller);
    memset(s->offers, 0, sizeof s->offers);
    s->sample_count = 0;
    set_link_up(s, true);
    s->departing = s->homeward = false;
    s->trouble = 0;
    s->riding = (unsigned)s->count;
    if (s->at > 0)
        homing = fiber_spawn(io, "homing", homing_fiber, s);
    for (size_t i = 0; i < s->count; i++) {
        riders[i] = (struct passenger){.shipper = s, .group = s->groups[i]};
        riders[i].fiber = fiber_spawn(io, "ship", passenger_fiber, &riders[i]);
    }
    struct fiber *witness = fiber_spawn(io, "witness", witness_fiber, s);
    struct fiber *attesting = fiber_spawn(io, "attest", attest_main, s);
    while (!s->stopping && caller_broken(s->caller, &e) == 0) {
        sample(s);
        if (caller_leaving(s->caller))
            depart(s, "it is about to stop");
        if ((s->departing && s->riding == 0) || fiber_wait(&s->news, IO_S) == -ECANCELED)
            break;
    }
    set_link_up(s, false);
    for (size_t i = 0; i < s->count; i++)
        fiber_cancel(riders[i].fiber);
    fiber_cancel(attesting);
    for (size_t i = 0; i < s->count; i++)
        fiber_join(riders[i].fiber);
    fiber_cancel(witness);
    fiber_join(witness);
    fiber_join(attesting);
    if (homing) {
        s->departing = true;
        fiber_cancel(homing);
        fiber_join(homing);
    }
    if (e.code != ERR_OK) {
        s->error = e;
        log_warn("hub %s: the connection broke: %s", s->hub->name, e.text);
    }
    uint64_t carried = lanes_bytes_out(&s->lanes);
    lanes_stop(&s->lanes);
    caller_free(s->caller);
    s->caller = NULL;
    free(riders);
    return carried;
}

static uint64_t jittered(struct io *io, uint64_t ns)
{
    uint32_t r;
    io_random(io, &r, sizeof r);
    return ns / 2 + (uint64_t)((double)ns / 2 * ((double)r / UINT32_MAX));
}

/* One connection, or the attempt; moves on to the address for the next one. */
static void travel_once(struct shipper *s)
{
    struct io *io = fiber_io();
    struct err e = ERR_INIT;
    uint64_t start = io_now(io), carried;
    const struct config_addr *to = &s->hub->addrs[s->at];
    if (connect_hub(s, s->at, &s->caller, &e) == 0) {
        log_notice("hub %s: connected to %s port %u", s->hub->name, to->host, (unsigned)to->port);
        s->error = (struct err)ERR_INIT;
        s->homeward = false;
        carried = ride(s);
        s->failed++;
        if (s->homeward || io_now(io) - start >= STEADY_NS || carried >= STEADY_BYTES)
            s->failed = 0;
    } else {
        if (e.code != ERR_CANCELED && strcmp(e.text, s->error.text) != 0)
            log_warn("%s; trying again", e.text);
        s->caller = NULL;
        s->error = e;
        s->failed++;
    }
    s->at = s->homeward ? 0 : (s->at + 1) % s->hub->addr_count;
    s->homeward = false;
}

/* Doubles with each round of all addresses; other addresses of a round are tried at once. */
static uint64_t pause_ns(const struct shipper *s)
{
    unsigned rounds = s->failed / s->hub->addr_count;
    uint64_t ns = BACKOFF_MIN;
    if (s->failed % s->hub->addr_count != 0 || (s->failed == 0 && s->hub->addr_count > 1))
        return BACKOFF_MIN / 4;
    for (unsigned i = 1; i < rounds && ns < BACKOFF_MAX; i++)
        ns *= 2;
    return ns < BACKOFF_MAX ? ns : BACKOFF_MAX;
}

static void shipper_fiber(void *arg)
{
    struct shipper *s = arg;
    do
        travel_once(s);
    while (!s->stopping && !fiber_cancelled() &&
           fiber_sleep(jittered(fiber_io(), pause_ns(s))) == 0);
}

void shipper_start(struct shipper *s, const struct config_peer *hub, struct tls *tls,
                   const struct key_secret *sign, struct group **groups, size_t count,
                   const char *state_dir, unsigned lanes_max)
{
    *s = (struct shipper){.hub = hub, .tls = tls, .sign = sign, .groups = groups, .count = count};
    bufpool_init(&s->parts, PART_SIZE, SHARE_PLACES);
    share_init(&s->share);
    if (hub)
        witness_init(&s->witness, state_dir, hub->name);
    s->lanes = (struct lanes){.max = lanes_max, .share = &s->share, .open = open_lane, .arg = s};
    if (hub && hub->addr_count > 0 && count > 0)
        s->fiber = fiber_spawn(fiber_io(), "shipper", shipper_fiber, s);
}

void shipper_group_changed(struct shipper *s, struct group *g)
{
    share_changed(&s->share);
    fiber_wake_all(&g->chain.changed);
}

void shipper_stop(struct shipper *s)
{
    s->stopping = true;
    if (s->fiber) {
        fiber_cancel(s->fiber);
        fiber_join(s->fiber);
        s->fiber = NULL;
    }
    bufpool_free(&s->parts);
}
