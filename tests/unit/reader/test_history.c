/* history: what a hub reports of a group is believed only as far as the site's signatures go. */
#include "hub_fixture.h"
#include "reader.h"
#include "units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY (4 * PART_SIZE)

/* What a dishonest hub can do: it puts what it likes into its store. */
struct plant {
    struct hub_fixture *f;
    struct store_head head;
};

static struct catalog_entry entry_of(const struct test_delta *d)
{
    struct catalog_entry x = {.rp_first = d->rp,
                              .rp = d->rp,
                              .digest = d->digest,
                              .link = d->digest,
                              .flags = MANIFEST_COMPLETE,
                              .file_len = d->len,
                              .manifest_len = d->manifest_len};
    memcpy(x.id, d->digest.b, sizeof x.id);
    return x;
}

static void plant(struct plant *p, const struct test_delta *d, const struct catalog_entry *x)
{
    char name[STORE_NAME_MAX];
    struct store_head to;
    struct store *s = p->f->real;
    catalog_object_name(name, "records", x->rp, x->digest.b, 0);
    MUST(s->ops->put(s, "bethune", name, d->file, d->len, err));
    assert_int_equal(catalog_encode(&to, x), 0);
    MUST(s->ops->move_head(s, "bethune", "records", &p->head, &to, err));
    p->head = to;
}

/* An empty delta. */
static void make(struct test_delta *out, uint64_t rp, const struct test_delta *parent,
                 struct spec s)
{
    s.rp = rp;
    if (parent)
        s.parent = parent->digest;
    delta_make(out, &s);
}

static int open_history(struct hub_fixture *f, struct reader **r, enum who signer, struct err *e)
{
    struct caller *c = client(f, BETHUNE);
    int rc = reader_open(r, c, "bethune", "records", key_public(sign_key(signer)), NULL, NULL, e);
    if (rc < 0)
        caller_free(c);
    return rc;
}

/* A history of a, b, ... planted as it is; open must fail so. */
static void assert_refused(const struct test_delta *const *deltas,
                           const struct catalog_entry *entries, size_t n, enum err_code code,
                           const char *words)
{
    struct hub_fixture f;
    struct plant p = {.f = &f};
    struct reader *r = NULL;
    fixture_start(&f, MEMORY, 4);
    for (size_t i = 0; i < n; i++)
        plant(&p, deltas[i], &entries[i]);
    REFUSED(code, words, open_history(&f, &r, BETHUNE, err));
    fixture_stop(&f);
}

static void lies(void *arg)
{
    struct test_delta one, two, three, other, fork, foreign, forged;
    (void)arg;
    make(&one, 1, NULL, (struct spec){0});
    make(&two, 2, &one, (struct spec){0});
    make(&three, 3, &two, (struct spec){0});
    make(&other, 1, NULL, (struct spec){.cut_time = 5});
    make(&fork, 2, &other, (struct spec){0});
    make(&foreign, 2, &one, (struct spec){.group = "imaging"});
    make(&forged, 2, &one, (struct spec){.sign = sign_key(LENS)});
    struct catalog_entry x[3] = {entry_of(&one), entry_of(&three), entry_of(&three)};
    /* One dropped in the middle, and at the beginning; and hidden by renumbering. */
    assert_refused((const struct test_delta *[]){&one, &three}, x, 2, ERR_CHAIN,
                   "from RP 1 to RP 3");
    assert_refused((const struct test_delta *[]){&three}, x + 1, 1, ERR_CHAIN, "from RP 0 to RP 3");
    x[1].rp_first = 2;
    assert_refused((const struct test_delta *[]){&one, &three}, x, 2, ERR_CHAIN, "RP 3: it is the");
    x[1].rp = 2;
    assert_refused((const struct test_delta *[]){&one, &three}, x, 2, ERR_CHAIN,
                   "it is the manifest of RP 3");
    /* Forked. */
    x[1] = entry_of(&fork);
    assert_refused((const struct test_delta *[]){&one, &fork}, x, 2, ERR_CHAIN, "forked");
    /* Another group's, signed by the same site. */
    x[1] = entry_of(&foreign);
    assert_refused((const struct test_delta *[]){&one, &foreign}, x, 2, ERR_CHAIN,
                   "bethune/imaging");
    /* Signed by somebody else. */
    x[1] = entry_of(&forged);
    assert_refused((const struct test_delta *[]){&one, &forged}, x, 2, ERR_AUTH,
                   "manifest of RP 2");
    /* Listed under another digest. */
    x[1] = entry_of(&two);
    x[1].digest.b[31] ^= 1;
    assert_refused((const struct test_delta *[]){&one, &two}, x, 2, ERR_CHAIN, "lists another");
    delta_free(&one);
    delta_free(&two);
    delta_free(&three);
    delta_free(&other);
    delta_free(&fork);
    delta_free(&foreign);
    delta_free(&forged);
}
static void gaps_forks_and_foreign_manifests_are_found_and_named(void **state)
{
    (void)state;
    hub_run(lies, NULL);
}

