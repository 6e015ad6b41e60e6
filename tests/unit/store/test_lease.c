/* lease: one of several hubs at a time, whoever dies, stops, or waits for an answer that is lost.
 */
#include "fixture.h"

#include "lease.h"

#include <string.h>

/* A clock that tests put forward, and a store that fails when it is told to. */
static uint64_t ahead;
static const struct io_ops *real_io;
static struct io_ops shifted;
static const struct store_ops *real_store;
static struct store_ops faulty;
static enum { WELL, LOST, ANSWER_LOST } fault;

static uint64_t shifted_now(struct io *io)
{
    return real_io->now(io) + ahead;
}

static int faulty_move(struct store *s, const char *name, const struct store_claim *from,
                       const struct store_claim *to, struct err *e)
{
    int rc = fault == LOST ? 0 : real_store->move_claim(s, name, from, to, e);
    return rc == 0 && fault != WELL ? err_set(e, ERR_AGAIN, "no answer") : rc;
}

static void prepare(struct fixture *f)
{
    struct io *io = fiber_io();
    real_io = io->ops;
    shifted = *real_io;
    shifted.now = shifted_now;
    io->ops = &shifted;
    real_store = f->store->ops;
    faulty = *real_store;
    faulty.move_claim = faulty_move;
    f->store->ops = &faulty;
    ahead = 0;
    fault = WELL;
}

/* Of the names that tests use in a store that may outlive them. */
static void lease_of(struct lease *l, struct fixture *f, const char *holder)
{
    lease_init(l, f->store, f->site, holder);
}

SPEC(one_has_it_and_the_other_is_told_who)
{
    struct lease a, b;
    struct err e = ERR_INIT;
    prepare(f);
    lease_of(&a, f, "hub-a");
    lease_of(&b, f, "hub-b");
    ok(lease_take(&a, &e), &e);
    assert_true(lease_left(&a) > LEASE_NS - IO_S && lease_left(&a) <= LEASE_NS);
    fails(lease_take(&b, &e), AGAIN);
    assert_non_null(strstr(e.text, "hub-a"));
    assert_int_equal(lease_left(&b), 0);
    fails(lease_hold(&b, &e), CONFLICT);
    ok(lease_hold(&a, &e), &e);
    lease_release(&a);
    assert_int_equal(lease_left(&a), 0);
    ok(lease_take(&b, &e), &e);
    fails(lease_take(&a, &e), AGAIN);
}

SPEC(two_of_one_name_are_two)
{
    struct lease a, b;
    struct err e = ERR_INIT;
    prepare(f);
    lease_of(&a, f, "hub");
    lease_of(&b, f, "hub");
    ok(lease_take(&a, &e), &e);
    fails(lease_take(&b, &e), AGAIN);
    fails(lease_hold(&b, &e), CONFLICT);
}

SPEC(it_is_kept_as_long_as_its_holder_works)
{
    struct lease a, b;
    struct err e = ERR_INIT;
    prepare(f);
    lease_of(&a, f, "hub-a");
    lease_of(&b, f, "hub-b");
    ok(lease_take(&a, &e), &e);
    for (unsigned i = 0; i < 20; i++) {
        ahead += LEASE_NS / 3;
        ok(lease_hold(&a, &e), &e);
        fails(lease_take(&b, &e), AGAIN);
    }
}

/* Killed, or stopped for so long: it must not think that it still has it when it wakes. */
SPEC(a_holder_that_was_stopped_has_lost_it_before_another_can_have_it)
{
    struct lease a, b;
    struct err e = ERR_INIT;
    prepare(f);
    lease_of(&a, f, "hub-a");
    lease_of(&b, f, "hub-b");
    ok(lease_take(&a, &e), &e);
    fails(lease_take(&b, &e), AGAIN);
    for (ahead = 0; lease_take(&b, &e) < 0; ahead += IO_S)
        assert_true(e.code == ERR_AGAIN && ahead < 2 * LEASE_NS);
    assert_int_equal(lease_left(&a), 0);
    fails(lease_hold(&a, &e), CONFLICT);
    fails(lease_take(&a, &e), AGAIN);
    lease_release(&a); /* not his to give */
    ok(lease_hold(&b, &e), &e);
}

/* A watcher that comes late does not know how long the counter stood still. */
SPEC(who_comes_after_a_crash_watches_first)
{
    struct lease a, b;
    struct err e = ERR_INIT;
    prepare(f);
    lease_of(&a, f, "hub-a");
    lease_of(&b, f, "hub-b");
    ok(lease_take(&a, &e), &e);
    ahead += 100 * LEASE_NS;
    fails(lease_take(&b, &e), AGAIN);
    ahead += LEASE_NS;
    ok(lease_take(&b, &e), &e);
}

SPEC(a_renewal_that_is_lost_is_made_again_and_one_whose_answer_is_lost_counts)
{
    struct lease a, b;
    struct err e = ERR_INIT;
    prepare(f);
    lease_of(&a, f, "hub-a");
    lease_of(&b, f, "hub-b");
    ok(lease_take(&a, &e), &e);
    ahead += LEASE_NS / 3;
    fault = LOST;
    ok(lease_hold(&a, &e), &e);
    assert_true(lease_left(&a) < LEASE_NS * 2 / 3 + IO_S);
    fault = ANSWER_LOST;
    ok(lease_hold(&a, &e), &e);
    assert_true(lease_left(&a) > LEASE_NS - IO_S);
    fault = WELL;
    ahead += LEASE_NS / 3;
    ok(lease_hold(&a, &e), &e);
    fault = LOST;
    ahead += LEASE_NS / 2;
    ok(lease_hold(&a, &e), &e);
    ahead += LEASE_NS / 2;
    fails(lease_hold(&a, &e), CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_has_it_and_the_other_is_told_who),
        cmocka_unit_test(two_of_one_name_are_two),
        cmocka_unit_test(it_is_kept_as_long_as_its_holder_works),
        cmocka_unit_test(a_holder_that_was_stopped_has_lost_it_before_another_can_have_it),
        cmocka_unit_test(who_comes_after_a_crash_watches_first),
        cmocka_unit_test(a_renewal_that_is_lost_is_made_again_and_one_whose_answer_is_lost_counts),
    };
    return cmocka_run_group_tests_name("store-lease", tests, NULL, NULL);
}
