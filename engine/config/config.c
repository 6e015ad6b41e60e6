#include "config.h"

#include "parser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int parse(struct config **out, const char *file, const char *text, size_t len, bool paths,
                 void (*report)(void *arg, int line, const char *text), void *arg, struct err *e)
{
    struct config *c = err_calloc(1, sizeof *c);
    struct parser p = {.config = c, .file = file, .report = report, .arg = arg};
    (void)snprintf(c->file, sizeof c->file, "%s", file);
    parser_read(&p, text, len);
    if (len <= CONFIG_FILE_MAX)
        check_whole(&p);
    /* Paths of a file with other problems are looked at too, where there are any to look at. */
    if (paths && parser_section(&p, SECTION_SITE, ""))
        check_paths(&p);
    parser_free(&p);
    if (p.problems == 0) {
        *out = c;
        return 0;
    }
    config_free(c);
    *e = p.first;
    if (p.problems > 1) {
        size_t n = strlen(e->text);
        (void)snprintf(e->text + n, sizeof e->text - n, " (and %u more problem%s)", p.problems - 1,
                       p.problems == 2 ? "" : "s");
    }
    return -(int)e->code;
}

int config_parse(struct config **out, const char *file, const char *text, size_t len,
                 void (*report)(void *arg, int line, const char *text), void *arg, struct err *e)
{
    return parse(out, file, text, len, false, report, arg, e);
}

/* The file names commands that the daemon runs, and keys that it trusts: whoever can write it can
 * do all that the daemon can. */
static int check_writers(int fd, const char *file, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_os(e, errno, "%s", file);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return err_set(e, ERR_CONFIG,
                       "%s belongs to user %u, who could have relaisd run any command; it must be "
                       "root's or the daemon's own: chown root %s",
                       file, (unsigned)st.st_uid, file);
    if (S_ISREG(st.st_mode) && (st.st_mode & 022))
        return err_set(e, ERR_CONFIG,
                       "%s may be written by others (mode %04o), who could have relaisd run any "
                       "command; do: chmod go-w %s",
                       file, (unsigned)(st.st_mode & 07777), file);
    return 0;
}

/* The file in malloc'd memory, one byte past the bound at most: config_parse then says so. */
static int slurp(char **text, size_t *len, const char *file, bool paths, struct err *e)
{
    size_t cap = CONFIG_FILE_MAX + 1, n = 0;
    char *buf;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int os = errno;
        return err_set(e, ERR_CONFIG, "%s: %s; name the configuration with -c FILE", file,
                       strerror(os));
    }
    if (paths && check_writers(fd, file, e) != 0) {
        (void)close(fd);
        return -(int)e->code;
    }
    buf = err_malloc(cap);
    while (n < cap) {
        ssize_t got = read(fd, buf + n, cap - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int os = errno;
            free(buf);
            (void)close(fd);
            (void)err_os(e, os, "%s", file);
            e->code = ERR_CONFIG;
            return -(int)e->code;
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    (void)close(fd);
    *text = buf;
    *len = n;
    return 0;
}

int config_load(struct config **out, const char *file, bool paths,
                void (*report)(void *arg, int line, const char *text), void *arg, struct err *e)
{
    char *text;
    size_t len;
    int res = slurp(&text, &len, file, paths, e);
    if (res != 0)
        return res;
    res = parse(out, file, text, len, paths, report, arg, e);
    free(text);
    return res;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->group_count; i++)
        free(c->groups[i].volumes);
    free(c->groups);
    free(c->peers);
    free(c);
}

const struct config_group *config_group(const struct config *c, const char *name)
{
    for (unsigned i = 0; i < c->group_count; i++)
        if (strcmp(c->groups[i].name, name) == 0)
            return &c->groups[i];
    return NULL;
}

const struct config_peer *config_peer(const struct config *c, const char *name)
{
    for (unsigned i = 0; i < c->peer_count; i++)
        if (strcmp(c->peers[i].name, name) == 0)
            return &c->peers[i];
    return NULL;
}

void config_keep(const struct config *c, const char *site, const char *group, struct keep *keep,
                 uint64_t *lock_ns)
{
    const struct config_peer *p = config_peer(c, site);
    *keep = c->keep;
    *lock_ns = p && p->lock_ns != CONFIG_AUTO ? p->lock_ns : c->lock_ns;
    for (unsigned i = 0; p && i < p->keep_count; i++)
        if (!*p->keeps[i].group)
            *keep = p->keeps[i].keep;
    for (unsigned i = 0; p && i < p->keep_count; i++)
        if (strcmp(p->keeps[i].group, group) == 0)
            *keep = p->keeps[i].keep;
}
