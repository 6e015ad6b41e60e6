/* lanes: another connection is tried when the link is busy, and stays only when more gets across.
 */
#include "lanes.h"
#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOOK  (100 * IO_MS)
#define TICK  (5 * IO_MS)
#define BYTES 16384u /* a tick of one lane, where each brings as much */
#define ENDS  8u

/* A hub that greets and swallows; and the connections to it. */
struct scene {
    struct lanes lanes;
    struct share share;
    struct link *server[ENDS];
    struct fiber *fiber[ENDS];
    unsigned ends, joins;
    bool alike;    /* each lane brings as much; else they share what one brings */
    bool idle;     /* the link is not busy */
    bool refuses;  /* no further connection */
    bool fresh;    /* none was of use before */
    unsigned most; /* lanes there ever were */
};

struct end {
    struct scene *s;
    struct link *l;
};

static void serve(void *arg)
{
    struct end *end = arg;
    struct message m;
    struct frame_header h;
    struct err e = ERR_INIT;
    static uint8_t sink[PAYLOAD_MAX];
    char name[] = "arras", software[] = "test";
    message_init(&m);
    while (link_recv(end->l, &h, &m, FIBER_FOREVER, &e) == 0) {
        if (h.payload_len > 0 && link_recv_payload(end->l, sink, h.payload_len, &e) < 0)
            break;
        if (h.type == FRAME_Hello) {
            Relais__Welcome w;
            relais__welcome__init(&w);
            w.version = PROTOCOL_NEWEST;
            w.name = name;
            w.software = software;
            if (link_send(end->l, FRAME_Welcome, h.id, &w.base, NULL, 0, &e) < 0)
                break;
        }
        if (h.type == FRAME_Join && m.join->voyage == 7)
            end->s->joins++;
    }
    message_free(&m);
    free(end);
}

static int open_one(void *arg, struct caller **out, struct err *e)
{
    struct scene *s = arg;
    struct end *end;
    struct link *client;
    int fds[2];
    if (s->refuses)
        return err_set(e, ERR_NET, "no more connections");
    assert_true(s->ends < ENDS);
    net_socketpair(fds);
    assert_int_equal(link_plain(&client, fds[0], e), 0);
    assert_int_equal(link_plain(&s->server[s->ends], fds[1], e), 0);
    end = err_malloc(sizeof *end);
    *end = (struct end){s, s->server[s->ends]};
    s->fiber[s->ends++] = fiber_spawn(fiber_io(), "end", serve, end);
    return caller_new(out, client, e);
}

/* Part of the site: what is to be shipped goes out on all lanes, for so long. */
static void traffic(struct scene *s, uint64_t ns)
{
    static uint8_t bytes[PAYLOAD_MAX];
    uint64_t now = io_now(fiber_io()), until = now + ns, last = now;
    char group[] = "records";
    for (; now < until; last = now, now = io_now(fiber_io())) {
        unsigned n = lanes_count(&s->lanes);
        /* By the clock: a busy machine's late ticks carry as much more. */
        uint64_t owed = (now - last) * BYTES / TICK / (s->alike || n == 0 ? 1 : n);
        uint32_t each = owed < PAYLOAD_MAX ? (uint32_t)owed : (uint32_t)PAYLOAD_MAX;
        s->most = n > s->most ? n : s->most;
        for (unsigned i = 0; i < LANES_MAX; i++) {
            struct lane *lane = &s->lanes.lane[i];
            struct err e = ERR_INIT;
            Relais__Part m;
            relais__part__init(&m);
            m.group = group;
            if (lane->caller && !lane->retiring)
                (void)call_send(lane->caller, FRAME_Part, &m.base, bytes, each, &e);
        }
        assert_int_equal(fiber_sleep(TICK), 0);
    }
}

static void begin(struct scene *s, struct caller **first)
{
    struct err e = ERR_INIT;
    bool refuses = s->refuses;
    s->refuses = false;
    assert_int_equal(open_one(s, first, &e), 0);
    s->refuses = refuses;
    share_init(&s->share);
    s->share.wanting = s->idle ? 0 : 1;
    s->share.busy_since = io_now(fiber_io());
    s->lanes = (struct lanes){.max = s->lanes.max ? s->lanes.max : 4,
                              .share = &s->share,
                              .voyage = 7,
                              .look_ns = LOOK,
                              .useful = !s->fresh,
                              .open = open_one,
                              .arg = s};
    lanes_start(&s->lanes, *first);
}

static void end(struct scene *s, struct caller *first)
{
    lanes_stop(&s->lanes);
    assert_int_equal(s->share.width, 1);
    caller_free(first);
    for (unsigned i = 0; i < s->ends; i++) {
        fiber_join(s->fiber[i]);
        link_close(s->server[i]);
    }
}

