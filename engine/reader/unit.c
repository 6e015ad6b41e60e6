#include "unit.h"

#include "grants.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* ---- cutting ---- */

static bool same_extent(const struct plan_piece *a, const struct plan_piece *b)
{
    return a->point == b->point && a->place == b->place && a->ext_sector == b->ext_sector;
}

static uint32_t plain_of(const struct plan_piece *p)
{
    return (uint32_t)p->ext_sectors << SECTOR_SHIFT;
}

/* Whether the unit stays within its bounds with this piece; if so it is in. */
static bool unit_join(struct unit *u, const struct plan *plan, const struct plan_piece *p)
{
    const struct plan_piece *last = &plan->pieces[u->first + u->count - 1];
    if (!same_extent(last, p)) {
        uint64_t end = u->place + u->span, span = p->place + p->sealed_len - u->place;
        if (p->point != last->point || p->place < end || p->place - end > UNIT_GAP ||
            span > UNIT_SPAN || u->plain_len + plain_of(p) > UNIT_PLAIN)
            return false;
        u->span = (uint32_t)span;
        u->plain_len += plain_of(p);
    }
    u->count++;
    return true;
}

struct unit *units_make(const struct plan *p, size_t *count)
{
    struct unit *units = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct plan_piece *x = &p->pieces[i];
        if (n && unit_join(&units[n - 1], p, x))
            continue;
        if (n == cap) {
            cap = cap ? cap * 2 : 256;
            units = err_realloc(units, cap * sizeof *units);
        }
        units[n++] = (struct unit){i, 1, x->place, x->sealed_len, plain_of(x)};
    }
    *count = n;
    return units;
}

/* ---- keys ---- */

/* The last data key that was unwrapped: neighbouring deltas share one for up to an hour. */
struct last_key {
    bool valid;
    struct datakey_wraps wraps;
    uint8_t key[SEAL_KEY_LEN];
};

static bool same_wraps(const struct datakey_wraps *a, const struct datakey_wraps *b)
{
    return a->count == b->count && memcmp(a->id, b->id, DATAKEY_ID_LEN) == 0 &&
           memcmp(a->wraps, b->wraps, a->count * sizeof a->wraps[0]) == 0;
}

static int open_source(struct unit_source *out, struct reader *r, const struct manifest *m,
                       unsigned n, struct last_key *last, struct key_secret *const *keys,
                       size_t count, struct err *e)
{
    const struct datakey_wraps *w = &m->keys[m->sources[n].key];
    if (!last->valid || !same_wraps(&last->wraps, w)) {
        last->valid = false;
        int rc = grants_unwrap(last->key, r, w, keys, count, e);
        if (rc < 0)
            return rc;
        last->wraps = *w;
        last->valid = true;
    }
    seal_key_derive(&out->key, last->key, m->sources[n].salt);
    out->rp = m->sources[n].rp;
    return 0;
}

/* Opens those sources of a point that its pieces, `count` of them, draw on: one that is not needed
 * may have been sealed for other readers. */
static int open_point(struct unit_keys *k, struct reader *r, const struct plan_piece *pieces,
                      size_t piece_count, struct last_key *last, struct key_secret *const *keys,
                      size_t count, struct err *e)
{
    uint32_t point = pieces->point;
    struct manifest m;
    int rc = 0;
    rc = history_decode_tables(r, point, &m, e);
    k->counts[point] = m.source_count;
    k->of[point] = err_calloc(m.source_count, sizeof **k->of);
    for (size_t i = 0; i < piece_count && rc == 0; i++) {
        uint16_t n = pieces[i].source;
        if (k->of[point][n].rp == 0)
            rc = open_source(&k->of[point][n], r, &m, n, last, keys, count, e);
    }
    manifest_free(&m);
    if (rc < 0)
        return err_prefix(e, "%s/%s: delta of RP %" PRIu64, r->site, r->group, r->points[point].rp);
    return 0;
}

int unit_keys_open(struct unit_keys *k, struct reader *r, const struct plan *p,
                   struct key_secret *const *restore_keys, size_t count, struct err *e)
{
    struct last_key *last = err_calloc(1, sizeof *last);
    int rc = 0;
    k->points = r->count;
    k->of = err_calloc(r->count, sizeof *k->of);
    k->counts = err_calloc(r->count, sizeof *k->counts);
    for (size_t i = 0, n; i < p->count && rc == 0; i += n) {
        for (n = 1; i + n < p->count && p->pieces[i + n].point == p->pieces[i].point; n++)
            ;
        rc = open_point(k, r, p->pieces + i, n, last, restore_keys, count, e);
    }
    sodium_memzero(last, sizeof *last);
    free(last);
    return rc;
}

void unit_keys_wipe(struct unit_keys *k)
{
    for (size_t i = 0; i < k->points; i++) {
        if (k->of[i])
            sodium_memzero(k->of[i], k->counts[i] * sizeof **k->of);
        free(k->of[i]);
    }
    free(k->of);
    free(k->counts);
    memset(k, 0, sizeof *k);
}

