/* fiber: waits end exactly once, nothing is lost, and cancelling unwinds.
 *
 * Runs on a loop of its own with virtual time, in which the test completes requests by hand. What a
 * fiber saw is recorded and checked outside of it: a failed assertion must not jump between stacks.
 */
#include "err.h"
#include "fiber.h"
#include "hand.h"

#include <errno.h>
#include <fenv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int setup(void **state)
{
    struct hand *h = err_calloc(1, sizeof *h);
    h->io.ops = &hand_ops;
    h->deferred_end = &h->deferred;
    h->now = 1000;
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    struct hand *h = *state;
    fiber_cleanup(&h->io);
    free(h);
    return 0;
}

/* What fibers did, as text. */
static char story[4096];

static void tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *fmt, ...)
{
    size_t n = strlen(story);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(story + n, sizeof story - n, fmt, ap);
    va_end(ap);
}

static void spawn(struct hand *h, void (*fn)(void *), void *arg)
{
    fiber_detach(fiber_spawn(&h->io, "test", fn, arg));
}

/* -- Starting and ending -- */

static void tell_name(void *arg)
{
    tell("%s ", (const char *)arg);
}

static void a_fiber_starts_in_a_later_turn(void **state)
{
    struct hand *h = *state;
    char a[] = "a", b[] = "b";
    story[0] = '\0';
    spawn(h, tell_name, a);
    spawn(h, tell_name, b);
    assert_string_equal(story, "");
    assert_true(hand_turn(h));
    assert_string_equal(story, "a b ");
    assert_null(fiber_self());
}

static void join_two(void *arg)
{
    char x[] = "x", y[] = "y";
    struct fiber *fx = fiber_spawn(fiber_io(), "x", tell_name, x);
    struct fiber *fy = fiber_spawn(fiber_io(), "y", tell_name, y);
    (void)arg;
    tell("spawned ");
    fiber_join(fy);
    tell("%d ", fiber_finished(fx));
    fiber_join(fx);
    tell("joined ");
}

static void joining_waits_for_the_end(void **state)
{
    struct hand *h = *state;
    story[0] = '\0';
    spawn(h, join_two, NULL);
    hand_run(h);
    assert_string_equal(story, "spawned x y 1 joined ");
}

static void a_finished_fiber_is_joined_from_outside(void **state)
{
    struct hand *h = *state;
    char a[] = "a";
    struct fiber *f = fiber_spawn(&h->io, "a", tell_name, a);
    assert_false(fiber_finished(f));
    hand_run(h);
    assert_true(fiber_finished(f));
    assert_int_equal(fiber_count(&h->io), 1);
    fiber_join(f);
    assert_int_equal(fiber_count(&h->io), 0);
}

static void yield_thrice(void *arg)
{
    for (int i = 0; i < 3; i++) {
        tell("%s%d ", (const char *)arg, i);
        tell(fiber_yield() == 0 ? "" : "bad ");
    }
}

static void yielding_takes_turns(void **state)
{
    struct hand *h = *state;
    char a[] = "a", b[] = "b";
    story[0] = '\0';
    spawn(h, yield_thrice, a);
    spawn(h, yield_thrice, b);
    hand_run(h);
    assert_string_equal(story, "a0 b0 a1 b1 a2 b2 ");
}

/* -- The stack -- */

struct modes {
    int rounding;
    double third;
    bool kept;
};

static void compute(void *arg)
{
    struct modes *m = arg;
    volatile double one = 1, three = 3;
    uint64_t local[512];
    for (size_t i = 0; i < 512; i++)
        local[i] = i * (uint64_t)(m->rounding + 1);
    (void)fesetround(m->rounding);
    m->kept = true;
    for (int turn = 0; turn < 10; turn++) {
        (void)fiber_yield();
        m->kept = m->kept && fegetround() == m->rounding;
        for (size_t i = 0; i < 512; i++)
            m->kept = m->kept && local[i] == i * (uint64_t)(m->rounding + 1);
    }
    m->third = one / three;
}

