/* nbd handshake: a client's side, byte by byte, and what it is told. */
#include "handshake.h"

#include "err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    EXPORT_NAME = 1,
    ABORT,
    LIST,
    PEEK,
    STARTTLS,
    INFO,
    GO,
    STRUCTURED,
    LIST_META,
    SET_META,
    EXT
};
#define ACK     1u
#define SERVER  2u
#define REPINFO 3u
#define META    4u
#define UNSUP   0x80000001u
#define POLICY  0x80000002u
#define INVALID 0x80000003u
#define TLSREQD 0x80000005u
#define UNKNOWN 0x80000006u

#define FLAGS (NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_CAN_MULTI_CONN)

static const struct nbd_export exports[] = {
    {"records/data", "the database", GIB, FLAGS, 1, 4096},
    {"records/wal", "", 512 * MIB, FLAGS, 512, 4096},
};

static struct nbd_handshake h;
static struct bytes_out in, out;
static struct bytes_in answer; /* what the server said last */
static enum nbd_next next;

static void be(struct bytes_out *o, unsigned bytes, uint64_t v)
{
    while (bytes-- > 0)
        bytes_put_u8(o, (uint8_t)(v >> 8 * bytes));
}

static uint64_t get(unsigned bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | bytes_get_u8(&answer);
    assert_false(bytes_bad(&answer));
    return v;
}

/* Hands over what is in `in`: first all but the last byte, which must not be enough. */
static void hand_over(void)
{
    uint8_t *copy = err_malloc(in.len);
    size_t used;
    memcpy(copy, in.p, in.len);
    out.len = 0;
    assert_int_equal(nbd_handshake_take(&h, copy, in.len - 1, &used, &out), NBD_MORE);
    assert_int_equal(used, 0);
    assert_int_equal(out.len, 0);
    next = nbd_handshake_take(&h, copy, in.len, &used, &out);
    if (!h.why)
        assert_int_equal(used, in.len);
    free(copy);
    in.len = 0;
    answer = bytes_in(out.p, out.len);
}

static void flags(uint32_t v)
{
    be(&in, 4, v);
    hand_over();
}

static void option(uint32_t number, const void *data, size_t len)
{
    be(&in, 8, UINT64_C(0x49484156454f5054));
    be(&in, 4, number);
    be(&in, 4, len);
    bytes_put(&in, data, len);
    hand_over();
}

/* INFO or GO. */
static void choose(uint32_t number, const char *name, unsigned count, const uint16_t *infos)
{
    struct bytes_out data = bytes_out(KIB);
    be(&data, 4, strlen(name));
    bytes_put(&data, name, strlen(name));
    be(&data, 2, count);
    for (unsigned i = 0; i < count; i++)
        be(&data, 2, infos[i]);
    option(number, data.p, data.len);
    bytes_free(&data);
}

static void contexts(uint32_t number, const char *name, unsigned count, const char *const *queries)
{
    struct bytes_out data = bytes_out(KIB);
    be(&data, 4, strlen(name));
    bytes_put(&data, name, strlen(name));
    be(&data, 4, count);
    for (unsigned i = 0; i < count; i++) {
        be(&data, 4, strlen(queries[i]));
        bytes_put(&data, queries[i], strlen(queries[i]));
    }
    option(number, data.p, data.len);
    bytes_free(&data);
}

/* The next reply's type; its data are next in answer. *len may be NULL when there are none. */
static uint32_t reply(uint32_t to, uint32_t *len)
{
    uint32_t type, n;
    assert_true(get(8) == UINT64_C(0x0003e889045565a9));
    assert_int_equal(get(4), to);
    type = (uint32_t)get(4);
    n = (uint32_t)get(4);
    if (len)
        *len = n;
    else
        assert_int_equal(n, 0);
    return type;
}

static void assert_error(uint32_t to, uint32_t type)
{
    uint32_t len;
    assert_int_equal(reply(to, &len), type);
    assert_true(len > 0); /* says why */
    assert_int_equal(bytes_left(&answer), len);
}

static void assert_ack(uint32_t to)
{
    assert_int_equal(reply(to, NULL), ACK);
    assert_int_equal(bytes_left(&answer), 0);
}

