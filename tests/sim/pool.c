#include "pool.h"

#include "err.h"
#include "pool_op.h"
#include "store_pick.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

enum err_code pool_run_put(struct pool_op *op)
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

enum err_code pool_run_get(struct pool_op *op)
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

enum err_code pool_run_size(struct pool_op *op)
{
    const struct object *o = find(op->pool, op->site, op->name);
    if (!o)
        return ERR_NOENT;
    op->off = o->len;
    return 0;
}

enum err_code pool_run_list(struct pool_op *op)
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

enum err_code pool_run_remove(struct pool_op *op)
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

enum err_code pool_run_head(struct pool_op *op)
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

enum err_code pool_run_move(struct pool_op *op)
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

enum err_code pool_run_catalog(struct pool_op *op)
{
    const struct log *l = log_of(op->pool, op->site, op->name);
    op->heads = err_calloc(op->max, sizeof *op->heads);
    for (size_t i = 0; l && i < l->count && op->count < op->max; i++)
        if (l->entries[i].rp > op->off)
            op->heads[op->count++] = l->entries[i];
    return 0;
}

enum err_code pool_run_generation(struct pool_op *op)
{
    const struct log *l = log_of(op->pool, op->site, op->name);
    op->off = l ? l->generation : 0;
    return 0;
}

enum err_code pool_run_splice(struct pool_op *op)
{
    struct log *l = log_of(op->pool, op->site, op->name);
    size_t kept = 0;
    if (op->pool->full)
        return ERR_SPACE;
    if (!l)
        return ERR_NOENT;
    if (l->generation != op->off)
        return ERR_CONFLICT;
    ASSERT(op->last < l->head.rp);
    l->generation++;
    for (size_t i = 0; i < l->count; i++)
        if (op->count == 0 || l->entries[i].rp < op->first || l->entries[i].rp > op->last)
            l->entries[kept++] = l->entries[i];
    l->count = kept;
    for (uint32_t i = 0; i < op->count; i++)
        set_entry(l, &op->heads[i]);
    world_trace(op->pool->w, "pool: RP %" PRIu64 " to %" PRIu64 " of %s became %u", op->first,
                op->last, l->key, op->count);
    if (op->pool->moved)
        op->pool->moved(op->pool->moved_arg, op->site, op->name);
    return 0;
}

enum err_code pool_run_groups(struct pool_op *op)
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

static struct lease *lease_of(const struct pool *p, const char *name)
{
    struct lease *l = p->leases;
    while (l && strcmp(l->name, name) != 0)
        l = l->next;
    return l;
}

enum err_code pool_run_claim(struct pool_op *op)
{
    const struct lease *l = lease_of(op->pool, op->name);
    op->claim_to = l ? l->claim : (struct store_claim){0};
    return 0;
}

enum err_code pool_run_move_claim(struct pool_op *op)
{
    struct pool *p = op->pool;
    struct lease *l = lease_of(p, op->name);
    if (p->full)
        return ERR_SPACE;
    if ((l ? l->claim.turn : 0) != op->claim_from.turn)
        return ERR_CONFLICT;
    if (!l) {
        l = err_calloc(1, sizeof *l);
        l->name = err_strdup(op->name);
        l->next = p->leases;
        p->leases = l;
    }
    l->claim = op->claim_to;
    world_trace(p->w, "pool: the lease of %s is turn %" PRIu64 " of '%s'", l->name, l->claim.turn,
                l->claim.holder);
    return 0;
}

/* ---- the pool ---- */

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
    while (p->leases) {
        struct lease *l = p->leases;
        p->leases = l->next;
        free(l->name);
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
