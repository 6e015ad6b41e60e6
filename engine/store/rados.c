/* Connecting to Ceph, and leaving it. */
#include "rados.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORMAT_OID "relais"
#define FORMAT_MAX (64 + RADOS_POOL_MAX)

struct connect {
    const char *conf, *user, *keyring;
    char pool[RADOS_POOL_MAX], data[RADOS_POOL_MAX]; /* the same, unless objects have their own */
    rados_t cluster;
    int64_t pool_id, data_id;
    struct err err;
};

static int configure(struct connect *c)
{
    /* Timeouts are off by default: an operation on a Ceph that is down would wait for ever. An
     * operator's own values in ceph.conf are kept. */
    static const struct {
        const char *key, *value;
        bool unless_set;
    } settings[] = {
        {"rados_osd_op_timeout", RADOS_TIMEOUT_S, true},
        {"rados_mon_op_timeout", RADOS_TIMEOUT_S, true},
        {"client_mount_timeout", RADOS_CONNECT_S, false},
        {"objecter_inflight_ops", "1024", false},
        {"objecter_inflight_op_bytes", "104857600", false},
        {"log_to_stderr", "false", false},
        {"err_to_stderr", "false", false},
    };
    char now[64];
    int r;
    if (access(c->conf, R_OK) != 0)
        return err_os(&c->err, errno, "store: reading Ceph's configuration %s", c->conf);
    if (access(c->keyring, R_OK) != 0)
        return err_os(&c->err, errno, "store: reading the keyring %s of client.%s", c->keyring,
                      c->user);
    r = rados_conf_read_file(c->cluster, c->conf);
    if (r < 0)
        return err_set(&c->err, ERR_CONFIG, "store: Ceph's configuration %s is not understood: %s",
                       c->conf, strerror(-r));
    /* Without it librados would ask the DNS, and fail much later with a text about keys. */
    if (rados_conf_get(c->cluster, "mon_host", now, sizeof now) == 0 && now[0] == '\0')
        return err_set(&c->err, ERR_CONFIG,
                       "store: Ceph's configuration %s names no monitors: give 'mon host' under "
                       "[global]",
                       c->conf);
    r = rados_conf_set(c->cluster, "keyring", c->keyring);
    for (size_t i = 0; r == 0 && i < sizeof settings / sizeof settings[0]; i++) {
        if (settings[i].unless_set &&
            rados_conf_get(c->cluster, settings[i].key, now, sizeof now) == 0 &&
            strtod(now, NULL) > 0)
            continue;
        r = rados_conf_set(c->cluster, settings[i].key, settings[i].value);
    }
    return r < 0 ? err_os(&c->err, r, "store: configuring librados") : 0;
}

static int explain_connect(struct connect *c, int r)
{
    switch (-r) {
    case ETIMEDOUT:
        return err_set(&c->err, ERR_NET,
                       "store: no Ceph monitor of %s answered within " RADOS_CONNECT_S
                       " s: check 'mon host' there, the network, and 'ceph status'",
                       c->conf);
    case EACCES:
    case EPERM:
    case ENOENT: /* the keyring has none of that user */
    case EINVAL:
        return err_set(&c->err, ERR_AUTH,
                       "store: Ceph refused client.%s with the key in %s: compare with 'ceph auth "
                       "get client.%s'",
                       c->user, c->keyring, c->user);
    case EIO:
        return err_set(&c->err, ERR_AUTH,
                       "store: %s cannot be read as a Ceph keyring: write it with 'ceph auth get "
                       "client.%s -o FILE'",
                       c->keyring, c->user);
    default:
        return err_set(&c->err, ERR_NET, "store: connecting to the Ceph of %s: %s", c->conf,
                       strerror(-r));
    }
}

static int find_pool(struct connect *c, const char *pool, int64_t *id)
{
    *id = rados_pool_lookup(c->cluster, pool);
    if (*id == -ENOENT)
        return err_set(&c->err, ERR_NOENT,
                       "store: the Ceph of %s has no pool '%s': ceph-setup makes one", c->conf,
                       pool);
    if (*id < 0)
        return err_os(&c->err, (int)*id, "store: looking for the pool '%s'", pool);
    return 0;
}

static int reach(struct connect *c)
{
    int r = rados_connect(c->cluster);
    if (r < 0)
        return explain_connect(c, r);
    r = find_pool(c, c->pool, &c->pool_id);
    return r < 0 ? r : find_pool(c, c->data, &c->data_id);
}

/* What the format object says. Returns its length. */
static int format_text(const struct connect *c, char dst[FORMAT_MAX])
{
    bool apart = strcmp(c->pool, c->data) != 0;
    return snprintf(dst, FORMAT_MAX, "relais store 1%s%s\n", apart ? ", objects in " : "",
                    apart ? c->data : "");
}

