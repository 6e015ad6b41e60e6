#include "node.h"

#include "err.h"
#include "memory.h"
#include "net.h"
#include "node_op.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *verb_text(enum verb v)
{
    static const char *const texts[] = {
#define X(name, text) text,
        VERBS(X)
#undef X
    };
    return texts[v];
}

/* ---- requests ---- */

static void tell(const struct op *op, int res)
{
    const struct node_io *io = op->io;
    char range[48] = "";
    if (op->verb == VERB_READ || op->verb == VERB_WRITE)
        (void)snprintf(range, sizeof range, " %zu at %" PRIu64, op->len, op->off);
    else if (op->verb == VERB_PUNCH)
        (void)snprintf(range, sizeof range, " %" PRIu64 " at %" PRIu64, op->mark, op->off);
    world_trace(io->w, "%s/%u: %s%s %s%s%s -> %d%s", io->node->host, io->incarnation,
                verb_text(op->verb), range, op->path ? op->path : "", op->path2 ? " to " : "",
                op->path2 ? op->path2 : "", res, io->dead ? " (dead)" : "");
}

static void complete(struct world_event *ev);

/* Whether its process stands still, or its clock did. */
static bool delayed(struct op *op)
{
    struct node_io *io = op->io;
    uint64_t ns = op->verb == VERB_TIMER ? io->stolen - op->stolen : 0;
    if (io->dead || (io->still_until <= io->w->now && ns == 0))
        return false;
    op->stolen = io->stolen;
    if (ns < io->still_until - io->w->now && io->still_until > io->w->now)
        ns = io->still_until - io->w->now;
    op_after(op, ns);
    return true;
}

static void complete(struct world_event *ev)
{
    struct op *op = (struct op *)ev;
    struct node_io *io = op->io;
    struct io_req *req = op->req;
    unsigned was;
    int res;
    if (delayed(op))
        return;
    if (!op->ready) {
        res = op->effect(op);
        if (op->ev.slot || op->queue)
            return; /* it waits for more */
        op->res = res;
    }
    res = op->res;
    if (op->next)
        op->next->prev = op->prev;
    if (op->prev)
        op->prev->next = op->next;
    else
        io->ops = op->next;
    world_note(io->w, (uint64_t)io->node->number << 32 | io->incarnation << 8 | op->verb,
               (uint64_t)(int64_t)res);
    if (io->w->verbose && op->verb != VERB_DEFER && op->verb != VERB_TIMER)
        tell(op, res);
    if (op->inode)
        disk_release(op->inode);
    free(op);
    req->args[0] = 0;
    was = memory_enter(io->account);
    req->done(req, res);
    (void)memory_enter(was);
    if (memory_live(io->account) > io->memory_max)
        world_fail(io->w,
                   "%s: process %u holds %" PRIu64 " bytes of memory, its configuration implies "
                   "%" PRIu64 " at most",
                   io->node->host, io->incarnation, memory_live(io->account), io->memory_max);
}

static struct op *op_track(struct io *base, struct io_req *req, enum verb verb,
                           int (*effect)(struct op *))
{
    struct node_io *io = (struct node_io *)base;
    struct op *op = err_calloc(1, sizeof *op);
    ASSERT(req->done);
    op->io = io;
    op->req = req;
    op->verb = verb;
    op->effect = effect;
    op->fd = -1;
    op->next = io->ops;
    if (io->ops)
        io->ops->prev = op;
    io->ops = op;
    req->args[0] = (uint64_t)(uintptr_t)op;
    return op;
}

struct op *op_new(struct io *base, struct io_req *req, enum verb verb, int (*effect)(struct op *))
{
    struct op *op = op_track(base, req, verb, effect);
    if (!op->io->dead)
        return op;
    op_finish(op, -ECANCELED);
    return NULL;
}

void op_after(struct op *op, uint64_t ns)
{
    world_at(op->io->w, &op->ev,
             ns < UINT64_MAX - op->io->w->now ? op->io->w->now + ns : UINT64_MAX, complete);
}

