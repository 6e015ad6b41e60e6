/* nbd request: what a client may ask of an export, and what is said to it otherwise. */
#include "request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SIZE (64 * MIB)
#define ALL                                                                                        \
    (NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |   \
     NBD_FLAG_SEND_CACHE | NBD_FLAG_SEND_FAST_ZERO)

static struct nbd_export export;
static struct nbd_session session;
static struct nbd_request got;

static int fresh(void **state)
{
    (void)state;
    export = (struct nbd_export){.name = "records/data",
                                 .description = "",
                                 .size = SIZE,
                                 .flags = ALL,
                                 .block_min = 1,
                                 .block_preferred = 4096};
    session = (struct nbd_session){&export, .structured = true, .allocation = true};
    return 0;
}

static enum nbd_fate ask(unsigned command, unsigned flags, uint64_t offset, uint32_t length)
{
    const uint8_t p[NBD_REQUEST_LEN] = {0x25,
                                        0x60,
                                        0x95,
                                        0x13,
                                        (uint8_t)(flags >> 8),
                                        (uint8_t)flags,
                                        (uint8_t)(command >> 8),
                                        (uint8_t)command,
                                        1,
                                        2,
                                        3,
                                        4,
                                        5,
                                        6,
                                        7,
                                        8,
                                        (uint8_t)(offset >> 56),
                                        (uint8_t)(offset >> 48),
                                        (uint8_t)(offset >> 40),
                                        (uint8_t)(offset >> 32),
                                        (uint8_t)(offset >> 24),
                                        (uint8_t)(offset >> 16),
                                        (uint8_t)(offset >> 8),
                                        (uint8_t)offset,
                                        (uint8_t)(length >> 24),
                                        (uint8_t)(length >> 16),
                                        (uint8_t)(length >> 8),
                                        (uint8_t)length};
    return nbd_request_decode(&got, p, &session);
}

#define assert_refused(error_, ...)                                                                \
    do {                                                                                           \
        assert_int_equal(ask(__VA_ARGS__), NBD_REFUSE);                                            \
        assert_int_equal(got.error, error_);                                                       \
        assert_non_null(got.text);                                                                 \
    } while (0)
#define assert_runs(...) assert_int_equal(ask(__VA_ARGS__), NBD_RUN)

static void a_request_is_big_endian_and_keeps_its_cookie(void **state)
{
    (void)state;
    assert_runs(NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0x1122334, 0x0102);
    assert_int_equal(got.command, NBD_CMD_WRITE);
    assert_int_equal(got.flags, NBD_CMD_FLAG_FUA);
    assert_true(got.cookie == UINT64_C(0x0102030405060708));
    assert_true(got.offset == 0x1122334);
    assert_int_equal(got.length, 0x0102);
    assert_int_equal(got.payload, 0x0102);
}

static void only_a_write_has_a_payload(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 9; c++) {
        (void)ask(c, 0, 0, 4096);
        assert_int_equal(got.payload, c == NBD_CMD_WRITE ? 4096 : 0);
    }
}

static void without_the_magic_number_the_connection_is_lost(void **state)
{
    static const uint8_t rubbish[NBD_REQUEST_LEN] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    (void)state;
    assert_int_equal(nbd_request_decode(&got, rubbish, &session), NBD_DROP);
    assert_non_null(got.text);
}

static void a_range_ends_at_the_end_of_the_export_at_the_latest(void **state)
{
    (void)state;
    assert_runs(NBD_CMD_READ, 0, SIZE - 4096, 4096);
    assert_refused(NBD_EINVAL, NBD_CMD_READ, 0, SIZE - 4095, 4096);
    assert_refused(NBD_EINVAL, NBD_CMD_TRIM, 0, SIZE, 1);
    assert_refused(NBD_EINVAL, NBD_CMD_CACHE, 0, SIZE + 1, 0);
    assert_refused(NBD_EINVAL, NBD_CMD_BLOCK_STATUS, 0, SIZE - 1, 2);
}

static void a_range_does_not_wrap_around(void **state)
{
    (void)state;
    assert_refused(NBD_EINVAL, NBD_CMD_READ, 0, UINT64_MAX - 100, 4096);
    assert_refused(NBD_ENOSPC, NBD_CMD_WRITE_ZEROES, 0, UINT64_MAX, UINT32_MAX);
}

