#include "report.h"

#include "summary.h"
#include "svg.h"
#include "units.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE 60.0

static const char style[] =
    ":root{--bg:#fff;--fg:#1b2430;--soft:#5b6675;--grid:#e3e7ec;--card:#f5f7f9;--band:#f3d9d6;"
    "--bandname:#9b2c20;--warn:#fff3cd;--c0:#1a5fb4;--c1:#c64600;--c2:#26794a;--c3:#813d9c;"
    "--c4:#986a44;--c5:#5e5c64}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e4e8ed;--soft:#9aa5b1;"
    "--grid:#2b323a;--card:#1d232a;--band:#4a2a28;--bandname:#f0a49b;--warn:#4a3d10;--c0:#78aeed;"
    "--c1:#ff9f5a;--c2:#6fcf97;--c3:#d29cf0;--c4:#d9b38c;--c5:#b5b3bb}}"
    "*{box-sizing:border-box}body{margin:0 "
    "auto;max-width:66rem;padding:1.6rem;background:var(--bg);"
    "color:var(--fg);font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu "
    "Sans\",sans-serif}"
    "h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .1rem}"
    "p{margin:.2rem 0 .6rem}.soft{color:var(--soft)}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:.8rem;"
    "margin:1.2rem 0}.card{background:var(--card);border-radius:.5rem;padding:.8rem 1rem}"
    ".card b{display:block;font-size:1.6rem;line-height:1.25;font-weight:650}"
    ".card span{font-size:.8rem;color:var(--soft)}.card p{font-size:.88rem;margin:.2rem 0 0}"
    ".warn{background:var(--warn);border-radius:.5rem;padding:.7rem 1rem;margin:1rem 0}"
    "svg{display:block;width:100%;height:auto}svg text{font-size:12px;fill:var(--soft);"
    "font-family:inherit}svg .unit{fill:var(--fg);font-weight:600}svg "
    ".bandname{fill:var(--bandname);font-weight:600}.grid{stroke:var(--grid)}"
    ".axis{stroke:var(--soft)}.band{fill:var(--band);opacity:.75}.line{fill:none;stroke-width:1.8;"
    "stroke-linejoin:round}.area{stroke:none;opacity:.22}.limit{stroke:var(--fg);stroke-width:1.2;"
    "stroke-dasharray:5 4;opacity:.6}"
    ".line.c0{stroke:var(--c0)}.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}"
    ".line.c3{stroke:var(--c3)}.line.c4{stroke:var(--c4)}.line.c5{stroke:var(--c5)}"
    ".c0:not(.line){fill:var(--c0)}.c1:not(.line){fill:var(--c1)}.c2:not(.line){fill:var(--c2)}"
    ".c3:not(.line){fill:var(--c3)}.c4:not(.line){fill:var(--c4)}.c5:not(.line){fill:var(--c5)}"
    "table{border-collapse:collapse;width:100%;font-size:.88rem;margin:.4rem 0}"
    "td,th{text-align:left;vertical-align:top;padding:.28rem .8rem .28rem 0;"
    "border-bottom:1px solid var(--grid)}th{font-weight:600;white-space:nowrap}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "@media print{:root{--bg:#fff;--fg:#000;--soft:#444;--grid:#ddd;--card:#f4f4f4;--band:#f0dcda;"
    "--bandname:#8a1f14;--warn:#fff3cd;--c0:#1a5fb4;--c1:#c64600;--c2:#26794a;--c3:#813d9c;"
    "--c4:#986a44;--c5:#5e5c64}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}"
    "body{max-width:none;padding:0;font-size:12px}figure,.card,tr{break-inside:avoid}"
    "h2{break-after:avoid;margin-top:1.2rem}.cards{grid-template-columns:repeat(3,1fr)}}"
    "figure{margin:0}@page{margin:14mm}";

/* ---- columns of the result ---- */

/* Values of an array times a factor; NAN where there is null. Malloc'd. */
static double *numbers(const json_t *list, double factor, size_t count)
{
    double *v = err_calloc(count + 1, sizeof *v);
    for (size_t i = 0; i < count; i++) {
        const json_t *x = json_array_get(list, i);
        v[i] = json_is_number(x) ? json_number_value(x) * factor : NAN;
    }
    return v;
}

/* The same of one field of an array of objects. */
static double *fields(const json_t *list, const char *name, double factor, size_t count)
{
    double *v = err_calloc(count + 1, sizeof *v);
    for (size_t i = 0; i < count; i++)
        v[i] = summary_number(json_array_get(list, i), name) * factor;
    return v;
}

static double most_of(const double *v, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = v[i] > most ? v[i] : most;
    return most;
}

static void scale(double *v, size_t count, double factor)
{
    for (size_t i = 0; i < count; i++)
        v[i] *= factor;
}

/* ---- plots ---- */

struct page {
    FILE *out;
    const json_t *result, *series, *seconds;
    double *t; /* of the series */
    size_t count;
    struct svg_band bands[SVG_BANDS];
    char band_names[SVG_BANDS][UNITS_TEXT + 16];
    unsigned band_count;
    double x_factor; /* seconds to the axis' unit */
    const char *x_unit;
};

static void say(struct page *g, const char *text)
{
    svg_escape(g->out, text);
}

static void figure(struct page *g, struct svg_plot *p, const char *explanation)
{
    p->bands = g->bands;
    p->band_count = g->band_count;
    p->x_unit = g->x_unit;
    (void)fputs("<h2>", g->out);
    say(g, p->title);
    (void)fputs("</h2>\n<p class=\"soft\">", g->out);
    say(g, explanation);
    (void)fputs("</p>\n<figure>", g->out);
    svg_write(g->out, p);
    (void)fputs("</figure>\n", g->out);
}

static void plot_rpo(struct page *g)
{
    const json_t *groups = json_object_get(g->series, "groups");
    struct svg_line lines[SVG_LINES];
    unsigned n = (unsigned)json_array_size(groups);
    double most = 0;
    bool minutes;
    n = n > SVG_LINES ? SVG_LINES : n;
    for (unsigned i = 0; i < n; i++) {
        const json_t *one = json_array_get(groups, i);
        double *v = numbers(json_object_get(one, "rpo_s"), 1, g->count);
        most = fmax(most, most_of(v, g->count));
        lines[i] = (struct svg_line){summary_text(one, "name"), v, n == 1, i % 6};
    }
    minutes = most > 5 * MINUTE;
    for (unsigned i = 0; i < n && minutes; i++)
        scale((double *)(uintptr_t)lines[i].value, g->count, 1 / MINUTE);
    figure(g,
           &(struct svg_plot){.title = "Data at risk (RPO)",
                              .y_unit = minutes ? "min" : "s",
                              .x = g->t,
                              .count = g->count,
                              .lines = lines,
                              .line_count = n},
           "How old the newest recovery point at the hub is: what would be lost if the site burnt "
           "down at this moment. It rises with the clock while the line is dead.");
    for (unsigned i = 0; i < n; i++)
        free((double *)(uintptr_t)lines[i].value);
}

static void plot_backlog(struct page *g)
{
    double *lag = numbers(json_object_get(g->series, "lag_bytes"), 1, g->count);
    double *dirty = numbers(json_object_get(g->series, "dirty_bytes"), 1, g->count);
    double *spool = numbers(json_object_get(g->series, "spool_bytes"), 1, g->count);
    double most =
        fmax(most_of(lag, g->count), fmax(most_of(dirty, g->count), most_of(spool, g->count)));
    bool gib = most > 4.0 * 1024 * 1024 * 1024;
    double unit = gib ? 1.0 / (1024 * 1024 * 1024) : 1.0 / (1024 * 1024);
    const struct svg_line lines[] = {{"sealed, not at the hub yet (lag)", lag, true, 0},
                                     {"spool on disk", spool, false, 1},
                                     {"changed, not sealed yet", dirty, false, 2}};
    scale(lag, g->count, unit);
    scale(dirty, g->count, unit);
    scale(spool, g->count, unit);
    figure(g,
           &(struct svg_plot){.title = "What is waiting",
                              .y_unit = gib ? "GiB" : "MiB",
                              .x = g->t,
                              .count = g->count,
                              .lines = lines,
                              .line_count = 3},
           "Bytes that the hub does not have yet. Guests are never made to wait for them.");
    free(lag);
    free(dirty);
    free(spool);
}

/* A mean over half a second: ten looks a second see every burst of TCP. */
static double *smooth(const double *v, size_t count)
{
    double *s = err_calloc(count + 1, sizeof *s);
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        size_t n = 0;
        for (size_t k = i >= 5 ? i - 4 : 1; k <= i && k < count; k++, n++)
            sum += v[k];
        s[i] = n ? sum / (double)n : NAN;
    }
    return s;
}

static void plot_link(struct page *g)
{
    double *up = numbers(json_object_get(g->series, "up_bits"), 1e-6, g->count);
    double *down = numbers(json_object_get(g->series, "down_bits"), 1e-6, g->count);
    double *even_up = smooth(up, g->count), *even_down = smooth(down, g->count);
    const struct svg_line lines[] = {{"from the site to the hub", even_up, true, 0},
                                     {"back", even_down, false, 2}};
    figure(g,
           &(struct svg_plot){.title = "Use of the line",
                              .y_unit = "Mbit/s",
                              .x = g->t,
                              .count = g->count,
                              .lines = lines,
                              .line_count = 2,
                              .rule = summary_number(g->result, "scenario.up.rate_bits") / 1e6,
                              .rule_name = "what the line carries"},
           "What came out of the line, headers of all layers included; means over half a second.");
    free(up);
    free(down);
    free(even_up);
    free(even_down);
}

static void plot_guests(struct page *g)
{
    size_t n = json_array_size(g->seconds);
    double *t = fields(g->seconds, "t_s", g->x_factor, n);
    double *p50 = fields(g->seconds, "write_p50_s", 1000, n);
    double *p99 = fields(g->seconds, "write_p99_s", 1000, n);
    double *rate = fields(g->seconds, "written_bytes", 1.0 / (1024 * 1024), n);
    const struct svg_line took[] = {{"99 of 100 are faster", p99, false, 1},
                                    {"every second one is faster", p50, false, 0}};
    const struct svg_line wrote[] = {{"written", rate, true, 0}};
    for (size_t i = n; i-- > 1;) /* a second is as long as it took */
        rate[i] /= (t[i] - t[i - 1]) / g->x_factor;
    figure(g,
           &(struct svg_plot){.title = "How long a guest's write takes",
                              .y_unit = "ms",
                              .x = t,
                              .count = n,
                              .lines = took,
                              .line_count = 2,
                              .log = true},
           "Until the write is acknowledged over NBD, second by second. An outage should not show "
           "here.");
    figure(g,
           &(struct svg_plot){.title = "What guests write",
                              .y_unit = "MiB/s",
                              .x = t,
                              .count = n,
                              .lines = wrote,
                              .line_count = 1},
           "All guests together.");
    free(t);
    free(p50);
    free(p99);
    free(rate);
}

/* ---- words and tables ---- */

static void cards(struct page *g)
{
    struct summary_line lines[SUMMARY_LINES];
    unsigned n = summary_lines(lines, g->result);
    (void)fputs("<div class=\"cards\">\n", g->out);
    for (unsigned i = 0; i < n; i++) {
        (void)fputs("<div class=\"card\"><span>", g->out);
        say(g, lines[i].name);
        (void)fputs("</span><b>", g->out);
        say(g, lines[i].figure);
        (void)fputs("</b><p>", g->out);
        say(g, lines[i].meaning);
        (void)fputs("</p></div>\n", g->out);
    }
    (void)fputs("</div>\n", g->out);
}

static void row(struct page *g, const char *name, const char *value)
{
    (void)fputs("<tr><th>", g->out);
    say(g, name);
    (void)fputs("</th><td>", g->out);
    say(g, value);
    (void)fputs("</td></tr>\n", g->out);
}

static void guest_rows(struct page *g)
{
    static const char *const verbs[] = {"write", "flush", "read"};
    static const char *const sides[] = {"with", "without"};
    const json_t *guest;
    size_t i;
    (void)fputs("<h2>Latency of guests</h2>\n<table><tr><th>guest</th><th>request</th>"
                "<th>replication</th><th class=\"n\">count</th><th class=\"n\">median</th>"
                "<th class=\"n\">mean</th><th class=\"n\">99 %</th><th class=\"n\">worst</th>"
                "</tr>\n",
                g->out);
    json_array_foreach(json_object_get(g->result, "guests"), i,
                       guest) for (unsigned v = 0; v < 3; v++) for (unsigned s = 0; s < 2; s++)
    {
        const json_t *h = json_object_get(json_object_get(guest, sides[s]), verbs[v]);
        char cell[UNITS_TEXT];
        if (!(summary_number(h, "count") > 0))
            continue;
        (void)fprintf(g->out, "<tr><td>%s</td><td>%s</td><td>%s</td><td class=\"n\">%.0f</td>",
                      summary_text(guest, "name"), verbs[v], sides[s], summary_number(h, "count"));
        for (unsigned k = 0; k < 4; k++) {
            static const char *const of[] = {"p50_s", "mean_s", "p99_s", "max_s"};
            (void)fprintf(g->out, "<td class=\"n\">%s</td>",
                          summary_time(cell, summary_number(h, of[k])));
        }
        (void)fputs("</tr>\n", g->out);
    }
    (void)fputs("</table>\n", g->out);
}

static void conditions(struct page *g)
{
    const json_t *w,
        *workloads = json_object_get(json_object_get(g->result, "scenario"), "workloads");
    char text[400], a[UNITS_TEXT], b[UNITS_TEXT], c[UNITS_TEXT], d[UNITS_TEXT];
    size_t i;
    (void)fputs("<h2>What was run</h2>\n<table>\n", g->out);
    (void)snprintf(text, sizeof text, "%s; %s up, %s down; %s there and back",
                   summary_text(g->result, "scenario.link"),
                   summary_bits(a, summary_number(g->result, "scenario.up.rate_bits")),
                   summary_bits(b, summary_number(g->result, "scenario.down.rate_bits")),
                   summary_time(c, summary_number(g->result, "scenario.up.delay_s") +
                                       summary_number(g->result, "scenario.down.delay_s")));
    row(g, "Line", text);
    json_array_foreach(workloads, i, w)
    {
        double rate = summary_number(w, "rate_bytes");
        (void)snprintf(text, sizeof text,
                       "%s on a volume of %s, %s%s, %.0f %% of it compressible; cut every %s, "
                       "priority %s",
                       summary_text(w, "kind"), summary_bytes(a, summary_number(w, "size")),
                       rate > 0 ? summary_bytes(b, rate) : "as fast as it goes",
                       rate > 0 ? "/s" : "", summary_number(w, "compressible") * 100,
                       summary_time(c, summary_number(w, "interval_s")),
                       summary_text(w, "priority"));
        row(g, summary_text(w, "name"), text);
    }
    (void)snprintf(text, sizeof text,
                   "%s, %.0f processors, %s of memory; %s; load before %.1f; "
                   "processors idle for %.0f %% of the time",
                   summary_text(g->result, "machine.processor"),
                   summary_number(g->result, "machine.processors"),
                   summary_bytes(d, summary_number(g->result, "machine.memory")),
                   summary_text(g->result, "machine.kernel"),
                   summary_number(g->result, "machine.load_before"),
                   summary_number(g->result, "idle_share") * 100);
    row(g, "Machine", text);
    (void)snprintf(
        text, sizeof text, "relais %s (%s), store: %s; %s",
        summary_text(g->result, "machine.relais"), summary_text(g->result, "machine.commit"),
        summary_text(g->result, "scenario.store"), summary_text(g->result, "machine.when"));
    row(g, "Programs", text);
    (void)snprintf(text, sizeof text, "%s", summary_text(g->result, "link.emulator.how"));
    row(g, "The emulated line", text);
    (void)fputs("</table>\n", g->out);
}

static void warnings(struct page *g)
{
    const json_t *doubt;
    double n = summary_number(g->result, "scenario.compress");
    size_t i;
    json_array_foreach(json_object_get(g->result, "doubts"), i, doubt)
    {
        (void)fputs("<p class=\"warn\"><b>Do not rely on this run:</b> ", g->out);
        say(g, json_string_value(doubt));
        (void)fputs("</p>\n", g->out);
    }
    if (n > 1)
        (void)fprintf(
            g->out,
            "<p class=\"soft\">Time is compressed: the run takes one second for %.0f of "
            "the scenario's. Line, rates, and the interval of cuts are as in life; outages "
            "are shorter by that factor, so what piles up in them and the time to ship it "
            "are too, and are multiplied for the figures above. What guests overwrite "
            "again and again grows less than that in life: the figures are on the safe "
            "side. The plots show the run as it was.</p>\n",
            n);
}

/* ---- the page ---- */

static void open_page(struct page *g, FILE *out, const json_t *result)
{
    const json_t *o;
    double last;
    size_t i;
    *g = (struct page){.out = out, .result = result};
    g->series = json_object_get(result, "series");
    g->seconds = json_object_get(result, "seconds");
    g->count = json_array_size(json_object_get(g->series, "t_s"));
    g->t = numbers(json_object_get(g->series, "t_s"), 1, g->count);
    last = g->count ? g->t[g->count - 1] : 0;
    g->x_factor = last > 10 * MINUTE ? 1 / MINUTE : 1;
    g->x_unit = last > 10 * MINUTE ? "minutes of the run" : "seconds of the run";
    scale(g->t, g->count, g->x_factor);
    for (i = 0; i < SVG_BANDS && (o = json_array_get(json_object_get(result, "outages"), i)); i++) {
        char length[UNITS_TEXT];
        (void)snprintf(g->band_names[i], sizeof g->band_names[i], "outage of %s",
                       summary_time(length, summary_number(o, "real_length_s")));
        g->bands[g->band_count++] =
            (struct svg_band){summary_number(o, "begin_s") * g->x_factor,
                              summary_number(o, "end_s") * g->x_factor, g->band_names[i]};
    }
}

static void write_page(struct page *g)
{
    (void)fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                "<meta name=\"color-scheme\" content=\"light dark\"><title>relais over ",
                g->out);
    say(g, summary_text(g->result, "scenario.link"));
    (void)fprintf(g->out, "</title><style>%s</style></head>\n<body>\n<h1>relais over ", style);
    say(g, summary_text(g->result, "scenario.link"));
    (void)fputs("</h1>\n", g->out);
    (void)fputs("<p class=\"soft\">What replication makes of this line, measured with the real "
                "daemons over an emulated one.</p>\n",
                g->out);
    warnings(g);
    cards(g);
    plot_rpo(g);
    plot_backlog(g);
    plot_link(g);
    plot_guests(g);
    guest_rows(g);
    conditions(g);
    (void)fputs("</body></html>\n", g->out);
}

int report_write(const json_t *result, const char *path, struct err *e)
{
    bool to_stdout = strcmp(path, "-") == 0;
    struct page g;
    FILE *out;
    int bad;
    if (summary_number(result, "relais_bench") != 1 ||
        strcmp(summary_text(result, "kind"), "link") != 0)
        return err_set(e, ERR_INPUT, "no result of relais-bench link, or of another version");
    out = to_stdout ? stdout : fopen(path, "we");
    if (!out)
        return err_os(e, errno, "%s", path);
    open_page(&g, out, result);
    write_page(&g);
    free(g.t);
    bad = ferror(out);
    bad |= to_stdout ? fflush(out) != 0 : fclose(out) != 0;
    return bad ? err_os(e, errno ? errno : EIO, "%s", path) : 0;
}
