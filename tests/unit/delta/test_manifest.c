/* manifest: what a site signed is read back; anything else is refused before it costs memory. */
#include "delta.h"
#include "tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

static struct key_secret *sign_key, *other_key;
static struct manifest_volume volumes[VOLUMES_MAX];
static struct manifest_source sources[SOURCES_MAX];
static struct datakey_wraps keys[DATA_KEYS_MAX + 1];
static struct digest parts[PARTS_MAX];

static int setup(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    if (key_init(&e) != 0)
        return -1;
    sign_key = key_generate(KEY_SIGN, NULL);
    other_key = key_generate(KEY_SIGN, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    key_free(sign_key);
    key_free(other_key);
    return 0;
}

/* A manifest of two volumes, two sources, one key, three parts. */
static struct manifest example(void)
{
    struct manifest m = {.site = "bethune", .group = "records", .label = "before moving \xc3\xa9"};
    m.rp_first = 41;
    m.rp = 43;
    memset(m.parent.b, 0xaa, DIGEST_LEN);
    memset(m.stands_for.b, 0xdd, DIGEST_LEN);
    m.cut_time = INT64_C(1795350000123456789);
    m.flags = MANIFEST_COMPLETE | MANIFEST_REPLACES;
    m.good_from = 45;
    m.extents = 2500;
    m.plain_bytes = UINT64_C(2500) * SECTOR_SIZE;
    m.sealed_bytes = 9 * MIB;
    m.frame_bytes = m.sealed_bytes + 2400 * 4;
    m.index_place = m.sealed_bytes + DELTA_HEADER_LEN;
    m.index_len = 60000;
    memset(m.index_digest.b, 0xbb, DIGEST_LEN);
    m.tables_len = 2 * 26 + 18 + 3 * 88;
    memset(m.tables_digest.b, 0xcc, DIGEST_LEN);
    m.volume_count = 2;
    m.source_count = 2;
    m.key_count = 1;
    m.part_count = 3;
    m.volumes = volumes;
    m.sources = sources;
    m.keys = keys;
    m.parts = parts;
    memset(volumes, 0, sizeof volumes);
    for (size_t i = 0; i < VOLUMES_MAX; i++) {
        memcpy(volumes[i].name, "vol-", 4);
        volumes[i].name[4] = (char)('a' + i / 16);
        volumes[i].name[5] = (char)('a' + i % 16);
        volumes[i].size = (i + 1) * GIB;
    }
    memset(sources, 0, sizeof sources);
    for (size_t i = 0; i < SOURCES_MAX; i++) {
        sources[i].rp = 41 + i; /* only the first few are used */
        randombytes_buf(sources[i].salt, SEAL_SALT_LEN);
    }
    randombytes_buf(keys, sizeof keys);
    for (size_t i = 0; i < DATA_KEYS_MAX; i++)
        keys[i].count = 3;
    randombytes_buf(parts, sizeof parts);
    return m;
}

static void assert_same(const struct manifest *a, const struct manifest *b)
{
    assert_string_equal(a->site, b->site);
    assert_string_equal(a->group, b->group);
    assert_string_equal(a->label, b->label);
    assert_true(a->rp_first == b->rp_first && a->rp == b->rp && a->cut_time == b->cut_time);
    assert_true(digest_equal(&a->parent, &b->parent));
    assert_true(digest_equal(&a->stands_for, &b->stands_for));
    assert_true(a->good_from == b->good_from && a->tables_len == b->tables_len);
    assert_true(digest_equal(&a->index_digest, &b->index_digest));
    assert_true(digest_equal(&a->tables_digest, &b->tables_digest));
    assert_true(a->flags == b->flags && a->extents == b->extents);
    assert_true(a->plain_bytes == b->plain_bytes && a->sealed_bytes == b->sealed_bytes);
    assert_true(a->frame_bytes == b->frame_bytes && a->index_place == b->index_place);
    assert_int_equal(a->index_len, b->index_len);
    assert_int_equal(a->volume_count, b->volume_count);
    assert_int_equal(a->source_count, b->source_count);
    assert_int_equal(a->key_count, b->key_count);
    assert_int_equal(a->part_count, b->part_count);
    for (size_t i = 0; i < a->volume_count; i++) {
        assert_string_equal(a->volumes[i].name, b->volumes[i].name);
        assert_true(a->volumes[i].size == b->volumes[i].size);
    }
    assert_memory_equal(a->parts, b->parts, a->part_count * sizeof *a->parts);
}

static void assert_same_tables(const struct manifest *a, const struct manifest *b)
{
    for (size_t i = 0; i < a->source_count; i++) {
        assert_true(a->sources[i].rp == b->sources[i].rp && a->sources[i].key == b->sources[i].key);
        assert_memory_equal(a->sources[i].salt, b->sources[i].salt, SEAL_SALT_LEN);
    }
    for (size_t i = 0; i < a->key_count; i++) {
        assert_int_equal(a->keys[i].count, b->keys[i].count);
        assert_memory_equal(a->keys[i].id, b->keys[i].id, DATAKEY_ID_LEN);
        assert_memory_equal(a->keys[i].wraps, b->keys[i].wraps,
                            a->keys[i].count * sizeof a->keys[i].wraps[0]);
    }
}

static void round_trip(const struct manifest *m)
{
    struct bytes_out o = bytes_out(MANIFEST_MAX);
    struct manifest got;
    struct err e = ERR_INIT;
    if (manifest_encode(&o, m, sign_key, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(manifest_verify(o.p, o.len, key_public(sign_key), &e), 0);
    if (manifest_decode(&got, o.p, o.len, &e) != 0)
        fail_msg("%s", e.text);
    assert_same(m, &got);
    manifest_free(&got);
    bytes_free(&o);
}

static void manifests_round_trip(void **state)
{
    struct manifest m = example();
    (void)state;
    round_trip(&m);
    m.label[0] = '\0'; /* the first ever */
    m.rp_first = 1;
    memset(&m.parent, 0, sizeof m.parent);
    round_trip(&m);
    m.flags =
        MANIFEST_REPLACES; /* nothing changed: no extents, no sources, only the header is a part */
    m.extents = 0;
    m.plain_bytes = m.sealed_bytes = m.frame_bytes = 0;
    m.index_place = DELTA_HEADER_LEN;
    m.index_len = 0;
    m.part_count = 1;
    m.source_count = m.key_count = 0;
    m.tables_len = 0;
    round_trip(&m);
    m.rp_first = m.rp; /* alone, thinned */
    memset(&m.parent, 1, sizeof m.parent);
    round_trip(&m);
    m.flags = 0; /* replaces none */
    m.good_from = 0;
    memset(&m.stands_for, 0, sizeof m.stands_for);
    round_trip(&m);
}

/* What was sealed on top of an RP stays valid when the RP is merged with those before it. */
static void a_merged_manifest_links_as_the_one_it_stands_for(void **state)
{
    struct manifest m = example();
    struct digest own = {{9}};
    (void)state;
    assert_true(digest_equal(manifest_link(&m, &own), &m.stands_for));
    m.rp_first = m.rp;
    memset(&m.stands_for, 0, sizeof m.stands_for);
    assert_true(digest_equal(manifest_link(&m, &own), &own));
}

static void the_largest_single_source_manifest_fits(void **state)
{
    struct manifest m = example();
    (void)state;
    m.volume_count = VOLUMES_MAX;
    m.source_count = 1;
    m.key_count = 1;
    keys[0].count = READERS_MAX;
    m.part_count = PARTS_MAX;
    m.index_len = INDEX_MAX;
    m.index_place = DELTA_MAX - INDEX_MAX - m.tables_len;
    m.sealed_bytes = m.frame_bytes = m.index_place - DELTA_HEADER_LEN;
    m.extents = EXTENTS_MAX;
    round_trip(&m);
}

/* The rule by which hub and reader say which RPs there are. */
static void what_was_thinned_is_good_from_an_rp_on(void **state)
{
    struct manifest thinned = {.rp = 3, .flags = MANIFEST_REPLACES, .good_from = 9};
    struct manifest early = {.rp = 5, .flags = MANIFEST_COMPLETE};
    struct manifest stretch = {.rp = 8}, good = {.rp = 9, .flags = MANIFEST_COMPLETE};
    struct manifest merged = {
        .rp = 12, .flags = MANIFEST_COMPLETE | MANIFEST_REPLACES, .good_from = 12};
    uint64_t good_from = 0;
    (void)state;
    assert_true(manifest_offers(&early, &good_from));
    assert_false(manifest_offers(&thinned, &good_from));
    assert_false(manifest_offers(&early, &good_from)); /* what a hub kept that it should not have */
    assert_false(manifest_offers(&stretch, &good_from));
    assert_true(manifest_offers(&good, &good_from));
    assert_true(manifest_offers(&merged, &good_from));
    assert_int_equal(good_from, 12);
}

static void tables_round_trip(struct manifest *m)
{
    struct bytes_out o = bytes_out(TABLES_MAX);
    struct manifest got;
    struct err e = ERR_INIT;
    if (tables_encode(&o, m, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(m->tables_len, o.len);
    got = *m;
    got.sources = NULL;
    got.keys = NULL;
    if (tables_decode(&got, o.p, o.len, &e) != 0)
        fail_msg("%s", e.text);
    assert_same_tables(m, &got);
    free(got.sources);
    free(got.keys);
    bytes_free(&o);
}

static void tables_of_any_size_round_trip(void **state)
{
    struct manifest m = example();
    (void)state;
    tables_round_trip(&m);
    m.source_count = SOURCES_MAX;
    m.key_count = DATA_KEYS_MAX;
    m.rp = 41 + SOURCES_MAX;
    for (size_t i = 0; i < DATA_KEYS_MAX; i++)
        keys[i].count = READERS_MAX;
    tables_round_trip(&m);
    m.source_count = m.key_count = 0;
    tables_round_trip(&m);
}

static void tables_that_were_changed_or_contradict_themselves_are_refused(void **state)
{
    enum { SOURCE_1 = 26, KEY_0 = 52 };
    static const struct {
        size_t at;
        const char *bytes;
        size_t len;
        const char *why;
    } cases[] = {
        {SOURCE_1, "\54", 1, "source 1 is of RP"}, {SOURCE_1, "\0", 1, "source 1 is of RP"},
        {SOURCE_1, "\51", 1, "they ascend"},       {24, "\1", 1, "names data key"},
        {KEY_0 + 16, "\21", 1, "end inside"},      {KEY_0 + 16, "\2", 1, "left over"},
        {KEY_0 + 16, "\0", 1, "left over"},
    };
    struct manifest m = example();
    struct bytes_out o = bytes_out(TABLES_MAX);
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(tables_encode(&o, &m, &e), 0);
    m.sources = NULL;
    m.keys = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t copy[KIB];
        memcpy(copy, o.p, o.len);
        memcpy(copy + cases[i].at, cases[i].bytes, cases[i].len);
        digest_of(&m.tables_digest, o.p, o.len);
        assert_int_equal(tables_decode(&m, copy, o.len, &e), -ERR_CORRUPT);
        digest_of(&m.tables_digest, copy, o.len);
        if (tables_decode(&m, copy, o.len, &e) != -ERR_INPUT || !strstr(e.text, cases[i].why))
            fail_msg("case %zu (%s): \"%s\"", i, cases[i].why, e.text);
    }
    for (uint32_t len = 0; len < o.len; len++) {
        m.tables_len = len;
        digest_of(&m.tables_digest, o.p, len);
        assert_int_equal(tables_decode(&m, o.p, len, &e), -ERR_INPUT);
    }
    bytes_free(&o);
}

static void any_flipped_bit_breaks_the_signature(void **state)
{
    struct manifest m = example(), got;
    struct bytes_out o = bytes_out(MANIFEST_MAX);
    struct err e = ERR_INIT;
    struct digest whole, changed;
    (void)state;
    assert_int_equal(manifest_encode(&o, &m, sign_key, &e), 0);
    manifest_digest(&whole, o.p, o.len);
    for (size_t bit = 0; bit < o.len * 8; bit++) {
        o.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(manifest_verify(o.p, o.len, key_public(sign_key), &e), -ERR_AUTH);
        manifest_digest(&changed, o.p, o.len);
        assert_false(digest_equal(&whole, &changed));
        if (manifest_decode(&got, o.p, o.len, &e) == 0) /* must not crash or leak either */
            manifest_free(&got);
        o.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(manifest_verify(o.p, o.len, key_public(other_key), &e), -ERR_AUTH);
    assert_int_equal(manifest_verify(o.p, MANIFEST_SIG_LEN, key_public(sign_key), &e), -ERR_AUTH);
    assert_int_equal(manifest_verify(o.p, 0, key_public(sign_key), &e), -ERR_AUTH);
    bytes_free(&o);
}

static void a_cut_or_grown_manifest_is_refused(void **state)
{
    struct manifest m = example(), got;
    struct bytes_out o = bytes_out(MANIFEST_MAX + 64);
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(manifest_encode(&o, &m, sign_key, &e), 0);
    for (size_t len = 0; len < o.len; len++)
        assert_int_equal(manifest_decode(&got, o.p, len, &e), -ERR_INPUT);
    bytes_put_u8(&o, 0);
    assert_int_equal(manifest_decode(&got, o.p, o.len, &e), -ERR_INPUT);
    assert_non_null(strstr(e.text, "follow its signature"));
    bytes_free(&o);
}

static void a_manifest_over_the_bound_is_not_looked_at(void **state)
{
    uint8_t *p = calloc(1, MANIFEST_MAX + 1);
    struct manifest got;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(manifest_decode(&got, p, MANIFEST_MAX + 1, &e), -ERR_LIMIT);
    free(p);
}

/* Each changes one thing of the example for the worse. */
static void spoil(struct manifest *m, int how)
{
    /* clang-format off */
    switch (how) {
    case 0: m->site[0] = 'B'; break;
    case 1: m->group[0] = '\0'; break;
    case 2: memcpy(m->label, "a\033[2J", 6); break;
    case 3: memcpy(m->label, "\xc3", 2); break;
    case 4: memcpy(m->label, "\xc0\xaf", 3); break;
    case 5: memcpy(m->label, "\xed\xa0\x80", 4); break;
    case 6: memcpy(m->label, "\xc2\x9b", 3); break;
    case 7: m->rp_first = 0; break;
    case 8: m->rp_first = 44; break;
    case 9: m->rp_first = 1; break;
    case 10: memset(&m->parent, 0, sizeof m->parent); break;
    case 11: m->cut_time = -1; break;
    case 12: m->flags |= 4; break;
    case 13: m->extents = EXTENTS_MAX + 1; break;
    case 14: m->index_len = INDEX_MAX + 1; break;
    case 15: m->index_place = 15; break;
    case 16: m->index_place = UINT64_MAX; break;
    case 17: m->index_place = DELTA_MAX; break;
    case 18: m->sealed_bytes++; break;
    case 19: m->frame_bytes = m->sealed_bytes - 1; break;
    case 20: m->frame_bytes = m->sealed_bytes + 4 * 2500 + 1; break;
    case 21: m->plain_bytes = UINT64_C(2501) * EXTENT_MAX; break;
    case 22: m->plain_bytes++; break;
    case 23: m->volume_count = 0; break;
    case 24: m->volume_count = VOLUMES_MAX + 1; break;
    case 25: m->source_count = 0; break;
    case 26: m->source_count = SOURCES_MAX + 1; break;
    case 27: m->key_count = DATA_KEYS_MAX + 1; break;
    case 28: m->part_count--; break;
    case 29: m->part_count++; break;
    case 30: volumes[1].name[0] = '/'; break;
    case 31: volumes[1] = volumes[0]; break;
    case 32: volumes[0].size = VOLUME_MAX + 1; break;
    case 33: m->good_from = 42; break;
    case 34: m->flags &= ~2u; break;
    case 35: m->tables_len = TABLES_MAX + 1; break;
    case 36: m->flags &= ~2u; m->rp_first = 43; m->good_from = 0; break;
    case 37: memset(&m->stands_for, 0, sizeof m->stands_for); break;
    case 38: m->flags &= ~2u; m->rp_first = 43; memset(&m->stands_for, 0, 32); break;
    default: break;
    }
    /* clang-format on */
}
#define SPOILS 39

static void what_contradicts_itself_is_not_signed(void **state)
{
    (void)state;
    for (int how = 0; how < SPOILS; how++) {
        struct manifest m = example();
        struct bytes_out o = bytes_out(MANIFEST_MAX);
        struct err e = ERR_INIT;
        spoil(&m, how);
        if (manifest_encode(&o, &m, sign_key, &e) != -ERR_INPUT)
            fail_msg("case %d was signed", how);
        assert_int_equal(o.len, 0);
        bytes_free(&o);
    }
}

/* The place of a field in the encoded example, by comparing encodings would need a second encoder;
 * so here FORMAT.md is followed by hand. */
enum {
    AT_VERSION = 8,
    AT_FLAGS = 12,
    AT_SITE = 16,
    AT_GROUP = AT_SITE + 1 + 7,
    AT_LABEL = AT_GROUP + 1 + 7,
    AT_RP_FIRST = AT_LABEL + 1 + 16,
    AT_RP = AT_RP_FIRST + 8,
    AT_PARENT = AT_RP + 8,
    AT_STANDS_FOR = AT_PARENT + 32,
    AT_GOOD = AT_STANDS_FOR + 32,
    AT_CUT = AT_GOOD + 8,
    AT_EXTENTS = AT_CUT + 8,
    AT_PLAIN = AT_EXTENTS + 4,
    AT_SEALED = AT_PLAIN + 8,
    AT_FRAME = AT_SEALED + 8,
    AT_INDEX_PLACE = AT_FRAME + 8,
    AT_INDEX_LEN = AT_INDEX_PLACE + 8,
    AT_TABLES_LEN = AT_INDEX_LEN + 4 + 32,
    AT_VOLUMES = AT_TABLES_LEN + 4 + 32,
    AT_SOURCES = AT_VOLUMES + 2,
    AT_KEYS = AT_SOURCES + 2,
    AT_PARTS = AT_KEYS + 2,
    AT_VOLUME_0 = AT_PARTS + 4,
    AT_VOLUME_1 = AT_VOLUME_0 + 1 + 6 + 8,
    AT_PART_0 = AT_VOLUME_1 + 1 + 6 + 8,
    AT_SIGNATURE = AT_PART_0 + 3 * 32,
};

static void what_contradicts_itself_is_not_decoded(void **state)
{
    static const struct {
        size_t at;
        const char *bytes;
        size_t len;
        const char *why;
    } cases[] = {
        {0, "X", 1, "not a manifest"},
        {AT_VERSION, "\2", 1, "version 2"},
        {AT_FLAGS, "\7", 1, "newer version"},
        {AT_SITE + 1, "B", 1, "site and group"},
        {AT_SITE + 3, "\0", 1, "malformed"},
        {AT_SITE, "\377", 1, "malformed"},
        {AT_GROUP + 1, "-", 1, "site and group"},
        {AT_LABEL + 1, "\n", 1, "printable"},
        {AT_RP_FIRST, "\0", 1, "cannot lead"},
        {AT_RP_FIRST, "\1", 1, "a parent is named"},
        {AT_RP, "\1", 1, "cannot lead"},
        {AT_GOOD, "\1", 1, "good from"},
        {AT_STANDS_FOR, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32,
         "stands for none"},
        {AT_TABLES_LEN + 3, "\1", 1, "too long"},
        {AT_CUT + 7, "\377", 1, "before 1970"},
        {AT_EXTENTS + 2, "\11", 1, "too many"},
        {AT_PLAIN + 7, "\1", 1, "cannot hold"},
        {AT_SEALED, "\1", 1, "do not fill"},
        {AT_FRAME + 7, "\1", 1, "cannot be sealed"},
        {AT_INDEX_PLACE + 7, "\1", 1, "index cannot be"},
        {AT_INDEX_LEN + 3, "\2", 1, "too long"},
        {AT_VOLUMES, "\0", 1, "volumes"},
        {AT_VOLUMES, "\101", 1, "volumes"},
        {AT_VOLUMES, "\100", 1, "ends inside"},
        {AT_SOURCES, "\0", 1, "sources"},
        {AT_SOURCES + 1, "\201", 1, "sources"},
        {AT_KEYS + 1, "\21", 1, "data keys"},
        {AT_PARTS, "\4", 1, "parts"},
        {AT_PARTS + 3, "\377", 1, "parts"},
        {AT_VOLUME_0 + 1, ".", 1, "a name must be"},
        {AT_VOLUME_1 + 6, "a", 1, "twice"},
        {AT_VOLUME_1 + 1 + 6 + 6, "\1", 1, "possible"},
    };
    struct manifest m = example(), got;
    struct bytes_out o = bytes_out(MANIFEST_MAX);
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(manifest_encode(&o, &m, sign_key, &e), 0);
    assert_int_equal(o.len, AT_SIGNATURE + MANIFEST_SIG_LEN);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t copy[MANIFEST_MAX];
        memcpy(copy, o.p, o.len);
        memcpy(copy + cases[i].at, cases[i].bytes, cases[i].len);
        if (manifest_decode(&got, copy, o.len, &e) != -ERR_INPUT || !strstr(e.text, cases[i].why))
            fail_msg("case %zu (%s): \"%s\"", i, cases[i].why, e.text);
    }
    bytes_free(&o);
}

static void parts_cover_the_delta_up_to_its_manifest(void **state)
{
    struct manifest m = example();
    uint64_t sum = 0;
    (void)state;
    assert_int_equal(manifest_parts_of(0), 0);
    assert_int_equal(manifest_parts_of(1), 1);
    assert_int_equal(manifest_parts_of(PART_SIZE), 1);
    assert_int_equal(manifest_parts_of(PART_SIZE + 1), 2);
    assert_int_equal(manifest_parts_of(DELTA_MAX), PARTS_MAX);
    for (uint32_t i = 0; i < m.part_count; i++)
        sum += manifest_part_len(&m, i);
    assert_true(sum == manifest_place(&m));
    m.index_len = m.tables_len = 0;
    m.index_place = 3 * PART_SIZE;
    assert_int_equal(manifest_part_len(&m, 2), PART_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifests_round_trip),
        cmocka_unit_test(a_merged_manifest_links_as_the_one_it_stands_for),
        cmocka_unit_test(the_largest_single_source_manifest_fits),
        cmocka_unit_test(what_was_thinned_is_good_from_an_rp_on),
        cmocka_unit_test(tables_of_any_size_round_trip),
        cmocka_unit_test(tables_that_were_changed_or_contradict_themselves_are_refused),
        cmocka_unit_test(any_flipped_bit_breaks_the_signature),
        cmocka_unit_test(a_cut_or_grown_manifest_is_refused),
        cmocka_unit_test(a_manifest_over_the_bound_is_not_looked_at),
        cmocka_unit_test(what_contradicts_itself_is_not_signed),
        cmocka_unit_test(what_contradicts_itself_is_not_decoded),
        cmocka_unit_test(parts_cover_the_delta_up_to_its_manifest),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
