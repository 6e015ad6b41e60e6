#include "hub_fixture.h"
#include "tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

const char *const who_names[WHO] = {"arras", "bethune", "lens", "douai"};
static struct key_secret *sign_keys[WHO], *restore_keys[WHO];

int delta_keys_make(void);
void delta_keys_free(void);

int delta_keys_make(void)
{
    struct err e = ERR_INIT;
    if (key_init(&e) < 0)
        return -1;
    for (int i = 0; i < WHO; i++) {
        sign_keys[i] = key_generate(KEY_SIGN, NULL);
        restore_keys[i] = key_generate(KEY_RESTORE, NULL);
    }
    return 0;
}

void delta_keys_free(void)
{
    for (int i = 0; i < WHO; i++) {
        key_free(sign_keys[i]);
        key_free(restore_keys[i]);
    }
}

const struct key_secret *sign_key(enum who who)
{
    return sign_keys[who];
}

struct key_secret *restore_key(enum who who)
{
    return restore_keys[who];
}

void fill_random(uint8_t *p, size_t len, uint64_t seed)
{
    uint8_t s[randombytes_SEEDBYTES] = {0};
    bytes_set_le64(s, seed);
    randombytes_buf_deterministic(p, len, s);
}

/* ---- building ---- */

static const struct manifest_volume one_volume = {"data", 64 * MIB};

#define FIXTURE_SOURCES 4

struct builder {
    const struct spec *spec;
    const char *site, *group;
    const struct manifest_volume *volumes;
    struct manifest m;
    struct manifest_source sources[FIXTURE_SOURCES];
    struct datakey_wraps wraps;
    struct seal_key keys[FIXTURE_SOURCES];
    struct seal *seal;
    struct index_writer index;
    uint8_t *file;
    uint64_t len, cap;
};

static void append(struct builder *b, const void *p, uint64_t len)
{
    if (b->len + len > b->cap) {
        b->cap = (b->len + len) * 2;
        b->file = err_realloc(b->file, b->cap);
    }
    memcpy(b->file + b->len, p, len);
    b->len += len;
}

static void begin(struct builder *b)
{
    uint8_t key[SEAL_KEY_LEN], header[DELTA_HEADER_LEN];
    const struct key_public *reader =
        b->spec->reader ? b->spec->reader : key_public(restore_keys[BETHUNE]);
    randombytes_buf(key, sizeof key);
    struct datakey *own = b->spec->key ? NULL : datakey_new(reader, 1, 0, key);
    const struct datakey *k = own ? own : b->spec->key;
    b->wraps = *datakey_wraps(k);
    b->m.source_count = b->spec->sources ? b->spec->sources : 1;
    assert_true(b->m.source_count <= FIXTURE_SOURCES);
    for (uint16_t i = 0; i < b->m.source_count; i++) {
        b->sources[i].rp = b->spec->rp - b->m.source_count + 1 + i;
        randombytes_buf(b->sources[i].salt, sizeof b->sources[i].salt);
        seal_key_derive(&b->keys[i], datakey_secret(k), b->sources[i].salt);
    }
    if (own)
        datakey_free(own);
    b->seal = seal_new();
    index_writer_init(&b->index, DELTA_HEADER_LEN, b->m.source_count);
    delta_header(header);
    append(b, header, sizeof header);
}

static void add(struct builder *b, const struct spec_extent *x, uint16_t source)
{
    struct index_entry entry = {
        .volume = x->volume, .source = source, .sector = x->sector, .sectors = x->sectors};
    if (!x->plain) {
        entry.kind = EXTENT_ZERO;
        assert_true(index_append(&b->index, &entry));
        return;
    }
    struct seal_ad ad = {.rp = b->sources[source].rp,
                         .volume = x->volume,
                         .sector = x->sector,
                         .sectors = x->sectors,
                         .kind = EXTENT_DATA};
    struct seal_result r;
    uint8_t *sealed = err_malloc(seal_bound(x->sectors));
    seal_group_id(ad.group_id, b->site, b->group);
    seal_volume_id(ad.volume_id, b->site, b->group, b->volumes[x->volume].name);
    seal_extent(b->seal, &b->keys[source], 1, &ad, x->plain, sealed, &r);
    entry.sealed_len = r.sealed_len;
    entry.codec = r.codec;
    memcpy(entry.tag, r.tag, sizeof entry.tag);
    assert_true(index_append(&b->index, &entry));
    append(b, sealed, r.sealed_len);
    free(sealed);
    b->m.plain_bytes += (uint64_t)x->sectors << SECTOR_SHIFT;
    b->m.sealed_bytes += r.sealed_len;
    b->m.frame_bytes += r.frame_len;
}

