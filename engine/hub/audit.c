#include "audit.h"

#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_VERSION 1u
#define TRIES        8u /* against another hub that writes at the same moment */
#define RETRY_MAX    (30 * IO_S)
#define PAGE         250u /* catalog entries read at a time */

/* What the store's catalog says of a batch; its number there is that of its last entry. */
struct batch {
    uint64_t first, last;
    uint32_t len;
    struct digest object, link; /* of the object's bytes; after its last entry */
    int64_t newest;             /* time of any entry up to here */
};

struct node {
    struct node *next;
    struct trail_entry entry; /* seq comes when it is written */
};

/* What one peer did of one kind in this window. */
struct bucket {
    struct bucket *next;
    enum trail_kind kind;
    char peer[NAME_MAX_LEN + 1];
    uint64_t since;
    unsigned written, left_out;
};

struct audit {
    struct io *io;
    struct store *store;
    struct fiber *fiber;
    struct fiber_cond changed, ended;
    char hub[NAME_MAX_LEN + 1], log[STORE_NAME_MAX];
    struct node *head, **tail;
    unsigned count;
    uint64_t lost;
    struct bucket *buckets;
    struct { /* that may have been written, whatever the store said */
        struct digest object;
        uint64_t last;
        unsigned count;
    } tried;
    bool stopping, done;
};

/* ---- the log in the store ---- */

static void encode_head(struct store_head *out, const struct batch *b)
{
    struct bytes_out o = bytes_out(STORE_ENTRY_MAX);
    bytes_put_u8(&o, HEAD_VERSION);
    bytes_put_u64(&o, b->first);
    bytes_put_u32(&o, b->len);
    bytes_put(&o, b->object.b, DIGEST_LEN);
    bytes_put(&o, b->link.b, DIGEST_LEN);
    bytes_put_u64(&o, (uint64_t)b->newest);
    ASSERT(!o.bad);
    memset(out, 0, sizeof *out);
    out->rp = b->last;
    out->len = (uint16_t)o.len;
    memcpy(out->value, o.p, o.len);
    bytes_free(&o);
}

static int decode_head(struct batch *out, const struct store_head *in, struct err *e)
{
    struct bytes_in b = bytes_in(in->value, in->len);
    memset(out, 0, sizeof *out);
    if (in->rp == 0)
        return 0;
    uint8_t version = bytes_get_u8(&b);
    out->last = in->rp;
    out->first = bytes_get_u64(&b);
    out->len = bytes_get_u32(&b);
    bytes_get(&b, out->object.b, DIGEST_LEN);
    bytes_get(&b, out->link.b, DIGEST_LEN);
    out->newest = (int64_t)bytes_get_u64(&b);
    if (bytes_bad(&b) || bytes_left(&b) != 0 || version != HEAD_VERSION || out->first == 0 ||
        out->first > out->last || out->len > TRAIL_BATCH_MAX)
        return err_set(e, ERR_CORRUPT,
                       "the catalog's line of the entries up to %" PRIu64
                       " is not one that this version of relais wrote",
                       in->rp);
    return 0;
}

static void object_name(char dst[STORE_NAME_MAX], const struct batch *b)
{
    char hex[17];
    bytes_hex(hex, b->object.b, 8);
    (void)snprintf(dst, STORE_NAME_MAX, AUDIT_OBJECTS "%016" PRIx64 ".%s", b->first, hex);
}

static int newest(struct audit *a, struct store_head *raw, struct batch *out, struct err *e)
{
    int rc = a->store->ops->head(a->store, a->hub, a->log, raw, e);
    return rc < 0 ? rc : decode_head(out, raw, e);
}

/* ---- notes ---- */

/* What others can provoke as often as they like. */
static bool is_limited(enum trail_kind kind)
{
    return kind == TRAIL_CONNECT || kind == TRAIL_LEAVE || kind == TRAIL_REFUSE ||
           kind == TRAIL_STRANGERS || kind == TRAIL_READ || kind == TRAIL_FETCH ||
           kind == TRAIL_READERS;
}

static void push(struct audit *a, enum trail_kind kind, const char *peer, const char *subject,
                 enum err_code outcome, const char *detail)
{
    if (a->count == AUDIT_QUEUE) {
        a->lost++;
        return;
    }
    struct node *n = err_calloc(1, sizeof *n);
    struct trail_entry *t = &n->entry;
    t->time = io_wall(a->io);
    t->kind = kind;
    t->outcome = outcome;
    memcpy(t->hub, a->hub, sizeof t->hub);
    trail_text(t->peer, sizeof t->peer, peer ? peer : "");
    trail_text(t->subject, sizeof t->subject, subject);
    trail_text(t->detail, sizeof t->detail, detail);
    *a->tail = n;
    a->tail = &n->next;
    a->count++;
    fiber_wake_all(&a->changed);
}

