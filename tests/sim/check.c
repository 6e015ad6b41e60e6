#include "check.h"

#include "check_delta.h"
#include "err.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct cut {
    uint64_t number;
    uint64_t instant;              /* of the ledger */
    uint64_t *sums[CHECK_VOLUMES]; /* one per sector */
    uint64_t sizes[CHECK_VOLUMES];
};

struct point {                        /* an RP that was seen, if it was complete */
    bool complete, there;             /* there: it is still offered */
    uint64_t cut, instant, committed; /* committed: virtual time, if the hub's clock is right */
    uint64_t sums[CHECK_VOLUMES], sizes[CHECK_VOLUMES];
    uint64_t meets; /* the newest mark that was asked for, and whose RP it may be */
};

struct promise { /* a mark that was committed */
    uint64_t rp, asked;
};

struct check {
    struct world *w;
    struct check_store store;
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    struct check_image image;
    struct nonces *nonces;
    struct cut *cuts;
    size_t cut_count, cut_cap;
    struct digest *links; /* of each RP that was seen, by RP; zero where none ended there */
    struct point *points; /* likewise */
    uint64_t link_count;
    uint64_t keep;    /* ns; 0: for ever; LEDGER_NEVER: not known */
    uint64_t history; /* a sum of the catalog entries that were applied */
    uint64_t good_from;
    struct ledger *ledger; /* NULL: no volume is captured */
    uint64_t *asks;        /* instants */
    size_t ask_count;
    struct promise *promises;
    size_t promise_count;
    uint64_t acked, marked; /* an RP; a cut */
    /* how far the image is */
    uint64_t rp, complete_cut;
    struct digest tip, link; /* of the manifest there; what the next must name as its parent */
    uint64_t instant;        /* the captured volumes' newest cut is not before it */
};

struct check *check_new(struct world *w, const struct check_store *store, const char *site,
                        const char *group, const struct key_public *signer,
                        struct key_secret *restore, struct nonces *nonces)
{
    struct check *c = err_calloc(1, sizeof *c);
    c->w = w;
    c->store = *store;
    (void)snprintf(c->site, sizeof c->site, "%s", site);
    (void)snprintf(c->group, sizeof c->group, "%s", group);
    c->image.site = c->site;
    c->image.group = c->group;
    c->image.signer = signer;
    c->image.restore = restore;
    c->nonces = nonces;
    return c;
}

void check_free(struct check *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->cut_count; i++)
        for (unsigned v = 0; v < c->image.count; v++)
            free(c->cuts[i].sums[v]);
    for (unsigned v = 0; v < c->image.count; v++)
        free(c->image.volumes[v].content);
    free(c->cuts);
    free(c->links);
    free(c->points);
    free(c->asks);
    free(c->promises);
    free(c);
}

static uint64_t sectors_of(uint64_t size)
{
    return (size + SECTOR_SIZE - 1) / SECTOR_SIZE;
}

void check_add_volume(struct check *c, const char *name, uint64_t size, uint64_t max)
{
    struct check_volume *v = &c->image.volumes[c->image.count++];
    ASSERT(c->image.count <= CHECK_VOLUMES);
    (void)snprintf(v->name, sizeof v->name, "%s", name);
    v->size = size;
    v->max = max;
    v->content = err_calloc(sectors_of(max), SECTOR_SIZE);
}

void check_grown(struct check *c, unsigned volume, uint64_t size)
{
    struct check_volume *v = &c->image.volumes[volume];
    ASSERT(size >= v->size && size <= v->max);
    v->size = size;
    c->w->did[DEED_GROWN]++;
}

void check_add_captured(struct check *c, const char *name, uint64_t size, uint64_t max,
                        struct ledger *l)
{
    check_add_volume(c, name, size, max);
    c->image.volumes[c->image.count - 1].captured = true;
    c->ledger = l;
}

/* ---- the model ---- */