static void locals_and_floating_point_modes_survive_a_switch(void **state)
{
    struct hand *h = *state;
    struct modes up = {.rounding = FE_UPWARD}, down = {.rounding = FE_DOWNWARD};
    spawn(h, compute, &up);
    spawn(h, compute, &down);
    hand_run(h);
    assert_true(up.kept && down.kept);
    assert_true(up.third > down.third);
    assert_int_equal(fegetround(), FE_TONEAREST);
}

static int recurse(volatile char *above, int depth)
{
    volatile char frame[4096];
    frame[0] = above ? *above : 0;
    frame[4095] = (char)depth;
    return depth == 0 ? frame[0] : recurse(frame, depth - 1) + frame[4095];
}

static void overflow(void *arg)
{
    *(int *)arg = recurse(NULL, 4 * FIBER_STACK / 4096 * 4);
}

static void overflowing_the_stack_faults(void **state)
{
    struct hand *h = *state;
    int status = 0, result = 0;
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)close(2);
        spawn(h, overflow, &result);
        hand_run(h);
        _exit(result & 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void count_one(void *arg)
{
    (void)fiber_sleep(10);
    ++*(int *)arg;
}

static void thousands_of_fibers_run_at_once(void **state)
{
    struct hand *h = *state;
    int n = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5000; i++)
            spawn(h, count_one, &n);
        hand_run(h);
    }
    assert_int_equal(n, 10000);
}

/* -- Time -- */

struct nap {
    uint64_t ns, woke;
};

static void sleep_once(void *arg)
{
    struct nap *n = arg;
    (void)fiber_sleep(n->ns);
    n->woke = io_now(fiber_io());
}

static void each_sleep_ends_at_its_time(void **state)
{
    struct hand *h = *state;
    static struct nap naps[1000];
    uint64_t seed = 7;
    for (size_t i = 0; i < 1000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        naps[i].ns = seed >> 44;
        spawn(h, sleep_once, &naps[i]);
    }
    hand_run(h);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(naps[i].woke, 1000 + naps[i].ns);
}

static void cancelled_sleeps_do_not_disturb_the_others(void **state)
{
    struct hand *h = *state;
    static struct nap naps[1000];
    static struct fiber *f[1000];
    uint64_t seed = 11;
    for (size_t i = 0; i < 1000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        naps[i] = (struct nap){.ns = 1000 + (seed >> 44)};
        f[i] = fiber_spawn(&h->io, "nap", sleep_once, &naps[i]);
    }
    (void)hand_turn(h);
    for (size_t i = 0; i < 700; i++)
        fiber_cancel(f[i * 787 % 1000]); /* in no order of theirs */
    hand_run(h);
    for (size_t i = 0; i < 1000; i++) {
        size_t k = i * 787 % 1000;
        assert_int_equal(naps[k].woke, i < 700 ? 1000 : 1000 + naps[k].ns);
        fiber_join(f[k]);
    }
}

struct gate {
    struct fiber_cond cond;
    uint64_t timeout;
    int res;
    int after; /* a second wait's result, when asked for */
    bool again;
};

static void pass(void *arg)
{
    struct gate *g = arg;
    g->res = fiber_wait(&g->cond, g->timeout);
    if (g->again)
        g->after = fiber_sleep(5);
}

static void a_wait_times_out(void **state)
{
    struct hand *h = *state;
    struct gate g = {.timeout = 500, .res = 1};
    spawn(h, pass, &g);
    hand_run(h);
    assert_int_equal(g.res, -ETIMEDOUT);
    assert_int_equal(h->now, 1500);
    assert_null(g.cond.head);
}

