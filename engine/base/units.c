#include "units.h"

#include "err.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)

/* Years that an int64 of nanoseconds can hold, with room for any offset. */
#define YEAR_MIN 1970
#define YEAR_MAX 2261

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_spaces(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* A decimal number: whole part, then up to nine digits of fraction in units of 1e-9. */
struct number {
    uint64_t whole, frac;
    bool has_frac;
};

static const char *number_parse(struct number *n, const char *p)
{
    uint64_t scale = NS_PER_S;
    *n = (struct number){0, 0, false};
    if (!is_digit(*p))
        return NULL;
    for (; is_digit(*p); p++)
        if (__builtin_mul_overflow(n->whole, 10u, &n->whole) ||
            __builtin_add_overflow(n->whole, (uint64_t)(*p - '0'), &n->whole))
            return NULL;
    if (*p != '.')
        return p;
    p++;
    if (!is_digit(*p))
        return NULL;
    n->has_frac = true;
    for (; is_digit(*p); p++) {
        if (scale == 1)
            return NULL; /* finer than anybody means */
        scale /= 10;
        n->frac += (uint64_t)(*p - '0') * scale;
    }
    return p;
}

/* n * unit, rounded down; -1 past UINT64_MAX. */
static int number_times(uint64_t *out, const struct number *n, uint64_t unit)
{
    unsigned __int128 v = (unsigned __int128)n->whole * unit;
    v += (unsigned __int128)n->frac * unit / NS_PER_S;
    if (v > UINT64_MAX)
        return -1;
    *out = (uint64_t)v;
    return 0;
}

/* A number and, if there is one, a letter of `letters`, each `step` times the one before it.
 * Returns what follows, or NULL. */
static const char *prefixed_parse(struct number *n, uint64_t *unit, const char *text,
                                  const char *letters, unsigned step)
{
    const char *p = number_parse(n, skip_spaces(text)), *letter;
    *unit = 1;
    if (!p)
        return NULL;
    p = skip_spaces(p);
    letter = *p ? strchr(letters, *p | 0x20) : NULL;
    for (long i = letter ? letter - letters + 1 : 0; i > 0; i--)
        *unit *= step;
    return letter ? p + 1 : p;
}

int units_parse_size(uint64_t *out, const char *text)
{
    struct number n;
    uint64_t unit;
    const char *p = prefixed_parse(&n, &unit, text, "kmgtpe", 1024);
    if (!p)
        return -1;
    if (unit > 1) {
        /* "KB" is refused: half of the world means 1000 by it. */
        if (p[0] == 'i' && (p[1] == 'B' || p[1] == 'b'))
            p += 2;
    } else if (*p == 'B') {
        p++;
    }
    if (*skip_spaces(p) || (unit == 1 && n.has_frac))
        return -1;
    return number_times(out, &n, unit);
}

int units_parse_duration(uint64_t *out_ns, const char *text)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {
        /* A name that starts with another comes first. */
        {"min", 60 * NS_PER_S},
        {"ms", 1000000},
        {"us", 1000},
        {"ns", 1},
        {"s", NS_PER_S},
        {"h", 3600 * NS_PER_S},
        {"d", 24 * 3600 * NS_PER_S},
        {"w", 7 * 24 * 3600 * NS_PER_S},
    };
    const size_t count = sizeof units / sizeof units[0];
    const char *p = skip_spaces(text);
    uint64_t sum = 0;
    do {
        struct number n;
        uint64_t term;
        size_t i = 0;
        p = number_parse(&n, p);
        if (!p)
            return -1;
        p = skip_spaces(p);
        while (i < count && strncmp(p, units[i].name, strlen(units[i].name)) != 0)
            i++;
        if (i == count || number_times(&term, &n, units[i].ns) != 0 ||
            __builtin_add_overflow(sum, term, &sum))
            return -1;
        p = skip_spaces(p + strlen(units[i].name));
    } while (*p);
    *out_ns = sum;
    return 0;
}

int units_parse_bitrate(uint64_t *out, const char *text)
{
    struct number n;
    uint64_t unit;
    const char *p = prefixed_parse(&n, &unit, text, "kmgt", 1000);
    if (!p)
        return -1;
    if (strncmp(p, "bit", 3) != 0 || (unit == 1 && n.has_frac))
        return -1;
    p += 3;
    if (strncmp(p, "/s", 2) == 0)
        p += 2;
    return *skip_spaces(p) ? -1 : number_times(out, &n, unit);
}

/* Exactly `digits` digits, and no digit behind them; NULL otherwise. */
static const char *field(int *out, const char *p, unsigned digits)
{
    *out = 0;
    for (unsigned i = 0; i < digits; i++, p++) {
        if (!is_digit(*p))
            return NULL;
        *out = *out * 10 + (*p - '0');
    }
    return is_digit(*p) ? NULL : p;
}

/* "Z", "+01:00" -> seconds east of Greenwich; NULL when malformed. */
static const char *zone_parse(int *east, const char *p)
{
    int h, m, sign = *p == '-' ? -1 : 1;
    *east = 0;
    if (*p == 'Z' || *p == 'z')
        return p + 1;
    if (*p != '+' && *p != '-')
        return NULL;
    if (!(p = field(&h, p + 1, 2)) || *p != ':' || !(p = field(&m, p + 1, 2)) || h > 23 || m > 59)
        return NULL;
    *east = sign * (h * 3600 + m * 60);
    return p;
}

