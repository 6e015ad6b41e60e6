/* The crew: fibers that run the jobs of a volume against its capture, and what becomes of the
 * replies.
 *
 * Workers that have nothing to do are reused latest first: their stacks are warm. */
#include "export_conn.h"

#include "log.h"
#include "tap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct worker {
    struct crew *crew;
    struct fiber *fiber;
    struct job *job;
    struct fiber_cond hired;
    struct worker *next, *next_idle;
};

/* ---- what a job does ---- */

/* Whether [off, off + len) is one hole. Costs a system call on a thread, but for what is known. */
static bool is_hole(struct served *v, uint64_t off, uint32_t len)
{
    struct io_run run;
    if (off >= v->data_start && off + len <= v->data_end)
        return false;
    if (capture_run(v->capture, off, &run) < 0 || run.end <= off)
        return false; /* reading will tell */
    if (run.data) {
        v->data_start = off;
        v->data_end = run.end;
    }
    return !run.data && run.end - off >= len;
}

/* Puts head and data of a read at j->at; a chunk of one hole is a head only. */
static int do_read(struct job *j)
{
    struct request *rq = j->request;
    const struct conn *c = rq->conn;
    bool last = !rq->in_pieces;
    size_t head = nbd_reply_data_head(&c->session);
    int res;
    if (j->len == EXPORT_PIECE && c->session.structured && !(rq->r.flags & NBD_CMD_FLAG_DF) &&
        is_hole(c->volume, j->off, j->len)) {
        j->item.len = (uint32_t)nbd_reply_hole(j->at, rq->r.cookie, j->off, j->len, last);
        return 0;
    }
    res = capture_read(c->volume->capture, j->at + head, j->len, j->off);
    if (res < 0)
        return res;
    (void)nbd_reply_data(j->at, &c->session, rq->r.cookie, j->off, j->len, last);
    j->item.len = (uint32_t)head + j->len;
    return 0;
}

static int do_status(struct job *j)
{
    struct request *rq = j->request;
    struct nbd_extent its[NBD_EXTENTS_MAX];
    unsigned max = rq->r.flags & NBD_CMD_FLAG_REQ_ONE ? 1 : NBD_EXTENTS_MAX, count = 0;
    uint64_t off = j->off, end = j->off + j->len;
    while (off < end) {
        struct io_run run;
        uint32_t len, flags;
        int res = capture_run(rq->conn->volume->capture, off, &run);
        if (res < 0)
            return res;
        if (run.end <= off)
            return -EIO; /* somebody made the file shorter */
        len = (uint32_t)((run.end < end ? run.end : end) - off);
        flags = run.data ? 0 : NBD_STATE_HOLE | NBD_STATE_ZERO;
        off += len;
        if (count > 0 && its[count - 1].flags == flags)
            its[count - 1].length += len;
        else if (count == max)
            break;
        else
            its[count++] = (struct nbd_extent){len, flags};
    }
    rq->end.len = (uint32_t)nbd_reply_status(rq->slot, rq->r.cookie, its, count);
    return 0;
}

/* There is nobody to ask to read ahead: so it is read, and forgotten. */
static int do_cache(struct job *j)
{
    int res = 0;
    for (uint32_t done = 0; done < j->len && res >= 0; done += EXPORT_PIECE) {
        uint32_t left = j->len - done;
        res = capture_read(j->request->conn->volume->capture, j->at,
                           left < EXPORT_PIECE ? left : EXPORT_PIECE, j->off + done);
    }
    return res;
}

static int run(struct job *j)
{
    const struct request *rq = j->request;
    struct capture *v = rq->conn->volume->capture;
    unsigned flags = rq->r.flags & NBD_CMD_FLAG_FUA ? CAPTURE_FUA : 0;
    if (j->sync || rq->r.command == NBD_CMD_FLUSH) {
        capture_note(v, TAP_FLUSH, 0, 0);
        return capture_flush(v);
    }
    if (j->len == 0)
        return 0;
    switch (rq->r.command) {
    case NBD_CMD_READ:
        return do_read(j);
    case NBD_CMD_WRITE:
        capture_note(v, TAP_WRITE, j->off, j->len);
        return capture_write(v, j->at, j->len, j->off, rq->in_pieces ? 0 : flags);
    case NBD_CMD_TRIM:
        capture_note(v, TAP_TRIM, j->off, j->len);
        return capture_trim(v, j->len, j->off, flags);
    case NBD_CMD_WRITE_ZEROES:
        if (rq->r.flags & NBD_CMD_FLAG_NO_HOLE)
            flags |= CAPTURE_NO_HOLE;
        if (rq->r.flags & NBD_CMD_FLAG_FAST_ZERO)
            flags |= CAPTURE_FAST;
        capture_note(v, TAP_ZERO, j->off, j->len);
        return capture_zero(v, j->len, j->off, flags);
    case NBD_CMD_CACHE:
        return do_cache(j);
    default:
        ASSERT(rq->r.command == NBD_CMD_BLOCK_STATUS);
        return do_status(j);
    }
}

