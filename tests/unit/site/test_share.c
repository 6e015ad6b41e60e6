/* share: groups get the link by weight, none starves, an urgent one waits for a piece at most, and
 * a rate is kept evenly. In virtual time, on a link of a given speed. */
#include "share.h"

#include "hand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MBIT (UINT64_C(1000000) / 8) /* bytes/s */

struct line {
    struct hand h;
    struct share share;
    uint64_t speed, end; /* bytes/s; when senders stop */
    uint64_t sent;
};

/* A group that always has more to ship, in parts of `part` bytes, with so many parts at once. */
struct sender {
    struct line *line;
    struct share_flow flow;
    uint32_t part;
    uint64_t start;
    uint64_t worst_wait; /* for a piece */
    int end;             /* of the last share_begin */
    unsigned parts;
};

static void send_one(struct sender *w, struct share_part *p)
{
    struct line *l = w->line;
    for (uint32_t at = 0; at < w->part && fiber_io()->ops->now(fiber_io()) < l->end;) {
        uint32_t n = share_piece(&l->share);
        uint64_t asked = io_now(fiber_io()), now;
        if (n > w->part - at)
            n = w->part - at;
        assert_int_equal(share_turn(&l->share, p), 0);
        now = io_now(fiber_io());
        if (now - asked > w->worst_wait)
            w->worst_wait = now - asked;
        l->sent += n;
        assert_int_equal(fiber_sleep((uint64_t)((double)n * 1e9 / (double)l->speed)), 0);
        share_sent(&l->share, p, n);
        at += n;
    }
}

static void sender_fiber(void *arg)
{
    struct sender *w = arg;
    struct line *l = w->line;
    if (w->start > 0)
        (void)fiber_sleep(w->start);
    while (io_now(fiber_io()) < l->end) {
        struct share_part p;
        w->end = share_begin(&l->share, &p, &w->flow);
        if (w->end < 0)
            return;
        w->parts++;
        send_one(w, &p);
        share_end(&l->share, &p);
    }
}

static void line_init(struct line *l, uint64_t speed, uint64_t end)
{
    memset(l, 0, sizeof *l);
    l->h.io.ops = &hand_ops;
    l->h.deferred_end = &l->h.deferred;
    l->h.now = 1000 * IO_S;
    share_init(&l->share);
    l->speed = speed;
    l->end = l->h.now + end;
}

static void line_run(struct line *l, struct sender *senders, unsigned count, unsigned each)
{
    struct fiber *fibers[64];
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++) {
        senders[i].line = l;
        for (unsigned k = 0; k < each; k++)
            fibers[n++] = fiber_spawn(&l->h.io, "sender", sender_fiber, &senders[i]);
    }
    hand_run(&l->h);
    while (n > 0) {
        assert_true(fiber_finished(fibers[--n]));
        fiber_join(fibers[n]);
    }
    assert_null(l->share.parts);
    assert_int_equal(l->share.wanting, 0);
}

static void line_done(struct line *l)
{
    hand_run(&l->h);
    fiber_cleanup(&l->h.io);
}

static double ratio(const struct sender *a, const struct sender *b)
{
    return (double)a->flow.sent / (double)b->flow.sent;
}

static void the_link_is_shared_by_weight(void **state)
{
    struct line l;
    struct sender s[3] = {{.flow.class = SHARE_HIGH, .part = PART_SIZE},
                          {.flow.class = SHARE_NORMAL, .part = PART_SIZE},
                          {.flow.class = SHARE_LOW, .part = PART_SIZE}};
    (void)state;
    line_init(&l, 20 * MBIT, 120 * IO_S);
    line_run(&l, s, 3, 2);
    line_done(&l);
    assert_true(ratio(&s[0], &s[1]) > 3.8 && ratio(&s[0], &s[1]) < 4.2);
    assert_true(ratio(&s[1], &s[2]) > 3.6 && ratio(&s[1], &s[2]) < 4.4);
    /* And all of it is used. */
    assert_true((double)l.sent > 0.99 * 120 * 20 * (double)MBIT);
}