static void assert_text(uint32_t len, const char *text)
{
    const uint8_t *p = bytes_view(&answer, len);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(p, text, len);
}

static int begin(void **state)
{
    (void)state;
    nbd_handshake_init(&h, NBD_TLS_NONE, exports, 2);
    in = bytes_out(MIB);
    out = bytes_out(NBD_ANSWER_MAX);
    return 0;
}

static int begin_fixed(void **state)
{
    (void)begin(state);
    flags(3);
    return 0;
}

static int end(void **state)
{
    (void)state;
    bytes_free(&in);
    bytes_free(&out);
    return 0;
}

static void the_greeting_is_fixed_newstyle(void **state)
{
    uint8_t p[NBD_GREETING_LEN];
    (void)state;
    nbd_handshake_greeting(p);
    assert_memory_equal(p, "NBDMAGICIHAVEOPT\0\3", sizeof p);
}

static void unknown_client_flags_end_the_connection(void **state)
{
    (void)state;
    flags(4);
    assert_int_equal(next, NBD_CLOSE);
    assert_non_null(h.why);
}

static void go_tells_size_and_flags_and_begins_transmission(void **state)
{
    uint32_t len;
    (void)state;
    choose(GO, "records/wal", 0, NULL);
    assert_int_equal(next, NBD_TRANSMIT);
    assert_int_equal(reply(GO, &len), REPINFO);
    assert_int_equal(len, 12);
    assert_int_equal(get(2), 0);
    assert_true(get(8) == 512 * MIB);
    assert_int_equal(get(2), FLAGS | NBD_FLAG_HAS_FLAGS);
    assert_ack(GO);
    assert_ptr_equal(h.session.export, &exports[1]);
    assert_false(h.session.structured);
    assert_false(h.session.allocation);
}

static void info_tells_the_same_and_goes_on(void **state)
{
    uint32_t len;
    (void)state;
    choose(INFO, "records/data", 0, NULL);
    assert_int_equal(next, NBD_MORE);
    assert_int_equal(reply(INFO, &len), REPINFO);
    (void)bytes_view(&answer, len);
    assert_ack(INFO);
}

static void information_is_given_once_as_asked_for(void **state)
{
    const uint16_t infos[] = {3, 99, 2, 1, 3, 0};
    uint32_t len;
    (void)state;
    choose(INFO, "records/data", 6, infos);
    assert_int_equal(reply(INFO, &len), REPINFO);
    assert_int_equal(get(2), 0);
    (void)bytes_view(&answer, len - 2);
    assert_int_equal(reply(INFO, &len), REPINFO);
    assert_int_equal(len, 14);
    assert_int_equal(get(2), 3);
    assert_int_equal(get(4), 1);
    assert_int_equal(get(4), 4096);
    assert_int_equal(get(4), 32 * MIB);
    assert_int_equal(reply(INFO, &len), REPINFO);
    assert_int_equal(get(2), 2);
    assert_text(len - 2, "the database");
    assert_int_equal(reply(INFO, &len), REPINFO);
    assert_int_equal(get(2), 1);
    assert_text(len - 2, "records/data");
    assert_ack(INFO);
}

static void an_unknown_export_is_told_and_the_client_may_go_on(void **state)
{
    (void)state;
    choose(GO, "records", 0, NULL);
    assert_error(GO, UNKNOWN);
    assert_int_equal(next, NBD_MORE);
    choose(GO, "records/dat", 0, NULL);
    assert_error(GO, UNKNOWN);
    choose(GO, "records/data", 0, NULL);
    assert_int_equal(next, NBD_TRANSMIT);
}

static void the_empty_name_means_the_only_export(void **state)
{
    (void)state;
    choose(GO, "", 0, NULL);
    assert_error(GO, UNKNOWN);
    nbd_handshake_init(&h, NBD_TLS_NONE, exports, 1);
    flags(3);
    choose(GO, "", 0, NULL);
    assert_int_equal(next, NBD_TRANSMIT);
    assert_ptr_equal(h.session.export, &exports[0]);
}

