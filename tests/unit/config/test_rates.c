/* rates: what people write of rates by weekday and time of day holds when the clock on their wall
 * says so, and what cannot be meant is refused. */
#include "rates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define MBIT UINT64_C(125000)
#define S    INT64_C(1000000000)

enum { MON, TUE, WED, THU, FRI, SAT, SUN };

static void add(struct rates *r, const char *text)
{
    struct err e = ERR_INIT;
    if (rates_add(r, text, &e) < 0)
        fail_msg("%s: %s", text, e.text);
}

static struct rates rates(const char *text)
{
    struct rates r = {.count = 0};
    add(&r, text);
    return r;
}

/* In mbit; -1: no rule holds. */
static int at(const struct rates *r, unsigned day, unsigned hour, unsigned minute)
{
    const struct rate_rule *rule = rates_rule(r, day, hour * 60 + minute);
    return rule ? (int)(rule->rate / MBIT) : -1;
}

static void a_rule_holds_from_its_first_minute_to_before_its_last(void **state)
{
    struct rates r = rates("mon..fri 08:00-18:00 20mbit");
    (void)state;
    assert_int_equal(at(&r, MON, 7, 59), -1);
    assert_int_equal(at(&r, MON, 8, 0), 20);
    assert_int_equal(at(&r, FRI, 17, 59), 20);
    assert_int_equal(at(&r, FRI, 18, 0), -1);
    assert_int_equal(at(&r, SAT, 12, 0), -1);
}

static void the_first_rule_that_fits_decides(void **state)
{
    struct rates r = rates("mon 08:00-12:00 5mbit, mon..fri 08:00-18:00 20mbit");
    (void)state;
    add(&r, "sat..sun off, 100mbit"); /* another line goes on where the first ended */
    assert_int_equal(at(&r, MON, 9, 0), 5);
    assert_int_equal(at(&r, MON, 13, 0), 20);
    assert_int_equal(at(&r, TUE, 9, 0), 20);
    assert_int_equal(at(&r, TUE, 20, 0), 100);
    assert_int_equal(at(&r, SUN, 9, 0), 0);
}

static void a_night_belongs_to_the_day_on_which_it_begins(void **state)
{
    struct rates r = rates("fri 22:00-06:00 50mbit, 23:30-00:30 7mbit");
    (void)state;
    assert_int_equal(at(&r, FRI, 5, 0), -1);
    assert_int_equal(at(&r, FRI, 22, 0), 50);
    assert_int_equal(at(&r, SAT, 5, 59), 50);
    assert_int_equal(at(&r, SAT, 6, 0), -1);
    assert_int_equal(at(&r, SAT, 23, 30), 7);
    assert_int_equal(at(&r, SUN, 0, 29), 7);
}

static void days_may_go_over_the_end_of_the_week(void **state)
{
    struct rates r = rates("sat..mon 3mbit");
    (void)state;
    assert_int_equal(at(&r, SAT, 0, 0), 3);
    assert_int_equal(at(&r, SUN, 23, 59), 3);
    assert_int_equal(at(&r, MON, 23, 59), 3);
    assert_int_equal(at(&r, TUE, 0, 0), -1);
}

static void midnight_is_24_00_at_the_end(void **state)
{
    struct rates r = rates("sun 20:00-24:00 2mbit");
    (void)state;
    assert_int_equal(at(&r, SUN, 23, 59), 2);
    assert_int_equal(at(&r, MON, 0, 0), -1);
}

static void units_and_fractions_are_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {{"64kbit", 8000},     {"512kbit", 64000},         {"2.5mbit", 312500},
                 {"1gbit", 125000000}, {"1000gbit", 125000000000}, {"off", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = ERR_INIT;
        uint64_t out = 1;
        assert_int_equal(rates_parse_rate(&out, cases[i].text, &e), 0);
        assert_true(out == cases[i].bytes);
    }
}

static void refused(const char *text, const char *says)
{
    struct rates r = {.count = 0};
    struct err e = ERR_INIT;
    if (rates_add(&r, text, &e) == 0)
        fail_msg("\"%s\" was taken", text);
    assert_int_equal(e.code, ERR_CONFIG);
    if (!strstr(e.text, says))
        fail_msg("\"%s\": %s", text, e.text);
}

static void what_is_wrong_is_named_with_what_would_be_right(void **state)
{
    (void)state;
    refused("20", "\"20\" is not a rate; write a number and kbit, mbit or gbit");
    refused("20 mbit", "\"20\" is no time of day");
    refused("20mbits", "not a rate");
    refused("-5mbit", "not a rate");
    refused("1e3mbit", "not a rate");
    refused(".5mbit", "not a rate");
    refused("5.mbit", "not a rate");
    refused("99999999999999999999mbit", "not a rate");
    refused("0mbit", "to ship nothing use relais pause");
    refused("63kbit", "64kbit to 1000gbit");
    refused("1001gbit", "64kbit to 1000gbit");
    refused("monday 5mbit", "\"monday\" is no weekday; write mon");
    refused("mon-fri 5mbit", "as mon..fri");
    refused("mon.. 5mbit", "no weekday");
    refused("08:00-25:00 5mbit", "no time of day; write HH:MM-HH:MM");
    refused("8:00-18:00 5mbit", "no time of day");
    refused("08:60-18:00 5mbit", "no time of day");
    refused("24:00-06:00 5mbit", "no time of day");
    refused("08:00-08:00 5mbit", "ends when it begins");
    refused("mon 08:00-18:00 5mbit 6mbit", "one word too many");
    refused("08:00-18:00 mon 5mbit", "one word too many");
    refused("mon 08:00-18:00", "not a rate");
    refused("5mbit,", "a rule is empty");
    refused("", "a rule is empty");
}