/* ---- what becomes of it ---- */

static const char *failure_text(int res)
{
    return res == -ECANCELED || res == -ESHUTDOWN ? "the daemon is going down" : strerror(-res);
}

/* Queues the reply that ends the request. */
static void end(struct request *rq)
{
    struct conn *c = rq->conn;
    enum nbd_errno error = rq->text ? rq->r.error : nbd_error(rq->res);
    bool status = error == NBD_OK && rq->r.command == NBD_CMD_BLOCK_STATUS;
    uint32_t len = rq->end.len;
    rq->end = (struct item){.at = rq->slot, .len = len, .buf = rq->slot_buf, .request = rq};
    if (status) {
        send_item(c, &rq->end);
        return;
    }
    len = (uint32_t)nbd_reply_end(rq->reply, &c->session, &rq->r, error,
                                  rq->text ? rq->text : failure_text(rq->res));
    rq->end.len = len;
    if (rq->slot_buf && len == NBD_REPLY_SIMPLE_LEN)
        memcpy(rq->slot, rq->reply, len);
    else
        rq->end.at = rq->reply;
    send_item(c, &rq->end);
}

void request_release(struct request *rq)
{
    ASSERT(rq->pending > 0);
    if (--rq->pending > 0)
        return;
    if (rq->in_pieces && rq->r.command == NBD_CMD_WRITE && rq->r.flags & NBD_CMD_FLAG_FUA &&
        rq->res >= 0 && !rq->synced) {
        rq->synced = true;
        rq->pending = 1;
        rq->job = (struct job){.request = rq, .sync = true};
        run_job(&rq->job);
        return;
    }
    end(rq);
}

void log_failure(struct conn *c, const struct nbd_request *r, uint32_t len, uint64_t off, int res)
{
    struct served *v = c->volume;
    uint64_t now = io_now(v->crew.io);
    if (res == -ENOTSUP && r->flags & NBD_CMD_FLAG_FAST_ZERO)
        return; /* an answer, no failure */
    v->failures++;
    if (v->failed_at != 0 && now - v->failed_at < IO_S)
        return;
    log_error("nbd %s: %s of %u bytes at %llu: %s; %u request%s failed so far", c->who,
              nbd_command_name(r->command), len, (unsigned long long)off, strerror(-res),
              v->failures, v->failures == 1 ? "" : "s");
    v->failed_at = now;
}

static void finish(struct job *j, int res)
{
    struct request *rq = j->request;
    struct conn *c = rq->conn;
    void *memory = j->item.memory;
    if (res < 0) {
        log_failure(c, &rq->r, j->len, j->off, res);
        if (rq->res >= 0)
            rq->res = res;
    }
    if (rq->r.command == NBD_CMD_READ && res >= 0 && j->len > 0) {
        j->item.at = j->at;
        j->item.buf = j->buf;
        if (!rq->in_pieces) { /* the reader has let go, or will: there is nothing left to end */
            j->item.request = rq;
            rq->pending--;
        }
        send_item(c, &j->item);
        if (rq->in_pieces)
            request_release(rq);
        return;
    }
    if (j->buf)
        buf_drop(c, j->buf);
    request_release(rq);
    free(memory);
}

/* ---- workers ---- */

static void worker_main(void *arg)
{
    struct worker *w = arg;
    struct crew *crew = w->crew;
    for (;;) {
        struct job *j = w->job;
        if (!j && crew->head) {
            j = crew->head;
            crew->head = j->next;
            if (!crew->head)
                crew->tail = &crew->head;
        }
        w->job = NULL;
        if (j) {
            finish(j, run(j));
            continue;
        }
        if (crew->stopping)
            return;
        w->next_idle = crew->idle;
        crew->idle = w;
        while (!w->job && !crew->stopping)
            (void)fiber_wait(&w->hired, FIBER_FOREVER);
    }
}

void run_job(struct job *j)
{
    struct crew *crew = &j->request->conn->volume->crew;
    struct worker *w = crew->idle;
    if (w) {
        crew->idle = w->next_idle;
        w->job = j;
        fiber_wake_one(&w->hired);
    } else if (crew->count < EXPORT_WORKERS) {
        w = err_calloc(1, sizeof *w);
        w->crew = crew;
        w->job = j;
        w->next = crew->workers;
        crew->workers = w;
        crew->count++;
        w->fiber = fiber_spawn(crew->io, "nbd-worker", worker_main, w);
    } else {
        j->next = NULL;
        *crew->tail = j;
        crew->tail = &j->next;
    }
}

void crew_init(struct crew *w, struct io *io)
{
    *w = (struct crew){.io = io};
    w->tail = &w->head;
}

void crew_stop(struct crew *crew)
{
    ASSERT(!crew->head);
    crew->stopping = true;
    for (struct worker *w; (w = crew->workers); free(w)) {
        crew->workers = w->next;
        fiber_wake_one(&w->hired);
        fiber_join(w->fiber);
    }
}
