#include "grants.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct reader *reader_new(const char *site, const char *group,
                                 const struct key_public *signer, struct err *e)
{
    if (!bytes_is_name(site) || !bytes_is_name(group)) {
        (void)err_set(e, ERR_NOENT, "%.60s/%.60s: not names of a site and a group", site, group);
        return NULL;
    }
    struct reader *r = err_calloc(1, sizeof *r);
    r->signer = *signer;
    (void)snprintf(r->site, sizeof r->site, "%s", site);
    (void)snprintf(r->group, sizeof r->group, "%s", group);
    return r;
}

static int load(struct reader **out, struct reader *r,
                void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
                struct err *e)
{
    int rc = history_load(r, progress, arg, e);
    if (rc < 0)
        reader_close(r);
    else
        *out = r;
    return rc;
}

int reader_open(struct reader **out, struct caller *c, const char *site, const char *group,
                const struct key_public *signer,
                void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
                struct err *e)
{
    struct reader *r = reader_new(site, group, signer, e);
    if (!r)
        return -(int)e->code;
    line_init(&r->own, c, NULL, NULL);
    r->line = &r->own;
    return load(out, r, progress, arg, e);
}

int reader_open_all(struct reader **out, struct line *l, const char *site, const char *group,
                    const struct key_public *signer, const struct reader_damage *damage,
                    void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
                    struct err *e)
{
    struct reader *r = reader_new(site, group, signer, e);
    if (!r)
        return -(int)e->code;
    r->line = l;
    r->damage = damage;
    return load(out, r, progress, arg, e);
}

void reader_close(struct reader *r)
{
    if (!r)
        return;
    line_close(&r->own);
    history_forget(r);
    if (r->grants)
        grants_free(r->grants);
    free(r->grants);
    free(r->points);
    free(r->links);
    free(r);
}

bool reader_folded(const struct reader *r, uint64_t rp)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->points[i].rp_first <= rp && rp < r->points[i].rp)
            return true;
    return false;
}

const struct reader_point *reader_points(const struct reader *r, size_t *count)
{
    *count = r->count;
    return r->points;
}

bool reader_link(const struct reader *r, uint64_t rp, struct digest *out)
{
    ssize_t i = history_find(r, rp);
    if (i < 0)
        return false;
    *out = r->links[i].link;
    return true;
}

const struct manifest *reader_manifest(const struct reader *r, uint64_t rp)
{
    ssize_t i = history_find(r, rp);
    if (i < 0)
        return NULL;
    struct history_link *l = &r->links[i];
    if (!l->decoded) {
        l->decoded = err_malloc(sizeof *l->decoded);
        history_decode(r, (size_t)i, l->decoded);
    }
    return l->decoded;
}

/* The number of the newest complete point, or -1. */
static ssize_t newest_complete(const struct reader *r)
{
    for (size_t i = r->count; i-- > 0;)
        if (r->points[i].complete)
            return (ssize_t)i;
    return -1;
}

/* The complete point whose cut is the last at or before `when`, by the site's clock; -1: none. All
 * are looked at: while the clock was wrong, later points were given earlier times, and one of them
 * could hold just what somebody wants to go back behind. */
static ssize_t last_complete(const struct reader *r, int64_t when)
{
    ssize_t found = -1;
    for (size_t i = 0; i < r->count; i++)
        if (r->points[i].complete && r->points[i].cut_time <= when &&
            (found < 0 || r->points[i].cut_time >= r->points[found].cut_time))
            found = (ssize_t)i;
    return found;
}

static int nothing_fits(const struct reader *r, const char *what, struct err *e)
{
    char first[UNITS_TEXT], last[UNITS_TEXT];
    ssize_t newest = newest_complete(r);
    size_t oldest = 0;
    if (newest < 0)
        return err_set(e, ERR_NOENT,
                       "%s/%s: none of the %zu recovery points is complete yet; wait until the "
                       "first seed has been committed",
                       r->site, r->group, r->count);
    while (!r->points[oldest].complete)
        oldest++;
    return err_set(e, ERR_NOENT,
                   "%s/%s: no complete recovery point fits \"%.80s\"; there are RP %" PRIu64
                   " of %s to RP %" PRIu64 " of %s",
                   r->site, r->group, what, r->points[oldest].rp,
                   units_time(first, r->points[oldest].cut_time), r->points[newest].rp,
                   units_time(last, r->points[newest].cut_time));
}

int reader_find(const struct reader *r, const char *what, int64_t now, uint64_t *rp, struct err *e)
{
    ssize_t found = -1;
    if (what[0] == '\0' || strcmp(what, "latest") == 0) {
        found = newest_complete(r);
    } else if (what[0] == '@') {
        int64_t when = 0;
        if (units_parse_time(&when, what + 1, now) < 0)
            return err_set(
                e, ERR_USAGE,
                "\"%.80s\" is no time: write @2026-11-22T12:00:00Z, \"@2026-11-22 12:00\" "
                "or @-90min",
                what);
        found = last_complete(r, when);
    } else {
        char *end = NULL;
        unsigned long long n = strtoull(what, &end, 10);
        if (what[0] < '0' || what[0] > '9' || *end)
            return err_set(e, ERR_USAGE,
                           "\"%.80s\" is no recovery point: write its number, @TIME or latest",
                           what);
        found = history_find(r, n);
        if (found >= 0 && !r->points[found].complete)
            found = -1;
    }
    if (found < 0)
        return nothing_fits(r, what, e);
    *rp = r->points[found].rp;
    return 0;
}
