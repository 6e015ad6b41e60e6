#include "pump.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Packets that are read from one end before the other is looked at. */
#define BATCH    32
#define NS_PER_S UINT64_C(1000000000)

static uint64_t now_ns(void)
{
    struct timespec t;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- packets ---- */

static void deliver_reset(struct wan_pump *p, enum wan_way end, const struct wan_packet *packet,
                          bool to_sender)
{
    uint8_t reset[WAN_RESET_LEN];
    size_t len = wan_packet_reset(reset, packet, to_sender);
    if (len > 0 && write(p->ends[end].tun, reset, len) == (ssize_t)len)
        p->resets++;
}

/* Takes in up to BATCH packets that enter at one end. */
static int take_in(struct wan_pump *p, enum wan_way way, struct err *e)
{
    for (unsigned i = 0; i < BATCH; i++) {
        ssize_t n = read(p->ends[way].tun, p->scratch, WAN_PACKET_MAX);
        struct wan_packet *packet;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n < 0)
            return err_os(e, errno, "reading from a TUN device");
        packet = wan_packet_new(p->scratch, (size_t)n);
        if (!packet)
            continue; /* what else a fresh device says */
        if (p->profile->outage == WAN_RESET && !p->open) {
            deliver_reset(p, way, packet, true);
            deliver_reset(p, way == WAN_UPWARD ? WAN_DOWNWARD : WAN_UPWARD, packet, false);
        }
        wan_link_push(&p->links[way], packet, now_ns());
    }
    return 0;
}

/* Gives out what is due; what came by `way` leaves at the other end. */
static void give_out(struct wan_pump *p, enum wan_way way)
{
    int to = p->ends[way == WAN_UPWARD ? WAN_DOWNWARD : WAN_UPWARD].tun;
    uint64_t now = now_ns();
    struct wan_packet *packet;
    while ((packet = wan_link_pop(&p->links[way], now))) {
        uint64_t late = now - packet->due;
        p->delivered += packet->segs;
        if (late > WAN_LATE_NS)
            p->late += packet->segs;
        if (late > p->late_max)
            p->late_max = late;
        if (write(to, packet->data, packet->len) != (ssize_t)packet->len)
            p->refused += packet->segs;
        free(packet);
        now = now_ns();
    }
}

/* ---- changes ---- */

static void apply(struct wan_pump *p)
{
    static const struct wan_path no_limits = {.queue = WAN_FLIGHT_MAX};
    for (unsigned w = 0; w < WAN_WAYS; w++) {
        wan_link_set(&p->links[w], p->open ? &no_limits : &p->profile->path[w]);
        wan_link_cut(&p->links[w], !p->open && p->profile->outage != WAN_UP);
    }
}

static uint64_t next_step(const struct wan_pump *p)
{
    return p->step < p->profile->step_count && !p->hold ? p->started + p->profile->steps[p->step].at
                                                        : WAN_NEVER;
}

static void take_steps(struct wan_pump *p, uint64_t now)
{
    struct err e = ERR_INIT;
    bool any = false;
    for (; next_step(p) <= now; p->step++, any = true) {
        const struct wan_step *s = &p->profile->steps[p->step];
        ASSERT(wan_profile_set(p->profile, s->key, s->value, &e) == 0); /* tried when loaded */
    }
    if (any)
        apply(p);
}

void wan_pump_stats(const struct wan_pump *p, char *dst, size_t cap)
{
    char why[512];
    bool strained = wan_pump_strained(p, why, sizeof why);
    size_t n = 0;
    n += (size_t)snprintf(dst, cap, "{\"seconds\": %.3f, \"outage\": \"%s\", \"realtime\": %s",
                          (double)(now_ns() - p->started) / 1e9,
                          wan_outage_name(p->profile->outage), p->realtime ? "true" : "false");
    for (unsigned w = 0; w < WAN_WAYS; w++) {
        const struct wan_counts *c = &p->links[w].counts;
        n += (size_t)snprintf(
            dst + n, cap - n,
            ", \"%s\": {\"in\": %llu, \"in_bytes\": %llu, \"out\": %llu, \"out_bytes\": %llu, "
            "\"queue_drops\": %llu, \"losses\": %llu, \"outage_drops\": %llu, \"overflows\": %llu, "
            "\"queue_peak\": %llu, \"unread_drops\": %llu}",
            w == WAN_UPWARD ? "up" : "down", (unsigned long long)c->in_segs,
            (unsigned long long)c->in_bytes, (unsigned long long)c->out_segs,
            (unsigned long long)c->out_bytes, (unsigned long long)c->queue_drops,
            (unsigned long long)c->losses, (unsigned long long)c->outage_drops,
            (unsigned long long)c->overflows, (unsigned long long)c->queue_peak,
            (unsigned long long)wan_end_drops(&p->ends[w]));
    }
    (void)snprintf(dst + n, cap - n,
                   ", \"delivered\": %llu, \"late\": %llu, \"late_max_ms\": %.3f, "
                   "\"refused\": %llu, \"resets\": %llu, \"kept_up\": %s, \"how\": \"%s\"}",
                   (unsigned long long)p->delivered, (unsigned long long)p->late,
                   (double)p->late_max / 1e6, (unsigned long long)p->refused,
                   (unsigned long long)p->resets, strained ? "false" : "true", why);
}

