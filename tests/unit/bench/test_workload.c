/* workload: the same seed asks the same, within the volume; contents are theirs; traces are read or
 * refused. */
#include "hist.h"
#include "trace.h"
#include "workload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct workload_spec spec_of(const char *kind)
{
    struct scenario *s = err_malloc(sizeof *s);
    struct workload_spec w;
    struct err e = ERR_INIT;
    scenario_init(s);
    assert_int_equal(scenario_set(s, "both", "rate", "20mbit", &e), 0);
    assert_int_equal(scenario_set(s, "workload w", "kind", kind, &e), 0);
    assert_int_equal(scenario_set(s, "workload w", "size", "64MiB", &e), 0);
    assert_int_equal(scenario_complete(s, &e), 0);
    w = s->workloads[0];
    scenario_free(s);
    free(s);
    return w;
}

static struct workload *workload_of(const struct workload_spec *spec)
{
    struct workload *w = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(workload_new(&w, spec, &e), 0);
    return w;
}

static void a_seed_gives_one_sequence_within_the_volume(void **state)
{
    static const char *const names[] = {"oltp", "import", "migration", "boot", "ransomware"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct workload_spec spec = spec_of(names[i]);
        struct workload *a = workload_of(&spec), *b = workload_of(&spec);
        struct load_op x, y;
        uint64_t due = 0, writes = 0, reads = 0;
        for (unsigned n = 0; n < 20000 && workload_next(a, &x); n++) {
            assert_true(workload_next(b, &y));
            assert_memory_equal(&x, &y, sizeof x);
            assert_true(x.len % 512 == 0 && x.off % 512 == 0);
            assert_true(x.off + x.len <= spec.size && x.len <= workload_longest(a));
            assert_true(x.due >= due || spec.kind == WORKLOAD_IMPORT);
            due = x.due;
            writes += x.verb == LOAD_WRITE ? x.len : 0;
            reads += x.verb == LOAD_READ ? x.len : 0;
        }
        assert_true(writes > 0);
        assert_true(spec.kind != WORKLOAD_BOOT || reads > 5 * writes);
        assert_true(spec.kind != WORKLOAD_RANSOMWARE || reads == writes);
        workload_free(a);
        workload_free(b);
    }
}

static void a_rate_is_kept(void **state)
{
    static const char *const names[] = {"oltp", "import"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct workload_spec spec = spec_of(names[i]);
        struct workload *w = workload_of(&spec);
        uint64_t moved = 0, last = 0;
        struct load_op op;
        for (unsigned n = 0; n < 50000; n++) {
            assert_true(workload_next(w, &op));
            moved += op.len;
            last = op.due > last ? op.due : last;
        }
        assert_true((double)moved / ((double)last / 1e9) / (double)spec.rate > 0.97);
        assert_true((double)moved / ((double)last / 1e9) / (double)spec.rate < 1.05);
        workload_free(w);
    }
}

/* A commit is durable before the next begins: its flush waits for the log's write. */
static void an_oltp_flushes_what_it_commits(void **state)
{
    struct workload_spec spec = spec_of("oltp");
    struct workload *w = workload_of(&spec);
    struct load_op log, flush;
    (void)state;
    for (unsigned n = 0; n < 100; n++) {
        assert_true(workload_next(w, &log) && workload_next(w, &flush));
        assert_int_equal(log.verb, LOAD_WRITE);
        assert_true(log.off < spec.size / 16);
        assert_true(flush.verb == LOAD_FLUSH && flush.after_all);
        for (unsigned k = 0; k < 3; k++)
            assert_true(workload_next(w, &log) && log.off >= spec.size / 16);
    }
    workload_free(w);
}

static void ransomware_destroys_all_there_is_once(void **state)
{
    struct workload_spec spec = spec_of("ransomware");
    struct workload *w = workload_of(&spec);
    uint64_t expected = 0;
    struct load_op op;
    (void)state;
    while (workload_next(w, &op))
        if (op.verb == LOAD_WRITE) {
            assert_int_equal(op.off, expected);
            expected += op.len;
        }
    assert_true(expected <= workload_filled(w));
    assert_true(expected + spec.block > workload_filled(w));
    workload_free(w);
}

static void contents_are_of_their_place_and_version(void **state)
{
    uint8_t whole[8192], part[512], other[512];
    (void)state;
    content_fill(whole, sizeof whole, CONTENT_IMAGES, 7, 512 * 1024, 3, 0.12);
    for (unsigned at = 0; at < sizeof whole; at += 512) {
        content_fill(part, sizeof part, CONTENT_IMAGES, 7, 512 * 1024 + at, 3, 0.12);
        assert_memory_equal(part, whole + at, 512);
    }
    content_fill(other, sizeof other, CONTENT_IMAGES, 7, 512 * 1024 + 512, 4, 0.12);
    assert_memory_not_equal(other, whole + 512, 512);
    assert_memory_equal(whole + 64, "DICM", 4); /* a slice begins here */
}

static void a_trace_line_is_read_or_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "1.000000 W 0",
        "1.000000 X 0 512",
        "1.000000 W 100 512",
        "1.000000 W 0 0",
        "1 W 0 512",
        "1.000000 F 0 512",
        "1.000000 W 1048576 512",
        "0.900000 W 0 512",
    };
    struct trace t = {.size = MIB};
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(trace_line(&t, "1.000500 W 4096 8192", &e), 0);
    assert_int_equal(trace_line(&t, "1.000500 F", &e), 0);
    assert_int_equal(trace_line(&t, "1.100000 Z 1044480 4096", &e), 0);
    assert_int_equal(t.count, 3);
    assert_int_equal(t.entries[0].at, 1000500000);
    assert_int_equal(t.entries[0].len, 8192);
    assert_int_equal(t.entries[2].verb, LOAD_ZERO);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        e = (struct err)ERR_INIT;
        if (trace_line(&t, wrong[i], &e) != -ERR_INPUT)
            fail_msg("\"%s\" was taken", wrong[i]);
    }
    assert_int_equal(t.count, 3);
    trace_free(&t);
}

static void a_histogram_tells_quantiles_within_its_step(void **state)
{
    struct hist *h = err_calloc(1, sizeof *h), *two = err_calloc(1, sizeof *two);
    (void)state;
    assert_int_equal(hist_quantile(h, 0.5), 0);
    for (uint64_t v = 1; v <= 100000; v++)
        hist_add(v % 2 ? h : two, v * 1000);
    hist_merge(h, two);
    assert_int_equal(h->count, 100000);
    assert_int_equal(h->max, 100000000);
    assert_true(hist_mean(h) == 50000500.0);
    assert_in_range(hist_quantile(h, 0.5), 50000000, 50000000 + 50000000 / HIST_SUB);
    assert_in_range(hist_quantile(h, 0.99), 99000000, 100000000);
    assert_int_equal(hist_quantile(h, 1), 100000000);
    hist_add(h, UINT64_MAX); /* a clock that went wrong is no write beyond the table */
    assert_int_equal(hist_quantile(h, 1), UINT64_MAX);
    free(h);
    free(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_one_sequence_within_the_volume),
        cmocka_unit_test(a_rate_is_kept),
        cmocka_unit_test(an_oltp_flushes_what_it_commits),
        cmocka_unit_test(ransomware_destroys_all_there_is_once),
        cmocka_unit_test(contents_are_of_their_place_and_version),
        cmocka_unit_test(a_trace_line_is_read_or_refused),
        cmocka_unit_test(a_histogram_tells_quantiles_within_its_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
