/* index: what is written is read back, and nothing that is out of order or bounds is read at all.
 */
#include "index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define START 16u

static struct index_entry data(uint16_t volume, uint32_t sector, uint32_t sectors, uint32_t len)
{
    struct index_entry it = {.volume = volume, .sector = sector, .sectors = sectors};
    it.sealed_len = len;
    it.codec = len == sectors * SECTOR_SIZE ? CODEC_STORED : CODEC_ZSTD;
    memset(it.tag, (int)(sector + 1), sizeof it.tag);
    return it;
}

static struct index_entry zero(uint16_t volume, uint32_t sector, uint32_t sectors)
{
    return (struct index_entry){
        .volume = volume, .sector = sector, .sectors = sectors, .kind = EXTENT_ZERO};
}

static void assert_same(const struct index_entry *a, const struct index_entry *b)
{
    assert_int_equal(a->volume, b->volume);
    assert_int_equal(a->source, b->source);
    assert_int_equal(a->sector, b->sector);
    assert_int_equal(a->sectors, b->sectors);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->codec, b->codec);
    assert_int_equal(a->sealed_len, b->sealed_len);
    assert_true(a->place == b->place && a->base_rp == b->base_rp);
    assert_memory_equal(a->tag, b->tag, SEAL_TAG_LEN);
}

static uint64_t end_place(const struct index_writer *w)
{
    return w->last.place + w->last.sealed_len;
}

static void entries_round_trip(void **state)
{
    struct index_entry put[8], got;
    struct index_writer w;
    struct index_reader r;
    struct err e = ERR_INIT;
    (void)state;
    put[0] = data(0, 0, 1, 17);
    put[1] = data(0, 1, 256, 256 * SECTOR_SIZE);
    put[2] = zero(0, 1000000, 5000000);
    put[3] = data(0, UINT32_MAX, 1, SECTOR_SIZE);
    put[4] = zero(2, 0, UINT32_MAX);
    put[5] = data(2, UINT32_MAX, 1, 1);
    put[6] = data(63, 77, 3, 3 * SECTOR_SIZE - 1);
    put[7] = data(63, 90, 3, 100);
    put[7].kind = EXTENT_PATCH;
    put[7].base_rp = UINT64_MAX;
    for (uint16_t sources = 1; sources <= 64; sources += 63) {
        index_writer_init(&w, START, sources);
        for (size_t i = 0; i < 8; i++) {
            put[i].source = (uint16_t)(i * 9 % sources); /* ascending */
            assert_true(index_append(&w, &put[i]));
        }
        assert_int_equal(w.count, 8);
        assert_int_equal(put[0].place, START);
        assert_int_equal(put[1].place, START + 17);
        index_reader_init(&r, w.out.p, w.out.len, 8, 64, sources, START, end_place(&w));
        for (size_t i = 0; i < 8; i++) {
            assert_int_equal(index_next(&r, &got, &e), 1);
            assert_same(&got, &put[i]);
        }
        assert_int_equal(index_next(&r, &got, &e), 0);
        index_writer_free(&w);
    }
}

/* As a merge leaves it: what is older comes first, and may overlap what is newer. */
static void sources_follow_one_another_and_may_overlap(void **state)
{
    struct index_entry put[] = {data(0, 5, 256, 999), data(2, 0, 1, 7), zero(2, 50, 9),
                                data(0, 6, 1, 17),    data(2, 0, 1, 8), data(0, 0, 64, 5)};
    static const uint16_t of[] = {0, 0, 0, 1, 1, 3};
    struct index_writer w;
    struct index_reader r, *starts;
    struct index_entry got;
    struct err e = ERR_INIT;
    uint16_t count;
    (void)state;
    index_writer_init(&w, START, 4);
    for (size_t i = 0; i < 6; i++) {
        put[i].source = of[i];
        assert_true(index_append(&w, &put[i]));
    }
    index_reader_init(&r, w.out.p, w.out.len, 6, 3, 4, START, end_place(&w));
    assert_int_equal(index_split(&r, &starts, &count, &e), 0);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(index_next(&r, &got, &e), 1);
        assert_same(&got, &put[i]);
    }
    assert_int_equal(index_next(&r, &got, &e), 0);
    assert_int_equal(count, 3);
    for (uint16_t s = 0; s < count; s++) {
        static const size_t first[] = {0, 3, 5};
        assert_int_equal(index_next(&starts[s], &got, &e), 1);
        assert_same(&got, &put[first[s]]);
    }
    free(starts);
    index_writer_free(&w);
}