static uint64_t sum_of(const uint8_t *p, size_t len)
{
    uint64_t h = len;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = 0;
        memcpy(&word, p + i, len - i < 8 ? len - i : 8);
        h = (h ^ word) * UINT64_C(0x9fb21c651e98df25);
        h ^= h >> 29;
    }
    return h;
}

static size_t sector_len(uint64_t size, uint64_t sector)
{
    uint64_t left = size - sector * SECTOR_SIZE;
    return left < SECTOR_SIZE ? (size_t)left : SECTOR_SIZE;
}

void check_cut(struct check *c, uint64_t number, const uint8_t *const contents[])
{
    struct cut *cut;
    c->w->did[DEED_CUT]++;
    if (c->cut_count == c->cut_cap) {
        c->cut_cap = c->cut_cap ? 2 * c->cut_cap : 16;
        c->cuts = err_realloc(c->cuts, c->cut_cap * sizeof *c->cuts);
    }
    cut = &c->cuts[c->cut_count++];
    *cut = (struct cut){.number = number, .instant = c->ledger ? ledger_now(c->ledger) : 0};
    for (unsigned i = 0; i < c->image.count; i++) {
        const struct check_volume *v = &c->image.volumes[i];
        if (v->captured)
            continue;
        cut->sizes[i] = v->size;
        cut->sums[i] = err_calloc(sectors_of(v->size), sizeof *cut->sums[i]);
        for (uint64_t s = 0; s < sectors_of(v->size); s++)
            cut->sums[i][s] = sum_of(contents[i] + s * SECTOR_SIZE, sector_len(v->size, s));
    }
}

void check_acked(struct check *c, uint64_t rp)
{
    if (rp > c->acked)
        c->acked = rp;
}

uint64_t check_asked(struct check *c)
{
    if (!c->ledger)
        return 0;
    c->asks = err_realloc(c->asks, (c->ask_count + 1) * sizeof *c->asks);
    return c->asks[c->ask_count++] = ledger_now(c->ledger);
}

void check_marked(struct check *c, uint64_t rp, uint64_t cut, uint64_t asked)
{
    check_acked(c, rp);
    c->w->did[DEED_MARK]++;
    if (cut > c->marked)
        c->marked = cut;
    if (asked == 0)
        return;
    c->promises = err_realloc(c->promises, (c->promise_count + 1) * sizeof *c->promises);
    c->promises[c->promise_count++] = (struct promise){rp, asked};
}

uint64_t check_head_cut(const struct check *c)
{
    return c->complete_cut;
}

static const struct cut *find_cut(const struct check *c, uint64_t number)
{
    for (size_t i = 0; i < c->cut_count; i++)
        if (c->cuts[i].number == number)
            return &c->cuts[i];
    return NULL;
}

static bool volume_equal(struct check *c, const struct cut *cut, unsigned i, const uint8_t *content,
                         uint64_t size, const char *what, uint64_t rp)
{
    const struct check_volume *v = &c->image.volumes[i];
    if (size != cut->sizes[i])
        world_fail(c->w,
                   "%s/%s: %s %" PRIu64 ": volume %s has %" PRIu64 " bytes, it had %" PRIu64
                   " at cut %" PRIu64,
                   c->site, c->group, what, rp, v->name, size, cut->sizes[i], cut->number);
    for (uint64_t s = 0; s < sectors_of(size) && !c->w->failed; s++) {
        if (sum_of(content + s * SECTOR_SIZE, sector_len(size, s)) == cut->sums[i][s])
            continue;
        world_fail(c->w,
                   "%s/%s: %s %" PRIu64 " differs from cut %" PRIu64
                   " in volume %s, sector %" PRIu64,
                   c->site, c->group, what, rp, cut->number, v->name, s);
        return false;
    }
    return !c->w->failed;
}

