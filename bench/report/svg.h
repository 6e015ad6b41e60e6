/* svg.h: a plot over time as inline SVG: axes with units, lines and areas, stretches that are
 * shaded. Colours are CSS classes of the page (report.c), so that light, dark and paper each have
 * their own. */
#ifndef RELAIS_BENCH_SVG_H
#define RELAIS_BENCH_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define SVG_TICKS 12u
#define SVG_LINES 10u
#define SVG_BANDS 64u

struct svg_line {
    const char *name;    /* in the legend */
    const double *value; /* as many as x; NAN: a gap */
    bool area;           /* filled down to the axis */
    unsigned colour;     /* 0 to 5 */
};
struct svg_band {
    double from, to;
    const char *name;
};
struct svg_plot {
    const char *title, *y_unit, *x_unit;
    const double *x;
    size_t count;
    const struct svg_line *lines;
    unsigned line_count;
    const struct svg_band *bands;
    unsigned band_count;
    bool log;    /* powers of ten on the y axis */
    double rule; /* a horizontal line with a name; 0: none */
    const char *rule_name;
};

/* Ticks at round numbers (1, 2, 5 times a power of ten) that span lo to hi, at most most + 1 of
 * them, most <= SVG_TICKS - 2; hi > lo. Returns their number. Pure. */
unsigned svg_ticks(double ticks[SVG_TICKS], double lo, double hi, unsigned most);
/* Writes the plot. A plot without any value says so in its middle. */
void svg_write(FILE *out, const struct svg_plot *p);
/* Text for HTML and SVG. */
void svg_escape(FILE *out, const char *text);

#endif