/* Index, manifest, trailer. */
static void end(struct builder *b, struct test_delta *out)
{
    const struct spec *s = b->spec;
    struct manifest *m = &b->m;
    struct bytes_out o = bytes_out(MANIFEST_MAX), tables = bytes_out(TABLES_MAX);
    struct err e = ERR_INIT;
    uint8_t trailer[DELTA_TRAILER_LEN];
    m->index_place = b->len;
    m->index_len = (uint32_t)b->index.out.len;
    m->extents = b->index.count;
    if (b->index.out.len)
        append(b, b->index.out.p, b->index.out.len);
    digest_of(&m->index_digest, b->file + m->index_place, m->index_len);
    (void)snprintf(m->site, sizeof m->site, "%s", b->site);
    (void)snprintf(m->group, sizeof m->group, "%s", b->group);
    m->rp_first = s->rp_first ? s->rp_first : s->rp;
    m->rp = s->rp;
    m->key_count = 1;
    m->sources = b->sources;
    m->keys = &b->wraps;
    if (tables_encode(&tables, m, &e) < 0)
        fail_msg("%s", e.text);
    append(b, tables.p, tables.len);
    bytes_free(&tables);
    m->part_count = manifest_parts_of(b->len);
    m->parts = err_calloc(m->part_count, sizeof *m->parts);
    for (uint32_t i = 0; i < m->part_count; i++)
        digest_of(&m->parts[i], b->file + i * PART_SIZE, manifest_part_len(m, i));
    m->parent = s->parent;
    m->stands_for = s->stands_for;
    m->good_from = digest_is_zero(&s->stands_for) ? 0 : s->good_from ? s->good_from : s->rp;
    m->cut_time = s->cut_time ? s->cut_time : (int64_t)s->rp * 1000000000;
    m->flags = s->stretch ? 0 : MANIFEST_COMPLETE;
    m->flags |= digest_is_zero(&s->stands_for) ? 0 : MANIFEST_REPLACES;
    m->volumes = err_calloc(m->volume_count, sizeof *m->volumes);
    memcpy(m->volumes, b->volumes, m->volume_count * sizeof *m->volumes);
    if (manifest_encode(&o, m, s->sign ? s->sign : sign_keys[BETHUNE], &e) < 0)
        fail_msg("%s", e.text);
    out->content_len = b->len;
    out->tables_len = m->tables_len;
    memcpy(out->key_id, b->wraps.id, DATAKEY_ID_LEN);
    append(b, o.p, o.len);
    delta_trailer(trailer, (uint32_t)o.len);
    append(b, trailer, sizeof trailer);
    out->file = b->file;
    out->len = b->len;
    out->manifest = b->file + out->content_len;
    out->manifest_len = (uint32_t)o.len;
    out->rp = s->rp;
    out->parts = m->part_count;
    manifest_digest(&out->digest, o.p, o.len);
    bytes_free(&o);
    free(m->volumes);
    free(m->parts);
}

void delta_make(struct test_delta *out, const struct spec *spec)
{
    struct builder b = {.spec = spec,
                        .site = spec->site ? spec->site : "bethune",
                        .group = spec->group ? spec->group : "records",
                        .volumes = spec->volumes ? spec->volumes : &one_volume};
    b.m.volume_count = spec->volumes ? spec->volume_count : 1;
    begin(&b);
    for (size_t i = 0; i < spec->extent_count; i++)
        add(&b, &spec->extents[i], spec->source_of ? spec->source_of[i] : 0);
    end(&b, out);
    index_writer_free(&b.index);
    seal_free(b.seal);
}

void delta_free(struct test_delta *d)
{
    free(d->file);
    memset(d, 0, sizeof *d);
}

void delta_random(struct test_delta *out, uint64_t rp, const struct test_delta *parent,
                  unsigned mib)
{
    struct spec_extent extents[32];
    struct spec s = {.rp = rp, .extents = extents, .extent_count = mib};
    uint8_t *plain = err_malloc(mib * MIB);
    assert_true(mib <= 32);
    fill_random(plain, mib * MIB, rp);
    for (unsigned i = 0; i < mib; i++)
        extents[i] = (struct spec_extent){0, i * EXTENT_SECTORS, EXTENT_SECTORS, plain + i * MIB};
    if (parent)
        s.parent = parent->digest;
    delta_make(out, &s);
    free(plain);
}
