/* scrub: what is damaged or missing in the store is named, once and by every hub, with the recovery
 * points that it harms at most, until it is as it should be again. */
#include "hub_fixture.h"
#include "scrub.h"
#include "session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY (16 * PART_SIZE)
#define NAMED  4u

struct told {
    unsigned count;
    int64_t last;
    struct {
        uint64_t rp, upto;
        uint32_t part;
        char is[LABEL_MAX_LEN + 1];
    } damage[NAMED];
};

static struct hub_fixture f;
static struct caller *site;
static uint8_t object[PART_SIZE];

static void begin(void)
{
    fixture_start(&f, MEMORY, 8);
    site = client(&f, BETHUNE);
}

static void end(void)
{
    caller_free(site);
    fixture_stop(&f);
}

static bool ask(struct told *out)
{
    struct call call = {.expect = FRAME_ScrubState};
    Relais__ScrubSet m;
    relais__scrub_set__init(&m);
    MUST(call_start(site, &call, FRAME_ScrubSet, &m.base, NULL, 0, err));
    MUST(call_wait(&call, err));
    const Relais__ScrubState *s = call.reply.scrub_state;
    bool running = s->running;
    memset(out, 0, sizeof *out);
    out->last = s->last;
    assert_true(s->n_damaged <= NAMED);
    for (; out->count < s->n_damaged; out->count++) {
        const Relais__ScrubDamage *d = s->damaged[out->count];
        out->damage[out->count].rp = d->rp;
        out->damage[out->count].upto = d->upto;
        out->damage[out->count].part = d->object;
        (void)snprintf(out->damage[out->count].is, sizeof out->damage[0].is, "%s", d->what);
    }
    call_end(&call);
    return running;
}

static struct told scrub(void)
{
    struct told t;
    scrub_now(f.hub->scrub);
    while (ask(&t))
        (void)fiber_sleep(5 * IO_MS);
    return t;
}

static size_t take(const struct test_delta *d, uint32_t part, char name[STORE_NAME_MAX])
{
    uint64_t size = 0;
    catalog_object_name(name, "records", d->rp, d->digest.b, part);
    MUST(f.real->ops->size(f.real, "bethune", name, &size, err));
    assert_true(size <= sizeof object);
    MUST(f.real->ops->get(f.real, "bethune", name, 0, object, size, err));
    MUST(f.real->ops->remove(f.real, "bethune", name, err));
    return size;
}

/* Flips a bit at this place of the delta's file: once more, and it is as it was. */
static void rot(const struct test_delta *d, uint64_t place)
{
    char name[STORE_NAME_MAX];
    size_t size = take(d, (uint32_t)(place / PART_SIZE), name);
    object[place % PART_SIZE] ^= 1;
    MUST(f.real->ops->put(f.real, "bethune", name, object, size, err));
}

static void ship(struct test_delta *d, const struct spec *s)
{
    delta_make(d, s);
    MUST(send_all(site, d, err));
}

static void nine_mib(struct test_delta *d)
{
    delta_random(d, 1, NULL, 9);
    MUST(send_all(site, d, err));
}

static void names_body(void *arg)
{
    struct test_delta d;
    char name[STORE_NAME_MAX];
    (void)arg;
    begin();
    nine_mib(&d);
    struct told t = scrub();
    assert_int_equal(t.count, 0);
    assert_true(t.last > 0);
    rot(&d, PART_SIZE + 100);
    t = scrub();
    assert_int_equal(t.count, 1);
    assert_int_equal(t.damage[0].rp, 1);
    assert_int_equal(t.damage[0].part, 1);
    assert_string_equal(t.damage[0].is, "damaged");
    (void)take(&d, 0, name);
    t = scrub();
    assert_int_equal(t.count, 2); /* the first is not told twice */
    assert_int_equal(t.damage[1].part, 0);
    assert_string_equal(t.damage[1].is, "missing");
    assert_int_equal(scrub_damaged(f.hub->scrub), 2);
    /* The hub that takes over knows it without reading anything. */
    caller_free(site);
    fixture_restart(&f);
    site = client(&f, BETHUNE);
    (void)ask(&t);
    assert_int_equal(t.count, 2);
    /* The store's own repair brought both back. */
    rot(&d, PART_SIZE + 100);
    memcpy(object, d.file, PART_SIZE);
    MUST(f.real->ops->put(f.real, "bethune", name, object, PART_SIZE, err));
    assert_int_equal(scrub().count, 0);
    end();
    delta_free(&d);
}
static void damage_is_named_and_known_until_it_is_mended(void **state)
{
    (void)state;
    hub_run(names_body, NULL);
}

