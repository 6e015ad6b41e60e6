/* Claims in omap: a lease per object, moved by one guarded operation. cls_lock would do as much
 * with the OSD's clock, and would need the capability to run object classes, which a hub else does
 * not. */
#include "rados.h"

#include "bytes.h"
#include "store_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KEY_CLAIM "claim"
#define CLAIM_MAX (8u + STORE_HOLDER_MAX)

static size_t encode_claim(uint8_t dst[CLAIM_MAX], const struct store_claim *c)
{
    size_t len = strlen(c->holder);
    ASSERT(len < STORE_HOLDER_MAX);
    bytes_set_le64(dst, c->turn);
    memcpy(dst + 8, c->holder, len);
    return 8 + len;
}

static int decode_claim(struct store_claim *out, const char *value, size_t len)
{
    if (len < 8 || len >= CLAIM_MAX)
        return -EBADMSG;
    out->turn = bytes_le64((const uint8_t *)value);
    memcpy(out->holder, value + 8, len - 8);
    out->holder[len - 8] = '\0';
    return out->turn ? 0 : -EBADMSG;
}

static int open_claim(struct rstore *s, const char *name, char oid[RADOS_OID_MAX],
                      rados_ioctx_t *ioctx, struct err *e)
{
    int r = store_name_lease(name, e);
    (void)snprintf(oid, RADOS_OID_MAX, RADOS_LEASE "%.*s", (int)NAME_MAX_LEN, name);
    return r ? r : rstore_site(s, "", ioctx, e);
}

int rstore_claim(struct store *store, const char *name, struct store_claim *out, struct err *e)
{
    static const char *const keys[] = {KEY_CLAIM};
    static const size_t lens[] = {sizeof KEY_CLAIM - 1};
    struct rstore *s = rstore_of(store);
    char oid[RADOS_OID_MAX], *key, *value;
    size_t key_len, value_len;
    rados_omap_iter_t iter;
    rados_read_op_t read;
    rados_ioctx_t ioctx;
    int done = 0, r = open_claim(s, name, oid, &ioctx, e);
    if (r)
        return r;
    *out = (struct store_claim){0};
    read = rados_create_read_op();
    rados_read_op_omap_get_vals_by_keys2(read, keys, 1, lens, &iter, &done);
    r = rstore_read(s, ioctx, read, oid);
    if (r == -ENOENT)
        r = 0;
    else if (r < 0)
        r = rstore_fail(s, e, r, "reading", "", oid);
    else if (rados_omap_get_next2(iter, &key, &value, &key_len, &value_len) < 0 || !key ||
             decode_claim(out, value, value_len) < 0)
        r = err_set(e, ERR_CORRUPT,
                    "store: the object %s in the Ceph pool '%s' is not what relais wrote: when no "
                    "hub runs it may be removed with 'rados -p %s rm %s'",
                    oid, s->pool, s->pool, oid);
    rados_omap_get_end(iter);
    return r;
}

int rstore_move_claim(struct store *store, const char *name, const struct store_claim *from,
                      const struct store_claim *to, struct err *e)
{
    struct rstore *s = rstore_of(store);
    uint8_t was[CLAIM_MAX], is[CLAIM_MAX];
    const char *const keys[] = {KEY_CLAIM}, *const values[] = {(const char *)is};
    const size_t key_lens[] = {sizeof KEY_CLAIM - 1}, value_lens[] = {encode_claim(is, to)};
    char oid[RADOS_OID_MAX];
    rados_ioctx_t ioctx;
    rados_write_op_t w;
    int r = open_claim(s, name, oid, &ioctx, e);
    ASSERT(to->turn > from->turn);
    if (r)
        return r;
    w = rados_create_write_op();
    if (from->turn == 0)
        rados_write_op_create(w, LIBRADOS_CREATE_EXCLUSIVE, NULL);
    else
        rados_write_op_omap_cmp2(w, KEY_CLAIM, LIBRADOS_CMPXATTR_OP_EQ, (const char *)was,
                                 sizeof KEY_CLAIM - 1, encode_claim(was, from), NULL);
    rados_write_op_omap_set2(w, keys, values, key_lens, value_lens, 1);
    r = rstore_write(s, ioctx, w, oid, 0);
    /* ECANCELED is the OSD's word for another claim, and the fibers' for being stopped. */
    if (r == -EEXIST || r == -ENOENT || (r == -ECANCELED && !fiber_cancelled()))
        return err_set(e, ERR_CONFLICT,
                       "store: the lease of %s is not where it was: another hub "
                       "moved it",
                       name);
    return r < 0 ? rstore_fail(s, e, r, "moving", "", oid) : 0;
}
