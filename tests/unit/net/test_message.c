/* message: what a stranger sends costs a bounded amount of memory and is checked before it is used.
 */
#include "message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct message m;
    struct err e;
    uint8_t buf[MESSAGE_MAX + 16];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    message_init(&f->m);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    message_free(&f->m);
    free(f);
    return 0;
}

static int unpack(struct fixture *f, uint8_t type, size_t len)
{
    int rc = message_unpack(&f->m, type, f->buf, len, &f->e);
    if (rc < 0) {
        assert_null(f->m.any);
        assert_int_equal(rc, -(int)f->e.code);
        assert_true(strlen(f->e.text) > 0);
    }
    return rc;
}

/* A message whose field 1 is `len` raw bytes, as HeadGet and others begin with a string. */
static size_t field1(uint8_t *dst, const void *value, size_t len)
{
    assert_true(len < 128);
    dst[0] = 1 << 3 | 2;
    dst[1] = (uint8_t)len;
    memcpy(dst + 2, value, len);
    return len + 2;
}

static void a_message_round_trips(void **state)
{
    struct fixture *f = *state;
    Relais__RecoveryPoint point, *points[] = {&point, &point};
    Relais__History history;
    uint8_t digest[32] = {7, [31] = 9};
    char label[] = "avant mise à jour \xf0\x9f\x8f\xa5";
    size_t len;
    relais__recovery_point__init(&point);
    relais__history__init(&history);
    point.rp = UINT64_MAX;
    point.cut_time = -5;
    point.digest = (ProtobufCBinaryData){sizeof digest, digest};
    point.label = label;
    history.points = points;
    history.n_points = 2;
    len = message_packed_size(&history.base);
    assert_true(len <= sizeof f->buf);
    message_pack(f->buf, &history.base);
    assert_int_equal(unpack(f, FRAME_History, len), 0);
    assert_int_equal(f->m.type, FRAME_History);
    assert_int_equal(f->m.history->n_points, 2);
    assert_true(f->m.history->points[1]->rp == UINT64_MAX);
    assert_true(f->m.history->points[1]->cut_time == -5);
    assert_string_equal(f->m.history->points[1]->label, label);
    assert_memory_equal(f->m.history->points[1]->digest.data, digest, 32);
    for (size_t cut = 1; cut < len; cut++) /* inside the second point, both of 70 odd bytes */
        if (cut != len / 2)
            assert_int_equal(unpack(f, FRAME_History, cut), -ERR_PROTO);
}

static void an_empty_message_is_all_defaults(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(message_unpack(&f->m, FRAME_Hello, NULL, 0, &f->e), 0);
    assert_int_equal(f->m.hello->version, 0);
    assert_string_equal(f->m.hello->software, "");
}

static void the_largest_history_of_a_hub_fits(void **state)
{
    struct fixture *f = *state;
    enum { N = 500 };
    Relais__RecoveryPoint *points[N];
    Relais__History history;
    uint8_t digest[32];
    size_t len;
    relais__history__init(&history);
    memset(digest, 0xff, sizeof digest);
    for (size_t i = 0; i < N; i++) {
        points[i] = calloc(1, sizeof *points[i]);
        relais__recovery_point__init(points[i]);
        points[i]->rp_first = points[i]->rp = UINT64_MAX;
        points[i]->file_len = points[i]->plain_bytes = UINT64_C(1) << 40;
        points[i]->cut_time = points[i]->committed_time = INT64_MAX;
        points[i]->digest = (ProtobufCBinaryData){sizeof digest, digest};
    }
    history.points = points;
    history.n_points = N;
    len = message_packed_size(&history.base);
    assert_true(len <= MESSAGE_MAX);
    message_pack(f->buf, &history.base);
    assert_int_equal(unpack(f, FRAME_History, len), 0);
    assert_int_equal(f->m.history->n_points, N);
    for (size_t i = 0; i < N; i++)
        free(points[i]);
}

static void a_flood_of_tiny_messages_ends_at_the_budget(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < MESSAGE_MAX; i += 2) { /* 32768 empty groups */
        f->buf[i] = 1 << 3 | 2;
        f->buf[i + 1] = 0;
    }
    assert_int_equal(unpack(f, FRAME_Territory, MESSAGE_MAX), -ERR_LIMIT);
    assert_true(f->m.arena_used <= MESSAGE_ARENA);
    /* and the struct serves the next message */
    assert_int_equal(unpack(f, FRAME_Territory, 20), 0);
    assert_int_equal(f->m.territory->n_groups, 10);
}

static void a_flood_of_unknown_fields_is_bounded_too(void **state)
{
    struct fixture *f = *state;
    int rc;
    for (size_t i = 0; i < MESSAGE_MAX; i += 2) {
        f->buf[i] = 15 << 3 | 2;
        f->buf[i + 1] = 0;
    }
    rc = unpack(f, FRAME_Hello, MESSAGE_MAX);
    assert_int_equal(rc, -ERR_LIMIT);
    assert_true(f->m.arena_used <= MESSAGE_ARENA);
}