bool wan_pump_strained(const struct wan_pump *p, char *dst, size_t cap)
{
    uint64_t unread = wan_end_drops(&p->ends[0]) + wan_end_drops(&p->ends[1]);
    uint64_t overflows = p->links[0].counts.overflows + p->links[1].counts.overflows;
    bool strained = p->late > p->delivered / 100 || unread + overflows + p->refused > 0;
    (void)snprintf(dst, cap,
                   "of %llu packets %llu were more than 1 ms late (the latest %.1f ms), %llu were "
                   "not read in time, %llu did not fit memory, %llu were refused by the kernel",
                   (unsigned long long)p->delivered, (unsigned long long)p->late,
                   (double)p->late_max / 1e6, (unsigned long long)unread,
                   (unsigned long long)overflows, (unsigned long long)p->refused);
    return strained;
}

/* What was late while nothing was measured says nothing of what is. */
static void begin(struct wan_pump *p)
{
    p->open = p->hold = false;
    p->started = now_ns();
    p->delivered = p->late = p->late_max = 0;
}

void wan_pump_tell(struct wan_pump *p, const char *request, char *dst, size_t cap)
{
    char key[WAN_TEXT_MAX], value[WAN_TEXT_MAX];
    struct err e = ERR_INIT;
    (void)snprintf(dst, cap, "ok");
    if (strcmp(request, "stats") == 0) {
        wan_pump_stats(p, dst, cap);
    } else if (strcmp(request, "stop") == 0) {
        p->stop = true;
    } else if (strcmp(request, "counts") == 0) {
        (void)snprintf(dst, cap, "%llu %llu %s",
                       (unsigned long long)p->links[WAN_UPWARD].counts.out_bytes,
                       (unsigned long long)p->links[WAN_DOWNWARD].counts.out_bytes,
                       wan_outage_name(p->open ? WAN_UP : p->profile->outage));
    } else if (strcmp(request, "open") == 0 || strcmp(request, "shape") == 0) {
        p->open = request[0] == 'o';
        apply(p);
    } else if (strcmp(request, "begin") == 0) {
        begin(p);
        apply(p);
    } else if (sscanf(request, "set %95s %95[^\n]", key, value) != 2) {
        (void)snprintf(dst, cap,
                       "error: \"%.60s\": known are set KEY VALUE, stats, counts, open, "
                       "shape, begin, stop",
                       request);
    } else if (wan_profile_set(p->profile, key, value, &e) < 0) {
        (void)snprintf(dst, cap, "error: %s", e.text);
    } else {
        apply(p);
    }
}

/* ---- control socket ---- */

int wan_pump_listen(struct wan_pump *p, const char *path, struct err *e)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd;
    if (strlen(path) >= sizeof un.sun_path)
        return err_set(e, ERR_LIMIT, "%s: a socket's path has at most %zu bytes", path,
                       sizeof un.sun_path - 1);
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof un) < 0 || listen(fd, WAN_CLIENTS) < 0) {
        int rc = err_os(e, errno, "listening on %s", path);
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    p->control = fd;
    (void)snprintf(p->path, sizeof p->path, "%s", path);
    return 0;
}

static void welcome(struct wan_pump *p)
{
    int fd = accept4(p->control, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    for (unsigned i = 0; fd >= 0 && i < WAN_CLIENTS; i++)
        if (p->clients[i] < 0) {
            p->clients[i] = fd;
            return;
        }
    if (fd >= 0)
        (void)close(fd);
}

static void answer(struct wan_pump *p, int *client)
{
    char request[256], reply[WAN_ANSWER_MAX];
    ssize_t n = read(*client, request, sizeof request - 1);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0) {
        request[n] = '\0';
        request[strcspn(request, "\n")] = '\0';
        wan_pump_tell(p, request, reply, sizeof reply);
        if (send(*client, reply, strlen(reply), MSG_NOSIGNAL) > 0)
            return;
    }
    (void)close(*client);
    *client = -1;
}

