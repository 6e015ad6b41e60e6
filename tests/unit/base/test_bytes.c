/* bytes: a parser may read past the end without harm, and a number has one encoding. */
#include "bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void reading_past_the_end_is_bad_and_gives_zero(void **state)
{
    const uint8_t p[] = {1, 2, 3};
    struct bytes_in b = bytes_in(p, sizeof p);
    (void)state;
    assert_int_equal(bytes_get_u16(&b), 0x0201);
    assert_int_equal(bytes_get_u32(&b), 0);
    assert_true(bytes_bad(&b));
    assert_int_equal(bytes_get_u8(&b), 0);
    assert_int_equal(bytes_left(&b), 0);
}

static void varints_round_trip(void **state)
{
    const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct bytes_out o = bytes_out(16);
        bytes_put_varint(&o, values[i]);
        struct bytes_in b = bytes_in(o.p, o.len);
        assert_true(bytes_get_varint(&b) == values[i]);
        assert_false(bytes_bad(&b));
        assert_int_equal(bytes_left(&b), 0);
        bytes_free(&o);
    }
}

static void a_padded_or_overlong_varint_is_bad(void **state)
{
    const uint8_t padded[] = {0x80, 0x00};
    const uint8_t overflow[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    struct bytes_in b = bytes_in(padded, sizeof padded);
    (void)state;
    (void)bytes_get_varint(&b);
    assert_true(bytes_bad(&b));
    b = bytes_in(overflow, sizeof overflow);
    (void)bytes_get_varint(&b);
    assert_true(bytes_bad(&b));
}

static void text_with_nul_or_too_long_is_bad(void **state)
{
    const uint8_t nul[] = {3, 'a', 0, 'b'};
    const uint8_t longer[] = {4, 'a', 'b', 'c', 'd'};
    char dst[4];
    struct bytes_in b = bytes_in(nul, sizeof nul);
    (void)state;
    bytes_get_str(&b, dst, sizeof dst);
    assert_true(bytes_bad(&b));
    b = bytes_in(longer, sizeof longer);
    bytes_get_str(&b, dst, sizeof dst);
    assert_true(bytes_bad(&b));
    assert_string_equal(dst, "");
}

static void writing_past_the_maximum_is_bad_and_keeps_what_fitted(void **state)
{
    struct bytes_out o = bytes_out(4);
    (void)state;
    bytes_put_u32(&o, 7);
    assert_false(o.bad);
    bytes_put_u8(&o, 1);
    assert_true(o.bad);
    assert_int_equal(o.len, 4);
    bytes_free(&o);
}

static void hexadecimal_is_exact(void **state)
{
    uint8_t b[2];
    char text[5];
    (void)state;
    assert_int_equal(bytes_unhex(b, 2, "0aFf"), 0);
    bytes_hex(text, b, 2);
    assert_string_equal(text, "0aff");
    assert_int_equal(bytes_unhex(b, 2, "0af"), -1);
    assert_int_equal(bytes_unhex(b, 2, "0afg"), -1);
}

static void names_are_path_safe(void **state)
{
    (void)state;
    assert_true(bytes_is_name("records-2"));
    assert_false(bytes_is_name(""));
    assert_false(bytes_is_name("-x"));
    assert_false(bytes_is_name("Records"));
    assert_false(bytes_is_name("a/b"));
    assert_false(bytes_is_name("0123456789012345678901234567890123456789012345678"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_past_the_end_is_bad_and_gives_zero),
        cmocka_unit_test(varints_round_trip),
        cmocka_unit_test(a_padded_or_overlong_varint_is_bad),
        cmocka_unit_test(text_with_nul_or_too_long_is_bad),
        cmocka_unit_test(writing_past_the_maximum_is_bad_and_keeps_what_fitted),
        cmocka_unit_test(hexadecimal_is_exact),
        cmocka_unit_test(names_are_path_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
