#include "sandbox.h"

#include "log.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* What relaisd, OpenSSL, libsodium, libsystemd and librados are made of, by kind. Names that a
 * machine's libseccomp does not know are left out. */
static const char *const allowed[] = {
    /* the ring; io_uring_setup is not here */
    "io_uring_enter",
    "io_uring_register",
    /* memory and threads */
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "mlock",
    "mlock2",
    "munlock",
    "mincore",
    "membarrier",
    "futex",
    "futex_waitv",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "clone",
    "clone3",
    "set_tid_address",
    "gettid",
    "tgkill",
    "exit",
    "exit_group",
    "arch_prctl",
    "prctl",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_getattr",
    "sched_setattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_setscheduler",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "getpriority",
    "setpriority",
    "ioprio_get",
    "ioprio_set",
    "restart_syscall",
    "getcpu",
    /* descriptors and files */
    "read",
    "readv",
    "pread64",
    "preadv",
    "preadv2",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "open",
    "openat",
    "openat2",
    "creat",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "flock",
    "lseek",
    "stat",
    "fstat",
    "lstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getdents",
    "getdents64",
    "getcwd",
    "ftruncate",
    "truncate",
    "fallocate",
    "fadvise64",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "copy_file_range",
    "sendfile",
    "splice",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "chmod",
    "fchmod",
    "fchmodat",
    "umask",
    "ioctl",
    "pipe",
    "pipe2",
    "memfd_create",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
    /* waiting, time, signals */
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd",
    "eventfd2",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "times",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigsuspend",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "alarm",
    "pause",
    /* sockets */
    "socket",
    "socketpair",
    "bind",
    "listen",
    "accept",
    "accept4",
    "connect",
    "shutdown",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    /* who and where we are */
    "getpid",
    "getppid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "getresuid",
    "getresgid",
    "getpgrp",
    "getpgid",
    "getsid",
    "uname",
    "sysinfo",
    "getrlimit",
    "setrlimit",
    "prlimit64",
    "getrusage",
    "getrandom",
    "capget",
};

/* What giving an export's socket to its owner takes besides. */
static const char *const for_owners[] = {"chown", "lchown", "fchown", "fchownat"};

/* What running a command takes besides, as another user, too (runuser -u postgres ...); those of a
 * command itself are its own affair: what is not here and not above is refused to it, too. */
static const char *const for_commands[] = {
    "setuid",       "setgid",        "setreuid",     "setregid",   "setresuid",
    "setresgid",    "setgroups",     "execve",       "fork",       "vfork",
    "wait4",        "waitid",        "kill",         "pidfd_open", "pidfd_send_signal",
    "setpgid",      "setsid",        "chdir",        "fchdir",     "link",
    "linkat",       "symlink",       "symlinkat",    "chown",      "fchown",
    "fchownat",     "lchown",        "utimensat",    "utime",      "utimes",
    "sync",         "syncfs",        "msync",        "setitimer",  "getitimer",
    "timer_create", "timer_settime", "timer_delete", "shmget",     "shmat",
    "shmctl",       "shmdt",         "semget",       "semop",      "semctl",
    "getxattr",     "lgetxattr",     "fgetxattr",    "listxattr",  "tkill",
    "capset",
};

int sandbox_harden(struct err *e)
{
    const struct rlimit none = {0, 0};
    (void)umask(077);
    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_os(e, errno, "giving up core dumps and new privileges");
    (void)signal(SIGPIPE, SIG_IGN);
    return 0;
}

static int allow(scmp_filter_ctx filter, const char *const *names, size_t count)
{
    int res = 0;
    for (size_t i = 0; i < count && res == 0; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number != __NR_SCMP_ERROR)
            res = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
    }
    return res;
}

static bool has_commands(const struct config *c)
{
    for (unsigned i = 0; i < c->group_count; i++)
        if (*c->groups[i].freeze || *c->groups[i].thaw)
            return true;
    return false;
}

static bool has_owners(const struct config *c)
{
    for (unsigned i = 0; i < c->group_count; i++)
        for (unsigned j = 0; j < c->groups[i].volume_count; j++) {
            const struct config_owner *owner = &c->groups[i].volumes[j].export_owner;
            if (*owner->user || *owner->group)
                return true;
        }
    return false;
}

int sandbox_enter(const struct config *c, struct err *e)
{
    bool commands = has_commands(c);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return err_set(e, ERR_OS, "the filter of system calls: no memory");
    /* All threads; nothing by which a setuid program could get rid of it. */
    int res = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (res == 0)
        res = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1);
    if (res == 0)
        res = allow(filter, allowed, sizeof allowed / sizeof allowed[0]);
    if (res == 0 && has_owners(c))
        res = allow(filter, for_owners, sizeof for_owners / sizeof for_owners[0]);
    if (res == 0 && commands)
        res = allow(filter, for_commands, sizeof for_commands / sizeof for_commands[0]);
    if (res == 0)
        res = seccomp_load(filter);
    seccomp_release(filter);
    if (res < 0)
        return err_os(e, res,
                      "the filter of system calls (a kernel with CONFIG_SECCOMP_FILTER is needed)");
    log_info("system calls that relaisd does not need are refused%s",
             commands ? "; execve is not, for the freeze and thaw commands"
                      : ", execve among them");
    return 0;
}
