#include "pool.h"

#include "err.h"
#include "net.h"
#include "store_pick.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT (30 * IO_S) /* as RADOS_TIMEOUT_S */
#define NEVER   UINT64_MAX

struct object {
    char *key; /* SITE/NAME */
    uint8_t *data;
    size_t len;
};

struct log { /* a group's head and catalog */
    struct log *next;
    char *key;
    struct store_head head; /* rp 0: none */
    struct store_head *entries;
    size_t count;
};

struct pool {
    struct world *w;
    struct object *objects; /* sorted by key */
    size_t count, cap;
    struct log *logs;
    bool away[NET_NODES], full;
    unsigned under_way;
    void (*moved)(void *arg, const char *site, const char *group);
    void *moved_arg;
};

struct pstore { /* a hub's door to it */
    struct store store;
    struct pool *pool;
    struct io *io;
};

/* Belongs to the pool until both events have fired, and to the caller until it was answered or is
 * dead: whoever is last frees it. */
struct pool_op {
    struct world_event effect, answer; /* effect: first */
    struct pool *pool;
    enum err_code (*run)(struct pool_op *op);
    struct io *io;
    struct io_req *wait; /* NULL: nobody waits for it any more */
    bool effect_over, answer_over, caller_over, timed_out, failed;
    enum err_code res;
    char *site, *name, *after;
    uint8_t *data;
    size_t len;
    uint64_t off;
    struct store_head from, to;
    struct store_head *heads;
    uint32_t max, count;
    struct store_names names;
};

/* ---- what is stored ---- */

static char *key_of(const char *site, const char *name)
{
    size_t n = strlen(site) + strlen(name) + 2;
    char *key = err_malloc(n);
    (void)snprintf(key, n, "%s/%s", site, name);
    return key;
}

