#include "ledger.h"

#include "bytes.h"
#include "err.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WORDS  (LEDGER_BLOCK / 8)
#define MARK   UINT64_C(0x7e1a000000000000)
#define NOBODY UINT64_MAX /* a block that is zero */
#define DAMAGE (UINT64_MAX - 1)

struct operation {
    unsigned volume;
    bool zero, fua;
    uint64_t first, end; /* blocks */
    uint64_t issued, acked;
};

struct volume {
    char name[16];
    uint64_t blocks, flushed; /* the newest flush that is done was asked for at that instant */
};

struct era {
    uint64_t start, end;            /* instants; end LEDGER_NEVER: the present one */
    uint64_t first, ended;          /* its operations; ended is right for eras that have ended */
    uint64_t *base[LEDGER_VOLUMES]; /* who wrote each block, as it began */
};

struct ledger {
    struct world *w;
    char name[40];
    uint64_t clock;
    struct volume volumes[LEDGER_VOLUMES];
    unsigned count;
    struct operation *ops;
    uint64_t op_count, op_cap;
    struct era *eras;
    size_t era_count;
};

/* ---- the book ---- */

static struct era *era_new(struct ledger *l)
{
    struct era *e;
    l->eras = err_realloc(l->eras, (l->era_count + 1) * sizeof *l->eras);
    e = &l->eras[l->era_count++];
    *e = (struct era){.start = ledger_now(l), .end = LEDGER_NEVER, .first = l->op_count};
    return e;
}

struct ledger *ledger_new(struct world *w, const char *name)
{
    struct ledger *l = err_calloc(1, sizeof *l);
    l->w = w;
    (void)snprintf(l->name, sizeof l->name, "%s", name);
    (void)era_new(l);
    return l;
}

void ledger_free(struct ledger *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->era_count; i++)
        for (unsigned v = 0; v < l->count; v++)
            free(l->eras[i].base[v]);
    free(l->eras);
    free(l->ops);
    free(l);
}

unsigned ledger_add(struct ledger *l, const char *name, uint64_t size)
{
    unsigned n = l->count++;
    struct volume *v = &l->volumes[n];
    ASSERT(n < LEDGER_VOLUMES && l->op_count == 0 && size % LEDGER_BLOCK == 0);
    (void)snprintf(v->name, sizeof v->name, "%s", name);
    v->blocks = size / LEDGER_BLOCK;
    l->eras[0].base[n] = err_malloc(v->blocks * sizeof(uint64_t));
    for (uint64_t b = 0; b < v->blocks; b++)
        l->eras[0].base[n][b] = NOBODY;
    return n;
}

uint64_t ledger_now(struct ledger *l)
{
    return ++l->clock;
}

/* A word of a block: some operations write what compresses well, some what does not. */
static uint64_t word_of(uint64_t op, unsigned volume, uint64_t block, unsigned i)
{
    uint64_t place = (uint64_t)volume << 40 | block;
    if (i % 2 == 0 && (i == 0 || op % 3))
        return MARK | op;
    if (op % 3)
        return MARK | place;
    return (op * UINT64_C(0x9e3779b97f4a7c15) ^ (place + i)) * UINT64_C(0xd1342543de82ef95);
}

uint64_t ledger_issue(struct ledger *l, unsigned volume, uint64_t off, uint32_t len, void *buf)
{
    uint64_t n = l->op_count, word;
    struct operation *op;
    ASSERT(off % LEDGER_BLOCK == 0 && len % LEDGER_BLOCK == 0);
    if (n == l->op_cap) {
        l->op_cap = l->op_cap ? 2 * l->op_cap : 1024;
        l->ops = err_realloc(l->ops, l->op_cap * sizeof *l->ops);
    }
    op = &l->ops[l->op_count++];
    *op = (struct operation){.volume = volume,
                             .zero = !buf,
                             .first = off / LEDGER_BLOCK,
                             .end = (off + len) / LEDGER_BLOCK,
                             .issued = ledger_now(l),
                             .acked = LEDGER_NEVER};
    ASSERT(op->end <= l->volumes[volume].blocks);
    for (uint64_t b = op->first; buf && b < op->end; b++)
        for (unsigned i = 0; i < WORDS; i++) {
            word = word_of(n, volume, b, i);
            memcpy((uint8_t *)buf + (b - op->first) * LEDGER_BLOCK + i * 8, &word, 8);
        }
    return n;
}

void ledger_ack(struct ledger *l, uint64_t op, bool fua)
{
    l->ops[op].acked = ledger_now(l);
    l->ops[op].fua = fua;
}

void ledger_flushed(struct ledger *l, unsigned volume, uint64_t asked)
{
    if (asked > l->volumes[volume].flushed)
        l->volumes[volume].flushed = asked;
}

/* ---- what is found ---- */

