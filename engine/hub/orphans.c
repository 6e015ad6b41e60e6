/* Objects that nothing refers to: of puts and compactions that a crash ended, of offers that were
 * never committed, of removals that were cut short.
 *
 * First they are listed, then the catalog is read, then its generation moves on: a compaction that
 * began before cannot end any more, and one that begins later gives its objects other names. */
#include "compact.h"
#include "fault.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

struct hunt {
    struct hub *hub;
    const char *site, *group;
    struct catalog_entry *entries;
    size_t count;
    uint64_t head; /* before the listing */
    char (*names)[STORE_NAME_MAX];
    size_t found, cap;
};

static void add_name(struct hunt *t, const char *name)
{
    uint8_t id[CATALOG_ID_LEN];
    uint64_t rp = 0;
    if (!catalog_parse_name(name, t->group, &rp, id) || rp > t->head)
        return;
    if (t->found == t->cap) {
        t->cap = t->cap > 0 ? t->cap * 2 : 256;
        t->names = err_realloc(t->names, t->cap * sizeof *t->names);
    }
    memcpy(t->names[t->found++], name, STORE_NAME_MAX);
}

static int list_all(struct hunt *t, struct err *e)
{
    struct store *store = t->hub->store;
    char prefix[NAME_MAX_LEN + 2], after[STORE_NAME_MAX] = "";
    uint32_t n = STORE_LIST_MAX;
    (void)snprintf(prefix, sizeof prefix, "%s/", t->group);
    while (n == STORE_LIST_MAX) {
        struct store_names page;
        int rc = store->ops->list(store, t->site, prefix, after, &page, e);
        if (rc < 0)
            return rc;
        for (uint32_t i = 0; i < page.count; i++)
            add_name(t, page.names[i]);
        n = page.count;
        if (n > 0)
            memcpy(after, page.names[n - 1], sizeof after);
        free(page.names);
    }
    return 0;
}

/* The entry of this RP, NULL when there is none. */
static const struct catalog_entry *entry_of(const struct hunt *t, uint64_t rp)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->entries[mid].rp < rp)
            low = mid + 1;
        else
            high = mid;
    }
    return low < t->count && t->entries[low].rp == rp ? &t->entries[low] : NULL;
}

static void drop_referred(struct hunt *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->found; i++) {
        uint8_t id[CATALOG_ID_LEN];
        uint64_t rp = 0;
        bool ours = catalog_parse_name(t->names[i], t->group, &rp, id);
        const struct catalog_entry *x = entry_of(t, rp);
        ASSERT(ours);
        if (!x || memcmp(x->id, id, sizeof id) != 0)
            memmove(t->names[kept++], t->names[i], STORE_NAME_MAX);
    }
    t->found = kept;
}

static int remove_all(struct hunt *t, uint64_t generation, uint64_t *removed, struct err *e)
{
    struct store *store = t->hub->store;
    fault_reached(FAULT_ORPHANS_FOUND);
    int rc = store->ops->splice(store, t->site, t->group, generation, 0, 0, NULL, 0, e);
    fault_reached(FAULT_ORPHANS_MOVED);
    for (size_t i = 0; i < t->found && rc == 0; i++) {
        rc = store->ops->remove(store, t->site, t->names[i], e);
        fault_reached(FAULT_ORPHANS_REMOVED);
        *removed += rc == 0;
    }
    if (rc == 0)
        log_info("hub: %s/%s: %zu objects that nothing refers to were removed", t->site, t->group,
                 t->found);
    return rc;
}

int orphans_remove(struct hub *h, const char *site, const char *group, uint64_t *removed,
                   struct err *e)
{
    struct hunt t = {.hub = h, .site = site, .group = group};
    struct store_head head;
    uint64_t generation = 0;
    int rc = h->store->ops->head(h->store, site, group, &head, e);
    t.head = head.rp;
    if (rc == 0)
        rc = list_all(&t, e);
    if (rc == 0 && t.found > 0)
        rc = compact_load(h, site, group, &generation, &t.entries, &t.count, e);
    if (rc == 0 && t.found > 0)
        drop_referred(&t);
    if (rc == 0 && t.found > 0)
        rc = remove_all(&t, generation, removed, e);
    free(t.names);
    free(t.entries);
    return rc < 0 ? err_prefix(e, "%s/%s: looking for orphans", site, group) : 0;
}
