/* node.h: simulated machines: each has a disk, an address, a clock of its own, and at most one
 * living process, whose only way to the world is a struct io.
 *
 * A process ends by node_crash (power: the disk forgets what was not synced) or node_kill (the page
 * cache survives). From that instant every request of its io, in flight or new, completes with
 * -ECANCELED and touches nothing, so that the fibers of the dead process unwind through their
 * ordinary error paths and free their memory. The next process of the node starts from the disk
 * alone, with a new io. */
#ifndef SIM_NODE_H
#define SIM_NODE_H

#include "disk.h"
#include "io.h"
#include "world.h"

struct node;
struct node_io;

struct node_script {
    /* Runs the command of a `command` request: its exit status, and how long it takes in *ns. */
    int (*command)(void *arg, struct node *n, const char *command, uint64_t *ns);
    void *arg;
};

/* host: the name that others connect to. */
struct node *node_new(struct world *w, const char *host, uint64_t disk_capacity);
/* No process may be left. */
void node_free(struct node *n);
void node_set_script(struct node *n, struct node_script script);

const char *node_host(const struct node *n);
struct disk *node_disk(struct node *n);
/* The living process's io; NULL when it is down. */
struct io *node_live(const struct node *n);

/* A new process; there must be no living one. */
struct io *node_start(struct node *n);
void node_crash(struct node *n);
void node_kill(struct node *n);
/* Ends the process in order: nothing may be in flight or open. For when its main has returned. */
void node_exit(struct node *n);
/* Whether the process behind io is dead; whether it has requests in flight. */
bool node_is_dead(const struct io *io);
bool node_is_busy(const struct io *io);
/* Frees the io of a dead process that is not busy any more. */
void node_reap(struct io *io);

/* More memory than that must not be its (as memory.h counts); 0: nothing is counted. From its start
 * until then all it has is counted, and no bound holds. */
void node_set_memory(struct io *io, uint64_t max);

/* The living process stands still for that long: what it had asked for goes on, what it would have
 * noticed it notices then. clock: its monotonic clock stands still, too, as a paused virtual
 * machine's does and a stopped process's does not. */
void node_pause(struct node *n, uint64_t ns, bool clock);

/* The wall clock jumps. */
void node_jump(struct node *n, int64_t ns);

#endif
