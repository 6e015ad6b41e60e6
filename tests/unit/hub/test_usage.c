/* usage: what a site has stored is the sum of its catalogs, what it shipped in a month stays known
 * when its recovery points go. */
#include "hub_fixture.h"
#include "usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DAY   (INT64_C(86400) * 1000000000)
#define FIRST (INT64_C(1767225600) * 1000000000) /* 2026-01-01T00:00:00Z */
#define LEN   (UINT64_C(1) << 20)                /* of each delta: one object */

static struct store *store;
static struct usage *u;
static char dir[64];

static void begin(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/relais-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    MUST(store_dir_open(&store, dir, err));
    u = usage_new(store);
}

static void end(void)
{
    char command[128];
    usage_free(u);
    store->ops->close(store);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(fio_command(command, 10 * IO_S), 0);
}

/* One more RP of a group, as a hub commits it. */
static void commit(const char *group, int64_t at)
{
    struct store_head from, to;
    struct catalog_entry last = {0}, x;
    MUST(store->ops->head(store, "bethune", group, &from, err));
    if (from.rp > 0)
        MUST(catalog_decode(&last, &from, err));
    x = (struct catalog_entry){.rp_first = from.rp + 1,
                               .rp = from.rp + 1,
                               .committed_time = at,
                               .flags = MANIFEST_COMPLETE,
                               .file_len = LEN,
                               .manifest_len = 1000,
                               .total_bytes = last.total_bytes + LEN,
                               .total_objects = last.total_objects + 1,
                               .total_rps = last.total_rps + 1};
    assert_int_equal(catalog_encode(&to, &x), 0);
    MUST(store->ops->move_head(store, "bethune", group, &from, &to, err));
}

static struct usage_sum stored(bool again)
{
    struct usage_sum sum;
    MUST(usage_site(u, "bethune", again, &sum, err));
    return sum;
}

static void sum_body(void *arg)
{
    (void)arg;
    begin();
    assert_int_equal(stored(false).bytes, 0);
    commit("records", FIRST);
    commit("records", FIRST);
    commit("mail", FIRST);
    struct usage_sum sum = stored(false);
    assert_int_equal(sum.rps, 3);
    assert_int_equal(sum.bytes, 3 * LEN);
    assert_int_equal(sum.objects, 3);
    struct usage_sum other;
    MUST(usage_site(u, "lens", false, &other, err));
    assert_int_equal(other.rps, 0);
    end();
}
static void stored_is_the_sum_of_all_groups(void **state)
{
    (void)state;
    hub_run(sum_body, NULL);
}

static void commits_body(void *arg)
{
    (void)arg;
    begin();
    commit("records", FIRST);
    assert_int_equal(stored(false).rps, 1);
    commit("records", FIRST);
    usage_committed(u, "bethune", "records", LEN, 1);
    assert_int_equal(stored(false).rps, 2);
    /* Summed anew it is no more: what was counted is not counted twice. */
    assert_int_equal(stored(true).bytes, 2 * LEN);
    /* Another hub's is seen at the latest when all is summed anew. */
    commit("records", FIRST);
    assert_int_equal(stored(true).rps, 3);
    end();
}
static void a_commit_counts_at_once_and_once(void **state)
{
    (void)state;
    hub_run(commits_body, NULL);
}

static void folded_body(void *arg)
{
    struct store_head raw[2], to;
    struct catalog_entry x;
    uint64_t generation;
    uint32_t n;
    (void)arg;
    begin();
    for (unsigned i = 0; i < 3; i++)
        commit("records", FIRST);
    assert_int_equal(stored(false).bytes, 3 * LEN);
    MUST(store->ops->catalog(store, "bethune", "records", 1, raw, 1, &n, err));
    MUST(catalog_decode(&x, raw, err));
    x.rp_first = 1;
    assert_int_equal(catalog_encode(&to, &x), 0);
    MUST(store->ops->generation(store, "bethune", "records", &generation, err));
    MUST(store->ops->splice(store, "bethune", "records", generation, 1, 2, &to, 1, err));
    assert_int_equal(stored(true).bytes, 2 * LEN);
    /* What was shipped was shipped. */
    struct usage_month months[USAGE_MONTHS];
    unsigned count;
    MUST(usage_months(u, "bethune", FIRST + DAY, months, &count, err));
    assert_int_equal(count, 1);
    assert_int_equal(months[0].shipped.rps, 3);
    end();
}
static void what_a_fold_replaced_is_not_stored_any_more(void **state)
{
    (void)state;
    hub_run(folded_body, NULL);
}

static void months_body(void *arg)
{
    struct usage_month months[USAGE_MONTHS];
    unsigned count;
    (void)arg;
    begin();
    commit("records", FIRST); /* January */
    commit("records", FIRST + 30 * DAY);
    MUST(usage_record(u, "bethune", "records", FIRST + 30 * DAY, err)); /* which is not over */
    commit("records", FIRST + 31 * DAY);                                /* February */
    MUST(usage_record(u, "bethune", "records", FIRST + 31 * DAY, err));
    MUST(usage_record(u, "bethune", "records", FIRST + 32 * DAY, err)); /* known already */
    /* Nothing in March. */
    MUST(usage_record(u, "bethune", "records", FIRST + 80 * DAY, err));
    commit("records", FIRST + 91 * DAY); /* April */
    commit("records", FIRST + 92 * DAY);
    commit("mail", FIRST + 92 * DAY);
    MUST(usage_months(u, "bethune", FIRST + 93 * DAY, months, &count, err));
    assert_int_equal(count, 4);
    const uint64_t want[] = {2, 1, 0, 3};
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(months[i].month, 2026 * 12 + i);
        assert_int_equal(months[i].shipped.rps, want[i]);
        assert_int_equal(months[i].shipped.bytes, want[i] * LEN);
    }
    /* A year later only the newest are told. */
    MUST(usage_record(u, "bethune", "records", FIRST + 400 * DAY, err));
    MUST(usage_record(u, "bethune", "mail", FIRST + 400 * DAY, err));
    MUST(usage_months(u, "bethune", FIRST + 425 * DAY, months, &count, err)); /* March 2027 */
    assert_int_equal(months[0].month, 2026 * 12 + 3);
    assert_int_equal(months[0].shipped.rps, 3);
    assert_int_equal(months[count - 1].month, 2027 * 12 + 2);
    assert_int_equal(months[count - 1].shipped.rps, 0);
    end();
}
static void months_are_told_also_where_nothing_came(void **state)
{
    (void)state;
    hub_run(months_body, NULL);
}

static void months_begin_in_utc(void **state)
{
    (void)state;
    assert_int_equal(usage_month(FIRST - 1), 2025 * 12 + 11);
    assert_int_equal(usage_month(FIRST), 2026 * 12);
    assert_int_equal(usage_month(0), 1970 * 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_is_the_sum_of_all_groups),
        cmocka_unit_test(a_commit_counts_at_once_and_once),
        cmocka_unit_test(what_a_fold_replaced_is_not_stored_any_more),
        cmocka_unit_test(months_are_told_also_where_nothing_came),
        cmocka_unit_test(months_begin_in_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
