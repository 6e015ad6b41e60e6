/* rados.h: inside the rados store. Private to engine/store.
 *
 * In the pool, per site a namespace:
 *   o/NAME       objects
 *   head.GROUP   omap: "head" = rp u64 and value; "rp.RP16" = value, the catalog; "generation" =
 *                u64, once entries were replaced
 *   groups       omap: a key for each group that ever was given a head
 * and in the default namespace the object "relais" that says which format this is, and
 *   lease.NAME   omap: "claim" = turn u64 and holder
 *
 * Objects may be in a pool of their own, which may be erasure-coded ("POOL+DATA"): only they; omap
 * needs a replicated one. The format object says so, lest a hub look for them elsewhere.
 *
 * librados answers on threads of its own; a callback posts the result to the loop and does nothing
 * else. A fiber that is cancelled still waits for its operation, because its buffers are in use
 * until then. Everything that can block (connecting, opening a namespace, listing, closing) runs on
 * the blocking pool. */
#ifndef RELAIS_RADOS_H
#define RELAIS_RADOS_H

#include "store.h"
#include "store_gate.h"

#include <rados/librados.h>

#define RADOS_OPS_MAX   128u
#define RADOS_BYTES_MAX (64 * MIB)
#define RADOS_OID_MAX   (STORE_NAME_MAX + 8)
#define RADOS_POOL_MAX  128
#define RADOS_OBJECT    "o/"
#define RADOS_HEAD      "head."
#define RADOS_GROUPS    "groups"
#define RADOS_LEASE     "lease."
#define RADOS_TIMEOUT_S "30"
#define RADOS_CONNECT_S "10"

_Static_assert(RADOS_BYTES_MAX < 100 * MIB && RADOS_OPS_MAX < 1024,
               "below objecter_inflight_op_bytes and objecter_inflight_ops, which rados.c sets");

struct rstore_site {
    char name[NAME_MAX_LEN + 1];
    rados_ioctx_t ioctx,
        data; /* where objects are; the same, unless they have a pool of their own */
};

struct rstore {
    struct store store;
    struct io *io;
    rados_t cluster;
    int64_t pool_id, data_id; /* the same, unless objects have a pool of their own */
    char *pool, *user;
    struct store_gate gate;
    struct fiber_mutex opening;
    struct rstore_site sites[PEERS_MAX + 1]; /* and the default namespace */
    uint32_t site_count;
};

/* One operation of librados in flight. begin, then submit with op.done as the completion, then end
 * with what submitting returned. */
struct rstore_op {
    struct rstore *s;
    struct fiber_req req;
    struct io_req *wait;
    rados_completion_t done;
    uint64_t bytes;
};

/* 0, or -ECANCELED when the fiber is cancelled: then nothing was begun. (waits) */
int rstore_begin(struct rstore_op *op, struct rstore *s, uint64_t bytes);
/* The operation's result. (waits) */
int rstore_end(struct rstore_op *op, int submitted);
/* Run a compound operation and release it. Writes fail on a full pool instead of waiting for room.
 * (waits) */
int rstore_write(struct rstore *s, rados_ioctx_t ioctx, rados_write_op_t write, const char *oid,
                 uint64_t bytes);
int rstore_read(struct rstore *s, rados_ioctx_t ioctx, rados_read_op_t read, const char *oid);

/* The site's namespace, "" for the default one; opened once, kept. Errors: LIMIT and as
 * rstore_fail. (waits) */
int rstore_site(struct rstore *s, const char *site, rados_ioctx_t *out, struct err *e);
/* The same for its objects. */
int rstore_data(struct rstore *s, const char *site, rados_ioctx_t *out, struct err *e);
/* Text and code for a negative errno of librados. */
int rstore_fail(const struct rstore *s, struct err *e, int os, const char *what, const char *site,
                const char *oid);

static inline struct rstore *rstore_of(struct store *store)
{
    return (struct rstore *)(void *)store;
}

int rstore_put(struct store *, const char *site, const char *name, const void *data, size_t len,
               struct err *);
int rstore_get(struct store *, const char *site, const char *name, uint64_t off, void *buf,
               size_t len, struct err *);
int rstore_size(struct store *, const char *site, const char *name, uint64_t *out, struct err *);
int rstore_remove(struct store *, const char *site, const char *name, struct err *);
int rstore_list(struct store *, const char *site, const char *prefix, const char *after,
                struct store_names *out, struct err *);
int rstore_head(struct store *, const char *site, const char *group, struct store_head *out,
                struct err *);
int rstore_move_head(struct store *, const char *site, const char *group,
                     const struct store_head *from, const struct store_head *to, struct err *);
int rstore_catalog(struct store *, const char *site, const char *group, uint64_t after,
                   struct store_head *out, uint32_t max, uint32_t *count, struct err *);
int rstore_generation(struct store *, const char *site, const char *group, uint64_t *out,
                      struct err *);
int rstore_splice(struct store *, const char *site, const char *group, uint64_t from,
                  uint64_t first, uint64_t last, const struct store_head *to, uint32_t count,
                  struct err *);
int rstore_groups(struct store *, const char *site, struct store_names *out, struct err *);

int rstore_claim(struct store *, const char *name, struct store_claim *out, struct err *);
int rstore_move_claim(struct store *, const char *name, const struct store_claim *from,
                      const struct store_claim *to, struct err *);

#endif
