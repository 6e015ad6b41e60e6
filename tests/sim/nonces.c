#include "nonces.h"

#include "delta.h"
#include "err.h"
#include "index.h"
#include "tables.h"

#include <stdlib.h>
#include <string.h>

/* Longer than a key lives: the delta that was begun with it may take its time. */
#define KEY_AGE_MAX (UINT64_C(66) * 60 * 1000000000)

struct slot { /* of an open hash table */
    struct digest key;
    uint64_t value, value2;
};

struct set {
    struct slot *slots;
    size_t count, cap;
};

struct nonces {
    struct world *w;
    struct key_secret *restore;
    struct set manifests, keys, sealed;
};

struct nonces *nonces_new(struct world *w, struct key_secret *restore)
{
    struct nonces *n = err_calloc(1, sizeof *n);
    n->w = w;
    n->restore = restore;
    return n;
}

void nonces_free(struct nonces *n)
{
    if (!n)
        return;
    free(n->manifests.slots);
    free(n->keys.slots);
    free(n->sealed.slots);
    free(n);
}

/* The slot of a key, or the free one where it would be. */
static struct slot *find(const struct set *s, const struct digest *key)
{
    size_t i = bytes_le64(key->b) & (s->cap - 1);
    while (!digest_is_zero(&s->slots[i].key) && !digest_equal(&s->slots[i].key, key))
        i = (i + 1) & (s->cap - 1);
    return &s->slots[i];
}

static void grow(struct set *s)
{
    struct set bigger = {.cap = s->cap ? 2 * s->cap : 256};
    bigger.slots = err_calloc(bigger.cap, sizeof *bigger.slots);
    for (size_t i = 0; i < s->cap; i++)
        if (!digest_is_zero(&s->slots[i].key))
            *find(&bigger, &s->slots[i].key) = s->slots[i];
    bigger.count = s->count;
    free(s->slots);
    *s = bigger;
}

/* The slot of the key; *fresh: it was not there, and is now. */
static struct slot *put(struct set *s, const struct digest *key, bool *fresh)
{
    struct slot *at;
    if (2 * s->count >= s->cap)
        grow(s);
    at = find(s, key);
    *fresh = digest_is_zero(&at->key);
    if (*fresh) {
        *at = (struct slot){.key = *key};
        s->count++;
    }
    return at;
}

bool nonces_known(const struct nonces *n, const uint8_t *manifest, size_t len)
{
    struct digest d;
    manifest_digest(&d, manifest, len);
    return n->manifests.cap > 0 && !digest_is_zero(&find(&n->manifests, &d)->key);
}

/* The key of a source: it is as old as the first delta that was seen with it. */
static int take_key(struct nonces *n, const char *where, const struct manifest *m, uint16_t source,
                    uint8_t key[SEAL_KEY_LEN])
{
    struct err e = ERR_INIT;
    struct slot *at;
    struct digest id;
    bool fresh;
    if (datakey_unwrap(key, &m->keys[m->sources[source].key], &n->restore, 1, &e)) {
        world_fail(n->w, "%s: %s", where, e.text);
        return -1;
    }
    digest_of(&id, key, SEAL_KEY_LEN);
    at = put(&n->keys, &id, &fresh);
    if (fresh)
        at->value = n->w->now;
    else if (!(m->flags & MANIFEST_REPLACES) && n->w->now - at->value > KEY_AGE_MAX)
        world_fail(n->w, "%s: RP %llu is sealed under a data key that is %llu minutes old", where,
                   (unsigned long long)m->rp,
                   (unsigned long long)((n->w->now - at->value) / 60000000000u));
    return 0;
}

static void take_entry(struct nonces *n, const char *where, const struct manifest *m,
                       const struct index_entry *x, const uint8_t key[SEAL_KEY_LEN])
{
    uint8_t nonce[SEAL_KEY_LEN + SEAL_SALT_LEN + 6];
    struct digest id;
    struct slot *at;
    bool fresh;
    memcpy(nonce, key, SEAL_KEY_LEN);
    memcpy(nonce + SEAL_KEY_LEN, m->sources[x->source].salt, SEAL_SALT_LEN);
    bytes_set_le32(nonce + SEAL_KEY_LEN + SEAL_SALT_LEN, x->sector);
    nonce[sizeof nonce - 2] = (uint8_t)x->volume;
    nonce[sizeof nonce - 1] = (uint8_t)(x->volume >> 8);
    digest_of(&id, nonce, sizeof nonce);
    at = put(&n->sealed, &id, &fresh);
    if (fresh) {
        n->w->did[DEED_SEALED]++;
        at->value = bytes_le64(x->tag);
        at->value2 = bytes_le64(x->tag + 8);
    } else if (at->value != bytes_le64(x->tag) || at->value2 != bytes_le64(x->tag + 8)) {
        world_fail(n->w,
                   "%s: RP %llu seals volume %u, sector %u under a key and nonce that sealed "
                   "something else before",
                   where, (unsigned long long)m->rp, x->volume, x->sector);
    }
}

static void take_index(struct nonces *n, const char *where, const struct manifest *m,
                       const uint8_t *file, uint8_t (*keys)[SEAL_KEY_LEN])
{
    struct err e = ERR_INIT;
    struct index_reader r;
    struct index_entry x;
    index_reader_init(&r, file + m->index_place, m->index_len, m->extents, m->volume_count,
                      m->source_count, DELTA_HEADER_LEN, m->index_place);
    while (index_next(&r, &x, &e) == 1)
        if (x.kind != EXTENT_ZERO)
            take_entry(n, where, m, &x, keys[x.source]);
}

void nonces_take(struct nonces *n, const char *where, const struct key_public *signer,
                 const uint8_t *file, size_t len)
{
    struct err e = ERR_INIT;
    struct manifest m;
    struct digest d, index;
    uint8_t(*keys)[SEAL_KEY_LEN];
    uint64_t place;
    uint32_t manifest_len;
    bool fresh, whole;
    if (len < DELTA_HEADER_LEN + DELTA_TRAILER_LEN ||
        delta_trailer_parse(file + len - DELTA_TRAILER_LEN, len, &place, &manifest_len, &e) ||
        nonces_known(n, file + place, manifest_len) ||
        manifest_verify(file + place, manifest_len, signer, &e) ||
        manifest_decode(&m, file + place, manifest_len, &e))
        return;
    if (delta_file_len(&m, manifest_len) != len ||
        tables_decode(&m, file + manifest_tables_place(&m), m.tables_len, &e)) {
        manifest_free(&m);
        return;
    }
    digest_of(&index, file + m.index_place, m.index_len);
    whole = delta_file_len(&m, manifest_len) == len && digest_equal(&index, &m.index_digest);
    if (whole) {
        manifest_digest(&d, file + place, manifest_len);
        (void)put(&n->manifests, &d, &fresh);
        n->w->did[DEED_DELTA]++;
        keys = err_calloc(m.source_count, sizeof *keys);
        for (uint16_t i = 0; i < m.source_count && whole; i++)
            whole = take_key(n, where, &m, i, keys[i]) == 0;
        if (whole)
            take_index(n, where, &m, file, keys);
        free(keys);
    }
    manifest_free(&m);
}
