/* proc.h: the processes of a scenario: a main function on a fiber of a fresh io, from its start
 * until the last of its memory is freed.
 *
 * main runs until proc_stopping says so or its world ends (its io gives -ECANCELED for everything),
 * then unwinds and returns. Dead processes of a node unwind while the next one runs. */
#ifndef SIM_PROC_H
#define SIM_PROC_H

#include "fiber.h"
#include "node.h"

struct proc;
struct procs; /* of a world */

struct procs *procs_new(struct world *w);
/* All must be gone: see procs_settle. */
void procs_free(struct procs *ps);

/* Starts main(arg, proc) on the node, which must be down. */
struct proc *proc_start(struct procs *ps, struct node *n, void (*main)(void *arg, struct proc *p),
                        void *arg);
/* Whether main should return: it was asked to, or its process is dead. */
bool proc_stopping(const struct proc *p);
/* Waits in main until then, or for that long. (waits) */
void proc_wait(struct proc *p, uint64_t ns);

/* Ends the living process of a node: power cut, kill, or an orderly request (no-op when it is
 * down). */
enum proc_end { PROC_CRASH, PROC_KILL, PROC_STOP };
void procs_end(struct procs *ps, struct node *n, enum proc_end how);
/* Frees what has finished. Call between runs of the world, not from fibers. Fails the world when a
 * dead process takes longer than ten virtual minutes to unwind. */
void procs_reap(struct procs *ps);
/* Runs the world until all processes are gone. */
void procs_settle(struct procs *ps);

#endif
