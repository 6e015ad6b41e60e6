/* seal: what is sealed opens only whole, unchanged, in its place and under its key. */
#include "seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <sodium.h>
#include <zstd.h>

static struct seal *s;
static struct seal_key key;
static uint8_t data_key[SEAL_KEY_LEN], salt[SEAL_SALT_LEN];
static uint8_t plain[EXTENT_MAX], sealed[EXTENT_MAX], opened[EXTENT_MAX];

static int setup(void **state)
{
    (void)state;
    if (sodium_init() < 0)
        return -1;
    randombytes_buf(data_key, sizeof data_key);
    randombytes_buf(salt, sizeof salt);
    seal_key_derive(&key, data_key, salt);
    s = seal_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    seal_free(s);
    return 0;
}

static struct seal_ad place(uint32_t sectors)
{
    struct seal_ad ad = {.rp = 12, .volume = 3, .sector = 0xfedcba98, .sectors = sectors};
    seal_group_id(ad.group_id, "bethune", "records");
    seal_volume_id(ad.volume_id, "bethune", "records", "pgdata");
    return ad;
}

/* Words with a random one in between: shrinks, but is no trivial run. */
static void fill_text(uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        memcpy(p + i, "patient ", 8);
        if (i % 64 == 0)
            randombytes_buf(p + i, 4);
    }
}

static int reopen(const struct seal_ad *ad, const struct seal_result *r, struct err *e)
{
    struct seal_ad bound = *ad;
    bound.codec = r->codec;
    memset(opened, 0xee, sizeof opened);
    return seal_open(s, &key, &bound, sealed, r->sealed_len, r->tag, opened, e);
}

static void extents_of_every_size_and_nature_round_trip(void **state)
{
    static const uint32_t sizes[] = {1, 2, 15, 16, 17, 255, 256};
    static const int levels[] = {0, 1, 3, 9};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t len = (size_t)sizes[i] * SECTOR_SIZE;
        for (size_t j = 0; j < 8; j++) {
            struct seal_ad ad = place(sizes[i]);
            struct seal_result r;
            struct err e = ERR_INIT;
            if (j & 1)
                randombytes_buf(plain, len);
            else
                fill_text(plain, len);
            seal_extent(s, &key, levels[j / 2], &ad, plain, sealed, &r);
            assert_true(r.sealed_len <= seal_bound(sizes[i]));
            if (levels[j / 2] == 0 || (j & 1))
                assert_int_equal(r.codec, CODEC_STORED);
            else
                assert_int_equal(r.codec, CODEC_ZSTD);
            assert_int_equal(r.frame_len, r.sealed_len + (r.codec == CODEC_ZSTD ? 4 : 0));
            assert_int_equal(reopen(&ad, &r, &e), 0);
            assert_memory_equal(opened, plain, len);
        }
    }
}

/* The nonce and the additional data are written down here a second time, byte by byte, from
 * FORMAT.md, and libsodium does the rest. */
static size_t by_libsodium(uint8_t *dst, uint8_t tag[16], const struct seal_ad *ad,
                           const uint8_t *src, size_t len)
{
    uint8_t nonce[24], bytes[56] = "RXA1";
    memcpy(nonce, salt, 16);
    nonce[16] = (uint8_t)ad->volume;
    nonce[17] = (uint8_t)(ad->volume >> 8);
    for (int i = 0; i < 4; i++) {
        nonce[18 + i] = (uint8_t)(ad->sector >> 8 * i);
        bytes[44 + i] = (uint8_t)(ad->sector >> 8 * i);
        bytes[48 + i] = (uint8_t)(ad->sectors >> 8 * i);
    }
    nonce[22] = nonce[23] = 0;
    memcpy(bytes + 4, ad->group_id, 16);
    memcpy(bytes + 20, ad->volume_id, 16);
    for (int i = 0; i < 8; i++)
        bytes[36 + i] = (uint8_t)(ad->rp >> 8 * i);
    bytes[52] = (uint8_t)ad->volume;
    bytes[53] = (uint8_t)(ad->volume >> 8);
    bytes[54] = ad->kind;
    bytes[55] = ad->codec;
    assert_int_equal(crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
                         dst, tag, NULL, src, len, bytes, sizeof bytes, NULL, nonce, data_key),
                     0);
    return len;
}

