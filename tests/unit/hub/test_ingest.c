/* ingest: the head moves only to a signed successor whose parent it is, when all bytes are stored.
 */
#include "hub_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY (16 * PART_SIZE)

static void assert_stored(struct caller *c, const struct test_delta *d)
{
    static uint8_t buf[PAYLOAD_MAX];
    for (uint64_t off = 0; off < d->len; off += PAYLOAD_MAX) {
        uint32_t n = d->len - off < PAYLOAD_MAX ? (uint32_t)(d->len - off) : (uint32_t)PAYLOAD_MAX;
        MUST(ask_range(c, "bethune", "records", d, off, buf, n, err));
        assert_memory_equal(buf, d->file + off, n);
    }
}

static void assert_head(struct caller *c, uint64_t want)
{
    uint64_t rp = 99;
    MUST(ask_head(c, &rp, NULL, NULL, err));
    assert_int_equal(rp, want);
}

static void happy(void *arg)
{
    struct hub_fixture f;
    struct test_delta one, two;
    static uint8_t manifest[MANIFEST_MAX];
    uint32_t len = 0;
    uint64_t rp = 0;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&one, 1, NULL, 9);
    delta_random(&two, 2, &one, 1);
    struct caller *c = client(&f, BETHUNE);
    assert_head(c, 0);
    MUST(send_all(c, &one, err));
    assert_head(c, 1);
    MUST(send_all(c, &two, err));
    MUST(ask_head(c, &rp, manifest, &len, err));
    assert_int_equal(rp, 2);
    assert_int_equal(len, two.manifest_len);
    assert_memory_equal(manifest, two.manifest, len);
    assert_stored(c, &one);
    assert_stored(c, &two);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&one);
    delta_free(&two);
}
static void a_chain_of_deltas_is_taken_in_and_read_back_byte_for_byte(void **state)
{
    (void)state;
    hub_run(happy, NULL);
}

static void overflow(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    static uint8_t plain[4 * MIB];
    struct spec_extent extents[4];
    struct manifest_volume volumes[VOLUMES_MAX];
    struct spec s = {.rp = 1,
                     .volumes = volumes,
                     .volume_count = VOLUMES_MAX,
                     .extents = extents,
                     .extent_count = 4};
    (void)arg;
    memset(volumes, 0, sizeof volumes);
    for (unsigned i = 0; i < VOLUMES_MAX; i++) {
        (void)snprintf(volumes[i].name, sizeof volumes[i].name,
                       "a-volume-whose-name-is-as-long-as-a-name-may-b%02u", i);
        volumes[i].size = 64 * MIB;
    }
    fill_random(plain, sizeof plain, 7);
    for (unsigned i = 0; i < 4; i++)
        extents[i] = (struct spec_extent){0, i * 256, i < 3 ? 256 : 255, plain + i * MIB};
    delta_make(&d, &s);
    /* What the test is about: the content ends within one object, manifest and trailer do not. */
    assert_int_equal(d.parts, 1);
    assert_true(d.content_len < PART_SIZE && d.len > PART_SIZE);
    fixture_start(&f, MEMORY, 8);
    struct caller *c = client(&f, BETHUNE);
    MUST(send_all(c, &d, err));
    assert_int_equal(f.puts, 2);
    assert_stored(c, &d);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void a_manifest_that_does_not_fit_the_last_object_gets_one_of_its_own(void **state)
{
    (void)state;
    hub_run(overflow, NULL);
}

static void resumed(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    uint8_t missing[PARTS_MAX] = {0};
    bool committed = true;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 9);
    struct caller *c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &d, &committed, missing, err));
    assert_false(committed);
    assert_true(missing[0] && missing[1] && missing[2]);
    MUST(send_part(c, &d, 1, false, err));
    caller_free(c);
    fixture_restart(&f);
    c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &d, &committed, missing, err));
    assert_true(missing[0] && !missing[1] && missing[2]);
    MUST(send_part(c, &d, 0, false, err));
    MUST(send_part(c, &d, 2, false, err));
    MUST(send_commit(c, &d, err));
    MUST(send_offer(c, "records", &d, &committed, missing, err));
    assert_true(committed);
    assert_stored(c, &d);
    assert_int_equal(f.lists, 0); /* each could walk over all that the site ever stored */
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void after_a_break_only_missing_parts_are_asked_for(void **state)
{
    (void)state;
    hub_run(resumed, NULL);
}