static void groups_of_one_priority_get_the_same_whatever_the_size_of_their_parts(void **state)
{
    struct line l;
    struct sender s[2] = {{.flow.class = SHARE_NORMAL, .part = PART_SIZE},
                          {.flow.class = SHARE_NORMAL, .part = 40 * KIB}};
    (void)state;
    line_init(&l, 10 * MBIT, 120 * IO_S);
    line_run(&l, s, 2, 2);
    line_done(&l);
    assert_true(ratio(&s[0], &s[1]) > 0.95 && ratio(&s[0], &s[1]) < 1.05);
}

static void a_group_alone_has_all_of_the_link(void **state)
{
    struct line l;
    struct sender s = {.flow.class = SHARE_LOW, .part = PART_SIZE};
    (void)state;
    line_init(&l, 100 * MBIT, 10 * IO_S);
    line_run(&l, &s, 1, 4);
    line_done(&l);
    assert_true((double)s.flow.sent > 0.99 * 10 * 100 * (double)MBIT);
}

/* On 2 Mbit/s, where a part takes 17 s. */
static void an_urgent_group_waits_for_a_piece_and_not_for_a_part(void **state)
{
    struct line l;
    struct sender s[2] = {{.flow.class = SHARE_LOW, .part = PART_SIZE},
                          {.flow.class = SHARE_HIGH, .part = 64 * KIB, .start = 30 * IO_S}};
    (void)state;
    line_init(&l, 2 * MBIT, 60 * IO_S);
    line_run(&l, s, 2, 2);
    line_done(&l);
    assert_true(s[1].parts > 50);
    assert_true(s[1].worst_wait < 500 * IO_MS);
    assert_true(s[0].flow.sent > 0); /* which still moves, see above */
}

static void many_lesser_groups_leave_room_for_an_urgent_one(void **state)
{
    struct line l;
    struct sender s[13];
    (void)state;
    for (unsigned i = 0; i < 12; i++)
        s[i] = (struct sender){.flow.class = i % 2 ? SHARE_LOW : SHARE_NORMAL, .part = PART_SIZE};
    s[12] = (struct sender){.flow.class = SHARE_HIGH, .part = 64 * KIB, .start = 40 * IO_S};
    line_init(&l, 2 * MBIT, 70 * IO_S);
    line_run(&l, s, 13, 3);
    line_done(&l);
    assert_true(s[12].parts > 40);
    assert_true(s[12].worst_wait < IO_S);
}

/* However many are more urgent: what is begun goes on, and what waits is begun. */
static void nobody_starves(void **state)
{
    struct line l;
    struct sender s[9];
    (void)state;
    for (unsigned i = 0; i < 8; i++)
        s[i] = (struct sender){.flow.class = SHARE_HIGH, .part = PART_SIZE};
    s[8] = (struct sender){.flow.class = SHARE_LOW, .part = PART_SIZE};
    line_init(&l, 10 * MBIT, 600 * IO_S);
    line_run(&l, s, 9, 2);
    line_done(&l);
    for (unsigned i = 0; i < 9; i++)
        assert_true(s[i].parts > 0);
    assert_true(s[8].worst_wait < SHARE_STALE_NS + IO_S);
    assert_true(s[8].flow.sent > 600 * 10 * MBIT / 300); /* by weight 1/129 */
}

/* The small part of the next delta is read sooner than the large one before it, and begun sooner.
 */
struct late {
    struct sender *s;
    struct share_flow *flow;
    uint64_t read; /* time it takes to be read */
};

static void late_fiber(void *arg)
{
    struct late *w = arg;
    struct line *l = w->s->line;
    struct share_part p;
    assert_int_equal(share_begin(&l->share, &p, w->flow), 0);
    assert_int_equal(fiber_sleep(w->read), 0);
    send_one(w->s, &p);
    share_end(&l->share, &p);
}

