#include "proc.h"

#include "err.h"

#include <errno.h>
#include <stdlib.h>

#define UNWIND_MAX (600 * IO_S)

struct proc {
    struct proc *next;
    struct node *node;
    struct io *io;
    struct fiber *fiber;
    void (*main)(void *arg, struct proc *p);
    void *arg;
    bool asked;
    uint64_t died;
    struct fiber_cond wake;
};

struct procs {
    struct world *w;
    struct proc *all;
};

struct procs *procs_new(struct world *w)
{
    struct procs *ps = err_calloc(1, sizeof *ps);
    ps->w = w;
    return ps;
}

void procs_free(struct procs *ps)
{
    if (!ps)
        return;
    ASSERT(!ps->all);
    free(ps);
}

static void run_main(void *arg)
{
    struct proc *p = arg;
    p->main(p->arg, p);
}

struct proc *proc_start(struct procs *ps, struct node *n, void (*main)(void *arg, struct proc *p),
                        void *arg)
{
    struct proc *p = err_calloc(1, sizeof *p);
    p->node = n;
    p->io = node_start(n);
    p->main = main;
    p->arg = arg;
    p->next = ps->all;
    ps->all = p;
    p->fiber = fiber_spawn(p->io, "main", run_main, p);
    return p;
}

bool proc_stopping(const struct proc *p)
{
    return p->asked || node_is_dead(p->io);
}

void proc_wait(struct proc *p, uint64_t ns)
{
    uint64_t until = io_now(p->io) + ns;
    while (!proc_stopping(p) && io_now(p->io) < until)
        if (fiber_wait(&p->wake, until - io_now(p->io)) == -ETIMEDOUT)
            return;
}

void procs_end(struct procs *ps, struct node *n, enum proc_end how)
{
    struct proc *p = ps->all;
    while (p && !(p->node == n && p->io == node_live(n)))
        p = p->next;
    if (!p)
        return;
    if (how == PROC_CRASH)
        node_crash(n);
    else if (how == PROC_KILL)
        node_kill(n);
    p->asked = true;
    if (!p->died)
        p->died = ps->w->now;
    fiber_wake_all(&p->wake);
}

static void try_join(struct procs *ps, struct proc *p)
{
    struct world *w = ps->w;
    if (p->died && w->now - p->died > UNWIND_MAX)
        world_fail(w, "%s: a process that was ended still has %zu fibers after ten minutes%s",
                   node_host(p->node), fiber_count(p->io),
                   node_is_busy(p->io) ? ", and requests in flight" : "");
    /* Detached fibers may outlive main: the io is theirs until they have ended. */
    if (!fiber_finished(p->fiber) || fiber_count(p->io) > 1)
        return;
    fiber_join(p->fiber);
    p->fiber = NULL;
}

void procs_reap(struct procs *ps)
{
    for (struct proc **at = &ps->all; *at;) {
        struct proc *p = *at;
        if (p->fiber)
            try_join(ps, p);
        if (p->fiber || node_is_busy(p->io) || !fiber_idle(p->io)) {
            at = &p->next;
            continue;
        }
        fiber_cleanup(p->io);
        if (!node_is_dead(p->io))
            node_exit(p->node);
        node_reap(p->io);
        *at = p->next;
        free(p);
    }
}

void procs_settle(struct procs *ps)
{
    procs_reap(ps);
    while (ps->all && !ps->w->failed) {
        if (!world_step(ps->w)) {
            world_fail(ps->w, "%s: a process that was ended waits for something that never comes",
                       node_host(ps->all->node));
            return;
        }
        procs_reap(ps);
    }
}
