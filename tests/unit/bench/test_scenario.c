/* scenario: who writes over which link, for how long, or an error that names what is wrong. */
#include "scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct scenario s;

static int add(const char *text, struct err *e)
{
    char path[] = "/tmp/relais-scenario-XXXXXX";
    int fd = mkstemp(path), rc;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    rc = scenario_load(&s, path, e);
    assert_int_equal(unlink(path), 0);
    return rc;
}

static int begin(void **state)
{
    (void)state;
    scenario_init(&s);
    return 0;
}

static int end(void **state)
{
    (void)state;
    scenario_free(&s);
    return 0;
}

#define LINK "[both]\nrate = 20mbit\ndelay = 10ms\n"

static void files_add_to_each_other(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(add(LINK "[at 5min]\noutage = blackhole\n[at 15min]\noutage = none\n", &e), 0);
    assert_int_equal(add("[run]\nduration = 20min\ncompress = 10\nrestore = no\n", &e), 0);
    assert_int_equal(
        add("[workload db]\nkind = oltp\nrate = 8mbit\n[site]\nspool-budget = 1GiB\n", &e), 0);
    assert_int_equal(add("[workload db]\nseed = 7\n[workload ct]\nkind = import\n", &e), 0);
    assert_int_equal(scenario_complete(&s, &e), 0);
    assert_int_equal(s.profile.path[WAN_UPWARD].rate, 20000000);
    assert_int_equal(s.profile.step_count, 2);
    assert_int_equal(scenario_real(&s, s.duration), UINT64_C(120000000000));
    assert_false(s.restore);
    assert_int_equal(s.workload_count, 2);
    assert_int_equal(s.workloads[0].seed, 7);
    assert_int_equal(s.workloads[0].rate, 1000000);
    assert_int_equal(s.workloads[0].block, 8192); /* what an oltp has by itself */
    assert_int_equal(s.workloads[1].kind, WORKLOAD_IMPORT);
    assert_string_equal(s.site, "spool-budget = 1GiB\n");
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {LINK "[workload db]\nkind = mainframe\n", ":5: kind = mainframe: wanted is oltp"},
        {"[workload db]\nsize = 5\n", ":2: size = 5: wanted is a size of 16.0 MiB"},
        {"[workload db]\nskew = 1.5\n", ":2: skew = 1.5: wanted is a share from 0% to 99%"},
        {"[workload db]\ndepth = 65\n", ":2: depth = 65: wanted is a number from 1 to 64"},
        {"[workload db]\nrate = quick\n", ":2: rate = quick: wanted is 20mbit"},
        {"[workload db]\ncolour = red\n", ":2: [workload db] has kind"},
        {"[workload DB]\nkind = oltp\n", ":2: [workload DB]: a name has"},
        {"[run]\ncompress = 0\n", ":2: compress = 0: wanted is a number from 1"},
        {"[run]\nduration = 8d\n", ":2: duration = 8d: wanted is a time"},
        {"[site]\nstore = dir:/\n", ":2: [site] store is set by the run itself"},
        {"[both]\nrate = 0.1bit\n", ":2: both.rate = 0.1bit: wanted is 1kbit"},
        {"[cloud]\nx = y\n", ":2: [cloud]: known are"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = ERR_INIT;
        scenario_free(&s);
        scenario_init(&s);
        assert_int_equal(add(cases[i].text, &e), -ERR_CONFIG);
        if (!strstr(e.text, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].says);
    }
}

static void what_is_missing_is_named(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(scenario_complete(&s, &e), -ERR_CONFIG);
    assert_non_null(strstr(e.text, "no link"));
    e = (struct err)ERR_INIT;
    assert_int_equal(add(LINK, &e), 0);
    assert_int_equal(scenario_complete(&s, &e), -ERR_CONFIG);
    assert_non_null(strstr(e.text, "nobody writes"));
    e = (struct err)ERR_INIT;
    assert_int_equal(add("[workload db]\nkind = trace\n", &e), 0);
    assert_int_equal(scenario_complete(&s, &e), -ERR_CONFIG);
    assert_non_null(strstr(e.text, "needs trace = FILE"));
    e = (struct err)ERR_INIT;
    assert_int_equal(add("[workload db]\nkind = oltp\n[at 2h]\noutage = none\n", &e), 0);
    assert_int_equal(scenario_complete(&s, &e), -ERR_CONFIG);
    assert_non_null(strstr(e.text, "comes after the end"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_add_to_each_other, begin, end),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_named_with_its_line, begin, end),
        cmocka_unit_test_setup_teardown(what_is_missing_is_named, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
