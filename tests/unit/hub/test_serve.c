/* serve: what is committed is read by those who may, and by nobody else. */
#include "hub_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY (16 * PART_SIZE)

static uint8_t buf[PAYLOAD_MAX];

static void ranges(void *arg)
{
    struct hub_fixture f;
    struct test_delta d, other;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 9);
    delta_random(&other, 1, NULL, 1);
    struct caller *c = client(&f, BETHUNE);
    MUST(send_offer(c, "records", &d, NULL, NULL, err));
    for (uint32_t i = 0; i < d.parts; i++)
        MUST(send_part(c, &d, i, false, err));
    REFUSED(ERR_NOENT, "committed", ask_range(c, "bethune", "records", &d, 0, buf, 100, err));
    MUST(send_commit(c, &d, err));
    const uint64_t around[] = {0,
                               PART_SIZE - 1,
                               PART_SIZE,
                               PART_SIZE - 1000,
                               2 * PART_SIZE - PAYLOAD_MAX / 2,
                               d.len - PAYLOAD_MAX};
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
        MUST(ask_range(c, "bethune", "records", &d, around[i], buf, PAYLOAD_MAX, err));
        assert_memory_equal(buf, d.file + around[i], PAYLOAD_MAX);
    }
    MUST(ask_range(c, "bethune", "records", &d, d.len - 1, buf, 1, err));
    assert_int_equal(buf[0], d.file[d.len - 1]);
    REFUSED(ERR_INPUT, "1 bytes at", ask_range(c, "bethune", "records", &d, d.len, buf, 1, err));
    REFUSED(ERR_INPUT, "at 18446744073709551615",
            ask_range(c, "bethune", "records", &d, UINT64_MAX, buf, 2, err));
    REFUSED(ERR_NOENT, "digest", ask_range(c, "bethune", "records", &other, 0, buf, 100, err));
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
    delta_free(&other);
}
static void ranges_across_objects_are_served_and_only_of_committed_deltas(void **state)
{
    (void)state;
    hub_run(ranges, NULL);
}

static int ask_history(struct caller *c, const char *site, uint64_t after, size_t *count,
                       bool *more, uint64_t *last, struct err *e)
{
    struct call call = {.expect = FRAME_History};
    char names[2][NAME_MAX_LEN + 1] = {"", "records"};
    Relais__HistoryGet m;
    relais__history_get__init(&m);
    (void)snprintf(names[0], sizeof names[0], "%s", site);
    m.site = names[0];
    m.group = names[1];
    m.after = after;
    int rc = call_start(c, &call, FRAME_HistoryGet, &m.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    if (rc == 0) {
        const Relais__History *h = call.reply.history;
        *count = h->n_points;
        *more = h->more;
        *last = h->n_points ? h->points[h->n_points - 1]->rp : 0;
        for (size_t i = 0; i < h->n_points; i++)
            assert_int_equal(h->points[i]->rp, after + 1 + i);
    }
    call_end(&call);
    return rc;
}

/* Entries as commits make them, without their objects: there are more than two pages of them. */
static void fill_catalog(struct hub_fixture *f, const char *site, uint64_t n, uint64_t complete)
{
    struct store_head from = {0}, to;
    for (uint64_t rp = 1; rp <= n; rp++) {
        struct catalog_entry x = {.rp_first = rp,
                                  .rp = rp,
                                  .cut_time = (int64_t)rp,
                                  .file_len = 1000,
                                  .manifest_len = 500};
        x.flags = rp <= complete ? MANIFEST_COMPLETE : 0;
        memset(x.label, 'x', LABEL_MAX_LEN);
        assert_int_equal(catalog_encode(&to, &x), 0);
        MUST(f->real->ops->move_head(f->real, site, "records", &from, &to, err));
        from = to;
    }
}

static void paged(void *arg)
{
    struct hub_fixture f;
    size_t count = 0;
    uint64_t last = 0;
    bool more = false;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    fill_catalog(&f, "bethune", 430, 430);
    struct caller *c = client(&f, BETHUNE);
    MUST(ask_history(c, "bethune", 0, &count, &more, &last, err));
    assert_int_equal(count, 200);
    assert_true(more && last == 200);
    MUST(ask_history(c, "bethune", 200, &count, &more, &last, err));
    assert_true(more && last == 400);
    MUST(ask_history(c, "bethune", 400, &count, &more, &last, err));
    assert_int_equal(count, 30);
    assert_false(more);
    MUST(ask_history(c, "bethune", 430, &count, &more, &last, err));
    assert_int_equal(count, 0);
    caller_free(c);
    fixture_stop(&f);
}
static void history_comes_in_pages_that_fit_a_message(void **state)
{
    (void)state;
    hub_run(paged, NULL);
}

static void permissions(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    size_t count = 0;
    uint64_t last = 0;
    bool more = false;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 1);
    struct caller *c = client(&f, BETHUNE), *reader = client(&f, LENS), *other = client(&f, DOUAI);
    MUST(send_all(c, &d, err));
    MUST(ask_history(reader, "bethune", 0, &count, &more, &last, err));
    assert_int_equal(count, 1);
    MUST(ask_range(reader, "bethune", "records", &d, 16, buf, 1000, err));
    assert_memory_equal(buf, d.file + 16, 1000);
    REFUSED(ERR_AUTH, "lens may not read bethune/imaging",
            ask_range(reader, "bethune", "imaging", &d, 0, buf, 100, err));
    REFUSED(ERR_AUTH, "douai may not read bethune/records",
            ask_range(other, "bethune", "records", &d, 0, buf, 100, err));
    REFUSED(ERR_AUTH, "douai may not read",
            ask_history(other, "bethune", 0, &count, &more, &last, err));
    /* Refused, and served on. */
    MUST(ask_history(other, "douai", 0, &count, &more, &last, err));
    assert_int_equal(count, 0);
    caller_free(c);
    caller_free(reader);
    caller_free(other);
    fixture_stop(&f);
    delta_free(&d);
}
static void a_peer_reads_its_own_groups_and_those_granted(void **state)
{
    (void)state;
    hub_run(permissions, NULL);
}