/* Tells of the windows that are over what was left out, and forgets them. Returns whether any goes
 * on that has something to tell. */
static bool close_windows(struct audit *a, bool all)
{
    uint64_t now = io_now(a->io);
    bool pending = false;
    for (struct bucket **at = &a->buckets; *at;) {
        struct bucket *b = *at;
        char text[TRAIL_DETAIL_MAX];
        if (!all && now - b->since < AUDIT_WINDOW_NS) {
            pending |= b->left_out > 0;
            at = &b->next;
            continue;
        }
        if (b->left_out > 0) {
            (void)snprintf(text, sizeof text, "and %u more of this kind within a minute",
                           b->left_out);
            push(a, b->kind, b->peer, "", ERR_LIMIT, text);
        }
        *at = b->next;
        free(b);
    }
    return pending;
}

/* In a window. Anybody can be a stranger, as often as he likes. */
static unsigned burst(enum trail_kind kind)
{
    return kind == TRAIL_STRANGERS ? AUDIT_STRANGERS : AUDIT_BURST;
}

/* Whether this one is to be written. */
static bool admit(struct audit *a, enum trail_kind kind, const char *peer)
{
    struct bucket *b;
    if (!is_limited(kind))
        return true;
    (void)close_windows(a, false);
    for (b = a->buckets; b; b = b->next)
        if (b->kind == kind && strcmp(b->peer, peer) == 0)
            break;
    if (!b) { /* as many as kinds times peers of the configuration, at most */
        b = err_calloc(1, sizeof *b);
        b->kind = kind;
        (void)snprintf(b->peer, sizeof b->peer, "%s", peer);
        b->since = io_now(a->io);
        b->next = a->buckets;
        a->buckets = b;
    }
    if (b->written == burst(kind)) {
        if (b->left_out++ == 0)
            fiber_wake_all(&a->changed); /* the writer minds the time from now on */
        return false;
    }
    b->written++;
    return true;
}

