/* parts on their way in: pieces of several by turns, within the hub's memory, and nobody waits for
 * ever. */
#include "hub_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY (16 * PART_SIZE)

static int send_piece(struct caller *c, const struct test_delta *d, uint32_t part, uint32_t off,
                      uint32_t len, struct err *e)
{
    struct digest digest = d->digest;
    char group[] = "records";
    Relais__Part m;
    relais__part__init(&m);
    m.group = group;
    m.digest = (ProtobufCBinaryData){DIGEST_LEN, digest.b};
    m.part = part;
    m.offset = off;
    struct call call = {.expect = FRAME_PartStored};
    int rc = call_start(c, &call, FRAME_Part, &m.base, d->file + part * PART_SIZE + off, len, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    call_end(&call);
    return rc;
}

static int send_middle(struct caller *c, const struct test_delta *d, uint32_t part, uint32_t off,
                       uint32_t len, struct err *e)
{
    struct digest digest = d->digest;
    char group[] = "records";
    Relais__Part m;
    relais__part__init(&m);
    m.group = group;
    m.digest = (ProtobufCBinaryData){DIGEST_LEN, digest.b};
    m.part = part;
    m.offset = off;
    return call_send(c, FRAME_Part, &m.base, d->file + part * PART_SIZE + off, len, e);
}

/* The first pieces of so many parts: the hub keeps a buffer for each. */
static void begin_many(struct caller *c, struct test_delta *d, uint32_t parts)
{
    char group[] = "records";
    for (uint32_t n = 0; n < parts; n++) {
        Relais__Part m;
        relais__part__init(&m);
        m.group = group;
        m.digest = (ProtobufCBinaryData){DIGEST_LEN, d->digest.b};
        m.part = n;
        MUST(call_send(c, FRAME_Part, &m.base, d->file + n * PART_SIZE, 1000, err));
    }
}

struct crowd {
    struct hub_fixture *f;
    struct test_delta *d;
    struct fiber *fiber;
    bool ok;
};

static void one_of_many(void *arg)
{
    struct crowd *w = arg;
    struct err e = ERR_INIT;
    struct caller *c = client(w->f, BETHUNE);
    uint8_t missing[PARTS_MAX];
    w->ok = send_offer(c, "records", w->d, NULL, missing, &e) == 0;
    for (uint32_t i = 0; i < w->d->parts && w->ok; i++)
        w->ok = send_part(c, w->d, i, false, &e) == 0;
    caller_free(c);
}

static void crowded(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    struct crowd crowd[6];
    (void)arg;
    fixture_start(&f, 2 * PART_SIZE, 8); /* two buffers for six connections */
    delta_random(&d, 1, NULL, 9);
    for (unsigned i = 0; i < 6; i++) {
        crowd[i] = (struct crowd){&f, &d, NULL, false};
        crowd[i].fiber = fiber_spawn(fiber_io(), "client", one_of_many, &crowd[i]);
    }
    for (unsigned i = 0; i < 6; i++) {
        fiber_join(crowd[i].fiber);
        assert_true(crowd[i].ok);
    }
    struct caller *c = client(&f, BETHUNE);
    MUST(send_all(c, &d, err));
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void more_connections_than_buffers_all_finish(void **state)
{
    (void)state;
    hub_run(crowded, NULL);
}

/* One piece of part 0 of each, by turns, to the end; answers come for the last pieces only. */
static void interleave(struct caller *c, struct test_delta *d, const char *const *groups,
                       unsigned count, struct err *e)
{
    struct call calls[LINK_PARTS_OPEN] = {0};
    bool asked[LINK_PARTS_OPEN] = {false};
    int rc = 0;
    for (uint64_t off = 0; off < PART_SIZE && rc == 0; off += PAYLOAD_MAX)
        for (unsigned i = 0; i < count && rc == 0; i++) {
            uint64_t len = d[i].content_len < PART_SIZE ? d[i].content_len : PART_SIZE;
            uint32_t n = (uint32_t)(len - off < PAYLOAD_MAX ? len - off : PAYLOAD_MAX);
            char group[NAME_MAX_LEN + 1];
            Relais__Part m;
            if (off >= len)
                continue;
            relais__part__init(&m);
            (void)snprintf(group, sizeof group, "%s", groups[i]);
            m.group = group;
            m.digest = (ProtobufCBinaryData){DIGEST_LEN, d[i].digest.b};
            m.offset = (uint32_t)off;
            calls[i].expect = FRAME_PartStored;
            asked[i] = off + n == len;
            rc = asked[i] ? call_start(c, &calls[i], FRAME_Part, &m.base, d[i].file + off, n, e)
                          : call_send(c, FRAME_Part, &m.base, d[i].file + off, n, e);
        }
    for (unsigned i = 0; i < count; i++)
        if (asked[i]) {
            MUST(call_wait(&calls[i], err));
            call_end(&calls[i]);
        }
}

#define OPEN_AT_ONCE 3u

static void interleaved(void *arg)
{
    static const char *const groups[OPEN_AT_ONCE] = {"records", "imaging", "mail"};
    struct hub_fixture f;
    struct test_delta d[OPEN_AT_ONCE];
    struct err e = ERR_INIT;
    (void)arg;
    for (unsigned i = 0; i < OPEN_AT_ONCE; i++) {
        uint8_t *plain = err_malloc(3 * MIB);
        struct spec_extent x[3];
        struct spec s = {.rp = 1, .group = groups[i], .extents = x, .extent_count = 1 + i};
        fill_random(plain, 3 * MIB, 100 + i);
        for (unsigned k = 0; k <= i; k++)
            x[k] = (struct spec_extent){0, k * EXTENT_SECTORS, EXTENT_SECTORS, plain + k * MIB};
        delta_make(&d[i], &s);
        free(plain);
    }
    fixture_start(&f, MEMORY, 8);
    struct caller *c = client(&f, BETHUNE);
    for (unsigned i = 0; i < OPEN_AT_ONCE; i++)
        MUST(send_offer(c, groups[i], &d[i], NULL, NULL, err));
    interleave(c, d, groups, OPEN_AT_ONCE, &e);
    assert_int_equal(e.code, ERR_OK);
    for (unsigned i = 0; i < OPEN_AT_ONCE; i++) { /* all are stored: nothing is asked for again */
        uint8_t missing[PARTS_MAX] = {0};
        MUST(send_offer(c, groups[i], &d[i], NULL, missing, err));
        assert_int_equal(missing[0], 0);
    }
    MUST(send_commit(c, &d[0], err));
    caller_free(c);
    fixture_stop(&f);
    for (unsigned i = 0; i < OPEN_AT_ONCE; i++)
        delta_free(&d[i]);
}
static void pieces_of_several_parts_may_come_by_turns(void **state)
{
    (void)state;
    hub_run(interleaved, NULL);
}

static void too_many(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    uint64_t rp;
    (void)arg;
    delta_random(&d, 1, NULL, 4 * (LINK_PARTS_OPEN + 1));
    fixture_start(&f, MEMORY, 8);
    struct caller *c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &d, NULL, NULL, err));
    begin_many(c, &d, LINK_PARTS_OPEN);
    MUST(ask_head(c, &rp, NULL, NULL, err));
    begin_many(c, &d, 1); /* at 0, where 1000 is due */
    REFUSED(ERR_PROTO, "was due", ask_head(c, &rp, NULL, NULL, err));
    caller_free(c);
    c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &d, NULL, NULL, err));
    begin_many(c, &d, LINK_PARTS_OPEN + 1);
    REFUSED(ERR_PROTO, "have not ended", ask_head(c, &rp, NULL, NULL, err));
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void more_parts_at_once_than_may_be_end_the_connection(void **state)
{
    (void)state;
    hub_run(too_many, NULL);
}