/* ---- the loop ---- */

enum {
    AT_SITE,
    AT_HUB,
    AT_SIGNAL,
    AT_UNTIL,
    AT_CONTROL,
    AT_CLIENTS,
    AT_ALL = AT_CLIENTS + WAN_CLIENTS
};

/* Waits for something to do: the next event of the model, a step, a packet, a word. */
static int await(struct wan_pump *p, struct pollfd *fds, struct err *e)
{
    uint64_t next = next_step(p), now;
    struct timespec t = {0};
    for (unsigned w = 0; w < WAN_WAYS; w++)
        if (wan_link_next(&p->links[w]) < next)
            next = wan_link_next(&p->links[w]);
    for (unsigned i = 0; i < WAN_CLIENTS; i++)
        fds[AT_CLIENTS + i].fd = p->clients[i];
    now = now_ns();
    if (next != WAN_NEVER && next > now)
        t = (struct timespec){(time_t)((next - now) / NS_PER_S), (long)((next - now) % NS_PER_S)};
    if (ppoll(fds, AT_ALL, next == WAN_NEVER ? NULL : &t, NULL) < 0 && errno != EINTR)
        return err_os(e, errno, "ppoll");
    return 0;
}

static void be_punctual(struct wan_pump *p)
{
    const struct sched_param first = {.sched_priority = 1};
    (void)prctl(PR_SET_TIMERSLACK, 1);
    /* A wish; without it busy neighbours make us late, which is counted. */
    p->realtime = sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first) == 0;
}

int wan_pump_run(struct wan_pump *p, int signals, int until_fd, struct err *e)
{
    struct pollfd fds[AT_ALL];
    int rc = 0;
    for (unsigned i = 0; i < AT_ALL; i++)
        fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    fds[AT_SITE].fd = p->ends[WAN_UPWARD].tun;
    fds[AT_HUB].fd = p->ends[WAN_DOWNWARD].tun;
    fds[AT_SIGNAL].fd = signals;
    fds[AT_UNTIL].fd = until_fd;
    fds[AT_CONTROL].fd = p->control;
    be_punctual(p);
    p->started = now_ns();
    apply(p);
    while (rc == 0 && !p->stop) {
        rc = await(p, fds, e);
        take_steps(p, now_ns());
        for (unsigned w = 0; w < WAN_WAYS && rc == 0; w++) {
            if (fds[AT_SITE + w].revents)
                rc = take_in(p, (enum wan_way)w, e);
            give_out(p, (enum wan_way)w);
        }
        if (fds[AT_CONTROL].revents)
            welcome(p);
        for (unsigned i = 0; i < WAN_CLIENTS; i++)
            if (p->clients[i] >= 0 && fds[AT_CLIENTS + i].fd == p->clients[i] &&
                fds[AT_CLIENTS + i].revents)
                answer(p, &p->clients[i]);
        if (fds[AT_SIGNAL].revents || fds[AT_UNTIL].revents)
            p->stop = true;
    }
    return rc;
}

int wan_pump_open(struct wan_pump *p, struct wan_profile *profile, bool offload, struct err *e)
{
    int rc;
    *p = (struct wan_pump){.profile = profile, .control = -1, .ends = {{-1, -1}, {-1, -1}}};
    for (unsigned i = 0; i < WAN_CLIENTS; i++)
        p->clients[i] = -1;
    for (unsigned w = 0; w < WAN_WAYS; w++)
        wan_link_init(&p->links[w], &profile->path[w], profile->seed + w);
    p->scratch = err_malloc(WAN_PACKET_MAX);
    rc = wan_end_open(&p->ends[WAN_UPWARD], WAN_SITE_ADDR, profile->mtu, offload, e);
    if (rc == 0)
        rc = wan_end_open(&p->ends[WAN_DOWNWARD], WAN_HUB_ADDR, profile->mtu, offload, e);
    if (rc < 0)
        wan_pump_close(p);
    return rc;
}

void wan_pump_close(struct wan_pump *p)
{
    for (unsigned i = 0; i < WAN_CLIENTS; i++)
        if (p->clients[i] >= 0)
            (void)close(p->clients[i]);
    if (p->control >= 0) {
        (void)close(p->control);
        (void)unlink(p->path);
    }
    for (unsigned w = 0; w < WAN_WAYS; w++) {
        wan_link_free(&p->links[w]);
        wan_end_close(&p->ends[w]);
    }
    free(p->scratch);
}