static void what_is_begun_goes_on_beside_a_long_part_of_the_same_group(void **state)
{
    struct line l;
    struct sender big = {.line = &l, .part = PART_SIZE}, small = {.line = &l, .part = 200 * KIB};
    struct late first = {&big, &big.flow, IO_S}, second = {&small, &big.flow, 0};
    struct fiber *f[2];
    (void)state;
    line_init(&l, MBIT / 4, 3600 * IO_S); /* the large one takes two minutes */
    f[0] = fiber_spawn(&l.h.io, "big", late_fiber, &first);
    f[1] = fiber_spawn(&l.h.io, "small", late_fiber, &second);
    hand_run(&l.h);
    fiber_join(f[0]);
    fiber_join(f[1]);
    line_done(&l);
    assert_true(small.worst_wait < SHARE_STALE_NS + IO_S);
}

static void a_group_cannot_save_up_for_later(void **state)
{
    struct line l;
    struct sender s[2] = {{.flow.class = SHARE_NORMAL, .part = PART_SIZE},
                          {.flow.class = SHARE_NORMAL, .part = PART_SIZE, .start = 60 * IO_S}};
    (void)state;
    line_init(&l, 10 * MBIT, 120 * IO_S);
    line_run(&l, s, 2, 2);
    line_done(&l);
    /* 60 s alone and 60 s of half, against 60 s of half. */
    assert_true(ratio(&s[0], &s[1]) > 2.8 && ratio(&s[0], &s[1]) < 3.2);
}

/* -- Rates -- */

static void a_rate_is_kept_to_a_hundredth(void **state)
{
    static const uint64_t rates[] = {MBIT / 2, 2 * MBIT, 20 * MBIT, 500 * MBIT};
    (void)state;
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct line l;
        struct sender s = {.part = PART_SIZE};
        line_init(&l, 2000 * MBIT, 60 * IO_S);
        l.share.rate = rates[i];
        line_run(&l, &s, 1, 2);
        line_done(&l);
        double got = (double)l.sent / 60;
        assert_true(got < 1.01 * (double)rates[i] && got > 0.98 * (double)rates[i]);
    }
}

static void after_a_pause_there_is_no_burst(void **state)
{
    struct line l;
    struct sender s[2] = {{.part = 256 * KIB, .start = 100 * IO_S}, {.part = 4096}};
    (void)state;
    line_init(&l, 1000 * MBIT, 101 * IO_S);
    l.share.rate = 2 * MBIT;
    line_run(&l, s, 1, 1);
    line_done(&l);
    assert_true(l.sent < 2 * MBIT + 64 * KIB);
}

static void pieces_are_as_short_as_the_rate_is_low(void **state)
{
    struct share s;
    (void)state;
    share_init(&s);
    s.seen_bytes = 1e9;
    s.seen_ns = 1e9;
    assert_int_equal(share_piece(&s), PAYLOAD_MAX);
    s.rate = 2 * MBIT;
    assert_true(share_piece(&s) <= 25 * KIB);
    s.rate = MBIT / 100;
    assert_int_equal(share_piece(&s), SHARE_PIECE_MIN);
    s.rate = 0;
    s.seen_bytes = 2.0 * (double)MBIT; /* no limit, but a thin link */
    assert_true(share_piece(&s) <= 25 * KIB);
}

struct change {
    struct line *line;
    uint64_t at, rate;
};

static void change_fiber(void *arg)
{
    struct change *c = arg;
    (void)fiber_sleep(c->at);
    share_set_rate(&c->line->share, c->rate);
}

static void a_new_rate_takes_effect_at_once(void **state)
{
    struct line l;
    struct sender s = {.part = PART_SIZE};
    struct change c = {&l, 30 * IO_S, 80 * MBIT};
    struct fiber *f;
    (void)state;
    line_init(&l, 2000 * MBIT, 60 * IO_S);
    l.share.rate = 8000; /* bytes/s: a piece of it takes two seconds */
    f = fiber_spawn(&l.h.io, "change", change_fiber, &c);
    fiber_detach(f);
    line_run(&l, &s, 1, 2);
    line_done(&l);
    assert_true((double)l.sent > 0.98 * 30 * 80 * (double)MBIT);
}

