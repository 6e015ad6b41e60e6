/* kept: a part whose connection broke goes on where it was, whatever the hub noticed of the break.
 */
#include "hub_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY (16 * PART_SIZE)
#define SMALL  (8 * PART_SIZE)
#define PIECE  100000u

/* Offers on a voyage. begun: what the hub has of each part. */
static int offer(struct caller *c, const struct test_delta *d, uint64_t voyage, uint32_t *begun,
                 struct err *e)
{
    struct call call = {.expect = FRAME_Need};
    char group[] = "records";
    Relais__Offer m;
    int rc;
    relais__offer__init(&m);
    m.group = group;
    m.voyage = voyage;
    memset(begun, 0, d->parts * sizeof *begun);
    MUST(call_start(c, &call, FRAME_Offer, &m.base, d->manifest, d->manifest_len, err));
    rc = call_wait(&call, e);
    if (rc == 0)
        for (size_t i = 0; i < call.reply.need->n_begun; i++) {
            assert_true(call.reply.need->begun[i]->part < d->parts);
            begun[call.reply.need->begun[i]->part] = call.reply.need->begun[i]->filled;
        }
    call_end(&call);
    return rc;
}

static uint32_t part_len(const struct test_delta *d, uint32_t part)
{
    uint64_t left = d->content_len - part * PART_SIZE;
    return left < PART_SIZE ? (uint32_t)left : (uint32_t)PART_SIZE;
}

/* Sends [from, to) of a part in pieces; waits for PartStored when that is its end. */
static int send_range(struct caller *c, struct test_delta *d, uint32_t part, uint32_t from,
                      uint32_t to, struct err *e)
{
    struct call call = {.expect = FRAME_PartStored};
    char group[] = "records";
    int rc = 0;
    for (uint32_t at = from; at < to && rc == 0; at += PIECE) {
        uint32_t n = to - at < PIECE ? to - at : PIECE;
        const uint8_t *bytes = d->file + part * PART_SIZE + at;
        Relais__Part m;
        relais__part__init(&m);
        m.group = group;
        m.digest = (ProtobufCBinaryData){DIGEST_LEN, d->digest.b};
        m.part = part;
        m.offset = at;
        if (at + n < part_len(d, part)) {
            rc = call_send(c, FRAME_Part, &m.base, bytes, n, e);
            continue;
        }
        rc = call_start(c, &call, FRAME_Part, &m.base, bytes, n, e);
        if (rc == 0) {
            rc = call_wait(&call, e);
            call_end(&call);
        }
    }
    return rc;
}

static void assert_alive(struct caller *c)
{
    uint64_t rp;
    MUST(ask_head(c, &rp, NULL, NULL, err)); /* also: what was sent before has been read */
}

/* The rest of every part from `begun` on, and the commit. */
static void finish(struct caller *c, struct test_delta *d, const uint32_t *begun)
{
    static uint8_t buf[PAYLOAD_MAX];
    for (uint32_t n = 0; n < d->parts; n++)
        MUST(send_range(c, d, n, begun[n], part_len(d, n), err));
    MUST(send_commit(c, d, err));
    for (uint64_t off = 0; off < d->len; off += PAYLOAD_MAX) {
        uint32_t n = d->len - off < PAYLOAD_MAX ? (uint32_t)(d->len - off) : (uint32_t)PAYLOAD_MAX;
        MUST(ask_range(c, "bethune", "records", d, off, buf, n, err));
        assert_memory_equal(buf, d->file + off, n);
    }
}

static void closed(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    uint32_t begun[4];
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 9);
    struct caller *c = client(&f, BETHUNE);
    MUST(offer(c, &d, 7, begun, err));
    assert_int_equal(begun[0], 0);
    MUST(send_range(c, &d, 0, 0, 3000000, err));
    MUST(send_range(c, &d, 1, 0, 50000, err));
    assert_alive(c);
    caller_free(c);
    c = client(&f, BETHUNE);
    MUST(offer(c, &d, 8, begun, err));
    assert_int_equal(begun[0], 3000000);
    assert_int_equal(begun[1], 50000);
    assert_int_equal(begun[2], 0);
    finish(c, &d, begun);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void the_next_connection_goes_on_where_the_last_one_broke(void **state)
{
    (void)state;
    hub_run(closed, NULL);
}

