#include "shipper.h"

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
}

static int connect_hub(struct shipper *s, struct caller **out, struct err *e)
{
    const struct config_addr *to = &s->hub->addrs[s->attempt % s->hub->addr_count];
    struct io_addr addr = {.port = to->port};
    struct link *link;
    int fd, res;
    (void)snprintf(addr.host, sizeof addr.host, "%s", to->host);
    fd = fio_connect(&addr, CONNECT_NS);
    if (fd < 0)
        return err_os(e, fd, "hub %s at %s port %u", s->hub->name, to->host, (unsigned)to->port);
    res = link_tls_connect(&link, fd, s->tls, s->hub->name, HANDSHAKE_NS, e);
    if (res == 0)
        res = caller_new(out, link, e);
    return res < 0
               ? err_prefix(e, "hub %s at %s port %u", s->hub->name, to->host, (unsigned)to->port)
               : 0;
}

static int open_lane(void *arg, struct caller **out, struct err *e)
{
    return connect_hub(arg, out, e);
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
    for (size_t i = 0; i < s->count; i++) {
        riders[i] = (struct passenger){.shipper = s, .group = s->groups[i]};
        riders[i].fiber = fiber_spawn(io, "ship", passenger_fiber, &riders[i]);
    }
    while (!s->stopping && caller_broken(s->caller, &e) == 0) {
        sample(s);
        if (fiber_wait(&s->news, IO_S) == -ECANCELED)
            break;
    }
    set_link_up(s, false);
    for (size_t i = 0; i < s->count; i++)
        fiber_cancel(riders[i].fiber);
    for (size_t i = 0; i < s->count; i++)
        fiber_join(riders[i].fiber);
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

static void shipper_fiber(void *arg)
{
    struct shipper *s = arg;
    struct io *io = fiber_io();
    uint64_t backoff = BACKOFF_MIN;
    for (s->attempt = 0; !s->stopping && !fiber_cancelled(); s->attempt++) {
        struct err e = ERR_INIT;
        uint64_t start = io_now(io);
        if (connect_hub(s, &s->caller, &e) == 0) {
            log_notice("hub %s: connected", s->hub->name);
            s->error = (struct err)ERR_INIT;
            uint64_t carried = ride(s);
            if (io_now(io) - start >= STEADY_NS || carried >= STEADY_BYTES)
                backoff = BACKOFF_MIN;
        } else {
            if (e.code != ERR_CANCELED && strcmp(e.text, s->error.text) != 0)
                log_warn("%s; trying again", e.text);
            s->caller = NULL;
            s->error = e;
        }
        if (s->stopping || fiber_sleep(jittered(io, backoff)) < 0)
            break;
        backoff = backoff * 2 < BACKOFF_MAX ? backoff * 2 : BACKOFF_MAX;
    }
}

void shipper_start(struct shipper *s, const struct config_peer *hub, struct tls *tls,
                   struct group **groups, size_t count, unsigned lanes_max)
{
    *s = (struct shipper){.hub = hub, .tls = tls, .groups = groups, .count = count};
    bufpool_init(&s->parts, PART_SIZE, SHARE_PLACES);
    share_init(&s->share);
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
