/* territory.c sums up sites for people: the groups of a site, how far they are, whether it is here.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW      250u /* catalog entries read at a time */
#define WINDOWS_MAX 40u  /* how far back the newest complete RP is looked for */

static bool is_connected(const struct hub *h, const char *site)
{
    for (const struct session *s = h->sessions; s; s = s->next)
        if (!s->done && s->config && strcmp(s->peer, site) == 0)
            return true;
    return false;
}

/* Entries of (after, upto], newest complete one into g. */
static int complete_within(struct hub *h, Relais__HubGroup *g, uint64_t after, uint64_t upto,
                           struct store_head *raw, struct err *e)
{
    struct catalog_entry entry;
    uint32_t n = 0;
    int rc = h->store->ops->catalog(h->store, g->site, g->group, after, raw, WINDOW, &n, e);
    if (rc < 0)
        return rc;
    for (uint32_t i = n; i-- > 0;) {
        if (raw[i].rp > upto)
            continue;
        rc = catalog_decode(&entry, &raw[i], e);
        if (rc < 0)
            return rc;
        if (entry.flags & MANIFEST_COMPLETE) {
            g->complete_rp = entry.rp;
            g->complete_cut_time = entry.cut_time;
            return 0;
        }
    }
    return 0;
}

/* Walks back through stretches that are not complete. */
static int find_complete(struct hub *h, Relais__HubGroup *g, struct err *e)
{
    struct store_head *raw = err_calloc(WINDOW, sizeof *raw);
    uint64_t upto = g->rp;
    int rc = 0;
    for (unsigned i = 0; i < WINDOWS_MAX && upto > 0 && g->complete_rp == 0 && rc == 0; i++) {
        uint64_t after = upto > WINDOW ? upto - WINDOW : 0;
        rc = complete_within(h, g, after, upto, raw, e);
        upto = after;
    }
    free(raw);
    return rc;
}

static int fill_row(struct territory_row *row, struct hub *h, const char *site, const char *group,
                    struct err *e)
{
    struct store_head raw;
    struct catalog_entry head;
    Relais__HubGroup *g = &row->group;
    relais__hub_group__init(g);
    (void)snprintf(row->site_name, sizeof row->site_name, "%s", site);
    (void)snprintf(row->group_name, sizeof row->group_name, "%s", group);
    g->site = row->site_name;
    g->group = row->group_name;
    g->connected = is_connected(h, site);
    int rc = hub_head(h, site, group, &raw, &head, e);
    if (rc < 0)
        return rc;
    g->rp = head.rp;
    g->cut_time = head.cut_time;
    g->committed_time = head.committed_time;
    if (head.flags & MANIFEST_COMPLETE) {
        g->complete_rp = head.rp;
        g->complete_cut_time = head.cut_time;
        return 0;
    }
    return find_complete(h, g, e);
}

int territory_add(struct territory *t, struct hub *h, const char *site, struct err *e)
{
    struct store_names names = {0};
    int rc = h->store->ops->groups(h->store, site, &names, e);
    if (rc < 0)
        return rc;
    size_t total = t->count + names.count;
    t->rows = err_realloc(t->rows, total * sizeof *t->rows);
    t->groups = err_realloc(t->groups, total * sizeof *t->groups);
    for (uint32_t i = 0; i < names.count && rc == 0; i++) {
        rc = fill_row(&t->rows[t->count], h, site, names.names[i], e);
        t->count += rc == 0;
    }
    free(names.names);
    /* The rows may have moved: their messages point into them. */
    for (size_t i = 0; i < t->count; i++) {
        t->rows[i].group.site = t->rows[i].site_name;
        t->rows[i].group.group = t->rows[i].group_name;
        t->groups[i] = &t->rows[i].group;
    }
    return rc;
}

void territory_free(struct territory *t)
{
    free(t->rows);
    free(t->groups);
    memset(t, 0, sizeof *t);
}
