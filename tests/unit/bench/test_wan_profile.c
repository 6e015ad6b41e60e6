/* wan_profile: a link as a network team writes it down, or an error that names the line. */
#include "profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int load(struct wan_profile *p, const char *text, struct err *e)
{
    char path[] = "/tmp/relais-profile-XXXXXX";
    int fd = mkstemp(path), rc;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    wan_profile_init(p);
    rc = wan_profile_load(p, path, e);
    assert_int_equal(unlink(path), 0);
    return rc;
}

static void a_file_says_it_all(void **state)
{
    struct wan_profile p;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(
        load(&p,
             "[link]\ndescription = ADSL\nmtu = 1492\nseed = 7\n"
             "[up]\nrate = 512kbit\nqueue = 64KiB\n"
             "[down]\nrate = 2mbit\nqueue = 200ms\n"
             "[both]\ndelay = 15ms\njitter = 500us\nloss = 0.5%\nbursts = 0.1% 20% 90%\n"
             "[at 30s]\noutage = reset\nup.rate = 1mbit\n[at 10s]\noutage = blackhole\n",
             &e),
        0);
    assert_string_equal(p.description, "ADSL");
    assert_int_equal(p.mtu, 1492);
    assert_int_equal(p.seed, 7);
    assert_int_equal(p.path[WAN_UPWARD].rate, 512000);
    assert_int_equal(p.path[WAN_UPWARD].queue, 65536);
    assert_int_equal(p.path[WAN_DOWNWARD].queue, 50000); /* 200 ms at 2 Mbit/s */
    for (unsigned w = 0; w < WAN_WAYS; w++) {
        assert_int_equal(p.path[w].delay, 15000000);
        assert_int_equal(p.path[w].jitter, 500000);
        assert_true(p.path[w].loss == 0.005);
        assert_true(p.path[w].burst_begin == 0.001 && p.path[w].burst_end == 0.2 &&
                    p.path[w].burst_loss == 0.9);
    }
    assert_int_equal(p.step_count, 3);
    assert_int_equal(p.steps[0].at, UINT64_C(10000000000)); /* in order of time */
    assert_string_equal(p.steps[0].value, "blackhole");
    assert_string_equal(p.steps[2].key, "up.rate");
    wan_profile_free(&p);
}

static void a_queue_given_as_time_follows_the_rate(void **state)
{
    struct wan_profile p;
    struct err e = ERR_INIT;
    (void)state;
    wan_profile_init(&p);
    assert_int_equal(wan_profile_set(&p, "both.queue", "50ms", &e), 0);
    assert_int_equal(wan_profile_set(&p, "both.rate", "100mbit", &e), 0);
    assert_int_equal(p.path[WAN_UPWARD].queue, 625000);
    assert_int_equal(wan_profile_set(&p, "down.rate", "10mbit", &e), 0);
    assert_int_equal(p.path[WAN_DOWNWARD].queue, 62500);
    assert_int_equal(p.path[WAN_UPWARD].queue, 625000);
    assert_int_equal(wan_profile_set(&p, "up.rate", "unlimited", &e), 0);
    assert_int_equal(p.path[WAN_UPWARD].rate, 0);
    wan_profile_free(&p);
}

static void what_cannot_be_is_refused_with_its_line_and_changes_nothing(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"[up]\nrate = 20\n", ":2: up.rate = 20: wanted is 1kbit"},
        {"[up]\nrate = 20 MB/s\n", ":2: up.rate"},
        {"[both]\nloss = 101%\n", ":2: both.loss"},
        {"[both]\nloss = 0.5\n", ":2: both.loss"},
        {"[both]\nbursts = 1% 0%\n", ":2: both.bursts"},
        {"[both]\ndelay = 61s\n", ":2: both.delay"},
        {"[both]\nqueue = 0s\n", ":2: both.queue"},
        {"[both]\nspeed = 1mbit\n", ":2: both.speed: a path has rate"},
        {"[link]\nmtu = 100\n", ":2: mtu = 100"},
        {"[sideways]\nrate = 1mbit\n", ":2: [sideways]"},
        {"[link]\nmtu = 1500\n[at noon]\noutage = none\n", ":4: [at noon]"},
        {"[at 5s]\noutage = maybe\n", ":2: outage = maybe: wanted is blackhole"},
        {"[at 5s]\nleft.rate = 1mbit\n", ":2: there is no \"left.rate\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct wan_profile p;
        struct err e = ERR_INIT;
        assert_int_equal(load(&p, bad[i].text, &e), -ERR_CONFIG);
        if (!strstr(e.text, bad[i].says))
            fail_msg("\"%s\" lacks \"%s\"", e.text, bad[i].says);
        assert_int_equal(p.path[WAN_UPWARD].rate, 0);
        wan_profile_free(&p);
    }
}

static void a_file_that_is_not_there_is_told(void **state)
{
    struct wan_profile p;
    struct err e = ERR_INIT;
    (void)state;
    wan_profile_init(&p);
    assert_int_equal(wan_profile_load(&p, "/nonexistent/link.conf", &e), -ERR_NOENT);
    assert_non_null(strstr(e.text, "/nonexistent/link.conf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_says_it_all),
        cmocka_unit_test(a_queue_given_as_time_follows_the_rate),
        cmocka_unit_test(what_cannot_be_is_refused_with_its_line_and_changes_nothing),
        cmocka_unit_test(a_file_that_is_not_there_is_told),
    };
    return cmocka_run_group_tests_name("wan_profile", tests, NULL, NULL);
}
