/* store-gate: what is under way stays within its bounds, and everyone gets through. */
#include "fixture.h"

#include "store_gate.h"

struct user {
    struct store_gate *gate;
    uint64_t bytes;
    uint32_t *most_ops;
    uint64_t *most_bytes;
    int r;
};

static void use(void *arg)
{
    struct user *u = arg;
    u->r = store_gate_enter(u->gate, u->bytes);
    if (u->r < 0)
        return;
    if (u->gate->ops > *u->most_ops)
        *u->most_ops = u->gate->ops;
    if (u->gate->bytes > *u->most_bytes)
        *u->most_bytes = u->gate->bytes;
    (void)fiber_sleep(IO_MS);
    store_gate_leave(u->gate, u->bytes);
}

static void use_at_once(struct store_gate *gate, uint64_t bytes, uint32_t *most_ops,
                        uint64_t *most_bytes)
{
    struct user users[20];
    struct fiber *running[20];
    *most_ops = 0;
    *most_bytes = 0;
    for (unsigned i = 0; i < 20; i++) {
        users[i] = (struct user){gate, bytes, most_ops, most_bytes, 1};
        running[i] = fiber_spawn(fiber_io(), "user", use, &users[i]);
    }
    for (unsigned i = 0; i < 20; i++) {
        fiber_join(running[i]);
        assert_int_equal(users[i].r, 0);
    }
    assert_int_equal(gate->ops, 0);
    assert_int_equal(gate->bytes, 0);
}

SPEC_BARE(operations_and_bytes_stay_within_their_bounds)
{
    struct store_gate gate = {.ops_max = 5, .bytes_max = 1000};
    uint64_t bytes;
    uint32_t ops;
    use_at_once(&gate, 10, &ops, &bytes);
    assert_int_equal(ops, 5);
    use_at_once(&gate, 300, &ops, &bytes);
    assert_int_equal(ops, 3);
    assert_int_equal(bytes, 900);
}

SPEC_BARE(what_is_larger_than_the_bound_passes_alone)
{
    struct store_gate gate = {.ops_max = 5, .bytes_max = 1000};
    uint64_t bytes;
    uint32_t ops;
    use_at_once(&gate, 5000, &ops, &bytes);
    assert_int_equal(ops, 1);
}

SPEC_BARE(a_cancelled_fiber_stops_waiting_and_holds_nothing)
{
    struct store_gate gate = {.ops_max = 1, .bytes_max = 1000};
    uint64_t bytes = 0;
    uint32_t ops = 0;
    struct user u = {&gate, 10, &ops, &bytes, 1};
    struct fiber *waiting;
    assert_int_equal(store_gate_enter(&gate, 1), 0);
    waiting = fiber_spawn(fiber_io(), "user", use, &u);
    (void)fiber_sleep(IO_MS);
    assert_false(fiber_finished(waiting));
    fiber_cancel(waiting);
    fiber_join(waiting);
    assert_true(u.r < 0);
    assert_int_equal(gate.ops, 1);
    store_gate_leave(&gate, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_and_bytes_stay_within_their_bounds),
        cmocka_unit_test(what_is_larger_than_the_bound_passes_alone),
        cmocka_unit_test(a_cancelled_fiber_stops_waiting_and_holds_nothing),
    };
    return cmocka_run_group_tests_name("store-gate", tests, NULL, NULL);
}