static void unpark(struct op *op)
{
    struct op **at = op->queue;
    if (!at)
        return;
    while (*at != op)
        at = &(*at)->after;
    *at = op->after;
    op->queue = NULL;
    op->after = NULL;
}

void op_finish(struct op *op, int res)
{
    unpark(op);
    world_forget(op->io->w, &op->ev);
    op->ready = true;
    op->res = res;
    op_after(op, 0);
}

void op_retry(struct op *op)
{
    unpark(op);
    op_after(op, 0);
}

void op_park(struct op *op, struct op **queue)
{
    struct op **at = queue;
    ASSERT(!op->queue && !op->ev.slot);
    while (*at)
        at = &(*at)->after;
    *at = op;
    op->queue = queue;
}

/* ---- handles ---- */

struct handle *op_handle(struct op *op, enum handle_kind kind, int *res)
{
    int i = op->fd - NODE_FIRST;
    if (i >= 0 && i < NODE_HANDLES && op->io->handles[i].kind == kind)
        return &op->io->handles[i];
    *res = -EBADF;
    return NULL;
}

int node_handle_new(struct node_io *io, enum handle_kind kind)
{
    for (int i = 0; i < NODE_HANDLES; i++) {
        if (io->handles[i].kind == HANDLE_NONE) {
            io->handles[i] = (struct handle){.kind = kind};
            return i + NODE_FIRST;
        }
    }
    return -EMFILE;
}

void node_handle_close(struct node_io *io, int fd)
{
    struct handle *h = &io->handles[fd - NODE_FIRST];
    if (h->kind == HANDLE_FILE) {
        inode_unlock(h->inode, h);
        disk_release(h->inode);
    } else if (h->kind == HANDLE_LISTENER) {
        net_unlisten(h->listener);
    } else if (h->kind == HANDLE_STREAM) {
        net_close(h->endpoint);
    }
    *h = (struct handle){0};
}

/* ---- verbs of a process with itself: these work in a dead one too, or it could not unwind ---- */

static int zero(struct op *op)
{
    (void)op;
    return 0;
}

static void verb_timer(struct io *io, struct io_req *req, uint64_t ns)
{
    struct op *op = op_track(io, req, VERB_TIMER, zero);
    op->stolen = op->io->stolen;
    op_after(op, ns);
}

static void verb_defer(struct io *io, struct io_req *req)
{
    op_after(op_track(io, req, VERB_DEFER, zero), 0);
}

static void verb_cancel(struct io *io, struct io_req *req)
{
    struct op *op = (struct op *)(uintptr_t)req->args[0];
    (void)io;
    if (!op || op->ready)
        return;
    /* Like a kernel: what waits for time or a peer ends, what the disk is doing goes on. */
    switch (op->verb) {
    case VERB_TIMER:
    case VERB_ACCEPT:
    case VERB_CONNECT:
    case VERB_RECV:
    case VERB_SEND:
        op_finish(op, -ECANCELED);
        break;
    default:
        break;
    }
}

static int run_work(struct op *op)
{
    return op->fn(op->arg);
}

static void verb_work(struct io *io, struct io_req *req, enum io_work_class class,
                      int (*fn)(void *arg), void *arg)
{
    struct op *op = op_new(io, req, VERB_WORK, run_work);
    if (!op)
        return;
    op->fn = fn;
    op->arg = arg;
    op_after(op, rng_skewed(&op->io->w->rng, 5000,
                            class == IO_WORK_BLOCKING ? 500 * IO_MS : 20 * IO_MS));
}

static int end_command(struct op *op)
{
    return op->res;
}

