/* delta: header and trailer frame a file whose parts fit together. */
#include "delta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void the_header_is_its_16_bytes(void **state)
{
    uint8_t h[DELTA_HEADER_LEN];
    struct err e = ERR_INIT;
    (void)state;
    delta_header(h);
    assert_memory_equal(h, "RELAISD1\1\0\0\0\0\0\0\0", 16);
    assert_int_equal(delta_header_check(h, &e), 0);
    for (int bit = 0; bit < 128; bit++) {
        h[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(delta_header_check(h, &e), -ERR_INPUT);
        h[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    h[8] = 2;
    assert_int_equal(delta_header_check(h, &e), -ERR_INPUT);
    assert_non_null(strstr(e.text, "upgrade"));
}

static void the_trailer_finds_the_manifest(void **state)
{
    uint8_t t[DELTA_TRAILER_LEN];
    uint64_t place = 0;
    uint32_t len = 0;
    struct err e = ERR_INIT;
    (void)state;
    delta_trailer(t, 300);
    assert_memory_equal(t, "\x2c\1\0\0\0\0\0\0RELAISE1", 16);
    assert_int_equal(delta_trailer_parse(t, 1000, &place, &len, &e), 0);
    assert_int_equal(place, 1000 - 16 - 300);
    assert_int_equal(len, 300);
    for (int bit = 32; bit < 128; bit++) {
        t[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(delta_trailer_parse(t, 1000, &place, &len, &e), -ERR_INPUT);
        t[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void impossible_lengths_are_refused(void **state)
{
    static const struct {
        uint32_t manifest_len;
        uint64_t file_len;
        int rc;
    } cases[] = {
        {0, 1000, -ERR_INPUT},
        {MANIFEST_MAX, 32 + MANIFEST_MAX, 0},
        {MANIFEST_MAX + 1, 33 + MANIFEST_MAX, -ERR_INPUT},
        {300, 331, -ERR_INPUT},
        {300, 332, 0},
        {300, 16, -ERR_INPUT},
        {300, 0, -ERR_INPUT},
        {UINT32_MAX, UINT64_MAX, -ERR_INPUT},
        {300, UINT64_MAX, -ERR_INPUT},
        {300, DELTA_MAX + 316, 0},
        {300, DELTA_MAX + 317, -ERR_INPUT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t t[DELTA_TRAILER_LEN];
        uint64_t place;
        uint32_t len;
        struct err e = ERR_INIT;
        delta_trailer(t, cases[i].manifest_len);
        assert_int_equal(delta_trailer_parse(t, cases[i].file_len, &place, &len, &e), cases[i].rc);
    }
}

static void the_file_ends_with_the_trailer(void **state)
{
    struct manifest m = {.index_place = 5000, .index_len = 70, .tables_len = 9};
    (void)state;
    assert_int_equal(delta_file_len(&m, 300), 5000 + 70 + 9 + 300 + 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_is_its_16_bytes),
        cmocka_unit_test(the_trailer_finds_the_manifest),
        cmocka_unit_test(impossible_lengths_are_refused),
        cmocka_unit_test(the_file_ends_with_the_trailer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
