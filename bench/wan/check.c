#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PINGS       50
#define PING_GAP_NS 10000000
#define PING_WAIT   2000 /* ms */
#define WARM_NS     UINT64_C(500000000)
#define RATE_NS     UINT64_C(2500000000)
#define LOSS_NS     UINT64_C(3000000000)
#define CEILING_NS  UINT64_C(3000000000)
#define HEADERS     28u /* of IPv4 and UDP */
#define TICK_NS     500000
#define PORT        7077
#define SMALL       100u
#define RATE_ASSUME UINT64_C(100000000) /* where the link has no limit */

static uint64_t now_ns(void)
{
    struct timespec t;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pause_ns(long ns)
{
    const struct timespec t = {0, ns};
    (void)nanosleep(&t, NULL);
}

bool wan_measured_holds(const struct wan_measured *m)
{
    return fabs(m->got - m->set) <= m->tolerance;
}

/* ---- in the measuring process: one connected UDP socket at either end ---- */

struct probe {
    const struct wan_profile *profile;
    int fd[WAN_WAYS];
    uint32_t run; /* tells packets of one measurement from those of the one before */
};

struct datagram {
    uint32_t run, number;
    uint8_t fill[9000];
};

static int open_probe(struct probe *b, const struct wan_pump *p, struct err *e)
{
    static const char *const addrs[WAN_WAYS] = {WAN_SITE_ADDR, WAN_HUB_ADDR};
    const int room = 8 << 20;
    for (unsigned w = 0; w < WAN_WAYS; w++) {
        b->fd[w] = wan_end_socket(&p->ends[w], SOCK_DGRAM | SOCK_NONBLOCK, e);
        if (b->fd[w] < 0)
            return -(int)e->code;
        (void)setsockopt(b->fd[w], SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
        (void)setsockopt(b->fd[w], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    }
    for (unsigned w = 0; w < WAN_WAYS; w++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)}, to = at;
        ASSERT(inet_pton(AF_INET, addrs[w], &at.sin_addr) == 1);
        ASSERT(inet_pton(AF_INET, addrs[!w], &to.sin_addr) == 1);
        if (bind(b->fd[w], (struct sockaddr *)&at, sizeof at) < 0 ||
            connect(b->fd[w], (struct sockaddr *)&to, sizeof to) < 0)
            return err_os(e, errno, "a socket at %s", addrs[w]);
    }
    return 0;
}

/* The next packet of this run: its number, and its length; false when none is there. */
static bool receive(const struct probe *b, unsigned end, uint32_t *number, size_t *len)
{
    struct datagram d;
    ssize_t n;
    while ((n = recv(b->fd[end], &d, sizeof d, 0)) > 0)
        if ((size_t)n >= SMALL && d.run == b->run) {
            *number = d.number;
            *len = (size_t)n;
            return true;
        }
    return false;
}

static bool post(const struct probe *b, unsigned end, uint32_t number, size_t len)
{
    struct datagram d = {.run = b->run, .number = number};
    return send(b->fd[end], &d, len, 0) == (ssize_t)len;
}

static bool hears(const struct probe *b, unsigned end, uint32_t number)
{
    uint64_t until = now_ns() + (uint64_t)PING_WAIT * 1000000;
    while (now_ns() < until) {
        struct pollfd f = {.fd = b->fd[end], .events = POLLIN};
        uint32_t got;
        size_t len;
        while (receive(b, end, &got, &len))
            if (got == number)
                return true;
        (void)poll(&f, 1, 50);
    }
    return false;
}

static double small_wire_ns(const struct wan_path *path)
{
    return path->rate ? (SMALL + HEADERS) * 8e9 / (double)path->rate : 0;
}

static int by_value(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* There and back, one at a time. With jitter the mean, else the median counts: a machine that
 * hiccups once is not a link that is slow. */
static int measure_rtt(struct probe *b, struct wan_measured *out, struct err *e)
{
    const struct wan_path *up = &b->profile->path[WAN_UPWARD],
                          *down = &b->profile->path[WAN_DOWNWARD];
    double took[PINGS], sum = 0;
    unsigned n = 0;
    b->run++;
    for (uint32_t i = 0; i < PINGS; i++) {
        uint64_t began = now_ns();
        if (post(b, WAN_UPWARD, i, SMALL) && hears(b, WAN_DOWNWARD, i) &&
            post(b, WAN_DOWNWARD, i, SMALL) && hears(b, WAN_UPWARD, i)) {
            took[n] = (double)(now_ns() - began);
            sum += took[n++];
        }
        pause_ns(PING_GAP_NS);
    }
    if (n < PINGS / 2)
        return err_set(e, ERR_NET, "of %u small packets only %u came back", PINGS, n);
    qsort(took, n, sizeof took[0], by_value);
    out->set = (double)(up->delay + down->delay) + small_wire_ns(up) + small_wire_ns(down);
    out->got = up->jitter + down->jitter ? sum / n : took[n / 2];
    /* The mean of so few points of the jitter's line is off by this much itself. */
    out->tolerance = (double)WAN_DELAY_TOLERANCE + (double)(up->jitter + down->jitter) / 5;
    return 0;
}

struct flow {
    uint64_t sent, came, came_bytes; /* came_bytes: on the wire, within the window */
    uint64_t from, to;               /* the window */
};

/* Sends `rate` bits a second of packets of len bytes of payload for ns. */
static void send_flow(struct probe *b, unsigned from, double rate, size_t len, uint64_t ns,
                      struct flow *f)
{
    uint64_t began = now_ns(), now, settle = began + ns + 2 * b->profile->path[from].delay;
    double each = (double)(len + HEADERS) * 8e9 / rate;
    uint32_t number;
    size_t got;
    settle += 2 * b->profile->path[from].jitter + WARM_NS;
    b->run++;
    f->from = began + WARM_NS + b->profile->path[from].delay;
    f->to = began + ns;
    while ((now = now_ns()) < settle) {
        while (now < began + ns && (double)f->sent * each < (double)(now - began) &&
               post(b, from, (uint32_t)f->sent, len)) {
            f->sent++;
            if (f->sent % 16 == 0)
                break;
        }
        while (receive(b, !from, &number, &got)) {
            now = now_ns();
            f->came++;
            if (now >= f->from && now < f->to)
                f->came_bytes += got + HEADERS;
        }
        if (now >= began + ns || (double)f->sent * each >= (double)(now - began))
            pause_ns(TICK_NS);
    }
}

static void measure_rate(struct probe *b, unsigned from, struct wan_measured *out)
{
    const struct wan_path *path = &b->profile->path[from];
    struct flow f = {0};
    if (path->rate == 0)
        return; /* what the machine can do: wan_check_ceiling */
    send_flow(b, from, (double)path->rate * 1.1, b->profile->mtu - HEADERS, RATE_NS + WARM_NS, &f);
    out->set = (double)path->rate * (1 - wan_path_loss(path));
    out->got = (double)f.came_bytes * 8e9 / (double)(f.to - f.from);
    out->tolerance = out->set * WAN_RATE_TOLERANCE;
}

static void measure_loss(struct probe *b, unsigned from, struct wan_measured *out)
{
    const struct wan_path *path = &b->profile->path[from];
    double rate = (double)(path->rate ? path->rate : RATE_ASSUME) / 2, sigma;
    struct flow f = {0};
    if (rate > 20e6)
        rate = 20e6; /* more packets than any statistics need */
    send_flow(b, from, rate, SMALL, LOSS_NS, &f);
    out->set = wan_path_loss(path);
    out->got = f.sent ? 1 - (double)f.came / (double)f.sent : 1;
    sigma = sqrt(out->set * (1 - out->set) / (double)(f.sent ? f.sent : 1));
    if (path->burst_begin > 0) /* losses come together: so many fewer independent ones */
        sigma *= sqrt(2 / path->burst_end);
    out->tolerance = 4 * sigma;
}

static int measure_all(struct wan_fidelity *out, const struct wan_pump *p, struct err *e)
{
    struct probe b = {.profile = p->profile};
    int rc = open_probe(&b, p, e);
    if (rc == 0)
        rc = measure_rtt(&b, &out->rtt, e);
    for (unsigned w = 0; w < WAN_WAYS && rc == 0; w++) {
        measure_loss(&b, w, &out->loss[w]);
        measure_rate(&b, w, &out->rate[w]);
    }
    return rc;
}

/* ---- the ceiling: one TCP stream ---- */

static int stream(double *bits, const struct wan_pump *p, struct err *e)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    static uint8_t buf[1 << 18];
    int l = wan_end_socket(&p->ends[WAN_DOWNWARD], SOCK_STREAM, e), s, c;
    uint64_t began, total = 0, now;
    pid_t sender;
    ASSERT(inet_pton(AF_INET, WAN_HUB_ADDR, &at.sin_addr) == 1);
    if (l < 0)
        return -(int)e->code;
    if (bind(l, (struct sockaddr *)&at, sizeof at) < 0 || listen(l, 1) < 0)
        return err_os(e, errno, "listening at the hub's end");
    s = wan_end_socket(&p->ends[WAN_UPWARD], SOCK_STREAM, e);
    if (s < 0)
        return -(int)e->code;
    if (connect(s, (struct sockaddr *)&at, sizeof at) < 0 || (c = accept(l, NULL, NULL)) < 0)
        return err_os(e, errno, "connecting the two ends");
    sender = fork();
    if (sender == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (send(s, buf, sizeof buf, MSG_NOSIGNAL) > 0)
            ;
        _exit(0);
    }
    (void)close(s);
    for (began = now = now_ns(); now - began < CEILING_NS; now = now_ns()) {
        ssize_t n = recv(c, buf, sizeof buf, 0);
        if (n <= 0)
            break;
        total += (uint64_t)n;
    }
    *bits = (double)total * 8e9 / (double)(now - began);
    (void)kill(sender, SIGKILL);
    (void)waitpid(sender, NULL, 0);
    return 0;
}

/* ---- both processes ---- */

struct result {
    struct wan_fidelity fidelity;
    double bits;
    struct err err;
};

static void child(int fd, const struct wan_pump *p, bool ceiling)
{
    struct result r = {.err = ERR_INIT};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)(ceiling ? stream(&r.bits, p, &r.err) : measure_all(&r.fidelity, p, &r.err));
    _exit(write(fd, &r, sizeof r) == (ssize_t)sizeof r ? 0 : 1);
}

