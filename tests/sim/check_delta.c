#include "check_delta.h"

#include "index.h"
#include "tables.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int check_entry_decode(struct check_entry *out, const uint8_t *body)
{
    struct bytes_in b = bytes_in(body, 10 + STORE_ENTRY_MAX);
    uint64_t rp = bytes_get_u64(&b);
    uint16_t len = bytes_get_u16(&b);
    *out = (struct check_entry){.rp = rp};
    if (rp == 0 || len > STORE_ENTRY_MAX || bytes_get_u8(&b) != 1)
        return -1;
    out->rp_first = bytes_get_u64(&b);
    bytes_get(&b, out->digest.b, DIGEST_LEN);
    bytes_get(&b, out->parent.b, DIGEST_LEN);
    bytes_get(&b, out->link.b, DIGEST_LEN);
    (void)bytes_get_u64(&b); /* cut time */
    out->committed = (int64_t)bytes_get_u64(&b);
    for (unsigned i = 0; i < 4; i++)
        (void)bytes_get_u64(&b); /* clock, total of bytes, objects, RPs */
    out->flags = bytes_get_u32(&b);
    out->file_len = bytes_get_u64(&b);
    (void)bytes_get_u64(&b); /* plain bytes */
    out->manifest_len = bytes_get_u32(&b);
    out->good_from = bytes_get_u64(&b);
    bytes_get(&b, out->id, CHECK_ID_LEN);
    return bytes_bad(&b) || out->file_len > 64 * PART_SIZE ||
                   out->file_len < (uint64_t)out->manifest_len + 32
               ? -1
               : 0;
}

static int wrong(struct err *e, const char *what)
{
    return err_set(e, ERR_CORRUPT, "%s", what);
}

/* Everything of the file that can be judged without keys. */
static int judge(const struct check_image *image, const struct check_entry *entry,
                 const struct manifest *m, const uint8_t *file, struct err *e)
{
    struct digest d;
    uint64_t end = manifest_place(m);
    if (strcmp(m->site, image->site) != 0 || strcmp(m->group, image->group) != 0)
        return wrong(e, "its manifest is of another group");
    if (m->rp != entry->rp || m->rp_first != entry->rp_first ||
        !digest_equal(&m->parent, &entry->parent) || m->flags != entry->flags ||
        m->good_from != entry->good_from ||
        !digest_equal(m->flags & MANIFEST_REPLACES ? &m->stands_for : &entry->digest, &entry->link))
        return wrong(e, "manifest and catalog disagree");
    if (end + entry->manifest_len + 16 != entry->file_len)
        return wrong(e, "lengths do not add up");
    digest_of(&d, file + m->index_place, m->index_len);
    if (!digest_equal(&d, &m->index_digest))
        return wrong(e, "the index differs from its digest");
    for (uint32_t i = 0; i < m->part_count; i++) {
        uint64_t at = i * PART_SIZE;
        digest_of(&d, file + at, end - at < PART_SIZE ? (size_t)(end - at) : PART_SIZE);
        if (!digest_equal(&d, &m->parts[i]))
            return err_set(e, ERR_CORRUPT, "part %u differs from its digest", i);
    }
    if ((uint64_t)m->part_count * PART_SIZE < end)
        return wrong(e, "parts are missing from the manifest");
    return 0;
}

struct opener {
    struct check_image *image;
    const struct manifest *m;
    const uint8_t *file;
    struct seal *seal;
    struct seal_key keys[SOURCES_MAX];
    struct check_volume *volumes[VOLUMES_MAX]; /* by number in the manifest */
};