static void gains(void *arg)
{
    struct scene s = {.alike = true, .lanes.max = 3};
    struct caller *first;
    uint64_t before;
    (void)arg;
    begin(&s, &first);
    before = lanes_bytes_out(&s.lanes);
    traffic(&s, 14 * LOOK);
    assert_int_equal(lanes_count(&s.lanes), 3);
    assert_int_equal(s.share.width, 3);
    assert_int_equal(s.joins, 2);
    assert_true(lanes_bytes_out(&s.lanes) > before);
    traffic(&s, 6 * LOOK);
    assert_int_equal(s.most, 3); /* as many as may be */
    end(&s, first);
}
static void a_connection_that_brings_more_stays_and_the_next_is_tried(void **state)
{
    (void)state;
    net_run(gains, NULL);
}

static void hesitates(void *arg)
{
    struct scene s = {.alike = true, .fresh = true, .lanes.max = 3};
    struct caller *first;
    (void)arg;
    begin(&s, &first);
    traffic(&s, (LANES_WAIT_FIRST - 2) * LOOK);
    assert_int_equal(s.ends, 1);
    assert_false(s.lanes.useful);
    traffic(&s, 16 * LOOK);
    assert_int_equal(lanes_count(&s.lanes), 3);
    assert_true(s.lanes.useful); /* the next connection will not hesitate: see the others here */
    end(&s, first);
}
static void none_is_tried_at_first_unless_one_was_of_use_before(void **state)
{
    (void)state;
    net_run(hesitates, NULL);
}

static void gains_nothing(void *arg)
{
    struct scene s = {.alike = false};
    struct caller *first;
    uint64_t before;
    (void)arg;
    begin(&s, &first);
    traffic(&s, 4 * LOOK);
    assert_int_equal(s.most, 2);
    before = lanes_bytes_out(&s.lanes);
    traffic(&s, 5 * LOOK);
    assert_int_equal(lanes_count(&s.lanes), 1);
    assert_true(lanes_bytes_out(&s.lanes) >= before); /* what it carried is not forgotten */
    traffic(&s, 6 * LOOK);
    assert_int_equal(s.ends, 2); /* not tried again for a while */
    end(&s, first);
}
static void one_that_brings_nothing_is_closed_and_not_tried_again_soon(void **state)
{
    (void)state;
    net_run(gains_nothing, NULL);
}

static void needless(void *arg)
{
    struct scene idle = {.idle = true}, limited = {.alike = true}, refused = {.refuses = true};
    struct caller *first[3];
    (void)arg;
    begin(&idle, &first[0]);
    begin(&limited, &first[1]);
    limited.share.rate = 1000000;
    begin(&refused, &first[2]);
    traffic(&idle, 3 * LOOK);
    traffic(&limited, 3 * LOOK);
    traffic(&refused, 3 * LOOK);
    assert_int_equal(idle.ends, 1);
    assert_int_equal(limited.ends, 1);
    assert_int_equal(lanes_count(&refused.lanes), 1);
    end(&idle, first[0]);
    end(&limited, first[1]);
    end(&refused, first[2]);
}
static void an_idle_or_limited_link_and_a_hub_that_is_full_get_none(void **state)
{
    (void)state;
    net_run(needless, NULL);
}

static void breaks(void *arg)
{
    struct scene s = {.alike = true, .lanes.max = 2};
    struct caller *first;
    struct lane *a, *b;
    (void)arg;
    begin(&s, &first);
    traffic(&s, 4 * LOOK);
    assert_int_equal(lanes_count(&s.lanes), 2);
    a = lane_take(&s.lanes);
    b = lane_take(&s.lanes);
    assert_ptr_not_equal(a, b); /* the one that sends least */
    lane_sent(a);
    lane_sent(b);
    link_shutdown(s.server[1]);
    traffic(&s, LOOK + LOOK / 2);
    assert_int_equal(lanes_count(&s.lanes), 1);
    assert_false(lane_lost(&s.lanes, &s.lanes.lane[0]));
    assert_true(lane_lost(&s.lanes, &s.lanes.lane[1])); /* it waits for who is on it */
    assert_ptr_equal(lane_take(&s.lanes), &s.lanes.lane[0]);
    lane_sent(&s.lanes.lane[0]);
    lane_give(&s.lanes, &s.lanes.lane[0]);
    lane_give(&s.lanes, a);
    lane_give(&s.lanes, b);
    s.idle = true;
    s.share.wanting = 0;
    traffic(&s, LOOK);
    assert_null(s.lanes.lane[1].caller);
    link_shutdown(s.server[0]);
    traffic(&s, TICK);
    assert_null(lane_take(&s.lanes)); /* with the first, all end */
    end(&s, first);
}
static void a_connection_that_breaks_is_told_from_all_that_break(void **state)
{
    (void)state;
    net_run(breaks, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_that_brings_more_stays_and_the_next_is_tried),
        cmocka_unit_test(none_is_tried_at_first_unless_one_was_of_use_before),
        cmocka_unit_test(one_that_brings_nothing_is_closed_and_not_tried_again_soon),
        cmocka_unit_test(an_idle_or_limited_link_and_a_hub_that_is_full_get_none),
        cmocka_unit_test(a_connection_that_breaks_is_told_from_all_that_break),
    };
    return cmocka_run_group_tests_name("lanes", tests, net_keys_make, net_keys_free);
}
