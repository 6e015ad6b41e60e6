#include "fiber.h"

#include "err.h"
#include "log.h"
#include "stack.h"

#include <errno.h>
#include <stdlib.h>

#define STACKS_KEPT 64u
#define NO_PLACE    SIZE_MAX

enum fiber_state { FIBER_READY, FIBER_RUNNING, FIBER_WAITING, FIBER_AWAITING, FIBER_FINISHED };

struct fiber {
    struct sched *s;
    const char *name;
    void (*fn)(void *arg);
    void *arg;
    struct stack *stack;
    enum fiber_state state;
    bool cancelled, detached, joined;
    bool cancellable;           /* the wait it is in */
    bool timed_out;             /* the await it is in */
    int wake_res;               /* what the wait it is in will return */
    struct fiber *next, *prev;  /* in the ready list, or in cond's */
    struct fiber_cond *cond;    /* when WAITING; NULL when only for time */
    struct fiber_req *req;      /* when AWAITING */
    uint64_t deadline;          /* when place != NO_PLACE */
    size_t place;               /* in the heap of deadlines */
    struct fiber_cond finished; /* the joiner */
    struct fiber *all_next, *all_prev;
};

/* The fibers of one loop. Fibers that were woken are run from `tick`, a deferred request; a fiber
 * that awaits a request is entered right from that request's completion.
 *
 * All deadlines share one timer request, armed for the earliest. It stays armed when that deadline
 * is called off, which most are (a receive's time limit): the timer then finds nothing to do. */
struct sched {
    struct io *io;
    struct fiber_cond ready;
    size_t ready_count;
    struct fiber *all;
    size_t unfinished;
    struct io_req tick, timer;
    bool tick_pending, timer_pending, timer_cancelled;
    uint64_t timer_at;
    struct fiber **heap;
    size_t heap_len, heap_cap;
    struct stack *stacks[STACKS_KEPT];
    unsigned n_stacks;
};

static _Thread_local struct fiber *running;

/* -- Lists -- */

static void list_append(struct fiber_cond *c, struct fiber *f)
{
    f->next = NULL;
    f->prev = c->tail;
    if (c->tail)
        c->tail->next = f;
    else
        c->head = f;
    c->tail = f;
}

static void list_remove(struct fiber_cond *c, struct fiber *f)
{
    if (f->prev)
        f->prev->next = f->next;
    else
        c->head = f->next;
    if (f->next)
        f->next->prev = f->prev;
    else
        c->tail = f->prev;
    f->next = f->prev = NULL;
}

/* -- Deadlines: a binary heap, earliest first -- */

static void heap_put(struct sched *s, size_t i, struct fiber *f)
{
    s->heap[i] = f;
    f->place = i;
}

