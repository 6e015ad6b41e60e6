/* svg: axes have round numbers that span what is shown, peaks are not lost, text cannot break out.
 */
#include "svg.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ticks_are_round_and_span_the_values(void **state)
{
    static const double highs[] = {1e-6, 0.7, 1, 3, 9.99, 10, 101, 12345, 8e9};
    double t[SVG_TICKS];
    (void)state;
    for (size_t i = 0; i < sizeof highs / sizeof highs[0]; i++)
        for (unsigned most = 2; most <= 10; most++) {
            unsigned n = svg_ticks(t, 0, highs[i], most);
            double step = t[1] - t[0], mantissa = step / pow(10, floor(log10(step) + 1e-9));
            assert_true(n >= 2 && n <= most + 1);
            assert_true(t[0] == 0 && t[n - 1] >= highs[i] * 0.999999 && t[n - 2] < highs[i]);
            assert_true(fabs(mantissa - 1) < 1e-6 || fabs(mantissa - 2) < 1e-6 ||
                        fabs(mantissa - 5) < 1e-6);
        }
}

static char *drawn(const struct svg_plot *p)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    svg_write(f, p);
    assert_int_equal(fclose(f), 0);
    return text;
}

static void a_peak_of_one_sample_among_many_is_drawn(void **state)
{
    enum { N = 50000 };
    double *x = calloc(N, sizeof *x), *y = calloc(N, sizeof *y);
    struct svg_line line = {.name = "a", .value = y};
    struct svg_plot p = {.title = "t",
                         .y_unit = "s",
                         .x_unit = "s",
                         .x = x,
                         .count = N,
                         .lines = &line,
                         .line_count = 1};
    char *with, *without;
    (void)state;
    for (unsigned i = 0; i < N; i++) {
        x[i] = i;
        y[i] = 1;
    }
    y[0] = 10; /* the axis is the same for both */
    without = drawn(&p);
    y[31234] = 10;
    with = drawn(&p);
    assert_string_not_equal(with, without);
    assert_true(strlen(with) < 40000);
    free(with);
    free(without);
    free(x);
    free(y);
}

static void gaps_and_nothing_are_drawn_as_such(void **state)
{
    double x[] = {0, 1, 2, 3, 4}, y[] = {1, 2, NAN, 2, 1}, none[] = {NAN, NAN, NAN, NAN, NAN};
    struct svg_line line = {.name = "<script>", .value = y};
    struct svg_plot p = {.title = "\"t\"",
                         .y_unit = "s",
                         .x_unit = "s",
                         .x = x,
                         .count = 5,
                         .lines = &line,
                         .line_count = 1};
    char *text = drawn(&p), *first;
    (void)state;
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "<script>"));
    assert_non_null(strstr(text, "&lt;script&gt;"));
    assert_non_null(strstr(text, "&quot;t&quot;"));
    first = strstr(text, "class=\"line");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "class=\"line")); /* two pieces */
    free(text);
    line.value = none;
    text = drawn(&p);
    assert_non_null(strstr(text, "nothing was measured"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_are_round_and_span_the_values),
        cmocka_unit_test(a_peak_of_one_sample_among_many_is_drawn),
        cmocka_unit_test(gaps_and_nothing_are_drawn_as_such),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
