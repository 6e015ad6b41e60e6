/* fiber.h: sequential code on the loop: a fiber is a stack of its own that waits for completions.
 *
 * Recovery, shipping, ingest are sequences of waits; as fibers they read top to bottom and their
 * locals are plain variables, where callbacks would need a state machine each. Fibers of one loop
 * run on its thread, one at a time, and switch only inside the calls marked (waits) here and in
 * fio.h; between two waits nothing else runs, so shared state needs no locks.
 *
 * Cancelling asks: every wait of a cancelled fiber returns -ECANCELED (after the request in flight,
 * which is cancelled too, has completed), so that it unwinds through its ordinary error paths.
 * Clean-up that itself must wait (closing files) runs with the *_always forms of fio.h, which
 * ignore it. */
#ifndef RELAIS_FIBER_H
#define RELAIS_FIBER_H

#include "io.h"

struct fiber;

#define FIBER_STACK (128 * 1024)

/* Starts fn(arg) as a fiber of io in a later turn of the loop. name: static text for logs. The
 * handle must be joined exactly once, or detached. */
struct fiber *fiber_spawn(struct io *io, const char *name, void (*fn)(void *arg), void *arg);
void fiber_detach(struct fiber *f);
/* Waits until f has returned, then frees it. Not cancellable. Of a finished fiber, it may be called
 * outside of fibers too. (waits) */
void fiber_join(struct fiber *f);
/* Asks f to unwind; see above. Callable from anywhere on the loop's thread, more than once. */
void fiber_cancel(struct fiber *f);
/* The running fiber; NULL outside of one. Its loop. Whether it was cancelled. */
struct fiber *fiber_self(void);
struct io *fiber_io(void);
bool fiber_cancelled(void);
bool fiber_finished(const struct fiber *f);

/* For implementations of io.h. How many fibers there are, finished and not yet joined ones
 * included. Whether there are none and no request of the scheduler's own is in flight (its timer
 * is, briefly, after the last fiber ended): then cleanup frees io->fibers. */
size_t fiber_count(const struct io *io);
bool fiber_idle(const struct io *io);
void fiber_cleanup(struct io *io);
/* For a simulated crash: forgets all fibers of io where they stand, unwinding nothing, and the
 * scheduler's own requests, then cleans up. None of their requests may complete afterwards, and
 * their handles, conditions and mutexes are void. */
void fiber_abandon(struct io *io);

/* 0, or -ECANCELED. (waits) */
int fiber_sleep(uint64_t ns);
/* Lets others run. (waits) */
int fiber_yield(void);

/* A condition that fibers wait on. Zero-initialised is ready; no clean-up needed when none waits.
 */
struct fiber_cond {
    struct fiber *head, *tail;
};
#define FIBER_FOREVER UINT64_MAX
/* 0 when woken, -ETIMEDOUT, -ECANCELED. Wakes may be spurious: test the predicate again. (waits) */
int fiber_wait(struct fiber_cond *c, uint64_t timeout_ns);
void fiber_wake_one(struct fiber_cond *c);
void fiber_wake_all(struct fiber_cond *c);

/* A fair mutex between fibers. Zero-initialised is unlocked. Lock: 0 or -ECANCELED. (waits) */
struct fiber_mutex {
    bool held;
    struct fiber_cond free;
};
int fiber_lock(struct fiber_mutex *m);
void fiber_unlock(struct fiber_mutex *m);

/* A request that a fiber submits now and awaits later, so that several are in flight:
 *     struct fiber_req r = FIBER_REQ;
 *     io->ops->read(io, fiber_req(&r), fd, buf, len, off);   ...   res = fiber_await(&r);
 * It must be awaited before its memory goes. */
struct fiber_req {
    struct io_req req;
    struct fiber *waiter;
    int res;
    bool pending;
};
#define FIBER_REQ                                                                                  \
    {                                                                                              \
        0                                                                                          \
    }
struct io_req *fiber_req(struct fiber_req *r);
/* The result. When the fiber is cancelled while it waits, the request is cancelled too, and its own
 * terminal completion is still awaited. (waits) */
int fiber_await(struct fiber_req *r);
/* Same, but the fiber's being cancelled does not cancel the request. (waits) */
int fiber_await_always(struct fiber_req *r);
/* As fiber_await, but after timeout_ns the request is cancelled: -ETIMEDOUT then, unless it
 * completed with a result of its own. (waits) */
int fiber_await_for(struct fiber_req *r, uint64_t timeout_ns);

#endif
