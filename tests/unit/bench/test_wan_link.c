/* wan_link: a packet is due when rate, queue and delay say so, or lost as often as was set. */
#include "link.h"
#include "wan_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)
#define T0 (5 * S)

static const struct wan_path ten_mbit = {.rate = 10000000, .queue = 100000, .delay = 20 * MS};

/* All that is due until `until`; their number, and the time of the last in *last. */
static unsigned drain(struct wan_link *l, uint64_t until, uint64_t *last)
{
    struct wan_packet *p;
    unsigned n = 0;
    while ((p = wan_link_pop(l, until))) {
        if (last)
            *last = p->due;
        n += p->segs;
        free(p);
    }
    return n;
}

static void a_packet_takes_its_time_on_the_wire_and_the_delay(void **state)
{
    struct wan_link l;
    uint64_t due = T0 + 1200000 + 20 * MS, last = 0; /* 1500 bytes at 10 Mbit/s: 1.2 ms */
    (void)state;
    wan_link_init(&l, &ten_mbit, 1);
    wan_link_push(&l, udp_packet(1500), T0);
    assert_int_equal(wan_link_next(&l), T0 + 1200000);
    assert_int_equal(drain(&l, due - 1, NULL), 0);
    assert_int_equal(wan_link_next(&l), due);
    assert_int_equal(drain(&l, due, &last), 1);
    assert_int_equal(last, due);
    assert_int_equal(wan_link_next(&l), WAN_NEVER);
    wan_link_free(&l);
}

static void what_is_queued_leaves_at_the_rate_however_late_one_looks(void **state)
{
    struct wan_link l;
    uint64_t last = 0;
    (void)state;
    wan_link_init(&l, &ten_mbit, 1);
    for (unsigned i = 0; i < 50; i++)
        wan_link_push(&l, udp_packet(1500), T0 + i);
    assert_int_equal(drain(&l, T0 + 60 * S, &last), 50);
    assert_int_equal(last, T0 + 50 * 1200000 + 20 * MS);
    wan_link_free(&l);
}

static void what_does_not_fit_the_queue_is_dropped_at_its_tail(void **state)
{
    struct wan_link l;
    (void)state;
    wan_link_init(&l, &ten_mbit, 1);
    for (unsigned i = 0; i < 100; i++)
        wan_link_push(&l, udp_packet(1500), T0);
    assert_int_equal(l.counts.queue_drops, 100 - 66); /* 66 * 1500 <= 100000 */
    assert_int_equal(l.counts.queue_peak, 66 * 1500);
    assert_int_equal(drain(&l, T0 + 60 * S, NULL), 66);
    wan_link_free(&l);
}

static void one_packet_fits_the_smallest_queue(void **state)
{
    struct wan_path path = ten_mbit;
    struct wan_link l;
    (void)state;
    path.queue = 1;
    wan_link_init(&l, &path, 1);
    wan_link_push(&l, udp_packet(1500), T0);
    wan_link_push(&l, udp_packet(1500), T0);
    assert_int_equal(drain(&l, T0 + S, NULL), 1);
    wan_link_free(&l);
}

static void segments_of_one_packet_are_queued_and_dropped_one_by_one(void **state)
{
    struct wan_path path = ten_mbit;
    struct wan_link l;
    struct wan_packet *p;
    uint64_t at = T0 + 20 * MS;
    (void)state;
    path.queue = 15000;
    wan_link_init(&l, &path, 1);
    wan_link_push(&l, tcp_packet(0, 0, 0x10, 20 * 1460, 1460), T0);
    assert_int_equal(l.counts.in_segs, 20);
    assert_int_equal(l.counts.queue_drops, 10);
    /* 1.2 ms each: none waits for another, as if the kernel had sent them alone. */
    for (uint32_t i = 0; i < 10; i++) {
        p = wan_link_pop(&l, T0 + S);
        assert_non_null(p);
        at += 1200000;
        assert_int_equal(p->due, at);
        assert_int_equal(p->segs, 1);
        assert_int_equal(seq_of(p->data), i * 1460);
        free(p);
    }
    assert_null(wan_link_pop(&l, T0 + S));
    wan_link_free(&l);
}

