/* store.h: where a hub keeps deltas. The second seam: dir (plain files) and rados (Ceph).
 *
 * Objects are immutable once put: names contain the digest of the delta they belong to, a put of a
 * name that exists is idempotent. What changes is a group's head, which moves by compare-and-set,
 * together with the catalog entry of the RP it moves to; and, behind it, entries of the catalog
 * that others replace (splice). Two hubs may share a
 * rados store; a dir store is locked by the one that opened it. What size, list, head, catalog and
 * groups tell of is durable, also when another process put it and was killed.
 *
 * All calls (wait) and are for fibers of the io the store was opened on. `site` is the namespace. A
 * call that timed out may still take effect later: callers repeat it. Besides the errors named
 * below: CANCELED when the fiber is; INPUT when a name is not one (store_name.h); AUTH when Ceph
 * refuses; CORRUPT when what is stored was not written by relais or has decayed. No object may be
 * named like a directory of another's ("a" beside "a/b"). */
#ifndef RELAIS_STORE_H
#define RELAIS_STORE_H

#include "bounds.h"
#include "err.h"
#include "fio.h"

struct store_head {
    uint64_t rp; /* 0: the group has no head yet, and value is empty */
    uint16_t len;
    uint8_t value[STORE_ENTRY_MAX]; /* the hub's catalog entry of that RP (opaque here) */
};

struct store_names {
    uint32_t count;
    char (*names)[STORE_NAME_MAX];
};

/* Logs beside a group's recovery points, moved and listed in the same way, never spliced, each
 * entry with the next number, of which groups() does not tell: "GROUP.readers", "GROUP.policy",
 * "GROUP.usage", "GROUP.scrub", and a hub's own, "HUB.audit" in the namespace of its name. */
#define STORE_READERS ".readers"
#define STORE_POLICY  ".policy"
#define STORE_USAGE   ".usage"
#define STORE_SCRUB   ".scrub"
#define STORE_AUDIT   ".audit"

/* Who has a lease, as the store knows it: what lease.h is made of. Turn 0: nobody ever had it. */
struct store_claim {
    uint64_t turn;                 /* changes whenever it is taken, renewed or released */
    char holder[STORE_HOLDER_MAX]; /* "" when released; made for people to read */
};

struct store;
struct store_ops {
    /* Durable when it returns 0. At most PART_SIZE bytes (else LIMIT). An object of that name and
     * size is left as it is; of another size (only damage can make one) is replaced. Errors: SPACE,
     * IO, AGAIN (the store cannot serve now). */
    int (*put)(struct store *, const char *site, const char *name, const void *data, size_t len,
               struct err *);
    /* Reads exactly len bytes at off. Errors: NOENT, CORRUPT (the object is shorter), IO, AGAIN. */
    int (*get)(struct store *, const char *site, const char *name, uint64_t off, void *buf,
               size_t len, struct err *);
    /* Size of an object. Errors: NOENT, IO, AGAIN. */
    int (*size)(struct store *, const char *site, const char *name, uint64_t *out, struct err *);
    /* Names that start with prefix and sort after `after` ("" for the first), sorted, at most
     * STORE_LIST_MAX; the caller frees out->names. In rados each page walks the site's whole
     * namespace: for repair and retention, not for looking things up. */
    int (*list)(struct store *, const char *site, const char *prefix, const char *after,
                struct store_names *out, struct err *);
    /* 0 also when it is not there. */
    int (*remove)(struct store *, const char *site, const char *name, struct err *);

    /* The newest. 0 with rp 0 when there is none. */
    int (*head)(struct store *, const char *site, const char *group, struct store_head *out,
                struct err *);
    /* Moves the head from exactly `from` (rp 0: creates) to `to`, atomically and durably, and adds
     * `to` to the catalog. to->rp > from->rp. Errors: CONFLICT (the head is another), SPACE, IO,
     * AGAIN. After IO or AGAIN it may have happened: read the head. */
    int (*move_head)(struct store *, const char *site, const char *group,
                     const struct store_head *from, const struct store_head *to, struct err *);
    /* Catalog entries with rp > after, ascending, at most max; *count tells how many. */
    int (*catalog)(struct store *, const char *site, const char *group, uint64_t after,
                   struct store_head *out, uint32_t max, uint32_t *count, struct err *);
    /* How often entries of the group's catalog were replaced. */
    int (*generation)(struct store *, const char *site, const char *group, uint64_t *out,
                      struct err *);
    /* Puts `count` entries in the place of those with first <= rp <= last, atomically and durably,
     * if the generation is still `from`; it is one more then. first <= last < the head's rp, the
     * new entries ascend between them and end at last; or count is 0 and last is 0: only the
     * generation moves on, so that whoever began before must begin anew. Errors: CONFLICT (another
     * generation), SPACE, IO, AGAIN. After IO or AGAIN it may have happened: read the generation.
     */
    int (*splice)(struct store *, const char *site, const char *group, uint64_t from,
                  uint64_t first, uint64_t last, const struct store_head *to, uint32_t count,
                  struct err *);
    /* Groups of a site that have a head, sorted. The caller frees out->names. */
    int (*groups)(struct store *, const char *site, struct store_names *out, struct err *);

    /* The lease of that name (a name as sites have). For lease.c alone. */
    int (*claim)(struct store *, const char *name, struct store_claim *out, struct err *);
    /* Moves it from exactly `from` to `to`, atomically; to->turn > from->turn. Errors: as
     * move_head; after IO or AGAIN it may have happened. */
    int (*move_claim)(struct store *, const char *name, const struct store_claim *from,
                      const struct store_claim *to, struct err *);
    void (*close)(struct store *);
};
struct store {
    const struct store_ops *ops;
};

/* dir: root is made when missing. Errors: IO, SPACE; AGAIN when another process has it open.
 * (waits) */
int store_dir_open(struct store **out, const char *root, struct err *e);

/* rados: connects (bounded by a timeout), checks that the pool exists and may be written. user is
 * the cephx name without "client."; pool is "POOL", or "POOL+DATA" where objects, and they only,
 * are in DATA, which may be erasure-coded. Errors: NET (no monitor answers), AUTH (refused), NOENT
 * (no such pool or file), AGAIN (the pool does not answer), CONFIG (what conf says), each naming
 * what to do. (waits) */
int store_rados_open(struct store **out, const char *ceph_conf, const char *user,
                     const char *keyring, const char *pool, struct err *e);

#endif
