#include "svg.h"

#include <math.h>
#include <stdlib.h>

#define WIDTH   960.0
#define HEIGHT  250.0
#define LEFT    64.0
#define RIGHT   14.0
#define TOP     30.0
#define BOTTOM  40.0
#define COLUMNS 420u /* that many points at most a line has, times two: its least and its most */

struct frame {
    double x0, x1, y0, y1; /* what the axes span */
    bool log;
};

void svg_escape(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            (void)fputs("&lt;", out);
        else if (*text == '>')
            (void)fputs("&gt;", out);
        else if (*text == '&')
            (void)fputs("&amp;", out);
        else if (*text == '"')
            (void)fputs("&quot;", out);
        else
            (void)fputc(*text, out);
    }
}

unsigned svg_ticks(double ticks[SVG_TICKS], double lo, double hi, unsigned most)
{
    static const double steps[] = {1, 2, 5, 10};
    double raw = (hi - lo) / most, power = pow(10, floor(log10(raw))), step = power * 10, first;
    unsigned n = 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (power * steps[i] >= raw * 0.999) {
            step = power * steps[i];
            break;
        }
    first = floor(lo / step + 1e-9) * step;
    do {
        ticks[n] = first + n * step;
        n++;
    } while (n < SVG_TICKS && ticks[n - 1] < hi - step * 1e-6);
    return n;
}

/* ---- where things are ---- */

static double at_x(const struct frame *f, double x)
{
    return LEFT + (x - f->x0) / (f->x1 - f->x0) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct frame *f, double y)
{
    double share = f->log ? (log10(fmax(y, f->y0)) - log10(f->y0)) / (log10(f->y1) - log10(f->y0))
                          : (y - f->y0) / (f->y1 - f->y0);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

static void span(const struct svg_plot *p, double *least, double *most)
{
    *least = INFINITY;
    *most = -INFINITY;
    for (unsigned l = 0; l < p->line_count; l++)
        for (size_t i = 0; i < p->count; i++) {
            double v = p->lines[l].value[i];
            if (isnan(v) || (p->log && v <= 0))
                continue;
            *least = fmin(*least, v);
            *most = fmax(*most, v);
        }
}

/* ---- axes ---- */

static void text(FILE *out, double x, double y, const char *anchor, const char *class,
                 const char *what)
{
    (void)fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor,
                  class);
    svg_escape(out, what);
    (void)fputs("</text>", out);
}

static void rule(FILE *out, double x1, double y1, double x2, double y2, const char *class)
{
    (void)fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>", x1,
                  y1, x2, y2, class);
}

static void y_tick(FILE *out, const struct frame *f, double v)
{
    char label[32];
    (void)snprintf(label, sizeof label, "%g", fabs(v) < 1e-9 ? 0 : v);
    rule(out, LEFT, at_y(f, v), WIDTH - RIGHT, at_y(f, v), "grid");
    text(out, LEFT - 8, at_y(f, v) + 4, "end", "tick", label);
}

