/* child.h: processes that a run starts, at an end of the link or at home. They end with this
 * process, however it ends, and do not see the terminal's ctrl-C: it is for the run, which ends
 * them. */
#ifndef RELAIS_BENCH_CHILD_H
#define RELAIS_BENCH_CHILD_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_ARGS 32u /* at most, of any command here, the NULL included */

struct child_how {
    int netns;       /* the network it lives in; -1: this process's */
    const char *log; /* file that its output is appended to; NULL: /dev/null */
    int out;         /* where its standard output goes instead; -1: log */
};

/* -1: e. */
pid_t child_start(const struct child_how *how, char *const argv[], struct err *e);
/* Runs a command to its end; of its standard output the first cap - 1 bytes go to out (NULL: to the
 * log). Errors: OS; IO when its status is not 0, with the last line of what it said on stderr;
 * CANCELED in a cancelled fiber, the command is ended then. (waits, also outside of fibers) */
int child_run(const struct child_how *how, char *const argv[], char *out, size_t cap,
              struct err *e);
/* Whether it has ended; then it is reaped and *status is as a shell gives it. */
bool child_ended(pid_t pid, int *status);
/* SIGTERM, after grace_ms SIGKILL; reaps. Blocks. pid <= 0 is fine. */
void child_end(pid_t pid, unsigned grace_ms);
/* A moment; in a fiber the loop goes on meanwhile. 0, or CANCELED's code. */
int child_pause(unsigned ms);

/* What a process has used: seconds of processor, bytes resident now and at most since
 * child_peak_reset. False: it is gone. */
struct child_use {
    double cpu_s;
    uint64_t memory, memory_peak;
};
bool child_use(pid_t pid, struct child_use *u);
void child_peak_reset(pid_t pid);

#endif
