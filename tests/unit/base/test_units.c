/* units: what people write is read exactly or refused, and what is printed fits and rounds right.
 */
#include "units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define S INT64_C(1000000000)

static void sizes_are_powers_of_1024(void **state)
{
    static const struct {
        const char *text;
        uint64_t want;
    } good[] = {
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"64k", 65536},
        {"64K", 65536},
        {"64KiB", 65536},
        {" 64 KiB ", 65536},
        {"1.5T", UINT64_C(3) << 39},
        {"10GiB", UINT64_C(10) << 30},
        {"0.25M", 262144},
        {"18446744073709551615", UINT64_MAX},
        {"15.5E", (UINT64_C(31) << 59)},
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t v = 1;
        assert_int_equal(units_parse_size(&v, good[i].text), 0);
        assert_true(v == good[i].want);
    }
}

static void malformed_sizes_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "k",
                                      "-1",
                                      "1.5",
                                      "1.",
                                      ".5k",
                                      "1KB",
                                      "1 Kib x",
                                      "1ki",
                                      "0x10",
                                      "16EiB",
                                      "1e3",
                                      "18446744073709551616",
                                      "1.0123456789k",
                                      "1k1"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t v;
        if (units_parse_size(&v, bad[i]) == 0)
            fail_msg("\"%s\" was taken for a size", bad[i]);
    }
}

static void durations_add_up(void **state)
{
    static const struct {
        const char *text;
        uint64_t want;
    } good[] = {
        {"5s", 5 * S},       {"90s", 90 * S},  {"15min", 900 * S},     {"1h", 3600 * S},
        {"2d", 172800 * S},  {"250ms", S / 4}, {"1h 30min", 5400 * S}, {"1h30min", 5400 * S},
        {"1.5s", S + S / 2}, {"0s", 0},        {"3us", 3000},          {"1w", 604800 * S},
        {"2 min", 120 * S},
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t v = 1;
        assert_int_equal(units_parse_duration(&v, good[i].text), 0);
        assert_true(v == good[i].want);
    }
}

static void bare_numbers_and_unknown_units_are_no_durations(void **state)
{
    static const char *const bad[] = {"",     "5",   "s",     "5m",
                                      "5sec", "-5s", "1h 30", "300000000000000w"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t v;
        if (units_parse_duration(&v, bad[i]) == 0)
            fail_msg("\"%s\" was taken for a duration", bad[i]);
    }
}

static void times_have_an_offset_or_are_local(void **state)
{
    /* CET with its summer time, as in Artois. */
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-11-22T12:00:00Z", 1795348800 * S},
        {"2026-11-22T12:00Z", 1795348800 * S},
        {"2026-11-22 13:00:00+01:00", 1795348800 * S},
        {"2026-11-22T06:30:00-05:30", 1795348800 * S},
        {"2026-11-22 13:00", 1795348800 * S},
        {"2026-07-01 14:00", 1782907200 * S},
        {"2026-11-22", 1795348800 * S - 13 * 3600 * S},
        {"2026-11-22T12:00:00.25Z", 1795348800 * S + S / 4},
        {"2024-02-29T00:00:00Z", 1709164800 * S},
        {"-90min", 1000000 * S - 5400 * S},
    };
    (void)state;
    assert_int_equal(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
    tzset();
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t v = 1;
        if (units_parse_time(&v, good[i].text, 1000000 * S) != 0)
            fail_msg("\"%s\" was refused", good[i].text);
        if (v != good[i].want)
            fail_msg("\"%s\" is %lld", good[i].text, (long long)v);
    }
}