static void a_rule_that_never_holds_is_refused(void **state)
{
    (void)state;
    refused("100mbit, mon 5mbit", "the rule \"mon 5mbit\" never holds");
    refused("00:00-12:00 1mbit, 12:00-24:00 2mbit, sat 08:00-10:00 3mbit",
            "\"sat 08:00-10:00 3mbit\" never holds");
}

static void there_is_an_end_to_rules(void **state)
{
    struct rates r = {.count = 0};
    struct err e = ERR_INIT;
    char text[32];
    (void)state;
    for (unsigned i = 0; i < RATES_MAX; i++) {
        (void)snprintf(text, sizeof text, "mon 10:%02u-10:%02u 1mbit", i, i + 1);
        add(&r, text);
    }
    assert_int_equal(rates_add(&r, "2mbit", &e), -ERR_CONFIG);
    assert_non_null(strstr(e.text, "more than 32"));
}

static void a_rule_is_written_as_it_was_read(void **state)
{
    static const char *const texts[] = {"mon..fri 08:00-18:00 20mbit", "sat 2.5mbit", "off",
                                        "fri..mon 22:00-06:00 512kbit", "1gbit"};
    char shown[RATES_TEXT];
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct rates r = rates(texts[i]);
        assert_string_equal(rates_text(shown, &r.rules[0]), texts[i]);
    }
}

/* -- Clocks -- */

static int64_t utc(int year, int month, int day, int hour, int minute)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute};
    return (int64_t)timegm(&tm) * S;
}

static uint64_t mbit_at(const struct rates *r, int64_t wall)
{
    const struct rate_rule *rule = rates_rule_at(r, wall);
    return rule ? rule->rate / MBIT : 0;
}

static void zone(const char *tz)
{
    assert_int_equal(setenv("TZ", tz, 1), 0);
    tzset();
}

static void times_are_those_of_the_clock_on_the_wall(void **state)
{
    struct rates r = rates("mon..fri 08:00-18:00 20mbit");
    (void)state;
    zone("CET-1CEST,M3.5.0,M10.5.0/3");
    assert_int_equal(mbit_at(&r, utc(2026, 1, 12, 6, 59)), 0); /* a Monday in winter */
    assert_int_equal(mbit_at(&r, utc(2026, 1, 12, 7, 0)), 20);
    assert_int_equal(mbit_at(&r, utc(2026, 7, 13, 6, 0)), 20); /* and one in summer */
    assert_int_equal(mbit_at(&r, utc(2026, 7, 13, 16, 0)), 0);
}

/* In 2026: 29 March 02:00 becomes 03:00, 25 October 03:00 becomes 02:00. Both are Sundays. */
static void an_hour_that_is_skipped_or_repeated_is_so_for_the_rules(void **state)
{
    struct rates r = rates("sun 02:00-03:00 2mbit, sun 01:00-04:00 8mbit");
    (void)state;
    zone("CET-1CEST,M3.5.0,M10.5.0/3");
    assert_int_equal(mbit_at(&r, utc(2026, 3, 29, 0, 59)), 8); /* 01:59 */
    assert_int_equal(mbit_at(&r, utc(2026, 3, 29, 1, 0)), 8);  /* 03:00 */
    assert_int_equal(mbit_at(&r, utc(2026, 10, 25, 0, 30)), 2);
    assert_int_equal(mbit_at(&r, utc(2026, 10, 25, 1, 30)), 2); /* 02:30 again */
    assert_int_equal(mbit_at(&r, utc(2026, 10, 25, 2, 0)), 8);  /* 03:00 */
}

static void the_next_change_is_found(void **state)
{
    struct rates r = rates("mon..fri 08:00-18:00 20mbit, 100mbit"), always = rates("5mbit");
    (void)state;
    zone("UTC");
    assert_true(rates_change(&r, utc(2026, 1, 12, 9, 30) + S / 3) == utc(2026, 1, 12, 18, 0));
    assert_true(rates_change(&r, utc(2026, 1, 16, 18, 0)) == utc(2026, 1, 19, 8, 0));
    assert_true(rates_change(&always, utc(2026, 1, 16, 18, 0)) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_holds_from_its_first_minute_to_before_its_last),
        cmocka_unit_test(the_first_rule_that_fits_decides),
        cmocka_unit_test(a_night_belongs_to_the_day_on_which_it_begins),
        cmocka_unit_test(days_may_go_over_the_end_of_the_week),
        cmocka_unit_test(midnight_is_24_00_at_the_end),
        cmocka_unit_test(units_and_fractions_are_read),
        cmocka_unit_test(what_is_wrong_is_named_with_what_would_be_right),
        cmocka_unit_test(a_rule_that_never_holds_is_refused),
        cmocka_unit_test(there_is_an_end_to_rules),
        cmocka_unit_test(a_rule_is_written_as_it_was_read),
        cmocka_unit_test(times_are_those_of_the_clock_on_the_wall),
        cmocka_unit_test(an_hour_that_is_skipped_or_repeated_is_so_for_the_rules),
        cmocka_unit_test(the_next_change_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
