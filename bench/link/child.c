#include "child.h"

#include "fiber.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_MS 20u

int child_pause(unsigned ms)
{
    if (fiber_self())
        return fiber_sleep(ms * UINT64_C(1000000)) == 0 ? 0 : -(int)ERR_CANCELED;
    (void)usleep(ms * 1000u);
    return 0;
}

static void become(const struct child_how *how, char *const argv[])
{
    int null = open("/dev/null", O_RDWR), log = null;
    sigset_t none;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (how->netns >= 0 && setns(how->netns, CLONE_NEWNET) < 0)
        _exit(126);
    if (how->log)
        log = open(how->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(how->out >= 0 ? how->out : log, 1) < 0 ||
        dup2(log, 2) < 0)
        _exit(126);
    (void)execvp(argv[0], argv);
    (void)fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

pid_t child_start(const struct child_how *how, char *const argv[], struct err *e)
{
    pid_t pid = fork();
    if (pid == 0)
        become(how, argv);
    if (pid < 0)
        (void)err_os(e, errno, "starting %s", argv[0]);
    return pid;
}

static int shell_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool child_ended(pid_t pid, int *status)
{
    int s = 0;
    pid_t got = waitpid(pid, &s, WNOHANG);
    if (got == 0)
        return false;
    *status = got == pid ? shell_status(s) : 255;
    return true;
}

void child_end(pid_t pid, unsigned grace_ms)
{
    int status;
    if (pid <= 0)
        return;
    if (grace_ms > 0)
        (void)kill(pid, SIGTERM);
    for (unsigned ms = 0; ms < grace_ms; ms += POLL_MS) {
        if (child_ended(pid, &status))
            return;
        (void)usleep(POLL_MS * 1000u);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
}

/* What stands last in the log, for an error's text. */
static void last_line(char *dst, size_t cap, const char *log)
{
    FILE *f = log ? fopen(log, "re") : NULL;
    char line[300];
    dst[0] = '\0';
    if (f && fseek(f, -2000, SEEK_END) < 0)
        rewind(f);
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0])
            (void)snprintf(dst, cap, "%s", line);
    }
    if (f)
        (void)fclose(f);
}

/* Takes what there is, so that the writer never waits for room. */
static void take(int fd, char *out, size_t cap, size_t *len)
{
    char scrap[4096];
    ssize_t n;
    while ((n = read(fd, scrap, sizeof scrap)) > 0) {
        size_t fits = cap - 1 - *len < (size_t)n ? cap - 1 - *len : (size_t)n;
        memcpy(out + *len, scrap, fits);
        *len += fits;
    }
    out[*len] = '\0';
}

int child_run(const struct child_how *how, char *const argv[], char *out, size_t cap, struct err *e)
{
    struct child_how with = *how;
    char said[300];
    int ends[2] = {-1, -1}, status = 0, rc = 0;
    size_t len = 0;
    pid_t pid;
    bool over = false;
    if (out && pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_os(e, errno, "a pipe");
    with.out = out ? ends[1] : -1;
    pid = child_start(&with, argv, e);
    rc = pid < 0 ? -(int)e->code : 0;
    while (rc == 0 && !over) {
        over = child_ended(pid, &status);
        if (out)
            take(ends[0], out, cap, &len);
        if (!over && child_pause(POLL_MS) != 0) {
            child_end(pid, 2000);
            rc = err_set(e, ERR_CANCELED, "interrupted");
        }
    }
    if (out) {
        (void)close(ends[0]);
        (void)close(ends[1]);
    }
    if (rc == 0 && status != 0) {
        last_line(said, sizeof said, how->log);
        rc = err_set(e, ERR_IO, "%s %s: exit status %d: %s", argv[0], argv[1] ? argv[1] : "",
                     status, said);
    }
    return rc;
}

/* ---- what a process uses ---- */

static bool slurp(char *dst, size_t cap, pid_t pid, const char *name)
{
    char path[64];
    ssize_t n;
    int fd;
    (void)snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, dst, cap - 1);
    if (fd >= 0)
        (void)close(fd);
    dst[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static uint64_t kib_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

bool child_use(pid_t pid, struct child_use *u)
{
    unsigned long long user = 0, kernel = 0;
    char text[4096];
    const char *at;
    if (!slurp(text, sizeof text, pid, "stat") || !(at = strrchr(text, ')')) ||
        sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &kernel) != 2)
        return false;
    u->cpu_s = (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
    if (!slurp(text, sizeof text, pid, "status"))
        return false;
    u->memory = kib_of(text, "VmRSS:");
    u->memory_peak = kib_of(text, "VmHWM:");
    return u->memory > 0; /* a zombie has none */
}

void child_peak_reset(pid_t pid)
{
    char path[64];
    int fd;
    (void)snprintf(path, sizeof path, "/proc/%ld/clear_refs", (long)pid);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "5", 1) < 0) {
        /* An old kernel: the peak is then that since the start. */
    }
    (void)close(fd);
}