/* Who wrote a block: an operation on that place, NOBODY, or DAMAGE. */
static uint64_t writer_of(const struct ledger *l, const uint8_t *p, unsigned volume, uint64_t block)
{
    uint64_t w[WORDS], n;
    const struct operation *op;
    memcpy(w, p, sizeof w);
    n = w[0] ^ MARK;
    if (w[0] == 0)
        return bytes_zero(w, sizeof w) ? NOBODY : DAMAGE;
    if (n >= l->op_count)
        return DAMAGE;
    op = &l->ops[n];
    if (op->volume != volume || op->zero || block < op->first || block >= op->end)
        return DAMAGE;
    for (unsigned i = 1; i < WORDS; i++)
        if (w[i] != word_of(n, volume, block, i))
            return DAMAGE;
    return n;
}

/* Part of a volume as it was found, held against one era. */
struct view {
    const struct ledger *l;
    const struct era *era;
    unsigned volume;
    uint64_t first, end; /* blocks */
    uint64_t *writer;
    uint64_t at; /* an instant, and what that makes of blocks that are zero */
    uint64_t *zeroed;
};

static void view_free(struct view *v)
{
    free(v->writer);
    free(v->zeroed);
}

static void view_of(struct view *v, const struct ledger *l, unsigned volume, uint64_t first,
                    uint64_t end, const uint8_t *p)
{
    *v = (struct view){.l = l, .volume = volume, .first = first, .end = end};
    v->writer = err_malloc((end - first + 1) * sizeof *v->writer);
    v->zeroed = err_malloc((end - first + 1) * sizeof *v->zeroed);
    for (uint64_t b = first; b < end; b++)
        v->writer[b - first] = writer_of(l, p + (b - first) * LEDGER_BLOCK, volume, b);
}

static uint64_t ops_end(const struct view *v)
{
    return v->era->end == LEDGER_NEVER ? v->l->op_count : v->era->ended;
}

/* Of each block, what zeroes in it may be of at instant c: the end of the zeroing that ended last,
 * the era's start if it was zero then, or 0: of nothing. */
static void look_at(struct view *v, uint64_t c)
{
    for (uint64_t b = v->first; b < v->end; b++)
        v->zeroed[b - v->first] = v->era->base[v->volume][b] == NOBODY ? v->era->start : 0;
    for (uint64_t n = v->era->first; n < ops_end(v); n++) {
        const struct operation *op = &v->l->ops[n];
        if (op->issued > c)
            break;
        if (!op->zero || op->volume != v->volume)
            continue;
        for (uint64_t b = op->first > v->first ? op->first : v->first; b < op->end && b < v->end;
             b++)
            if (op->acked > v->zeroed[b - v->first])
                v->zeroed[b - v->first] = op->acked;
    }
    v->at = c;
}

/* When the next zeroing of the block is issued. */
static uint64_t next_zeroing(const struct view *v, uint64_t block)
{
    for (uint64_t n = v->era->first; n < ops_end(v); n++) {
        const struct operation *op = &v->l->ops[n];
        if (op->zero && op->issued > v->at && op->volume == v->volume && op->first <= block &&
            block < op->end)
            return op->issued;
    }
    return LEDGER_NEVER;
}

/* When what the block holds was certainly there; 0: it cannot be there at v->at. */
static uint64_t content_end(const struct view *v, uint64_t block)
{
    uint64_t n = v->writer[block - v->first];
    if (n == NOBODY)
        return v->zeroed[block - v->first];
    if (n == DAMAGE || n >= ops_end(v))
        return 0;
    if (n < v->era->first)
        return v->era->base[v->volume][block] == n ? v->era->start : 0;
    return v->l->ops[n].issued <= v->at ? v->l->ops[n].acked : 0;
}

/* The next instant at which the verdict on this block may be another. */
static uint64_t later(const struct view *v, uint64_t block)
{
    uint64_t n = v->writer[block - v->first];
    if (n == NOBODY)
        return next_zeroing(v, block);
    if (n != DAMAGE && n >= v->era->first && n < ops_end(v) && v->l->ops[n].issued > v->at)
        return v->l->ops[n].issued;
    return LEDGER_NEVER;
}

static void say(const struct view *v, uint64_t block, const struct operation *x, char *why,
                size_t cap)
{
    uint64_t n = v->writer[block - v->first];
    char holds[96], older[128] = "";
    if (n == NOBODY)
        (void)snprintf(holds, sizeof holds, "zeroes");
    else if (n == DAMAGE)
        (void)snprintf(holds, sizeof holds, "what nobody wrote there");
    else
        (void)snprintf(holds, sizeof holds, "write %" PRIu64 " (%" PRIu64 " to %" PRIu64 ")", n,
                       v->l->ops[n].issued, v->l->ops[n].acked);
    if (x)
        (void)snprintf(older, sizeof older,
                       ", older than the acknowledged %s %" PRIu64 " (%" PRIu64 " to %" PRIu64 ")",
                       x->zero ? "zeroing" : "write", (uint64_t)(x - v->l->ops), x->issued,
                       x->acked);
    (void)snprintf(why, cap, "volume %s, block %" PRIu64 " holds %s%s",
                   v->l->volumes[v->volume].name, block, holds, older);
}

