/* sandbox: what relaisd does not need is refused, to every thread, and what it needs is not. */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fio.h"
#include "uring.h"

/* In a process of its own, which has entered the sandbox: 0, or the line that failed. */
static int inside(const struct config *c, int (*fn)(void))
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        struct err e = ERR_INIT;
        if (sandbox_harden(&e) < 0 || sandbox_enter(c, &e) < 0)
            _exit(255);
        _exit(fn());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const struct {
    const char *name;
    long number;
} forbidden[] = {{"ptrace", SYS_ptrace},
                 {"process_vm_readv", SYS_process_vm_readv},
                 {"process_vm_writev", SYS_process_vm_writev},
                 {"io_uring_setup", SYS_io_uring_setup},
                 {"execveat", SYS_execveat},
                 {"mount", SYS_mount},
                 {"umount2", SYS_umount2},
                 {"unshare", SYS_unshare},
                 {"setns", SYS_setns},
                 {"chroot", SYS_chroot},
                 {"pivot_root", SYS_pivot_root},
                 {"bpf", SYS_bpf},
                 {"perf_event_open", SYS_perf_event_open},
                 {"userfaultfd", SYS_userfaultfd},
                 {"keyctl", SYS_keyctl},
                 {"init_module", SYS_init_module},
                 {"finit_module", SYS_finit_module},
                 {"kexec_load", SYS_kexec_load},
                 {"reboot", SYS_reboot},
                 {"swapon", SYS_swapon},
                 {"settimeofday", SYS_settimeofday},
                 {"clock_settime", SYS_clock_settime},
                 {"open_by_handle_at", SYS_open_by_handle_at},
                 {"mknodat", SYS_mknodat},
                 {"acct", SYS_acct},
                 {"quotactl", SYS_quotactl}};

/* With arguments that none of them accepts: EPERM comes before they are looked at. */
static int all_refused(void)
{
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        errno = 0;
        if (syscall(forbidden[i].number, -1, -1, -1, -1, -1, -1) != -1 || errno != EPERM) {
            (void)fprintf(stderr, "%s: %s\n", forbidden[i].name, strerror(errno));
            return 1;
        }
    }
    return 0;
}

static const struct config *plain(void)
{
    static struct config c;
    return &c;
}

static const struct config *with_commands(void)
{
    static struct config_group g = {.freeze = "true"};
    static struct config c = {.groups = &g, .group_count = 1};
    return &c;
}

static void what_is_not_needed_is_refused(void **state)
{
    (void)state;
    assert_int_equal(inside(plain(), all_refused), 0);
    assert_int_equal(inside(with_commands(), all_refused), 0);
}

static int become_another(void)
{
    return syscall(SYS_setuid, 65534) == 0 ? 0 : errno;
}

static void only_commands_become_other_users(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(inside(plain(), become_another), EPERM);
    assert_int_equal(inside(with_commands(), become_another), 0);
}

static const struct config *with_owner(void)
{
    static struct config_volume v = {.export_owner = {.user = "nobody", .uid = 65534}};
    static struct config_group g = {.volumes = &v, .volume_count = 1};
    static struct config c = {.groups = &g, .group_count = 1};
    return &c;
}

static int give_away(void)
{
    char path[] = "/tmp/relais-sandbox-XXXXXX";
    int fd = mkstemp(path), res;
    if (fd < 0)
        return 254;
    res = lchown(path, 65534, (gid_t)-1) == 0 ? 0 : errno;
    (void)unlink(path);
    (void)close(fd);
    return res;
}

static int run_true(void)
{
    char *argv[] = {(char *)(uintptr_t) "true", NULL};
    (void)execv("/bin/true", argv);
    return errno;
}

static void files_are_given_away_only_where_an_export_has_an_owner(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(inside(plain(), give_away), EPERM);
    assert_int_equal(inside(with_owner(), give_away), 0);
    assert_int_equal(inside(with_owner(), all_refused), 0);
    assert_int_equal(inside(with_owner(), run_true), EPERM);
}

static void programs_are_run_only_where_the_configuration_names_commands(void **state)
{
    (void)state;
    assert_int_equal(inside(plain(), run_true), EPERM);
    assert_int_equal(inside(with_commands(), run_true), 0);
}

/* A thread that was there before, as the workers are. */
static pthread_barrier_t entered;
static void *old_thread(void *arg)
{
    int *res = arg;
    (void)pthread_barrier_wait(&entered);
    *res = all_refused();
    return NULL;
}

static void threads_that_were_there_before_are_in_it_too(void **state)
{
    pid_t pid = fork();
    int status;
    (void)state;
    if (pid == 0) {
        struct err e = ERR_INIT;
        pthread_t thread;
        int res = -1;
        (void)pthread_barrier_init(&entered, NULL, 2);
        if (pthread_create(&thread, NULL, old_thread, &res) != 0 || sandbox_enter(plain(), &e) < 0)
            _exit(255);
        (void)pthread_barrier_wait(&entered);
        (void)pthread_join(thread, NULL);
        _exit(res);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int is_hardened(void)
{
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
                   prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2
               ? 0
               : 1;
}

static void no_dumps_no_new_privileges(void **state)
{
    (void)state;
    assert_int_equal(inside(plain(), is_hardened), 0);
}

/* ---- the loop within it ---- */

static void use(void *arg)
{
    int *bad = arg;
    char buf[16] = "";
    int fd = fio_open("/proc/self/stat", O_RDONLY | O_CLOEXEC, 0);
    *bad = fd < 0 || fio_read(fd, buf, sizeof buf, 0) <= 0;
    if (fd >= 0)
        fio_close_always(fd);
    if (fio_command("exit 7", 10 * IO_S) != 7)
        *bad += 2;
    uring_stop(fiber_io());
}

static int loop_within(bool commands)
{
    struct io *io;
    struct err e = ERR_INIT;
    int bad = -1;
    if (uring_new(&io, 1, &e) < 0 || sandbox_enter(commands ? with_commands() : plain(), &e) < 0)
        return 255;
    struct fiber *f = fiber_spawn(io, "test", use, &bad);
    uring_run(io);
    fiber_join(f);
    uring_free(io);
    return bad;
}

static void the_loop_works_and_runs_commands_where_it_may(void **state)
{
    (void)state;
    for (int commands = 0; commands < 2; commands++) {
        pid_t pid = fork();
        int status;
        if (pid == 0)
            _exit(loop_within(commands));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), commands ? 0 : 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_needed_is_refused),
        cmocka_unit_test(programs_are_run_only_where_the_configuration_names_commands),
        cmocka_unit_test(only_commands_become_other_users),
        cmocka_unit_test(files_are_given_away_only_where_an_export_has_an_owner),
        cmocka_unit_test(threads_that_were_there_before_are_in_it_too),
        cmocka_unit_test(no_dumps_no_new_privileges),
        cmocka_unit_test(the_loop_works_and_runs_commands_where_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
