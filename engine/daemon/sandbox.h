/* sandbox.h: what relaisd gives up before it listens to anybody: system calls that it does not
 * need.
 *
 * A filter (seccomp) over all threads, and those that come, answers EPERM to whatever is not on the
 * list of sandbox.c; no new io_uring can be made. Operations on the ring that there is go past any
 * filter: they are files and sockets, which relaisd needs. Commands of the configuration (freeze,
 * thaw) need execve and inherit the filter; where there are none, execve is refused, too. */
#ifndef RELAIS_SANDBOX_H
#define RELAIS_SANDBOX_H

#include "config.h"

/* Memory is not for core dumps, tracers, files of others, setuid programs. First thing in main.
 * Errors: OS. */
int sandbox_harden(struct err *e);
/* After the loop's ring is made, before it runs. Errors: OS. */
int sandbox_enter(const struct config *c, struct err *e);

#endif
