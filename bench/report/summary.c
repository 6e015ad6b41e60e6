#include "summary.h"

#include "units.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- fields ---- */

static const json_t *at(const json_t *root, const char *path)
{
    char name[64];
    while (root && *path) {
        size_t n = strcspn(path, ".");
        (void)snprintf(name, sizeof name, "%.*s", (int)n, path);
        root = json_object_get(root, name);
        path += n + (path[n] == '.');
    }
    return root;
}

double summary_number(const json_t *root, const char *path)
{
    const json_t *v = at(root, path);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

const char *summary_text(const json_t *root, const char *path)
{
    const json_t *v = at(root, path);
    return json_is_string(v) ? json_string_value(v) : "";
}

/* ---- figures ---- */

char *summary_time(char *dst, double s)
{
    if (!isfinite(s))
        (void)snprintf(dst, UNITS_TEXT, "–");
    else if (s < 0.001)
        (void)snprintf(dst, UNITS_TEXT, "%.0f µs", s * 1e6);
    else if (s < 0.1)
        (void)snprintf(dst, UNITS_TEXT, "%.1f ms", s * 1e3);
    else if (s < 1)
        (void)snprintf(dst, UNITS_TEXT, "%.0f ms", s * 1e3);
    else if (s < 60)
        (void)snprintf(dst, UNITS_TEXT, "%.1f s", s);
    else
        (void)units_duration(dst, (uint64_t)(s * 1e9));
    return dst;
}

char *summary_bytes(char *dst, double bytes)
{
    if (!isfinite(bytes) || bytes < 0)
        (void)snprintf(dst, UNITS_TEXT, "–");
    else
        (void)units_size(dst, (uint64_t)bytes);
    return dst;
}

char *summary_bits(char *dst, double bits)
{
    if (!isfinite(bits) || bits < 0)
        (void)snprintf(dst, UNITS_TEXT, "–");
    else
        (void)units_bitrate(dst, bits / 8);
    return dst;
}

/* ---- lines ---- */

struct list {
    struct summary_line *lines;
    unsigned count;
};

static struct summary_line *add(struct list *l, const char *name)
{
    struct summary_line *s;
    if (l->count == SUMMARY_LINES)
        l->count--;
    s = &l->lines[l->count++];
    memset(s, 0, sizeof *s);
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    return s;
}

static void add_outages(struct list *l, const json_t *result)
{
    const json_t *o;
    size_t i;
    json_array_foreach(json_object_get(result, "outages"), i, o)
    {
        char length[UNITS_TEXT], took[UNITS_TEXT], backlog[UNITS_TEXT], run[UNITS_TEXT],
            again[UNITS_TEXT];
        double caught = summary_number(o, "caught_up_s");
        double real = summary_number(o, "real_length_s"), begin = summary_number(o, "begin_s"),
               end = summary_number(o, "end_s");
        struct summary_line *s = add(l, "Catching up after an outage");
        (void)summary_time(length, real);
        (void)summary_time(took, summary_number(o, "real_caught_up_s"));
        (void)summary_bytes(backlog, summary_number(o, "real_backlog_bytes"));
        (void)summary_time(run, end - begin);
        if (isnan(caught)) {
            (void)snprintf(s->figure, sizeof s->figure, "not within the run");
            (void)snprintf(s->meaning, sizeof s->meaning,
                           "After an outage of %s the hub did not have all before the run ended.",
                           length);
            continue;
        }
        (void)snprintf(s->figure, sizeof s->figure, "%s", took);
        (void)snprintf(s->meaning, sizeof s->meaning,
                       "After an outage of %s all was caught up in %s; %s were waiting.", length,
                       took, backlog);
        if (real > end - begin + 0.5) {
            size_t n = strlen(s->meaning);
            (void)snprintf(s->meaning + n, sizeof s->meaning - n, " (Run as %s, caught up in %s.)",
                           run, summary_time(again, caught));
        }
    }
}

static void add_rpo(struct list *l, const json_t *result)
{
    char p50[UNITS_TEXT], p99[UNITS_TEXT], most[UNITS_TEXT];
    struct summary_line *s = add(l, "Data at risk (RPO)");
    (void)summary_time(p50, summary_number(result, "rpo_steady.p50_s"));
    (void)summary_time(p99, summary_number(result, "rpo_steady.p99_s"));
    (void)summary_time(most, summary_number(result, "rpo.max_s"));
    (void)snprintf(s->figure, sizeof s->figure, "%s", p50);
    (void)snprintf(s->meaning, sizeof s->meaning,
                   "While the line works, half the time less than %s of work would be lost, and 99 "
                   "%% of the time less than %s. The worst of the %s: %s.",
                   p50, p99,
                   summary_number(result, "scenario.compress") > 1 ? "run, with its shorter outages"
                                                                   : "whole run",
                   most);
}

static void add_latency(struct list *l, const json_t *result)
{
    const json_t *g;
    size_t i;
    json_array_foreach(json_object_get(result, "guests"), i, g)
    {
        char with[UNITS_TEXT], without[UNITS_TEXT], w99[UNITS_TEXT], o99[UNITS_TEXT];
        double a = summary_number(g, "with.write.p50_s"),
               b = summary_number(g, "without.write.p50_s");
        struct summary_line *s;
        if (isnan(a))
            continue;
        s = add(l, "A write of ");
        (void)snprintf(s->name, sizeof s->name, "A write of \"%.40s\"", summary_text(g, "name"));
        (void)summary_time(with, a);
        (void)summary_time(w99, summary_number(g, "with.write.p99_s"));
        (void)summary_time(without, b);
        (void)summary_time(o99, summary_number(g, "without.write.p99_s"));
        (void)snprintf(s->figure, sizeof s->figure, "%s", with);
        if (isnan(b))
            (void)snprintf(s->meaning, sizeof s->meaning, "Median; 99 %% take less than %s.", w99);
        else
            (void)snprintf(s->meaning, sizeof s->meaning,
                           "Median with replication; %s with a plain NBD server (%s). 99 %% take "
                           "less than %s; %s without.",
                           without, summary_text(result, "baseline_server"), w99, o99);
    }
}

static void add_bytes(struct list *l, const json_t *result)
{
    char shipped[UNITS_TEXT], changed[UNITS_TEXT], written[UNITS_TEXT], rate[UNITS_TEXT],
        busiest[UNITS_TEXT];
    struct summary_line *s = add(l, "Bytes over the line");
    (void)summary_bytes(shipped, summary_number(result, "bytes.wire_up"));
    (void)summary_bytes(changed, summary_number(result, "bytes.changed"));
    (void)summary_bytes(written, summary_number(result, "bytes.written"));
    (void)snprintf(s->figure, sizeof s->figure, "%s", shipped);
    if (summary_number(result, "bytes.changed") > 0)
        (void)snprintf(
            s->meaning, sizeof s->meaning,
            "For %s that had changed (guests wrote %s): %.2f bytes on the line for each.", changed,
            written,
            summary_number(result, "bytes.wire_up") / summary_number(result, "bytes.changed"));
    else
        (void)snprintf(s->meaning, sizeof s->meaning,
                       "Guests wrote nothing: what it takes to keep the connection.");
    s = add(l, "Use of the line");
    (void)summary_bits(rate, summary_number(result, "scenario.up.rate_bits"));
    (void)summary_bits(busiest, summary_number(result, "link.busiest_5s_up_bits"));
    (void)snprintf(s->figure, sizeof s->figure, "%.0f %%",
                   summary_number(result, "link.busiest_5s_up_share") * 100);
    (void)snprintf(s->meaning, sizeof s->meaning, "Of its %s up, in the busiest 5 s: %s.", rate,
                   busiest);
}

static void add_costs(struct list *l, const json_t *result)
{
    char site[UNITS_TEXT], hub[UNITS_TEXT], spool[UNITS_TEXT];
    struct summary_line *s = add(l, "Processor time");
    (void)snprintf(s->figure, sizeof s->figure, "%.1f s per GiB",
                   summary_number(result, "site.cpu_s_per_gib_changed"));
    (void)snprintf(s->meaning, sizeof s->meaning,
                   "Of the site, for each GiB that changed; of the hub: %.1f s.",
                   summary_number(result, "hub.cpu_s_per_gib_changed"));
    s = add(l, "Memory and spool at most");
    (void)summary_bytes(site, summary_number(result, "site.memory_peak_bytes"));
    (void)summary_bytes(hub, summary_number(result, "hub.memory_peak_bytes"));
    (void)summary_bytes(spool, summary_number(result, "spool_peak_bytes"));
    (void)snprintf(s->figure, sizeof s->figure, "%s", site);
    (void)snprintf(s->meaning, sizeof s->meaning,
                   "Memory of the site; of the hub %s. On the site's disk %s were waiting at most.",
                   hub, spool);
}

static void add_restore(struct list *l, const json_t *result)
{
    char took[UNITS_TEXT], size[UNITS_TEXT], wire[UNITS_TEXT];
    struct summary_line *s;
    if (!json_is_object(json_object_get(result, "restore")))
        return;
    s = add(l, "Restore over the line");
    (void)summary_time(took, summary_number(result, "restore.seconds"));
    (void)summary_bytes(size, summary_number(result, "restore.volume_bytes"));
    (void)summary_bytes(wire, summary_number(result, "restore.wire_down_bytes"));
    (void)snprintf(s->figure, sizeof s->figure, "%s", took);
    (void)snprintf(s->meaning, sizeof s->meaning,
                   "For volumes of %s, of which %s came over the line; %s.", size, wire,
                   json_is_true(at(result, "restore.equal"))
                       ? "compared byte by byte with the originals: equal"
                       : "they DIFFER from the originals");
}

unsigned summary_lines(struct summary_line lines[SUMMARY_LINES], const json_t *result)
{
    struct list l = {.lines = lines};
    add_outages(&l, result);
    add_rpo(&l, result);
    add_latency(&l, result);
    add_bytes(&l, result);
    add_restore(&l, result);
    add_costs(&l, result);
    return l.count;
}

void summary_print(FILE *out, const json_t *result)
{
    struct summary_line lines[SUMMARY_LINES];
    unsigned n = summary_lines(lines, result);
    const json_t *doubt;
    size_t i;
    (void)fprintf(out, "%s\n", summary_text(result, "scenario.link"));
    for (unsigned k = 0; k < n; k++)
        (void)fprintf(out, "  %-28s  %14s  %s\n", lines[k].name, lines[k].figure, lines[k].meaning);
    json_array_foreach(json_object_get(result, "doubts"), i, doubt)(void)
        fprintf(out, "  DOUBTFUL: %s\n", json_string_value(doubt));
}
