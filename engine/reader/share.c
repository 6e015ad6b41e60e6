#include "share.h"

#include "grants.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

/* ---- the data keys of a history ---- */

/* One that a delta used: where its wraps stand. */
struct used_key {
    uint8_t id[DATAKEY_ID_LEN];
    uint32_t point;
    uint16_t number;
};
struct used_keys {
    struct used_key *list;
    size_t count, cap;
};

static void use(struct used_keys *k, const uint8_t *id, size_t point, unsigned number)
{
    /* Neighbours share theirs for up to an hour. */
    for (size_t i = k->count; i-- > 0 && k->count - i <= 4;)
        if (memcmp(k->list[i].id, id, DATAKEY_ID_LEN) == 0)
            return;
    if (k->count == k->cap) {
        k->cap = k->cap ? k->cap * 2 : 256;
        k->list = err_realloc(k->list, k->cap * sizeof *k->list);
    }
    struct used_key *u = &k->list[k->count++];
    memcpy(u->id, id, DATAKEY_ID_LEN);
    u->point = (uint32_t)point;
    u->number = (uint16_t)number;
}

static int by_id(const void *a, const void *b)
{
    const struct used_key *x = a, *y = b;
    int order = memcmp(x->id, y->id, DATAKEY_ID_LEN);
    return order ? order : x->point < y->point ? -1 : x->point > y->point;
}

/* Each once. */
static int collect(struct used_keys *k, struct reader *r, struct err *e)
{
    size_t n = 0;
    memset(k, 0, sizeof *k);
    int rc = history_load_tables(r, e);
    for (size_t i = 0; i < r->count && rc == 0; i++) {
        struct manifest m;
        rc = history_decode_tables(r, i, &m, e);
        for (unsigned j = 0; rc == 0 && j < m.key_count; j++)
            use(k, m.keys[j].id, i, j);
        manifest_free(&m);
    }
    if (k->count > 0)
        qsort(k->list, k->count, sizeof *k->list, by_id);
    for (size_t i = 0; i < k->count; i++)
        if (n == 0 || memcmp(k->list[n - 1].id, k->list[i].id, DATAKEY_ID_LEN) != 0)
            k->list[n++] = k->list[i];
    k->count = n;
    return rc;
}

/* ---- who reads ---- */

struct listing {
    struct reader *r;
    struct grants grants;
    struct share_reader *out;
    size_t count;
};

static struct share_reader *row_of(struct listing *l, const uint8_t *fp, struct err *e)
{
    for (size_t i = 0; i < l->count; i++)
        if (memcmp(l->out[i].fingerprint, fp, KEY_FP_LEN) == 0)
            return &l->out[i];
    if (l->count == SHARE_READERS_MAX) {
        (void)err_set(e, ERR_LIMIT, "%s/%s: more than %u readers", l->r->site, l->r->group,
                      SHARE_READERS_MAX);
        return NULL;
    }
    struct share_reader *row = &l->out[l->count++];
    memset(row, 0, sizeof *row);
    memcpy(row->fingerprint, fp, KEY_FP_LEN);
    return row;
}

static bool wrapped_for(const struct datakey_wraps *w, const uint8_t *fp)
{
    for (unsigned i = 0; i < w->count; i++)
        if (memcmp(w->wraps[i].reader, fp, KEY_FP_LEN) == 0)
            return true;
    return false;
}

/* One data key, for each of its readers. */
static int count_key(struct listing *l, const struct datakey_wraps *w, struct err *e)
{
    const struct grants *g = &l->grants;
    const struct grant *at = grants_find(g, w->id), *end = g->list + g->count;
    struct share_reader *row;
    for (unsigned i = 0; i < w->count; i++) {
        if (!(row = row_of(l, w->wraps[i].reader, e)))
            return -(int)e->code;
        row->keys++;
    }
    for (; at && at < end && memcmp(at->id, w->id, DATAKEY_ID_LEN) == 0; at++) {
        bool again = at > g->list && memcmp(at[-1].id, at->id, DATAKEY_ID_LEN) == 0 &&
                     memcmp(at[-1].wrap.reader, at->wrap.reader, KEY_FP_LEN) == 0;
        if (again || wrapped_for(w, at->wrap.reader))
            continue;
        if (!(row = row_of(l, at->wrap.reader, e)))
            return -(int)e->code;
        row->keys++;
        row->granted++;
    }
    return 0;
}

static bool opens(const struct listing *l, const struct manifest *m, const uint8_t *fp)
{
    for (unsigned i = 0; i < m->key_count; i++)
        if (!wrapped_for(&m->keys[i], fp) && !grants_has(&l->grants, m->keys[i].id, fp))
            return false;
    return true;
}

/* A delta without data keys holds nothing that anybody could not read. */
static void count_point(struct listing *l, const struct manifest *m)
{
    for (size_t i = 0; m->key_count > 0 && i < l->count; i++) {
        struct share_reader *row = &l->out[i];
        row->newest = opens(l, m, row->fingerprint);
        if (!row->newest)
            continue;
        row->points++;
        row->last = m->rp;
        if (row->first == 0)
            row->first = m->rp_first;
    }
}

