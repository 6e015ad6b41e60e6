#include "passphrase.h"

#include "bounds.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <sodium.h>

/* ---- the terminal ---- */

static int tty = -1;
static struct termios as_it_was;
static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
#define ENDINGS (sizeof ending / sizeof ending[0])

/* Whatever ends the program while somebody types leaves a terminal that echoes again. */
static void on_ending(int signo)
{
    (void)tcsetattr(tty, TCSAFLUSH, &as_it_was);
    (void)signal(signo, SIG_DFL);
    (void)raise(signo);
}

static int echo_off(struct sigaction before[ENDINGS + 1], struct err *e)
{
    struct sigaction ends = {.sa_handler = on_ending}, stops = {.sa_handler = SIG_IGN};
    struct termios quiet;
    if (tcgetattr(tty, &as_it_was) != 0)
        return err_os(e, errno, "the terminal");
    for (size_t i = 0; i < ENDINGS; i++)
        (void)sigaction(ending[i], &ends, &before[i]);
    (void)sigaction(SIGTSTP, &stops, &before[ENDINGS]);
    quiet = as_it_was;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    if (tcsetattr(tty, TCSAFLUSH, &quiet) != 0)
        return err_os(e, errno, "the terminal");
    return 0;
}

static void echo_on(const struct sigaction before[ENDINGS + 1])
{
    (void)tcsetattr(tty, TCSAFLUSH, &as_it_was);
    for (size_t i = 0; i < ENDINGS; i++)
        (void)sigaction(ending[i], &before[i], NULL);
    (void)sigaction(SIGTSTP, &before[ENDINGS], NULL);
}

/* The first line of fd, without its end; never more than cap bytes are kept. */
static int read_line(int fd, char *dst, size_t cap, size_t *len, struct err *e)
{
    char c = 0;
    *len = 0;
    for (;;) {
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_os(e, errno, "reading a passphrase");
        if (n == 0 || c == '\n' || c == '\r')
            break;
        if (*len == cap)
            return err_set(e, ERR_LIMIT, "a passphrase has at most %zu bytes", cap);
        dst[(*len)++] = c;
    }
    sodium_memzero(&c, sizeof c);
    if (*len == 0)
        return err_set(e, ERR_AUTH, "no passphrase was given");
    return 0;
}

static int from_terminal(const char *use, const char *what, char *dst, size_t cap, size_t *len,
                         struct err *e)
{
    struct sigaction before[ENDINGS + 1];
    int rc;
    tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0)
        return err_set(e, ERR_USAGE,
                       "%s needs a passphrase and there is no terminal to ask on: give "
                       "--passphrase-file FILE",
                       what);
    rc = echo_off(before, e);
    if (rc == 0) {
        (void)dprintf(tty, "%s of %s: ", use, what);
        rc = read_line(tty, dst, cap, len, e);
        echo_on(before);
        (void)dprintf(tty, "\n");
    }
    (void)close(tty);
    tty = -1;
    return rc;
}

/* ---- a file ---- */

static int from_file(const char *path, char *dst, size_t cap, size_t *len, struct err *e)
{
    struct stat st;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_os(e, errno, "the passphrase file %s", path);
    if (fstat(fd, &st) != 0)
        rc = err_os(e, errno, "the passphrase file %s", path);
    else if (S_ISREG(st.st_mode) && (st.st_mode & 077))
        rc = err_set(e, ERR_AUTH,
                     "the passphrase file %s may be used by others (mode %04o); do: chmod 600 %s",
                     path, (unsigned)(st.st_mode & 07777), path);
    else if (S_ISREG(st.st_mode) && st.st_uid != 0 && st.st_uid != geteuid())
        rc = err_set(e, ERR_AUTH, "the passphrase file %s belongs to user %u, who may change it",
                     path, (unsigned)st.st_uid);
    if (rc == 0 && (rc = read_line(fd, dst, cap, len, e)) != 0)
        rc = err_prefix(e, "%s", path);
    (void)close(fd);
    return rc;
}

static int ask(void *arg, const char *what, char *dst, size_t cap, size_t *len, struct err *e)
{
    const struct passphrase_source *s = arg;
    return s->file ? from_file(s->file, dst, cap, len, e)
                   : from_terminal(s->use, what, dst, cap, len, e);
}

struct key_asker passphrase_asker(struct passphrase_source *s)
{
    return (struct key_asker){ask, s};
}

/* What is typed unseen is typed twice. */
static int repeat(const char *what, const char *first, size_t len, struct err *e)
{
    char *again = sodium_malloc(PASSPHRASE_MAX);
    size_t n = 0;
    int rc;
    ASSERT(again);
    rc = from_terminal("the same once more, new passphrase", what, again, PASSPHRASE_MAX, &n, e);
    if (rc == 0 && (n != len || sodium_memcmp(first, again, len) != 0))
        rc = err_set(e, ERR_AUTH, "the two passphrases differ; nothing was changed");
    sodium_free(again);
    return rc;
}

int passphrase_new(char **out, size_t *len, const struct passphrase_source *s, const char *what,
                   struct err *e)
{
    char *pass = sodium_malloc(PASSPHRASE_MAX);
    int rc;
    ASSERT(pass);
    rc = ask((void *)(uintptr_t)s, what, pass, PASSPHRASE_MAX, len, e);
    if (rc == 0 && *len < PASSPHRASE_MIN)
        rc = err_set(e, ERR_AUTH,
                     "a passphrase has at least %u bytes: five words that nobody would guess are "
                     "good; nothing was changed",
                     PASSPHRASE_MIN);
    if (rc == 0 && !s->file)
        rc = repeat(what, pass, *len, e);
    if (rc != 0) {
        sodium_free(pass);
        return rc;
    }
    *out = pass;
    return 0;
}