static void heap_up(struct sched *s, size_t i, struct fiber *f)
{
    while (i > 0 && s->heap[(i - 1) / 2]->deadline > f->deadline) {
        heap_put(s, i, s->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(s, i, f);
}

static void heap_down(struct sched *s, size_t i, struct fiber *f)
{
    for (;;) {
        size_t c = 2 * i + 1;
        if (c + 1 < s->heap_len && s->heap[c + 1]->deadline < s->heap[c]->deadline)
            c++;
        if (c >= s->heap_len || s->heap[c]->deadline >= f->deadline)
            break;
        heap_put(s, i, s->heap[c]);
        i = c;
    }
    heap_put(s, i, f);
}

static void heap_add(struct sched *s, struct fiber *f)
{
    ASSERT(f->place == NO_PLACE);
    if (s->heap_len == s->heap_cap) {
        s->heap_cap = s->heap_cap ? 2 * s->heap_cap : 64;
        s->heap = err_realloc(s->heap, s->heap_cap * sizeof(struct fiber *));
    }
    heap_up(s, s->heap_len++, f);
}

static void heap_remove(struct sched *s, struct fiber *f)
{
    struct fiber *last;
    size_t i = f->place;
    if (i == NO_PLACE)
        return;
    f->place = NO_PLACE;
    last = s->heap[--s->heap_len];
    if (last == f)
        return;
    if (i > 0 && s->heap[(i - 1) / 2]->deadline > last->deadline)
        heap_up(s, i, last);
    else
        heap_down(s, i, last);
}

static void timer_arm(struct sched *s)
{
    uint64_t now;
    if (s->timer_pending) {
        /* Its completion arms it again. When every fiber has returned, joined yet or not, it must
         * not keep the loop running. */
        bool wrong = s->heap_len ? s->heap[0]->deadline < s->timer_at : !s->unfinished;
        if (wrong && !s->timer_cancelled) {
            s->timer_cancelled = true;
            s->io->ops->cancel(s->io, &s->timer);
        }
        return;
    }
    if (!s->heap_len)
        return;
    s->timer_pending = true;
    s->timer_cancelled = false;
    s->timer_at = s->heap[0]->deadline;
    now = io_now(s->io);
    s->io->ops->timer(s->io, &s->timer, s->timer_at > now ? s->timer_at - now : 0);
}

static void set_deadline(struct fiber *f, uint64_t timeout_ns)
{
    uint64_t now;
    if (timeout_ns == FIBER_FOREVER)
        return;
    now = io_now(f->s->io);
    f->deadline = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
    heap_add(f->s, f);
    timer_arm(f->s);
}

/* -- Running and waking -- */

static void make_ready(struct fiber *f)
{
    struct sched *s = f->s;
    f->state = FIBER_READY;
    list_append(&s->ready, f);
    s->ready_count++;
    if (!s->tick_pending) {
        s->tick_pending = true;
        s->io->ops->defer(s->io, &s->tick);
    }
}

static void wake(struct fiber *f, int res)
{
    ASSERT(f->state == FIBER_WAITING);
    if (f->cond)
        list_remove(f->cond, f);
    f->cond = NULL;
    heap_remove(f->s, f);
    f->wake_res = res;
    make_ready(f);
}

static void suspend(struct fiber *f, enum fiber_state state)
{
    ASSERT(f == running && "only the running fiber can wait");
    f->state = state;
    stack_leave(f->stack);
}

static void release(struct fiber *f)
{
    struct sched *s = f->s;
    if (f->all_prev)
        f->all_prev->all_next = f->all_next;
    else
        s->all = f->all_next;
    if (f->all_next)
        f->all_next->all_prev = f->all_prev;
    stack_free(f->stack);
    free(f);
}

static void enter(struct fiber *f)
{
    struct sched *s = f->s;
    bool returned;
    ASSERT(!running && "completions come from the loop, not from a fiber");
    f->state = FIBER_RUNNING;
    running = f;
    returned = stack_enter(f->stack);
    running = NULL;
    if (!returned)
        return;
    f->state = FIBER_FINISHED;
    s->unfinished--;
    if (s->n_stacks < STACKS_KEPT) {
        s->stacks[s->n_stacks++] = f->stack;
        f->stack = NULL;
    }
    fiber_wake_all(&f->finished);
    if (f->detached)
        release(f);
    timer_arm(s);
}

static void on_tick(struct io_req *req, int res)
{
    struct sched *s = req->owner;
    size_t n = s->ready_count; /* those that become ready meanwhile are for the next turn */
    (void)res;
    for (; n > 0; n--) {
        struct fiber *f = s->ready.head;
        list_remove(&s->ready, f);
        s->ready_count--;
        enter(f);
    }
    s->tick_pending = s->ready_count > 0;
    if (s->tick_pending)
        s->io->ops->defer(s->io, &s->tick);
}

static void on_timer(struct io_req *req, int res)
{
    struct sched *s = req->owner;
    uint64_t now = io_now(s->io);
    (void)res;
    s->timer_pending = false;
    while (s->heap_len && s->heap[0]->deadline <= now) {
        struct fiber *f = s->heap[0];
        if (f->state == FIBER_WAITING) {
            wake(f, f->cond ? -ETIMEDOUT : 0);
        } else {
            ASSERT(f->state == FIBER_AWAITING);
            heap_remove(s, f);
            f->timed_out = true;
            s->io->ops->cancel(s->io, &f->req->req);
        }
    }
    timer_arm(s);
}

static struct sched *sched_of(struct io *io)
{
    struct sched *s = io->fibers;
    if (!s) {
        s = err_calloc(1, sizeof *s);
        s->io = io;
        s->tick.done = on_tick;
        s->tick.owner = s;
        s->timer.done = on_timer;
        s->timer.owner = s;
        io->fibers = s;
    }
    return s;
}

static void call_fn(void *arg)
{
    struct fiber *f = arg;
    f->fn(f->arg);
}

struct fiber *fiber_spawn(struct io *io, const char *name, void (*fn)(void *arg), void *arg)
{
    struct sched *s = sched_of(io);
    struct fiber *f = err_calloc(1, sizeof *f);
    f->s = s;
    f->name = name;
    f->fn = fn;
    f->arg = arg;
    f->place = NO_PLACE;
    if (s->n_stacks) {
        f->stack = s->stacks[--s->n_stacks];
        stack_reuse(f->stack, call_fn, f);
    } else {
        f->stack = stack_new(FIBER_STACK, call_fn, f);
    }
    f->all_next = s->all;
    if (s->all)
        s->all->all_prev = f;
    s->all = f;
    s->unfinished++;
    make_ready(f);
    return f;
}

void fiber_detach(struct fiber *f)
{
    ASSERT(!f->detached && !f->joined);
    f->detached = true;
    if (f->state == FIBER_FINISHED)
        release(f);
}

void fiber_cancel(struct fiber *f)
{
    if (f->cancelled || f->state == FIBER_FINISHED)
        return;
    f->cancelled = true;
    if (!f->cancellable)
        return;
    if (f->state == FIBER_WAITING)
        wake(f, -ECANCELED);
    else if (f->state == FIBER_AWAITING)
        f->s->io->ops->cancel(f->s->io, &f->req->req);
}

struct fiber *fiber_self(void)
{
    return running;
}

struct io *fiber_io(void)
{
    return running ? running->s->io : NULL;
}

bool fiber_cancelled(void)
{
    return running && running->cancelled;
}

bool fiber_finished(const struct fiber *f)
{
    return f->state == FIBER_FINISHED;
}

static void free_sched(struct io *io)
{
    struct sched *s = io->fibers;
    while (s->n_stacks)
        stack_free(s->stacks[--s->n_stacks]);
    free(s->heap);
    free(s);
    io->fibers = NULL;
}

size_t fiber_count(const struct io *io)
{
    const struct sched *s = io->fibers;
    size_t n = 0;
    for (const struct fiber *f = s ? s->all : NULL; f; f = f->all_next)
        n++;
    return n;
}

bool fiber_idle(const struct io *io)
{
    const struct sched *s = io->fibers;
    return !s || (!s->all && !s->tick_pending && !s->timer_pending);
}

void fiber_cleanup(struct io *io)
{
    const struct sched *s = io->fibers;
    if (!s)
        return;
    for (const struct fiber *f = s->all; f; f = f->all_next)
        log_error("fiber %s %s", f->name,
                  f->state == FIBER_FINISHED ? "was neither joined nor detached" : "still runs");
    ASSERT(fiber_idle(io));
    free_sched(io);
}

void fiber_abandon(struct io *io)
{
    struct sched *s = io->fibers;
    if (!s)
        return;
    ASSERT(!running);
    while (s->all) {
        struct fiber *f = s->all;
        s->all = f->all_next;
        stack_free(f->stack);
        free(f);
    }
    free_sched(io);
}

/* -- Waiting -- */

static int wait_on(struct fiber_cond *c, uint64_t timeout_ns, bool cancellable)
{
    struct fiber *f = running;
    ASSERT(f && "only a fiber can wait");
    if (cancellable && f->cancelled)
        return -ECANCELED;
    f->cond = c;
    if (c)
        list_append(c, f);
    set_deadline(f, timeout_ns);
    f->cancellable = cancellable;
    suspend(f, FIBER_WAITING);
    f->cancellable = false;
    return f->wake_res;
}

void fiber_join(struct fiber *f)
{
    ASSERT(!f->detached && !f->joined && f != running);
    f->joined = true;
    while (f->state != FIBER_FINISHED)
        (void)wait_on(&f->finished, FIBER_FOREVER, false);
    release(f);
}

int fiber_sleep(uint64_t ns)
{
    return wait_on(NULL, ns == FIBER_FOREVER ? ns - 1 : ns, true);
}

int fiber_yield(void)
{
    struct fiber *f = running;
    ASSERT(f && "only a fiber can wait");
    if (f->cancelled)
        return -ECANCELED;
    make_ready(f);
    suspend(f, FIBER_READY);
    return f->cancelled ? -ECANCELED : 0;
}

int fiber_wait(struct fiber_cond *c, uint64_t timeout_ns)
{
    return wait_on(c, timeout_ns, true);
}

void fiber_wake_one(struct fiber_cond *c)
{
    if (c->head)
        wake(c->head, 0);
}

void fiber_wake_all(struct fiber_cond *c)
{
    while (c->head)
        wake(c->head, 0);
}

/* Unlocking passes the mutex on to the longest waiter without its ever being free, so nobody can
 * barge in; whoever was woken owns it, even when cancelled before it ran. */
int fiber_lock(struct fiber_mutex *m)
{
    ASSERT(running && "only a fiber can wait");
    if (running->cancelled)
        return -ECANCELED;
    if (m->held)
        return wait_on(&m->free, FIBER_FOREVER, true);
    m->held = true;
    return 0;
}

void fiber_unlock(struct fiber_mutex *m)
{
    ASSERT(m->held);
    if (m->free.head)
        fiber_wake_one(&m->free);
    else
        m->held = false;
}

/* -- Requests -- */

static void on_request(struct io_req *req, int res)
{
    struct fiber_req *r = req->owner;
    ASSERT(r->pending);
    r->res = res;
    r->pending = false;
    if (r->waiter) {
        heap_remove(r->waiter->s, r->waiter);
        enter(r->waiter);
    }
}

struct io_req *fiber_req(struct fiber_req *r)
{
    ASSERT(!r->pending && !r->waiter && "this request is in flight");
    r->req.done = on_request;
    r->req.owner = r;
    r->res = 0;
    r->pending = true;
    return &r->req;
}

static int await(struct fiber_req *r, uint64_t timeout_ns, bool cancellable)
{
    struct fiber *f = running;
    ASSERT(f && "only a fiber can wait");
    ASSERT(!r->waiter && "somebody else awaits this request");
    if (!r->pending)
        return r->res;
    r->waiter = f;
    f->req = r;
    f->timed_out = false;
    if (cancellable && f->cancelled)
        f->s->io->ops->cancel(f->s->io, &r->req);
    set_deadline(f, timeout_ns);
    f->cancellable = cancellable;
    suspend(f, FIBER_AWAITING);
    f->cancellable = false;
    f->req = NULL;
    r->waiter = NULL;
    if (r->res == -ECANCELED && f->timed_out && !(cancellable && f->cancelled))
        return -ETIMEDOUT;
    return r->res;
}

int fiber_await(struct fiber_req *r)
{
    return await(r, FIBER_FOREVER, true);
}

int fiber_await_always(struct fiber_req *r)
{
    return await(r, FIBER_FOREVER, false);
}

int fiber_await_for(struct fiber_req *r, uint64_t timeout_ns)
{
    return await(r, timeout_ns, true);
}