static void an_empty_index_is_fine(void **state)
{
    struct index_reader r;
    struct index_entry got;
    struct err e = ERR_INIT;
    (void)state;
    index_reader_init(&r, NULL, 0, 0, 1, 0, START, START);
    assert_int_equal(index_next(&r, &got, &e), 0);
    index_reader_init(&r, NULL, 0, 0, 1, 0, START, START + 1);
    assert_int_equal(index_next(&r, &got, &e), -ERR_INPUT);
    index_reader_init(&r, "x", 1, 0, 1, 0, START, START);
    assert_int_equal(index_next(&r, &got, &e), -ERR_INPUT);
}

static void adjacent_zero_extents_are_joined(void **state)
{
    struct index_entry it, got;
    struct index_writer w;
    struct index_reader r;
    struct err e = ERR_INIT;
    (void)state;
    index_writer_init(&w, START, 2);
    it = data(0, 3, 1, 9);
    assert_true(index_append(&w, &it));
    for (uint32_t i = 0; i < 300; i++) {
        it = zero(0, 10 + i, 1);
        assert_true(index_append(&w, &it));
    }
    assert_int_equal(w.count, 2);
    it = zero(0, 310, 1); /* another source */
    it.source = 1;
    assert_true(index_append(&w, &it));
    it = zero(0, 312, 1); /* a gap */
    it.source = 1;
    assert_true(index_append(&w, &it));
    it = zero(1, 313, 1); /* another volume */
    it.source = 1;
    assert_true(index_append(&w, &it));
    assert_int_equal(w.count, 5);
    index_reader_init(&r, w.out.p, w.out.len, w.count, 2, 2, START, end_place(&w));
    assert_int_equal(index_next(&r, &got, &e), 1);
    assert_int_equal(index_next(&r, &got, &e), 1);
    assert_int_equal(got.sector, 10);
    assert_int_equal(got.sectors, 300);
    assert_int_equal(got.kind, EXTENT_ZERO);
    for (int i = 0; i < 3; i++)
        assert_int_equal(index_next(&r, &got, &e), 1);
    assert_int_equal(got.volume, 1);
    assert_int_equal(got.sector, 313);
    assert_int_equal(index_next(&r, &got, &e), 0);
    index_writer_free(&w);
}

static void a_whole_volume_of_zeroes_is_two_entries(void **state)
{
    struct index_entry it = zero(0, 0, UINT32_MAX);
    struct index_writer w;
    (void)state;
    index_writer_init(&w, START, 1);
    assert_true(index_append(&w, &it));
    it = zero(0, UINT32_MAX, 1); /* joined it would not fit its field */
    assert_true(index_append(&w, &it));
    assert_int_equal(w.count, 2);
    index_writer_free(&w);
}

static void a_scattered_sector_costs_at_most_24_bytes(void **state)
{
    static const uint32_t gaps[] = {1, 100, 5000, 100000, 1000000};
    (void)state;
    for (size_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++) {
        struct index_writer w;
        index_writer_init(&w, START, 1);
        for (uint32_t i = 0; i < 1000; i++) {
            struct index_entry it = data(0, i * (gaps[g] + 1), 1, 1000 + i);
            assert_true(index_append(&w, &it));
        }
        assert_true(w.out.len <= (gaps[g] <= 5000 ? 22 : 24) * w.count);
        index_writer_free(&w);
    }
}

static void the_number_of_entries_is_bounded(void **state)
{
    struct index_writer w;
    struct index_entry it;
    size_t len;
    (void)state;
    index_writer_init(&w, START, 1);
    for (uint32_t i = 0; i < EXTENTS_MAX; i++) {
        it = data(0, i * 2, 1, SECTOR_SIZE);
        assert_true(index_append(&w, &it));
    }
    len = w.out.len;
    assert_true(len <= INDEX_MAX);
    it = data(0, EXTENTS_MAX * 2, 1, SECTOR_SIZE);
    assert_false(index_append(&w, &it));
    assert_int_equal(w.count, EXTENTS_MAX);
    assert_int_equal(w.out.len, len);
    index_writer_free(&w);
}

