/* What the file names, against this machine: at start-up, synchronous. */
#include "parser.h"

#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void key_problem(struct parser *p, const struct section *s, const char *option,
                        const char *path, const char *what)
{
    parser_problem(p, parser_line(s, option), s, option_find(SECTION_SITE, option), path, "%s",
                   what);
}

/* The first two lines of a key file tell its kind (key.h draws it); the rest is for key.c. */
static bool key_file_is(int fd, const char *kind)
{
    char want[64], got[64];
    int n = snprintf(want, sizeof want, "relais key 1\nkind %s\n", kind);
    return pread(fd, got, (size_t)n, 0) == n && memcmp(got, want, (size_t)n) == 0;
}

static void check_key(struct parser *p, const struct section *s, const char *option,
                      const char *path, const char *kind)
{
    char text[192 + CONFIG_PATH_MAX];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        (void)snprintf(text, sizeof text,
                       errno == ENOENT ? "%s; make it: relais keygen %s %s" : "%s", strerror(errno),
                       kind, path);
        key_problem(p, s, option, path, text);
        return;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        key_problem(p, s, option, path, "not a file");
    } else if (st.st_mode & 077) {
        (void)snprintf(text, sizeof text, "others may read it (mode %03o); run: chmod 600 %s",
                       (unsigned)st.st_mode & 0777, path);
        key_problem(p, s, option, path, text);
    } else if (st.st_uid != 0 && st.st_uid != geteuid()) {
        (void)snprintf(text, sizeof text,
                       "belongs to user %u; it must be root's or the daemon's own",
                       (unsigned)st.st_uid);
        key_problem(p, s, option, path, text);
    } else if (!key_file_is(fd, kind)) {
        (void)snprintf(text, sizeof text,
                       "not a key file of kind %s; relais keygen %s FILE makes one", kind, kind);
        key_problem(p, s, option, path, text);
    }
    (void)close(fd);
}

/* A directory that is there and may be written, or that can be made. */
static void check_directory(struct parser *p, const struct section *s, const char *option,
                            const char *value, const char *path)
{
    char at[CONFIG_PATH_MAX];
    const struct option *o = option_find(s->kind, option);
    struct stat st;
    (void)snprintf(at, sizeof at, "%s", path);
    while (stat(at, &st) != 0) {
        char *slash = strrchr(at, '/');
        if (errno != ENOENT || !slash) {
            parser_problem(p, parser_line(s, option), s, o, value, "%s: %s", at, strerror(errno));
            return;
        }
        if (slash == at)
            slash++;
        *slash = '\0';
    }
    if (!S_ISDIR(st.st_mode))
        parser_problem(p, parser_line(s, option), s, o, value,
                       "%s is not a directory; move it away, or name another path", at);
    else if (faccessat(AT_FDCWD, at, W_OK | X_OK, AT_EACCESS) != 0)
        parser_problem(p, parser_line(s, option), s, o, value, "%s cannot be written: %s", at,
                       strerror(errno));
}

static void check_spool_space(struct parser *p, const struct section *s)
{
    char need[UNITS_TEXT], have[UNITS_TEXT];
    const struct config *c = p->config;
    struct statvfs fs;
    uint64_t total;
    if (statvfs(c->spool_dir, &fs) != 0)
        return; /* not made yet: check_directory has looked at it */
    total = (uint64_t)fs.f_blocks * fs.f_frsize;
    if (total < c->spool_reserve + 2 * c->delta_max)
        parser_problem(p, parser_line(s, "spool-reserve"), s,
                       option_find(SECTION_SITE, "spool-reserve"),
                       units_size(need, c->spool_reserve),
                       "the file system of %s has only %s; lower it, or use a larger one",
                       c->spool_dir, units_size(have, total));
}

struct seen_volume {
    dev_t dev;
    ino_t ino;
    const struct section *section;
};

