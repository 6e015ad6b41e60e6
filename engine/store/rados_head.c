/* Heads and catalogs in omap. One write operation compares the head and sets the head and the
 * catalog entry: the OSD does it all or not at all, whichever hub asks. */
#include "rados.h"

#include "bytes.h"
#include "store_name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_HEAD       "head"
#define KEY_RP         "rp."
#define KEY_GENERATION "generation"
#define KEY_MAX        24u
#define HEAD_MAX       (8u + STORE_ENTRY_MAX)
#define OMAP_MAX       64u /* keys asked for at once */

static void head_oid(char dst[RADOS_OID_MAX], const char *group)
{
    (void)snprintf(dst, RADOS_OID_MAX, RADOS_HEAD "%s", group);
}

static void rp_key(char dst[KEY_MAX], uint64_t rp)
{
    (void)snprintf(dst, KEY_MAX, KEY_RP "%016" PRIx64, rp);
}

static size_t encode_head(uint8_t dst[HEAD_MAX], const struct store_head *h)
{
    bytes_set_le64(dst, h->rp);
    memcpy(dst + 8, h->value, h->len);
    return 8u + h->len;
}

static int decode_head(struct store_head *out, const char *value, size_t len)
{
    if (len < 8 || len > HEAD_MAX)
        return -EBADMSG;
    out->rp = bytes_le64((const uint8_t *)value);
    out->len = (uint16_t)(len - 8);
    memcpy(out->value, value + 8, len - 8);
    return out->rp ? 0 : -EBADMSG;
}

static int damaged(const struct rstore *s, struct err *e, const char *site, const char *oid)
{
    return err_set(
        e, ERR_CORRUPT,
        "store: the omap of %s/%s in the Ceph pool '%s' holds what relais never wrote: see "
        "'rados -p %s -N %s listomapvals %s'",
        site, oid, s->pool, s->pool, site, oid);
}

int rstore_head(struct store *store, const char *site, const char *group, struct store_head *out,
                struct err *e)
{
    struct rstore *s = rstore_of(store);
    static const char *const keys[] = {KEY_HEAD};
    static const size_t lens[] = {sizeof KEY_HEAD - 1};
    char oid[RADOS_OID_MAX], *key, *value;
    size_t key_len, value_len;
    rados_omap_iter_t iter;
    rados_read_op_t read;
    rados_ioctx_t ioctx;
    int done = 0, r = store_name_group(site, group, e);
    if (r == 0)
        r = rstore_site(s, site, &ioctx, e);
    if (r)
        return r;
    *out = (struct store_head){0};
    head_oid(oid, group);
    read = rados_create_read_op();
    rados_read_op_omap_get_vals_by_keys2(read, keys, 1, lens, &iter, &done);
    r = rstore_read(s, ioctx, read, oid);
    if (r == -ENOENT) {
        r = 0;
    } else if (r < 0) {
        r = rstore_fail(s, e, r, "reading", site, oid);
    } else if (rados_omap_get_next2(iter, &key, &value, &key_len, &value_len) < 0 || !key ||
               decode_head(out, value, value_len) < 0) {
        r = damaged(s, e, site, oid);
    }
    rados_omap_get_end(iter);
    return r;
}

/* Before the first head: groups() finds the group by it. It may stay without a head. */
static int register_group(struct rstore *s, rados_ioctx_t ioctx, const char *group)
{
    rados_write_op_t w = rados_create_write_op();
    const char *const keys[] = {group}, *const values[] = {""};
    const size_t key_lens[] = {strlen(group)}, value_lens[] = {0};
    rados_write_op_omap_set2(w, keys, values, key_lens, value_lens, 1);
    return rstore_write(s, ioctx, w, RADOS_GROUPS, 0);
}

