#include "paths.h"

#include "err.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void path_format(char dst[PATH_CAP], const char *fmt, ...)
{
    va_list ap;
    int n;
    va_start(ap, fmt);
    n = vsnprintf(dst, PATH_CAP, fmt, ap);
    va_end(ap);
    ASSERT(n > 0 && (size_t)n < PATH_CAP);
}

void path_delta(char dst[PATH_CAP], const char *dir, uint64_t rp)
{
    path_format(dst, "%s/%016" PRIx64 ".delta", dir, rp);
}

void path_merged(char dst[PATH_CAP], const char *dir, uint64_t rp)
{
    path_format(dst, "%s/%016" PRIx64 ".merged", dir, rp);
}

void path_aside(char dst[PATH_CAP], const char *dir, uint64_t rp)
{
    path_format(dst, "%s/damaged-%016" PRIx64 ".delta", dir, rp);
}