static void verb_command(struct io *io, struct io_req *req, const char *command,
                         uint64_t timeout_ns)
{
    struct op *op = op_new(io, req, VERB_COMMAND, end_command);
    uint64_t ns = IO_MS;
    if (!op)
        return;
    op->path = command;
    if (world_fault(op->io->w, FAULT_COMMAND_FAILED))
        op->res = 1;
    else if (op->io->node->script.command)
        op->res =
            op->io->node->script.command(op->io->node->script.arg, op->io->node, command, &ns);
    else
        op->res = 127;
    if (ns > timeout_ns) {
        ns = timeout_ns;
        op->res = -ETIMEDOUT;
    }
    op_after(op, ns);
}

static void verb_expect(struct io *io, struct io_req *req)
{
    (void)op_new(io, req, VERB_EXPECT, zero);
}

static void verb_post(struct io *io, struct io_req *req, int res)
{
    struct op *op = (struct op *)(uintptr_t)req->args[0];
    (void)io;
    ASSERT(op && op->verb == VERB_EXPECT);
    if (!op->ready)
        op_finish(op, res);
}

static uint64_t verb_now(struct io *io)
{
    const struct node_io *n = (const struct node_io *)io;
    return n->w->now - n->stolen;
}

static int64_t verb_wall(struct io *io)
{
    const struct node_io *n = (const struct node_io *)io;
    return INT64_C(1795000000) * (int64_t)IO_S + (int64_t)n->w->now + n->node->wall_offset;
}

static void verb_random(struct io *io, void *buf, size_t len)
{
    rng_bytes(&((struct node_io *)io)->rng, buf, len);
}

/* The simulated network has no kernel that takes bytes for a path that is gone. */
static uint64_t verb_unacked(struct io *io, int fd)
{
    (void)io;
    (void)fd;
    return 0;
}

static unsigned verb_workers(struct io *io)
{
    (void)io;
    return 2;
}

static const struct io_ops *verbs(void)
{
    static struct io_ops ops;
    if (!ops.timer) {
        node_disk_verbs(&ops);
        node_net_verbs(&ops);
        ops.timer = verb_timer;
        ops.defer = verb_defer;
        ops.cancel = verb_cancel;
        ops.work = verb_work;
        ops.command = verb_command;
        ops.expect = verb_expect;
        ops.post = verb_post;
        ops.now = verb_now;
        ops.wall = verb_wall;
        ops.random = verb_random;
        ops.workers = verb_workers;
        ops.unacked = verb_unacked;
    }
    return &ops;
}

/* ---- nodes ---- */

struct node *node_new(struct world *w, const char *host, uint64_t disk_capacity)
{
    struct node *n = err_calloc(1, sizeof *n);
    n->w = w;
    (void)snprintf(n->host, sizeof n->host, "%s", host);
    n->disk = disk_new(w, disk_capacity);
    if (!w->net)
        w->net = net_new(w);
    n->number = net_join(w->net, n);
    return n;
}

void node_free(struct node *n)
{
    if (!n)
        return;
    ASSERT(!n->live);
    if (net_leave(n->w->net, n->number)) {
        net_free(n->w->net);
        n->w->net = NULL;
    }
    disk_free(n->disk);
    free(n);
}

void node_set_script(struct node *n, struct node_script script)
{
    n->script = script;
}

const char *node_host(const struct node *n)
{
    return n->host;
}

struct disk *node_disk(struct node *n)
{
    return n->disk;
}

struct io *node_live(const struct node *n)
{
    return n->live ? &n->live->io : NULL;
}

void node_jump(struct node *n, int64_t ns)
{
    n->wall_offset += ns;
    n->w->count[FAULT_WALL_JUMP]++;
    world_trace(n->w, "%s: wall clock jumps %+.3f s", n->host, (double)ns / 1e9);
}

void node_set_memory(struct io *base, uint64_t max)
{
    struct node_io *io = (struct node_io *)base;
    io->memory_max = max ? max : UINT64_MAX;
    if (max == 0) {
        io->account = MEMORY_NOBODY;
        (void)memory_enter(MEMORY_NOBODY);
    }
}