static int measure(struct result *r, struct wan_pump *p, int signals, bool ceiling, struct err *e)
{
    int pipe_fd[2], ended, rc;
    pid_t pid;
    if (pipe(pipe_fd) < 0)
        return err_os(e, errno, "a pipe");
    pid = fork();
    if (pid == 0)
        child(pipe_fd[1], p, ceiling);
    (void)close(pipe_fd[1]);
    ended = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    rc = ended < 0 ? err_os(e, errno, "starting a process that measures")
                   : wan_pump_run(p, signals, ended, e);
    if (rc == 0 && read(pipe_fd[0], r, sizeof *r) != (ssize_t)sizeof *r)
        rc = err_set(e, ERR_CANCELED, "stopped before all was measured");
    if (rc == 0 && r->err.code != ERR_OK) {
        *e = r->err;
        rc = -(int)e->code;
    }
    (void)close(pipe_fd[0]);
    if (ended >= 0)
        (void)close(ended);
    if (pid > 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return rc;
}

int wan_check_run(struct wan_fidelity *out, struct wan_pump *p, int signals, struct err *e)
{
    struct result r = {.err = ERR_INIT};
    int rc = measure(&r, p, signals, false, e);
    *out = r.fidelity;
    return rc;
}

int wan_check_ceiling(double *bits_per_s, struct wan_pump *p, int signals, struct err *e)
{
    struct result r = {.err = ERR_INIT};
    int rc = measure(&r, p, signals, true, e);
    *bits_per_s = r.bits;
    return rc;
}
