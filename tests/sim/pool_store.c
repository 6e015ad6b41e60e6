/* pool_store.c: the pool as a store: operations that leave, take effect, and are answered or not.
 */
#include "err.h"
#include "memory.h"
#include "pool_op.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT (30 * IO_S) /* as RADOS_TIMEOUT_S */
#define NEVER   UINT64_MAX

struct pstore { /* a hub's door to it */
    struct store store;
    struct pool *pool;
    struct io *io;
};

/* ---- the life of an operation ---- */

static void maybe_free(struct pool_op *op)
{
    if (!op->effect_over || !op->answer_over || !op->caller_over)
        return;
    op->pool->under_way--;
    free(op->site);
    free(op->name);
    free(op->after);
    free(op->data);
    free(op->heads);
    free(op->names.names);
    free(op);
}

static void on_effect(struct world_event *ev)
{
    struct pool_op *op = (struct pool_op *)ev;
    enum err_code res = op->run(op);
    if (!op->failed && !op->timed_out)
        op->res = res;
    op->effect_over = true;
    maybe_free(op);
}

static void on_answer(struct world_event *ev)
{
    struct pool_op *op = (struct pool_op *)(void *)((char *)ev - offsetof(struct pool_op, answer));
    op->answer_over = true;
    if (op->wait && op->wait->args[0]) /* else it has just been told otherwise */
        op->io->ops->post(op->io, op->wait, 0);
    maybe_free(op);
}

static bool is_read(const struct pool_op *op)
{
    return op->run != pool_run_put && op->run != pool_run_remove && op->run != pool_run_move &&
           op->run != pool_run_move_claim && op->run != pool_run_splice;
}

/* No answer comes: what becomes of it. */
static uint64_t fate(struct world *w, uint64_t soon)
{
    switch (rng_below(&w->rng, 3)) {
    case 0:
        return soon;
    case 1:
        w->count[FAULT_STORE_LATE]++;
        return TIMEOUT + rng_skewed(&w->rng, 0, 120 * IO_S);
    default:
        w->count[FAULT_STORE_DROPPED]++;
        return NEVER;
    }
}

static void depart(struct pool_op *op)
{
    struct pool *p = op->pool;
    struct world *w = p->w;
    const struct node *n = ((const struct node_io *)(void *)op->io)->node;
    uint64_t effect = rng_skewed(&w->rng, 200000, 30 * IO_MS), answer;
    p->under_way++;
    if (world_fault(w, FAULT_STORE_SLOW))
        effect += rng_between(&w->rng, IO_S, 25 * IO_S);
    answer = effect + rng_skewed(&w->rng, 100000, 5 * IO_MS);
    if (p->away[n->number] || world_fault(w, FAULT_STORE_TIMEOUT)) {
        op->timed_out = true;
        op->res = ERR_AGAIN;
        effect = is_read(op) ? NEVER : fate(w, effect);
        answer = TIMEOUT;
    } else if (world_fault(w, FAULT_STORE_ERROR)) {
        op->failed = true;
        op->res = ERR_IO;
        if (is_read(op) || rng_chance(&w->rng, 500000))
            effect = NEVER;
    }
    op->effect_over = effect == NEVER;
    if (!op->effect_over)
        world_at(w, &op->effect, w->now + effect, on_effect);
    world_at(w, &op->answer, w->now + answer, on_answer);
}

/* The process died while it waited: what had not left its machine never does. */
static void orphan(struct pool_op *op)
{
    op->wait = NULL;
    if (!op->effect_over && rng_chance(&op->pool->w->rng, 500000)) {
        world_forget(op->pool->w, &op->effect);
        op->effect_over = true;
    }
    if (!op->answer_over) {
        world_forget(op->pool->w, &op->answer);
        op->answer_over = true;
    }
}

static struct pool_op *op_make(struct store *store, const char *site, const char *name,
                               enum err_code (*run)(struct pool_op *))
{
    struct pstore *s = (struct pstore *)store;
    unsigned was = memory_enter(MEMORY_NOBODY); /* it may outlive its process */
    struct pool_op *op = err_calloc(1, sizeof *op);
    op->pool = s->pool;
    op->io = s->io;
    op->run = run;
    op->site = err_strdup(site);
    op->name = err_strdup(name);
    (void)memory_enter(was);
    return op;
}

static const char *why(enum err_code code)
{
    return code == ERR_AGAIN      ? "no answer within the timeout"
           : code == ERR_IO       ? "input/output error"
           : code == ERR_SPACE    ? "the pool is full"
           : code == ERR_NOENT    ? "there is none"
           : code == ERR_CONFLICT ? "the head is another"
                                  : "the object is shorter";
}

/* Sends it and waits for the answer: 0 or the error. The caller calls op_end after having taken
 * what it wants. (waits) */
static int op_run(struct pool_op *op, struct err *e)
{
    struct fiber_req req = FIBER_REQ;
    int r;
    if (fiber_cancelled() || node_is_dead(op->io)) {
        op->pool->under_way++; /* maybe_free takes it off again */
        op->effect_over = op->answer_over = true;
        return err_set(e, ERR_CANCELED, "store: stopped on request");
    }
    op->wait = fiber_req(&req);
    op->io->ops->expect(op->io, op->wait);
    depart(op);
    r = fiber_await_always(&req);
    op->wait = NULL;
    if (r < 0) {
        orphan(op);
        return err_set(e, ERR_CANCELED, "store: stopped on request");
    }
    if (op->res)
        return err_set(e, op->res, "store: %s/%s in the simulated pool: %s", op->site, op->name,
                       why(op->res));
    return 0;
}

static int op_end(struct pool_op *op, int rc)
{
    op->caller_over = true;
    maybe_free(op);
    return rc;
}