/* The scanned volumes: the cut that they are, or NULL. */
static const struct cut *compare_scanned(struct check *c, unsigned first)
{
    uint64_t number = bytes_le64(c->image.volumes[first].content);
    const struct cut *cut = find_cut(c, number);
    if (!cut) {
        world_fail(c->w,
                   "%s/%s: complete RP %" PRIu64 " says that it is cut %" PRIu64
                   ", which there was not",
                   c->site, c->group, c->rp, number);
        return NULL;
    }
    if (number < c->complete_cut)
        world_fail(c->w,
                   "%s/%s: RP %" PRIu64 " is cut %" PRIu64 ", but an earlier RP is cut %" PRIu64,
                   c->site, c->group, c->rp, number, c->complete_cut);
    c->complete_cut = number;
    for (unsigned i = first; i < c->image.count; i++)
        if (!c->image.volumes[i].captured && !volume_equal(c, cut, i, c->image.volumes[i].content,
                                                           c->image.volumes[i].shown, "RP", c->rp))
            return NULL;
    return cut;
}

static void captured_images(const struct check *c, const uint8_t *images[CHECK_VOLUMES])
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->image.count; i++)
        if (c->image.volumes[i].captured)
            images[n++] = c->image.volumes[i].content;
}

/* The captured volumes; cut: what the scanned ones are, NULL when there are none. */
static void compare_captured(struct check *c, const struct cut *cut)
{
    const uint8_t *images[CHECK_VOLUMES];
    uint64_t from = cut && cut->instant > c->instant ? cut->instant : c->instant;
    uint64_t until = cut && cut < c->cuts + c->cut_count - 1 ? cut[1].instant : LEDGER_NEVER;
    struct point *p = &c->points[c->rp];
    char why[200];
    uint64_t at;
    captured_images(c, images);
    at = ledger_cut(c->ledger, images, from, why, sizeof why);
    if (at >= until) {
        world_fail(c->w, "%s/%s: RP %" PRIu64 " is no cut of its captured volumes%s: %s", c->site,
                   c->group, c->rp, at == LEDGER_NEVER ? "" : " at the time of its scanned ones",
                   at == LEDGER_NEVER ? why : "it holds what was written later");
        return;
    }
    c->instant = at;
    c->w->did[DEED_CAPTURED]++;
    for (size_t i = c->ask_count; i > 0 && p->meets < c->asks[i - 1]; i--)
        if (c->asks[i - 1] <= at ||
            ledger_cut(c->ledger, images, c->asks[i - 1], why, sizeof why) < until)
            p->meets = c->asks[i - 1];
}

static void compare(struct check *c)
{
    const struct cut *cut = NULL;
    struct point *p = &c->points[c->rp];
    unsigned first = 0;
    *p = (struct point){.complete = true};
    while (first < c->image.count && c->image.volumes[first].captured)
        first++;
    if (first < c->image.count && !(cut = compare_scanned(c, first)))
        return;
    if (c->ledger)
        compare_captured(c, cut);
    for (unsigned i = 0; i < c->image.count; i++) {
        p->sizes[i] = c->image.volumes[i].shown;
        p->sums[i] = sum_of(c->image.volumes[i].content, p->sizes[i]);
    }
}

/* What was committed for a mark holds what was acknowledged before it was asked for. */
static void check_promises(struct check *c)
{
    for (size_t i = 0; i < c->promise_count && !c->w->failed; i++) {
        struct promise *m = &c->promises[i];
        const struct point *p;
        /* Merged with those after it while it waited: the delta that stands for it has it all. */
        while (m->rp < c->rp && digest_is_zero(&c->links[m->rp]))
            m->rp++;
        p = &c->points[m->rp];
        if (m->rp > c->rp || !p->complete || p->meets < m->asked)
            world_fail(c->w, "%s/%s: RP %" PRIu64 " was committed for a mark, but %s", c->site,
                       c->group, m->rp,
                       m->rp > c->rp || !p->complete
                           ? "there is no complete RP of that number"
                           : "lacks what was acknowledged before the mark was asked for");
    }
    c->promise_count = 0;
}