static int by_first(const void *a, const void *b)
{
    const struct share_reader *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return memcmp(x->fingerprint, y->fingerprint, KEY_FP_LEN);
}

int share_list(struct reader *r, struct share_reader out[SHARE_READERS_MAX], size_t *count,
               struct err *e)
{
    struct listing l = {.r = r, .out = out};
    struct used_keys used;
    struct manifest m;
    int rc = collect(&used, r, e);
    if (rc == 0)
        rc = grants_fetch(&l.grants, r, NULL, e);
    for (size_t i = 0; i < used.count && rc == 0; i++) {
        rc = history_decode_tables(r, used.list[i].point, &m, e);
        if (rc == 0)
            rc = count_key(&l, &m.keys[used.list[i].number], e);
        manifest_free(&m);
    }
    for (size_t i = 0; i < r->count && rc == 0; i++) {
        rc = history_decode_tables(r, i, &m, e);
        if (rc == 0)
            count_point(&l, &m);
        manifest_free(&m);
    }
    free(used.list);
    grants_free(&l.grants);
    *count = l.count;
    if (l.count > 0)
        qsort(out, l.count, sizeof *out, by_first);
    return rc;
}

/* ---- one more ---- */

struct granting {
    struct reader *r;
    const struct key_public *to;
    uint8_t fp[KEY_FP_LEN];
    uint8_t *batch; /* WRAPS_BATCH_MAX */
    uint32_t len;
    struct share_granted *out;
};

static int flush(struct granting *g, struct err *e)
{
    struct line_call call = {.call = {.expect = FRAME_WrapsStored}};
    Relais__WrapsPut m;
    if (g->len == 0)
        return 0;
    relais__wraps_put__init(&m);
    m.site = g->r->site;
    m.group = g->r->group;
    m.reader = (ProtobufCBinaryData){KEY_FP_LEN, g->fp};
    int rc = line_ask(g->r->line, &call, FRAME_WrapsPut, &m.base, g->batch, g->len, e);
    if (rc < 0)
        return rc;
    line_end(g->r->line, &call);
    g->out->granted += g->len / WRAPS_ENTRY_LEN;
    g->len = 0;
    return rc;
}

/* One data key for one more reader. why: the last reason why one could not be opened. */
static int grant_key(struct granting *g, const struct datakey_wraps *w,
                     struct key_secret *const *keys, size_t count, struct err *why, struct err *e)
{
    uint8_t key[SEAL_KEY_LEN];
    struct datakey_wrap wrap;
    struct err one = ERR_INIT;
    int rc = grants_unwrap(key, g->r, w, keys, count, &one);
    if (rc == -ERR_AUTH) {
        g->out->closed++;
        *why = one;
        return 0;
    }
    if (rc < 0) {
        *e = one;
        return rc;
    }
    datakey_wrap(&wrap, key, g->to);
    sodium_memzero(key, sizeof key);
    memcpy(g->batch + g->len, w->id, DATAKEY_ID_LEN);
    memcpy(g->batch + g->len + DATAKEY_ID_LEN, wrap.sealed, DATAKEY_WRAP_LEN);
    g->len += WRAPS_ENTRY_LEN;
    return g->len + WRAPS_ENTRY_LEN > WRAPS_BATCH_MAX ? flush(g, e) : 0;
}

static int grant_all(struct granting *g, const struct used_keys *used, const struct grants *had,
                     struct key_secret *const *keys, size_t count, struct err *e)
{
    struct err why = ERR_INIT;
    int rc = 0;
    for (size_t i = 0; i < used->count && rc == 0; i++) {
        struct manifest m;
        rc = history_decode_tables(g->r, used->list[i].point, &m, e);
        const struct datakey_wraps *w = rc == 0 ? &m.keys[used->list[i].number] : NULL;
        g->out->keys += w != NULL;
        if (!w)
            ;
        else if (wrapped_for(w, g->fp) || grants_has(had, w->id, g->fp))
            g->out->had++;
        else
            rc = grant_key(g, w, keys, count, &why, e);
        manifest_free(&m);
    }
    if (rc == 0)
        rc = flush(g, e);
    if (rc == 0 && g->out->closed > 0 && g->out->granted + g->out->had == 0) {
        *e = why;
        return err_prefix(e, "%s/%s", g->r->site, g->r->group);
    }
    return rc;
}

int share_grant(struct reader *r, struct key_secret *const *keys, size_t count,
                const struct key_public *to, struct share_granted *out, struct err *e)
{
    struct granting g = {.r = r, .to = to, .out = out, .batch = err_malloc(WRAPS_BATCH_MAX)};
    struct grants had = {0};
    struct used_keys used;
    memset(out, 0, sizeof *out);
    key_fingerprint(g.fp, to);
    int rc = collect(&used, r, e);
    if (rc == 0)
        rc = grants_fetch(&had, r, g.fp, e);
    if (rc == 0)
        rc = grant_all(&g, &used, &had, keys, count, e);
    free(used.list);
    grants_free(&had);
    free(g.batch);
    return rc;
}