#define FETCHES CALLS_MAX

static void start_fetch(struct caller *c, struct call *call, const struct test_delta *d,
                        uint64_t off, uint8_t *dst)
{
    char site[] = "bethune", group[] = "records";
    struct digest digest = d->digest;
    Relais__Fetch m;
    relais__fetch__init(&m);
    m.site = site;
    m.group = group;
    m.rp = 1;
    m.digest = (ProtobufCBinaryData){DIGEST_LEN, digest.b};
    m.offset = off;
    m.length = 64 * KIB;
    *call = (struct call){.expect = FRAME_Fetched, .payload = dst, .payload_cap = 64 * KIB};
    MUST(call_start(c, call, FRAME_Fetch, &m.base, NULL, 0, err));
}

static void many(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    struct call calls[FETCHES];
    uint8_t *bufs = err_malloc(FETCHES * 64 * KIB);
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    delta_random(&d, 1, NULL, 9);
    struct caller *c = client(&f, BETHUNE);
    MUST(send_all(c, &d, err));
    for (unsigned i = 0; i < FETCHES; i++)
        start_fetch(c, &calls[i], &d, i * 100000, bufs + i * 64 * KIB);
    for (unsigned i = 0; i < FETCHES; i++) {
        MUST(call_wait(&calls[i], err));
        assert_memory_equal(bufs + i * 64 * KIB, d.file + i * 100000, 64 * KIB);
        call_end(&calls[i]);
    }
    /* The connection goes in the middle of it: nothing may leak or hang. */
    struct caller *gone = client(&f, BETHUNE);
    for (unsigned i = 0; i < FETCHES; i++)
        start_fetch(gone, &calls[i], &d, 0, bufs + i * 64 * KIB);
    caller_free(gone);
    for (unsigned i = 0; i < FETCHES; i++)
        call_end(&calls[i]);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d);
    free(bufs);
}
static void many_fetches_are_in_flight_at_once(void **state)
{
    (void)state;
    hub_run(many, NULL);
}

static void overview(void *arg)
{
    struct hub_fixture f;
    Relais__Status status;
    struct call call = {.expect = FRAME_Territory};
    Relais__TerritoryGet get;
    (void)arg;
    fixture_start(&f, MEMORY, 8);
    fill_catalog(&f, "bethune", 300, 20);
    fill_catalog(&f, "lens", 3, 3);
    struct caller *c = client(&f, LENS);
    relais__status__init(&status);
    MUST(hub_status(f.hub, true, &status, err));
    assert_true(status.has_hub);
    assert_int_equal(status.hub_connections, 1);
    assert_int_equal(status.n_hub_groups, 2);
    const Relais__HubGroup *b = status.hub_groups[0], *l = status.hub_groups[1];
    assert_string_equal(b->site, "bethune");
    assert_string_equal(b->group, "records");
    assert_int_equal(b->rp, 300);
    assert_int_equal(b->complete_rp, 20); /* behind more stretches than one window */
    assert_int_equal(b->complete_cut_time, 20);
    assert_false(b->connected);
    assert_string_equal(l->site, "lens");
    assert_int_equal(l->complete_rp, 3);
    assert_true(l->connected);
    /* Over the link a peer sees itself only. */
    relais__territory_get__init(&get);
    MUST(call_start(c, &call, FRAME_TerritoryGet, &get.base, NULL, 0, err));
    MUST(call_wait(&call, err));
    assert_int_equal(call.reply.territory->n_groups, 1);
    assert_string_equal(call.reply.territory->groups[0]->site, "lens");
    call_end(&call);
    caller_free(c);
    fixture_stop(&f);
}
static void the_control_socket_sees_all_sites_and_a_peer_its_own(void **state)
{
    (void)state;
    hub_run(overview, NULL);
}

