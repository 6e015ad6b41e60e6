#include "example.h"

#include "tables.h"

#include <stdlib.h>
#include <string.h>

#define VOLUME_LEN (16 * MIB)

/* Text with numbers in it, in the first half; noise, which is stored, in the second. */
static uint8_t *fill(uint8_t seed)
{
    uint8_t *p = err_malloc(VOLUME_LEN);
    uint64_t x = UINT64_C(0x9e3779b97f4a7c15) * (seed + 1u);
    for (size_t i = 0; i < VOLUME_LEN; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        if (i < VOLUME_LEN / 2 && i % 32)
            memcpy(p + i, "patient ", 8);
        else
            memcpy(p + i, &x, 8);
    }
    return p;
}

static struct datakey *new_key(struct example *x, uint8_t seed)
{
    uint8_t key[SEAL_KEY_LEN];
    memset(key, seed + 1, sizeof key);
    memset(x->salt, seed + 3, sizeof x->salt);
    return datakey_new(key_public(x->restore), 1, 0, key);
}

static void put_extent(struct example *x, struct seal *s, const struct seal_key *k,
                       struct index_writer *w, struct manifest *m, struct index_entry it)
{
    static uint8_t out[EXTENT_MAX];
    struct seal_ad ad = {.rp = m->rp, .volume = it.volume, .sector = it.sector};
    struct seal_result r;
    ad.sectors = it.sectors;
    if (it.kind == EXTENT_DATA) {
        seal_group_id(ad.group_id, m->site, m->group);
        seal_volume_id(ad.volume_id, m->site, m->group, m->volumes[it.volume].name);
        seal_extent(s, k, 3, &ad, x->plain + (size_t)it.sector * SECTOR_SIZE, out, &r);
        it.codec = r.codec;
        it.sealed_len = r.sealed_len;
        memcpy(it.tag, r.tag, SEAL_TAG_LEN);
        bytes_put(&x->file, out, r.sealed_len);
        m->plain_bytes += (uint64_t)it.sectors << SECTOR_SHIFT;
        m->frame_bytes += r.frame_len;
    }
    ASSERT(index_append(w, &it));
}

static void put_extents(struct example *x, const struct datakey *key, struct index_writer *w,
                        struct manifest *m, bool large)
{
    const struct index_entry its[EXAMPLE_EXTENTS - 1] = {
        {.sector = 0, .sectors = 1},    {.sector = 2, .sectors = 3},
        {.sector = 100, .sectors = 17}, {.sector = 200, .sectors = 1000, .kind = EXTENT_ZERO},
        {.sector = 2048, .sectors = 1}, {.sector = 2050, .sectors = large ? 256 : 2},
        {.sector = 4095, .sectors = 1}, {.volume = 1, .sector = 7, .sectors = 2},
    };
    struct seal *s = seal_new();
    struct seal_key k;
    seal_key_derive(&k, datakey_secret(key), x->salt);
    for (size_t i = 0; i < EXAMPLE_EXTENTS - 1; i++)
        put_extent(x, s, &k, w, m, its[i]);
    for (uint32_t i = 0; large && i < 6; i++)
        put_extent(x, s, &k, w, m,
                   (struct index_entry){.volume = 1, .sector = 2048 + i * 256, .sectors = 256});
    put_extent(
        x, s, &k, w, m,
        (struct index_entry){.volume = 1, .sector = 1000000, .sectors = 9, .kind = EXTENT_ZERO});
    seal_free(s);
}

static void put_end(struct example *x, struct index_writer *w, struct manifest *m)
{
    struct bytes_out o = bytes_out(MANIFEST_MAX), tables = bytes_out(TABLES_MAX);
    uint8_t trailer[DELTA_TRAILER_LEN];
    struct digest parts[8];
    struct err e = ERR_INIT;
    m->extents = w->count;
    m->index_place = x->index_place = x->file.len;
    m->sealed_bytes = x->file.len - DELTA_HEADER_LEN;
    m->index_len = x->index_len = (uint32_t)w->out.len;
    digest_of(&m->index_digest, w->out.p, w->out.len);
    bytes_put(&x->file, w->out.p, w->out.len);
    ASSERT(tables_encode(&tables, m, &e) == 0);
    bytes_put(&x->file, tables.p, tables.len);
    bytes_free(&tables);
    m->part_count = manifest_parts_of(x->file.len);
    ASSERT(m->part_count <= 8);
    m->parts = parts;
    for (uint32_t i = 0; i < m->part_count; i++)
        digest_of(&parts[i], x->file.p + i * PART_SIZE, manifest_part_len(m, i));
    ASSERT(manifest_encode(&o, m, x->sign, &e) == 0);
    bytes_put(&x->file, o.p, o.len);
    x->manifest_len = (uint32_t)o.len;
    delta_trailer(trailer, x->manifest_len);
    bytes_put(&x->file, trailer, sizeof trailer);
    bytes_free(&o);
    ASSERT(x->file.len == delta_file_len(m, x->manifest_len));
}

void example_make(struct example *x, uint8_t seed, bool large)
{
    struct manifest_volume volumes[2] = {{"pgdata", VOLUME_LEN}, {"wal", 8 * GIB}};
    struct manifest_source source = {.rp = 12};
    struct manifest m = {.site = "bethune", .group = "records", .rp_first = 12, .rp = 12};
    struct index_writer w;
    struct datakey *key;
    uint8_t header[DELTA_HEADER_LEN], seeds[KEY_LEN];
    memset(seeds, seed, sizeof seeds);
    *x = (struct example){.sign = key_generate(KEY_SIGN, seeds),
                          .restore = key_generate(KEY_RESTORE, seeds),
                          .file = bytes_out(32 * MIB),
                          .plain = fill(seed)};
    key = new_key(x, seed);
    memcpy(source.salt, x->salt, SEAL_SALT_LEN);
    memcpy(m.label, "before moving", 14);
    memset(m.parent.b, 7, DIGEST_LEN);
    m.cut_time = INT64_C(1795350000123456789);
    m.flags = MANIFEST_COMPLETE;
    m.volume_count = 2;
    m.source_count = m.key_count = 1;
    m.volumes = volumes;
    m.sources = &source;
    struct datakey_wraps wraps = *datakey_wraps(key);
    m.keys = &wraps;
    delta_header(header);
    bytes_put(&x->file, header, sizeof header);
    index_writer_init(&w, DELTA_HEADER_LEN, 1);
    put_extents(x, key, &w, &m, large);
    put_end(x, &w, &m);
    index_writer_free(&w);
    datakey_free(key);
}

void example_free(struct example *x)
{
    bytes_free(&x->file);
    key_free(x->sign);
    key_free(x->restore);
    free(x->plain);
}
