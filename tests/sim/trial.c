#include "trial.h"

#include "err.h"
#include "log.h"
#include "random.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED_SECONDS 300u /* of real time: a seed that takes longer hangs */

static struct verdict *verdicts; /* shared with the children, one for each slot */
static pid_t pids[TRIAL_SLOTS];  /* 0: free */
static struct verdict *mine;     /* of this child */
static struct world *current;

static void report(struct world *w)
{
    mine->failed = w->failed;
    mine->events = w->events;
    mine->virtual_ns = w->now - w->started;
    mine->digest = w->digest;
    mine->checked = w->checked;
    mine->complete = w->complete;
    mine->memory_peak = w->memory_peak;
    mine->memory_max = w->memory_max;
    mine->troubles = w->troubles;
    memcpy(mine->count, w->count, sizeof mine->count);
    memcpy(mine->did, w->did, sizeof mine->did);
    memcpy(mine->failure, w->failure, sizeof mine->failure);
}

/* An assertion failed or memory was misused: the world's last lines are what explains it. */
static void on_signal(int signo)
{
    if (current) {
        report(current);
        if (current->verbose)
            (void)fprintf(stderr, "^ %s\n", strsignal(signo));
        else
            world_print_trace(current, stderr);
    }
    (void)snprintf(mine->failure, sizeof mine->failure, "the code under test died: %s%s",
                   strsignal(signo), signo == SIGALRM ? " (it hangs)" : "");
    mine->failed = true;
    _exit(3);
}

static void child(const struct trial *t, bool tell, bool verbose)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGALRM};
    struct world *w;
    if (!tell) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)dup2(null, STDERR_FILENO);
    }
    log_set_level(verbose ? LOG_L_DEBUG : LOG_L_INFO);
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++)
        (void)signal(signals[i], on_signal);
    (void)alarm(SEED_SECONDS);
    sim_random_seed(t->seed);
    w = current = world_new(t->seed, verbose);
    w->knobs = t->knobs;
    t->scenario->run(w, t->plant);
    report(w);
    mine->done = true;
    if (w->failed) {
        if (!verbose)
            world_print_trace(w, stderr);
        _exit(1); /* what a failed run left behind is no leak of the engine's */
    }
    current = NULL;
    world_free(w);
    exit(0); /* through the leak checker, where there is one */
}

void trial_start(unsigned slot, const struct trial *t, bool tell, bool verbose)
{
    ASSERT(slot < TRIAL_SLOTS && pids[slot] == 0);
    if (!verdicts) {
        verdicts = mmap(NULL, TRIAL_SLOTS * sizeof *verdicts, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ASSERT(verdicts != MAP_FAILED);
    }
    mine = &verdicts[slot];
    memset(mine, 0, sizeof *mine);
    (void)fflush(NULL);
    pids[slot] = fork();
    if (pids[slot] < 0)
        err_panic(__FILE__, __LINE__, "fork failed");
    if (pids[slot] == 0)
        child(t, tell, verbose);
}

static void ended(unsigned slot, int status)
{
    struct verdict *v = &verdicts[slot];
    pids[slot] = 0;
    if (v->failed || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return;
    v->failed = true;
    (void)snprintf(v->failure, sizeof v->failure,
                   "the child ended with status %#x (a sanitizer's report?)", (unsigned)status);
}

const struct verdict *trial_verdict(unsigned slot)
{
    return &verdicts[slot];
}

const struct verdict *trial_wait(unsigned slot)
{
    int status = 0;
    while (waitpid(pids[slot], &status, 0) != pids[slot])
        ;
    ended(slot, status);
    return &verdicts[slot];
}

unsigned trial_wait_any(void)
{
    for (;;) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, 0);
        for (unsigned i = 0; pid > 0 && i < TRIAL_SLOTS; i++)
            if (pids[i] == pid) {
                ended(i, status);
                return i;
            }
    }
}

bool trial_run(const struct trial *t, bool tell, bool verbose)
{
    trial_start(0, t, tell, verbose);
    return !trial_wait(0)->failed;
}