static int swap_head(struct rstore *s, rados_ioctx_t ioctx, const char *oid,
                     const struct store_head *from, const struct store_head *to)
{
    uint8_t was[HEAD_MAX], is[HEAD_MAX];
    char rp[KEY_MAX];
    const size_t is_len = encode_head(is, to);
    const char *const keys[] = {KEY_HEAD, rp};
    const char *const values[] = {(const char *)is, (const char *)to->value};
    const size_t key_lens[] = {sizeof KEY_HEAD - 1, sizeof KEY_RP - 1 + 16};
    const size_t value_lens[] = {is_len, to->len};
    rados_write_op_t w = rados_create_write_op();
    rp_key(rp, to->rp);
    if (from->rp == 0)
        rados_write_op_create(w, LIBRADOS_CREATE_EXCLUSIVE, NULL);
    else
        rados_write_op_omap_cmp2(w, KEY_HEAD, LIBRADOS_CMPXATTR_OP_EQ, (const char *)was,
                                 sizeof KEY_HEAD - 1, encode_head(was, from), NULL);
    rados_write_op_omap_set2(w, keys, values, key_lens, value_lens, 2);
    return rstore_write(s, ioctx, w, oid, 0);
}

int rstore_move_head(struct store *store, const char *site, const char *group,
                     const struct store_head *from, const struct store_head *to, struct err *e)
{
    struct rstore *s = rstore_of(store);
    char oid[RADOS_OID_MAX];
    rados_ioctx_t ioctx;
    int r;
    ASSERT(to->rp > from->rp && to->len <= STORE_ENTRY_MAX && from->len <= STORE_ENTRY_MAX);
    r = store_name_group(site, group, e);
    if (r == 0)
        r = rstore_site(s, site, &ioctx, e);
    if (r)
        return r;
    head_oid(oid, group);
    if (from->rp == 0 && bytes_is_name(group)) {
        r = register_group(s, ioctx, group);
        if (r < 0)
            return rstore_fail(s, e, r, "writing", site, RADOS_GROUPS);
    }
    r = swap_head(s, ioctx, oid, from, to);
    /* ECANCELED is the OSD's word for another head, and the fibers' for being stopped. */
    if (r == -ECANCELED && fiber_cancelled())
        return rstore_fail(s, e, r, "moving", site, oid);
    if (r == -ECANCELED || r == -EEXIST || r == -ENOENT)
        return err_set(e, ERR_CONFLICT,
                       "store: the head of %s/%s is not the RP %" PRIu64
                       " that was to be followed: another hub moved it; read it again",
                       site, group, from->rp);
    return r < 0 ? rstore_fail(s, e, r, "moving", site, oid) : 0;
}

/* ---- replacing entries ---- */

static int read_generation(struct rstore *s, rados_ioctx_t ioctx, const char *oid, uint64_t *out)
{
    static const char *const keys[] = {KEY_GENERATION};
    static const size_t lens[] = {sizeof KEY_GENERATION - 1};
    rados_read_op_t read = rados_create_read_op();
    rados_omap_iter_t iter;
    char *key = NULL, *value = NULL;
    size_t key_len, value_len;
    int done = 0, r;
    *out = 0;
    rados_read_op_omap_get_vals_by_keys2(read, keys, 1, lens, &iter, &done);
    r = rstore_read(s, ioctx, read, oid);
    if (r == 0)
        r = rados_omap_get_next2(iter, &key, &value, &key_len, &value_len);
    if (r == 0 && key && value_len != 8)
        r = -EBADMSG;
    else if (r == 0 && key)
        *out = bytes_le64((const uint8_t *)value);
    rados_omap_get_end(iter);
    return r == -ENOENT ? 0 : r;
}

int rstore_generation(struct store *store, const char *site, const char *group, uint64_t *out,
                      struct err *e)
{
    struct rstore *s = rstore_of(store);
    char oid[RADOS_OID_MAX];
    rados_ioctx_t ioctx;
    int r = store_name_group(site, group, e);
    if (r == 0)
        r = rstore_site(s, site, &ioctx, e);
    if (r)
        return r;
    head_oid(oid, group);
    r = read_generation(s, ioctx, oid, out);
    if (r == -EBADMSG)
        return damaged(s, e, site, oid);
    return r < 0 ? rstore_fail(s, e, r, "reading", site, oid) : 0;
}

/* Compares, removes, sets: the OSD does it all or not at all. A generation that is not there
 * compares as an empty value. */
