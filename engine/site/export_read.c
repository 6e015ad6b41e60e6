/* The reader: from the socket to requests, their payloads where they were received.
 *
 * Small requests come many at a time, into whatever room the buffer has. In a large write each
 * receive asks for what is missing of the piece, and for the head of the next request with its last
 * byte: so the pieces of a stream of large writes begin at the start of a buffer, and nothing is
 * copied. What straddles the end of a buffer moves to the next one. */
#include "export_conn.h"

#include "log.h"

#include <errno.h>
#include <string.h>

/* Writes from this size are received piece by piece. */
#define BULK (128u * 1024u)
/* What is left of a buffer is used for a piece of a write if it is as long as this. */
#define PIECE_LEAST (64u * 1024u)
#define CACHE_MAX   ((uint32_t)(32 * MIB))

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Goes on in a buffer of its own, with what has not been looked at. */
static int roll(struct conn *c)
{
    struct buf *b = buf_take(c);
    if (!b)
        return -ECANCELED;
    memcpy(b->mem, c->in->mem + c->pos, c->fill - c->pos);
    buf_drop(c, c->in);
    c->in = b;
    c->fill -= c->pos;
    c->pos = 0;
    return 0;
}

/* Receives at least one byte more, at most `want`. -ENODATA when the client closed. */
static int receive(struct conn *c, uint32_t want)
{
    int n;
    if (c->pos == c->fill && c->in->refs == 1)
        c->pos = c->fill = 0;
    if (c->fill == EXPORT_BUF && (n = roll(c)) < 0)
        return n;
    n = conn_recv(c, c->in->mem + c->fill, least(want, EXPORT_BUF - c->fill), FIBER_FOREVER);
    if (n <= 0)
        return n < 0 ? n : -ENODATA;
    c->fill += (uint32_t)n;
    return 0;
}

static int skip(struct conn *c, uint32_t left)
{
    for (;;) {
        uint32_t n = least(left, c->fill - c->pos);
        int res;
        c->pos += n;
        left -= n;
        if (left == 0)
            return 0;
        if ((res = receive(c, EXPORT_BUF)) < 0)
            return res;
    }
}

/* ---- jobs ---- */

/* A job for bytes [off, off + len): the request's own when it is the only one. */
static struct job *add_job(struct request *rq, struct buf *buf, uint8_t *at, uint64_t off,
                           uint32_t len)
{
    struct job *j = rq->in_pieces ? err_malloc(sizeof *j) : &rq->job;
    *j = (struct job){.request = rq, .buf = buf, .at = at, .off = off, .len = len};
    if (rq->in_pieces)
        j->item.memory = j;
    rq->pending++;
    return j;
}

/* Sets aside where the reply goes. */
static int set_slot(struct request *rq, uint32_t len)
{
    return buf_reserve(rq->conn, len, &rq->slot_buf, &rq->slot);
}

/* ---- WRITE ---- */

/* How much of the `left` bytes from `off` on can be one piece at c->pos; 0: too little is left of
 * the buffer. Pieces end at sectors, for a page's sake. */
static uint32_t piece_here(const struct conn *c, uint64_t off, uint32_t left)
{
    uint32_t room = least(EXPORT_BUF - c->pos, EXPORT_PIECE), over;
    if (left <= room)
        return left;
    over = (uint32_t)((off + room) % SECTOR_SIZE);
    return room < PIECE_LEAST || room - over < PIECE_LEAST ? 0 : room - over;
}

static int take_payload(struct conn *c, struct request *rq)
{
    uint64_t off = rq->r.offset;
    uint32_t left = rq->r.length;
    while (left > 0) {
        uint32_t have = c->fill - c->pos, piece = piece_here(c, off, left);
        int res = 0;
        if (piece == 0)
            res = roll(c);
        else if (have < piece && c->bulk)
            res = receive(c, piece - have + (piece == left ? NBD_REQUEST_LEN : 0));
        else if (have < piece)
            res = receive(c, EXPORT_BUF);
        if (res < 0)
            return res;
        if (piece == 0 || have < piece)
            continue;
        rq->in_pieces = rq->in_pieces || piece < left;
        c->in->refs++;
        run_job(add_job(rq, c->in, c->in->mem + c->pos, off, piece));
        c->pos += piece;
        off += piece;
        left -= piece;
    }
    return 0;
}

static int take_write(struct conn *c, struct request *rq)
{
    int res = set_slot(rq, NBD_REPLY_SIMPLE_LEN);
    c->bulk = rq->r.length > BULK;
    if (res == 0)
        res = take_payload(c, rq);
    if (res < 0)
        rq->res = res; /* nobody will hear of it */
    request_release(rq);
    return res;
}

/* ---- READ ---- */

