/* pool.h: a simulated Ceph pool: one store that the hubs of a world share.
 *
 * An operation is two events: when it takes effect, whole or not at all, and when its caller is
 * answered. Usually one comes soon after the other. But it may be slow, fail, or get no answer
 * within the time-out: and then it took effect long ago, or will minutes later, past whatever was
 * done meanwhile, or never. What a hub had asked for when it died or was cut off is done or not.
 * Heads move by comparing when the operation takes effect. What took effect is durable: a pool
 * loses nothing. */
#ifndef SIM_POOL_H
#define SIM_POOL_H

#include "node.h"
#include "store.h"

struct pool;

struct pool *pool_new(struct world *w);
/* No operation may be under way: see pool_settle. */
void pool_free(struct pool *p);
/* Runs the world until none is. */
void pool_settle(struct pool *p);

/* A store for the process of the calling fiber. */
struct store *pool_open(struct pool *p);

/* That hub's operations, and answers to it, do not arrive (or do again). */
void pool_part(struct pool *p, const struct node *hub, bool away);
void pool_heal(struct pool *p);
/* Nothing more can be put, and no head moved. */
void pool_set_full(struct pool *p, bool full);

/* ---- for the judge: what is in it, whoever asks ---- */

/* Called after each move of a head, and change behind it, at that instant. */
void pool_watch(struct pool *p, void (*moved)(void *arg, const char *site, const char *group),
                void *arg);
/* The head, or NULL. Valid until the next event. */
const struct store_head *pool_head(const struct pool *p, const char *site, const char *group);
/* The catalog, in the order of its entries. */
const struct store_head *pool_catalog(const struct pool *p, const char *site, const char *group,
                                      size_t *count);
/* An object, or NULL. */
const uint8_t *pool_object(const struct pool *p, const char *site, const char *name, size_t *len);

#endif