static void lengths_that_do_not_add_up_are_invalid(void **state)
{
    static const struct {
        const char *data;
        size_t len;
    } its[] = {
        {"", 0},
        {"\0\0\0", 3},
        {"\0\0\0\0", 4},
        {"\0\0\0\0\0\1", 6},
        {"\0\0\0\0\0\0x", 7},
        {"\0\0\0\1\0\0", 6},
        {"\xff\xff\xff\xff\0\0", 6},
        {"\0\0\0\1x\0\1\0\1\0", 10},
    };
    (void)state;
    for (size_t i = 0; i < sizeof its / sizeof its[0]; i++) {
        option(GO, its[i].data, its[i].len);
        assert_error(GO, INVALID);
        assert_int_equal(next, NBD_MORE);
    }
}

static void a_name_of_more_than_4096_bytes_is_invalid(void **state)
{
    static uint8_t data[4 + 4097 + 2] = {0, 0, 0x10, 1};
    (void)state;
    option(GO, data, sizeof data);
    assert_error(GO, INVALID);
}

static void export_name_is_answered_without_a_head(void **state)
{
    (void)state;
    option(EXPORT_NAME, "records/data", 12);
    assert_int_equal(next, NBD_TRANSMIT);
    assert_true(get(8) == GIB);
    assert_int_equal(get(2), FLAGS | NBD_FLAG_HAS_FLAGS);
    assert_int_equal(bytes_left(&answer), 0);
}

static void an_old_client_gets_its_124_zeroes(void **state)
{
    (void)state;
    flags(0);
    option(EXPORT_NAME, "records/data", 12);
    assert_int_equal(next, NBD_TRANSMIT);
    assert_int_equal(out.len, 8 + 2 + 124);
    assert_true(bytes_zero(out.p + 10, 124));
}

static void an_old_client_that_asks_for_more_is_lost(void **state)
{
    (void)state;
    flags(0);
    option(LIST, NULL, 0);
    assert_int_equal(next, NBD_CLOSE);
    assert_non_null(h.why);
}

static void an_unknown_export_name_ends_the_connection(void **state)
{
    (void)state;
    option(EXPORT_NAME, "other", 5);
    assert_int_equal(next, NBD_CLOSE);
    assert_int_equal(out.len, 0);
    assert_non_null(h.why);
}

static void list_names_all_exports(void **state)
{
    uint32_t len;
    (void)state;
    option(LIST, NULL, 0);
    assert_int_equal(reply(LIST, &len), SERVER);
    assert_int_equal(len, 4 + 12 + 12);
    assert_int_equal(get(4), 12);
    assert_text(12, "records/data");
    assert_text(12, "the database");
    assert_int_equal(reply(LIST, &len), SERVER);
    assert_int_equal(get(4), 11);
    assert_text(len - 4, "records/wal");
    assert_ack(LIST);
    option(LIST, "x", 1);
    assert_error(LIST, INVALID);
}

static void tls_is_refused_by_policy(void **state)
{
    (void)state;
    option(STARTTLS, NULL, 0);
    assert_error(STARTTLS, POLICY);
    assert_int_equal(next, NBD_MORE);
    option(STARTTLS, "x", 1);
    assert_error(STARTTLS, INVALID);
}

static int begin_secret(void **state)
{
    (void)begin(state);
    nbd_handshake_init(&h, NBD_TLS_REQUIRED, NULL, 0);
    flags(3);
    return 0;
}

static void in_clear_nothing_is_agreed_on(void **state)
{
    const uint32_t its[] = {LIST, PEEK, STRUCTURED, EXT, 0xffffffff};
    const char *const query = "base:allocation";
    (void)state;
    for (size_t i = 0; i < sizeof its / sizeof its[0]; i++) {
        option(its[i], NULL, 0);
        assert_error(its[i], TLSREQD);
        assert_int_equal(next, NBD_MORE);
    }
    choose(INFO, "records/data", 0, NULL);
    assert_error(INFO, TLSREQD);
    choose(GO, "records/data", 0, NULL);
    assert_error(GO, TLSREQD);
    contexts(SET_META, "records/data", 1, &query);
    assert_error(SET_META, TLSREQD);
    assert_false(h.structured);
    option(ABORT, NULL, 0);
    assert_ack(ABORT);
    assert_int_equal(next, NBD_CLOSE);
    assert_null(h.why);
}