static void a_deadline_called_off_does_not_hold_up_the_loop(void **state)
{
    struct hand *h = *state;
    struct gate g = {.timeout = 1000000, .res = 1};
    spawn(h, pass, &g);
    (void)hand_turn(h);
    fiber_wake_one(&g.cond);
    hand_run(h);
    assert_int_equal(g.res, 0);
    assert_int_equal(h->now, 1000);
    assert_true(fiber_idle(&h->io));

    /* Nor while the fiber that set it waits to be joined. */
    struct fiber *f = fiber_spawn(&h->io, "gate", pass, &g);
    (void)hand_turn(h);
    fiber_wake_one(&g.cond);
    hand_run(h);
    assert_true(fiber_finished(f));
    assert_int_equal(h->now, 1000);
    fiber_join(f);
}

static void an_earlier_deadline_overtakes_a_later_one(void **state)
{
    struct hand *h = *state;
    struct nap late = {.ns = 9000}, early = {.ns = 10};
    spawn(h, sleep_once, &late);
    (void)hand_turn(h);
    spawn(h, sleep_once, &early);
    hand_run(h);
    assert_int_equal(early.woke, 1010);
    assert_int_equal(late.woke, 10000);
}

/* -- Conditions -- */

static void waking_one_wakes_the_longest_waiter_only(void **state)
{
    struct hand *h = *state;
    struct fiber_cond none = {0};
    struct gate *a = test_calloc(1, sizeof *a), *b = test_calloc(1, sizeof *b);
    fiber_wake_one(&none); /* nobody: no effect, not remembered */
    a->timeout = b->timeout = FIBER_FOREVER;
    a->res = b->res = 1;
    spawn(h, pass, a);
    hand_run(h);
    assert_int_equal(a->res, 1);
    fiber_wake_one(&a->cond);
    assert_int_equal(a->res, 1); /* it runs in a later turn */
    spawn(h, pass, b);
    hand_run(h);
    assert_int_equal(a->res, 0);
    assert_int_equal(b->res, 1);
    fiber_wake_all(&b->cond);
    hand_run(h);
    assert_int_equal(b->res, 0);
    test_free(a);
    test_free(b);
}

struct crowd {
    struct fiber_cond cond;
    int woken, cancelled;
};

static void join_crowd(void *arg)
{
    struct crowd *c = arg;
    int res = fiber_wait(&c->cond, FIBER_FOREVER);
    c->woken += res == 0;
    c->cancelled += res == -ECANCELED;
}

static void a_wake_is_not_spent_on_a_cancelled_waiter(void **state)
{
    struct hand *h = *state;
    struct crowd c = {0};
    struct fiber *first = fiber_spawn(&h->io, "first", join_crowd, &c);
    spawn(h, join_crowd, &c);
    hand_run(h);
    fiber_cancel(first);
    fiber_wake_one(&c.cond);
    hand_run(h);
    assert_int_equal(c.woken, 1);
    assert_int_equal(c.cancelled, 1);
    fiber_join(first);
}

static void a_wake_that_came_before_the_cancel_is_kept(void **state)
{
    struct hand *h = *state;
    struct gate g = {.timeout = FIBER_FOREVER, .res = 1, .again = true};
    struct fiber *f = fiber_spawn(&h->io, "f", pass, &g);
    hand_run(h);
    fiber_wake_one(&g.cond);
    fiber_cancel(f);
    hand_run(h);
    assert_int_equal(g.res, 0);
    assert_int_equal(g.after, -ECANCELED);
    fiber_join(f);
}

static void a_fiber_cancelled_before_it_started_still_runs_and_cannot_wait(void **state)
{
    struct hand *h = *state;
    struct gate g = {.timeout = FIBER_FOREVER, .res = 1, .again = true};
    struct fiber *f = fiber_spawn(&h->io, "f", pass, &g);
    fiber_cancel(f);
    fiber_cancel(f);
    hand_run(h);
    assert_int_equal(g.res, -ECANCELED);
    assert_int_equal(g.after, -ECANCELED);
    fiber_cancel(f);
    fiber_join(f);
}

/* -- Mutexes -- */

struct user {
    struct fiber_mutex *m;
    char name;
    int res;
};

