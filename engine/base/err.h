/* err.h: what went wrong, said once, where it was first detected.
 *
 * A function that can fail takes a `struct err *e` last (never NULL) and returns 0, or the negative
 * code that err_set returned. Whoever detects the error writes the text: the thing, the value, what
 * to do. Callers add context with err_prefix and otherwise pass it on untouched; only the program's
 * outermost layer prints it. Programs exit with err_exit_status. */
#ifndef RELAIS_ERR_H
#define RELAIS_ERR_H

#include <stdarg.h>

/* Code, exit status (after sysexits(3) where it has one), meaning. */
#define ERR_CODES(X)                                                                               \
    X(OK, 0, "ok")                                                                                 \
    X(USAGE, 64, "the command line is wrong")                                                      \
    X(INPUT, 65, "malformed data")                                                                 \
    X(NOENT, 66, "no such thing")                                                                  \
    X(NET, 69, "the peer cannot be reached")                                                       \
    X(INTERNAL, 70, "a defect of relais")                                                          \
    X(OS, 71, "the system refused a resource")                                                     \
    X(EXISTS, 73, "the target exists")                                                             \
    X(IO, 74, "reading or writing failed")                                                         \
    X(AGAIN, 75, "not now; try again")                                                             \
    X(PROTO, 76, "the peer broke the protocol")                                                    \
    X(AUTH, 77, "a key, signature or tag does not fit")                                            \
    X(CONFIG, 78, "the configuration is wrong")                                                    \
    X(CORRUPT, 80, "bytes differ from their digest")                                               \
    X(CHAIN, 81, "history does not continue what is known")                                        \
    X(CONFLICT, 82, "somebody else moved it first")                                                \
    X(SPACE, 83, "no space or over budget")                                                        \
    X(LIMIT, 84, "a bound is exceeded")                                                            \
    X(CANCELED, 85, "stopped on request")

enum err_code {
#define X(name, status, meaning) ERR_##name,
    ERR_CODES(X)
#undef X
};

#define ERR_TEXT_MAX 512

struct err {
    enum err_code code;
    char text[ERR_TEXT_MAX];
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        ERR_OK, ""                                                                                 \
    }

/* Sets code and text (truncated to fit); returns -(int)code. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));

/* Same for a failed system call or io verb: `os` is errno or a negative errno; the code follows
 * from it (ENOSPC, EDQUOT: SPACE; ENOENT: NOENT; EEXIST: EXISTS; ECANCELED: CANCELED; ENOMEM,
 * EMFILE: OS; connection errors and timeouts: NET; else IO) and ": strerror" is appended to the
 * text. */
int err_os(struct err *e, int os, const char *fmt, ...) __attribute__((format(printf, 3, 4), cold));

/* Puts "context: " before the text that is there; returns -(int)e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

/* "NOENT" and so on; never NULL. */
const char *err_name(enum err_code code);
int err_exit_status(enum err_code code);

/* An impossible state: prints file, line and text to stderr and aborts. Stays on in production:
 * a daemon that stops loses nothing, one that goes on with a broken invariant might. */
#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            err_panic(__FILE__, __LINE__, #cond);                                                  \
    } while (0)

_Noreturn void err_panic(const char *file, int line, const char *what);

/* malloc family that cannot fail: out of memory ends the program (see ASSERT). For sizes bounded by
 * bounds.h only. */
void *err_malloc(unsigned long size) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *err_calloc(unsigned long n, unsigned long size)
    __attribute__((malloc, alloc_size(1, 2), returns_nonnull));
void *err_realloc(void *p, unsigned long size) __attribute__((alloc_size(2), returns_nonnull));
char *err_strdup(const char *s) __attribute__((malloc, returns_nonnull));

#endif