void check_settled(struct check *c, unsigned volume, const uint8_t *content)
{
    const struct check_volume *v = &c->image.volumes[volume];
    if (v->shown != v->size)
        world_fail(c->w,
                   "%s/%s: volume %s has %" PRIu64 " bytes, and %" PRIu64
                   " in the newest RP %" PRIu64,
                   c->site, c->group, v->name, v->size, v->shown, c->rp);
    for (uint64_t s = 0; s < sectors_of(v->size) && !c->w->failed; s++)
        if (memcmp(v->content + s * SECTOR_SIZE, content + s * SECTOR_SIZE,
                   sector_len(v->size, s)) != 0)
            world_fail(c->w,
                       "%s/%s: volume %s is at rest, and differs from the newest RP %" PRIu64
                       " in sector %" PRIu64,
                       c->site, c->group, v->name, c->rp, s);
}

void check_restored(struct check *c, unsigned volume, const uint8_t *content, size_t len,
                    uint64_t rp)
{
    const struct cut *cut;
    c->w->did[DEED_RESTORE]++;
    cut = len >= 8 ? find_cut(c, bytes_le64(content)) : NULL;
    if (c->image.volumes[volume].captured) {
        check_run(c);
        if (rp <= c->rp && (!c->points[rp].complete || len != c->points[rp].sizes[volume] ||
                            c->points[rp].sums[volume] != sum_of(content, len)))
            world_fail(c->w,
                       "%s/%s@%" PRIu64 ": volume %s was restored to other bytes than the RP's",
                       c->site, c->group, rp, c->image.volumes[volume].name);
        return;
    }
    if (!cut)
        world_fail(c->w, "%s/%s@%" PRIu64 ": restored %zu bytes that are no cut", c->site, c->group,
                   rp, len);
    else
        (void)volume_equal(c, cut, volume, content, len, "restored RP", rp);
}

/* ---- the history ---- */

/* All objects of a delta, one after the other. */
static uint8_t *assemble(struct check *c, const struct check_entry *e)
{
    uint8_t *file = err_malloc(e->file_len);
    uint64_t at = 0;
    for (unsigned part = 0; at < e->file_len; part++) {
        size_t len, want = e->file_len - at < PART_SIZE ? (size_t)(e->file_len - at) : PART_SIZE;
        uint8_t *p = check_store_object(&c->store, c->site, c->group, e->rp, e->id, part, &len);
        if (!p || len != want) {
            world_fail(c->w, "%s/%s: object %u of committed RP %" PRIu64 " %s", c->site, c->group,
                       part, e->rp, p ? "has the wrong length" : "is missing");
            free(p);
            free(file);
            return NULL;
        }
        memcpy(file + at, p, len);
        free(p);
        at += len;
    }
    return file;
}

/* What was acknowledged stays what it was; what others replace keeps its link. */
static void remember(struct check *c, const struct check_entry *e)
{
    struct digest *known;
    if (e->rp >= c->link_count) {
        uint64_t count = 2 * e->rp + 16;
        c->links = err_realloc(c->links, count * sizeof *c->links);
        memset(c->links + c->link_count, 0, (count - c->link_count) * sizeof *c->links);
        c->points = err_realloc(c->points, count * sizeof *c->points);
        memset(c->points + c->link_count, 0, (count - c->link_count) * sizeof *c->points);
        c->link_count = count;
    }
    known = &c->links[e->rp];
    if (!digest_equal(known, &e->link)) {
        if (!digest_is_zero(known) && e->rp <= c->acked)
            world_fail(c->w, "%s/%s: RP %" PRIu64 ", which was acknowledged, is another one now",
                       c->site, c->group, e->rp);
        c->points[e->rp] = (struct point){0};
    }
    *known = e->link;
}