static void writing_behind_the_end_is_a_lack_of_space(void **state)
{
    (void)state;
    assert_refused(NBD_ENOSPC, NBD_CMD_WRITE, 0, SIZE, 512);
    assert_refused(NBD_ENOSPC, NBD_CMD_WRITE_ZEROES, 0, SIZE - 512, 1024);
}

static void a_refused_write_still_has_its_payload_to_be_skipped(void **state)
{
    (void)state;
    assert_refused(NBD_ENOSPC, NBD_CMD_WRITE, 0, SIZE, 512);
    assert_int_equal(got.payload, 512);
    assert_refused(NBD_EINVAL, NBD_CMD_WRITE, NBD_CMD_FLAG_DF, 0, 512);
    assert_int_equal(got.payload, 512);
}

static void a_payload_is_at_most_32_mib(void **state)
{
    (void)state;
    assert_runs(NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX);
    assert_runs(NBD_CMD_WRITE, 0, 0, NBD_PAYLOAD_MAX);
    assert_refused(NBD_EINVAL, NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX + 1);
    assert_int_equal(ask(NBD_CMD_WRITE, 0, 0, NBD_PAYLOAD_MAX + 1), NBD_DROP);
    assert_int_equal(ask(NBD_CMD_WRITE, 0, 0, UINT32_MAX), NBD_DROP);
}

static void commands_without_payload_may_be_longer(void **state)
{
    (void)state;
    export.size = 8 * GIB;
    assert_runs(NBD_CMD_WRITE_ZEROES, 0, 0, UINT32_MAX);
    assert_runs(NBD_CMD_TRIM, 0, 0, UINT32_MAX);
    assert_runs(NBD_CMD_BLOCK_STATUS, 0, 0, UINT32_MAX);
}

static void flags_belong_to_their_commands(void **state)
{
    static const unsigned own[] = {
        [NBD_CMD_READ] = NBD_CMD_FLAG_DF,
        [NBD_CMD_WRITE_ZEROES] = NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
        [NBD_CMD_BLOCK_STATUS] = NBD_CMD_FLAG_REQ_ONE,
    };
    (void)state;
    for (unsigned c = NBD_CMD_READ; c <= NBD_CMD_BLOCK_STATUS; c++) {
        uint32_t len = c == NBD_CMD_FLUSH ? 0 : 512;
        if (c == NBD_CMD_DISC)
            continue;
        for (unsigned bit = 1; bit < 1u << 16; bit <<= 1) {
            if (bit & (own[c] | NBD_CMD_FLAG_FUA))
                assert_runs(c, bit, 0, len);
            else
                assert_refused(NBD_EINVAL, c, bit, 0, len);
        }
    }
}

static void what_was_not_negotiated_is_refused(void **state)
{
    (void)state;
    session.structured = session.allocation = false;
    assert_refused(NBD_EINVAL, NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 512);
    assert_refused(NBD_EINVAL, NBD_CMD_BLOCK_STATUS, 0, 0, 512);
    export.flags = NBD_FLAG_SEND_WRITE_ZEROES;
    assert_refused(NBD_EINVAL, NBD_CMD_FLUSH, 0, 0, 0);
    assert_refused(NBD_EINVAL, NBD_CMD_TRIM, 0, 0, 512);
    assert_refused(NBD_EINVAL, NBD_CMD_CACHE, 0, 0, 512);
    assert_refused(NBD_EINVAL, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 512);
    assert_refused(NBD_EINVAL, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 0, 512);
    assert_runs(NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 0, 512);
}

static void unknown_commands_are_refused(void **state)
{
    (void)state;
    assert_refused(NBD_EINVAL, 8, 0, 0, 512);
    assert_refused(NBD_EINVAL, 0xffff, 0, 0, 0);
    assert_string_equal(nbd_command_name(8), "?");
    assert_string_equal(nbd_command_name(NBD_CMD_BLOCK_STATUS), "BLOCK_STATUS");
}

static void a_read_only_export_is_not_written(void **state)
{
    (void)state;
    export.flags |= NBD_FLAG_READ_ONLY;
    assert_refused(NBD_EPERM, NBD_CMD_WRITE, 0, 0, 512);
    assert_refused(NBD_EPERM, NBD_CMD_WRITE_ZEROES, 0, 0, 512);
    assert_refused(NBD_EPERM, NBD_CMD_TRIM, 0, 0, 512);
    assert_runs(NBD_CMD_READ, 0, 0, 512);
    assert_runs(NBD_CMD_FLUSH, 0, 0, 0);
}

