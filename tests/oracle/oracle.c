#include "oracle.h"

#include "bytes.h"
#include "err.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG   (UINT64_C(0x5eed) << 40) /* so that block 0 of operation 0 is not zero */
#define WORDS (ORACLE_BLOCK / 8)
#define ZERO  SIZE_MAX /* a block that no write is in: a zero operation, or none at all */

void oracle_free(struct oracle *o)
{
    free(o->ops);
}

uint64_t oracle_now(struct oracle *o)
{
    return o->clock ? o->clock() : ++o->ticks;
}

size_t oracle_issue(struct oracle *o, unsigned volume, uint64_t off, uint32_t len, void *buf)
{
    uint64_t *p = buf;
    if (o->count == o->cap) {
        o->cap = o->cap ? 2 * o->cap : 1024;
        o->ops = err_realloc(o->ops, o->cap * sizeof *o->ops);
    }
    for (size_t i = 0; buf && i < len / 8; i++)
        p[i] = i % 2 ? o->count + 1 : (off / ORACLE_BLOCK + i / WORDS) ^ TAG;
    o->ops[o->count] = (struct oracle_op){.volume = volume,
                                          .zero = !buf,
                                          .off = off,
                                          .len = len,
                                          .issued = oracle_now(o),
                                          .acked = ORACLE_NEVER,
                                          .ended = ORACLE_NEVER};
    return o->count++;
}

void oracle_ack(struct oracle *o, size_t op)
{
    o->ops[op].acked = o->ops[op].ended = oracle_now(o);
}

void oracle_lost(struct oracle *o, size_t op)
{
    o->ops[op].ended = oracle_now(o);
}

static bool bad(char text[ORACLE_TEXT], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool bad(char text[ORACLE_TEXT], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, ORACLE_TEXT, fmt, ap);
    va_end(ap);
    return false;
}

/* Which operation wrote a block; all of its words must say the same. */
static bool writer_of(const struct oracle *o, const uint8_t *image, unsigned volume, uint64_t block,
                      size_t *writer, char text[ORACLE_TEXT])
{
    uint64_t w[WORDS];
    const struct oracle_op *op;
    memcpy(w, image + block * ORACLE_BLOCK, sizeof w);
    *writer = ZERO;
    if (bytes_zero(w, sizeof w))
        return true;
    for (unsigned i = 0; i < WORDS; i++)
        if (w[i] != w[i % 2])
            return bad(text, "volume %u: block %" PRIu64 " is torn", volume, block);
    if (w[0] != (block ^ TAG) || w[1] == 0 || w[1] > o->count)
        return bad(text, "volume %u: block %" PRIu64 " was written by nobody", volume, block);
    op = &o->ops[w[1] - 1];
    if (op->volume != volume || op->zero || op->off / ORACLE_BLOCK > block ||
        block >= (op->off + op->len) / ORACLE_BLOCK)
        return bad(text,
                   "volume %u: block %" PRIu64 " names operation %" PRIu64 ", which was not there",
                   volume, block, w[1] - 1);
    *writer = (size_t)w[1] - 1;
    return true;
}

struct view {
    size_t *writer;   /* of each block in the image */
    uint64_t *zeroed; /* the latest end of a zero operation on it that may be in; 0 none */
};

static bool look(const struct oracle *o, struct view *v, const struct oracle_image *image,
                 unsigned volume, uint64_t to, uint64_t *newest, char text[ORACLE_TEXT])
{
    uint64_t blocks = image->size / ORACLE_BLOCK;
    v->writer = err_calloc(blocks, sizeof *v->writer);
    v->zeroed = err_calloc(blocks, sizeof *v->zeroed);
    for (uint64_t b = 0; b < blocks; b++) {
        size_t op;
        if (!writer_of(o, image->bytes, volume, b, &op, text))
            return false;
        v->writer[b] = op;
        if (op == ZERO)
            continue;
        if (o->ops[op].issued > to)
            return bad(text,
                       "volume %u: operation %zu was issued at %" PRIu64 ", after the cut (%" PRIu64
                       " at the latest), and is in block %" PRIu64,
                       volume, op, o->ops[op].issued, to, b);
        if (o->ops[op].issued > *newest)
            *newest = o->ops[op].issued;
    }
    for (size_t i = 0; i < o->count; i++) {
        const struct oracle_op *op = &o->ops[i];
        if (op->volume != volume || !op->zero || op->issued > to)
            continue;
        for (uint64_t b = op->off / ORACLE_BLOCK; b < (op->off + op->len) / ORACLE_BLOCK; b++)
            if (op->ended > v->zeroed[b])
                v->zeroed[b] = op->ended;
    }
    return true;
}

/* Until when the block's content may have come there: an operation issued later would have replaced
 * it. */
static uint64_t content_end(const struct oracle *o, const struct view *v, uint64_t block)
{
    return v->writer[block] == ZERO ? v->zeroed[block] : o->ops[v->writer[block]].ended;
}

static bool all_in(const struct oracle *o, const struct view *views, uint64_t cut,
                   char text[ORACLE_TEXT])
{
    for (size_t i = 0; i < o->count; i++) {
        const struct oracle_op *op = &o->ops[i];
        const struct view *v = &views[op->volume];
        if (op->acked >= cut)
            continue;
        for (uint64_t b = op->off / ORACLE_BLOCK; b < (op->off + op->len) / ORACLE_BLOCK; b++)
            if (content_end(o, v, b) < op->issued)
                return bad(text,
                           "volume %u: operation %zu (%s) was issued at %" PRIu64
                           " and acknowledged at %" PRIu64 "; block %" PRIu64
                           " holds what was there before it (of operation %zd, over at %" PRIu64
                           "), though the cut was not before %" PRIu64,
                           op->volume, i, op->zero ? "zeroes" : "a write", op->issued, op->acked, b,
                           (ssize_t)v->writer[b], content_end(o, v, b), cut);
    }
    return true;
}

bool oracle_check(const struct oracle *o, const struct oracle_image *images, unsigned volumes,
                  uint64_t from, uint64_t to, char text[ORACLE_TEXT])
{
    struct view *views = err_calloc(volumes, sizeof *views);
    uint64_t cut = from; /* the cut is not before this */
    bool good = true;
    for (unsigned i = 0; i < volumes && good; i++)
        good = look(o, &views[i], &images[i], i, to, &cut, text);
    good = good && all_in(o, views, cut, text);
    for (unsigned i = 0; i < volumes; i++) {
        free(views[i].writer);
        free(views[i].zeroed);
    }
    free(views);
    return good;
}