/* An RP that was compared before, and whose deltas others have replaced since. */
static void compare_again(struct check *c)
{
    const struct point *p = &c->points[c->rp];
    for (unsigned i = 0; i < c->image.count; i++)
        if (p->sizes[i] != c->image.volumes[i].shown ||
            p->sums[i] != sum_of(c->image.volumes[i].content, p->sizes[i])) {
            world_fail(c->w,
                       "%s/%s: compaction made RP %" PRIu64 " another: volume %s holds other bytes",
                       c->site, c->group, c->rp, c->image.volumes[i].name);
            return;
        }
    c->complete_cut = p->cut;
    c->instant = p->instant;
}

static void take_point(struct check *c, const struct check_entry *e)
{
    struct point *p = &c->points[e->rp];
    if (p->complete) {
        compare_again(c);
    } else {
        c->w->complete++;
        compare(c);
        p->cut = c->complete_cut;
        p->instant = c->instant;
        p->committed = (uint64_t)(e->committed - INT64_C(1795000000) * (int64_t)IO_S);
    }
    p->there = true;
}

static bool follow(struct check *c, const struct check_entry *e)
{
    struct err err = ERR_INIT;
    bool complete;
    uint8_t *file;
    if (e->rp_first != c->rp + 1 || e->rp < e->rp_first || !digest_equal(&e->parent, &c->link)) {
        world_fail(c->w,
                   "%s/%s: catalog entry %" PRIu64 "-%" PRIu64 " does not continue RP %" PRIu64,
                   c->site, c->group, e->rp_first, e->rp, c->rp);
        return false;
    }
    file = assemble(c, e);
    if (!file)
        return false;
    if (check_delta_apply(&c->image, e, file, &complete, &err))
        world_fail(c->w, "%s/%s: committed RP %" PRIu64 ": %s", c->site, c->group, e->rp, err.text);
    else
        nonces_take(c->nonces, c->site, c->image.signer, file, e->file_len);
    free(file);
    if (c->w->failed)
        return false;
    remember(c, e);
    c->rp = e->rp;
    c->tip = e->digest;
    c->link = e->link;
    if (e->good_from > c->good_from)
        c->good_from = e->good_from;
    c->w->checked++;
    c->w->did[DEED_MERGED] += e->rp_first < e->rp;
    if (complete && e->rp >= c->good_from)
        take_point(c, e);
    return !c->w->failed;
}

/* From nothing: the hub's disk went back behind what had been seen (but not acknowledged). */
static void start_over(struct check *c)
{
    for (unsigned v = 0; v < c->image.count; v++) {
        struct check_volume *x = &c->image.volumes[v];
        memset(x->content, 0, sectors_of(x->max) * SECTOR_SIZE);
        x->shown = 0;
    }
    for (uint64_t i = 0; i < c->link_count; i++)
        c->points[i].there = false;
    c->rp = c->complete_cut = c->instant = c->good_from = 0;
    memset(&c->tip, 0, sizeof c->tip);
    memset(&c->link, 0, sizeof c->link);
}

/* Walks the catalog's entries behind the RP that the image is at, up to the head. */
static void walk(struct check *c, const uint8_t *bodies, uint64_t count,
                 const struct check_entry *head)
{
    bool again = c->rp > head->rp || (c->rp == head->rp && !digest_equal(&c->tip, &head->digest));
    if (again)
        start_over(c);
    for (uint64_t i = 0; i < count; i++) {
        struct check_entry e;
        if (check_entry_decode(&e, bodies + i * CHECK_BODY_LEN)) {
            world_fail(c->w, "%s/%s: entry %" PRIu64 " of the catalog is damaged", c->site,
                       c->group, i);
            return;
        }
        if (e.rp < c->rp || (e.rp == c->rp && digest_equal(&e.digest, &c->tip)))
            continue;
        if (e.rp == c->rp ||
            (c->rp > 0 && e.rp_first == c->rp + 1 && !digest_equal(&e.parent, &c->link))) {
            /* Another branch than the one that was seen before it was acknowledged. */
            if (again)
                world_fail(c->w, "%s/%s: the catalog forks at RP %" PRIu64, c->site, c->group,
                           e.rp);
            if (c->w->failed)
                return;
            again = true;
            start_over(c);
            i = UINT64_MAX; /* from the first one */
            continue;
        }
        if (!follow(c, &e))
            return;
    }
    if (c->rp != head->rp || !digest_equal(&c->tip, &head->digest))
        world_fail(c->w, "%s/%s: the head is RP %" PRIu64 ", the catalog ends with %" PRIu64,
                   c->site, c->group, head->rp, c->rp);
}