static void full(void *arg)
{
    struct hub_fixture f;
    struct io_addr addr = {0};
    uint64_t rp = 0;
    uint8_t byte;
    (void)arg;
    fixture_start(&f, MEMORY, 2);
    struct caller *a = client(&f, BETHUNE), *b = client(&f, LENS);
    memcpy(addr.host, f.config.listen.host, sizeof addr.host);
    addr.port = f.config.listen.port;
    int fd = fio_connect(&addr, 5 * IO_S);
    assert_true(fd >= 0);
    assert_true(fio_recv(fd, &byte, 1, 5 * IO_S) <= 0); /* closed at once */
    fio_close_always(fd);
    MUST(ask_head(a, &rp, NULL, NULL, err));
    caller_free(b);
    while (f.hub && rp != 99) { /* the place is free again, as soon as the hub has seen it go */
        Relais__Status status;
        relais__status__init(&status);
        MUST(hub_status(f.hub, false, &status, err));
        if (status.hub_connections == 1)
            rp = 99;
        else
            assert_int_equal(fiber_sleep(IO_MS), 0);
    }
    b = client(&f, LENS);
    caller_free(a);
    fixture_restart(&f); /* with b connected */
    caller_free(b);
    fixture_stop(&f);
}
static void one_connection_too_many_is_closed_and_the_others_go_on(void **state)
{
    (void)state;
    hub_run(full, NULL);
}

static void a_catalog_entry_round_trips_and_a_damaged_one_is_corrupt(void **state)
{
    struct catalog_entry in = {.rp_first = 3,
                               .rp = 7,
                               .cut_time = -5,
                               .committed_time = INT64_MAX,
                               .flags = MANIFEST_COMPLETE,
                               .file_len = 123456,
                               .plain_bytes = 1,
                               .manifest_len = 777,
                               .label = "before moving"};
    struct catalog_entry out;
    struct store_head head, bad;
    struct err e = ERR_INIT;
    (void)state;
    memset(in.digest.b, 1, DIGEST_LEN);
    memset(in.parent.b, 2, DIGEST_LEN);
    memset(in.link.b, 3, DIGEST_LEN);
    assert_int_equal(catalog_encode(&head, &in), 0);
    assert_int_equal(catalog_decode(&out, &head, &e), 0);
    assert_memory_equal(&in, &out, sizeof in);
    for (uint16_t len = 0; len < head.len; len++) {
        bad = head;
        bad.len = len;
        assert_int_equal(catalog_decode(&out, &bad, &e), -ERR_CORRUPT);
    }
    bad = head;
    bad.rp = 2; /* before its own first */
    assert_int_equal(catalog_decode(&out, &bad, &e), -ERR_CORRUPT);
    bad = head;
    bad.value[0] = 9;
    assert_int_equal(catalog_decode(&out, &bad, &e), -ERR_CORRUPT);
}

static void object_names_sort_by_rp_and_part(void **state)
{
    char a[STORE_NAME_MAX], b[STORE_NAME_MAX];
    struct digest d;
    (void)state;
    memset(d.b, 0xab, sizeof d.b);
    catalog_object_name(a, "records", 255, d.b, 10);
    assert_string_equal(a, "records/00000000000000ff/abababababababab.000a");
    catalog_object_name(b, "records", 256, d.b, 1);
    assert_true(strcmp(a, b) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_catalog_entry_round_trips_and_a_damaged_one_is_corrupt),
        cmocka_unit_test(object_names_sort_by_rp_and_part),
        cmocka_unit_test(ranges_across_objects_are_served_and_only_of_committed_deltas),
        cmocka_unit_test(history_comes_in_pages_that_fit_a_message),
        cmocka_unit_test(a_peer_reads_its_own_groups_and_those_granted),
        cmocka_unit_test(many_fetches_are_in_flight_at_once),
        cmocka_unit_test(the_control_socket_sees_all_sites_and_a_peer_its_own),
        cmocka_unit_test(one_connection_too_many_is_closed_and_the_others_go_on),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
