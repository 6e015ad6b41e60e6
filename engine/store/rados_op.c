/* Operations of librados as waits of fibers. */
#include "rados.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* On a thread of librados. */
static void on_done(rados_completion_t c, void *arg)
{
    struct rstore_op *op = arg;
    /* After post, op may be gone. */
    op->s->io->ops->post(op->s->io, op->wait, rados_aio_get_return_value(c));
}

int rstore_begin(struct rstore_op *op, struct rstore *s, uint64_t bytes)
{
    int r;
    if (fiber_cancelled())
        return -ECANCELED;
    r = store_gate_enter(&s->gate, bytes);
    if (r < 0)
        return r;
    memset(op, 0, sizeof *op); /* req: as FIBER_REQ */
    op->s = s;
    op->bytes = bytes;
    op->wait = fiber_req(&op->req);
    s->io->ops->expect(s->io, op->wait);
    r = rados_aio_create_completion2(op, on_done, &op->done);
    ASSERT(r == 0);
    return 0;
}

int rstore_end(struct rstore_op *op, int submitted)
{
    int r;
    if (submitted < 0) /* then on_done is never called */
        op->s->io->ops->post(op->s->io, op->wait, submitted);
    r = fiber_await_always(&op->req);
    rados_aio_release(op->done);
    store_gate_leave(&op->s->gate, op->bytes);
    return r;
}

int rstore_write(struct rstore *s, rados_ioctx_t ioctx, rados_write_op_t write, const char *oid,
                 uint64_t bytes)
{
    struct rstore_op op;
    int r = rstore_begin(&op, s, bytes);
    if (r == 0)
        r = rstore_end(&op, rados_aio_write_op_operate(write, ioctx, op.done, oid, NULL,
                                                       LIBRADOS_OPERATION_FULL_TRY));
    rados_release_write_op(write);
    return r;
}

int rstore_read(struct rstore *s, rados_ioctx_t ioctx, rados_read_op_t read, const char *oid)
{
    struct rstore_op op;
    int r = rstore_begin(&op, s, 0);
    if (r == 0)
        r = rstore_end(&op, rados_aio_read_op_operate(read, ioctx, op.done, oid, 0));
    rados_release_read_op(read);
    return r;
}

struct open_site {
    struct rstore *s;
    struct rstore_site site;
};

static int open_site(void *arg)
{
    struct open_site *o = arg;
    struct rstore_site *new = &o->site;
    int r = rados_ioctx_create2(o->s->cluster, o->s->pool_id, &new->ioctx);
    if (r < 0)
        return r;
    new->data = new->ioctx;
    if (o->s->data_id != o->s->pool_id)
        r = rados_ioctx_create2(o->s->cluster, o->s->data_id, &new->data);
    if (r < 0) {
        rados_ioctx_destroy(new->ioctx);
        new->ioctx = NULL;
    }
    return r;
}

static const struct rstore_site *find_site(const struct rstore *s, const char *site)
{
    for (uint32_t i = 0; i < s->site_count; i++)
        if (strcmp(s->sites[i].name, site) == 0)
            return &s->sites[i];
    return NULL;
}

static int add_site(struct rstore *s, const char *site, struct err *e)
{
    struct open_site o = {.s = s};
    int r;
    if (s->site_count == PEERS_MAX + 1)
        return err_set(e, ERR_LIMIT, "store: site %s would be the %uth; at most %u are possible",
                       site, PEERS_MAX + 1, PEERS_MAX);
    r = fio_work(IO_WORK_BLOCKING, open_site, &o);
    if (!o.site.ioctx)
        return rstore_fail(s, e, r, "opening the namespace of", site, "");
    /* Also when the fiber was cancelled meanwhile: the next one needs it. "": the default one. */
    rados_ioctx_set_namespace(o.site.ioctx, site);
    rados_ioctx_set_namespace(o.site.data, site);
    (void)snprintf(o.site.name, sizeof o.site.name, "%s", site);
    s->sites[s->site_count++] = o.site;
    return 0;
}

static int find_or_add(struct rstore *s, const char *site, const struct rstore_site **out,
                       struct err *e)
{
    int r;
    *out = find_site(s, site);
    if (*out)
        return 0;
    r = fiber_lock(&s->opening);
    if (r < 0)
        return rstore_fail(s, e, r, "opening the namespace of", site, "");
    *out = find_site(s, site); /* another fiber was quicker */
    if (!*out) {
        r = add_site(s, site, e);
        *out = find_site(s, site);
    }
    fiber_unlock(&s->opening);
    return r;
}

int rstore_site(struct rstore *s, const char *site, rados_ioctx_t *out, struct err *e)
{
    const struct rstore_site *found;
    int r = find_or_add(s, site, &found, e);
    if (r == 0)
        *out = found->ioctx;
    return r;
}

int rstore_data(struct rstore *s, const char *site, rados_ioctx_t *out, struct err *e)
{
    const struct rstore_site *found;
    int r = find_or_add(s, site, &found, e);
    if (r == 0)
        *out = found->data;
    return r;
}

int rstore_fail(const struct rstore *s, struct err *e, int os, const char *what, const char *site,
                const char *oid)
{
    char thing[320];
    (void)snprintf(thing, sizeof thing, "store: %s %s/%s in the Ceph pool '%s'", what, site, oid,
                   s->pool);
    switch (os < 0 ? -os : os) {
    case EPERM:
    case EACCES:
        return err_set(e, ERR_AUTH,
                       "%s: refused; client.%s needs the osd capability 'allow rw pool=%s'", thing,
                       s->user, s->pool);
    case ENOSPC:
    case EDQUOT:
        return err_set(
            e, ERR_SPACE,
            "%s: the pool is full or over its quota ('ceph df', 'ceph osd pool get-quota "
            "%s'); add OSDs, raise the quota, or shorten retention",
            thing, s->pool);
    case ETIMEDOUT:
        return err_set(e, ERR_AGAIN,
                       "%s: no answer within the timeout; see 'ceph status' for OSDs that are down",
                       thing);
    case ESHUTDOWN: /* EBLOCKLISTED */
        return err_set(
            e, ERR_AGAIN,
            "%s: Ceph has blocklisted this client ('ceph osd blocklist ls'); restart the "
            "hub",
            thing);
    case ENOMEM:
        return err_set(e, ERR_AGAIN, "%s: no memory", thing);
    case ENOENT:
        return err_set(e, ERR_NOENT, "%s: there is none", thing);
    case ECANCELED:
        return err_set(e, ERR_CANCELED, "%s: stopped on request", thing);
    default:
        return err_set(e, ERR_IO, "%s: %s", thing, strerror(os < 0 ? -os : os));
    }
}