static void unnoticed(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    uint32_t begun[4];
    struct err e = ERR_INIT;
    uint64_t rp;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 9);
    struct caller *old = client(&f, BETHUNE), *side = client(&f, BETHUNE);
    MUST(offer(old, &d, 7, begun, err));
    MUST(offer(side, &d, 7, begun, err)); /* of the same voyage: both live */
    MUST(send_range(old, &d, 0, 0, 1000000, err));
    assert_alive(old);
    assert_alive(side);
    struct caller *c = client(&f, BETHUNE);
    MUST(offer(c, &d, 8, begun, err));
    assert_int_equal(begun[0], 1000000);
    assert_int_equal(ask_head(old, &rp, NULL, NULL, &e), -ERR_NET);
    assert_int_equal(ask_head(side, &rp, NULL, NULL, &e), -ERR_NET);
    finish(c, &d, begun);
    caller_free(old);
    caller_free(side);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void a_new_voyage_ends_the_connections_of_the_one_before(void **state)
{
    (void)state;
    hub_run(unnoticed, NULL);
}

static void foreign(void *arg)
{
    struct hub_fixture f;
    struct test_delta d, other;
    uint32_t begun[4];
    struct err e = ERR_INIT;
    uint64_t rp;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 9);
    delta_random(&other, 1, NULL, 9); /* the same RP, sealed again: other bytes */
    struct caller *c = client(&f, BETHUNE);
    MUST(offer(c, &d, 7, begun, err));
    MUST(send_range(c, &d, 0, 0, 1000000, err));
    assert_alive(c);
    caller_free(c);
    c = client(&f, BETHUNE);
    MUST(offer(c, &other, 8, begun, err));
    assert_int_equal(begun[0], 0);
    /* Not offered to go on with: refused, and nothing is taken. */
    MUST(send_range(c, &other, 0, 1000000, 1100000, err));
    assert_int_not_equal(ask_head(c, &rp, NULL, NULL, &e), 0);
    caller_free(c);
    c = client(&f, BETHUNE);
    MUST(offer(c, &other, 9, begun, err));
    finish(c, &other, begun);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
    delta_free(&other);
}
static void only_the_same_delta_is_gone_on_with(void **state)
{
    (void)state;
    hub_run(foreign, NULL);
}

/* Whole but for its last byte, a part is gone on with too; and from an earlier place. */
static void edges(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    uint32_t begun[4];
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 9);
    for (uint64_t voyage = 1; voyage <= 3; voyage++) {
        struct caller *c = client(&f, BETHUNE);
        uint32_t to = voyage == 1 ? 400000 : part_len(&d, 0) - 1;
        MUST(offer(c, &d, voyage, begun, err));
        assert_int_equal(begun[0], voyage == 1 ? 0 : voyage == 2 ? 400000 : to);
        if (voyage == 3)
            begun[0] -= 123456;
        if (voyage == 3)
            finish(c, &d, begun);
        else
            MUST(send_range(c, &d, 0, begun[0], to, err));
        assert_alive(c);
        caller_free(c);
    }
    fixture_stop(&f);
    delta_free(&d);
}
static void it_may_break_again_and_anywhere(void **state)
{
    (void)state;
    hub_run(edges, NULL);
}