void unit_mac_key(uint8_t dst[UNIT_KEY_LEN], const struct unit_keys *k,
                  const struct digest *identity)
{
    static const char use[] = "relais restore state";
    crypto_generichash_state h;
    (void)crypto_generichash_init(&h, NULL, 0, UNIT_KEY_LEN);
    (void)crypto_generichash_update(&h, (const uint8_t *)use, sizeof use);
    (void)crypto_generichash_update(&h, identity->b, DIGEST_LEN);
    for (size_t i = 0; i < k->points; i++)
        for (unsigned n = 0; k->of[i] && n < k->counts[i]; n++)
            (void)crypto_generichash_update(&h, k->of[i][n].key.subkey, SEAL_KEY_LEN);
    (void)crypto_generichash_final(&h, dst, UNIT_KEY_LEN);
    sodium_memzero(&h, sizeof h);
}

/* ---- one unit ---- */

void unit_slot_init(struct unit_slot *s)
{
    size_t one = seal_bound(EXTENT_SECTORS);
    s->seal = seal_new();
    s->sealed = err_malloc(one > UNIT_SPAN ? one : UNIT_SPAN);
    s->plain = bulk_alloc(UNIT_PLAIN);
}

void unit_slot_free(struct unit_slot *s)
{
    seal_free(s->seal);
    free(s->sealed);
    /* What was read is a hospital's. */
    sodium_memzero(s->plain, UNIT_PLAIN);
    free(s->plain);
}

/* Pieces that are neighbours in the volume and in slot->plain. */
struct run {
    uint64_t off;   /* in the volume */
    size_t at, len; /* in plain; cut at the volume's end */
};

/* Where the walk over a unit's runs is. Zero-initialised it begins. */
struct walk {
    size_t i, extent; /* the next piece; where the extent of the one before is in plain */
};

static struct run run_of(const struct plan_piece *p, size_t extent)
{
    return (struct run){(uint64_t)p->sector << SECTOR_SHIFT,
                        extent + ((size_t)(p->sector - p->ext_sector) << SECTOR_SHIFT),
                        (size_t)p->sectors << SECTOR_SHIFT};
}

static bool next_run(const struct plan *plan, const struct unit *u, struct walk *w, struct run *out)
{
    const struct plan_piece *pieces = plan->pieces + u->first;
    bool any = false;
    for (; w->i < u->count; w->i++) {
        const struct plan_piece *p = &pieces[w->i];
        size_t extent = w->extent;
        if (w->i && !same_extent(p - 1, p))
            extent += plain_of(p - 1);
        struct run r = run_of(p, extent);
        if (any && (r.at != out->at + out->len || r.off != out->off + out->len))
            break;
        w->extent = extent;
        if (any)
            out->len += r.len;
        else
            *out = r;
        any = true;
    }
    if (any && out->len > plan->size - out->off)
        out->len = (size_t)(plan->size - out->off);
    return any;
}

uint64_t unit_start(const struct plan *p, const struct unit *u)
{
    return (uint64_t)p->pieces[u->first].sector << SECTOR_SHIFT;
}

/* SHA-256 is what processors compute fastest; the keyed BLAKE2b over its results makes it a MAC.
 * Which bytes of the volume they are is the plan's, whose identity is in the key. */
static void hash_unit(const struct unit_job *j, const struct unit_slot *s, const struct unit *u,
                      size_t n, uint8_t mac[STATE_MAC_LEN])
{
    crypto_generichash_state h;
    uint8_t number[8];
    struct walk w = {0, 0};
    struct run run;
    bytes_set_le64(number, n);
    (void)crypto_generichash_init(&h, j->mac_key, UNIT_KEY_LEN, STATE_MAC_LEN);
    (void)crypto_generichash_update(&h, number, sizeof number);
    while (next_run(j->plan, u, &w, &run)) {
        struct digest d;
        digest_of(&d, s->plain + run.at, run.len);
        (void)crypto_generichash_update(&h, d.b, DIGEST_LEN);
    }
    (void)crypto_generichash_final(&h, mac, STATE_MAC_LEN);
    sodium_memzero(&h, sizeof h);
}

struct opening {
    struct unit_job *job;
    struct unit_slot *slot;
    const struct unit *unit;
    size_t number;
    uint8_t mac[STATE_MAC_LEN];
    size_t next; /* piece to open next, and where its plain bytes go */
    uint32_t plain_at;
    const struct plan_piece *failed;
    struct err err;
};

static int open_piece(struct opening *o, const struct plan_piece *p, uint8_t *plain)
{
    const struct unit_job *j = o->job;
    const struct unit_source *source = &j->keys.of[p->point][p->source];
    struct seal_ad ad = {.rp = source->rp,
                         .volume = p->volume,
                         .sector = p->ext_sector,
                         .sectors = p->ext_sectors,
                         .kind = EXTENT_DATA,
                         .codec = p->codec};
    memcpy(ad.group_id, j->group_id, sizeof ad.group_id);
    memcpy(ad.volume_id, j->volume_id, sizeof ad.volume_id);
    return seal_open(o->slot->seal, &source->key, &ad,
                     o->slot->sealed + (p->place - o->unit->place), p->sealed_len, p->tag, plain,
                     &o->err);
}