static void the_length_of_the_index_is_bounded(void **state)
{
    struct index_writer w;
    struct index_entry it;
    uint32_t i = 0;
    (void)state;
    index_writer_init(&w, START, SOURCES_MAX);
    do { /* the longest entries there are */
        it = data(0, i * 8000, 256, 256 * SECTOR_SIZE - 1);
        it.kind = EXTENT_PATCH;
        it.base_rp = UINT64_MAX;
    } while (i++ < EXTENTS_MAX && index_append(&w, &it));
    assert_true(w.count < EXTENTS_MAX);
    assert_true(w.out.len <= INDEX_MAX && w.out.len > INDEX_MAX - 256);
    index_writer_free(&w);
}

/* Reads it all; how it ended. */
static int read_all(const void *p, size_t len, uint32_t count, uint64_t data_end, struct err *e)
{
    struct index_reader r;
    struct index_entry got;
    int rc;
    index_reader_init(&r, p, len, count, 2, 2, START, data_end);
    while ((rc = index_next(&r, &got, e)) == 1)
        ;
    return rc;
}

struct raw {
    const char *why;
    uint64_t head;
    uint64_t rest[4]; /* numbers after the head, to the first UINT64_MAX */
    bool tag;
    uint64_t data_len;
};
#define END    UINT64_MAX
#define NEW    16u
#define ZSTD   (1u << 2)
#define GAP(n) ((uint64_t)(n) << 5)

static void entries_out_of_bounds_are_refused_with_the_reason(void **state)
{
    /* numbers after the head: volume and source (with NEW), sectors-1, length or base */
    static const struct raw cases[] = {
        {NULL, NEW | 1, {0, 0, 0, END}, false, 0},
        {NULL, NEW | ZSTD, {1, 1, 0, 7}, true, 7},
        {"newer version", NEW | 3, {0, 0, 0, 7}, true, 7},
        {"newer version", NEW | 2u << 2, {0, 0, 0, 7}, true, 7},
        {"must name its volume", ZSTD, {0, 0, 7, END}, true, 7},
        {"volume is not in the manifest", NEW | ZSTD, {2, 0, 0, 7}, true, 7},
        {"source is not in the manifest", NEW | ZSTD, {0, 2, 0, 7}, true, 7},
        {"beyond the largest volume", NEW | ZSTD | GAP(UINT64_C(1) << 32), {0, 0, 0, 7}, true, 7},
        {"beyond the largest volume", NEW | ZSTD | GAP(UINT32_MAX), {0, 0, 1, 7}, true, 7},
        {"beyond the largest volume", NEW | 1, {0, 0, UINT32_MAX, END}, false, 0},
        {"beyond the largest volume", NEW | 1 | GAP(2), {0, 0, UINT32_MAX - 1, END}, false, 0},
        {"longer than an extent", NEW | ZSTD, {0, 0, EXTENT_SECTORS, 7}, true, 7},
        {"does not fit its sectors", NEW | ZSTD, {0, 0, 0, 0}, true, 0},
        {"does not fit its sectors", NEW | ZSTD, {0, 0, 0, SECTOR_SIZE + 1}, true, 9000},
        {"does not fit its sectors", NEW | ZSTD, {0, 0, 0, 1 + EXTENT_MAX}, true, EXTENT_MAX * 2},
        {"does not fit its codec", NEW | ZSTD, {0, 0, 0, SECTOR_SIZE}, true, SECTOR_SIZE},
        {"does not fit its codec", NEW, {0, 0, 0, SECTOR_SIZE - 1}, true, SECTOR_SIZE - 1},
        {"zero extent has no bytes", NEW | ZSTD | 1, {0, 0, 0, END}, false, 0},
        {"beyond the sealed bytes", NEW | ZSTD, {0, 0, 0, 8}, true, 7},
        {"sealed bytes end at", NEW | ZSTD, {0, 0, 0, 7}, true, 8},
        {"ends inside", NEW | ZSTD, {0, 0, 0, 7}, false, 7},
        {"ends inside", NEW | ZSTD, {0, 0, END}, false, 7},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes_out o = bytes_out(256);
        struct err e = ERR_INIT;
        const uint8_t tag[SEAL_TAG_LEN] = {1};
        int rc;
        bytes_put_varint(&o, cases[i].head);
        for (size_t j = 0; j < 4 && cases[i].rest[j] != END; j++)
            bytes_put_varint(&o, cases[i].rest[j]);
        if (cases[i].tag)
            bytes_put(&o, tag, sizeof tag);
        rc = read_all(o.p, o.len, 1, START + cases[i].data_len, &e);
        if (rc != (cases[i].why ? -ERR_INPUT : 0) ||
            (cases[i].why && !strstr(e.text, cases[i].why)))
            fail_msg("case %zu (%s): %d, \"%s\"", i, cases[i].why ? cases[i].why : "", rc, e.text);
        bytes_free(&o);
    }
}