/* Each begins as many parts as it may, and only then sends the rest of them. */
static void greedy(void *arg)
{
    struct crowd *w = arg;
    struct err e = ERR_INIT;
    struct caller *c = client(w->f, BETHUNE);
    uint64_t rp;
    w->ok = send_offer(c, "records", w->d, NULL, NULL, &e) == 0;
    begin_many(c, w->d, LINK_PARTS_OPEN);
    w->ok = w->ok && ask_head(c, &rp, NULL, NULL, &e) == 0; /* all of them have begun */
    for (uint32_t n = 0; n < LINK_PARTS_OPEN && w->ok; n++)
        for (uint32_t off = 1000; off < PART_SIZE && w->ok; off += (uint32_t)PAYLOAD_MAX) {
            uint32_t left = (uint32_t)PART_SIZE - off;
            if (left > PAYLOAD_MAX)
                w->ok = send_middle(c, w->d, n, off, (uint32_t)PAYLOAD_MAX, &e) == 0;
            else
                w->ok = send_piece(c, w->d, n, off, left, &e) == 0;
        }
    caller_free(c);
}

static void starved(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    struct crowd crowd[4];
    (void)arg;
    /* Buffers for one of them and a bit of each other: given to whoever asks first, nobody would
     * ever get its last one. */
    fixture_start(&f, (LINK_PARTS_OPEN + 3) * PART_SIZE, 8);
    delta_random(&d, 1, NULL, 4 * LINK_PARTS_OPEN + 1);
    for (unsigned i = 0; i < 4; i++) {
        crowd[i] = (struct crowd){&f, &d, NULL, false};
        crowd[i].fiber = fiber_spawn(fiber_io(), "client", greedy, &crowd[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        fiber_join(crowd[i].fiber);
        assert_true(crowd[i].ok);
    }
    fixture_stop(&f);
    delta_free(&d);
}
static void connections_that_keep_buffers_and_want_more_all_finish(void **state)
{
    (void)state;
    hub_run(starved, NULL);
}

/* Another site ships, while one keeps all the buffers that it gets. */
static void other_site(void *arg)
{
    struct crowd *w = arg;
    struct err e = ERR_INIT;
    struct caller *c = client(w->f, LENS);
    w->ok = send_all(c, w->d, &e) == 0;
    if (!w->ok)
        print_error("%s\n", e.text);
    caller_free(c);
}

static void hoarding(void *arg)
{
    struct hub_fixture f;
    struct test_delta d, of_lens;
    struct caller *c[2];
    static uint8_t plain[MIB];
    struct spec_extent x = {0, 0, EXTENT_SECTORS, plain};
    struct spec s = {.site = "lens", .rp = 1, .extents = &x, .extent_count = 1};
    (void)arg;
    s.sign = sign_key(LENS);
    fill_random(plain, sizeof plain, 3);
    delta_make(&of_lens, &s);
    delta_random(&d, 1, NULL, 4 * LINK_PARTS_OPEN + 1);
    fixture_start(&f, (LINK_PARTS_OPEN + 2) * PART_SIZE, 8); /* what is the least */
    struct crowd lens = {&f, &of_lens, NULL, false};
    for (unsigned i = 0; i < 2; i++) {
        c[i] = client(&f, BETHUNE);
        MUST(send_offer(c[i], "records", &d, NULL, NULL, err));
        begin_many(c[i], &d, i == 0 ? LINK_PARTS_OPEN : 2);
        (void)fiber_sleep(IO_S / 5);
    }
    uint64_t began = io_now(fiber_io());
    lens.fiber = fiber_spawn(fiber_io(), "lens", other_site, &lens);
    fiber_join(lens.fiber);
    assert_true(lens.ok);
    /* Not only when the pieces that do not come are given up. */
    assert_true(io_now(fiber_io()) - began < 5 * IO_S);
    for (unsigned i = 0; i < 2; i++)
        caller_free(c[i]);
    fixture_stop(&f);
    delta_free(&d);
    delta_free(&of_lens);
}
static void one_site_cannot_keep_all_memory_from_the_others(void **state)
{
    (void)state;
    hub_run(hoarding, NULL);
}

static void no_memory(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    (void)arg;
    fixture_start(&f, PART_SIZE, 8);
    delta_random(&d, 1, NULL, 9);
    struct caller *c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &d, NULL, NULL, err));
    begin_many(c, &d, 1);
    (void)fiber_sleep(200 * IO_MS);
    struct crowd other = {&f, &d, NULL, false};
    other.fiber = fiber_spawn(fiber_io(), "client", one_of_many, &other);
    (void)fiber_sleep(12 * IO_S); /* the kernels' buffers are full long since */
    caller_free(c);
    fiber_join(other.fiber);
    assert_true(other.ok);
    fixture_stop(&f);
    delta_free(&d);
}
static void a_peer_that_must_wait_for_memory_keeps_its_connection(void **state)
{
    (void)state;
    hub_run(no_memory, NULL);
}