static void sealing_is_libsodiums_xchacha20_poly1305(void **state)
{
    static uint8_t expect[EXTENT_MAX];
    (void)state;
    for (int i = 0; i < 200; i++) {
        uint32_t sectors = 1 + randombytes_uniform(i % 20 ? 8 : EXTENT_SECTORS);
        size_t len = (size_t)sectors * SECTOR_SIZE;
        struct seal_ad ad = place(sectors);
        struct seal_result r;
        uint8_t tag[16];
        ad.volume = (uint16_t)randombytes_random();
        ad.sector = randombytes_random();
        ad.rp = (uint64_t)randombytes_random() << 32 | randombytes_random();
        if (i % 3 == 0) { /* another delta: the cached cipher key must follow */
            randombytes_buf(salt, sizeof salt);
            seal_key_derive(&key, data_key, salt);
        }
        randombytes_buf(plain, len);
        seal_extent(s, &key, 0, &ad, plain, sealed, &r);
        assert_int_equal(by_libsodium(expect, tag, &ad, plain, len), r.sealed_len);
        assert_memory_equal(expect, sealed, len);
        assert_memory_equal(tag, r.tag, 16);
    }
}

static void subkeys_are_those_of_the_draft(void **state)
{
    /* draft-irtf-cfrg-xchacha-03, 2.2.1 */
    static const uint8_t nonce[16] = {0, 0, 0, 9, 0,    0,    0,    0x4a,
                                      0, 0, 0, 0, 0x31, 0x41, 0x59, 0x27};
    static const uint8_t expect[32] = {0x82, 0x41, 0x3b, 0x42, 0x27, 0xb2, 0x7b, 0xfe,
                                       0xd3, 0x0e, 0x42, 0x50, 0x8a, 0x87, 0x7d, 0x73,
                                       0xa0, 0xf9, 0xe4, 0xd5, 0x8a, 0x74, 0xa8, 0x53,
                                       0xc1, 0x2e, 0xc4, 0x13, 0x26, 0xd3, 0xec, 0xdc};
    uint8_t k[32];
    struct seal_key out;
    (void)state;
    for (size_t i = 0; i < 32; i++)
        k[i] = (uint8_t)i;
    seal_key_derive(&out, k, nonce);
    assert_memory_equal(out.subkey, expect, 32);
}

static void sealed_zstd_is_a_bare_frame_without_its_magic(void **state)
{
    static uint8_t frame[EXTENT_MAX];
    struct seal_ad ad = place(4);
    struct seal_result r;
    uint8_t tag[16];
    size_t n;
    ZSTD_CCtx *c = ZSTD_createCCtx();
    (void)state;
    fill_text(plain, 4 * SECTOR_SIZE);
    seal_extent(s, &key, 3, &ad, plain, sealed, &r);
    (void)ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, 3);
    n = ZSTD_compress2(c, frame, sizeof frame, plain, 4 * SECTOR_SIZE);
    (void)ZSTD_freeCCtx(c);
    assert_true(r.frame_len <= n); /* a plain zstd frame may carry the content size besides */
    assert_int_equal(r.codec, CODEC_ZSTD);
    ad.codec = CODEC_ZSTD;
    assert_int_equal(
        seal_open(s, &key, &ad, sealed, r.sealed_len, r.tag, opened, &(struct err)ERR_INIT), 0);
    assert_memory_equal(opened, plain, 4 * SECTOR_SIZE);
    /* and a frame that another zstd made opens as well */
    assert_int_equal(by_libsodium(sealed, tag, &ad, frame + 4, n - 4), n - 4);
    assert_int_equal(
        seal_open(s, &key, &ad, sealed, (uint32_t)(n - 4), tag, opened, &(struct err)ERR_INIT), 0);
    assert_memory_equal(opened, plain, 4 * SECTOR_SIZE);
}