static const char *clock_parse(struct tm *tm, uint64_t *frac, const char *p)
{
    struct number n;
    if (!(p = field(&tm->tm_hour, p, 2)) || *p != ':' || !(p = field(&tm->tm_min, p + 1, 2)))
        return NULL;
    if (*p == ':') {
        if (!is_digit(p[1]) || !is_digit(p[2]) || !(p = number_parse(&n, p + 1)) || n.whole > 59)
            return NULL;
        tm->tm_sec = (int)n.whole;
        *frac = n.frac;
    }
    return tm->tm_hour <= 23 && tm->tm_min <= 59 ? p : NULL;
}

int units_parse_time(int64_t *out_ns, const char *text, int64_t now_ns)
{
    struct tm tm = {0}, check;
    const char *p = skip_spaces(text);
    uint64_t frac = 0, ago;
    time_t t;
    int east;
    if (*p == '-') {
        if (units_parse_duration(&ago, p + 1) != 0 || ago > INT64_MAX)
            return -1;
        return __builtin_sub_overflow(now_ns, (int64_t)ago, out_ns) ? -1 : 0;
    }
    if (!(p = field(&tm.tm_year, p, 4)) || *p != '-' || !(p = field(&tm.tm_mon, p + 1, 2)) ||
        *p != '-' || !(p = field(&tm.tm_mday, p + 1, 2)))
        return -1;
    if (tm.tm_year < YEAR_MIN || tm.tm_year > YEAR_MAX)
        return -1;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if ((*p == 'T' || *p == 't' || *p == ' ') && is_digit(*skip_spaces(p + 1)) &&
        !(p = clock_parse(&tm, &frac, skip_spaces(p + 1))))
        return -1;
    /* timegm normalises "February 30"; the date must come back as it went in. */
    check = tm;
    t = timegm(&check);
    if (check.tm_mday != tm.tm_mday || check.tm_mon != tm.tm_mon)
        return -1;
    p = skip_spaces(p);
    if (*p) {
        if (!(p = zone_parse(&east, p)) || *skip_spaces(p))
            return -1;
        t -= east;
    } else {
        tm.tm_isdst = -1;
        t = mktime(&tm);
    }
    *out_ns = (int64_t)t * (int64_t)NS_PER_S + (int64_t)frac;
    return 0;
}

char *units_size(char *dst, uint64_t bytes)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    unsigned i = 0;
    if (bytes < 1024) {
        (void)snprintf(dst, UNITS_TEXT, "%u B", (unsigned)bytes);
        return dst;
    }
    /* 1023.95 prints as 1024.0: one unit up. */
    while (i + 1 < sizeof names / sizeof names[0] && v >= 1023.95) {
        v /= 1024;
        i++;
    }
    (void)snprintf(dst, UNITS_TEXT, "%.1f %s", v, names[i]);
    return dst;
}

static char *two_units(char *dst, uint64_t big, const char *big_name, uint64_t small,
                       const char *small_name)
{
    if (small == 0)
        (void)snprintf(dst, UNITS_TEXT, "%llu %s", (unsigned long long)big, big_name);
    else
        (void)snprintf(dst, UNITS_TEXT, "%llu %s %llu %s", (unsigned long long)big, big_name,
                       (unsigned long long)small, small_name);
    return dst;
}

char *units_duration(char *dst, uint64_t ns)
{
    uint64_t ms = ns / 1000000 + (ns % 1000000 >= 500000);
    uint64_t tenths = ns / (NS_PER_S / 10) + (ns % (NS_PER_S / 10) >= NS_PER_S / 20);
    uint64_t s = ns / NS_PER_S + (ns % NS_PER_S >= NS_PER_S / 2);
    if (ms == 0)
        (void)snprintf(dst, UNITS_TEXT, "0 s");
    else if (ms < 1000)
        (void)snprintf(dst, UNITS_TEXT, "%u ms", (unsigned)ms);
    else if (tenths < 600)
        (void)snprintf(dst, UNITS_TEXT, "%u.%u s", (unsigned)(tenths / 10),
                       (unsigned)(tenths % 10));
    else if (s < 3600)
        return two_units(dst, s / 60, "min", s % 60, "s");
    else if (s < 86400)
        return two_units(dst, s / 3600, "h", s % 3600 / 60, "min");
    else
        return two_units(dst, s / 86400, "d", s % 86400 / 3600, "h");
    return dst;
}

char *units_bitrate(char *dst, double bytes_per_s)
{
    static const char *const names[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};
    double v = bytes_per_s * 8;
    unsigned i = 0;
    if (!(v >= 0.5)) { /* also NaN */
        (void)snprintf(dst, UNITS_TEXT, "0 bit/s");
        return dst;
    }
    while (i + 1 < sizeof names / sizeof names[0] && v >= 999.95) {
        v /= 1000;
        i++;
    }
    (void)snprintf(dst, UNITS_TEXT, i ? "%.1f %s" : "%.0f %s", v, names[i]);
    return dst;
}

char *units_time(char *dst, int64_t ns)
{
    int64_t s = ns / (int64_t)NS_PER_S, rest = ns % (int64_t)NS_PER_S;
    struct tm tm;
    time_t t;
    size_t n;
    if (rest < 0) {
        s--;
        rest += (int64_t)NS_PER_S;
    }
    t = (time_t)s;
    ASSERT(gmtime_r(&t, &tm));
    n = strftime(dst, UNITS_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(dst + n, UNITS_TEXT - n, ".%03dZ", (int)(rest / 1000000));
    return dst;
}