static void check_volume(struct parser *p, const struct section *s, struct seen_volume *seen,
                         unsigned *count)
{
    const char *path = p->volumes[s->index].path;
    bool served = p->volumes[s->index].source == CONFIG_NBD;
    const struct option *o = option_find(SECTION_VOLUME, "path");
    char text[UNITS_TEXT], max[UNITS_TEXT];
    int line = parser_line(s, "path");
    struct stat st;
    off_t size;
    int fd = open(path, (served ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        parser_problem(p, line, s, o, path, "%s%s", strerror(errno),
                       errno == ENOENT ? "; name the raw image or block device" : "");
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    size = lseek(fd, 0, SEEK_END); /* works for block devices, where st_size is 0 */
    (void)close(fd);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        parser_problem(p, line, s, o, path, "neither a file nor a block device");
        return;
    }
    if (size <= 0)
        parser_problem(p, line, s, o, path, "it is empty; a volume has a fixed size");
    else if ((uint64_t)size > VOLUME_MAX)
        parser_problem(p, line, s, o, path, "%s large; at most %s are allowed",
                       units_size(text, (uint64_t)size), units_size(max, VOLUME_MAX));
    else if (size % 512)
        parser_problem(p, line, s, o, path,
                       "%lld bytes large, not a multiple of 512: no raw image (qcow2 is none)",
                       (long long)size);
    for (unsigned i = 0; i < *count; i++)
        if (S_ISREG(st.st_mode) && seen[i].dev == st.st_dev && seen[i].ino == st.st_ino &&
            strcmp(p->volumes[seen[i].section->index].path, path) != 0)
            parser_problem(p, line, s, o, path,
                           "the file of [%s] too; a volume belongs to one group",
                           seen[i].section->title);
    seen[(*count)++] = (struct seen_volume){st.st_dev, st.st_ino, s};
}

/* A number as chown takes it; UINT32_MAX when it is none. */
static uint32_t number(const char *word)
{
    char *end;
    unsigned long v = strtoul(word, &end, 10);
    return *word >= '0' && *word <= '9' && !*end && v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

static void resolve_owner(struct parser *p, const struct section *s, struct config_owner *o)
{
    const struct option *option = option_find(SECTION_VOLUME, "export-owner");
    const struct passwd *user = *o->user ? getpwnam(o->user) : NULL;
    const struct group *group = *o->group ? getgrnam(o->group) : NULL;
    o->uid = user ? user->pw_uid : number(o->user);
    o->gid = group ? group->gr_gid : number(o->group);
    if (*o->user && o->uid == UINT32_MAX)
        parser_problem(p, parser_line(s, "export-owner"), s, option, o->user,
                       "this machine knows no such user; getent passwd lists them");
    if (*o->group && o->gid == UINT32_MAX)
        parser_problem(p, parser_line(s, "export-owner"), s, option, o->group,
                       "this machine knows no such group; getent group lists them");
}

/* The volume as the groups have it by now. */
static struct config_volume *volume_of(struct parser *p, const struct section *s)
{
    for (unsigned i = 0; i < p->config->group_count; i++)
        for (unsigned k = 0; k < p->config->groups[i].volume_count; k++)
            if (p->config->groups[i].volumes[k].line == s->line)
                return &p->config->groups[i].volumes[k];
    return NULL;
}

static void check_export(struct parser *p, const struct section *s)
{
    char dir[CONFIG_SOCKET_MAX];
    const char *path = p->volumes[s->index].export.path;
    struct config_volume *v = volume_of(p, s);
    if (v)
        resolve_owner(p, s, &v->export_owner);
    if (!*path)
        return;
    (void)snprintf(dir, sizeof dir, "%s", path);
    *(strrchr(dir, '/') + (strrchr(dir, '/') == dir)) = '\0';
    check_directory(p, s, "export", path, dir);
}

void check_paths(struct parser *p)
{
    const struct section *site = parser_section(p, SECTION_SITE, "");
    const struct section *hub = parser_section(p, SECTION_HUB, "");
    const struct config *c = p->config;
    struct seen_volume *seen = err_calloc(p->volume_count, sizeof *seen);
    char dir[CONFIG_PATH_MAX];
    unsigned count = 0;
    ASSERT(site);
    check_key(p, site, "link-key", c->link_key_file, "link");
    if (c->group_count > 0) {
        check_key(p, site, "sign-key", c->sign_key_file, "sign");
        check_key(p, site, "hash-key", c->hash_key_file, "hash");
        check_directory(p, site, "spool", c->spool_dir, c->spool_dir);
        check_spool_space(p, site);
    }
    check_directory(p, site, "state", c->state_dir, c->state_dir);
    check_tls(p, site);
    (void)snprintf(dir, sizeof dir, "%s", c->control);
    *(strrchr(dir, '/') + (strrchr(dir, '/') == dir)) = '\0';
    check_directory(p, site, "control", c->control, dir);
    if (hub && strncmp(c->store, "dir:", 4) == 0)
        check_directory(p, hub, "store", c->store, c->store + 4);
    if (hub && strncmp(c->store, "rados:", 6) == 0) {
        const char *const names[] = {"ceph-conf", "ceph-keyring"};
        const char *const paths[] = {c->ceph_conf, c->ceph_keyring};
        for (unsigned i = 0; i < 2; i++)
            if (faccessat(AT_FDCWD, paths[i], R_OK, AT_EACCESS) != 0)
                parser_problem(p, parser_line(hub, names[i]), hub,
                               option_find(SECTION_HUB, names[i]), paths[i], "%s", strerror(errno));
    }
    for (unsigned i = 0; i < p->section_count; i++)
        if (p->sections[i].kind == SECTION_VOLUME) {
            check_volume(p, &p->sections[i], seen, &count);
            check_export(p, &p->sections[i]);
        }
    free(seen);
}