/* Proves that the pool may be written and read, and that what is in it is ours. */
static int check_format(struct connect *c, rados_ioctx_t ioctx)
{
    char text[FORMAT_MAX] = "", format[FORMAT_MAX];
    int len = format_text(c, format);
    rados_write_op_t op = rados_create_write_op();
    int r;
    rados_write_op_create(op, LIBRADOS_CREATE_EXCLUSIVE, NULL);
    rados_write_op_write_full(op, format, (size_t)len);
    r = rados_write_op_operate2(op, ioctx, FORMAT_OID, NULL, LIBRADOS_OPERATION_FULL_TRY);
    rados_release_write_op(op);
    if (r == 0)
        return 0;
    if (r == -EEXIST)
        r = rados_read(ioctx, FORMAT_OID, text, sizeof text - 1, 0);
    if (r == -EPERM || r == -EACCES)
        return err_set(
            &c->err, ERR_AUTH,
            "store: client.%s may not write to the pool '%s': give it the osd capability "
            "'allow rw pool=%s' with 'ceph auth caps'",
            c->user, c->pool, c->pool);
    if (r == -ETIMEDOUT)
        return err_set(&c->err, ERR_AGAIN,
                       "store: the pool '%s' does not answer within the timeout: see 'ceph status' "
                       "for OSDs that are down",
                       c->pool);
    if (r < 0)
        return err_os(&c->err, r, "store: using the pool '%s'", c->pool);
    if (r != len || memcmp(text, format, (size_t)len) != 0)
        return err_set(
            &c->err, ERR_IO,
            "store: the object 'relais' in the pool '%s' says '%.*s', not '%.*s': the pool is used "
            "by something else, by another version of relais, or with another pool for objects",
            c->pool, (int)strcspn(text, "\n"), text, len - 1, format);
    return 0;
}

/* On the blocking pool. 0, or -1 with the error in it. */
static int connect_blocking(void *arg)
{
    struct connect *c = arg;
    rados_ioctx_t ioctx;
    char name[256];
    int r;
    (void)snprintf(name, sizeof name, "client.%s", c->user);
    c->err.code = ERR_OK;
    r = rados_create2(&c->cluster, "ceph", name, 0);
    if (r < 0) {
        c->cluster = NULL;
        (void)err_os(&c->err, r, "store: starting librados");
        return -1;
    }
    if (configure(c) == 0 && reach(c) == 0) {
        r = rados_ioctx_create2(c->cluster, c->pool_id, &ioctx);
        if (r < 0) {
            (void)err_os(&c->err, r, "store: opening the pool '%s'", c->pool);
        } else {
            (void)check_format(c, ioctx);
            rados_ioctx_destroy(ioctx);
        }
    }
    if (c->err.code == ERR_OK || c->err.code == ERR_SPACE) /* a full pool can still be read */
        return 0;
    rados_shutdown(c->cluster);
    c->cluster = NULL;
    return -1;
}

static int shutdown_blocking(void *arg)
{
    struct rstore *s = arg;
    for (uint32_t i = 0; i < s->site_count; i++) {
        if (s->sites[i].data != s->sites[i].ioctx)
            rados_ioctx_destroy(s->sites[i].data);
        rados_ioctx_destroy(s->sites[i].ioctx);
    }
    rados_shutdown(s->cluster);
    return 0;
}

static void rstore_close(struct store *store)
{
    struct rstore *s = rstore_of(store);
    struct fiber_req req = FIBER_REQ;
    ASSERT(s->gate.ops == 0);
    s->io->ops->work(s->io, fiber_req(&req), IO_WORK_BLOCKING, shutdown_blocking, s);
    (void)fiber_await_always(&req);
    free(s->pool);
    free(s->user);
    free(s);
}

static const struct store_ops rstore_ops = {
    .put = rstore_put,
    .get = rstore_get,
    .size = rstore_size,
    .list = rstore_list,
    .remove = rstore_remove,
    .head = rstore_head,
    .move_head = rstore_move_head,
    .catalog = rstore_catalog,
    .generation = rstore_generation,
    .splice = rstore_splice,
    .groups = rstore_groups,
    .claim = rstore_claim,
    .move_claim = rstore_move_claim,
    .close = rstore_close,
};

int store_rados_open(struct store **out, const char *ceph_conf, const char *user,
                     const char *keyring, const char *pool, struct err *e)
{
    struct connect c = {.conf = ceph_conf, .user = user, .keyring = keyring, .err = ERR_INIT};
    const char *apart = strchr(pool, '+');
    struct fiber_req req = FIBER_REQ;
    struct io *io = fiber_io();
    struct rstore *s;
    int r;
    (void)snprintf(c.pool, sizeof c.pool, "%.*s", apart ? (int)(apart - pool) : RADOS_POOL_MAX - 1,
                   pool);
    (void)snprintf(c.data, sizeof c.data, "%s", apart ? apart + 1 : pool);
    io->ops->work(io, fiber_req(&req), IO_WORK_BLOCKING, connect_blocking, &c);
    r = fiber_await_always(&req);
    if (r < 0 && c.err.code == ERR_OK)
        return err_os(e, r, "store: connecting to the Ceph of %s", ceph_conf);
    if (r < 0) {
        *e = c.err;
        return -(int)e->code;
    }
    s = err_calloc(1, sizeof *s);
    s->store.ops = &rstore_ops;
    s->io = io;
    s->cluster = c.cluster;
    s->pool_id = c.pool_id;
    s->data_id = c.data_id;
    s->pool = err_strdup(pool);
    s->user = err_strdup(user);
    s->gate.ops_max = RADOS_OPS_MAX;
    s->gate.bytes_max = RADOS_BYTES_MAX;
    *out = &s->store;
    return 0;
}