static void an_export_name_in_clear_ends_the_connection(void **state)
{
    (void)state;
    option(EXPORT_NAME, "records/data", 12);
    assert_int_equal(next, NBD_CLOSE);
    assert_non_null(h.why);
    assert_int_equal(out.len, 0);
}

static void tls_begins_once(void **state)
{
    (void)state;
    option(STARTTLS, "x", 1);
    assert_error(STARTTLS, INVALID);
    option(STARTTLS, NULL, 0);
    assert_ack(STARTTLS);
    assert_int_equal(next, NBD_STARTTLS);
    nbd_handshake_secured(&h, exports, 2);
    option(STARTTLS, NULL, 0);
    assert_error(STARTTLS, INVALID);
    assert_int_equal(next, NBD_MORE);
    option(STRUCTURED, NULL, 0);
    assert_ack(STRUCTURED);
    choose(GO, "records/wal", 0, NULL);
    assert_int_equal(next, NBD_TRANSMIT);
    assert_ptr_equal(h.session.export, &exports[1]);
    assert_true(h.session.structured);
}

static void what_follows_starttls_in_clear_ends_the_connection(void **state)
{
    static const uint8_t both[] = "IHAVEOPT\0\0\0\5\0\0\0\0IHAVEOPT\0\0\0\x8\0\0\0\0";
    size_t used;
    (void)state;
    out.len = 0;
    next = nbd_handshake_take(&h, both, 17, &used, &out);
    assert_int_equal(next, NBD_CLOSE);
    assert_non_null(h.why);
    assert_int_equal(out.len, 0);
}

static void options_of_others_are_unsupported(void **state)
{
    const uint32_t its[] = {0, PEEK, EXT, 12, 0xffffffff};
    (void)state;
    for (size_t i = 0; i < sizeof its / sizeof its[0]; i++) {
        option(its[i], "some data", 9);
        assert_error(its[i], UNSUP);
        assert_int_equal(next, NBD_MORE);
    }
}

static void abort_is_acknowledged(void **state)
{
    (void)state;
    option(ABORT, "ignored", 7);
    assert_ack(ABORT);
    assert_int_equal(next, NBD_CLOSE);
    assert_null(h.why);
}

static void structured_replies_bring_the_df_flag(void **state)
{
    uint32_t len;
    (void)state;
    option(STRUCTURED, "x", 1);
    assert_error(STRUCTURED, INVALID);
    option(STRUCTURED, NULL, 0);
    assert_ack(STRUCTURED);
    choose(GO, "records/data", 0, NULL);
    assert_int_equal(reply(GO, &len), REPINFO);
    (void)get(2 + 8);
    assert_int_equal(get(2), FLAGS | NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_DF);
    assert_true(h.session.structured);
    assert_false(h.session.allocation);
}

static void meta_contexts_need_structured_replies(void **state)
{
    const char *const queries[] = {"base:allocation"};
    (void)state;
    contexts(SET_META, "records/data", 1, queries);
    assert_error(SET_META, INVALID);
    contexts(LIST_META, "records/data", 1, queries);
    assert_error(LIST_META, INVALID);
}

static void base_allocation_is_selected_for_the_export_it_was_asked_for(void **state)
{
    const char *const queries[] = {"qemu:dirty-bitmap:x", "base:allocation"};
    uint32_t len;
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        nbd_handshake_init(&h, NBD_TLS_NONE, exports, 2);
        flags(3);
        option(STRUCTURED, NULL, 0);
        contexts(SET_META, "records/data", 2, queries);
        assert_int_equal(reply(SET_META, &len), META);
        assert_int_equal(get(4), NBD_CONTEXT_ALLOCATION);
        assert_text(len - 4, "base:allocation");
        assert_ack(SET_META);
        choose(GO, i ? "records/wal" : "records/data", 0, NULL);
        assert_int_equal(h.session.allocation, i == 0);
    }
}

static void a_later_selection_replaces_the_earlier(void **state)
{
    const char *const queries[] = {"base:allocation"};
    (void)state;
    option(STRUCTURED, NULL, 0);
    contexts(SET_META, "records/data", 1, queries);
    contexts(SET_META, "records/data", 0, NULL);
    assert_ack(SET_META);
    assert_null(h.context_of);
    contexts(SET_META, "records/data", 1, queries);
    assert_non_null(h.context_of);
    contexts(SET_META, "nowhere", 1, queries);
    assert_error(SET_META, UNKNOWN);
    assert_null(h.context_of);
}