static void use(void *arg)
{
    struct user *u = arg;
    u->res = fiber_lock(u->m);
    if (u->res < 0)
        return;
    tell("%c", u->name);
    (void)fiber_yield();
    tell("%c ", u->name);
    fiber_unlock(u->m);
}

static void a_mutex_is_passed_on_in_order(void **state)
{
    struct hand *h = *state;
    struct fiber_mutex m = {0};
    struct user u[4];
    struct fiber *f[4];
    story[0] = '\0';
    for (int i = 0; i < 4; i++) {
        u[i] = (struct user){&m, (char)('a' + i), 1};
        f[i] = fiber_spawn(&h->io, "user", use, &u[i]);
    }
    (void)hand_turn(h);
    fiber_cancel(f[1]);
    hand_run(h);
    assert_string_equal(story, "aa cc dd ");
    assert_int_equal(u[1].res, -ECANCELED);
    assert_false(m.held);
    for (int i = 0; i < 4; i++)
        fiber_join(f[i]);
}

static void whoever_was_given_the_mutex_owns_it_even_if_cancelled_then(void **state)
{
    struct hand *h = *state;
    struct fiber_mutex m = {.held = true};
    struct user u = {&m, 'u', 1};
    struct fiber *f = fiber_spawn(&h->io, "user", use, &u);
    hand_run(h);
    fiber_unlock(&m);
    fiber_cancel(f);
    assert_true(m.held);
    hand_run(h);
    assert_int_equal(u.res, 0);
    assert_false(m.held);
    fiber_join(f);
}

/* -- Requests -- */

struct asker {
    int first, second;
    uint64_t timeout;
    int result;
};

static void await_late_one_first(void *arg)
{
    struct asker *a = arg;
    struct io *io = fiber_io();
    struct fiber_req early = FIBER_REQ, late = FIBER_REQ;
    io->ops->timer(io, fiber_req(&early), 10);
    io->ops->timer(io, fiber_req(&late), 30);
    a->first = fiber_await(&late);
    a->second = fiber_await(&early);
    a->result = (int)io_now(io);
}

static void several_requests_are_in_flight_at_once(void **state)
{
    struct hand *h = *state;
    struct asker a = {.first = 1, .second = 1};
    spawn(h, await_late_one_first, &a);
    hand_run(h);
    assert_int_equal(a.first, 0);
    assert_int_equal(a.second, 0);
    assert_int_equal(a.result, 1030);
}

static void ask(void *arg)
{
    struct asker *a = arg;
    struct fiber_req r = FIBER_REQ;
    fiber_io()->ops->expect(fiber_io(), fiber_req(&r));
    a->result = a->timeout ? fiber_await_for(&r, a->timeout) : fiber_await(&r);
    a->second = fiber_sleep(1);
}

static void a_cancelled_await_still_waits_for_its_completion(void **state)
{
    struct hand *h = *state;
    struct asker a = {.result = 1};
    struct fiber *f = fiber_spawn(&h->io, "asker", ask, &a);
    hand_run(h);
    fiber_cancel(f);
    hand_run(h);
    assert_int_equal(h->cancels, 1);
    assert_int_equal(a.result, 1); /* it must not go before its request's memory may */
    h->manual->done(h->manual, 42);
    assert_int_equal(a.result, 42);
    assert_int_equal(a.second, -ECANCELED);
    fiber_join(f);
}

static void an_await_that_times_out_cancels_its_request(void **state)
{
    struct hand *h = *state;
    struct asker a = {.result = 1, .timeout = 50};
    spawn(h, ask, &a);
    hand_run(h);
    assert_int_equal(h->now, 1050);
    assert_int_equal(h->cancels, 1);
    h->manual->done(h->manual, -ECANCELED);
    hand_run(h);
    assert_int_equal(a.result, -ETIMEDOUT);
    assert_int_equal(a.second, 0);
}