static void who_is_in_a_rush_goes_outside_of_the_rate(void **state)
{
    struct line l;
    struct sender s[2] = {
        {.flow.class = SHARE_HIGH, .part = PART_SIZE},
        {.flow = {.class = SHARE_LOW, .rush = 1, .paused = true}, .part = PART_SIZE}};
    (void)state;
    line_init(&l, 100 * MBIT, 60 * IO_S);
    l.share.rate = 2 * MBIT;
    line_run(&l, s, 2, 2);
    line_done(&l);
    assert_true((double)s[1].flow.sent > 0.9 * 60 * 100 * (double)MBIT);
    assert_true((double)s[0].flow.sent > 0.8 * 60 * 2 * (double)MBIT);
}

static void a_paused_group_begins_nothing(void **state)
{
    struct line l;
    struct sender s[2] = {{.flow = {.class = SHARE_HIGH, .paused = true}, .part = PART_SIZE},
                          {.flow.class = SHARE_LOW, .part = PART_SIZE}};
    (void)state;
    line_init(&l, 100 * MBIT, 10 * IO_S);
    line_run(&l, s, 2, 1);
    line_done(&l);
    assert_int_equal(s[0].end, -EAGAIN);
    assert_int_equal(s[0].flow.sent, 0);
    assert_true(s[1].flow.sent > 0);
}

static void cancel_fiber(void *arg)
{
    struct fiber **f = arg;
    (void)fiber_sleep(IO_S);
    fiber_cancel(f[0]);
    fiber_cancel(f[1]);
}

static void doomed_fiber(void *arg)
{
    struct sender *w = arg;
    struct share_part p;
    int res = share_begin(&w->line->share, &p, &w->flow);
    if (res == 0) {
        w->end = share_turn(&w->line->share, &p);
        share_end(&w->line->share, &p);
    } else {
        w->end = res;
    }
}

static void who_gives_up_leaves_his_place_and_turn_to_others(void **state)
{
    struct line l;
    struct sender s = {.part = PART_SIZE}, d[2] = {{.line = &l}, {.line = &l}};
    struct fiber *f[2], *c;
    (void)state;
    line_init(&l, 100 * MBIT, 4000 * IO_S);
    l.share.rate = 1; /* nobody's turn comes soon */
    l.share.free_at = l.h.now + 3000 * IO_S;
    for (unsigned i = 0; i < 2; i++)
        f[i] = fiber_spawn(&l.h.io, "doomed", doomed_fiber, &d[i]);
    c = fiber_spawn(&l.h.io, "cancel", cancel_fiber, f);
    line_run(&l, &s, 1, 1);
    assert_int_equal(d[0].end, -ECANCELED);
    assert_int_equal(d[1].end, -ECANCELED);
    assert_true(s.flow.sent > 0);
    fiber_join(f[0]);
    fiber_join(f[1]);
    fiber_join(c);
    line_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_link_is_shared_by_weight),
        cmocka_unit_test(groups_of_one_priority_get_the_same_whatever_the_size_of_their_parts),
        cmocka_unit_test(a_group_alone_has_all_of_the_link),
        cmocka_unit_test(an_urgent_group_waits_for_a_piece_and_not_for_a_part),
        cmocka_unit_test(many_lesser_groups_leave_room_for_an_urgent_one),
        cmocka_unit_test(nobody_starves),
        cmocka_unit_test(what_is_begun_goes_on_beside_a_long_part_of_the_same_group),
        cmocka_unit_test(a_group_cannot_save_up_for_later),
        cmocka_unit_test(a_rate_is_kept_to_a_hundredth),
        cmocka_unit_test(after_a_pause_there_is_no_burst),
        cmocka_unit_test(pieces_are_as_short_as_the_rate_is_low),
        cmocka_unit_test(a_new_rate_takes_effect_at_once),
        cmocka_unit_test(who_is_in_a_rush_goes_outside_of_the_rate),
        cmocka_unit_test(a_paused_group_begins_nothing),
        cmocka_unit_test(who_gives_up_leaves_his_place_and_turn_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
