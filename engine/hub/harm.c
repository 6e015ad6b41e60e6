#include "harm.h"

#include "index.h"

#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 64u

/* What nobody has sealed again yet. */
struct lost {
    struct {
        char name[NAME_MAX_LEN + 1];
        roaring_bitmap_t *sectors;
    } volumes[VOLUMES_MAX];
    unsigned count;
};

struct looking {
    struct hub *hub;
    const char *site, *group;
    harm_pace *pace;
    void *arg;
    struct lost lost;
};

const char *harm_name(const struct err *e)
{
    return e->code == ERR_NOENT     ? "missing"
           : e->code == ERR_CORRUPT ? "damaged"
           : e->code == ERR_IO      ? "not readable"
                                    : NULL;
}

int harm_manifest(struct hub *h, const char *site, const char *group, const struct catalog_entry *x,
                  struct manifest *out, struct err *e)
{
    uint8_t *raw;
    int rc = hub_head_manifest(h, site, group, x, &raw, e);
    if (rc < 0)
        return rc;
    rc = manifest_decode(out, raw, x->manifest_len, e);
    free(raw);
    if (rc == 0)
        return 0;
    e->code = ERR_CORRUPT; /* it has the digest, and is none: the store cannot have done that */
    return -(int)ERR_CORRUPT;
}

/* ---- indexes ---- */

/* A piece of a delta that the manifest has the digest of. *out is the caller's after 0. */
static int read_piece(struct looking *l, const struct catalog_entry *x, uint64_t off, uint32_t len,
                      const struct digest *want, uint8_t **out, struct err *e)
{
    struct digest found;
    uint8_t *p = err_malloc(len > 0 ? len : 1);
    int rc = hub_read(l->hub, l->site, l->group, x, off, p, len, e);
    if (rc == 0) {
        digest_of(&found, p, len);
        if (!digest_equal(&found, want))
            rc = err_set(e, ERR_CORRUPT, "%s/%s RP %" PRIu64 ": it has decayed", l->site, l->group,
                         x->rp);
    }
    if (rc == 0)
        *out = p;
    else
        free(p);
    return rc;
}

struct applying {
    struct lost *lost;
    const struct manifest *m;
    const uint8_t *index;
    bool adds; /* what lies in [from, end) is lost; otherwise all is found */
    uint64_t from, end;
    struct err err;
};

static roaring_bitmap_t *lost_of(struct lost *l, const char *volume, bool make)
{
    for (unsigned i = 0; i < l->count; i++)
        if (strcmp(l->volumes[i].name, volume) == 0)
            return l->volumes[i].sectors;
    if (!make)
        return NULL;
    ASSERT(l->count < VOLUMES_MAX); /* of one delta's */
    memcpy(l->volumes[l->count].name, volume, NAME_MAX_LEN + 1);
    l->volumes[l->count].sectors = roaring_bitmap_create();
    ASSERT(l->volumes[l->count].sectors);
    return l->volumes[l->count++].sectors;
}

static int apply(void *arg)
{
    struct applying *a = arg;
    const struct manifest *m = a->m;
    struct index_reader r;
    struct index_entry x;
    int rc;
    index_reader_init(&r, a->index, m->index_len, m->extents, m->volume_count, m->source_count,
                      DELTA_HEADER_LEN, m->index_place);
    while ((rc = index_next(&r, &x, &a->err)) == 1) {
        uint64_t end = (uint64_t)x.sector + x.sectors;
        bool hit = x.place < a->end && x.place + x.sealed_len > a->from && x.sealed_len > 0;
        if (a->adds && !hit)
            continue;
        roaring_bitmap_t *b = lost_of(a->lost, m->volumes[x.volume].name, a->adds);
        if (a->adds)
            roaring_bitmap_add_range(b, x.sector, end);
        else if (b)
            roaring_bitmap_remove_range(b, x.sector, end);
    }
    if (rc < 0)
        a->err.code = ERR_CORRUPT;
    return 0;
}

