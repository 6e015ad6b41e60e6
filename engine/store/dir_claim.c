/* Claims of a dir store, which one process has open: they live as long as that. */
#include "dir.h"

#include "store_name.h"

#include <stdio.h>
#include <string.h>

static struct dir_claim *find(struct dir_store *s, const char *name)
{
    for (unsigned i = 0; i < s->claim_count; i++)
        if (strcmp(s->claims[i].name, name) == 0)
            return &s->claims[i];
    return NULL;
}

int dir_claim(struct store *store, const char *name, struct store_claim *out, struct err *e)
{
    int r = store_name_lease(name, e);
    const struct dir_claim *c = r ? NULL : find(dir_of(store), name);
    *out = c ? c->claim : (struct store_claim){0};
    return r;
}

int dir_move_claim(struct store *store, const char *name, const struct store_claim *from,
                   const struct store_claim *to, struct err *e)
{
    struct dir_store *s = dir_of(store);
    int r = store_name_lease(name, e);
    struct dir_claim *c = r ? NULL : find(s, name);
    ASSERT(to->turn > from->turn);
    if (r)
        return r;
    if (from->turn != (c ? c->claim.turn : 0) ||
        strcmp(from->holder, c ? c->claim.holder : "") != 0)
        return err_set(e, ERR_CONFLICT, "store: the lease of %s is not where it was", name);
    if (!c && s->claim_count == STORE_LEASES_MAX)
        return err_set(e, ERR_LIMIT,
                       "store: the lease of %s would be the %uth; at most %u are "
                       "possible",
                       name, STORE_LEASES_MAX + 1, STORE_LEASES_MAX);
    if (!c) {
        c = &s->claims[s->claim_count++];
        (void)snprintf(c->name, sizeof c->name, "%s", name);
    }
    c->claim = *to;
    return 0;
}