static void identities(void *arg)
{
    struct hub_fixture f;
    struct test_delta forged, foreign, good;
    struct spec a = {.rp = 1, .sign = sign_key(LENS)}, b = {.rp = 1, .site = "lens"}, g = {.rp = 1};
    (void)arg;
    delta_make(&forged, &a);
    delta_make(&foreign, &b);
    delta_make(&good, &g);
    fixture_start(&f, MEMORY, 8);
    struct caller *c = client(&f, BETHUNE), *d = client(&f, DOUAI), *l = client(&f, LENS);
    REFUSED(ERR_AUTH, "RP 1", send_offer(c, "records", &forged, NULL, NULL, err));
    REFUSED(ERR_AUTH, "site lens", send_offer(c, "records", &foreign, NULL, NULL, err));
    REFUSED(ERR_AUTH, "site bethune", send_offer(l, "records", &good, NULL, NULL, err));
    REFUSED(ERR_AUTH, "no sign key", send_offer(d, "records", &good, NULL, NULL, err));
    uint64_t rp;
    REFUSED(ERR_AUTH, "no sign key", ask_head(d, &rp, NULL, NULL, err));
    good.manifest[good.manifest_len - 1] ^= 1;
    REFUSED(ERR_AUTH, "", send_offer(c, "records", &good, NULL, NULL, err));
    good.manifest[good.manifest_len - 1] ^= 1;
    MUST(send_all(c, &good, err)); /* the refusals harmed nothing */
    REFUSED(ERR_PROTO, "imaging", send_offer(c, "imaging", &good, NULL, NULL, err));
    caller_free(c);
    caller_free(d);
    caller_free(l);
    fixture_stop(&f);
    delta_free(&forged);
    delta_free(&foreign);
    delta_free(&good);
}
static void a_wrong_signature_site_or_group_is_refused(void **state)
{
    (void)state;
    hub_run(identities, NULL);
}

static void chains(void *arg)
{
    struct hub_fixture f;
    struct test_delta one, two, gap, fork;
    (void)arg;
    delta_random(&one, 1, NULL, 1);
    delta_random(&two, 2, &one, 1);
    struct spec g = {.rp = 4, .parent = two.digest}, w = {.rp = 2, .parent = two.digest};
    delta_make(&gap, &g);
    delta_make(&fork, &w);
    fixture_start(&f, MEMORY, 8);
    struct caller *c = client(&f, BETHUNE);
    REFUSED(ERR_CHAIN, "head, RP 0", send_offer(c, "records", &two, NULL, NULL, err));
    MUST(send_all(c, &one, err));
    REFUSED(ERR_CHAIN, "head, RP 1", send_offer(c, "records", &gap, NULL, NULL, err));
    REFUSED(ERR_CHAIN, "head, RP 1", send_offer(c, "records", &fork, NULL, NULL, err));
    MUST(send_all(c, &two, err));
    REFUSED(ERR_CHAIN, "head, RP 2", send_offer(c, "records", &one, NULL, NULL, err));
    assert_head(c, 2);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&one);
    delta_free(&two);
    delta_free(&gap);
    delta_free(&fork);
}
static void a_gap_a_fork_and_a_step_back_are_refused(void **state)
{
    (void)state;
    hub_run(chains, NULL);
}

/* RPs 2 and 3 were merged after RP 4 was sealed on top of RP 3. */
static void merged(void *arg)
{
    struct hub_fixture f;
    struct test_delta one, two, three, four, m, stranger, other;
    (void)arg;
    delta_random(&one, 1, NULL, 1);
    delta_random(&two, 2, &one, 1);
    delta_random(&three, 3, &two, 1);
    delta_random(&four, 4, &three, 1);
    struct spec s = {.rp_first = 2, .rp = 3, .parent = one.digest, .stands_for = three.digest};
    delta_make(&m, &s);
    s.parent = two.digest; /* begins elsewhere */
    delta_make(&other, &s);
    struct spec child = {.rp = 4, .parent = m.digest}; /* names its digest, not its link */
    delta_make(&stranger, &child);
    fixture_start(&f, MEMORY, 8);
    struct caller *c = client(&f, BETHUNE);
    MUST(send_all(c, &one, err));
    REFUSED(ERR_CHAIN, "head, RP 1", send_offer(c, "records", &other, NULL, NULL, err));
    MUST(send_offer(c, "records", &m, NULL, NULL, err));
    MUST(send_offer(c, "records", &four, NULL, NULL, err)); /* continues an offer */
    MUST(send_all(c, &m, err));
    assert_head(c, 3);
    REFUSED(ERR_CHAIN, "head, RP 3", send_offer(c, "records", &three, NULL, NULL, err));
    REFUSED(ERR_CHAIN, "head, RP 3", send_offer(c, "records", &stranger, NULL, NULL, err));
    caller_free(c);
    c = client(&f, BETHUNE);
    MUST(send_all(c, &four, err)); /* continues the head */
    assert_head(c, 4);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&one);
    delta_free(&two);
    delta_free(&three);
    delta_free(&four);
    delta_free(&m);
    delta_free(&other);
    delta_free(&stranger);
}
static void a_merged_delta_takes_the_place_of_those_it_merged(void **state)
{
    (void)state;
    hub_run(merged, NULL);
}