static void a_sealed_frame_of_the_wrong_length_is_corrupt_and_wiped(void **state)
{
    static uint8_t frame[EXTENT_MAX];
    (void)state;
    for (uint32_t sectors = 3; sectors <= 5;
         sectors += 2) { /* frame of 4: one too long, one short */
        struct seal_ad ad = place(sectors);
        struct err e = ERR_INIT;
        uint8_t tag[16];
        size_t n;
        fill_text(plain, 4 * SECTOR_SIZE);
        n = ZSTD_compress(frame, sizeof frame, plain, 4 * SECTOR_SIZE, 3);
        ad.codec = CODEC_ZSTD;
        (void)by_libsodium(sealed, tag, &ad, frame + 4, n - 4);
        memset(opened, 0xee, sizeof opened);
        assert_int_equal(seal_open(s, &key, &ad, sealed, (uint32_t)(n - 4), tag, opened, &e),
                         -ERR_CORRUPT);
        for (size_t i = 0; i < (size_t)sectors * SECTOR_SIZE; i++)
            assert_int_equal(opened[i], 0);
    }
}

static void any_flipped_bit_is_refused_and_the_plain_wiped(void **state)
{
    struct seal_ad ad = place(1);
    struct seal_result r;
    struct err e = ERR_INIT;
    (void)state;
    fill_text(plain, SECTOR_SIZE);
    seal_extent(s, &key, 3, &ad, plain, sealed, &r);
    assert_true(r.sealed_len < 2000);
    for (uint32_t bit = 0; bit < (r.sealed_len + 16) * 8; bit++) {
        uint8_t *p = bit / 8 < r.sealed_len ? &sealed[bit / 8] : &r.tag[bit / 8 - r.sealed_len];
        *p ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(reopen(&ad, &r, &e), -ERR_AUTH);
        *p ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t i = 0; i < SECTOR_SIZE; i++)
        assert_int_equal(opened[i], 0);
    assert_int_equal(opened[SECTOR_SIZE], 0xee);
    assert_int_equal(reopen(&ad, &r, &e), 0);
}

static void a_cut_or_grown_extent_is_refused(void **state)
{
    struct seal_ad ad = place(1);
    struct seal_result r;
    struct err e = ERR_INIT;
    uint32_t whole;
    (void)state;
    fill_text(plain, SECTOR_SIZE);
    seal_extent(s, &key, 3, &ad, plain, sealed, &r);
    whole = r.sealed_len;
    for (r.sealed_len = 1; r.sealed_len < SECTOR_SIZE; r.sealed_len++)
        assert_int_equal(reopen(&ad, &r, &e), r.sealed_len == whole ? 0 : -ERR_AUTH);
    r.sealed_len = 0;
    assert_int_equal(reopen(&ad, &r, &e), -ERR_CORRUPT);
    r.sealed_len = SECTOR_SIZE;
    assert_int_equal(reopen(&ad, &r, &e), -ERR_CORRUPT);
    r.codec = CODEC_STORED;
    r.sealed_len = SECTOR_SIZE - 1;
    assert_int_equal(reopen(&ad, &r, &e), -ERR_CORRUPT);
}

static void an_extent_is_bound_to_every_field(void **state)
{
    struct seal_ad ad = place(2);
    struct seal_result r;
    (void)state;
    randombytes_buf(plain, 2 * SECTOR_SIZE);
    seal_extent(s, &key, 3, &ad, plain, sealed, &r);
    assert_int_equal(r.codec, CODEC_STORED);
    for (int field = 0; field < 9; field++) {
        struct seal_ad other = ad;
        struct err e = ERR_INIT;
        int want = -ERR_AUTH;
        switch (field) {
        case 0:
            seal_group_id(other.group_id, "bethune", "imaging");
            break;
        case 1:
            seal_volume_id(other.volume_id, "bethune", "records", "wal");
            break;
        case 2:
            other.rp++;
            break;
        case 3:
            other.volume++;
            break;
        case 4:
            other.sector++;
            break;
        case 5:
            other.sectors++;
            want = -ERR_CORRUPT; /* the length cannot fit either */
            break;
        case 6:
            other.kind = EXTENT_PATCH;
            want = -ERR_INPUT;
            break;
        case 7:
            other.codec = 2;
            want = -ERR_INPUT;
            break;
        default:
            want = 0;
        }
        assert_int_equal(seal_open(s, &key, &other, sealed, r.sealed_len, r.tag, opened, &e), want);
    }
}

