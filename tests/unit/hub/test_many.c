/* many: ranges of many deltas come in one reply, as far as they can be had, and only to those who
 * may. */
#include "hub_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY (16 * PART_SIZE)
#define DELTAS 4u

/* A request that tests spoil. */
struct request {
    uint64_t rp[FETCH_MANY_MAX + 1], offset[FETCH_MANY_MAX + 1];
    uint32_t length[FETCH_MANY_MAX + 1];
    uint8_t digests[(FETCH_MANY_MAX + 1) * DIGEST_LEN];
    size_t count;
};

static uint8_t buf[PAYLOAD_MAX];
static struct request good, bad;

static int ask(struct caller *c, struct request *q, uint32_t *len, struct err *e)
{
    struct call call = {.expect = FRAME_FetchedMany, .payload = buf, .payload_cap = sizeof buf};
    char site[] = "bethune", group[] = "records";
    Relais__FetchMany m;
    relais__fetch_many__init(&m);
    m.site = site;
    m.group = group;
    m.n_rp = m.n_offset = m.n_length = q->count;
    m.rp = q->rp;
    m.offset = q->offset;
    m.length = q->length;
    m.digests = (ProtobufCBinaryData){q->count * DIGEST_LEN, q->digests};
    int rc = call_start(c, &call, FRAME_FetchMany, &m.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    *len = call.payload_len;
    call_end(&call);
    return rc;
}

/* Each refusal may end the connection. */
static int ask_anew(struct hub_fixture *f, enum who who, struct request *q, struct err *e)
{
    uint32_t len;
    struct caller *c = client(f, who);
    int rc = ask(c, q, &len, e);
    caller_free(c);
    return rc;
}

/* The manifests of all. */
static void request_make(struct request *q, const struct test_delta *d, size_t n)
{
    memset(q, 0, sizeof *q);
    q->count = n;
    for (size_t i = 0; i < n; i++) {
        q->rp[i] = d[i].rp;
        q->offset[i] = d[i].content_len;
        q->length[i] = d[i].manifest_len;
        memcpy(q->digests + i * DIGEST_LEN, d[i].digest.b, DIGEST_LEN);
    }
}

static void assert_manifests(const struct test_delta *d, size_t n, uint32_t len)
{
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(at + d[i].manifest_len <= len);
        assert_memory_equal(buf + at, d[i].manifest, d[i].manifest_len);
        at += d[i].manifest_len;
    }
    assert_int_equal(at, len);
}

static void what_can_be_had(struct hub_fixture *f, const struct test_delta *d)
{
    struct caller *c = client(f, LENS); /* it may read */
    uint32_t len = 0;
    char name[STORE_NAME_MAX];
    MUST(ask(c, &good, &len, err));
    assert_manifests(d, DELTAS, len);
    /* Up to the first that is not there. */
    bad = good;
    bad.digests[2 * DIGEST_LEN] ^= 1;
    MUST(ask(c, &bad, &len, err));
    assert_manifests(d, 2, len);
    bad = good;
    bad.offset[3] = d[3].len - 1;
    MUST(ask(c, &bad, &len, err));
    assert_manifests(d, 3, len);
    catalog_object_name(name, "records", d[1].rp, d[1].digest.b, 0);
    MUST(f->real->ops->remove(f->real, "bethune", name, err));
    MUST(ask(c, &good, &len, err));
    assert_manifests(d, 1, len);
    /* Which is the first of all. */
    bad = good;
    bad.digests[0] ^= 1;
    REFUSED(ERR_NOENT, "no RP 1 ", ask(c, &bad, &len, err));
    bad = good;
    bad.rp[DELTAS - 1] = 77;
    memmove(bad.rp, bad.rp + DELTAS - 1, sizeof bad.rp[0]);
    bad.count = 1;
    REFUSED(ERR_NOENT, "no RP 77 ", ask(c, &bad, &len, err));
    caller_free(c);
}

static void what_is_no_request(struct hub_fixture *f)
{
    bad = good;
    bad.count = 0;
    REFUSED(ERR_PROTO, "1 to 256", ask_anew(f, BETHUNE, &bad, err));
    bad.count = FETCH_MANY_MAX + 1;
    REFUSED(ERR_PROTO, "1 to 256", ask_anew(f, BETHUNE, &bad, err));
    bad = good;
    bad.rp[2] = bad.rp[1];
    REFUSED(ERR_PROTO, "ascend", ask_anew(f, BETHUNE, &bad, err));
    bad = good;
    bad.rp[0] = 0;
    REFUSED(ERR_PROTO, "ascend", ask_anew(f, BETHUNE, &bad, err));
    bad = good;
    bad.length[1] = 0;
    REFUSED(ERR_PROTO, "none is empty", ask_anew(f, BETHUNE, &bad, err));
    bad = good;
    bad.length[1] = (uint32_t)PAYLOAD_MAX;
    REFUSED(ERR_PROTO, "at most 262144", ask_anew(f, BETHUNE, &bad, err));
    bad.length[1] = bad.length[2] = UINT32_MAX;
    REFUSED(ERR_PROTO, "at most 262144", ask_anew(f, BETHUNE, &bad, err));
    REFUSED(ERR_AUTH, "may not read", ask_anew(f, DOUAI, &good, err));
}

static void many(void *arg)
{
    struct hub_fixture f;
    struct test_delta d[DELTAS];
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    struct caller *c = client(&f, BETHUNE);
    for (unsigned i = 0; i < DELTAS; i++) {
        delta_random(&d[i], i + 1, i ? &d[i - 1] : NULL, i == 2 ? 5 : 1); /* one of two objects */
        MUST(send_all(c, &d[i], err));
    }
    caller_free(c);
    request_make(&good, d, DELTAS);
    what_can_be_had(&f, d);
    what_is_no_request(&f);
    fixture_stop(&f);
    for (unsigned i = 0; i < DELTAS; i++)
        delta_free(&d[i]);
}
static void ranges_of_many_deltas_come_at_once_as_far_as_they_are_there(void **state)
{
    (void)state;
    hub_run(many, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_of_many_deltas_come_at_once_as_far_as_they_are_there),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
