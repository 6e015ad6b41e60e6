#include "workload.h"

#include "trace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAGE         UINT64_C(4096)
#define FLUSH_EVERY  (64 * MIB) /* of long runs of writes */
#define PAGES_PER_TX 3u         /* that a checkpoint writes for each commit */
#define SLICES_MIN   40u        /* of a study */
#define SLICES_MORE  400u
#define BURST        4.0 /* a study comes so many times as fast as studies on the average */

struct workload {
    struct workload_spec spec;
    struct trace trace;
    uint64_t random, serial;
    uint64_t moved;    /* bytes asked for so far, which make the time */
    uint64_t place;    /* of what goes through the volume from begin to end */
    uint64_t unsynced; /* bytes written since the last flush */
    unsigned phase;    /* within a transaction, a study, a batch */
    unsigned left;     /* slices of the study */
    uint64_t began;    /* ns: the study's */
    uint64_t batch;    /* where the batch that was read begins */
    size_t next;       /* of the trace */
    bool over;
};

/* ---- chance, places, times ---- */

static double chance(struct workload *w)
{
    return (double)(content_random(&w->random) >> 11) * 0x1p-53;
}

/* A block's number among count; with skew few of them, all over the volume, get most. */
static uint64_t pick(struct workload *w, uint64_t count)
{
    double u = pow(chance(w), 1 / (1 - w->spec.skew));
    uint64_t rank = (uint64_t)(u * (double)count);
    if (rank >= count)
        rank = count - 1;
    if (w->spec.skew <= 0)
        return rank;
    /* Scattered by a step that has no divisor in common with any count that fits a volume: a prime
     * above 2^32. */
    return (uint64_t)((unsigned __int128)rank * UINT64_C(4294967311) % count);
}

static void put(struct workload *w, struct load_op *op, enum load_verb verb, uint64_t off,
                uint32_t len)
{
    *op = (struct load_op){.verb = verb, .off = off, .len = len};
    if (w->spec.rate > 0)
        op->due = (uint64_t)((double)w->moved / (double)w->spec.rate * 1e9);
    if (verb == LOAD_WRITE) {
        op->version = ++w->serial;
        w->unsynced += len;
    }
    w->moved += len;
}

static void put_flush(struct workload *w, struct load_op *op)
{
    put(w, op, LOAD_FLUSH, 0, 0);
    op->after_all = true;
    w->unsynced = 0;
}

/* ---- the kinds ---- */

/* Each commit appends to the log and waits for it to be durable; the pages it changed are written
 * whenever it suits the database. */
static void next_oltp(struct workload *w, struct load_op *op)
{
    uint32_t b = w->spec.block;
    uint64_t log = w->spec.size / 16 / b * b, pages = (w->spec.size - log) / b;
    if (w->phase == 0) {
        put(w, op, LOAD_WRITE, w->place, b);
        w->place = (w->place + b) % log;
    } else if (w->phase == 1) {
        put_flush(w, op);
    } else {
        bool read = chance(w) < w->spec.reads;
        put(w, op, read ? LOAD_READ : LOAD_WRITE, log + pick(w, pages) * b, b);
    }
    w->phase = (w->phase + 1) % (2 + PAGES_PER_TX);
}

/* Studies come from the scanner in bursts, slice by slice; each is safe before the next begins. */
static void next_import(struct workload *w, struct load_op *op)
{
    uint32_t b = w->spec.block;
    uint64_t pace;
    if (w->left == 0 && w->unsynced > 0) {
        put_flush(w, op);
        return;
    }
    if (w->left == 0) {
        w->left = SLICES_MIN + (unsigned)(content_random(&w->random) % SLICES_MORE);
        w->began = w->moved;
    }
    if (w->place + b > w->spec.size)
        w->place = 0;
    pace = w->moved - w->began; /* of this study, so far */
    put(w, op, LOAD_WRITE, w->place, b);
    if (w->spec.rate > 0)
        op->due =
            (uint64_t)(((double)w->began + (double)pace / BURST) / (double)w->spec.rate * 1e9);
    w->place += b;
    w->left--;
}

static void next_migration(struct workload *w, struct load_op *op)
{
    uint32_t b = w->spec.block;
    if (w->unsynced >= FLUSH_EVERY || w->place + b > w->spec.size) {
        w->over = w->place + b > w->spec.size;
        put_flush(w, op);
        return;
    }
    put(w, op, LOAD_WRITE, w->place, b);
    w->place += b;
}

/* Many machines read the same programs, and write their logs. */
static void next_boot(struct workload *w, struct load_op *op)
{
    uint32_t b = w->spec.block;
    if (w->unsynced >= 16 * PAGE)
        put_flush(w, op);
    else if (chance(w) < w->spec.reads)
        put(w, op, LOAD_READ, pick(w, w->spec.size / b) * b, b);
    else
        put(w, op, LOAD_WRITE, pick(w, w->spec.size / PAGE) * PAGE, (uint32_t)PAGE);
}