static void ranges_keep_the_minimum_block_size(void **state)
{
    (void)state;
    export.block_min = 512;
    assert_runs(NBD_CMD_WRITE, 0, 512, 1024);
    assert_refused(NBD_EINVAL, NBD_CMD_WRITE, 0, 513, 512);
    assert_refused(NBD_EINVAL, NBD_CMD_READ, 0, 0, 100);
}

static void a_length_of_zero_is_fine_but_for_a_status(void **state)
{
    (void)state;
    assert_runs(NBD_CMD_READ, 0, 0, 0);
    assert_runs(NBD_CMD_WRITE, 0, SIZE, 0);
    assert_runs(NBD_CMD_TRIM, 0, 0, 0);
    assert_refused(NBD_EINVAL, NBD_CMD_BLOCK_STATUS, 0, 0, 0);
}

static void a_flush_has_no_range(void **state)
{
    (void)state;
    assert_runs(NBD_CMD_FLUSH, 0, 0, 0);
    assert_refused(NBD_EINVAL, NBD_CMD_FLUSH, 0, 512, 0);
    assert_refused(NBD_EINVAL, NBD_CMD_FLUSH, 0, 0, 512);
}

static void good_bye_is_always_understood(void **state)
{
    (void)state;
    assert_int_equal(ask(NBD_CMD_DISC, 0xffff, UINT64_MAX, UINT32_MAX), NBD_DISCONNECT);
}

static void results_map_to_the_errors_of_the_protocol(void **state)
{
    static const struct {
        int res;
        enum nbd_errno error;
    } its[] = {
        {0, NBD_OK},
        {17, NBD_OK},
        {-EPERM, NBD_EPERM},
        {-EACCES, NBD_EPERM},
        {-EROFS, NBD_EPERM},
        {-EIO, NBD_EIO},
        {-EBADF, NBD_EIO},
        {-ENODATA, NBD_EIO},
        {-ENOMEM, NBD_ENOMEM},
        {-EINVAL, NBD_EINVAL},
        {-ENOSPC, NBD_ENOSPC},
        {-EDQUOT, NBD_ENOSPC},
        {-EFBIG, NBD_ENOSPC},
        {-EOVERFLOW, NBD_EOVERFLOW},
        {-ENOTSUP, NBD_ENOTSUP},
        {-ESHUTDOWN, NBD_ESHUTDOWN},
        {-ECANCELED, NBD_ESHUTDOWN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof its / sizeof its[0]; i++)
        assert_int_equal(nbd_error(its[i].res), its[i].error);
    for (int e = 0; e < 200; e++)
        assert_string_not_equal(nbd_error_name(nbd_error(-e)), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_request_is_big_endian_and_keeps_its_cookie, fresh),
        cmocka_unit_test_setup(only_a_write_has_a_payload, fresh),
        cmocka_unit_test_setup(without_the_magic_number_the_connection_is_lost, fresh),
        cmocka_unit_test_setup(a_range_ends_at_the_end_of_the_export_at_the_latest, fresh),
        cmocka_unit_test_setup(a_range_does_not_wrap_around, fresh),
        cmocka_unit_test_setup(writing_behind_the_end_is_a_lack_of_space, fresh),
        cmocka_unit_test_setup(a_refused_write_still_has_its_payload_to_be_skipped, fresh),
        cmocka_unit_test_setup(a_payload_is_at_most_32_mib, fresh),
        cmocka_unit_test_setup(commands_without_payload_may_be_longer, fresh),
        cmocka_unit_test_setup(flags_belong_to_their_commands, fresh),
        cmocka_unit_test_setup(what_was_not_negotiated_is_refused, fresh),
        cmocka_unit_test_setup(unknown_commands_are_refused, fresh),
        cmocka_unit_test_setup(a_read_only_export_is_not_written, fresh),
        cmocka_unit_test_setup(ranges_keep_the_minimum_block_size, fresh),
        cmocka_unit_test_setup(a_length_of_zero_is_fine_but_for_a_status, fresh),
        cmocka_unit_test_setup(a_flush_has_no_range, fresh),
        cmocka_unit_test_setup(good_bye_is_always_understood, fresh),
        cmocka_unit_test_setup(results_map_to_the_errors_of_the_protocol, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
