/* Objects in Ceph. */
#include "rados.h"
#include "store_name.h"
#include "store_pick.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIST_PAGE 512u

static void object_oid(char dst[RADOS_OID_MAX], const char *name)
{
    (void)snprintf(dst, RADOS_OID_MAX, RADOS_OBJECT "%s", name);
}

static int stat_object(struct rstore *s, rados_ioctx_t ioctx, const char *oid, uint64_t *size)
{
    struct rstore_op op;
    time_t mtime;
    int r = rstore_begin(&op, s, 0);
    return r < 0 ? r : rstore_end(&op, rados_aio_stat(ioctx, oid, op.done, size, &mtime));
}

static int write_object(struct rstore *s, rados_ioctx_t ioctx, const char *oid, const void *data,
                        size_t len, bool exclusive)
{
    rados_write_op_t w = rados_create_write_op();
    if (exclusive)
        rados_write_op_create(w, LIBRADOS_CREATE_EXCLUSIVE, NULL);
    rados_write_op_write_full(w, data, len);
    return rstore_write(s, ioctx, w, oid, len);
}

int rstore_put(struct store *store, const char *site, const char *name, const void *data,
               size_t len, struct err *e)
{
    struct rstore *s = rstore_of(store);
    char oid[RADOS_OID_MAX];
    rados_ioctx_t ioctx;
    uint64_t size = 0;
    int r = store_name_object(site, name, e);
    if (r)
        return r;
    if (len > PART_SIZE)
        return err_set(e, ERR_LIMIT,
                       "store: object %s has %zu bytes; at most %" PRIu64 " are allowed", name, len,
                       PART_SIZE);
    r = rstore_data(s, site, &ioctx, e);
    if (r)
        return r;
    object_oid(oid, name);
    r = write_object(s, ioctx, oid, data, len, true);
    if (r == -EEXIST) {
        /* A write is all or nothing, so one of this size is this one. Another size is damage. */
        r = stat_object(s, ioctx, oid, &size);
        if (r == -ENOENT || (r == 0 && size != len))
            r = write_object(s, ioctx, oid, data, len, false);
    }
    return r < 0 ? rstore_fail(s, e, r, "storing", site, name) : 0;
}

int rstore_get(struct store *store, const char *site, const char *name, uint64_t off, void *buf,
               size_t len, struct err *e)
{
    struct rstore *s = rstore_of(store);
    char oid[RADOS_OID_MAX];
    struct rstore_op op;
    rados_ioctx_t ioctx;
    int r = store_name_object(site, name, e);
    if (r)
        return r;
    if (len > PART_SIZE)
        return err_set(e, ERR_LIMIT,
                       "store: %zu bytes of object %s are wanted at once; at most %" PRIu64, len,
                       name, PART_SIZE);
    r = rstore_data(s, site, &ioctx, e);
    if (r)
        return r;
    object_oid(oid, name);
    r = rstore_begin(&op, s, len);
    if (r == 0)
        r = rstore_end(&op, rados_aio_read(ioctx, oid, op.done, buf, len, off));
    if (r < 0)
        return rstore_fail(s, e, r, "reading", site, name);
    if ((size_t)r != len)
        return err_set(e, ERR_CORRUPT,
                       "store: object %s of site %s ends before %zu bytes at %" PRIu64
                       ": it is damaged",
                       name, site, len, off);
    return 0;
}

int rstore_size(struct store *store, const char *site, const char *name, uint64_t *out,
                struct err *e)
{
    struct rstore *s = rstore_of(store);
    char oid[RADOS_OID_MAX];
    rados_ioctx_t ioctx;
    int r = store_name_object(site, name, e);
    if (r == 0)
        r = rstore_data(s, site, &ioctx, e);
    if (r)
        return r;
    object_oid(oid, name);
    r = stat_object(s, ioctx, oid, out);
    return r < 0 ? rstore_fail(s, e, r, "looking at", site, name) : 0;
}

int rstore_remove(struct store *store, const char *site, const char *name, struct err *e)
{
    struct rstore *s = rstore_of(store);
    char oid[RADOS_OID_MAX];
    rados_write_op_t w;
    rados_ioctx_t ioctx;
    int r = store_name_object(site, name, e);
    if (r == 0)
        r = rstore_data(s, site, &ioctx, e);
    if (r)
        return r;
    object_oid(oid, name);
    w = rados_create_write_op();
    rados_write_op_remove(w);
    r = rstore_write(s, ioctx, w, oid, 0);
    return r < 0 && r != -ENOENT ? rstore_fail(s, e, r, "removing", site, name) : 0;
}

/* A page of a listing, on the blocking pool. */
struct page {
    rados_ioctx_t ioctx;
    rados_object_list_cursor at, end, next;
    rados_object_list_item items[LIST_PAGE];
    int count;
};

static int list_page(void *arg)
{
    struct page *p = arg;
    p->count = rados_object_list(p->ioctx, p->at, p->end, LIST_PAGE, NULL, 0, p->items, &p->next);
    return p->count < 0 ? p->count : 0;
}

static void pick_page(struct store_pick *pick, struct page *p)
{
    const size_t skip = sizeof RADOS_OBJECT - 1;
    char oid[RADOS_OID_MAX];
    for (int i = 0; i < p->count; i++) {
        const rados_object_list_item *item = &p->items[i];
        if (item->oid_length < skip || item->oid_length >= sizeof oid)
            continue;
        memcpy(oid, item->oid, item->oid_length); /* librados does not terminate it */
        oid[item->oid_length] = '\0';
        if (memcmp(oid, RADOS_OBJECT, skip) == 0)
            store_pick_add(pick, oid + skip);
    }
    if (p->count > 0)
        rados_object_list_free((size_t)p->count, p->items);
    p->count = 0;
}

/* Ceph keeps objects by hash: every page costs a walk over the site's whole namespace. */
int rstore_list(struct store *store, const char *site, const char *prefix, const char *after,
                struct store_names *out, struct err *e)
{
    struct rstore *s = rstore_of(store);
    struct store_pick pick = store_pick(prefix, after);
    rados_object_list_cursor old;
    struct page *p;
    rados_ioctx_t ioctx;
    int r = store_name_prefix(site, prefix, e);
    if (r == 0)
        r = rstore_data(s, site, &ioctx, e);
    if (r)
        return r;
    p = err_calloc(1, sizeof *p);
    p->ioctx = ioctx;
    p->at = rados_object_list_begin(ioctx);
    p->next = rados_object_list_begin(ioctx);
    p->end = rados_object_list_end(ioctx);
    while (r == 0 && !rados_object_list_is_end(ioctx, p->at)) {
        r = fio_work(IO_WORK_BLOCKING, list_page, p);
        pick_page(&pick, p);
        old = p->at;
        p->at = p->next;
        p->next = old;
    }
    rados_object_list_cursor_free(ioctx, p->at);
    rados_object_list_cursor_free(ioctx, p->next);
    rados_object_list_cursor_free(ioctx, p->end);
    free(p);
    if (r < 0) {
        store_pick_drop(&pick);
        return rstore_fail(s, e, r, "listing", site, prefix);
    }
    store_pick_finish(&pick, out);
    return 0;
}