/* A successor spares a manifest its signature only when its own holds, and never one that replaced
 * others. */
static void vouching(void *arg)
{
    struct test_delta one, two, three, forged[2], merged;
    (void)arg;
    make(&one, 1, NULL, (struct spec){0});
    make(&two, 2, &one, (struct spec){0});
    make(&three, 3, &two, (struct spec){0});
    make(&forged[0], 2, &one, (struct spec){.sign = sign_key(LENS)});
    make(&forged[1], 3, &forged[0], (struct spec){.sign = sign_key(LENS)});
    make(&merged, 2, NULL,
         (struct spec){.rp_first = 1, .stands_for = two.digest, .sign = sign_key(LENS)});
    struct catalog_entry x[3] = {entry_of(&one), entry_of(&forged[0]), entry_of(&forged[1])};
    assert_refused((const struct test_delta *[]){&one, &forged[0], &forged[1]}, x, 3, ERR_AUTH,
                   "manifest of RP 3");
    /* What the thief's head hangs on is not believed because it does. */
    x[2] = entry_of(&three);
    assert_refused((const struct test_delta *[]){&one, &forged[0], &three}, x, 3, ERR_AUTH,
                   "manifest of RP 2");
    x[0] = entry_of(&merged);
    x[0].rp_first = 1;
    x[0].link = two.digest;
    x[1] = entry_of(&three);
    assert_refused((const struct test_delta *[]){&merged, &three}, x, 2, ERR_AUTH,
                   "manifest of RP 2");
    delta_free(&one);
    delta_free(&two);
    delta_free(&three);
    delta_free(&forged[0]);
    delta_free(&forged[1]);
    delta_free(&merged);
}
static void a_successor_vouches_only_when_it_is_signed_itself(void **state)
{
    (void)state;
    hub_run(vouching, NULL);
}

static uint64_t last_done, last_total;

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    assert_true(done > last_done && done <= total);
    last_done = done;
    last_total = total;
}

/* Longer than a page and than the window; the hub lies about all that it can. */
static void longer(void *arg)
{
    struct hub_fixture f;
    struct plant p = {.f = &f};
    struct test_delta d[2];
    size_t count = 0;
    struct reader *r = NULL;
    (void)arg;
    fixture_start(&f, MEMORY, 4);
    for (uint64_t rp = 1; rp <= 250; rp++) {
        struct test_delta *now = &d[rp % 2], *before = rp > 1 ? &d[(rp - 1) % 2] : NULL;
        if (rp > 2)
            delta_free(now);
        make(now, rp, before,
             (struct spec){.stretch = rp % 3 == 0, .cut_time = (int64_t)rp * 1000});
        struct catalog_entry x = entry_of(now);
        x.cut_time = 42;
        x.committed_time = 77;
        (void)snprintf(x.label, sizeof x.label, "a lie");
        plant(&p, now, &x);
    }
    struct caller *c = client(&f, BETHUNE);
    last_done = 0;
    MUST(reader_open(&r, c, "bethune", "records", key_public(sign_key(BETHUNE)), on_progress, NULL,
                     err));
    assert_true(last_done == 250 && last_total == 250);
    const struct reader_point *points = reader_points(r, &count);
    assert_int_equal(count, 250);
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(points[i].rp, i + 1);
        assert_int_equal(points[i].cut_time, (i + 1) * 1000);
        assert_int_equal(points[i].committed_time, 77);
        assert_int_equal(points[i].complete, (i + 1) % 3 != 0);
        assert_string_equal(points[i].label, "");
    }
    assert_string_equal(reader_manifest(r, 250)->group, "records");
    assert_int_equal(reader_manifest(r, 17)->rp, 17);
    assert_null(reader_manifest(r, 251));
    reader_close(r);
    caller_free(c);
    fixture_stop(&f);
    delta_free(&d[0]);
    delta_free(&d[1]);
}
static void a_long_history_is_read_and_only_what_is_signed_believed(void **state)
{
    (void)state;
    hub_run(longer, NULL);
}

