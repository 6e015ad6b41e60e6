/* store_pick.h: the first STORE_LIST_MAX names, in order, of a listing that comes in any order and
 * any length. Private to engine/store. Memory is bounded by the page, not by the store. Pure. */
#ifndef RELAIS_STORE_PICK_H
#define RELAIS_STORE_PICK_H

#include "store.h"

#include <stdbool.h>

struct store_pick {
    const char *prefix, *after; /* the caller's */
    uint32_t count, cap;
    char (*names)[STORE_NAME_MAX]; /* a heap, the greatest first */
};

struct store_pick store_pick(const char *prefix, const char *after);
void store_pick_add(struct store_pick *p, const char *name);
/* Whether names that start with `stem` can still be wanted: lets a walk skip whole directories. */
bool store_pick_wants(const struct store_pick *p, const char *stem);
/* Sorts; the names become out's. */
void store_pick_finish(struct store_pick *p, struct store_names *out);
void store_pick_drop(struct store_pick *p);

#endif