static rados_write_op_t splice_op(uint64_t from, uint64_t first, uint64_t last,
                                  const struct store_head *to, uint32_t count)
{
    rados_write_op_t w = rados_create_write_op();
    const char **keys = err_calloc(count + 1u, sizeof *keys);
    const char **values = err_calloc(count + 1u, sizeof *values);
    size_t *key_lens = err_calloc(count + 1u, sizeof *key_lens);
    size_t *value_lens = err_calloc(count + 1u, sizeof *value_lens);
    char(*names)[KEY_MAX] = err_calloc(count + 1u, sizeof *names), begin[KEY_MAX], end[KEY_MAX];
    uint8_t was[8], is[8];
    bytes_set_le64(was, from);
    bytes_set_le64(is, from + 1);
    rados_write_op_assert_exists(w);
    rados_write_op_omap_cmp2(w, KEY_GENERATION, LIBRADOS_CMPXATTR_OP_EQ, (const char *)was,
                             sizeof KEY_GENERATION - 1, from == 0 ? 0 : sizeof was, NULL);
    if (count > 0) {
        rp_key(begin, first);
        rp_key(end, last + 1);
        rados_write_op_omap_rm_range2(w, begin, strlen(begin), end, strlen(end));
    }
    for (uint32_t i = 0; i < count; i++) {
        rp_key(names[i], to[i].rp);
        keys[i] = names[i];
        key_lens[i] = strlen(names[i]);
        values[i] = (const char *)to[i].value;
        value_lens[i] = to[i].len;
    }
    keys[count] = KEY_GENERATION;
    key_lens[count] = sizeof KEY_GENERATION - 1;
    values[count] = (const char *)is;
    value_lens[count] = sizeof is;
    rados_write_op_omap_set2(w, keys, values, key_lens, value_lens, count + 1u); /* copies */
    free(keys);
    free(values);
    free(key_lens);
    free(value_lens);
    free(names);
    return w;
}

int rstore_splice(struct store *store, const char *site, const char *group, uint64_t from,
                  uint64_t first, uint64_t last, const struct store_head *to, uint32_t count,
                  struct err *e)
{
    struct rstore *s = rstore_of(store);
    char oid[RADOS_OID_MAX];
    rados_ioctx_t ioctx;
    int r = store_name_group(site, group, e);
    ASSERT(count == 0
               ? last == 0
               : first > 0 && first <= last && to[0].rp >= first && to[count - 1].rp == last);
    if (r == 0)
        r = rstore_site(s, site, &ioctx, e);
    if (r)
        return r;
    head_oid(oid, group);
    r = rstore_write(s, ioctx, splice_op(from, first, last, to, count), oid, 0);
    if (r == -ENOENT)
        return err_set(e, ERR_NOENT, "store: %s/%s has no head", site, group);
    /* As in move_head. */
    if (r == -ECANCELED && !fiber_cancelled())
        return err_set(e, ERR_CONFLICT,
                       "store: the catalog of %s/%s is not of generation %" PRIu64
                       ": another hub changed it; read it again",
                       site, group, from);
    return r < 0 ? rstore_fail(s, e, r, "replacing entries of", site, oid) : 0;
}

/* Values of the keys that start with prefix and follow start; each(arg, ...) is told of every one
 * and returns 0, or an errno that ends it. */
static int each_key(struct rstore *s, rados_ioctx_t ioctx, const char *oid, const char *start,
                    const char *prefix, uint32_t max,
                    int (*each)(void *arg, const char *key, size_t key_len, const char *value,
                                size_t value_len),
                    void *arg)
{
    char from[STORE_NAME_MAX];
    unsigned char more = 1;
    int r = 0;
    (void)snprintf(from, sizeof from, "%s", start);
    while (r == 0 && more && max > 0) {
        uint32_t want = max < OMAP_MAX ? max : OMAP_MAX, got = 0;
        rados_read_op_t read = rados_create_read_op();
        rados_omap_iter_t iter;
        char *key, *value;
        size_t key_len, value_len;
        int done = 0;
        rados_read_op_omap_get_vals2(read, from, prefix, want, &iter, &more, &done);
        r = rstore_read(s, ioctx, read, oid);
        while (r == 0) {
            r = rados_omap_get_next2(iter, &key, &value, &key_len, &value_len);
            if (r < 0 || !key)
                break;
            if (key_len >= sizeof from)
                r = -EBADMSG;
            else
                r = each(arg, key, key_len, value, value_len);
            (void)snprintf(from, sizeof from, "%.*s", (int)key_len, key);
            got++;
        }
        rados_omap_get_end(iter);
        if (got == 0)
            more = 0;
        max -= got;
    }
    return r == -ENOENT ? 0 : r;
}