/* A read in one piece, or with structured replies in several, each of which is a chunk. */
static int take_read(struct conn *c, struct request *rq)
{
    uint32_t head = (uint32_t)nbd_reply_data_head(&c->session), left = rq->r.length;
    uint64_t off = rq->r.offset;
    int res = 0;
    rq->in_pieces = left > EXPORT_PIECE;
    while (left > 0 && res == 0) {
        uint32_t piece = least(left, EXPORT_PIECE - (uint32_t)(off % SECTOR_SIZE));
        struct buf *buf;
        uint8_t *at;
        if (!rq->in_pieces)
            piece = left;
        res = buf_reserve(c, head + piece, &buf, &at);
        if (res == 0)
            run_job(add_job(rq, buf, at, off, piece));
        off += piece;
        left -= piece;
    }
    if (res < 0)
        rq->res = res;
    request_release(rq);
    return res;
}

/* A simple reply is one whole, and may be longer than all buffers: the sender reads and sends it
 * piece by piece, through a buffer that is set aside here. */
static int take_stream(struct conn *c, struct request *rq)
{
    int res = set_slot(rq, EXPORT_PIECE);
    if (res < 0) {
        rq->res = res;
        request_release(rq);
        return res;
    }
    rq->pending = 0;
    rq->end = (struct item){.buf = rq->slot_buf, .request = rq, .stream = true};
    send_item(c, &rq->end);
    return 0;
}

/* ---- the others ---- */

static int take_other(struct conn *c, struct request *rq)
{
    bool one = rq->r.flags & NBD_CMD_FLAG_REQ_ONE, status = rq->r.command == NBD_CMD_BLOCK_STATUS;
    uint32_t len =
        status ? (uint32_t)NBD_REPLY_STATUS_LEN(one ? 1 : NBD_EXTENTS_MAX) : NBD_REPLY_SIMPLE_LEN;
    struct buf *scratch = NULL;
    int res = set_slot(rq, len);
    if (res == 0 && rq->r.command == NBD_CMD_CACHE && !(scratch = buf_take(c)))
        res = -ECANCELED;
    if (rq->r.command == NBD_CMD_CACHE)
        rq->r.length = least(rq->r.length, CACHE_MAX);
    if (res == 0)
        run_job(add_job(rq, scratch, scratch ? scratch->mem : NULL, rq->r.offset, rq->r.length));
    else
        rq->res = res;
    request_release(rq);
    return res;
}

static int refuse(struct conn *c, const struct nbd_request *r)
{
    struct request *rq;
    int res = skip(c, r->payload);
    if (res < 0)
        return res;
    log_debug("nbd %s: %s of %u bytes at %llu refused: %s", c->who, nbd_command_name(r->command),
              r->length, (unsigned long long)r->offset, r->text);
    rq = request_new(c, r);
    if (!rq)
        return -ECANCELED;
    rq->text = r->text;
    request_release(rq);
    return 0;
}

static int take(struct conn *c, struct nbd_request *r)
{
    struct request *rq;
    /* Larger ones are allowed to be refused when they must not be fragmented. */
    if (r->command == NBD_CMD_READ && r->flags & NBD_CMD_FLAG_DF && r->length > EXPORT_PIECE) {
        r->error = NBD_EOVERFLOW;
        r->text = "an unfragmented read is at most 256 KiB long";
        return refuse(c, r);
    }
    rq = request_new(c, r);
    if (!rq)
        return -ECANCELED;
    if (r->command == NBD_CMD_WRITE)
        return take_write(c, rq);
    c->bulk = false;
    if (r->command == NBD_CMD_READ && !c->session.structured && r->length > EXPORT_PIECE)
        return take_stream(c, rq);
    return r->command == NBD_CMD_READ ? take_read(c, rq) : take_other(c, rq);
}

void read_requests(struct conn *c)
{
    int res = 0;
    while (res == 0) {
        struct nbd_request r;
        uint32_t have = c->fill - c->pos;
        if (EXPORT_BUF - c->pos < NBD_REQUEST_LEN) {
            res = roll(c);
            continue;
        }
        if (have < NBD_REQUEST_LEN) {
            res = receive(c, c->bulk ? NBD_REQUEST_LEN - have : EXPORT_BUF);
            continue;
        }
        enum nbd_fate fate = nbd_request_decode(&r, c->in->mem + c->pos, &c->session);
        c->pos += NBD_REQUEST_LEN;
        if (fate == NBD_DISCONNECT)
            return;
        if (fate == NBD_DROP) {
            log_warn("nbd %s: connection closed: %s", c->who, r.text);
            return;
        }
        res = fate == NBD_REFUSE ? refuse(c, &r) : take(c, &r);
    }
    if (res == -ENODATA && c->fill > c->pos)
        log_info("nbd %s: the client closed in the middle of a request", c->who);
    else if (res != -ENODATA && res != -ECANCELED && !c->broken)
        log_info("nbd %s: receiving: %s", c->who, strerror(-res));
}
