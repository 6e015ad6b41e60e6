#include "guest.h"

#include "err.h"
#include "fio.h"
#include "node.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BATCH     8u
#define LEN_MAX   (384u * 1024u)
#define PATIENCE  (5 * 60 * IO_S) /* longer than a daemon may take for any answer */
#define HOT_BYTES (96u * 1024u)   /* where guests meet */

enum { READ = 0, WRITE = 1, FLUSH = 3, TRIM = 4, ZEROES = 6 }; /* "Request types" */
enum { FUA = 1, NO_HOLE = 2, FAST_ZERO = 16 };                 /* "Command flags" */

struct ask {
    unsigned command, flags;
    uint64_t off, issued, op;
    uint32_t len;
    bool open;
};

struct talk { /* one connection */
    struct guest *g;
    uint64_t size; /* as it was said when they met */
    int fd;
    uint8_t *out, *in;
    size_t out_len;
    struct ask asks[BATCH];
    unsigned open;
};

static void put(uint8_t *p, unsigned bytes, uint64_t v)
{
    while (bytes-- > 0) {
        p[bytes] = (uint8_t)v;
        v >>= 8;
    }
}

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | *p++;
    return v;
}

static bool over(const struct guest *g)
{
    return fiber_cancelled() || node_is_dead(fiber_io()) || g->w->failed;
}

static int receive(struct talk *t, void *p, size_t len)
{
    for (size_t got = 0; got < len;) {
        int n = fio_recv(t->fd, (uint8_t *)p + got, len - got, PATIENCE);
        if (n == -ETIMEDOUT && !over(t->g))
            world_fail(t->g->w, "%s: %s has not answered for %u minutes", t->g->name,
                       t->g->export_name, (unsigned)(PATIENCE / (60 * IO_S)));
        if (n <= 0)
            return n < 0 ? n : -EPIPE;
        got += (size_t)n;
    }
    return over(t->g) ? -ECANCELED : 0; /* what comes after one's death is not heard */
}

/* ---- "Fixed newstyle negotiation" ---- */

static void learn_size(struct talk *t, uint64_t size, uint64_t least)
{
    t->size = size;
    if (size < least || size > *t->g->size)
        world_fail(t->g->w,
                   "%s: %s says that it has %" PRIu64 " bytes, and has %" PRIu64 "; %" PRIu64
                   " it was told of",
                   t->g->name, t->g->export_name, size, *t->g->size, least);
}

static int greet(struct talk *t)
{
    uint8_t p[256];
    uint64_t told = *t->g->told;
    size_t len = strlen(t->g->export_name);
    int res = receive(t, p, 18);
    if (res < 0)
        return res;
    put(p, 4, 3);
    memcpy(p + 4, "IHAVEOPT", 8);
    put(p + 12, 4, 7); /* GO */
    put(p + 16, 4, len + 6);
    put(p + 20, 4, len);
    memcpy(p + 24, t->g->export_name, len);
    put(p + 24 + len, 2, 0);
    res = fio_send_all(t->fd, p, 26 + len, PATIENCE);
    while (res >= 0) {
        uint32_t kind, more;
        res = receive(t, p, 20);
        if (res < 0)
            break;
        kind = (uint32_t)get(p + 12, 4);
        more = (uint32_t)get(p + 16, 4);
        if (kind == 1)
            return 0;
        if (more > sizeof p || kind & 0x80000000u)
            return -EPROTO;
        res = receive(t, p, more);
        if (res >= 0 && kind == 3 && get(p, 2) == 0)
            learn_size(t, get(p + 2, 8), told);
    }
    return res;
}

/* ---- asking ---- */

static void choose(struct talk *t, struct ask *a)
{
    struct rng *r = &t->g->w->rng;
    uint64_t kind = rng_below(r, 100), size = t->size, unit;
    bool meet = rng_chance(r, 400000) && size > HOT_BYTES;
    *a = (struct ask){.open = true};
    unit = rng_chance(r, 500000) && size >= 8192 ? 4096 : 512;
    a->off = rng_below(r, (meet ? HOT_BYTES : size) / unit) * unit;
    a->len = (uint32_t)(rng_skewed(r, 1, LEN_MAX / unit) * unit);
    if (a->len > size - a->off)
        a->len = (uint32_t)(size - a->off);
    if (kind < 12 && t->g->careless)
        kind = 99;
    if (kind < 12) {
        a->command = FLUSH;
        a->off = a->len = 0;
    } else if (kind < 30) {
        a->command = READ;
    } else if (kind < 76) {
        a->command = WRITE;
        a->flags = rng_chance(r, 150000) ? FUA : 0;
    } else if (kind < 90) {
        a->command = ZEROES;
        a->flags = (rng_chance(r, 500000) ? NO_HOLE : 0) | (rng_chance(r, 150000) ? FUA : 0);
        if (rng_chance(r, 100000))
            a->flags |= FAST_ZERO;
        if (rng_chance(r, 30000)) { /* a whole volume is discarded before it is formatted */
            a->off = 0;
            a->len = (uint32_t)size;
        }
    } else {
        a->command = TRIM;
        a->flags = rng_chance(r, 150000) ? FUA : 0;
    }
    if (t->g->careless)
        a->flags &= (uint16_t)~FUA;
}