/* The first block that holds what it cannot hold, or v->end. */
static uint64_t impossible(const struct view *v, char *why, size_t cap)
{
    for (uint64_t b = v->first; b < v->end; b++)
        if (v->writer[b - v->first] != v->era->base[v->volume][b] && content_end(v, b) == 0) {
            say(v, b, NULL, why, cap);
            return b;
        }
    return v->end;
}

typedef bool must_hold(const struct view *v, const struct operation *op, uint64_t since);

/* The first block that is older than an operation that must be in, or v->end. */
static uint64_t lost(const struct view *v, must_hold *must, uint64_t since, char *why, size_t cap)
{
    for (uint64_t n = v->era->first; n < ops_end(v); n++) {
        const struct operation *op = &v->l->ops[n];
        if (op->volume != v->volume || !must(v, op, since))
            continue;
        for (uint64_t b = op->first > v->first ? op->first : v->first; b < op->end && b < v->end;
             b++)
            if (v->writer[b - v->first] != n && content_end(v, b) < op->issued) {
                say(v, b, op, why, cap);
                return b;
            }
    }
    return v->end;
}

static bool acked_before(const struct view *v, const struct operation *op, uint64_t since)
{
    (void)v;
    return op->acked < since;
}

static bool durable(const struct view *v, const struct operation *op, uint64_t since)
{
    (void)since;
    return op->acked != LEDGER_NEVER && (op->fua || op->acked < v->l->volumes[v->volume].flushed);
}

void ledger_read(struct ledger *l, unsigned volume, uint64_t off, uint32_t len, const void *buf,
                 uint64_t issued)
{
    struct view v;
    char why[200];
    view_of(&v, l, volume, off / LEDGER_BLOCK, (off + len) / LEDGER_BLOCK, buf);
    v.era = &l->eras[l->era_count - 1];
    look_at(&v, l->clock);
    if (impossible(&v, why, sizeof why) < v.end ||
        lost(&v, acked_before, issued, why, sizeof why) < v.end)
        world_fail(l->w, "%s: a guest read what is not there: %s", l->name, why);
    view_free(&v);
}

void ledger_power_cut(struct ledger *l, const uint8_t *const contents[])
{
    struct era *old = &l->eras[l->era_count - 1], *e;
    struct view views[LEDGER_VOLUMES];
    l->w->did[DEED_DARK]++;
    for (unsigned i = 0; i < l->count; i++) {
        char why[200];
        view_of(&views[i], l, i, 0, l->volumes[i].blocks, contents[i]);
        views[i].era = old;
        look_at(&views[i], l->clock);
        if (impossible(&views[i], why, sizeof why) < views[i].end ||
            lost(&views[i], durable, 0, why, sizeof why) < views[i].end)
            world_fail(l->w, "%s: the power failed, and what was flushed is gone: %s", l->name,
                       why);
    }
    old->end = ledger_now(l);
    old->ended = l->op_count;
    e = era_new(l);
    for (unsigned i = 0; i < l->count; i++) {
        e->base[i] = views[i].writer;
        free(views[i].zeroed);
        l->volumes[i].flushed = 0;
    }
}

/* The first instant >= c of the era at which all views may have been cut. */
static uint64_t cut_of_era(struct view *views, unsigned count, uint64_t c, char *why, size_t cap)
{
    for (unsigned i = 0; i < count;) {
        struct view *v = &views[i];
        uint64_t block;
        look_at(v, c);
        block = impossible(v, why, cap);
        if (block == v->end)
            block = lost(v, acked_before, c, why, cap);
        if (block == v->end) {
            i++;
            continue;
        }
        c = later(v, block);
        if (c >= v->era->end)
            return LEDGER_NEVER;
        i = 0;
    }
    return c;
}

uint64_t ledger_cut(struct ledger *l, const uint8_t *const images[], uint64_t from, char *why,
                    size_t cap)
{
    struct view views[LEDGER_VOLUMES];
    uint64_t c = LEDGER_NEVER;
    for (unsigned i = 0; i < l->count; i++)
        view_of(&views[i], l, i, 0, l->volumes[i].blocks, images[i]);
    for (size_t n = 0; n < l->era_count && c == LEDGER_NEVER; n++) {
        const struct era *e = &l->eras[n];
        if (from >= e->end)
            continue;
        for (unsigned i = 0; i < l->count; i++)
            views[i].era = e;
        c = cut_of_era(views, l->count, from > e->start ? from : e->start, why, cap);
    }
    for (unsigned i = 0; i < l->count; i++)
        view_free(&views[i]);
    return c;
}
