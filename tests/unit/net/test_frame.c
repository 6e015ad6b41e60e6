/* frame: sixteen bytes, each with one meaning; a length is refused before anyone allocates it. */
#include "frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void the_header_is_the_drawn_bytes(void **state)
{
    const uint8_t drawn[FRAME_HEADER_LEN] = {0x52, 0x4c, 13,   0,    0x04, 0x03, 0x02, 0x01,
                                             0x22, 0x11, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00};
    const struct frame_header h = {FRAME_Part, 0x01020304, 0x1122, 0x40000};
    struct frame_header back;
    uint8_t b[FRAME_HEADER_LEN];
    struct err e = ERR_INIT;
    (void)state;
    frame_header_encode(b, &h);
    assert_memory_equal(b, drawn, sizeof b);
    assert_int_equal(frame_header_decode(&back, drawn, &e), 0);
    assert_int_equal(back.type, FRAME_Part);
    assert_int_equal(back.id, 0x01020304);
    assert_int_equal(back.message_len, 0x1122);
    assert_int_equal(back.payload_len, 0x40000);
}

static void every_type_round_trips_and_has_a_name(void **state)
{
    (void)state;
#define X(number, Type, snake, payload)                                                            \
    {                                                                                              \
        const struct frame_header h = {number, 7, MESSAGE_MAX, (payload) ? PAYLOAD_MAX : 0};       \
        struct frame_header back;                                                                  \
        uint8_t b[FRAME_HEADER_LEN];                                                               \
        struct err e = ERR_INIT;                                                                   \
        frame_header_encode(b, &h);                                                                \
        assert_int_equal(frame_header_decode(&back, b, &e), 0);                                    \
        assert_int_equal(back.type, number);                                                       \
        assert_int_equal(back.payload_len, h.payload_len);                                         \
        assert_string_equal(frame_type_name(number), #Type);                                       \
    }
    FRAME_TYPES(X)
#undef X
    assert_string_equal(frame_type_name(200), "?");
}

/* Decodes a valid Part header with the byte at `place` set to `value`. */
static int decode_with(size_t place, uint8_t value, uint8_t type)
{
    const struct frame_header h = {type, 1, 10, 0};
    struct frame_header back = {.type = 99};
    uint8_t b[FRAME_HEADER_LEN];
    struct err e = ERR_INIT;
    int rc;
    frame_header_encode(b, &h);
    b[place] = value;
    rc = frame_header_decode(&back, b, &e);
    if (rc < 0) {
        assert_int_equal(back.type, 0);
        assert_true(strlen(e.text) > 0);
    }
    return rc;
}

static void a_foreign_magic_or_type_is_refused(void **state)
{
    (void)state;
    assert_int_equal(decode_with(0, 'H', FRAME_Part), -ERR_PROTO);
    assert_int_equal(decode_with(2, 0, FRAME_Part), -ERR_PROTO);
    assert_int_equal(decode_with(2, 200, FRAME_Part), -ERR_PROTO);
    assert_int_equal(decode_with(3, 1, FRAME_Part), -ERR_PROTO);
    assert_int_equal(decode_with(2, FRAME_Part, FRAME_Part), 0);
}

static void a_length_over_its_bound_is_refused(void **state)
{
    (void)state;
    assert_int_equal(decode_with(10, 1, FRAME_Part), -ERR_LIMIT); /* 64 KiB + 10 */
    assert_int_equal(decode_with(11, 0x80, FRAME_Part), -ERR_LIMIT);
    assert_int_equal(decode_with(15, 0xff, FRAME_Part), -ERR_LIMIT);
    assert_int_equal(decode_with(14, 4, FRAME_Part), 0); /* 256 KiB */
    assert_int_equal(decode_with(14, 5, FRAME_Part), -ERR_LIMIT);
}

static void a_payload_where_none_may_be_is_refused(void **state)
{
    (void)state;
    assert_int_equal(decode_with(12, 1, FRAME_Commit), -ERR_PROTO);
    assert_int_equal(decode_with(12, 0, FRAME_Commit), 0);
}

static void two_releases_speak_the_newest_version_that_both_know(void **state)
{
    const struct protocol ours = {3, 5};
    (void)state;
    assert_int_equal(protocol_choose(&ours, 5, 3), 5);
    assert_int_equal(protocol_choose(&ours, 6, 4), 5);
    assert_int_equal(protocol_choose(&ours, 4, 1), 4);
    assert_int_equal(protocol_choose(&ours, 3, 0), 3); /* a peer that speaks only one */
    assert_int_equal(protocol_choose(&ours, 6, 6), 0);
    assert_int_equal(protocol_choose(&ours, 6, 0), 0);
    assert_int_equal(protocol_choose(&ours, 2, 1), 0);
    assert_int_equal(protocol_choose(&ours, 0, 0), 0);
    assert_int_equal(protocol_choose(&ours, 4, UINT32_MAX), 4); /* nonsense for the oldest */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_is_the_drawn_bytes),
        cmocka_unit_test(every_type_round_trips_and_has_a_name),
        cmocka_unit_test(a_foreign_magic_or_type_is_refused),
        cmocka_unit_test(a_length_over_its_bound_is_refused),
        cmocka_unit_test(a_payload_where_none_may_be_is_refused),
        cmocka_unit_test(two_releases_speak_the_newest_version_that_both_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
