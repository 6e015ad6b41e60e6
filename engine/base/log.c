#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static enum log_level threshold = LOG_L_INFO;

void log_set_level(enum log_level level)
{
    threshold = level;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"", "", "", "error", "warning", "notice", "info", "debug"};
    char text[1024];
    va_list ap;
    if (level > threshold)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (getenv("JOURNAL_STREAM")) {
        (void)fprintf(stderr, "<%d>%s\n", (int)level, text);
    } else {
        struct timespec now;
        struct tm tm;
        char when[32];
        (void)clock_gettime(CLOCK_REALTIME, &now);
        (void)localtime_r(&now.tv_sec, &tm);
        (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
        (void)fprintf(stderr, "%s.%03ld %s: %s\n", when, now.tv_nsec / 1000000, names[level], text);
    }
}