/* Reads a batch, encrypts it, writes it where it stood: all that there is. */
static void next_ransomware(struct workload *w, struct load_op *op)
{
    uint32_t b = w->spec.block;
    uint64_t end = (uint64_t)(w->spec.fill * (double)w->spec.size) / b * b;
    unsigned batch = w->spec.depth;
    if (w->phase < batch && (w->place + b > end || w->unsynced >= FLUSH_EVERY) && w->phase == 0) {
        w->over = w->place + b > end;
        put_flush(w, op);
        return;
    }
    if (w->phase < batch && w->place + b > end)
        w->phase = batch; /* a short last batch */
    if (w->phase < batch) {
        put(w, op, LOAD_READ, w->place, b);
        w->place += b;
        w->phase++;
        return;
    }
    put(w, op, LOAD_WRITE, w->batch, b);
    op->after_all = w->phase == batch;
    w->batch += b;
    w->phase = w->batch == w->place ? 0 : w->phase + 1;
}

static void next_trace(struct workload *w, struct load_op *op)
{
    const struct trace_entry *t = &w->trace.entries[w->next];
    uint32_t part = t->len - (uint32_t)w->place; /* w->place: what of it was asked for already */
    if (part > SCENARIO_BLOCK_MAX && t->verb == LOAD_WRITE)
        part = SCENARIO_BLOCK_MAX;
    put(w, op, t->verb, t->off + w->place, part);
    op->due = (uint64_t)((double)t->at / w->spec.speed);
    op->after_all = t->verb == LOAD_FLUSH;
    w->place += part;
    if (w->place >= t->len) {
        w->place = 0;
        w->next++;
        w->over = w->next == w->trace.count;
    }
}

bool workload_next(struct workload *w, struct load_op *op)
{
    if (w->over)
        return false;
    switch (w->spec.kind) {
    case WORKLOAD_OLTP:
        next_oltp(w, op);
        break;
    case WORKLOAD_IMPORT:
        next_import(w, op);
        break;
    case WORKLOAD_MIGRATION:
        next_migration(w, op);
        break;
    case WORKLOAD_BOOT:
        next_boot(w, op);
        break;
    case WORKLOAD_RANSOMWARE:
        next_ransomware(w, op);
        break;
    case WORKLOAD_TRACE:
        next_trace(w, op);
        break;
    case WORKLOAD_NONE:
    case WORKLOAD_KINDS:
        return false;
    }
    return true;
}

/* ---- content ---- */

static enum content_kind content_of(enum workload_kind k)
{
    return k == WORKLOAD_IMPORT || k == WORKLOAD_MIGRATION ? CONTENT_IMAGES : CONTENT_RECORDS;
}

void workload_content(const struct workload *w, const struct load_op *op, void *buf)
{
    content_fill(buf, op->len,
                 w->spec.kind == WORKLOAD_RANSOMWARE ? CONTENT_CIPHER : content_of(w->spec.kind),
                 w->spec.seed, op->off, op->version, w->spec.compressible);
}

uint64_t workload_filled(const struct workload *w)
{
    return (uint64_t)(w->spec.fill * (double)w->spec.size) / PAGE * PAGE;
}

void workload_before(const struct workload *w, void *buf, size_t len, uint64_t off)
{
    /* What ransomware destroys compresses as records do, whatever its own noise does. */
    double compressible = w->spec.kind == WORKLOAD_RANSOMWARE ? 0.6 : w->spec.compressible;
    content_fill(buf, len, content_of(w->spec.kind), w->spec.seed, off, 0, compressible);
}

uint32_t workload_longest(const struct workload *w)
{
    return w->spec.kind == WORKLOAD_TRACE ? SCENARIO_BLOCK_MAX
           : w->spec.block < PAGE         ? (uint32_t)PAGE
                                          : w->spec.block;
}

uint64_t workload_size(const struct workload *w)
{
    return w->spec.size;
}

int workload_new(struct workload **out, const struct workload_spec *spec, struct err *e)
{
    struct workload *w = err_calloc(1, sizeof *w);
    int rc = 0;
    w->spec = *spec;
    w->random = spec->seed;
    if (spec->kind == WORKLOAD_TRACE) {
        rc = trace_load(&w->trace, spec->trace, e);
        if (rc == 0 && spec->size > 0 && spec->size < w->trace.size)
            rc = err_set(e, ERR_CONFIG,
                         "[workload %s] size: %llu bytes are less than the %llu of the recorded "
                         "volume",
                         spec->name, (unsigned long long)spec->size,
                         (unsigned long long)w->trace.size);
        if (rc == 0 && w->spec.size == 0)
            w->spec.size = w->trace.size;
        w->over = w->trace.count == 0;
    }
    if (rc < 0) {
        workload_free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void workload_free(struct workload *w)
{
    if (!w)
        return;
    trace_free(&w->trace);
    free(w);
}