/* On a worker thread: the unit's extents, one behind the other, into slot->plain. */
static int open_work(void *arg)
{
    struct opening *o = arg;
    const struct plan_piece *pieces = o->job->plan->pieces + o->unit->first;
    o->failed = NULL;
    while (o->next < o->unit->count) {
        size_t i = o->next++;
        uint8_t *plain = o->slot->plain + o->plain_at;
        if (i && same_extent(&pieces[i - 1], &pieces[i]))
            continue;
        o->plain_at += plain_of(&pieces[i]);
        if (open_piece(o, &pieces[i], plain) < 0) {
            o->failed = &pieces[i];
            return 0;
        }
    }
    if (!o->job->target->nowhere)
        hash_unit(o->job, o->slot, o->unit, o->number, o->mac);
    return 0;
}

static int name_place(const struct unit_job *j, const struct plan_piece *p, struct err *e)
{
    return err_prefix(
        e, "%s/%s@%" PRIu64 ", volume %s, %u KiB at byte %llu, from the delta of RP %" PRIu64,
        j->r->site, j->r->group, j->rp, j->volume, p->ext_sectors * 4u,
        (unsigned long long)p->ext_sector << SECTOR_SHIFT, j->r->points[p->point].rp);
}

/* The extents of the unit, opened; those that do not open are told when that is wanted. */
static int open_all(struct unit_job *j, struct opening *o, struct err *e)
{
    do {
        int rc = fio_work(IO_WORK_CPU, open_work, o);
        if (rc < 0)
            return err_os(e, rc, "opening extents");
        if (!o->failed)
            return 0;
        *e = o->err;
        rc = name_place(j, o->failed, e);
        if (!j->damage)
            return rc;
        j->damage->tell(j->damage->arg, e);
        j->damaged++;
        *e = o->err = (struct err)ERR_INIT;
    } while (o->next < o->unit->count);
    return 0;
}

/* Nothing of the unit can be had from the hub. */
static int not_had(struct unit_job *j, const struct unit *u, int rc, struct err *e)
{
    uint64_t extents = 0;
    (void)name_place(j, &j->plan->pieces[u->first], e);
    if (!j->damage || (rc != -ERR_NOENT && rc != -ERR_CORRUPT && rc != -ERR_IO))
        return rc;
    for (size_t i = 0; i < u->count; i++) {
        const struct plan_piece *p = &j->plan->pieces[u->first + i];
        extents += i == 0 || !same_extent(p - 1, p);
    }
    if (extents > 1)
        (void)err_prefix(e, "%llu extents, from", (unsigned long long)extents);
    j->damage->tell(j->damage->arg, e);
    j->damaged += extents;
    *e = (struct err)ERR_INIT;
    return 0;
}

int unit_run(struct unit_job *j, struct unit_slot *s, const struct unit *u, size_t n,
             uint8_t mac[STATE_MAC_LEN], struct err *e)
{
    const struct plan_piece *first = &j->plan->pieces[u->first];
    struct opening o = {.job = j, .slot = s, .unit = u, .number = n, .err = ERR_INIT};
    struct walk w = {0, 0};
    struct run run;
    int rc = fetch_range(j->r, first->point, u->place, s->sealed, u->span, e);
    if (rc < 0)
        return not_had(j, u, rc, e);
    rc = open_all(j, &o, e);
    while (rc == 0 && next_run(j->plan, u, &w, &run))
        rc = target_write(j->target, s->plain + run.at, run.len, run.off, e);
    memcpy(mac, o.mac, STATE_MAC_LEN);
    return rc;
}

static int hash_work(void *arg)
{
    struct opening *o = arg;
    hash_unit(o->job, o->slot, o->unit, o->number, o->mac);
    return 0;
}

int unit_check(struct unit_job *j, struct unit_slot *s, const struct unit *u, size_t n,
               const uint8_t mac[STATE_MAC_LEN], bool *holds, struct err *e)
{
    struct opening o = {.job = j, .slot = s, .unit = u, .number = n, .err = ERR_INIT};
    struct walk w = {0, 0};
    struct run run;
    int rc = 0;
    while (rc == 0 && next_run(j->plan, u, &w, &run))
        rc = target_read(j->target, s->plain + run.at, run.len, run.off, e);
    if (rc < 0)
        return rc;
    rc = fio_work(IO_WORK_CPU, hash_work, &o);
    *holds = rc == 0 && sodium_memcmp(o.mac, mac, STATE_MAC_LEN) == 0;
    return rc < 0 ? err_os(e, rc, "hashing what was read back") : 0;
}
