#include "oracle.h"

#include "bytes.h"
#include "err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TAG   (UINT64_C(0x5eed) << 40) /* so that block 0 of operation 0 is not zero */
#define WORDS (ORACLE_BLOCK / 8)
#define ZERO  SIZE_MAX /* a block that no write is in: a zero operation, or none at all */

void oracle_free(struct oracle *o)
{
    free(o->ops);
}

uint64_t oracle_now(struct oracle *o)
{
    return ++o->clock;
}

size_t oracle_issue(struct oracle *o, unsigned volume, uint64_t off, uint32_t len, void *buf)
{
    uint64_t *p = buf;
    if (o->count == o->cap) {
        o->cap = o->cap ? 2 * o->cap : 1024;
        o->ops = err_realloc(o->ops, o->cap * sizeof *o->ops);
    }
    o->ops[o->count] = (struct oracle_op){.volume = volume,
                                          .zero = !buf,
                                          .off = off,
                                          .len = len,
                                          .issued = oracle_now(o),
                                          .acked = ORACLE_NEVER};
    for (size_t i = 0; buf && i < len / 8; i++)
        p[i] = i % 2 ? o->count + 1 : (off / ORACLE_BLOCK + i / WORDS) ^ TAG;
    return o->count++;
}

void oracle_ack(struct oracle *o, size_t op)
{
    o->ops[op].acked = oracle_now(o);
}

/* Which operation wrote a block; all of its words must say the same. */
static size_t writer_of(const uint8_t *image, unsigned volume, uint64_t block,
                        const struct oracle *o)
{
    uint64_t w[WORDS];
    const struct oracle_op *op;
    memcpy(w, image + block * ORACLE_BLOCK, sizeof w);
    if (bytes_zero(w, sizeof w))
        return ZERO;
    for (unsigned i = 0; i < WORDS; i++)
        if (w[i] != w[i % 2])
            fail_msg("volume %u: block %llu is torn", volume, (unsigned long long)block);
    assert_int_equal(w[0], block ^ TAG);
    assert_in_range(w[1], 1, o->count);
    op = &o->ops[w[1] - 1];
    assert_true(op->volume == volume && !op->zero && op->off / ORACLE_BLOCK <= block &&
                block < (op->off + op->len) / ORACLE_BLOCK);
    return (size_t)w[1] - 1;
}

struct view {
    size_t *writer;   /* of each block in the image */
    uint64_t *zeroed; /* the latest end of a zero operation on it that may be in; 0 none */
};

static void look(const struct oracle *o, struct view *v, const uint8_t *image, uint64_t size,
                 unsigned volume, uint64_t to, uint64_t *newest)
{
    uint64_t blocks = size / ORACLE_BLOCK;
    v->writer = err_calloc(blocks, sizeof *v->writer);
    v->zeroed = err_calloc(blocks, sizeof *v->zeroed);
    for (uint64_t b = 0; b < blocks; b++) {
        size_t op = v->writer[b] = writer_of(image, volume, b, o);
        if (op == ZERO)
            continue;
        if (o->ops[op].issued > to)
            fail_msg("operation %zu came after the cut and is in", op);
        if (o->ops[op].issued > *newest)
            *newest = o->ops[op].issued;
    }
    for (size_t i = 0; i < o->count; i++) {
        const struct oracle_op *op = &o->ops[i];
        if (op->volume != volume || !op->zero || op->issued > to)
            continue;
        for (uint64_t b = op->off / ORACLE_BLOCK; b < (op->off + op->len) / ORACLE_BLOCK; b++)
            if (op->acked > v->zeroed[b])
                v->zeroed[b] = op->acked;
    }
}

/* When the block's content was certainly there: an operation issued later would have replaced it.
 */
static uint64_t content_end(const struct oracle *o, const struct view *v, uint64_t block)
{
    return v->writer[block] == ZERO ? v->zeroed[block] : o->ops[v->writer[block]].acked;
}

void oracle_check(const struct oracle *o, uint8_t *const *images, const uint64_t *sizes,
                  unsigned volumes, uint64_t from, uint64_t to)
{
    struct view *views = err_calloc(volumes, sizeof *views);
    uint64_t cut = from; /* the cut is not before this */
    for (unsigned i = 0; i < volumes; i++)
        look(o, &views[i], images[i], sizes[i], i, to, &cut);
    for (size_t i = 0; i < o->count; i++) {
        const struct oracle_op *op = &o->ops[i];
        if (op->acked >= cut)
            continue;
        for (uint64_t b = op->off / ORACLE_BLOCK; b < (op->off + op->len) / ORACLE_BLOCK; b++)
            if (content_end(o, &views[op->volume], b) < op->issued)
                fail_msg("operation %zu was acknowledged at %llu; block %llu of volume %u is older "
                         "than it, though something issued at %llu is in",
                         i, (unsigned long long)op->acked, (unsigned long long)b, op->volume,
                         (unsigned long long)cut);
    }
    for (unsigned i = 0; i < volumes; i++) {
        free(views[i].writer);
        free(views[i].zeroed);
    }
    free(views);
}