static void a_few_unknown_fields_are_skipped(void **state)
{
    struct fixture *f = *state;
    const uint8_t wire[] = {1 << 3, 1, 15 << 3 | 2, 2, 'x', 0, 14 << 3 | 5, 1, 2, 3, 4};
    memcpy(f->buf, wire, sizeof wire);
    assert_int_equal(unpack(f, FRAME_Hello, sizeof wire), 0);
    assert_int_equal(f->m.hello->version, 1);
}

static void more_than_the_maximum_is_refused_unread(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(message_unpack(&f->m, FRAME_Hello, NULL, MESSAGE_MAX + 1, &f->e), -ERR_LIMIT);
    assert_null(f->m.arena);
}

static void an_unknown_type_is_refused(void **state)
{
    assert_int_equal(unpack(*state, 99, 0), -ERR_PROTO);
}

static void strings_are_utf8_without_control_characters(void **state)
{
    struct fixture *f = *state;
    const struct {
        const char *text;
        size_t len;
    } bad[] = {
        {"a\0b", 3},
        {"a\nb", 3},
        {"\x1b[2J", 4},
        {"\x7f", 1},
        {"\xc2\x85", 2},
        {"\xff", 1},
        {"\xc0\x80", 2},
        {"\xc3", 1},
        {"\xe0\x80\x80", 3},
        {"\xed\xa0\x80", 3},
        {"\xe2\x82", 2},
        {"\xf0\x80\x80\x80", 4},
        {"\xf4\x90\x80\x80", 4},
        {"\xc3(", 2},
        {"\xf5\x80\x80\x80", 4},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t len = field1(f->buf, bad[i].text, bad[i].len);
        assert_int_equal(unpack(f, FRAME_HeadGet, len), -ERR_PROTO);
        assert_non_null(strstr(f->e.text, "group"));
    }
    assert_int_equal(unpack(f, FRAME_HeadGet, field1(f->buf, "Béthune \xe2\x82\xac", 12)), 0);
    assert_string_equal(f->m.head_get->group, "Béthune \xe2\x82\xac");
}

static void a_bad_string_deep_inside_is_found(void **state)
{
    struct fixture *f = *state;
    const uint8_t wire[] = {1 << 3 | 2, 4, 7 << 3 | 2, 2, 'a', 0}; /* points[0].label = "a\0" */
    memcpy(f->buf, wire, sizeof wire);
    assert_int_equal(unpack(f, FRAME_History, sizeof wire), -ERR_PROTO);
    assert_non_null(strstr(f->e.text, "label"));
}

static void a_digest_is_empty_or_thirty_two_bytes(void **state)
{
    struct fixture *f = *state;
    for (uint8_t n = 0; n < 64; n++) {
        f->buf[0] = 2 << 3 | 2;
        f->buf[1] = n;
        memset(f->buf + 2, 0xee, n);
        assert_int_equal(unpack(f, FRAME_Head, n + 2u), n == 0 || n == 32 ? 0 : -ERR_PROTO);
    }
}

static void malformed_encodings_are_refused(void **state)
{
    struct fixture *f = *state;
    const struct {
        uint8_t b[12];
        size_t len;
    } bad[] = {
        {{1 << 3 | 3, 1 << 3 | 4}, 2}, /* groups */
        {{0, 1}, 2},                   /* field 0 */
        {{1 << 3 | 7}, 1},             /* no such wire type */
        {{1 << 3, 0x80}, 2},           /* varint cut short */
        {{1 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
         11},                      /* 2^64-1 long */
        {{1 << 3 | 2, 5, 'a'}, 3}, /* longer than the message */
        {{1 << 3, 7}, 2},          /* a number as a string */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memcpy(f->buf, bad[i].b, bad[i].len);
        assert_int_equal(unpack(f, FRAME_HeadGet, bad[i].len), -ERR_PROTO);
    }
}

static void foreign_text_is_made_fit_to_travel(void **state)
{
    struct fixture *f = *state;
    char text[16];
    size_t len;
    message_text(text, sizeof text, "no\nspace\x1b\xff");
    assert_string_equal(text, "no?space??");
    message_text(text, 4, "caf\xc3\xa9"); /* never half a character */
    assert_string_equal(text, "caf");
    message_text(text, 5, "caf\xc3\xa9");
    assert_string_equal(text, "caf");
    message_text(text, 6, "caf\xc3\xa9");
    assert_string_equal(text, "caf\xc3\xa9");
    message_text(text, 1, "x");
    assert_string_equal(text, "");
    message_text(text, sizeof text, "\xe2\x82 \xc3");
    len = field1(f->buf, text, strlen(text));
    assert_int_equal(unpack(f, FRAME_HeadGet, len), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_message_round_trips),
        T(an_empty_message_is_all_defaults),
        T(the_largest_history_of_a_hub_fits),
        T(a_flood_of_tiny_messages_ends_at_the_budget),
        T(a_flood_of_unknown_fields_is_bounded_too),
        T(a_few_unknown_fields_are_skipped),
        T(more_than_the_maximum_is_refused_unread),
        T(an_unknown_type_is_refused),
        T(strings_are_utf8_without_control_characters),
        T(a_bad_string_deep_inside_is_found),
        T(a_digest_is_empty_or_thirty_two_bytes),
        T(malformed_encodings_are_refused),
        T(foreign_text_is_made_fit_to_travel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