static void crowded(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    uint32_t begun[8];
    (void)arg;
    fixture_start(&f, SMALL, 8);
    delta_random(&d, 1, NULL, 29);
    for (uint64_t voyage = 1; voyage < 6; voyage++) { /* fresh beginnings each time */
        struct caller *c = client(&f, BETHUNE);
        MUST(offer(c, &d, voyage, begun, err));
        for (uint32_t n = 0; n < LINK_PARTS_OPEN; n++)
            MUST(send_range(c, &d, (n + (uint32_t)voyage) % 7, 0, 1000 * (uint32_t)voyage, err));
        assert_alive(c);
        caller_free(c);
    }
    /* All memory but a half is free, and that half gives way to who needs it. */
    struct caller *c = client(&f, BETHUNE);
    unsigned known = 0;
    MUST(offer(c, &d, 9, begun, err));
    for (uint32_t n = 0; n < d.parts; n++)
        known += begun[n] > 0;
    assert_int_equal(known, 4);
    memset(begun, 0, sizeof begun);
    finish(c, &d, begun);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void what_is_kept_is_bounded_and_gives_way(void **state)
{
    (void)state;
    hub_run(crowded, NULL);
}

/* Parts of one delta over three connections, one of which breaks. */
static void joined(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    uint32_t begun[8];
    struct err e = ERR_INIT;
    uint64_t rp;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 17);
    struct caller *c = client(&f, BETHUNE), *side[2] = {client(&f, BETHUNE), client(&f, BETHUNE)};
    struct caller *stranger = client(&f, BETHUNE), *other = client(&f, LENS);
    MUST(offer(c, &d, 7, begun, err));
    for (unsigned i = 0; i < 2; i++) {
        Relais__Join m;
        relais__join__init(&m);
        m.voyage = 7;
        MUST(call_send(side[i], FRAME_Join, &m.base, NULL, 0, err));
        MUST(call_send(other, FRAME_Join, &m.base, NULL, 0, err));
    }
    MUST(send_range(side[0], &d, 1, 0, part_len(&d, 1), err));
    MUST(send_range(side[1], &d, 2, 0, 2000000, err));
    assert_alive(side[1]);
    /* Who did not join, or is another site, has no part in it. */
    assert_int_not_equal(send_range(stranger, &d, 3, 0, part_len(&d, 3), &e), 0);
    assert_int_not_equal(send_range(other, &d, 3, 0, part_len(&d, 3), &e), 0);
    caller_free(side[1]);
    for (uint32_t n = 0; n < d.parts; n++)
        if (n != 1)
            MUST(send_range(n == 3 ? side[0] : c, &d, n, 0, part_len(&d, n), err));
    MUST(send_commit(c, &d, err));
    MUST(ask_head(side[0], &rp, NULL, NULL, err));
    assert_int_equal(rp, 1);
    caller_free(c);
    caller_free(side[0]);
    caller_free(stranger);
    caller_free(other);
    fixture_stop(&f);
    delta_free(&d);
}
static void connections_of_one_voyage_share_a_delta(void **state)
{
    (void)state;
    hub_run(joined, NULL);
}

struct rest {
    struct caller *c;
    struct test_delta *d;
    const uint32_t *begun;
};

static void finish_fiber(void *arg)
{
    const struct rest *r = arg;
    finish(r->c, r->d, r->begun);
}

/* Another connection has a part on its way, and the memory is the least that a hub has. */
static void pressed(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    uint32_t begun[4], its[4];
    (void)arg;
    fixture_start(&f, LINK_PARTS_OPEN * PART_SIZE, 8);
    delta_random(&d, 1, NULL, 9);
    struct caller *c = client(&f, BETHUNE), *other = client(&f, BETHUNE);
    MUST(offer(c, &d, 7, begun, err));
    MUST(send_range(c, &d, 0, 0, 1000000, err));
    assert_alive(c);
    caller_free(c);
    MUST(offer(other, &d, 0, its, err));
    MUST(send_range(other, &d, 1, 0, 1000, err));
    assert_alive(other);
    c = client(&f, BETHUNE);
    MUST(offer(c, &d, 8, begun, err));
    assert_int_equal(begun[0], 1000000);
    struct rest rest = {c, &d, begun};
    struct fiber *fiber = fiber_spawn(fiber_io(), "finish", finish_fiber, &rest);
    (void)fiber_sleep(200 * IO_MS);
    MUST(send_range(other, &d, 1, 1000, part_len(&d, 1), err));
    fiber_join(fiber);
    caller_free(other);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void to_go_on_waits_for_memory_as_to_begin_does(void **state)
{
    (void)state;
    hub_run(pressed, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_connection_goes_on_where_the_last_one_broke),
        cmocka_unit_test(a_new_voyage_ends_the_connections_of_the_one_before),
        cmocka_unit_test(only_the_same_delta_is_gone_on_with),
        cmocka_unit_test(it_may_break_again_and_anywhere),
        cmocka_unit_test(what_is_kept_is_bounded_and_gives_way),
        cmocka_unit_test(to_go_on_waits_for_memory_as_to_begin_does),
        cmocka_unit_test(connections_of_one_voyage_share_a_delta),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
