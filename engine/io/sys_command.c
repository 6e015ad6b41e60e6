#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_NS (2 * IO_S) /* between SIGTERM and SIGKILL */

/* A group of its own, so that a timeout reaches what the shell started; no signal blocked or
 * ignored, which the child would inherit from this thread. */
static int spawn(const char *command, pid_t *pid)
{
    char shell[] = "sh", flag[] = "-c";
    char *argv[] = {shell, flag, (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int res = posix_spawn_file_actions_init(&files);
    if (res)
        return -res;
    res = posix_spawnattr_init(&attr);
    if (res) {
        (void)posix_spawn_file_actions_destroy(&files);
        return -res;
    }
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    res = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (!res)
        res = posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    if (!res)
        res = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                  POSIX_SPAWN_SETSIGDEF);
    if (!res)
        res = posix_spawnattr_setpgroup(&attr, 0);
    if (!res)
        res = posix_spawnattr_setsigmask(&attr, &none);
    if (!res)
        res = posix_spawnattr_setsigdefault(&attr, &all);
    if (!res)
        res = posix_spawn(pid, "/bin/sh", &files, &attr, argv, environ);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&files);
    return -res;
}

static uint64_t monotonic(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * IO_S + (uint64_t)ts.tv_nsec;
}

/* Whether the process exited within timeout_ns. */
static bool exited(int pidfd, uint64_t timeout_ns)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    uint64_t now = monotonic();
    uint64_t end = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
    for (;;) {
        uint64_t left = end > now ? end - now : 0;
        struct timespec ts = {.tv_sec = (time_t)(left / IO_S), .tv_nsec = (long)(left % IO_S)};
        int n = ppoll(&p, 1, &ts, NULL);
        now = monotonic();
        if (n > 0)
            return true;
        if (n == 0 && now >= end)
            return false;
    }
}

static int status_of(pid_t pid)
{
    int status;
    pid_t got;
    do {
        got = waitpid(pid, &status, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int sys_command(const uint64_t *args)
{
    bool late;
    pid_t pid = 0;
    int pidfd, res = spawn(sys_ptr(args[0]), &pid);
    if (res < 0)
        return res;
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        res = -errno; /* without it there is no timeout: do not let it run */
        (void)kill(-pid, SIGKILL);
        (void)status_of(pid);
        return res;
    }
    late = !exited(pidfd, args[1]);
    if (late) {
        /* The group keeps its number as long as the shell is not reaped. Killing it after the shell
         * went reaches those of its children that ignored SIGTERM. */
        (void)kill(-pid, SIGTERM);
        (void)exited(pidfd, GRACE_NS);
        (void)kill(-pid, SIGKILL);
    }
    (void)close(pidfd);
    res = status_of(pid);
    return late ? -ETIMEDOUT : res;
}
