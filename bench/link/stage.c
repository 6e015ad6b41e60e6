#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE_MS  8000u
#define ANSWER_MS 5000

char *stage_path(const struct stage *s, char *dst, const char *name)
{
    (void)snprintf(dst, STAGE_PATH, "%.400s/%.100s", s->dir, name);
    return dst;
}

struct child_how stage_at(const struct stage *s, enum wan_way end, const char *log)
{
    return (struct child_how){.netns = s->netns[end], .log = log, .out = -1};
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    (void)remove(path);
    return 0;
}

void stage_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* In the process that is the link. */
_Noreturn static void be_link(struct wan_pump *p)
{
    struct err e = ERR_INIT;
    sigset_t all;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0);
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, NULL); /* it ends when it is told to, or killed */
    if (wan_pump_run(p, -1, -1, &e) < 0)
        (void)fprintf(stderr, "relais-bench: the emulated link: %s\n", e.text);
    _exit(e.code == ERR_OK ? 0 : 1);
}

static int connect_control(struct stage *s, const char *path, struct err *e)
{
    const struct timeval patience = {.tv_sec = ANSWER_MS / 1000};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%.100s", path);
    s->control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (s->control < 0 || connect(s->control, (struct sockaddr *)&un, sizeof un) < 0)
        return err_os(e, errno, "%s", path);
    (void)setsockopt(s->control, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return 0;
}

static int open_link(struct stage *s, struct wan_profile *profile, struct err *e)
{
    struct wan_pump pump;
    char path[STAGE_PATH];
    int rc = wan_pump_open(&pump, profile, true, e);
    if (rc < 0)
        return rc;
    pump.open = pump.hold = true;
    rc = wan_pump_listen(&pump, stage_path(s, path, "link"), e);
    for (unsigned w = 0; w < WAN_WAYS && rc == 0; w++) {
        s->netns[w] = fcntl(pump.ends[w].netns, F_DUPFD_CLOEXEC, 3);
        if (s->netns[w] < 0)
            rc = err_os(e, errno, "a descriptor");
    }
    if (rc == 0) {
        s->pump = fork();
        if (s->pump == 0)
            be_link(&pump);
        if (s->pump < 0)
            rc = err_os(e, errno, "starting the link's process");
    }
    if (rc == 0)
        rc = connect_control(s, path, e);
    wan_pump_close(&pump); /* ours; the process has its own */
    return rc;
}

int stage_open(struct stage *s, const char *parent, struct wan_profile *profile, struct err *e)
{
    int rc;
    *s = (struct stage){.netns = {-1, -1}, .pump = -1, .control = -1};
    if (strlen(parent) > 60)
        return err_set(e, ERR_LIMIT, "%s: the path is too long for the sockets in it", parent);
    (void)snprintf(s->dir, sizeof s->dir, "%s/relais-bench-XXXXXX", parent);
    if (!mkdtemp(s->dir)) {
        rc = err_os(e, errno, "making a directory in %s", parent);
        s->dir[0] = '\0';
        return rc;
    }
    rc = open_link(s, profile, e);
    if (rc < 0)
        stage_close(s);
    return rc;
}

/* Ends what lives at the ends: daemons first get a chance to end well. */
static void clear_ends(const struct stage *s)
{
    for (unsigned ms = 0; ms < GRACE_MS; ms += 50) {
        unsigned n = 0;
        for (unsigned w = 0; w < WAN_WAYS; w++) {
            const struct wan_end end = {.netns = s->netns[w], .tun = -1};
            n += s->netns[w] >= 0 ? wan_end_kill(&end, ms == 0 ? SIGTERM : 0) : 0;
        }
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (n == 0)
            return;
        (void)usleep(50000);
    }
    for (unsigned w = 0; w < WAN_WAYS; w++) {
        const struct wan_end end = {.netns = s->netns[w], .tun = -1};
        if (s->netns[w] >= 0)
            (void)wan_end_kill(&end, SIGKILL);
    }
}

void stage_close(struct stage *s)
{
    clear_ends(s);
    if (s->pump > 0) {
        (void)kill(s->pump, SIGKILL);
        (void)waitpid(s->pump, NULL, 0);
    }
    if (s->control >= 0)
        (void)close(s->control);
    for (unsigned w = 0; w < WAN_WAYS; w++)
        if (s->netns[w] >= 0)
            (void)close(s->netns[w]);
    if (s->dir[0] && !s->keep)
        stage_remove(s->dir);
    s->control = s->netns[0] = s->netns[1] = -1;
    s->pump = -1;
    s->dir[0] = '\0';
}

int stage_tell(const struct stage *s, const char *request, char *reply, size_t cap, struct err *e)
{
    ssize_t n = -1;
    if (send(s->control, request, strlen(request), MSG_NOSIGNAL) > 0)
        n = recv(s->control, reply, cap - 1, 0);
    if (n <= 0)
        return err_set(e, ERR_NET, "the emulated link does not answer \"%.60s\"", request);
    reply[n] = '\0';
    if (strncmp(reply, "error: ", 7) == 0)
        return err_set(e, ERR_CONFIG, "the emulated link: %.300s", reply + 7);
    return 0;
}