void audit_note(struct audit *a, enum trail_kind kind, const char *peer, const char *subject,
                enum err_code outcome, const char *fmt, ...)
{
    char detail[ERR_TEXT_MAX];
    va_list args;
    if (!a || a->done || !admit(a, kind, peer ? peer : ""))
        return;
    va_start(args, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    push(a, kind, peer, subject, outcome, detail);
}

/* ---- the writer ---- */

/* As many of the queue as fit, as they come after `from`. */
static void encode_batch(struct audit *a, const struct batch *from, struct batch *b,
                         struct bytes_out *o, unsigned *count)
{
    uint8_t body[TRAIL_BODY_MAX];
    *b = (struct batch){
        .first = from->last + 1, .last = from->last, .link = from->link, .newest = from->newest};
    *count = 0;
    bytes_put(o, TRAIL_MAGIC, TRAIL_MAGIC_LEN);
    for (struct node *n = a->head; n && o->len + TRAIL_RECORD_MAX <= TRAIL_BATCH_MAX; n = n->next) {
        struct digest before = b->link;
        n->entry.seq = ++b->last;
        size_t len = trail_encode(body, &n->entry);
        trail_link(&b->link, &before, body, len);
        bytes_put(o, before.b, DIGEST_LEN);
        bytes_put_u16(o, (uint16_t)len);
        bytes_put(o, body, len);
        if (n->entry.time > b->newest)
            b->newest = n->entry.time;
        (*count)++;
    }
    ASSERT(!o->bad);
    b->len = (uint32_t)o->len;
    digest_of(&b->object, o->p, o->len);
}

/* The first n of the queue are in the log. */
static void drop(struct audit *a, unsigned n)
{
    for (; n > 0; n--) {
        struct node *first = a->head;
        a->head = first->next;
        if (!a->head)
            a->tail = &a->head;
        a->count--;
        free(first);
    }
    a->tried.count = 0;
    if (a->lost > 0 && a->count < AUDIT_QUEUE) {
        char text[TRAIL_DETAIL_MAX];
        (void)snprintf(text, sizeof text,
                       "%" PRIu64 " entries are missing here: the store could not take them",
                       a->lost);
        a->lost = 0;
        push(a, TRAIL_LOST, NULL, "", ERR_LIMIT, text);
    }
}

/* A write may fail and yet have happened: whether the last one did. */
static int settle(struct audit *a, bool *written, struct err *e)
{
    struct store_head raw;
    struct batch b;
    uint32_t n = 0;
    *written = false;
    if (a->tried.count == 0)
        return 0;
    int rc = a->store->ops->catalog(a->store, a->hub, a->log, a->tried.last - 1, &raw, 1, &n, e);
    if (rc < 0 || n == 0 || raw.rp != a->tried.last)
        return rc;
    rc = decode_head(&b, &raw, e);
    *written = rc == 0 && digest_equal(&b.object, &a->tried.object);
    return rc;
}

/* The object first, then the move of the head that makes it count. */
static int write_batch(struct audit *a, unsigned *count, struct err *e)
{
    struct store_head from, to;
    struct batch was, b;
    char name[STORE_NAME_MAX];
    struct bytes_out o = bytes_out(TRAIL_BATCH_MAX);
    int rc = newest(a, &from, &was, e);
    if (rc == 0) {
        encode_batch(a, &was, &b, &o, count);
        object_name(name, &b);
        encode_head(&to, &b);
        rc = a->store->ops->put(a->store, a->hub, name, o.p, o.len, e);
    }
    if (rc == 0) {
        a->tried.object = b.object;
        a->tried.last = b.last;
        a->tried.count = *count;
        rc = a->store->ops->move_head(a->store, a->hub, a->log, &from, &to, e);
    }
    bytes_free(&o);
    return rc;
}

static int flush(struct audit *a, struct err *e)
{
    unsigned count = a->tried.count;
    bool written;
    int rc = settle(a, &written, e);
    for (unsigned i = 0; rc == 0 && !written && i < TRIES; i++) {
        rc = write_batch(a, &count, e);
        written = rc == 0;
        if (rc == -ERR_CONFLICT) {
            *e = (struct err)ERR_INIT;
            count = a->tried.count;
            rc = settle(a, &written, e);
        }
    }
    if (rc == 0 && !written)
        rc = err_set(e, ERR_AGAIN, "others moved the log's head %u times meanwhile", TRIES);
    if (rc == 0)
        drop(a, count);
    return rc;
}

/* Logs what keeps the log from being written when it is news; false: stop. */
static bool wait_to_retry(struct audit *a, const struct err *e, char known[ERR_TEXT_MAX],
                          uint64_t *backoff)
{
    if (e->code == ERR_CANCELED)
        return false;
    if (strcmp(known, e->text) != 0) {
        (void)snprintf(known, ERR_TEXT_MAX, "%s", e->text);
        log_error("hub: audit log: %s; %u entries wait", e->text, a->count);
    }
    if (fiber_sleep(*backoff) != 0)
        return false;
    *backoff = a->stopping ? IO_S : *backoff * 2 < RETRY_MAX ? *backoff * 2 : RETRY_MAX;
    return true;
}

static void writer_main(void *arg)
{
    struct audit *a = arg;
    char known[ERR_TEXT_MAX] = "";
    uint64_t backoff = IO_S;
    while (!fiber_cancelled() && (!a->stopping || a->count > 0)) {
        struct err e = ERR_INIT;
        bool pending = close_windows(a, a->stopping);
        if (a->count == 0) {
            if (!a->stopping)
                (void)fiber_wait(&a->changed, pending ? AUDIT_WINDOW_NS / 4 : FIBER_FOREVER);
            continue;
        }
        uint64_t until = io_now(a->io) + AUDIT_GATHER_NS, now;
        while (!a->stopping && !fiber_cancelled() && a->count < AUDIT_QUEUE / 4 &&
               (now = io_now(a->io)) < until)
            (void)fiber_wait(&a->changed, until - now);
        if (flush(a, &e) == 0) {
            backoff = IO_S;
            known[0] = '\0';
        } else if (!wait_to_retry(a, &e, known, &backoff)) {
            break;
        }
    }
    a->done = true;
    fiber_wake_all(&a->ended);
}

struct audit *audit_start(struct io *io, struct store *store, const char *hub)
{
    struct audit *a = err_calloc(1, sizeof *a);
    a->io = io;
    a->store = store;
    a->tail = &a->head;
    (void)snprintf(a->hub, sizeof a->hub, "%s", hub);
    (void)snprintf(a->log, sizeof a->log, "%s" STORE_AUDIT, hub);
    a->fiber = fiber_spawn(io, "hub-audit", writer_main, a);
    return a;
}

void audit_stop(struct audit *a)
{
    if (!a)
        return;
    uint64_t until = io_now(a->io) + AUDIT_STOP_NS, now;
    (void)close_windows(a, true);
    a->stopping = true;
    fiber_wake_all(&a->changed);
    while (!a->done && (now = io_now(a->io)) < until)
        if (fiber_wait(&a->ended, until - now) == -ECANCELED)
            break;
    fiber_cancel(a->fiber);
    fiber_join(a->fiber);
    if (a->count + a->lost > 0)
        log_error("hub: audit log: %" PRIu64
                  " entries were not written: the store did not take them",
                  a->count + a->lost);
    while (a->head) {
        struct node *n = a->head;
        a->head = n->next;
        free(n);
    }
    while (a->buckets) {
        struct bucket *b = a->buckets;
        a->buckets = b->next;
        free(b);
    }
    free(a);
}

/* ---- reading ---- */

static void put_record(struct audit_page *p, const struct trail_record *r, bool shown)
{
    uint8_t *at = p->bytes + p->len;
    memcpy(at, r->before.b, DIGEST_LEN);
    at += DIGEST_LEN;
    *at++ = shown;
    if (shown) {
        *at++ = (uint8_t)r->len;
        *at++ = (uint8_t)(r->len >> 8);
        memcpy(at, r->body, r->len);
        at += r->len;
    } else {
        struct digest d;
        digest_of(&d, r->body, r->len);
        memcpy(at, d.b, DIGEST_LEN);
        at += DIGEST_LEN;
    }
    p->len = (uint32_t)(at - p->bytes);
}

/* The entries of a batch after `after`. false in *room: the page is full. */
static int put_batch(struct audit_page *p, const struct batch *b, const void *object,
                     uint64_t after, const char *viewer, bool *room, struct err *e)
{
    struct bytes_in in;
    struct trail_record r;
    uint64_t seq = b->first;
    int rc = trail_batch_open(&in, object, b->len, e);
    for (; rc == 0 && (rc = trail_batch_next(&r, &in, e)) > 0; seq++, rc = 0) {
        struct trail_entry entry;
        struct err ignored = ERR_INIT;
        if (seq <= after)
            continue;
        *room = p->len + 1 + TRAIL_RECORD_MAX <= PAYLOAD_MAX;
        if (!*room)
            return 0;
        /* What cannot be read is shown to those only who see all: they find out. */
        put_record(p, &r,
                   !viewer || (trail_decode(&entry, r.body, r.len, &ignored) == 0 &&
                               trail_concerns(&entry, viewer)));
        if (p->first == 0)
            p->first = seq;
        p->count++;
    }
    if (rc == 0 && seq != b->last + 1)
        rc = err_set(e, ERR_CORRUPT, "%" PRIu64 " entries are there, not %" PRIu64, seq - b->first,
                     b->last - b->first + 1);
    return rc < 0 ? err_prefix(e, "entries %" PRIu64 "-%" PRIu64, b->first, b->last) : 0;
}

static int read_batch(struct audit *a, const struct batch *b, uint64_t after, const char *viewer,
                      struct audit_page *out, bool *room, struct err *e)
{
    char name[STORE_NAME_MAX];
    uint8_t *object = err_malloc(b->len ? b->len : 1);
    object_name(name, b);
    int rc = a->store->ops->get(a->store, a->hub, name, 0, object, b->len, e);
    if (rc < 0)
        rc = err_prefix(e, "entries %" PRIu64 "-%" PRIu64, b->first, b->last);
    else
        rc = put_batch(out, b, object, after, viewer, room, e);
    free(object);
    return rc;
}

int audit_read(struct audit *a, uint64_t after, int64_t since, const char *viewer,
               struct audit_page *out, struct err *e)
{
    struct store_head *raw = err_calloc(PAGE, sizeof *raw);
    struct batch b;
    uint32_t n = PAGE;
    uint64_t at = after;
    bool room = true;
    out->first = 0;
    out->count = out->len = 0;
    int rc = newest(a, &raw[0], &b, e);
    out->end = (struct trail_end){b.last, b.link};
    while (rc == 0 && room && n == PAGE && at < out->end.seq) {
        rc = a->store->ops->catalog(a->store, a->hub, a->log, at, raw, PAGE, &n, e);
        for (uint32_t i = 0; rc == 0 && room && i < n && raw[i].rp <= out->end.seq; i++) {
            rc = decode_head(&b, &raw[i], e);
            if (rc == 0 && (b.newest >= since || out->count > 0))
                rc = read_batch(a, &b, after, viewer, out, &room, e);
            at = raw[i].rp;
        }
    }
    free(raw);
    return rc < 0 ? err_prefix(e, "audit log of %s", a->hub) : 0;
}
