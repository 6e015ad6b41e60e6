/* pool_op.h: what the halves of the pool share: what is in it, and one operation on it. */
#ifndef SIM_POOL_OP_H
#define SIM_POOL_OP_H

#include "net.h"
#include "pool.h"

struct object {
    char *key; /* SITE/NAME */
    uint8_t *data;
    size_t len;
};

struct log { /* a group's head and catalog */
    struct log *next;
    char *key;
    struct store_head head; /* rp 0: none */
    struct store_head *entries;
    size_t count;
    uint64_t generation;
};

struct lease {
    struct lease *next;
    char *name;
    struct store_claim claim;
};

struct pool {
    struct world *w;
    struct object *objects; /* sorted by key */
    size_t count, cap;
    struct log *logs;
    struct lease *leases;
    bool away[NET_NODES], full;
    unsigned under_way;
    void (*moved)(void *arg, const char *site, const char *group);
    void *moved_arg;
};

/* Belongs to the pool until both events have fired, and to the caller until it was answered or is
 * dead: whoever is last frees it. */
struct pool_op {
    struct world_event effect, answer; /* effect: first */
    struct pool *pool;
    enum err_code (*run)(struct pool_op *op);
    struct io *io;
    struct io_req *wait; /* NULL: nobody waits for it any more */
    bool effect_over, answer_over, caller_over, timed_out, failed;
    enum err_code res;
    char *site, *name, *after;
    uint8_t *data;
    size_t len;
    uint64_t off, first, last;
    struct store_head from, to;
    struct store_claim claim_from, claim_to;
    struct store_head *heads;
    uint32_t max, count;
    struct store_names names;
};

/* Effects: at one instant, on what is there then. */
enum err_code pool_run_put(struct pool_op *op);
enum err_code pool_run_get(struct pool_op *op);
enum err_code pool_run_size(struct pool_op *op);
enum err_code pool_run_list(struct pool_op *op);
enum err_code pool_run_remove(struct pool_op *op);
enum err_code pool_run_head(struct pool_op *op);
enum err_code pool_run_move(struct pool_op *op);
enum err_code pool_run_catalog(struct pool_op *op);
enum err_code pool_run_generation(struct pool_op *op);
enum err_code pool_run_splice(struct pool_op *op);
enum err_code pool_run_groups(struct pool_op *op);
enum err_code pool_run_claim(struct pool_op *op);
enum err_code pool_run_move_claim(struct pool_op *op);

#endif