/* ---- compaction ---- */

/* Of the entries up to the RP that the image is at. */
static uint64_t sum_of_history(const struct check *c, const uint8_t *bodies, uint64_t count)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count && bytes_le64(bodies + i * CHECK_BODY_LEN) <= c->rp; i++)
        sum = sum * 31 + sum_of(bodies + i * CHECK_BODY_LEN, CHECK_BODY_LEN);
    return sum;
}

/* No object may be missing, of whatever RP, at any moment. */
static void check_objects(struct check *c, const uint8_t *bodies, uint64_t count)
{
    for (uint64_t i = 0; i < count && !c->w->failed; i++) {
        struct check_entry e;
        uint64_t at = 0;
        if (check_entry_decode(&e, bodies + i * CHECK_BODY_LEN))
            return; /* the walk says so */
        for (unsigned part = 0; at < e.file_len && !c->w->failed; part++, at += PART_SIZE)
            if (check_store_object_len(&c->store, c->site, c->group, e.rp, e.id, part) !=
                (e.file_len - at < PART_SIZE ? e.file_len - at : PART_SIZE))
                world_fail(c->w,
                           "%s/%s: object %u of RP %" PRIu64
                           " is missing or of another length, and the catalog names it",
                           c->site, c->group, part, e.rp);
    }
}

static void check_kept(struct check *c)
{
    uint64_t newest = c->rp;
    while (newest > 0 && !c->points[newest].complete)
        newest--;
    for (uint64_t rp = 1; rp <= newest && !c->w->failed; rp++) {
        const struct point *p = &c->points[rp];
        bool young =
            c->keep == 0 || (c->keep != LEDGER_NEVER && c->w->now - p->committed < c->keep);
        if (p->complete && !p->there && (young || rp == newest))
            world_fail(c->w, "%s/%s: RP %" PRIu64 " is gone, but %s", c->site, c->group, rp,
                       rp == newest ? "it is the newest complete one" : "the rule keeps it");
    }
}

void check_keep(struct check *c, uint64_t ns)
{
    c->keep = ns;
}

void check_run(struct check *c)
{
    struct check_entry head = {0};
    const char *wrong;
    uint64_t count;
    uint8_t *bodies;
    if (c->w->failed)
        return;
    bodies = check_store_bodies(&c->store, c->site, c->group, &count, &wrong);
    if (bodies && check_entry_decode(&head, bodies))
        wrong = "the head is damaged";
    if (wrong)
        world_fail(c->w, "%s/%s: %s", c->site, c->group, wrong);
    else if (head.rp < c->acked)
        world_fail(c->w, "%s/%s: the head is RP %" PRIu64 ", but RP %" PRIu64 " was acknowledged",
                   c->site, c->group, head.rp, c->acked);
    else if (!bodies)
        start_over(c);
    if (bodies && !c->w->failed) {
        const uint8_t *entries = bodies + CHECK_BODY_LEN;
        if (c->rp > 0 && head.rp >= c->rp && sum_of_history(c, entries, count) != c->history) {
            c->w->did[DEED_REPLACED]++;
            start_over(c);
        }
        check_objects(c, entries, count);
        walk(c, entries, count, &head);
        c->history = sum_of_history(c, entries, count);
        check_kept(c);
    }
    if (c->complete_cut < c->marked)
        world_fail(c->w,
                   "%s/%s: a mark of cut %" PRIu64 " was committed, the newest complete RP is "
                   "cut %" PRIu64,
                   c->site, c->group, c->marked, c->complete_cut);
    check_promises(c);
    free(bodies);
}