static void finding(void *arg)
{
    struct hub_fixture f;
    struct plant p = {.f = &f};
    struct test_delta d[4];
    struct reader *r = NULL;
    uint64_t rp = 0;
    int64_t noon = 0, hour = INT64_C(3600) * 1000000000;
    (void)arg;
    assert_int_equal(units_parse_time(&noon, "2026-11-22T12:00:00Z", 0), 0);
    fixture_start(&f, MEMORY, 4);
    REFUSED(ERR_NOENT, "no recovery point of such a group", open_history(&f, &r, BETHUNE, err));
    for (unsigned i = 0; i < 4; i++) {
        make(&d[i], i + 1, i ? &d[i - 1] : NULL,
             (struct spec){.cut_time = noon + i * hour, .stretch = i == 0 || i == 3});
        struct catalog_entry x = entry_of(&d[i]);
        plant(&p, &d[i], &x);
    }
    struct caller *c = client(&f, BETHUNE);
    MUST(reader_open(&r, c, "bethune", "records", key_public(sign_key(BETHUNE)), NULL, NULL, err));
    MUST(reader_find(r, "latest", noon, &rp, err));
    assert_int_equal(rp, 3); /* the newest complete one */
    MUST(reader_find(r, "", noon, &rp, err));
    assert_int_equal(rp, 3);
    MUST(reader_find(r, "2", noon, &rp, err));
    assert_int_equal(rp, 2);
    MUST(reader_find(r, "@2026-11-22T13:59:59Z", noon, &rp, err));
    assert_int_equal(rp, 2);
    MUST(reader_find(r, "@2026-11-22T14:00:00Z", noon, &rp, err));
    assert_int_equal(rp, 3);
    MUST(reader_find(r, "@-60min", noon + 2 * hour, &rp, err));
    assert_int_equal(rp, 2);
    REFUSED(ERR_NOENT, "RP 2 of 2026-11-22T13:00",
            reader_find(r, "@2026-11-22T12:59:59Z", noon, &rp, err));
    REFUSED(ERR_NOENT, "to RP 3", reader_find(r, "1", noon, &rp, err)); /* a stretch */
    REFUSED(ERR_NOENT, "\"9\"", reader_find(r, "9", noon, &rp, err));
    REFUSED(ERR_USAGE, "no time", reader_find(r, "@yesterday", noon, &rp, err));
    REFUSED(ERR_USAGE, "its number", reader_find(r, "2x", noon, &rp, err));
    reader_close(r);
    caller_free(c);
    fixture_stop(&f);
    for (unsigned i = 0; i < 4; i++)
        delta_free(&d[i]);
}
static void a_point_is_found_by_number_by_time_and_as_the_newest(void **state)
{
    (void)state;
    hub_run(finding, NULL);
}

/* The site's clock lost a month for two cuts, and the second was in the future for one. */
static void clocks(void *arg)
{
    static const int days[] = {10, 11, -20, -19, 12, 40, 13};
    struct hub_fixture f;
    struct test_delta d[7];
    struct reader *r = NULL;
    struct plant p = {.f = &f};
    int64_t noon = 0, day = INT64_C(86400) * 1000000000;
    uint64_t rp = 0;
    (void)arg;
    assert_int_equal(units_parse_time(&noon, "2026-11-22T12:00:00Z", 0), 0);
    fixture_start(&f, MEMORY, 4);
    for (unsigned i = 0; i < 7; i++) {
        make(&d[i], i + 1, i ? &d[i - 1] : NULL, (struct spec){.cut_time = noon + days[i] * day});
        struct catalog_entry x = entry_of(&d[i]);
        plant(&p, &d[i], &x);
    }
    struct caller *c = client(&f, BETHUNE);
    MUST(reader_open(&r, c, "bethune", "records", key_public(sign_key(BETHUNE)), NULL, NULL, err));
    MUST(reader_find(r, "@-12h", noon + 11 * day, &rp, err));
    assert_int_equal(rp, 1); /* not RP 4, which was cut days later */
    MUST(reader_find(r, "@-0min", noon + 11 * day, &rp, err));
    assert_int_equal(rp, 2);
    MUST(reader_find(r, "@-0min", noon + 13 * day, &rp, err));
    assert_int_equal(rp, 7);
    MUST(reader_find(r, "latest", noon, &rp, err));
    assert_int_equal(rp, 7);
    reader_close(r);
    caller_free(c);
    fixture_stop(&f);
    for (unsigned i = 0; i < 7; i++)
        delta_free(&d[i]);
}
static void a_time_is_not_answered_with_what_a_wrong_clock_dated_back(void **state)
{
    (void)state;
    hub_run(clocks, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_is_not_answered_with_what_a_wrong_clock_dated_back),
        cmocka_unit_test(gaps_forks_and_foreign_manifests_are_found_and_named),
        cmocka_unit_test(a_successor_vouches_only_when_it_is_signed_itself),
        cmocka_unit_test(a_long_history_is_read_and_only_what_is_signed_believed),
        cmocka_unit_test(a_point_is_found_by_number_by_time_and_as_the_newest),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
