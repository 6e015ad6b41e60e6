/* verdict and keeper: what a hub's configuration, a group's pins and its catalog come to; one hub
 * at a time acts on it. */
#include "hub_fixture.h"
#include "keeper.h"
#include "lease.h"
#include "session.h"
#include "verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY (16 * PART_SIZE)
#define HOUR   (INT64_C(3600) * 1000000000)

static struct hub_fixture f;
static struct test_delta d[5]; /* RP 1 to 5; RP 3 is a stretch */

static void begin(const char *keep, uint64_t lock)
{
    fixture_start(&f, MEMORY, 8);
    MUST(keep_parse(&f.config.keep, keep, err));
    f.config.lock_ns = lock;
    for (unsigned i = 0; i + 1 < WHO; i++)
        f.config.peers[i].lock_ns = CONFIG_AUTO;
    struct caller *c = client(&f, BETHUNE);
    for (unsigned i = 0; i < 5; i++) {
        struct spec s = {.rp = i + 1, .stretch = i == 2};
        if (i > 0)
            s.parent = d[i - 1].digest;
        delta_make(&d[i], &s);
        MUST(send_all(c, &d[i], err));
    }
    caller_free(c);
}

static void end(void)
{
    for (unsigned i = 0; i < 5; i++)
        delta_free(&d[i]);
    fixture_stop(&f);
}

/* Which RPs stay in so many hours: "1.3.5", a point where one goes. */
static const char *stays(int64_t hours)
{
    static char text[6];
    struct verdict v;
    int64_t now = hours ? io_wall(fiber_io()) + hours * HOUR : 0;
    MUST(verdict_make(&v, f.store, &f.config, "bethune", "records", now, err));
    assert_int_equal(v.count, 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(v.points[i].rp, i + 1);
        text[i] = (char)(verdict_stays(&v, i + 1) ? '1' + (char)i : '.');
        assert_int_equal(verdict_stays(&v, i + 1), v.why[i] != RETENTION_GOES);
    }
    assert_true(verdict_stays(&v, 6)); /* who came meanwhile */
    verdict_free(&v);
    return text;
}

static int pin(uint64_t rp, bool pinned, uint64_t *left, struct err *e)
{
    return verdict_pin(f.store, &f.config, "bethune", "records", rp, pinned, "bethune", left, e);
}

static void rules_body(void *arg)
{
    (void)arg;
    begin("all 10h", 0);
    assert_string_equal(stays(0), "12345");
    assert_string_equal(stays(9), "12345");
    assert_string_equal(stays(11), "....5"); /* never the newest */
    struct verdict v;
    MUST(verdict_make(&v, f.store, &f.config, "bethune", "nothing", 0, err));
    assert_int_equal(v.count, 0);
    assert_true(verdict_stays(&v, 1));
    verdict_free(&v);
    end();
}
static void the_configurations_rules_say_what_stays(void **state)
{
    (void)state;
    hub_run(rules_body, NULL);
}

static void less_body(void *arg)
{
    bool changed;
    (void)arg;
    begin("all 10h", 5 * (uint64_t)HOUR);
    MUST(verdict_note_rules(f.store, &f.config, "bethune", "records", &changed, err));
    assert_true(changed);
    MUST(verdict_note_rules(f.store, &f.config, "bethune", "records", &changed, err));
    assert_false(changed);
    MUST(keep_parse(&f.config.keep, "all 1h", err));
    f.config.lock_ns = 0;
    /* Nobody noted it: it does not hold, however long that is. */
    assert_string_equal(stays(9), "12345");
    MUST(verdict_note_rules(f.store, &f.config, "bethune", "records", &changed, err));
    assert_true(changed);
    assert_string_equal(stays(4), "12345");
    assert_string_equal(stays(6), "....5");
    /* More holds at once, noted or not. */
    MUST(keep_parse(&f.config.keep, "all 20h", err));
    assert_string_equal(stays(19), "12345");
    end();
}
static void rules_that_keep_less_hold_a_lock_after_they_were_noted(void **state)
{
    (void)state;
    hub_run(less_body, NULL);
}

static void pins_body(void *arg)
{
    uint64_t left;
    (void)arg;
    begin("all 1h", 3 * (uint64_t)HOUR);
    MUST(pin(2, true, &left, err));
    assert_true(left == UINT64_MAX);
    MUST(pin(2, true, &left, err)); /* twice is once */
    assert_string_equal(stays(100), ".2..5");
    REFUSED(ERR_NOENT, "has no RP 9", pin(9, true, &left, err));
    REFUSED(ERR_NOENT, "has no RP 0", pin(0, true, &left, err));
    REFUSED(ERR_NOENT, "is not complete", pin(3, true, &left, err));
    REFUSED(ERR_NOENT, "is not pinned", pin(1, false, &left, err));
    MUST(pin(2, false, &left, err));
    assert_true(left > 0 && left <= 3 * (uint64_t)HOUR);
    assert_string_equal(stays(2), "12345"); /* by the lock */
    assert_string_equal(stays(4), "....5");
    MUST(pin(2, true, &left, err)); /* thought better of it */
    assert_string_equal(stays(4), ".2..5");
    REFUSED(ERR_NOENT, "no such group",
            verdict_pin(f.store, &f.config, "bethune", "nothing", 1, true, "", &left, err));
    end();
}
static void a_pin_holds_until_a_lock_after_it_was_taken_away(void **state)
{
    (void)state;
    hub_run(pins_body, NULL);
}

static void keeper_body(void *arg)
{
    struct lease other;
    struct verdict v = {0};
    char(*sites)[NAME_MAX_LEN + 1];
    bool changed;
    (void)arg;
    begin("all 1h", 0);
    assert_int_equal(keeper_sites(f.hub, &sites), 2);
    assert_string_equal(sites[0], "bethune");
    assert_string_equal(sites[1], "lens"); /* not douai, who signs nothing */
    free(sites);
    lease_init(&other, f.store, KEEPER_LEASE, "bapaume");
    MUST(lease_take(&other, err));
    REFUSED(ERR_AGAIN, "bapaume", keeper_group(f.hub->keeper, "bethune", "records", &v, err));
    verdict_free(&v);
    lease_release(&other);
    MUST(keeper_group(f.hub->keeper, "bethune", "records", &v, err));
    assert_int_equal(v.count, 5);
    verdict_free(&v);
    MUST(verdict_note_rules(f.store, &f.config, "bethune", "records", &changed, err));
    assert_false(changed);         /* the pass did */
    MUST(lease_take(&other, err)); /* and it gave the lease back */
    lease_release(&other);
    end();
}
static void the_keeper_acts_when_no_other_hub_does(void **state)
{
    (void)state;
    hub_run(keeper_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_configurations_rules_say_what_stays),
        cmocka_unit_test(rules_that_keep_less_hold_a_lock_after_they_were_noted),
        cmocka_unit_test(a_pin_holds_until_a_lock_after_it_was_taken_away),
        cmocka_unit_test(the_keeper_acts_when_no_other_hub_does),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