/* Where the key is, or belongs. */
static size_t place_of(const struct pool *p, const char *key, bool *there)
{
    size_t lo = 0, hi = p->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strcmp(p->objects[mid].key, key);
        if (c == 0) {
            *there = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *there = false;
    return lo;
}

static struct object *find(const struct pool *p, const char *site, const char *name)
{
    char *key = key_of(site, name);
    bool there;
    size_t i = place_of(p, key, &there);
    free(key);
    return there ? &p->objects[i] : NULL;
}

static struct log *log_of(const struct pool *p, const char *site, const char *group)
{
    char *key = key_of(site, group);
    struct log *l = p->logs;
    while (l && strcmp(l->key, key) != 0)
        l = l->next;
    free(key);
    return l;
}

/* ---- effects: at one instant, on what is there then ---- */

static enum err_code run_put(struct pool_op *op)
{
    struct pool *p = op->pool;
    char *key = key_of(op->site, op->name);
    bool there;
    size_t i = place_of(p, key, &there);
    if (p->full) {
        free(key);
        return ERR_SPACE;
    }
    if (there) {
        free(key);
        if (p->objects[i].len == op->len)
            return 0;
        free(p->objects[i].data);
    } else {
        if (p->count == p->cap) {
            p->cap = p->cap ? 2 * p->cap : 64;
            p->objects = err_realloc(p->objects, p->cap * sizeof *p->objects);
        }
        memmove(p->objects + i + 1, p->objects + i, (p->count - i) * sizeof *p->objects);
        p->count++;
        p->objects[i].key = key;
    }
    p->objects[i].len = op->len;
    p->objects[i].data = err_malloc(op->len + 1);
    memcpy(p->objects[i].data, op->data, op->len);
    return 0;
}

static enum err_code run_get(struct pool_op *op)
{
    const struct object *o = find(op->pool, op->site, op->name);
    if (!o)
        return ERR_NOENT;
    if (op->off > o->len || op->len > o->len - op->off)
        return ERR_CORRUPT;
    op->data = err_malloc(op->len + 1);
    memcpy(op->data, o->data + op->off, op->len);
    return 0;
}

static enum err_code run_size(struct pool_op *op)
{
    const struct object *o = find(op->pool, op->site, op->name);
    if (!o)
        return ERR_NOENT;
    op->off = o->len;
    return 0;
}

static enum err_code run_list(struct pool_op *op)
{
    struct store_pick pick = store_pick(op->name, op->after);
    size_t skip = strlen(op->site) + 1;
    for (size_t i = 0; i < op->pool->count; i++) {
        const char *key = op->pool->objects[i].key;
        if (strncmp(key, op->site, skip - 1) == 0 && key[skip - 1] == '/')
            store_pick_add(&pick, key + skip);
    }
    store_pick_finish(&pick, &op->names);
    return 0;
}

static enum err_code run_remove(struct pool_op *op)
{
    struct pool *p = op->pool;
    struct object *o = find(p, op->site, op->name);
    size_t i;
    if (!o)
        return 0;
    i = (size_t)(o - p->objects);
    free(o->key);
    free(o->data);
    memmove(o, o + 1, (p->count - i - 1) * sizeof *o);
    p->count--;
    return 0;
}

static enum err_code run_head(struct pool_op *op)
{
    const struct log *l = log_of(op->pool, op->site, op->name);
    op->to = l ? l->head : (struct store_head){0};
    return 0;
}

static bool same_head(const struct store_head *a, const struct store_head *b)
{
    return a->rp == b->rp && a->len == b->len && memcmp(a->value, b->value, a->len) == 0;
}

static void set_entry(struct log *l, const struct store_head *h)
{
    size_t i = l->count;
    while (i > 0 && l->entries[i - 1].rp >= h->rp)
        i--;
    if (i == l->count || l->entries[i].rp != h->rp) {
        l->entries = err_realloc(l->entries, (l->count + 1) * sizeof *l->entries);
        memmove(l->entries + i + 1, l->entries + i, (l->count - i) * sizeof *l->entries);
        l->count++;
    }
    l->entries[i] = *h;
}

static enum err_code run_move(struct pool_op *op)
{
    struct pool *p = op->pool;
    struct log *l = log_of(p, op->site, op->name);
    if (p->full)
        return ERR_SPACE;
    if (!same_head(l ? &l->head : &(struct store_head){0}, &op->from))
        return ERR_CONFLICT;
    if (!l) {
        l = err_calloc(1, sizeof *l);
        l->key = key_of(op->site, op->name);
        l->next = p->logs;
        p->logs = l;
    }
    l->head = op->to;
    set_entry(l, &op->to);
    world_trace(p->w, "pool: the head of %s is RP %" PRIu64, l->key, op->to.rp);
    if (p->moved)
        p->moved(p->moved_arg, op->site, op->name);
    return 0;
}

static enum err_code run_catalog(struct pool_op *op)
{
    const struct log *l = log_of(op->pool, op->site, op->name);
    op->heads = err_calloc(op->max, sizeof *op->heads);
    for (size_t i = 0; l && i < l->count && op->count < op->max; i++)
        if (l->entries[i].rp > op->off)
            op->heads[op->count++] = l->entries[i];
    return 0;
}

static enum err_code run_groups(struct pool_op *op)
{
    struct store_pick pick = store_pick("", "");
    size_t skip = strlen(op->site) + 1;
    for (const struct log *l = op->pool->logs; l; l = l->next)
        if (strncmp(l->key, op->site, skip - 1) == 0 && l->key[skip - 1] == '/' &&
            !strchr(l->key + skip, '.'))
            store_pick_add(&pick, l->key + skip);
    store_pick_finish(&pick, &op->names);
    return 0;
}

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
    return op->run != run_put && op->run != run_remove && op->run != run_move;
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
    struct pool_op *op = err_calloc(1, sizeof *op);
    op->pool = s->pool;
    op->io = s->io;
    op->run = run;
    op->site = err_strdup(site);
    op->name = err_strdup(name);
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
    struct pool_op *op = op_make(s, site, name, run_put);
    ASSERT(len <= PART_SIZE);
    op->data = err_malloc(len + 1);
    memcpy(op->data, data, len);
    op->len = len;
    return op_end(op, op_run(op, e));
}

static int pool_get(struct store *s, const char *site, const char *name, uint64_t off, void *buf,
                    size_t len, struct err *e)
{
    struct pool_op *op = op_make(s, site, name, run_get);
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
    struct pool_op *op = op_make(s, site, name, run_size);
    int rc = op_run(op, e);
    *out = op->off;
    return op_end(op, rc);
}

