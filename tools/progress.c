#include "progress.h"

#include "fiber.h"
#include "units.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_NS (IO_S / 10)
#define LINE_NS   (5 * IO_S)
#define SAMPLE_NS (IO_S / 2)
#define BAR_MAX   30

void progress_start(struct progress *p, const char *title)
{
    *p = (struct progress){.tty = isatty(STDERR_FILENO) == 1};
    (void)snprintf(p->title, sizeof p->title, "%s", title);
    p->started = p->sample_at = io_now(fiber_io());
    /* A job that is done at once shows no progress at all. */
    p->next = p->started + (p->tty ? REDRAW_NS : LINE_NS);
}

static unsigned columns(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

static void draw(struct progress *p, const char *text)
{
    if (p->tty)
        (void)fprintf(stderr, "\r%.*s\033[K", (int)columns() - 1, text);
    else
        (void)fprintf(stderr, "relais: %s\n", text);
    (void)fflush(stderr);
    p->drawn = true;
}

static bool due(struct progress *p, uint64_t now)
{
    if (now < p->next)
        return false;
    p->next = now + (p->tty ? REDRAW_NS : LINE_NS);
    return true;
}

/* The last seconds count most: a WAN changes its mind. */
static void sample(struct progress *p, uint64_t now, uint64_t done)
{
    uint64_t dt = now - p->sample_at;
    double inst;
    if (p->sample_done == 0 && p->rate <= 0) {
        p->sample_done = done; /* what a resumed job begins with was not done now */
        p->sample_at = now;
        p->rate = 1e-9;
        return;
    }
    if (dt < SAMPLE_NS || done < p->sample_done)
        return;
    inst = (double)(done - p->sample_done) * 1e9 / (double)dt;
    p->rate = p->rate < 1e-6 ? inst : 0.8 * p->rate + 0.2 * inst;
    p->sample_at = now;
    p->sample_done = done;
}

void progress_update(struct progress *p, uint64_t done, uint64_t total, bool bytes)
{
    uint64_t now = io_now(fiber_io());
    char a[UNITS_TEXT], b[UNITS_TEXT], r[UNITS_TEXT], eta[UNITS_TEXT], bar[BAR_MAX + 1], text[400];
    unsigned width = columns() > 100 ? BAR_MAX : columns() > 80 ? 20 : 10, full;
    double part = total ? (double)(done < total ? done : total) / (double)total : 0;
    int n;
    sample(p, now, done);
    if (!due(p, now))
        return;
    full = (unsigned)(part * width);
    for (unsigned i = 0; i < width; i++)
        bar[i] = i < full ? '=' : i == full ? '>' : ' ';
    bar[width] = '\0';
    if (bytes)
        n = snprintf(text, sizeof text, "%s  %s%s%s%3.0f %%  %s of %s", p->title, p->tty ? "[" : "",
                     p->tty ? bar : "", p->tty ? "] " : "", part * 100, units_size(a, done),
                     units_size(b, total));
    else
        n = snprintf(text, sizeof text, "%s  %s%s%s%3.0f %%  %llu of %llu", p->title,
                     p->tty ? "[" : "", p->tty ? bar : "", p->tty ? "] " : "", part * 100,
                     (unsigned long long)done, (unsigned long long)total);
    if (bytes && p->rate >= 1 && done < total)
        (void)snprintf(text + n, sizeof text - (size_t)n, "  %s/s  ETA %s",
                       units_size(r, (uint64_t)p->rate),
                       units_duration(eta, (uint64_t)((double)(total - done) / p->rate * 1e9)));
    draw(p, text);
}

void progress_say(struct progress *p, const char *text)
{
    char line[256];
    if (!due(p, io_now(fiber_io())))
        return;
    (void)snprintf(line, sizeof line, "%s  %s", p->title, text);
    draw(p, line);
}

void progress_end(struct progress *p)
{
    if (p->tty && p->drawn)
        (void)fputs("\r\033[K", stderr);
    (void)fflush(stderr);
}