static void a_fast_link_passes_many_segments_on_at_once(void **state)
{
    struct wan_path path = {.rate = 1000000000, .queue = 1000000, .delay = 5 * MS};
    struct wan_link l;
    struct wan_packet *p;
    (void)state;
    wan_link_init(&l, &path, 1);
    wan_link_push(&l, tcp_packet(0, 0, 0x10, 40 * 1460, 1460), T0);
    p = wan_link_pop(&l, T0 + S);
    assert_int_equal(p->segs, 20); /* 12 us each: 250 us hold 20 */
    assert_int_equal(p->due, T0 + 20 * 12000 + 5 * MS);
    free(p);
    assert_int_equal(drain(&l, T0 + S, NULL), 20);
    wan_link_free(&l);
}

/* Sends n packets, a ms apart; how many come. */
static unsigned survivors(const struct wan_path *path, uint64_t seed, unsigned n)
{
    struct wan_link l;
    unsigned came = 0;
    wan_link_init(&l, path, seed);
    for (unsigned i = 0; i < n; i++) {
        wan_link_push(&l, udp_packet(100), T0 + i * MS);
        came += drain(&l, T0 + i * MS, NULL);
    }
    came += drain(&l, T0 + n * MS + S, NULL);
    assert_int_equal(came + l.counts.losses, n);
    wan_link_free(&l);
    return came;
}

static void as_many_are_lost_as_was_set(void **state)
{
    struct wan_path path = ten_mbit;
    unsigned lost;
    (void)state;
    assert_int_equal(survivors(&path, 1, 10000), 10000);
    path.loss = 0.02;
    lost = 100000 - survivors(&path, 1, 100000);
    assert_in_range(lost, 1820, 2180);                            /* 4 sigma */
    assert_int_equal(100000 - survivors(&path, 1, 100000), lost); /* the same seed, the same run */
    assert_int_not_equal(100000 - survivors(&path, 2, 100000), lost);
}

static void bursts_lose_as_many_and_in_a_row(void **state)
{
    struct wan_path path = ten_mbit;
    struct wan_link l;
    unsigned lost = 0, runs = 0, n = 200000;
    bool was_lost = false;
    (void)state;
    path.burst_begin = 0.002;
    path.burst_end = 0.2;
    path.burst_loss = 1;
    wan_link_init(&l, &path, 3);
    for (unsigned i = 0; i < n; i++) {
        uint64_t before = l.counts.losses;
        wan_link_push(&l, udp_packet(100), T0 + i * MS);
        (void)drain(&l, T0 + i * MS + MS / 2, NULL); /* it is off the wire after 0.08 ms */
        if (l.counts.losses > before) {
            lost++;
            runs += !was_lost;
        }
        was_lost = l.counts.losses > before;
    }
    wan_link_free(&l);
    assert_true(wan_path_loss(&path) > 0.0098 && wan_path_loss(&path) < 0.0100);
    assert_in_range(lost, n * 0.0085, n * 0.0115);
    assert_in_range(lost * 10 / runs, 43, 57); /* 1 / burst_end = 5 in a row */
}

static void loss_hits_segments_and_the_rest_of_a_packet_goes_on(void **state)
{
    struct wan_path path = {.rate = 0, .delay = MS, .loss = 0.1};
    struct wan_link l;
    struct wan_packet *p;
    unsigned came = 0;
    (void)state;
    wan_link_init(&l, &path, 7);
    for (unsigned i = 0; i < 1000; i++)
        wan_link_push(&l, tcp_packet(0, 0, 0x10, 40 * 100, 100), T0 + i * MS);
    while ((p = wan_link_pop(&l, T0 + 2 * S))) {
        came += p->segs;
        assert_true(sums_fit(p->data, p->len));
        assert_int_equal(seq_of(p->data) % 100, 0);
        free(p);
    }
    assert_int_equal(came + l.counts.losses, 40000);
    assert_in_range(l.counts.losses, 3760, 4240);
    wan_link_free(&l);
}