static int pool_list(struct store *s, const char *site, const char *prefix, const char *after,
                     struct store_names *out, struct err *e)
{
    struct pool_op *op = op_make(s, site, prefix, run_list);
    int rc;
    op->after = err_strdup(after);
    rc = op_run(op, e);
    if (rc == 0) {
        *out = op->names;
        op->names.names = NULL;
    }
    return op_end(op, rc);
}

static int pool_remove(struct store *s, const char *site, const char *name, struct err *e)
{
    struct pool_op *op = op_make(s, site, name, run_remove);
    return op_end(op, op_run(op, e));
}

static int pool_read_head(struct store *s, const char *site, const char *group,
                          struct store_head *out, struct err *e)
{
    struct pool_op *op = op_make(s, site, group, run_head);
    int rc = op_run(op, e);
    *out = op->to;
    return op_end(op, rc);
}

static int pool_move_head(struct store *s, const char *site, const char *group,
                          const struct store_head *from, const struct store_head *to, struct err *e)
{
    struct pool_op *op = op_make(s, site, group, run_move);
    ASSERT(to->rp > from->rp && to->len <= STORE_ENTRY_MAX && from->len <= STORE_ENTRY_MAX);
    op->from = *from;
    op->to = *to;
    return op_end(op, op_run(op, e));
}

static int pool_read_catalog(struct store *s, const char *site, const char *group, uint64_t after,
                             struct store_head *out, uint32_t max, uint32_t *count, struct err *e)
{
    struct pool_op *op = op_make(s, site, group, run_catalog);
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

static int pool_groups(struct store *s, const char *site, struct store_names *out, struct err *e)
{
    struct pool_op *op = op_make(s, site, "", run_groups);
    int rc = op_run(op, e);
    if (rc == 0) {
        *out = op->names;
        op->names.names = NULL;
    }
    return op_end(op, rc);
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
    .groups = pool_groups,
    .close = pool_close,
};

/* ---- the pool ---- */

struct store *pool_open(struct pool *p)
{
    struct pstore *s = err_calloc(1, sizeof *s);
    s->store.ops = &pool_ops;
    s->pool = p;
    s->io = fiber_io();
    return &s->store;
}

struct pool *pool_new(struct world *w)
{
    struct pool *p = err_calloc(1, sizeof *p);
    p->w = w;
    return p;
}

void pool_settle(struct pool *p)
{
    while (p && p->under_way > 0 && world_step(p->w))
        ;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    ASSERT(p->under_way == 0);
    for (size_t i = 0; i < p->count; i++) {
        free(p->objects[i].key);
        free(p->objects[i].data);
    }
    while (p->logs) {
        struct log *l = p->logs;
        p->logs = l->next;
        free(l->key);
        free(l->entries);
        free(l);
    }
    free(p->objects);
    free(p);
}

void pool_part(struct pool *p, const struct node *hub, bool away)
{
    p->away[hub->number] = away;
    p->w->count[FAULT_STORE_AWAY] += away;
    world_trace(p->w, "the pool %s %s", away ? "cannot be reached by" : "is back for", hub->host);
}

void pool_heal(struct pool *p)
{
    memset(p->away, 0, sizeof p->away);
    p->full = false;
}

void pool_set_full(struct pool *p, bool full)
{
    p->full = full;
    p->w->count[FAULT_STORE_FULL] += full;
    world_trace(p->w, "the pool is %s", full ? "full" : "not full any more");
}

void pool_watch(struct pool *p, void (*moved)(void *arg, const char *site, const char *group),
                void *arg)
{
    p->moved = moved;
    p->moved_arg = arg;
}

const struct store_head *pool_head(const struct pool *p, const char *site, const char *group)
{
    const struct log *l = log_of(p, site, group);
    return l && l->head.rp ? &l->head : NULL;
}

const struct store_head *pool_catalog(const struct pool *p, const char *site, const char *group,
                                      size_t *count)
{
    const struct log *l = log_of(p, site, group);
    *count = l ? l->count : 0;
    return l ? l->entries : NULL;
}

const uint8_t *pool_object(const struct pool *p, const char *site, const char *name, size_t *len)
{
    const struct object *o = find(p, site, name);
    *len = o ? o->len : 0;
    return o ? o->data : NULL;
}
