/* uring.h: the real implementation of io.h: one io_uring loop, a pool of worker threads, signals.
 */
#ifndef RELAIS_URING_H
#define RELAIS_URING_H

#include "err.h"
#include "io.h"

/* Creates a loop with `workers` CPU threads (0: one per online processor). Errors: OS, with what to
 * do when io_uring is disabled (kernel.io_uring_disabled) or too old. */
int uring_new(struct io **out, unsigned workers, struct err *e);

/* Runs completions until uring_stop, or until nothing is pending. Returns when stopped. */
void uring_run(struct io *io);
/* Makes uring_run return after the current turn. Callable from a completion or a fiber. */
void uring_stop(struct io *io);

/* Calls on_signal(arg, signo) from the loop for each of the signals in set (which it blocks for the
 * process: call before other threads start). Errors: OS. */
int uring_signals(struct io *io, const int *signos, size_t n,
                  void (*on_signal)(void *arg, int signo), void *arg, struct err *e);

/* Every request must have completed. */
void uring_free(struct io *io);

#endif
