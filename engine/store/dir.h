/* dir.h: inside the dir store. Private to engine/store.
 *
 *   ROOT/lock                           held while open
 *   ROOT/format                         "relais store 1"
 *   ROOT/tmp/N                          puts under way; emptied at open
 *   ROOT/sites/SITE/objects/...         objects
 *   ROOT/sites/SITE/heads/GROUP/head    the head, replaced as a whole
 *   ROOT/sites/SITE/heads/GROUP/catalog fixed-size slots, appended; the head says how many count;
 *                                       "catalog.N" in generation N
 *
 * A name GROUP/RP16/DIGEST.PART becomes the file GROUP/RP13+/RP3+DIGEST.PART (dir_object_path): one
 * directory per 4096 recovery points, where one for each would cost its making and syncing on every
 * delta, and would stay behind, empty, for ever.
 *
 * What the file system shows may not be durable yet: a rename that nobody synced looks done, to
 * this process and to the next one after a kill -9. So durability is tracked per directory
 * (dir_node), and nothing is trusted that this process has not synced. */
#ifndef RELAIS_DIR_H
#define RELAIS_DIR_H

#include "store.h"
#include "store_gate.h"

#define DIR_ROOT_MAX   600u
#define DIR_PATH_MAX   1024u
#define DIR_NODES_KEPT 128u
#define DIR_PUTS_MAX   64u
#define DIR_GETS_MAX   64u

struct dir_node {
    struct dir_node *next;
    unsigned refs;
    uint64_t used; /* when last, for eviction */
    bool named;    /* its name and those above it are durable */
    /* Syncs are shared: whoever finds none running syncs for all who asked before. */
    uint64_t asked, synced;
    unsigned renaming;
    bool syncing;
    struct fiber_cond done;
    struct fiber_mutex mutex; /* of the group, for a directory of heads */
    char path[];
};

struct dir_store {
    struct store store;
    char root[DIR_ROOT_MAX];
    int lock_fd;
    uint64_t next_tmp, clock;
    struct store_gate gate, reads; /* puts; gets */
    struct fiber_mutex naming;
    struct dir_node *nodes;
    unsigned node_count;
    struct dir_claim { /* in memory: nobody else has the store open */
        char name[NAME_MAX_LEN + 1];
        struct store_claim claim;
    } claims[STORE_LEASES_MAX];
    unsigned claim_count;
};

/* The node of a directory; evicts idle ones past DIR_NODES_KEPT. Every get has its put. */
struct dir_node *dir_node_get(struct dir_store *s, const char *path);
void dir_node_put(struct dir_store *s, struct dir_node *n);
void dir_nodes_free(struct dir_store *s);
/* Makes the directory and those above it, durably. 0 or a negative errno. (waits) */
int dir_node_make(struct dir_store *s, struct dir_node *n);
/* Bracket a rename into the directory; the end makes it durable unless r (the rename's result) is
 * an error, and returns r or the sync's. (waits) */
void dir_node_rename_begin(struct dir_node *n);
int dir_node_rename_end(struct dir_node *n, int r);
/* Makes durable every name that is visible in the directory now. Free when all are. (waits) */
int dir_node_settle(struct dir_node *n);

/* dir and path hold DIR_PATH_MAX. */
void dir_object_path(const struct dir_store *s, const char *site, const char *name, char *dir,
                     char *path);
/* Text for a failed file operation; the codes that store.h promises. */
int dir_fail(struct err *e, int os, const char *what, const char *path);

static inline struct dir_store *dir_of(struct store *store)
{
    return (struct dir_store *)(void *)store;
}

int dir_put(struct store *, const char *site, const char *name, const void *data, size_t len,
            struct err *);
int dir_get(struct store *, const char *site, const char *name, uint64_t off, void *buf, size_t len,
            struct err *);
int dir_size(struct store *, const char *site, const char *name, uint64_t *out, struct err *);
int dir_remove(struct store *, const char *site, const char *name, struct err *);
int dir_list(struct store *, const char *site, const char *prefix, const char *after,
             struct store_names *out, struct err *);
int dir_head(struct store *, const char *site, const char *group, struct store_head *out,
             struct err *);
int dir_move_head(struct store *, const char *site, const char *group,
                  const struct store_head *from, const struct store_head *to, struct err *);
int dir_catalog(struct store *, const char *site, const char *group, uint64_t after,
                struct store_head *out, uint32_t max, uint32_t *count, struct err *);
int dir_generation(struct store *, const char *site, const char *group, uint64_t *out,
                   struct err *);
int dir_splice(struct store *, const char *site, const char *group, uint64_t from, uint64_t first,
               uint64_t last, const struct store_head *to, uint32_t count, struct err *);
int dir_groups(struct store *, const char *site, struct store_names *out, struct err *);

int dir_claim(struct store *, const char *name, struct store_claim *out, struct err *);
int dir_move_claim(struct store *, const char *name, const struct store_claim *from,
                   const struct store_claim *to, struct err *);

#endif