static void manifest_body(void *arg)
{
    struct test_delta d;
    (void)arg;
    begin();
    nine_mib(&d);
    rot(&d, d.content_len + 10);
    struct told t = scrub();
    assert_int_equal(t.count, 1);
    assert_int_equal(t.damage[0].part, SCRUB_MANIFEST);
    assert_int_equal(t.damage[0].upto, 0);
    end();
    delta_free(&d);
}
static void a_manifest_that_decayed_harms_all_that_follows(void **state)
{
    (void)state;
    hub_run(manifest_body, NULL);
}

/* RP 1 seals sectors of 9 MiB, a MiB an extent. Part 1 has bytes of MiB 3 to 7. */
static void reach_body(void *arg)
{
    struct test_delta d[4];
    uint8_t *plain = err_malloc(MIB);
    const uint32_t half = EXTENT_SECTORS / 2;
    const struct spec_extent low[] = {{0, 0, EXTENT_SECTORS, plain},
                                      {0, 3 * EXTENT_SECTORS, EXTENT_SECTORS, plain}};
    const struct spec_extent most[] = {{0, 4 * EXTENT_SECTORS, 3 * EXTENT_SECTORS, NULL},
                                       {0, 7 * EXTENT_SECTORS, half, plain}};
    const struct spec_extent rest[] = {{0, 7 * EXTENT_SECTORS + half, half, plain}};
    (void)arg;
    fill_random(plain, MIB, 77);
    begin();
    nine_mib(&d[0]);
    rot(&d[0], PART_SIZE + 100);
    struct spec s = {.rp = 2, .parent = d[0].digest, .extents = low, .extent_count = 2};
    ship(&d[1], &s);
    s = (struct spec){.rp = 3, .parent = d[1].digest, .extents = most, .extent_count = 2};
    ship(&d[2], &s);
    struct told t = scrub();
    assert_int_equal(t.count, 1);
    assert_int_equal(t.damage[0].upto, 0); /* half a MiB is still needed */
    s = (struct spec){.rp = 4, .parent = d[2].digest, .extents = rest, .extent_count = 1};
    ship(&d[3], &s);
    t = scrub();
    assert_int_equal(t.count, 1);
    assert_int_equal(t.damage[0].rp, 1);
    assert_int_equal(t.damage[0].upto, 3);
    /* It is known from then on, also when what tells it is gone. */
    rot(&d[3], d[3].content_len - d[3].tables_len - 1);
    t = scrub();
    assert_int_equal(t.count, 2);
    assert_int_equal(t.damage[0].upto, 3);
    end();
    for (unsigned i = 0; i < 4; i++)
        delta_free(&d[i]);
    free(plain);
}
static void it_harms_until_all_of_it_was_sealed_again(void **state)
{
    (void)state;
    hub_run(reach_body, NULL);
}

/* RP 2 seals all of RP 1 again, but without RP 1's index nobody can follow the chain. */
static void index_body(void *arg)
{
    const unsigned *behind = arg; /* from the end of the index */
    struct test_delta d, all;
    begin();
    delta_random(&d, 1, NULL, 1);
    MUST(send_all(site, &d, err));
    delta_random(&all, 2, &d, 1);
    MUST(send_all(site, &all, err));
    rot(&d, d.content_len - d.tables_len + 1 - *behind);
    struct told t = scrub();
    assert_int_equal(t.count, 1);
    assert_int_equal(t.damage[0].part, 0);
    assert_int_equal(t.damage[0].upto, *behind > 1000 ? 1 : 0);
    end();
    delta_free(&d);
    delta_free(&all);
}
static void an_index_or_a_table_that_decayed_harms_all_that_follows(void **state)
{
    unsigned in_table = 0, in_index = 2, in_extents = 5000;
    (void)state;
    hub_run(index_body, &in_table);
    hub_run(index_body, &in_index);
    hub_run(index_body, &in_extents);
}

/* The delta that sealed it again is damaged itself: nothing can be said. */
static void unreadable_body(void *arg)
{
    struct test_delta d, all;
    (void)arg;
    begin();
    delta_random(&d, 1, NULL, 1);
    MUST(send_all(site, &d, err));
    delta_random(&all, 2, &d, 1);
    MUST(send_all(site, &all, err));
    rot(&d, 5000);
    rot(&all, all.content_len + 10);
    struct told t = scrub();
    assert_int_equal(t.count, 2);
    assert_int_equal(t.damage[0].upto, 0);
    end();
    delta_free(&d);
    delta_free(&all);
}
static void what_cannot_be_read_heals_nothing(void **state)
{
    (void)state;
    hub_run(unreadable_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_is_named_and_known_until_it_is_mended),
        cmocka_unit_test(a_manifest_that_decayed_harms_all_that_follows),
        cmocka_unit_test(it_harms_until_all_of_it_was_sealed_again),
        cmocka_unit_test(an_index_or_a_table_that_decayed_harms_all_that_follows),
        cmocka_unit_test(what_cannot_be_read_heals_nothing),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