static void wildcards_list_but_do_not_select(void **state)
{
    const char *const queries[] = {"base:"};
    uint32_t len;
    (void)state;
    option(STRUCTURED, NULL, 0);
    contexts(LIST_META, "records/data", 1, queries);
    assert_int_equal(reply(LIST_META, &len), META);
    (void)get(4);
    assert_text(len - 4, "base:allocation");
    assert_ack(LIST_META);
    contexts(LIST_META, "records/data", 0, NULL);
    assert_int_equal(reply(LIST_META, &len), META);
    contexts(SET_META, "records/data", 1, queries);
    assert_ack(SET_META);
    assert_null(h.context_of);
}

static void queries_that_run_out_of_the_option_are_invalid(void **state)
{
    static const char data[] = "\0\0\0\0\xff\xff\xff\xff\0\0\0\1x";
    (void)state;
    option(STRUCTURED, NULL, 0);
    option(SET_META, data, sizeof data - 1);
    assert_error(SET_META, INVALID);
    option(LIST_META, data, 3);
    assert_error(LIST_META, INVALID);
    option(LIST_META, "\0\0\0\0\0\0\0\0x", 9);
    assert_error(LIST_META, INVALID);
}

static void an_endless_option_ends_the_connection(void **state)
{
    uint8_t p[16];
    size_t used;
    (void)state;
    memcpy(p, "IHAVEOPT\0\0\0\7\0\1\0\1", sizeof p);
    assert_int_equal(nbd_handshake_take(&h, p, sizeof p, &used, &out), NBD_CLOSE);
    assert_non_null(h.why);
}

static void an_option_without_the_magic_number_ends_the_connection(void **state)
{
    static const uint8_t p[] = "GET / HTTP/1.1\r\n";
    size_t used;
    (void)state;
    assert_int_equal(nbd_handshake_take(&h, p, 16, &used, &out), NBD_CLOSE);
    assert_non_null(h.why);
}

static void a_client_that_never_chooses_is_lost(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NBD_OPTIONS_MAX; i++) {
        option(LIST, NULL, 0);
        assert_int_equal(next, NBD_MORE);
    }
    option(LIST, NULL, 0);
    assert_int_equal(next, NBD_CLOSE);
}

#define T(name)     cmocka_unit_test_setup_teardown(name, begin_fixed, end)
#define T_TLS(name) cmocka_unit_test_setup_teardown(name, begin_secret, end)
#define T_OLD(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_OLD(the_greeting_is_fixed_newstyle),
        T_OLD(unknown_client_flags_end_the_connection),
        T(go_tells_size_and_flags_and_begins_transmission),
        T(info_tells_the_same_and_goes_on),
        T(information_is_given_once_as_asked_for),
        T(an_unknown_export_is_told_and_the_client_may_go_on),
        T(the_empty_name_means_the_only_export),
        T(lengths_that_do_not_add_up_are_invalid),
        T(a_name_of_more_than_4096_bytes_is_invalid),
        T(export_name_is_answered_without_a_head),
        T_OLD(an_old_client_gets_its_124_zeroes),
        T_OLD(an_old_client_that_asks_for_more_is_lost),
        T(an_unknown_export_name_ends_the_connection),
        T(list_names_all_exports),
        T(tls_is_refused_by_policy),
        T_TLS(in_clear_nothing_is_agreed_on),
        T_TLS(an_export_name_in_clear_ends_the_connection),
        T_TLS(tls_begins_once),
        T_TLS(what_follows_starttls_in_clear_ends_the_connection),
        T(options_of_others_are_unsupported),
        T(abort_is_acknowledged),
        T(structured_replies_bring_the_df_flag),
        T(meta_contexts_need_structured_replies),
        T(base_allocation_is_selected_for_the_export_it_was_asked_for),
        T(a_later_selection_replaces_the_earlier),
        T(wildcards_list_but_do_not_select),
        T(queries_that_run_out_of_the_option_are_invalid),
        T(an_endless_option_ends_the_connection),
        T(an_option_without_the_magic_number_ends_the_connection),
        T(a_client_that_never_chooses_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
