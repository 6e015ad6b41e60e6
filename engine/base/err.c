#include "err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int status;
} codes[] = {
#define X(name, status, meaning) {#name, status},
    ERR_CODES(X)
#undef X
};

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    e->code = code;
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    return -(int)code;
}

static enum err_code code_of_errno(int os)
{
    switch (os) {
    case ENOSPC:
    case EDQUOT:
        return ERR_SPACE;
    case ENOENT:
        return ERR_NOENT;
    case EEXIST:
        return ERR_EXISTS;
    case ECANCELED:
        return ERR_CANCELED;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return ERR_OS;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENOTCONN:
    case EPIPE:
    case ETIMEDOUT:
        return ERR_NET;
    default:
        return ERR_IO;
    }
}

int err_os(struct err *e, int os, const char *fmt, ...)
{
    va_list ap;
    size_t n;
    if (os < 0)
        os = -os;
    e->code = code_of_errno(os);
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    n = strlen(e->text);
    (void)snprintf(e->text + n, sizeof e->text - n, ": %s", strerror(os));
    return -(int)e->code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char rest[ERR_TEXT_MAX];
    va_list ap;
    size_t n;
    memcpy(rest, e->text, sizeof rest);
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    n = strlen(e->text);
    (void)snprintf(e->text + n, sizeof e->text - n, ": %s", rest);
    return -(int)e->code;
}

const char *err_name(enum err_code code)
{
    return (size_t)code < sizeof codes / sizeof codes[0] ? codes[code].name : "UNKNOWN";
}

int err_exit_status(enum err_code code)
{
    return (size_t)code < sizeof codes / sizeof codes[0] ? codes[code].status : 70;
}

void err_panic(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "relais: internal defect at %s:%d: %s\n", file, line, what);
    abort();
}

void *err_malloc(unsigned long size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        err_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

void *err_calloc(unsigned long n, unsigned long size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        err_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

void *err_realloc(void *p, unsigned long size)
{
    p = realloc(p, size ? size : 1);
    if (!p)
        err_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

char *err_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = err_malloc(n);
    memcpy(p, s, n);
    return p;
}