/* Applies the index of a delta; a damaged one is CORRUPT, missing and so on. */
static int look_at(struct looking *l, const struct catalog_entry *x, const struct manifest *m,
                   struct applying *how, struct err *e)
{
    uint8_t *index;
    int rc = read_piece(l, x, m->index_place, m->index_len, &m->index_digest, &index, e);
    if (rc < 0)
        return rc;
    how->lost = &l->lost;
    how->m = m;
    how->index = index;
    how->err = (struct err)ERR_INIT;
    rc = fio_work(IO_WORK_LOW, apply, how);
    free(index);
    if (rc < 0)
        return err_os(e, rc, "reading an index");
    *e = how->err;
    return -(int)e->code;
}

/* ---- what is lost ---- */

/* Notes what the part held. Damage says that more than sealed bytes is gone. */
static int lose(struct looking *l, const struct catalog_entry *x, uint32_t part, struct err *e)
{
    struct applying how = {.adds = true, .from = (uint64_t)part * PART_SIZE};
    uint8_t header[DELTA_HEADER_LEN], *tables = NULL;
    struct manifest m;
    int rc = harm_manifest(l->hub, l->site, l->group, x, &m, e);
    if (rc < 0)
        return rc;
    how.end = how.from + PART_SIZE;
    if (part == 0)
        rc = hub_read(l->hub, l->site, l->group, x, 0, header, sizeof header, e);
    if (rc == 0 && part == 0 && delta_header_check(header, e) < 0)
        rc = -(int)(e->code = ERR_CORRUPT);
    if (rc == 0)
        rc =
            read_piece(l, x, manifest_tables_place(&m), m.tables_len, &m.tables_digest, &tables, e);
    if (rc == 0)
        rc = look_at(l, x, &m, &how, e);
    free(tables);
    manifest_free(&m);
    return rc;
}

static bool all_found(const struct lost *l)
{
    for (unsigned i = 0; i < l->count; i++)
        if (!roaring_bitmap_is_empty(l->volumes[i].sectors))
            return false;
    return true;
}

static int find(struct looking *l, const struct catalog_entry *x, struct err *e)
{
    struct applying how = {.adds = false};
    struct manifest m;
    int rc = harm_manifest(l->hub, l->site, l->group, x, &m, e);
    if (rc < 0)
        return rc;
    rc = look_at(l, x, &m, &how, e);
    if (rc == 0)
        rc = l->pace(l->arg, (uint64_t)x->manifest_len + m.index_len, e);
    manifest_free(&m);
    return rc;
}

/* Later deltas, until they have sealed all of it again. */
static int find_all(struct looking *l, const struct catalog_entry *x, uint64_t *upto, struct err *e)
{
    struct store *store = l->hub->store;
    struct store_head *raw = err_calloc(WINDOW, sizeof *raw);
    uint64_t after = x->rp;
    uint32_t n = WINDOW, seen = 0;
    int rc = 0;
    if (all_found(&l->lost))
        *upto = x->rp - 1;
    while (rc == 0 && n == WINDOW && seen < HARM_DELTAS && !all_found(&l->lost)) {
        rc = store->ops->catalog(store, l->site, l->group, after, raw, WINDOW, &n, e);
        for (uint32_t i = 0; i < n && rc == 0 && !all_found(&l->lost); i++) {
            struct catalog_entry later;
            struct err why = ERR_INIT;
            after = raw[i].rp;
            seen++;
            rc = catalog_decode(&later, &raw[i], e);
            if (rc == 0 && find(l, &later, &why) < 0 && !harm_name(&why)) {
                *e = why;
                rc = -(int)why.code;
            }
            if (rc == 0 && all_found(&l->lost))
                *upto = after - 1;
        }
    }
    free(raw);
    return rc;
}

int harm_reach(struct hub *h, const char *site, const char *group, const struct catalog_entry *x,
               uint32_t part, harm_pace *pace, void *arg, uint64_t *upto, struct err *e)
{
    struct looking l = {.hub = h, .site = site, .group = group, .pace = pace, .arg = arg};
    struct err why = ERR_INIT;
    *upto = 0;
    int rc = lose(&l, x, part, &why);
    if (rc == 0)
        rc = find_all(&l, x, upto, e);
    else if (harm_name(&why))
        rc = 0;
    else
        *e = why;
    for (unsigned i = 0; i < l.lost.count; i++)
        roaring_bitmap_free(l.lost.volumes[i].sectors);
    return rc;
}