static void axes(FILE *out, const struct svg_plot *p, struct frame *f, double least, double most)
{
    double ticks[SVG_TICKS];
    char label[32];
    unsigned n;
    if (p->log) {
        f->y0 = pow(10, floor(log10(least) + 1e-9));
        f->y1 = pow(10, ceil(log10(most * 1.0001)));
        for (double v = f->y0; v <= f->y1 * 1.001; v *= 10)
            y_tick(out, f, v);
    } else {
        n = svg_ticks(ticks, 0, fmax(fmax(most, p->rule) * 1.04, 1e-9), 5);
        f->y1 = ticks[n - 1];
        for (unsigned i = 0; i < n; i++)
            y_tick(out, f, ticks[i]);
    }
    n = svg_ticks(ticks, f->x0, f->x1, 10);
    for (unsigned i = 0; i < n; i++) {
        if (ticks[i] > f->x1 * 1.0001)
            break;
        (void)snprintf(label, sizeof label, "%g", ticks[i]);
        rule(out, at_x(f, ticks[i]), HEIGHT - BOTTOM, at_x(f, ticks[i]), HEIGHT - BOTTOM + 5,
             "axis");
        text(out, at_x(f, ticks[i]), HEIGHT - BOTTOM + 18, "middle", "tick", label);
    }
    rule(out, LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis");
    text(out, LEFT - 8, TOP - 14, "end", "unit", p->y_unit);
    text(out, WIDTH - RIGHT, HEIGHT - 5, "end", "unit", p->x_unit);
}

static void bands(FILE *out, const struct svg_plot *p, const struct frame *f)
{
    for (unsigned i = 0; i < p->band_count; i++) {
        const struct svg_band *b = &p->bands[i];
        double from = at_x(f, fmax(b->from, f->x0)), to = at_x(f, fmin(b->to, f->x1));
        (void)fprintf(out,
                      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"band\"/>",
                      from, TOP, fmax(to - from, 1.5), HEIGHT - TOP - BOTTOM);
        if (to - from > 60)
            text(out, (from + to) / 2, TOP + 14, "middle", "bandname", b->name);
    }
}

/* ---- lines ---- */

/* A run of points without a gap, [from, to). Where many fall onto one column, its least and its
 * most are drawn, so that no peak is lost. */
static void stroke(FILE *out, const struct svg_plot *p, const struct frame *f,
                   const struct svg_line *l, size_t from, size_t to)
{
    size_t each = p->count / COLUMNS + 1;
    char command = 'M';
    (void)fprintf(out, "<path class=\"line c%u\" d=\"", l->colour);
    for (size_t i = from; i < to; i += each) {
        size_t end = i + each < to ? i + each : to, low = i, high = i;
        for (size_t k = i; k < end; k++) {
            low = l->value[k] < l->value[low] ? k : low;
            high = l->value[k] > l->value[high] ? k : high;
        }
        for (unsigned turn = 0; turn < (low == high ? 1u : 2u); turn++) {
            size_t k = (turn == 0) == (low < high) ? low : high;
            (void)fprintf(out, "%c%.1f %.1f", command, at_x(f, p->x[k]), at_y(f, l->value[k]));
            command = 'L';
        }
    }
    (void)fputs("\"/>", out);
}

static void fill(FILE *out, const struct svg_plot *p, const struct frame *f,
                 const struct svg_line *l, size_t from, size_t to)
{
    size_t each = p->count / (2 * COLUMNS) + 1;
    (void)fprintf(out, "<path class=\"area c%u\" d=\"M%.1f %.1f", l->colour, at_x(f, p->x[from]),
                  HEIGHT - BOTTOM);
    for (size_t i = from; i < to; i += each) {
        double most = l->value[i];
        for (size_t k = i; k < i + each && k < to; k++)
            most = fmax(most, l->value[k]);
        (void)fprintf(out, "L%.1f %.1f", at_x(f, p->x[i]), at_y(f, most));
    }
    (void)fprintf(out, "L%.1f %.1fZ\"/>", at_x(f, p->x[to - 1]), HEIGHT - BOTTOM);
}

static void line(FILE *out, const struct svg_plot *p, const struct frame *f,
                 const struct svg_line *l)
{
    size_t from = 0, to;
    for (; from < p->count; from = to) {
        while (from < p->count && isnan(l->value[from]))
            from++;
        for (to = from; to < p->count && !isnan(l->value[to]);)
            to++;
        if (from == to)
            continue;
        if (l->area)
            fill(out, p, f, l, from, to);
        stroke(out, p, f, l, from, to);
    }
}

static void legend(FILE *out, const struct svg_plot *p)
{
    double x = LEFT;
    for (unsigned i = 0; i < p->line_count; i++) {
        const char *c = p->lines[i].name;
        size_t letters = 0;
        for (; *c; c++)
            letters += ((unsigned char)*c & 0xc0) != 0x80;
        (void)fprintf(out,
                      "<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"4\" rx=\"2\" class=\"key "
                      "c%u\"/>",
                      x, TOP - 19, p->lines[i].colour);
        text(out, x + 19, TOP - 14, "start", "tick", p->lines[i].name);
        x += 34 + 6.6 * (double)letters;
    }
}

void svg_write(FILE *out, const struct svg_plot *p)
{
    struct frame f = {.log = p->log, .x0 = 0, .x1 = p->count ? p->x[p->count - 1] : 1};
    double least, most;
    span(p, &least, &most);
    if (f.x1 <= f.x0)
        f.x1 = f.x0 + 1;
    (void)fprintf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    svg_escape(out, p->title);
    (void)fputs("\">", out);
    if (!(most >= least) || p->count < 2) {
        text(out, WIDTH / 2, HEIGHT / 2, "middle", "tick", "nothing was measured");
    } else {
        bands(out, p, &f);
        axes(out, p, &f, least, most);
        for (unsigned i = 0; i < p->line_count; i++)
            line(out, p, &f, &p->lines[i]);
        if (p->rule > 0) {
            rule(out, LEFT, at_y(&f, p->rule), WIDTH - RIGHT, at_y(&f, p->rule), "limit");
            text(out, WIDTH - RIGHT, at_y(&f, p->rule) - 5, "end", "limitname", p->rule_name);
        }
        legend(out, p);
    }
    (void)fputs("</svg>\n", out);
}