static void a_result_that_beats_the_timeout_counts(void **state)
{
    struct hand *h = *state;
    struct asker a = {.result = 1, .timeout = 50};
    spawn(h, ask, &a);
    hand_run(h);
    h->manual->done(h->manual, 7); /* the cancel came too late */
    hand_run(h);
    assert_int_equal(a.result, 7);
}

static void a_result_in_time_calls_the_deadline_off(void **state)
{
    struct hand *h = *state;
    struct asker a = {.result = 1, .timeout = 50, .second = 1};
    spawn(h, ask, &a);
    (void)hand_turn(h);
    h->manual->done(h->manual, 7);
    hand_run(h);
    assert_int_equal(a.result, 7);
    assert_int_equal(a.second, 0);
    assert_int_equal(h->now, 1001);
}

static void await_always(void *arg)
{
    struct asker *a = arg;
    struct fiber_req r = FIBER_REQ;
    fiber_io()->ops->timer(fiber_io(), fiber_req(&r), 100);
    a->result = fiber_await_always(&r);
}

static void cleaning_up_waits_in_a_cancelled_fiber_too(void **state)
{
    struct hand *h = *state;
    struct asker a = {.result = 1};
    struct fiber *f = fiber_spawn(&h->io, "cleaner", await_always, &a);
    fiber_cancel(f);
    hand_run(h);
    assert_int_equal(a.result, 0);
    assert_int_equal(h->now, 1100);
    assert_int_equal(h->cancels, 0);
    fiber_join(f);
}

/* -- A crash -- */

static void abandoned_fibers_never_run_again(void **state)
{
    struct hand *h = *state;
    struct gate g = {.timeout = FIBER_FOREVER, .res = 1};
    struct nap n = {.ns = 100};
    char a[] = "never";
    spawn(h, pass, &g);
    spawn(h, sleep_once, &n);
    (void)hand_turn(h);
    story[0] = '\0';
    spawn(h, tell_name, a);
    fiber_abandon(&h->io);
    h->timers = h->deferred = NULL;
    h->deferred_end = &h->deferred;
    memset(&g.cond, 0, sizeof g.cond);
    assert_int_equal(g.res, 1);
    assert_int_equal(n.woke, 0);
    char b[] = "next";
    spawn(h, tell_name, b);
    hand_run(h);
    assert_string_equal(story, "next ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_fiber_starts_in_a_later_turn),
        TEST(joining_waits_for_the_end),
        TEST(a_finished_fiber_is_joined_from_outside),
        TEST(yielding_takes_turns),
        TEST(locals_and_floating_point_modes_survive_a_switch),
        TEST(overflowing_the_stack_faults),
        TEST(thousands_of_fibers_run_at_once),
        TEST(each_sleep_ends_at_its_time),
        TEST(cancelled_sleeps_do_not_disturb_the_others),
        TEST(a_wait_times_out),
        TEST(a_deadline_called_off_does_not_hold_up_the_loop),
        TEST(an_earlier_deadline_overtakes_a_later_one),
        TEST(waking_one_wakes_the_longest_waiter_only),
        TEST(a_wake_is_not_spent_on_a_cancelled_waiter),
        TEST(a_wake_that_came_before_the_cancel_is_kept),
        TEST(a_fiber_cancelled_before_it_started_still_runs_and_cannot_wait),
        TEST(a_mutex_is_passed_on_in_order),
        TEST(whoever_was_given_the_mutex_owns_it_even_if_cancelled_then),
        TEST(several_requests_are_in_flight_at_once),
        TEST(a_cancelled_await_still_waits_for_its_completion),
        TEST(an_await_that_times_out_cancels_its_request),
        TEST(a_result_that_beats_the_timeout_counts),
        TEST(a_result_in_time_calls_the_deadline_off),
        TEST(cleaning_up_waits_in_a_cancelled_fiber_too),
        TEST(abandoned_fibers_never_run_again),
    };
    return cmocka_run_group_tests_name("fiber", tests, NULL, NULL);
}
