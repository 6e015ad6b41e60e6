/* strangers: newcomers get in, who is alone at an address stays, and a line a second is told. */
#include "strangers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define MANY 100u

static const struct io_addr alone = {.host = "10.0.0.1"}, flood = {.host = "10.0.0.2"};

static unsigned still(const struct stranger *s, unsigned n)
{
    unsigned waits = 0;
    for (unsigned i = 0; i < n; i++)
        waits += s[i].waits;
    return waits;
}

static void an_address_has_its_share_and_its_oldest_goes(void **state)
{
    struct strangers set = {.max = 16, .source = 4};
    struct stranger first, s[MANY];
    (void)state;
    strangers_add(&set, &first, &alone, NULL);
    for (unsigned i = 0; i < MANY; i++) {
        struct stranger *goes = strangers_make_room(&set, &flood);
        assert_ptr_equal(goes, i < 4 ? NULL : &s[i - 4]);
        strangers_add(&set, &s[i], &flood, NULL);
    }
    assert_true(first.waits);
    assert_int_equal(still(s, MANY), 4);
    assert_int_equal(set.count, 5);
}

static void when_all_places_are_taken_the_address_with_most_makes_room(void **state)
{
    struct strangers set = {.max = 8, .source = 4};
    struct io_addr from[5];
    struct stranger first, s[MANY];
    (void)state;
    strangers_add(&set, &first, &alone, NULL);
    for (unsigned i = 0; i < 5; i++)
        (void)snprintf(from[i].host, sizeof from[i].host, "10.0.1.%u", i);
    for (unsigned i = 0; i < MANY; i++) {
        (void)strangers_make_room(&set, &from[i % 5]);
        strangers_add(&set, &s[i], &from[i % 5], NULL);
        assert_true(set.count <= 8 && s[i].waits);
    }
    assert_true(first.waits);
}

static void the_order_in_which_they_leave_does_not_matter(void **state)
{
    struct strangers set = {.max = 8, .source = 8};
    struct stranger s[3];
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        strangers_add(&set, &s[i], &flood, &s[i]);
    strangers_remove(&set, &s[1]);
    strangers_remove(&set, &s[1]);
    assert_int_equal(set.count, 2);
    assert_ptr_equal(strangers_take_one(&set)->owner, &s[0]);
    strangers_remove(&set, &s[0]);
    strangers_remove(&set, &s[2]);
    assert_int_equal(set.count, 0);
    assert_null(strangers_take_one(&set));
}

static void of_ipv6_the_network_counts(void **state)
{
    static const struct io_addr a = {.host = "2001:db8::1"}, b = {.host = "2001:db8::ffff:2"},
                                c = {.host = "2001:db8:0:1::1"}, v4a = {.host = "::ffff:10.0.0.1"},
                                v4b = {.host = "::ffff:10.0.0.2"};
    (void)state;
    assert_true(strangers_same_source(&a, &b));
    assert_false(strangers_same_source(&a, &c));
    assert_true(strangers_same_source(&v4a, &v4a));
    assert_false(strangers_same_source(&v4a, &v4b));
    assert_false(strangers_same_source(&alone, &flood));
}

static void a_line_a_second_is_told(void **state)
{
    struct strangers set = {.max = 8, .source = 8};
    unsigned told = 0, untold = 0, sum = 0;
    (void)state;
    for (unsigned i = 0; i < 5000; i++)
        if (strangers_tell(&set, (i + 1) * (IO_S / 1000), &untold)) {
            told++;
            sum += untold;
        }
    assert_int_equal(told, 5);
    assert_int_equal(told + sum + set.untold, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_its_share_and_its_oldest_goes),
        cmocka_unit_test(when_all_places_are_taken_the_address_with_most_makes_room),
        cmocka_unit_test(the_order_in_which_they_leave_does_not_matter),
        cmocka_unit_test(of_ipv6_the_network_counts),
        cmocka_unit_test(a_line_a_second_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
