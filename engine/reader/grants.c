#include "grants.h"

#include <stdlib.h>
#include <string.h>

static int by_id(const void *a, const void *b)
{
    const struct grant *x = a, *y = b;
    int order = memcmp(x->id, y->id, DATAKEY_ID_LEN);
    return order ? order : memcmp(x->wrap.reader, y->wrap.reader, KEY_FP_LEN);
}

int grants_add(struct grants *g, const uint8_t *reader, size_t reader_len, const uint8_t *p,
               uint32_t len, struct err *e)
{
    if (reader_len != KEY_FP_LEN || len == 0 || len % WRAPS_ENTRY_LEN != 0)
        return err_set(e, ERR_PROTO,
                       "a batch of wraps that is none: %u bytes for a reader named by %zu",
                       (unsigned)len, reader_len);
    for (uint32_t at = 0; at < len; at += WRAPS_ENTRY_LEN) {
        if (g->count == g->cap) {
            g->cap = g->cap ? g->cap * 2 : 1024;
            g->list = err_realloc(g->list, g->cap * sizeof *g->list);
        }
        struct grant *one = &g->list[g->count++];
        memcpy(one->id, p + at, DATAKEY_ID_LEN);
        memcpy(one->wrap.reader, reader, KEY_FP_LEN);
        memcpy(one->wrap.sealed, p + at + DATAKEY_ID_LEN, DATAKEY_WRAP_LEN);
    }
    return 0;
}

void grants_sort(struct grants *g)
{
    if (g->count > 0)
        qsort(g->list, g->count, sizeof *g->list, by_id);
}

/* The next batch; *after becomes its number, or 0 after the last. buf: WRAPS_BATCH_MAX. */
static int fetch_batch(struct grants *g, struct reader *r, const uint8_t *reader, uint64_t *after,
                       uint8_t *buf, struct err *e)
{
    struct line_call call = {
        .call = {.expect = FRAME_Wraps, .payload = buf, .payload_cap = WRAPS_BATCH_MAX}};
    Relais__WrapsGet m;
    relais__wraps_get__init(&m);
    m.site = r->site;
    m.group = r->group;
    m.after = *after;
    if (reader)
        m.reader = (ProtobufCBinaryData){KEY_FP_LEN, (uint8_t *)(uintptr_t)reader};
    int rc = line_ask(r->line, &call, FRAME_WrapsGet, &m.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    const Relais__Wraps *reply = call.call.reply.wraps;
    const uint32_t len = call.call.payload_len;
    if (reply->number == 0) {
        *after = 0;
    } else {
        if (reply->number <= *after)
            rc = err_set(e, ERR_PROTO, "batch %" PRIu64 " of wraps comes behind %" PRIu64,
                         reply->number, *after);
        else
            rc = grants_add(g, reply->reader.data, reply->reader.len, buf, len, e);
        *after = reply->number;
    }
    line_end(r->line, &call);
    return rc;
}

int grants_fetch(struct grants *g, struct reader *r, const uint8_t *reader, struct err *e)
{
    uint8_t *buf = err_malloc(WRAPS_BATCH_MAX);
    uint64_t after = 0;
    unsigned batches = 0;
    int rc;
    do {
        rc = fetch_batch(g, r, reader, &after, buf, e);
        if (rc == 0 &&
            (++batches > WRAPS_BATCHES + 1 || g->count * WRAPS_ENTRY_LEN > WRAPS_TOTAL_MAX))
            rc =
                err_set(e, ERR_LIMIT, "more wraps for readers that came later than a hub may keep");
    } while (rc == 0 && after > 0);
    free(buf);
    grants_sort(g);
    return rc < 0 ? err_prefix(e, "%s/%s: readers that came later", r->site, r->group) : 0;
}

void grants_free(struct grants *g)
{
    free(g->list);
    memset(g, 0, sizeof *g);
}

const struct grant *grants_find(const struct grants *g, const uint8_t id[DATAKEY_ID_LEN])
{
    size_t low = 0, high = g->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (memcmp(g->list[mid].id, id, DATAKEY_ID_LEN) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < g->count && memcmp(g->list[low].id, id, DATAKEY_ID_LEN) == 0 ? &g->list[low]
                                                                              : NULL;
}

/* Whether at is still one of the data key that grants_find found. */
static bool still(const struct grants *g, const struct grant *at, const uint8_t *id)
{
    return at && at < g->list + g->count && memcmp(at->id, id, DATAKEY_ID_LEN) == 0;
}

bool grants_has(const struct grants *g, const uint8_t id[DATAKEY_ID_LEN],
                const uint8_t reader[KEY_FP_LEN])
{
    for (const struct grant *at = grants_find(g, id); still(g, at, id); at++)
        if (memcmp(at->wrap.reader, reader, KEY_FP_LEN) == 0)
            return true;
    return false;
}

static int fetch_for(struct reader *r, struct key_secret *const *keys, size_t count, struct err *e)
{
    int rc = 0;
    r->grants = err_calloc(1, sizeof *r->grants);
    for (size_t i = 0; i < count && rc == 0; i++) {
        uint8_t fp[KEY_FP_LEN];
        key_fingerprint(fp, key_public(keys[i]));
        rc = grants_fetch(r->grants, r, fp, e);
    }
    return rc;
}

int grants_unwrap(uint8_t dst[SEAL_KEY_LEN], struct reader *r, const struct datakey_wraps *w,
                  struct key_secret *const *keys, size_t count, struct err *e)
{
    struct err why = ERR_INIT;
    int rc = datakey_unwrap(dst, w, keys, count, &why);
    if (rc == 0)
        return 0;
    if (!r->grants && (rc = fetch_for(r, keys, count, e)) < 0)
        return rc;
    for (const struct grant *at = grants_find(r->grants, w->id); still(r->grants, at, w->id); at++)
        for (size_t i = 0; i < count; i++)
            if (datakey_open(dst, w->id, &at->wrap, keys[i]) == 0)
                return 0;
    *e = why;
    return -(int)e->code;
}