/* ---- store.h ---- */

static int pool_put(struct store *s, const char *site, const char *name, const void *data,
                    size_t len, struct err *e)
{
    struct pool_op *op = op_make(s, site, name, pool_run_put);
    unsigned was = memory_enter(MEMORY_NOBODY);
    ASSERT(len <= PART_SIZE);
    op->data = err_malloc(len + 1);
    (void)memory_enter(was);
    memcpy(op->data, data, len);
    op->len = len;
    return op_end(op, op_run(op, e));
}

static int pool_get(struct store *s, const char *site, const char *name, uint64_t off, void *buf,
                    size_t len, struct err *e)
{
    struct pool_op *op = op_make(s, site, name, pool_run_get);
    int rc;
    op->off = off;
    op->len = len;
    rc = op_run(op, e);
    if (rc == 0)
        memcpy(buf, op->data, len);
    return op_end(op, rc);
}

static int pool_size(struct store *s, const char *site, const char *name, uint64_t *out,
                     struct err *e)
{
    struct pool_op *op = op_make(s, site, name, pool_run_size);
    int rc = op_run(op, e);
    *out = op->off;
    return op_end(op, rc);
}

static int pool_list(struct store *s, const char *site, const char *prefix, const char *after,
                     struct store_names *out, struct err *e)
{
    struct pool_op *op = op_make(s, site, prefix, pool_run_list);
    unsigned was;
    int rc;
    was = memory_enter(MEMORY_NOBODY);
    op->after = err_strdup(after);
    (void)memory_enter(was);
    rc = op_run(op, e);
    if (rc == 0) {
        *out = op->names;
        op->names.names = NULL;
    }
    return op_end(op, rc);
}

static int pool_remove(struct store *s, const char *site, const char *name, struct err *e)
{
    struct pool_op *op = op_make(s, site, name, pool_run_remove);
    return op_end(op, op_run(op, e));
}

static int pool_read_head(struct store *s, const char *site, const char *group,
                          struct store_head *out, struct err *e)
{
    struct pool_op *op = op_make(s, site, group, pool_run_head);
    int rc = op_run(op, e);
    *out = op->to;
    return op_end(op, rc);
}

static int pool_move_head(struct store *s, const char *site, const char *group,
                          const struct store_head *from, const struct store_head *to, struct err *e)
{
    struct pool_op *op = op_make(s, site, group, pool_run_move);
    ASSERT(to->rp > from->rp && to->len <= STORE_ENTRY_MAX && from->len <= STORE_ENTRY_MAX);
    op->from = *from;
    op->to = *to;
    return op_end(op, op_run(op, e));
}

static int pool_read_catalog(struct store *s, const char *site, const char *group, uint64_t after,
                             struct store_head *out, uint32_t max, uint32_t *count, struct err *e)
{
    struct pool_op *op = op_make(s, site, group, pool_run_catalog);
    int rc;
    op->off = after;
    op->max = max;
    rc = op_run(op, e);
    if (rc == 0) {
        memcpy(out, op->heads, op->count * sizeof *out);
        *count = op->count;
    }
    return op_end(op, rc);
}

static int pool_read_generation(struct store *s, const char *site, const char *group, uint64_t *out,
                                struct err *e)
{
    struct pool_op *op = op_make(s, site, group, pool_run_generation);
    int rc = op_run(op, e);
    *out = op->off;
    return op_end(op, rc);
}

static int pool_splice(struct store *s, const char *site, const char *group, uint64_t from,
                       uint64_t first, uint64_t last, const struct store_head *to, uint32_t count,
                       struct err *e)
{
    struct pool_op *op = op_make(s, site, group, pool_run_splice);
    op->off = from;
    op->first = first;
    op->last = last;
    op->count = count;
    op->heads = err_calloc(count + 1u, sizeof *op->heads);
    if (count > 0)
        memcpy(op->heads, to, count * sizeof *to);
    return op_end(op, op_run(op, e));
}

static int pool_groups(struct store *s, const char *site, struct store_names *out, struct err *e)
{
    struct pool_op *op = op_make(s, site, "", pool_run_groups);
    int rc = op_run(op, e);
    if (rc == 0) {
        *out = op->names;
        op->names.names = NULL;
    }
    return op_end(op, rc);
}

static int pool_claim(struct store *s, const char *name, struct store_claim *out, struct err *e)
{
    struct pool_op *op = op_make(s, "", name, pool_run_claim);
    int rc = op_run(op, e);
    *out = op->claim_to;
    return op_end(op, rc);
}

static int pool_move_claim(struct store *s, const char *name, const struct store_claim *from,
                           const struct store_claim *to, struct err *e)
{
    struct pool_op *op = op_make(s, "", name, pool_run_move_claim);
    ASSERT(to->turn > from->turn);
    op->claim_from = *from;
    op->claim_to = *to;
    return op_end(op, op_run(op, e));
}

static void pool_close(struct store *s)
{
    free(s);
}

static const struct store_ops pool_ops = {
    .put = pool_put,
    .get = pool_get,
    .size = pool_size,
    .list = pool_list,
    .remove = pool_remove,
    .head = pool_read_head,
    .move_head = pool_move_head,
    .catalog = pool_read_catalog,
    .generation = pool_read_generation,
    .splice = pool_splice,
    .groups = pool_groups,
    .claim = pool_claim,
    .move_claim = pool_move_claim,
    .close = pool_close,
};

struct store *pool_open(struct pool *p)
{
    struct pstore *s = err_calloc(1, sizeof *s);
    s->store.ops = &pool_ops;
    s->pool = p;
    s->io = fiber_io();
    return &s->store;
}