static void an_extent_is_bound_to_codec_and_length_by_its_tag_too(void **state)
{
    struct seal_ad ad = place(2);
    struct seal_result r;
    struct err e = ERR_INIT;
    (void)state;
    fill_text(plain, 2 * SECTOR_SIZE);
    seal_extent(s, &key, 3, &ad, plain, sealed, &r);
    ad.codec = CODEC_ZSTD;
    ad.sectors = 3;
    assert_int_equal(seal_open(s, &key, &ad, sealed, r.sealed_len, r.tag, opened, &e), -ERR_AUTH);
    ad.sectors = 1; /* as stored bytes of one sector, were they as many */
    r.sealed_len = SECTOR_SIZE;
    ad.codec = CODEC_STORED;
    assert_int_equal(seal_open(s, &key, &ad, sealed, r.sealed_len, r.tag, opened, &e), -ERR_AUTH);
}

static void another_salt_or_data_key_opens_nothing(void **state)
{
    struct seal_ad ad = place(1);
    struct seal_result r;
    struct seal_key other;
    struct err e = ERR_INIT;
    uint8_t changed[SEAL_KEY_LEN];
    (void)state;
    seal_extent(s, &key, 3, &ad, plain, sealed, &r);
    ad.codec = r.codec;
    memcpy(changed, data_key, sizeof changed);
    changed[31] ^= 1;
    seal_key_derive(&other, changed, salt);
    assert_int_equal(seal_open(s, &other, &ad, sealed, r.sealed_len, r.tag, opened, &e), -ERR_AUTH);
    memcpy(changed, salt, SEAL_SALT_LEN);
    changed[0] ^= 1;
    seal_key_derive(&other, data_key, changed);
    assert_int_equal(seal_open(s, &other, &ad, sealed, r.sealed_len, r.tag, opened, &e), -ERR_AUTH);
    assert_int_equal(seal_open(s, &key, &ad, sealed, r.sealed_len, r.tag, opened, &e), 0);
}

static void identities_keep_site_group_and_volume_apart(void **state)
{
    uint8_t a[16], b[16];
    (void)state;
    seal_group_id(a, "ab", "c");
    seal_group_id(b, "a", "bc");
    assert_memory_not_equal(a, b, 16);
    seal_volume_id(a, "a", "b", "cd");
    seal_volume_id(b, "a", "bc", "d");
    assert_memory_not_equal(a, b, 16);
}

static void a_large_extent_is_compressed_when_only_a_part_of_it_shrinks(void **state)
{
    struct seal_ad ad = place(EXTENT_SECTORS);
    struct seal_result r;
    (void)state;
    randombytes_buf(plain, EXTENT_MAX);
    memset(plain + EXTENT_MAX / 2, 0, EXTENT_MAX / 16);
    seal_extent(s, &key, 3, &ad, plain, sealed, &r);
    assert_int_equal(r.codec, CODEC_ZSTD);
    assert_true(r.sealed_len < EXTENT_MAX - EXTENT_MAX / 16 + 4096);
}

/* -- Levels -- */

#define SAMPLE (EXTENT_SECTORS * SECTOR_SIZE)

static void sample_text(uint8_t *p)
{
    static const char *const words[] = {"patient ",    "ward ",      "blood pressure ",
                                        "discharged ", "2026-11-",   "mg ",
                                        "the ",        "radiology\n"};
    for (size_t n = 0; n < SAMPLE;) {
        const char *w = words[randombytes_uniform(8)];
        size_t len = strlen(w) < SAMPLE - n ? strlen(w) : SAMPLE - n;
        memcpy(p + n, w, len);
        n += len;
    }
}

/* Pages as a database fills them: counters, times, small numbers, names. */
static void sample_pages(uint8_t *p)
{
    for (size_t n = 0; n < SAMPLE; n += 64) {
        uint32_t row[16] = {(uint32_t)n, 700000, 0x00010203, (uint32_t)(n / 64)};
        row[4] = randombytes_uniform(5000);
        memcpy(&row[5], "martin  durand  ", 16);
        memcpy(p + n, row, sizeof row);
    }
}

/* An image of 12 bits a pixel, with noise in the lower ones. */
static void sample_pixels(uint8_t *p)
{
    for (size_t n = 0; n < SAMPLE; n += 2) {
        unsigned v = 1000 + (unsigned)(n / 512 % 700) + randombytes_uniform(16);
        p[n] = (uint8_t)v;
        p[n + 1] = (uint8_t)(v >> 8);
    }
}