/* ---- offers ---- */

#define OFFERS 17u /* one more than a connection may have open */

static void withdrawn(void *arg)
{
    struct hub_fixture f;
    struct test_delta d[OFFERS];
    char groups[OFFERS][8];
    struct spec_extent zero = {0, 0, 1, NULL};
    struct err e = ERR_INIT;
    Relais__Withdraw w;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    struct caller *c = client(&f, BETHUNE);
    for (unsigned i = 0; i < OFFERS; i++) {
        struct spec s = {.rp = 1, .group = groups[i], .extents = &zero, .extent_count = 1};
        (void)snprintf(groups[i], sizeof groups[i], "g%u", i);
        delta_make(&d[i], &s);
        if (i + 1 < OFFERS)
            MUST(send_offer(c, groups[i], &d[i], NULL, NULL, err));
    }
    REFUSED(ERR_AGAIN, "as many as may be",
            send_offer(c, groups[OFFERS - 1], &d[OFFERS - 1], NULL, NULL, err));
    relais__withdraw__init(&w);
    w.group = groups[3];
    assert_int_equal(call_send(c, FRAME_Withdraw, &w.base, NULL, 0, &e), 0);
    MUST(send_offer(c, groups[OFFERS - 1], &d[OFFERS - 1], NULL, NULL, err));
    REFUSED(ERR_AGAIN, "as many as may be", send_offer(c, groups[3], &d[3], NULL, NULL, err));
    w.group = (char[]){"no/name"};
    assert_int_equal(call_send(c, FRAME_Withdraw, &w.base, NULL, 0, &e), 0);
    REFUSED(ERR_PROTO, "is not a name", send_offer(c, groups[3], &d[3], NULL, NULL, err));
    caller_free(c);
    fixture_stop(&f);
    for (unsigned i = 0; i < OFFERS; i++)
        delta_free(&d[i]);
}
static void what_is_withdrawn_leaves_its_place_to_others(void **state)
{
    (void)state;
    hub_run(withdrawn, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_connections_than_buffers_all_finish),
        cmocka_unit_test(pieces_of_several_parts_may_come_by_turns),
        cmocka_unit_test(more_parts_at_once_than_may_be_end_the_connection),
        cmocka_unit_test(connections_that_keep_buffers_and_want_more_all_finish),
        cmocka_unit_test(one_site_cannot_keep_all_memory_from_the_others),
        cmocka_unit_test(a_peer_that_must_wait_for_memory_keeps_its_connection),
        cmocka_unit_test(what_is_withdrawn_leaves_its_place_to_others),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