static void a_patch_without_base_is_refused(void **state)
{
    struct bytes_out o = bytes_out(256);
    struct err e = ERR_INIT;
    const uint8_t numbers[] = {NEW | 2, 0, 0, 0, 9, 0}, tag[SEAL_TAG_LEN] = {0};
    (void)state;
    bytes_put(&o, numbers, sizeof numbers);
    bytes_put(&o, tag, sizeof tag);
    assert_int_equal(read_all(o.p, o.len, 1, START + 9, &e), -ERR_INPUT);
    assert_non_null(strstr(e.text, "patch needs"));
    bytes_free(&o);
}

static void volumes_and_sources_must_ascend_and_counts_be_exact(void **state)
{
    struct index_writer w;
    struct index_entry a = data(0, 5, 1, 7), b = data(1, 5, 1, 7);
    struct err e = ERR_INIT;
    uint64_t end;
    uint8_t *p;
    (void)state;
    index_writer_init(&w, START, 2);
    assert_true(index_append(&w, &a) && index_append(&w, &b));
    end = end_place(&w);
    assert_int_equal(read_all(w.out.p, w.out.len, 2, end, &e), 0);
    assert_int_equal(read_all(w.out.p, w.out.len, 3, end, &e), -ERR_INPUT);
    assert_int_equal(read_all(w.out.p, w.out.len, 1, end, &e), -ERR_INPUT);
    for (size_t cut = 0; cut < w.out.len; cut++)
        assert_int_equal(read_all(w.out.p, cut, 2, end, &e), -ERR_INPUT);
    /* the second entry's volume: after the first entry and the second head (both heads are 2 bytes)
     */
    p = w.out.p + w.out.len / 2 + 2;
    assert_int_equal(*p, 1);
    *p = 0;
    assert_int_equal(read_all(w.out.p, w.out.len, 2, end, &e), -ERR_INPUT);
    assert_non_null(strstr(e.text, "out of order"));
    assert_non_null(strstr(e.text, "entry 2 of 2"));
    p[1] = 1; /* of a later source the same volume may come again */
    assert_int_equal(read_all(w.out.p, w.out.len, 2, end, &e), 0);
    index_writer_free(&w);
    index_writer_init(&w, START, 2);
    a.source = b.source = 1;
    assert_true(index_append(&w, &a) && index_append(&w, &b));
    p = w.out.p + w.out.len / 2 + 3;
    assert_int_equal(*p, 1);
    *p = 0; /* an earlier source never */
    assert_int_equal(read_all(w.out.p, w.out.len, 2, end, &e), -ERR_INPUT);
    assert_non_null(strstr(e.text, "out of order"));
    index_writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_round_trip),
        cmocka_unit_test(sources_follow_one_another_and_may_overlap),
        cmocka_unit_test(an_empty_index_is_fine),
        cmocka_unit_test(adjacent_zero_extents_are_joined),
        cmocka_unit_test(a_whole_volume_of_zeroes_is_two_entries),
        cmocka_unit_test(a_scattered_sector_costs_at_most_24_bytes),
        cmocka_unit_test(the_number_of_entries_is_bounded),
        cmocka_unit_test(the_length_of_the_index_is_bounded),
        cmocka_unit_test(entries_out_of_bounds_are_refused_with_the_reason),
        cmocka_unit_test(a_patch_without_base_is_refused),
        cmocka_unit_test(volumes_and_sources_must_ascend_and_counts_be_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