static void pipelined(void *arg)
{
    struct hub_fixture f;
    struct test_delta d[3];
    bool committed;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    for (unsigned i = 0; i < 3; i++)
        delta_random(&d[i], i + 1, i ? &d[i - 1] : NULL, 1);
    struct caller *c = client(&f, BETHUNE);
    for (unsigned i = 0; i < 3; i++)
        MUST(send_offer(c, "records", &d[i], &committed, NULL, err));
    for (unsigned i = 3; i-- > 0;)
        MUST(send_part(c, &d[i], 0, false, err));
    REFUSED(ERR_AGAIN, "before RP 1", send_commit(c, &d[1], err));
    for (unsigned i = 0; i < 3; i++)
        MUST(send_commit(c, &d[i], err));
    assert_head(c, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_stored(c, &d[i]);
    caller_free(c);
    fixture_stop(&f);
    for (unsigned i = 0; i < 3; i++)
        delta_free(&d[i]);
}
static void several_deltas_are_offered_at_once_and_committed_in_order(void **state)
{
    (void)state;
    hub_run(pipelined, NULL);
}

/* The offer is on its way while its parent is committed: whichever the hub sees first, it continues
 * history. */
static void overtaken(void *arg)
{
    struct hub_fixture f;
    struct test_delta one, two;
    struct call commit = {.expect = FRAME_Committed}, offer = {.expect = FRAME_Need};
    char group[] = "records";
    Relais__Commit ask;
    Relais__Offer m;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&one, 1, NULL, 1);
    delta_random(&two, 2, &one, 1);
    struct caller *c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &one, NULL, NULL, err));
    MUST(send_part(c, &one, 0, false, err));
    relais__commit__init(&ask);
    ask.group = group;
    ask.digest = (ProtobufCBinaryData){DIGEST_LEN, one.digest.b};
    relais__offer__init(&m);
    m.group = group;
    f.slow_heads = 20 * IO_MS;
    MUST(call_start(c, &commit, FRAME_Commit, &ask.base, NULL, 0, err));
    MUST(call_start(c, &offer, FRAME_Offer, &m.base, two.manifest, two.manifest_len, err));
    MUST(call_wait(&commit, err));
    MUST(call_wait(&offer, err));
    call_end(&commit);
    call_end(&offer);
    f.slow_heads = 0;
    MUST(send_all(c, &two, err));
    caller_free(c);
    fixture_stop(&f);
    delta_free(&one);
    delta_free(&two);
}
static void an_offer_that_crosses_the_commit_of_its_parent_is_taken(void **state)
{
    (void)state;
    hub_run(overtaken, NULL);
}

static void damaged(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 9);
    struct caller *c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &d, NULL, NULL, err));
    REFUSED(ERR_AGAIN, "3 of 3 parts", send_commit(c, &d, err));
    REFUSED(ERR_CORRUPT, "part 1", send_part(c, &d, 1, true, err));
    assert_int_equal(f.puts, 0);
    MUST(send_part(c, &d, 0, false, err));
    MUST(send_part(c, &d, 2, false, err));
    REFUSED(ERR_AGAIN, "1 of 3 parts", send_commit(c, &d, err));
    assert_head(c, 0);
    MUST(send_part(c, &d, 1, false, err));
    MUST(send_commit(c, &d, err));
    MUST(send_commit(c, &d, err)); /* whose answer was lost */
    caller_free(c);
    c = client(&f, BETHUNE);
    MUST(send_commit(c, &d, err));
    assert_stored(c, &d);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void nothing_is_committed_before_every_part_is_right_and_twice_is_once(void **state)
{
    (void)state;
    hub_run(damaged, NULL);
}

static void faults(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 1);
    struct caller *c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &d, NULL, NULL, err));
    f.fail_puts = 1;
    REFUSED(ERR_SPACE, "full", send_part(c, &d, 0, false, err));
    REFUSED(ERR_AGAIN, "1 of 1 parts", send_commit(c, &d, err));
    MUST(send_part(c, &d, 0, false, err));
    f.full_moves = 1;
    REFUSED(ERR_SPACE, "full", send_commit(c, &d, err));
    assert_head(c, 0); /* nothing is acknowledged; what was stored is not asked for again */
    f.lose_moves = 1;
    MUST(send_commit(c, &d, err)); /* it happened, whatever the store said */
    assert_int_equal(f.lose_moves, 0);
    assert_head(c, 1);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void a_full_store_is_reported_and_a_lost_answer_of_the_store_looked_up(void **state)
{
    (void)state;
    hub_run(faults, NULL);
}