void node_pause(struct node *n, uint64_t ns, bool clock)
{
    struct node_io *io = n->live;
    if (!io || io->still_until > n->w->now)
        return;
    io->still_until = n->w->now + ns;
    if (clock)
        io->stolen += ns;
    n->w->count[FAULT_PAUSED]++;
    world_trace(n->w, "%s: stands still for %.3f s%s", n->host, (double)ns / 1e9,
                clock ? ", and so does its clock" : "");
}

struct io *node_start(struct node *n)
{
    struct node_io *io = err_calloc(1, sizeof *io);
    ASSERT(!n->live);
    io->io.ops = verbs();
    io->node = n;
    io->w = n->w;
    io->incarnation = ++n->incarnation;
    io->handles = err_calloc(NODE_HANDLES, sizeof *io->handles);
    io->account = memory_open();
    io->memory_max = UINT64_MAX;
    rng_seed(&io->rng, n->w->seed, (uint64_t)(n->number + 1) << 32 | io->incarnation);
    n->live = io;
    world_trace(n->w, "%s: process %u starts", n->host, io->incarnation);
    return &io->io;
}

/* From here on the process sees only -ECANCELED. */
static void die(struct node_io *io)
{
    io->dead = true;
    io->node->live = NULL;
    for (struct op *op = io->ops; op; op = op->next)
        if (op->verb != VERB_TIMER && op->verb != VERB_DEFER && !(op->ready && op->ev.slot))
            op_finish(op, -ECANCELED);
    for (int i = 0; i < NODE_HANDLES; i++)
        if (io->handles[i].kind != HANDLE_NONE)
            node_handle_close(io, i + NODE_FIRST);
}

/* Requests hold their file against a close of its handle: a dead process's holds go at once. */
static void release_inodes(struct node_io *io)
{
    for (struct op *op = io->ops; op; op = op->next) {
        if (op->inode)
            disk_release(op->inode);
        op->inode = NULL;
    }
}

void node_kill(struct node *n)
{
    struct node_io *io = n->live;
    ASSERT(io);
    n->w->count[FAULT_KILL]++;
    world_trace(n->w, "%s: process %u is killed", n->host, io->incarnation);
    node_disk_power_cut(io);
    die(io);
    release_inodes(io);
}

void node_crash(struct node *n)
{
    struct node_io *io = n->live;
    ASSERT(io);
    n->w->count[FAULT_CRASH]++;
    world_trace(n->w, "%s: power fails (process %u)", n->host, io->incarnation);
    net_power_cut(n->w->net, n->number);
    node_disk_power_cut(io);
    die(io);
    release_inodes(io);
    disk_crash(n->disk);
}

void node_exit(struct node *n)
{
    struct node_io *io = n->live;
    ASSERT(io && !io->ops);
    for (int i = 0; i < NODE_HANDLES; i++)
        if (io->handles[i].kind != HANDLE_NONE)
            world_fail(n->w, "%s: process %u returned with handle %d open", n->host,
                       io->incarnation, i + NODE_FIRST);
    die(io);
    world_trace(n->w, "%s: process %u ended", n->host, io->incarnation);
}

bool node_is_dead(const struct io *io)
{
    return ((const struct node_io *)io)->dead;
}

bool node_is_busy(const struct io *io)
{
    return ((const struct node_io *)io)->ops != NULL;
}

static void note_memory(const struct node_io *io)
{
    struct world *w = io->w;
    uint64_t peak = memory_peak(io->account);
    if (io->memory_max == UINT64_MAX ||
        (w->memory_max > 0 &&
         (double)peak * (double)w->memory_max <= (double)w->memory_peak * (double)io->memory_max))
        return;
    w->memory_peak = peak;
    w->memory_max = io->memory_max;
}

void node_reap(struct io *base)
{
    struct node_io *io = (struct node_io *)base;
    ASSERT(io->dead && !io->ops);
    if (memory_live(io->account) > 0)
        world_fail(io->w, "%s: process %u left %" PRIu64 " bytes of memory behind", io->node->host,
                   io->incarnation, memory_live(io->account));
    note_memory(io);
    free(io->handles);
    free(io);
}
