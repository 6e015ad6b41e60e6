/* nbd reply: the bytes that a client gets. Written out by hand from the protocol's text. */
#include "reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COOKIE UINT64_C(0x0102030405060708)

static const struct nbd_session plain = {0};
static const struct nbd_session structured = {.structured = true, .allocation = true};
static const struct nbd_request reading = {.command = NBD_CMD_READ, .cookie = COOKIE};
static const struct nbd_request writing = {.command = NBD_CMD_WRITE, .cookie = COOKIE};

static uint8_t got[NBD_REPLY_STATUS_LEN(NBD_EXTENTS_MAX)];

#define assert_bytes(len, text)                                                                    \
    do {                                                                                           \
        assert_int_equal(len, sizeof(text) - 1);                                                   \
        assert_memory_equal(got, text, sizeof(text) - 1);                                          \
    } while (0)

static void a_simple_reply_has_16_bytes(void **state)
{
    (void)state;
    assert_bytes(nbd_reply_end(got, &plain, &writing, NBD_OK, NULL),
                 "\x67\x44\x66\x98\0\0\0\0\1\2\3\4\5\6\7\x8");
    assert_bytes(nbd_reply_end(got, &plain, &reading, NBD_ENOSPC, "ignored"),
                 "\x67\x44\x66\x98\0\0\0\x1c\1\2\3\4\5\6\7\x8");
}

static void success_but_of_a_read_is_simple_with_structured_replies_too(void **state)
{
    (void)state;
    assert_bytes(nbd_reply_end(got, &structured, &writing, NBD_OK, NULL),
                 "\x67\x44\x66\x98\0\0\0\0\1\2\3\4\5\6\7\x8");
    assert_bytes(nbd_reply_end(got, &structured, &reading, NBD_OK, NULL),
                 "\x66\x8e\x33\xef\0\1\0\0\1\2\3\4\5\6\7\x8\0\0\0\0");
}

static void a_structured_error_says_why(void **state)
{
    (void)state;
    assert_bytes(nbd_reply_end(got, &structured, &writing, NBD_EINVAL, "no"),
                 "\x66\x8e\x33\xef\0\1\x80\1\1\2\3\4\5\6\7\x8\0\0\0\x8\0\0\0\x16\0\2no");
}

static void a_long_text_is_cut(void **state)
{
    char text[1000];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(nbd_reply_end(got, &structured, &reading, NBD_EIO, text), NBD_REPLY_END_MAX);
    assert_int_equal(got[19], NBD_REPLY_END_MAX - 20);
    assert_int_equal(got[25], NBD_REPLY_END_MAX - 26);
}

static void data_of_a_simple_reply_follow_it(void **state)
{
    (void)state;
    assert_bytes(nbd_reply_data(got, &plain, COOKIE, 4096, 512, true),
                 "\x67\x44\x66\x98\0\0\0\0\1\2\3\4\5\6\7\x8");
    assert_int_equal(nbd_reply_data_head(&plain), 16);
}

static void data_of_a_chunk_name_their_offset(void **state)
{
    (void)state;
    assert_bytes(
        nbd_reply_data(got, &structured, COOKIE, 0x11223344556677, 512, false),
        "\x66\x8e\x33\xef\0\0\0\1\1\2\3\4\5\6\7\x8\0\0\2\x8\0\x11\x22\x33\x44\x55\x66\x77");
    assert_bytes(nbd_reply_data(got, &structured, COOKIE, 0, 1, true),
                 "\x66\x8e\x33\xef\0\1\0\1\1\2\3\4\5\6\7\x8\0\0\0\x9\0\0\0\0\0\0\0\0");
    assert_int_equal(nbd_reply_data_head(&structured), 28);
}

static void a_hole_is_told_by_its_length(void **state)
{
    (void)state;
    assert_bytes(nbd_reply_hole(got, COOKIE, 4096, 0x2000000, true),
                 "\x66\x8e\x33\xef\0\1\0\2\1\2\3\4\5\6\7\x8\0\0\0\xc\0\0\0\0\0\0\x10\0\2\0\0\0");
}

static void a_status_names_its_context(void **state)
{
    const struct nbd_extent its[] = {{4096, 0}, {65536, NBD_STATE_HOLE | NBD_STATE_ZERO}};
    (void)state;
    assert_bytes(nbd_reply_status(got, COOKIE, its, 2),
                 "\x66\x8e\x33\xef\0\1\0\5\1\2\3\4\5\6\7\x8\0\0\0\x14"
                 "\0\0\0\1\0\0\x10\0\0\0\0\0\0\1\0\0\0\0\0\3");
    assert_int_equal(NBD_REPLY_STATUS_LEN(2), 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_simple_reply_has_16_bytes),
        cmocka_unit_test(success_but_of_a_read_is_simple_with_structured_replies_too),
        cmocka_unit_test(a_structured_error_says_why),
        cmocka_unit_test(a_long_text_is_cut),
        cmocka_unit_test(data_of_a_simple_reply_follow_it),
        cmocka_unit_test(data_of_a_chunk_name_their_offset),
        cmocka_unit_test(a_hole_is_told_by_its_length),
        cmocka_unit_test(a_status_names_its_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