static void race(void *arg)
{
    struct hub_fixture f;
    struct test_delta a, b;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&a, 1, NULL, 1);
    delta_random(&b, 1, NULL, 1);
    struct caller *c = client(&f, BETHUNE), *d = client(&f, BETHUNE), *both = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &a, NULL, NULL, err));
    MUST(send_offer(d, "records", &b, NULL, NULL, err));
    MUST(send_offer(both, "records", &a, NULL, NULL, err));
    MUST(send_part(c, &a, 0, false, err));
    MUST(send_part(d, &b, 0, false, err));
    MUST(send_commit(both, &a, err)); /* with the part that another connection brought */
    REFUSED(ERR_CONFLICT, "now RP 1", send_commit(d, &b, err));
    MUST(send_commit(c, &a, err));
    assert_stored(c, &a);
    caller_free(c);
    caller_free(d);
    caller_free(both);
    fixture_stop(&f);
    delta_free(&a);
    delta_free(&b);
}
static void of_two_deltas_that_race_for_one_rp_one_wins(void **state)
{
    (void)state;
    hub_run(race, NULL);
}

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

/* The first piece of part 0: the hub keeps a buffer for the rest. */
static void begin_part(struct caller *c, struct test_delta *d)
{
    char group[] = "records";
    Relais__Part m;
    relais__part__init(&m);
    m.group = group;
    m.digest = (ProtobufCBinaryData){DIGEST_LEN, d->digest.b};
    MUST(call_send(c, FRAME_Part, &m.base, d->file, 1000, err));
}

static void misused(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    uint64_t rp;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 9);
    struct caller *c = client(&f, BETHUNE);
    REFUSED(ERR_PROTO, "not offered", send_piece(c, &d, 0, 0, 1000, err));
    REFUSED(ERR_NET, "", ask_head(c, &rp, NULL, NULL, err)); /* and the connection is closed */
    caller_free(c);
    c = client(&f, BETHUNE);
    begin_part(c, &d); /* a piece that gets no reply, but for this */
    REFUSED(ERR_PROTO, "arras: a part of a delta of group records that is not offered",
            ask_head(c, &rp, NULL, NULL, err));
    caller_free(c);
    c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &d, NULL, NULL, err));
    REFUSED(ERR_PROTO, "was due", send_piece(c, &d, 0, 1000, 1000, err));
    caller_free(c);
    c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &d, NULL, NULL, err));
    REFUSED(ERR_PROTO, "part 3 of 3", send_piece(c, &d, 3, 0, 1000, err));
    caller_free(c);
    c = client(&f, BETHUNE);
    REFUSED(ERR_PROTO, "not offered", send_commit(c, &d, err));
    caller_free(c);
    c = client(&f, BETHUNE);
    REFUSED(ERR_PROTO, "is not a name", send_offer(c, "../escape", &d, NULL, NULL, err));
    caller_free(c);
    c = client(&f, BETHUNE);
    MUST(send_all(c, &d, err));
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void misuse_of_the_protocol_ends_the_connection_and_nothing_else(void **state)
{
    (void)state;
    hub_run(misused, NULL);
}

static void slow_store(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    uint64_t rp = 1;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 1);
    struct caller *c = client(&f, BETHUNE);
    f.slow_heads = CALL_PING_NS + CALL_PONG_NS + IO_S;
    MUST(ask_head(c, &rp, NULL, NULL, err));
    assert_int_equal(rp, 0);
    f.slow_heads = 0;
    MUST(send_all(c, &d, err));
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
}
static void a_store_that_takes_long_does_not_cost_the_connection(void **state)
{
    (void)state;
    hub_run(slow_store, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_of_deltas_is_taken_in_and_read_back_byte_for_byte),
        cmocka_unit_test(a_manifest_that_does_not_fit_the_last_object_gets_one_of_its_own),
        cmocka_unit_test(after_a_break_only_missing_parts_are_asked_for),
        cmocka_unit_test(a_wrong_signature_site_or_group_is_refused),
        cmocka_unit_test(a_gap_a_fork_and_a_step_back_are_refused),
        cmocka_unit_test(a_merged_delta_takes_the_place_of_those_it_merged),
        cmocka_unit_test(several_deltas_are_offered_at_once_and_committed_in_order),
        cmocka_unit_test(an_offer_that_crosses_the_commit_of_its_parent_is_taken),
        cmocka_unit_test(nothing_is_committed_before_every_part_is_right_and_twice_is_once),
        cmocka_unit_test(a_full_store_is_reported_and_a_lost_answer_of_the_store_looked_up),
        cmocka_unit_test(of_two_deltas_that_race_for_one_rp_one_wins),
        cmocka_unit_test(a_store_that_takes_long_does_not_cost_the_connection),
        cmocka_unit_test(misuse_of_the_protocol_ends_the_connection_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