static void sample_base64(uint8_t *p)
{
    for (size_t n = 0; n < SAMPLE; n++)
        p[n] = (uint8_t) "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
            [randombytes_uniform(64)];
}

/* Mostly what does not shrink, with something that does at the end. */
static void sample_mixed(uint8_t *p)
{
    randombytes_buf(p, SAMPLE);
    fill_text(p + SAMPLE - SAMPLE / 8, SAMPLE / 8);
}

static void (*const samples[])(uint8_t *) = {sample_text, sample_pages, sample_pixels,
                                             sample_base64, sample_mixed};

/* What zstd itself makes of it at a level. */
static size_t reference(int level)
{
    static uint8_t out[SAMPLE + 65536];
    size_t n = ZSTD_compress(out, sizeof out, plain, SAMPLE, level);
    assert_false(ZSTD_isError(n));
    return n < SAMPLE ? n : SAMPLE;
}

static uint32_t seal_at(int level)
{
    struct seal_ad ad = place(EXTENT_SECTORS);
    struct seal_result r;
    struct err e = ERR_INIT;
    seal_extent(s, &key, level, &ad, plain, sealed, &r);
    assert_int_equal(reopen(&ad, &r, &e), 0);
    assert_memory_equal(opened, plain, SAMPLE);
    return r.sealed_len;
}

static void nothing_that_shrinks_is_missed_for_being_tried_first(void **state)
{
    static const int levels[] = {1, 3, 6, 9};
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        for (size_t k = 0; k < 4; k++) {
            samples[i](plain);
            assert_true((double)seal_at(levels[k]) <= 1.005 * (double)reference(levels[k]));
        }
}

static void a_higher_level_saves_more(void **state)
{
    uint32_t low, high;
    (void)state;
    sample_text(plain);
    low = seal_at(1);
    high = seal_at(9);
    assert_true((double)high < 0.95 * (double)low);
    assert_int_equal(seal_at(1), low); /* whatever was used in between */
}

static double best_of(int level, unsigned times)
{
    struct seal_ad ad = place(EXTENT_SECTORS);
    struct seal_result r;
    double best = 1e9;
    while (times-- > 0) {
        clock_t start = clock();
        for (unsigned i = 0; i < 4; i++)
            seal_extent(s, &key, level, &ad, plain, sealed, &r);
        double took = (double)(clock() - start) / CLOCKS_PER_SEC;
        best = took < best ? took : best;
    }
    return best;
}

/* zstd alone takes 20 times as long there. */
static void what_does_not_shrink_costs_no_more_at_a_high_level(void **state)
{
    (void)state;
    randombytes_buf(plain, SAMPLE);
    assert_int_equal(seal_at(9), SAMPLE);
    assert_true(best_of(9, 10) < 2 * best_of(1, 10) + 0.0005);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extents_of_every_size_and_nature_round_trip),
        cmocka_unit_test(sealing_is_libsodiums_xchacha20_poly1305),
        cmocka_unit_test(subkeys_are_those_of_the_draft),
        cmocka_unit_test(sealed_zstd_is_a_bare_frame_without_its_magic),
        cmocka_unit_test(a_sealed_frame_of_the_wrong_length_is_corrupt_and_wiped),
        cmocka_unit_test(any_flipped_bit_is_refused_and_the_plain_wiped),
        cmocka_unit_test(a_cut_or_grown_extent_is_refused),
        cmocka_unit_test(an_extent_is_bound_to_every_field),
        cmocka_unit_test(an_extent_is_bound_to_codec_and_length_by_its_tag_too),
        cmocka_unit_test(another_salt_or_data_key_opens_nothing),
        cmocka_unit_test(identities_keep_site_group_and_volume_apart),
        cmocka_unit_test(a_large_extent_is_compressed_when_only_a_part_of_it_shrinks),
        cmocka_unit_test(nothing_that_shrinks_is_missed_for_being_tried_first),
        cmocka_unit_test(a_higher_level_saves_more),
        cmocka_unit_test(what_does_not_shrink_costs_no_more_at_a_high_level),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
