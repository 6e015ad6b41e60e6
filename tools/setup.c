#include "setup.h"

#include "passphrase.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

int setup_begin(struct setup *s, const char *config_file, struct err *e)
{
    char *slash;
    if (*config_file != '/' || strlen(config_file) + 32 >= sizeof s->dir)
        return err_set(e, ERR_USAGE, "-c %.80s: an absolute path is needed here", config_file);
    s->config_file = config_file;
    (void)snprintf(s->dir, sizeof s->dir, "%s", config_file);
    slash = strrchr(s->dir, '/');
    slash[slash == s->dir] = '\0';
    s->text = err_calloc(1, SETUP_TEXT_MAX);
    return 0;
}

void setup_end(struct setup *s)
{
    free(s->text);
    s->text = NULL;
}

int setup_check_new(const struct setup *s, struct err *e)
{
    struct stat st;
    if (lstat(s->config_file, &st) != 0)
        return 0;
    return err_set(e, ERR_EXISTS,
                   "%s exists, and is left as it is: this machine is set up already. relais config "
                   "check says whether it is good",
                   s->config_file);
}

/* ---- keys ---- */

static int make_dir(const struct setup *s, struct err *e)
{
    if (mkdir(s->dir, 0755) != 0 && errno != EEXIST)
        return err_os(e, errno, "%s", s->dir);
    return 0;
}

static int save_new(const char *path, const struct key_secret *k, const char *passphrase_file,
                    struct err *e)
{
    const struct passphrase_source source = {passphrase_file, "new passphrase"};
    struct key_passphrase pass = {0};
    char *text = NULL;
    int res = 0;
    if (key_kind(k) == KEY_RESTORE)
        res = passphrase_new(&text, &pass.len, &source, path, e);
    if (res != 0)
        return res;
    pass.text = text;
    res = key_file_save(path, k, text ? &pass : NULL, e);
    sodium_free(text);
    return res;
}

int setup_key(struct key_secret **out, const struct setup *s, enum key_kind kind,
              const char *passphrase_file, struct err *e)
{
    struct passphrase_source source = {passphrase_file, "passphrase"};
    const struct key_asker asker = passphrase_asker(&source);
    char path[CONFIG_PATH_MAX + 16];
    struct stat st;
    int res;
    (void)snprintf(path, sizeof path, "%s/%s.key", s->dir, key_kind_name(kind));
    if (lstat(path, &st) == 0) {
        res = key_file_load(out, kind, path, kind == KEY_RESTORE ? &asker : NULL, e);
        if (res == 0)
            (void)fprintf(stderr, "kept      %s\n", path);
        return res;
    }
    *out = key_generate(kind, NULL);
    if (s->dry) {
        (void)fprintf(stderr, "would make %s\n", path);
        return 0;
    }
    res = make_dir(s, e);
    if (res == 0)
        res = save_new(path, *out, passphrase_file, e);
    if (res == 0) {
        (void)fprintf(stderr, "made      %s\n", path);
        return 0;
    }
    key_free(*out);
    *out = NULL;
    return res;
}

/* ---- relais.conf ---- */

void setup_add(struct setup *s, const char *fmt, ...)
{
    va_list ap;
    int n;
    va_start(ap, fmt);
    n = vsnprintf(s->text + s->len, SETUP_TEXT_MAX - s->len, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0 && (size_t)n < SETUP_TEXT_MAX - s->len);
    s->len += (size_t)n;
}

void setup_add_site(struct setup *s, const char *name)
{
    setup_add(s, "[site]\nname = %s\n", name);
    if (s->state)
        setup_add(s, "state = %s\nspool = %s/spool\n", s->state, s->state);
    if (s->control)
        setup_add(s, "control = %s\n", s->control);
    if (strcmp(s->dir, "/etc/relais") != 0)
        setup_add(s, "link-key = %s/link.key\nsign-key = %s/sign.key\nhash-key = %s/hash.key\n",
                  s->dir, s->dir, s->dir);
}

static void report(void *arg, int line, const char *text)
{
    (void)arg;
    (void)fprintf(stderr, "relais: line %d: %s\n", line, text);
}

/* Under a name of its own first: a crash leaves all of it or nothing. */
static int write_new(const struct setup *s, struct err *e)
{
    char beside[CONFIG_PATH_MAX + 16];
    int fd, os = 0;
    size_t at = 0;
    (void)snprintf(beside, sizeof beside, "%s.new", s->config_file);
    fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_os(e, errno, "%s", beside);
    if (fchmod(fd, 0644) != 0)
        os = errno;
    while (at < s->len && !os) {
        ssize_t n = write(fd, s->text + at, s->len - at);
        if (n < 0 && errno != EINTR)
            os = errno;
        else if (n > 0)
            at += (size_t)n;
    }
    if (!os && fsync(fd) != 0)
        os = errno;
    (void)close(fd);
    /* link(2) never replaces what is there. */
    if (!os && link(beside, s->config_file) != 0)
        os = errno;
    (void)unlink(beside);
    if (!os && (fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0) {
        if (fsync(fd) != 0)
            os = errno;
        (void)close(fd);
    }
    return os ? err_os(e, os, "%s", s->config_file) : 0;
}

int setup_write(struct setup *s, struct err *e)
{
    struct config *c = NULL;
    int res = config_parse(&c, s->config_file, s->text, s->len, report, NULL, e);
    if (res != 0) {
        e->code = ERR_INTERNAL;
        return err_prefix(e, "what would have been written is not right");
    }
    config_free(c);
    if (s->dry) {
        (void)fprintf(stderr, "would write %s:\n", s->config_file);
        (void)fwrite(s->text, 1, s->len, stdout);
        return 0;
    }
    res = make_dir(s, e);
    if (res == 0)
        res = write_new(s, e);
    if (res == 0)
        (void)fprintf(stderr, "wrote     %s\n", s->config_file);
    return res;
}

int setup_slurp(char **out, size_t *len, const char *path, size_t max, struct err *e)
{
    FILE *f = fopen(path, "re");
    int res = 0;
    if (!f)
        return err_os(e, errno, "%s", path);
    *out = err_malloc(max + 1);
    *len = fread(*out, 1, max + 1, f);
    if (ferror(f))
        res = err_os(e, errno, "%s", path);
    else if (*len > max)
        res = err_set(e, ERR_LIMIT, "%s has more than %zu bytes", path, max);
    (void)fclose(f);
    if (res != 0) {
        free(*out);
        *out = NULL;
    }
    return res;
}

/* ---- questions ---- */

bool setup_ask(char *dst, size_t cap, const char *fmt, ...)
{
    va_list ap;
    size_t n;
    if (isatty(STDIN_FILENO) != 1)
        return false;
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fflush(stderr);
    if (!fgets(dst, (int)cap, stdin))
        return false;
    n = strcspn(dst, "\r\n");
    while (n > 0 && isspace((unsigned char)dst[n - 1]))
        n--;
    dst[n] = '\0';
    return true;
}

bool setup_confirm(const char *question)
{
    char answer[16];
    return setup_ask(answer, sizeof answer, "%s [y/N] ", question) &&
           (strcmp(answer, "y") == 0 || strcmp(answer, "yes") == 0);
}