static void jitter_stays_in_its_bounds_and_keeps_the_order(void **state)
{
    struct wan_path path = {.rate = 0, .delay = 30 * MS, .jitter = 10 * MS};
    struct wan_link l;
    struct wan_packet *p;
    uint64_t before = 0, low = WAN_NEVER, high = 0;
    double sum = 0;
    unsigned n = 0;
    (void)state;
    wan_link_init(&l, &path, 1);
    for (unsigned i = 0; i < 100000; i++)
        wan_link_push(&l, udp_packet(100), T0 + i * MS / 10);
    while ((p = wan_link_pop(&l, T0 + 60 * S))) {
        uint64_t took = p->due - p->arrived;
        assert_true(p->due >= before);
        before = p->due;
        low = took < low ? took : low;
        high = took > high ? took : high;
        sum += (double)took;
        n++;
        free(p);
    }
    assert_int_equal(n, 100000);
    assert_true(low >= 20 * MS && low < 22 * MS);
    assert_true(high <= 40 * MS && high > 38 * MS);
    assert_true(sum / n > 29e6 && sum / n < 31e6);
    wan_link_free(&l);
}

static void a_cut_link_loses_what_is_on_its_way_and_passes_nothing(void **state)
{
    struct wan_link l;
    uint64_t last;
    (void)state;
    wan_link_init(&l, &ten_mbit, 1);
    for (unsigned i = 0; i < 30; i++) /* 36 ms of wire: some in the air, some queued */
        wan_link_push(&l, udp_packet(1500), T0);
    assert_int_equal(drain(&l, T0 + 24 * MS, NULL), 3);
    wan_link_cut(&l, true);
    wan_link_push(&l, udp_packet(1500), T0 + 25 * MS);
    assert_int_equal(l.counts.outage_drops, 28);
    assert_int_equal(wan_link_next(&l), WAN_NEVER);
    wan_link_cut(&l, false);
    wan_link_push(&l, udp_packet(1500), T0 + 100 * MS);
    assert_int_equal(drain(&l, T0 + S, &last), 1);
    assert_int_equal(last, T0 + 100 * MS + 1200000 + 20 * MS);
    wan_link_free(&l);
}

static void a_new_rate_holds_from_the_next_packet_on(void **state)
{
    struct wan_path path = ten_mbit;
    struct wan_link l;
    uint64_t last = 0;
    (void)state;
    wan_link_init(&l, &ten_mbit, 1);
    for (unsigned i = 0; i < 11; i++)
        wan_link_push(&l, udp_packet(1500), T0);
    path.rate = 1000000;
    wan_link_set(&l, &path);
    assert_int_equal(drain(&l, T0 + S, &last), 11);
    assert_int_equal(last, T0 + 1200000 + 10 * 12000000 + 20 * MS);
    wan_link_free(&l);
}

static void a_shorter_delay_lets_nobody_overtake(void **state)
{
    struct wan_path path = ten_mbit;
    struct wan_link l;
    uint64_t last = 0;
    (void)state;
    wan_link_init(&l, &ten_mbit, 1);
    wan_link_push(&l, udp_packet(1500), T0);
    assert_int_equal(drain(&l, T0 + 2 * MS, NULL), 0);
    path.delay = MS;
    wan_link_set(&l, &path);
    wan_link_push(&l, udp_packet(1500), T0 + 2 * MS);
    assert_int_equal(drain(&l, T0 + S, &last), 2);
    assert_int_equal(last, T0 + 1200000 + 20 * MS);
    wan_link_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_takes_its_time_on_the_wire_and_the_delay),
        cmocka_unit_test(what_is_queued_leaves_at_the_rate_however_late_one_looks),
        cmocka_unit_test(what_does_not_fit_the_queue_is_dropped_at_its_tail),
        cmocka_unit_test(one_packet_fits_the_smallest_queue),
        cmocka_unit_test(segments_of_one_packet_are_queued_and_dropped_one_by_one),
        cmocka_unit_test(a_fast_link_passes_many_segments_on_at_once),
        cmocka_unit_test(as_many_are_lost_as_was_set),
        cmocka_unit_test(bursts_lose_as_many_and_in_a_row),
        cmocka_unit_test(loss_hits_segments_and_the_rest_of_a_packet_goes_on),
        cmocka_unit_test(jitter_stays_in_its_bounds_and_keeps_the_order),
        cmocka_unit_test(a_cut_link_loses_what_is_on_its_way_and_passes_nothing),
        cmocka_unit_test(a_new_rate_holds_from_the_next_packet_on),
        cmocka_unit_test(a_shorter_delay_lets_nobody_overtake),
    };
    return cmocka_run_group_tests_name("wan_link", tests, NULL, NULL);
}
