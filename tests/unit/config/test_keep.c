/* keep: what people write of recovery points to keep is read as it is meant, or refused. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define H UINT64_C(3600000000000)
#define D (24 * H)

static struct keep keep(const char *text)
{
    struct err e = ERR_INIT;
    struct keep k = {{0}};
    if (keep_parse(&k, text, &e) < 0)
        fail_msg("%s: %s", text, e.text);
    return k;
}

static void refused(const char *text, const char *because)
{
    struct err e = ERR_INIT;
    struct keep k;
    assert_int_equal(keep_parse(&k, text, &e), -ERR_CONFIG);
    if (!strstr(e.text, because))
        fail_msg("%s: \"%s\" does not say \"%s\"", text, e.text, because);
}

static void spans_are_durations_numbers_of_the_kind_or_ever(void **state)
{
    struct keep k = keep("all 48h, hourly 14d , daily 90,weekly 8, monthly 36,yearly ever");
    (void)state;
    assert_int_equal(k.span[KEEP_ALL], 48 * H);
    assert_int_equal(k.span[KEEP_HOURLY], 14 * D);
    assert_int_equal(k.span[KEEP_DAILY], 90 * D);
    assert_int_equal(k.span[KEEP_WEEKLY], 56 * D);
    assert_int_equal(k.span[KEEP_MONTHLY], 3 * UINT64_C(31557600000000000));
    assert_true(k.span[KEEP_YEARLY] == KEEP_EVER);
}

static void labelled_points_stay_for_ever_unless_it_is_said(void **state)
{
    (void)state;
    assert_true(keep("all 1h").span[KEEP_LABELLED] == KEEP_EVER);
    assert_int_equal(keep("all 1h, labelled 30d").span[KEEP_LABELLED], 30 * D);
    assert_int_equal(keep("daily 90d").span[KEEP_ALL], 0);
}

static void what_cannot_be_meant_is_refused(void **state)
{
    (void)state;
    refused("", "empty");
    refused("all 48h,,daily 3", "empty");
    refused("hourlyish 14d", "no rule");
    refused("all", "not a span");
    refused("all 48", "not a span"); /* 48 what? */
    refused("labelled 5", "not a span");
    refused("monthly x", "not a span");
    refused("all 0s", "out of bounds");
    refused("hourly 0", "out of bounds");
    refused("yearly 101", "out of bounds");
    refused("hourly 99999999999999999999", "out of bounds");
    refused("all 40000d", "out of bounds");
    refused("all 1h, all 2h", "two rules");
}

static void rules_may_be_of_one_group(void **state)
{
    struct keep_of k;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(keep_parse_of(&k, "imaging: all 6h", &e), 0);
    assert_string_equal(k.group, "imaging");
    assert_int_equal(k.keep.span[KEEP_ALL], 6 * H);
    assert_int_equal(keep_parse_of(&k, "all 7h", &e), 0);
    assert_string_equal(k.group, "");
    assert_int_equal(keep_parse_of(&k, "Imaging: all 6h", &e), -ERR_CONFIG);
    assert_int_equal(keep_parse_of(&k, ": all 6h", &e), -ERR_CONFIG);
    assert_int_equal(keep_parse_of(&k, "a b: all 6h", &e), -ERR_CONFIG);
}

static void what_is_printed_reads_back_the_same(void **state)
{
    static const char *const texts[] = {
        "all ever, labelled ever", "all 2d, hourly 14d, daily 90d, monthly 36, labelled ever",
        "all 90min, weekly 3, yearly 10, labelled 36h", "hourly 5h, labelled 1ms"};
    char text[KEEP_TEXT];
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct keep k = keep(texts[i]), again;
        assert_string_equal(keep_text(text, &k), texts[i]);
        again = keep(text);
        assert_true(keep_equal(&k, &again));
    }
}

static void the_longest_text_fits(void **state)
{
    struct keep k;
    char text[KEEP_TEXT];
    (void)state;
    for (unsigned i = 0; i < KEEP_KINDS; i++)
        k.span[i] = KEEP_MAX - 1;
    assert_true(strlen(keep_text(text, &k)) < KEEP_TEXT - 1);
    keep(text);
}

static void a_join_keeps_what_either_keeps(void **state)
{
    struct keep a = keep("all 48h, daily 10"),
                b = keep("all 2h, hourly 9, daily ever, labelled 1d"), c = keep_join(&a, &b);
    (void)state;
    assert_int_equal(c.span[KEEP_ALL], 48 * H);
    assert_int_equal(c.span[KEEP_HOURLY], 9 * H);
    assert_true(c.span[KEEP_DAILY] == KEEP_EVER);
    assert_true(c.span[KEEP_LABELLED] == KEEP_EVER);
    assert_int_equal(c.span[KEEP_MONTHLY], 0);
}

#define LINK2 "link:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="

static void ignore(void *arg, int line, const char *text)
{
    (void)arg;
    (void)line;
    (void)text;
}

static struct config *parse(const char *rest)
{
    char text[1024];
    struct config *c = NULL;
    struct err e = ERR_INIT;
    int n = snprintf(text, sizeof text, "[site]\nname = lens\n%s", rest);
    if (config_parse(&c, "relais.conf", text, (size_t)n, ignore, NULL, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

static struct keep kept(const struct config *c, const char *site, const char *group, uint64_t *lock)
{
    struct keep k;
    config_keep(c, site, group, &k, lock);
    return k;
}

static void rules_of_a_group_go_before_those_of_its_site_and_those_of_the_hub(void **state)
{
    const uint64_t h = UINT64_C(3600000000000);
    uint64_t lock;
    struct config *c = parse("[hub]\nstore = dir:/s\nkeep = all 48h\nlock = 30d\n"
                             "[peer douai]\nlink-key = " LINK2
                             "\nkeep = imaging: all 6h\nkeep = all 5h\nlock = never\n");
    (void)state;
    assert_int_equal(kept(c, "lens", "records", &lock).span[KEEP_ALL], 48 * h);
    assert_int_equal(lock, 30 * 24 * h);
    assert_int_equal(kept(c, "douai", "records", &lock).span[KEEP_ALL], 5 * h);
    assert_int_equal(lock, 0);
    assert_int_equal(kept(c, "douai", "imaging", &lock).span[KEEP_ALL], 6 * h);
    config_free(c);
    c = parse("[hub]\nstore = dir:/s\n");
    assert_true(kept(c, "lens", "records", &lock).span[KEEP_ALL] == KEEP_EVER);
    assert_int_equal(lock, 24 * h);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_durations_numbers_of_the_kind_or_ever),
        cmocka_unit_test(labelled_points_stay_for_ever_unless_it_is_said),
        cmocka_unit_test(what_cannot_be_meant_is_refused),
        cmocka_unit_test(rules_may_be_of_one_group),
        cmocka_unit_test(what_is_printed_reads_back_the_same),
        cmocka_unit_test(the_longest_text_fits),
        cmocka_unit_test(a_join_keeps_what_either_keeps),
        cmocka_unit_test(rules_of_a_group_go_before_those_of_its_site_and_those_of_the_hub),
    };
    return cmocka_run_group_tests_name("keep", tests, NULL, NULL);
}
