#include "slow_disk.h"

#include "err.h"

#include <errno.h>
#include <stdlib.h>

/* First the delay before, then the request, then the delay after; `step` is what is under way. */
struct slow_request {
    struct slow_request *next;
    struct slow_disk *disk;
    struct io_req *orig, step;
    enum { BEFORE, DURING, AFTER } state;
    enum { READ, WRITE, COPY, SYNC } verb;
    int fd, to, res;
    void *buf;
    const void *from;
    size_t len;
    uint64_t off, to_off;
    bool data_only, held;
};

/* The one that runs: verbs get the loop, not the disk. */
static struct slow_disk *disk_of;

static uint64_t delay(struct slow_disk *d)
{
    uint64_t most = rand_r(&d->seed) % 32 == 0 ? d->rare_ns : d->usual_ns;
    return rand_r(&d->seed) % 2 ? 0 : (uint64_t)rand_r(&d->seed) % (most + 1);
}

static void end(struct slow_request *r, int res)
{
    struct slow_request **link = &r->disk->requests;
    struct io_req *orig = r->orig;
    while (*link != r)
        link = &(*link)->next;
    *link = r->next;
    free(r);
    orig->done(orig, res);
}

static void step_done(struct io_req *req, int res);

static void pause(struct slow_request *r)
{
    r->step = (struct io_req){.done = step_done, .owner = r};
    r->disk->real->timer(r->disk->io, &r->step, delay(r->disk));
}

static void submit(struct slow_request *r)
{
    const struct io_ops *real = r->disk->real;
    r->step = (struct io_req){.done = step_done, .owner = r};
    switch (r->verb) {
    case READ:
        real->read(r->disk->io, &r->step, r->fd, r->buf, r->len, r->off);
        break;
    case WRITE:
        real->write(r->disk->io, &r->step, r->fd, r->from, r->len, r->off);
        break;
    case COPY:
        real->copy(r->disk->io, &r->step, r->fd, r->off, r->to, r->to_off, r->len);
        break;
    case SYNC:
        real->sync(r->disk->io, &r->step, r->fd, r->data_only);
        break;
    }
}

static void step_done(struct io_req *req, int res)
{
    struct slow_request *r = req->owner;
    switch (r->state) {
    case BEFORE:
        if (res < 0) {
            end(r, res); /* cancelled in time */
            break;
        }
        r->state = DURING;
        submit(r);
        break;
    case DURING:
        r->state = AFTER;
        r->res = res;
        r->held = (((r->verb == READ || r->verb == COPY) && r->disk->hold_reads) ||
                   (r->verb == SYNC && r->disk->hold_syncs)) &&
                  r->disk->is_short(r->disk->arg, r->fd);
        if (!r->held)
            pause(r);
        break;
    case AFTER:
        end(r, r->res);
        break;
    }
}

/* Whole sectors count: who writes half of one and who writes the other half are in each other's
 * way. */
static void note_overlap(struct slow_disk *d, const struct slow_request *r)
{
    for (const struct slow_request *x = d->requests; x && r->verb == WRITE; x = x->next)
        if (x->verb == WRITE && x->fd == r->fd && d->is_short(d->arg, r->fd) &&
            r->off / 4096 <= (x->off + x->len - 1) / 4096 &&
            x->off / 4096 <= (r->off + r->len - 1) / 4096)
            d->overlaps++;
}

static void start(struct slow_request r)
{
    struct slow_disk *d = disk_of;
    struct slow_request *p = err_malloc(sizeof *p);
    if (r.verb != SYNC && d->is_short(d->arg, r.fd) && r.len > 512 && rand_r(&d->seed) % 2)
        r.len = 512 * (1 + (size_t)rand_r(&d->seed) % (r.len / 512));
    note_overlap(d, &r);
    *p = r;
    p->disk = d;
    p->next = d->requests;
    d->requests = p;
    pause(p);
}

static void slow_read(struct io *io, struct io_req *req, int fd, void *buf, size_t len,
                      uint64_t off)
{
    (void)io;
    start((struct slow_request){
        .orig = req, .verb = READ, .fd = fd, .buf = buf, .len = len, .off = off});
}

static void slow_read_as(struct io *io, struct io_req *req, enum io_work_class class, int fd,
                         void *buf, size_t len, uint64_t off)
{
    (void)class;
    slow_read(io, req, fd, buf, len, off);
}

static void slow_copy(struct io *io, struct io_req *req, int from, uint64_t from_off, int to,
                      uint64_t to_off, size_t len)
{
    (void)io;
    start((struct slow_request){.orig = req,
                                .verb = COPY,
                                .fd = from,
                                .to = to,
                                .off = from_off,
                                .to_off = to_off,
                                .len = len});
}

static void slow_write(struct io *io, struct io_req *req, int fd, const void *buf, size_t len,
                       uint64_t off)
{
    (void)io;
    start((struct slow_request){
        .orig = req, .verb = WRITE, .fd = fd, .from = buf, .len = len, .off = off});
}

static void slow_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    (void)io;
    start((struct slow_request){.orig = req, .verb = SYNC, .fd = fd, .data_only = data_only});
}

static void slow_cancel(struct io *io, struct io_req *req)
{
    for (struct slow_request *r = disk_of->requests; r; r = r->next)
        if (r->orig == req)
            req = &r->step;
    disk_of->real->cancel(io, req);
}

void slow_disk_begin(struct slow_disk *d, struct io *io)
{
    ASSERT(!disk_of);
    disk_of = d;
    d->io = io;
    d->real = io->ops;
    d->ops = *io->ops;
    d->ops.read = slow_read;
    d->ops.read_as = slow_read_as;
    d->ops.copy = slow_copy;
    d->ops.write = slow_write;
    d->ops.sync = slow_sync;
    d->ops.cancel = slow_cancel;
    io->ops = &d->ops;
}

void slow_disk_end(struct slow_disk *d)
{
    ASSERT(disk_of == d && !d->requests);
    d->io->ops = d->real;
    disk_of = NULL;
}

unsigned slow_disk_held(const struct slow_disk *d)
{
    unsigned n = 0;
    for (const struct slow_request *r = d->requests; r; r = r->next)
        n += r->held;
    return n;
}

void slow_disk_release(struct slow_disk *d)
{
    d->hold_reads = d->hold_syncs = false;
    for (struct slow_request *r = d->requests; r; r = r->next)
        if (r->held) {
            r->held = false;
            pause(r);
        }
}