struct entries {
    struct store_head *out;
    uint32_t count;
};

static int add_entry(void *arg, const char *key, size_t key_len, const char *value,
                     size_t value_len)
{
    struct entries *list = arg;
    struct store_head *h = &list->out[list->count];
    char text[KEY_MAX], want[KEY_MAX];
    if (key_len != sizeof KEY_RP - 1 + 16 || value_len > STORE_ENTRY_MAX)
        return -EBADMSG;
    memcpy(text, key, key_len);
    text[key_len] = '\0';
    h->rp = strtoull(text + sizeof KEY_RP - 1, NULL, 16);
    rp_key(want, h->rp);
    if (strcmp(text, want) != 0 || h->rp == 0)
        return -EBADMSG;
    h->len = (uint16_t)value_len;
    if (value_len > 0)
        memcpy(h->value, value, value_len);
    list->count++;
    return 0;
}

int rstore_catalog(struct store *store, const char *site, const char *group, uint64_t after,
                   struct store_head *out, uint32_t max, uint32_t *count, struct err *e)
{
    struct rstore *s = rstore_of(store);
    struct entries list = {.out = out, .count = 0};
    char oid[RADOS_OID_MAX], start[KEY_MAX];
    rados_ioctx_t ioctx;
    int r = store_name_group(site, group, e);
    if (r == 0)
        r = rstore_site(s, site, &ioctx, e);
    if (r)
        return r;
    head_oid(oid, group);
    rp_key(start, after);
    r = each_key(s, ioctx, oid, start, KEY_RP, max, add_entry, &list);
    if (r == -EBADMSG)
        return damaged(s, e, site, oid);
    if (r < 0)
        return rstore_fail(s, e, r, "reading", site, oid);
    *count = list.count;
    return 0;
}

static int add_group(void *arg, const char *key, size_t key_len, const char *value,
                     size_t value_len)
{
    struct store_names *list = arg;
    char *name = list->names[list->count];
    (void)value;
    (void)value_len;
    if (key_len > NAME_MAX_LEN)
        return -EBADMSG;
    memcpy(name, key, key_len);
    name[key_len] = '\0';
    if (!bytes_is_name(name))
        return -EBADMSG;
    list->count++;
    return 0;
}

int rstore_groups(struct store *store, const char *site, struct store_names *out, struct err *e)
{
    struct rstore *s = rstore_of(store);
    struct store_names list = {0};
    struct store_head head;
    rados_ioctx_t ioctx;
    uint32_t kept = 0;
    int r = store_name_site(site, e);
    if (r == 0)
        r = rstore_site(s, site, &ioctx, e);
    if (r)
        return r;
    list.names = err_calloc(STORE_LIST_MAX, sizeof list.names[0]);
    r = each_key(s, ioctx, RADOS_GROUPS, "", "", STORE_LIST_MAX, add_group, &list);
    if (r == -EBADMSG)
        r = damaged(s, e, site, RADOS_GROUPS);
    else if (r < 0)
        r = rstore_fail(s, e, r, "reading", site, RADOS_GROUPS);
    for (uint32_t i = 0; r == 0 && i < list.count; i++) {
        r = rstore_head(store, site, list.names[i], &head, e);
        if (r == 0 && head.rp > 0)
            memmove(list.names[kept++], list.names[i], STORE_NAME_MAX);
    }
    if (r) {
        free(list.names);
        return r;
    }
    *out = (struct store_names){kept, list.names};
    return 0;
}