static int unlock(struct opener *o, struct err *e)
{
    for (uint16_t i = 0; i < o->m->source_count; i++) {
        const struct manifest_source *s = &o->m->sources[i];
        uint8_t key[SEAL_KEY_LEN];
        if (datakey_unwrap(key, &o->m->keys[s->key], &o->image->restore, 1, e))
            return -(int)e->code;
        seal_key_derive(&o->keys[i], key, s->salt);
    }
    for (uint16_t i = 0; i < o->m->volume_count; i++) {
        for (unsigned v = 0; v < o->image->count; v++)
            if (strcmp(o->image->volumes[v].name, o->m->volumes[i].name) == 0)
                o->volumes[i] = &o->image->volumes[v];
        if (!o->volumes[i] || o->volumes[i]->size < o->m->volumes[i].size ||
            o->volumes[i]->shown > o->m->volumes[i].size)
            return err_set(e, ERR_CORRUPT, "volume %s: unknown, or of a size it never had",
                           o->m->volumes[i].name);
        o->volumes[i]->shown = o->m->volumes[i].size;
    }
    return 0;
}

static int apply(struct opener *o, const struct index_entry *x, struct err *e)
{
    struct check_volume *v = o->volumes[x->volume];
    struct seal_ad ad = {.rp = o->m->sources[x->source].rp,
                         .volume = x->volume,
                         .sector = x->sector,
                         .sectors = x->sectors,
                         .kind = x->kind,
                         .codec = x->codec};
    uint8_t *at;
    if ((uint64_t)x->sector + x->sectors > (v->shown + SECTOR_SIZE - 1) / SECTOR_SIZE)
        return err_set(e, ERR_CORRUPT, "an extent passes the end of volume %s", v->name);
    at = v->content + (uint64_t)x->sector * SECTOR_SIZE;
    if (x->kind == EXTENT_ZERO) {
        memset(at, 0, (size_t)x->sectors * SECTOR_SIZE);
        return 0;
    }
    seal_group_id(ad.group_id, o->image->site, o->image->group);
    seal_volume_id(ad.volume_id, o->image->site, o->image->group, v->name);
    return seal_open(o->seal, &o->keys[x->source], &ad, o->file + x->place, x->sealed_len, x->tag,
                     at, e);
}

static int open_all(struct check_image *image, const struct manifest *m, const uint8_t *file,
                    struct err *e)
{
    struct opener *o = err_calloc(1, sizeof *o);
    struct index_reader r;
    struct index_entry x;
    int rc;
    o->image = image;
    o->m = m;
    o->file = file;
    o->seal = seal_new();
    rc = unlock(o, e);
    index_reader_init(&r, file + m->index_place, m->index_len, m->extents, m->volume_count,
                      m->source_count, 16, m->index_place);
    while (rc == 0 && (rc = index_next(&r, &x, e)) == 1)
        rc = apply(o, &x, e);
    seal_free(o->seal);
    free(o);
    return rc;
}

int check_delta_apply(struct check_image *image, const struct check_entry *entry,
                      const uint8_t *file, bool *complete, struct err *e)
{
    const uint8_t *raw = file + entry->file_len - 16 - entry->manifest_len;
    struct manifest m;
    struct digest d;
    int rc;
    if (memcmp(file, "RELAISD1", 8) != 0 ||
        memcmp(file + entry->file_len - 8, "RELAISE1", 8) != 0 ||
        bytes_le32(file + entry->file_len - 16) != entry->manifest_len)
        return wrong(e, "header or trailer is damaged");
    digest_of(&d, raw, entry->manifest_len);
    if (!digest_equal(&d, &entry->digest))
        return wrong(e, "the manifest is not the one that the catalog names");
    if (manifest_verify(raw, entry->manifest_len, image->signer, e) ||
        manifest_decode(&m, raw, entry->manifest_len, e))
        return -(int)e->code;
    rc = judge(image, entry, &m, file, e);
    if (rc == 0)
        rc = tables_decode(&m, file + manifest_tables_place(&m), m.tables_len, e);
    if (rc == 0)
        rc = open_all(image, &m, file, e);
    *complete = m.flags & MANIFEST_COMPLETE;
    manifest_free(&m);
    return rc;
}