static void ask(struct talk *t, unsigned n)
{
    struct ask *a = &t->asks[n];
    uint8_t *p = t->out + t->out_len;
    choose(t, a);
    put(p, 4, 0x25609513);
    put(p + 4, 2, a->flags);
    put(p + 6, 2, a->command);
    put(p + 8, 8, n);
    put(p + 16, 8, a->off);
    put(p + 24, 4, a->len);
    t->out_len += 28;
    if (a->command == READ || a->command == FLUSH) {
        a->issued = ledger_now(t->g->ledger);
    } else {
        a->op = ledger_issue(t->g->ledger, t->g->volume, a->off, a->len,
                             a->command == WRITE ? p + 28 : NULL);
        t->out_len += a->command == WRITE ? a->len : 0;
    }
    t->open++;
}

/* ---- "Simple reply message" ---- */

static void count(struct world *w, const struct ask *a, uint32_t error)
{
    static const enum deed deeds[] = {[READ] = DEED_READ,
                                      [WRITE] = DEED_WRITE,
                                      [FLUSH] = DEED_FLUSH,
                                      [TRIM] = DEED_TRIM,
                                      [ZEROES] = DEED_ZERO};
    w->did[error ? DEED_REFUSED : deeds[a->command]]++;
    w->did[DEED_FUA] += error == 0 && a->flags & FUA;
}

static int answer(struct talk *t)
{
    struct guest *g = t->g;
    uint8_t head[16];
    uint64_t n;
    uint32_t error;
    struct ask *a;
    int res = receive(t, head, sizeof head);
    if (res < 0)
        return res;
    n = get(head + 8, 8);
    error = (uint32_t)get(head + 4, 4);
    if (get(head, 4) != 0x67446698 || n >= BATCH || !t->asks[n].open) {
        world_fail(g->w, "%s: %s sent a reply to nothing that was asked", g->name, g->export_name);
        return -EPROTO;
    }
    a = &t->asks[n];
    if (error == 0 && a->command == READ) {
        res = receive(t, t->in, a->len);
        if (res < 0)
            return res;
    }
    a->open = false;
    t->open--;
    count(g->w, a, error);
    if (error != 0) {
        if (error != 5 && error != 28 && error != 95 && error != 108)
            world_fail(g->w, "%s: %s refused request %u with error %u", g->name, g->export_name,
                       a->command, error);
    } else if (a->command == READ) {
        ledger_read(g->ledger, g->volume, a->off, a->len, t->in, a->issued);
    } else if (a->command == FLUSH) {
        ledger_flushed(g->ledger, g->volume, a->issued);
    } else {
        ledger_ack(g->ledger, a->op, a->flags & FUA);
    }
    return 0;
}

static int batch(struct talk *t)
{
    unsigned count = (unsigned)rng_skewed(&t->g->w->rng, 1, BATCH);
    int res;
    t->out_len = 0;
    for (unsigned n = 0; n < count; n++)
        ask(t, n);
    (*t->g->busy)++;
    res = fio_send_all(t->fd, t->out, t->out_len, PATIENCE);
    while (res >= 0 && t->open > 0)
        res = answer(t);
    (*t->g->busy)--;
    return res;
}

static void talk(struct talk *t)
{
    struct rng *r = &t->g->w->rng;
    int res = greet(t);
    t->open = 0;
    while (res >= 0 && !over(t->g)) {
        if (!*t->g->quiet)
            res = batch(t);
        if (rng_chance(r, t->g->restless ? 50000 : 500000))
            (void)fiber_sleep(rng_skewed(r, IO_MS, 3 * IO_S));
        else if (*t->g->quiet)
            (void)fiber_sleep(IO_S);
    }
}

void guest_run(void *arg)
{
    struct talk t = {.g = arg};
    struct io_addr addr = {.port = 0};
    (void)snprintf(addr.path, sizeof addr.path, "%s", t.g->socket);
    t.out = err_malloc(BATCH * (28 + LEN_MAX));
    t.in = err_malloc(LEN_MAX);
    while (!over(t.g)) {
        t.fd = fio_connect(&addr, 10 * IO_S);
        if (t.fd >= 0)
            talk(&t);
        fio_close_always(t.fd);
        (void)fiber_sleep(rng_skewed(&t.g->w->rng, 10 * IO_MS, IO_S));
    }
    free(t.out);
    free(t.in);
}