static void impossible_times_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "now",
                                      "2026-13-01",
                                      "2026-02-30",
                                      "2026-11-22T24:00Z",
                                      "2026-11-2",
                                      "2026-11-22T",
                                      "2026-11-22T12",
                                      "2026-11-22T12:60Z",
                                      "2026-11-22T12:00:61Z",
                                      "1969-12-31",
                                      "2300-01-01",
                                      "2026-11-22T12:00Zx",
                                      "2026-11-22T12:00+1",
                                      "-90",
                                      "2026-11-22T12:00+25:00",
                                      "2026-11-22T1:00Z",
                                      "12026-11-22",
                                      "2026-11-22T12:00:1Z"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t v;
        if (units_parse_time(&v, bad[i], 0) == 0)
            fail_msg("\"%s\" was taken for a time", bad[i]);
    }
}

static void printing_rounds_into_the_right_unit(void **state)
{
    char t[UNITS_TEXT];
    (void)state;
    assert_string_equal(units_size(t, 0), "0 B");
    assert_string_equal(units_size(t, 812), "812 B");
    assert_string_equal(units_size(t, 1468006), "1.4 MiB");
    assert_string_equal(units_size(t, 1048575), "1.0 MiB");
    assert_string_equal(units_size(t, UINT64_MAX), "16.0 EiB");
    assert_string_equal(units_duration(t, 0), "0 s");
    assert_string_equal(units_duration(t, 250 * 1000000), "250 ms");
    assert_string_equal(units_duration(t, 999999999), "1.0 s");
    assert_string_equal(units_duration(t, UINT64_C(3200000000)), "3.2 s");
    assert_string_equal(units_duration(t, UINT64_C(59960000000)), "1 min");
    assert_string_equal(units_duration(t, 250 * (uint64_t)S), "4 min 10 s");
    assert_string_equal(units_duration(t, 18720 * (uint64_t)S), "5 h 12 min");
    assert_string_equal(units_duration(t, 51 * 3600 * (uint64_t)S), "2 d 3 h");
    assert_true(strlen(units_duration(t, UINT64_MAX)) < UNITS_TEXT - 1);
    assert_string_equal(units_bitrate(t, 0), "0 bit/s");
    assert_string_equal(units_bitrate(t, 1562500), "12.5 Mbit/s");
    assert_string_equal(units_bitrate(t, 124999.99), "1.0 Mbit/s");
    assert_string_equal(units_bitrate(t, -1), "0 bit/s");
}

static void a_printed_time_is_read_back(void **state)
{
    static const int64_t times[] = {0, 1795348800 * S + 123 * 1000000, 951782400 * S};
    char t[UNITS_TEXT];
    (void)state;
    assert_string_equal(units_time(t, times[1]), "2026-11-22T12:00:00.123Z");
    assert_string_equal(units_time(t, -1), "1969-12-31T23:59:59.999Z");
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        int64_t v;
        assert_int_equal(units_parse_time(&v, units_time(t, times[i]), 0), 0);
        assert_true(v == times[i]);
    }
}

static void bitrates_are_powers_of_1000(void **state)
{
    static const struct {
        const char *text;
        uint64_t bits;
    } good[] = {{"512kbit", 512000},     {"20mbit", 20000000}, {"1.5gbit", 1500000000},
                {"20 Mbit/s", 20000000}, {"800bit", 800},      {"0bit", 0},
                {"2tbit", 2000000000000}};
    static const char *const bad[] = {
        "",       "20",       "20m",    "20mb",     "20MB/s",         "mbit",
        "1.5bit", "20mbit/h", "-1mbit", "20mbit x", "20000000000tbit"};
    uint64_t v;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(units_parse_bitrate(&v, good[i].text), 0);
        assert_int_equal(v, good[i].bits);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (units_parse_bitrate(&v, bad[i]) == 0)
            fail_msg("\"%s\" is taken for a bitrate", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(malformed_sizes_are_refused),
        cmocka_unit_test(durations_add_up),
        cmocka_unit_test(bare_numbers_and_unknown_units_are_no_durations),
        cmocka_unit_test(times_have_an_offset_or_are_local),
        cmocka_unit_test(impossible_times_are_refused),
        cmocka_unit_test(printing_rounds_into_the_right_unit),
        cmocka_unit_test(a_printed_time_is_read_back),
        cmocka_unit_test(bitrates_are_powers_of_1000),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
