/* relais config: checks relais.conf as the daemon would, prints the reference of its options. */
#include "command.h"

#include "footprint.h"
#include "register.h"
#include "setup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <string.h>

static void report(void *arg, int line, const char *text)
{
    const char *file = arg;
    if (line)
        (void)fprintf(stderr, "%s:%d: %s\n", file, line, text);
    else
        (void)fprintf(stderr, "%s: %s\n", file, text);
}

/* The volumes are there: the configuration was checked against this machine. */
static uint64_t size_of(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    if (fd >= 0)
        (void)close(fd);
    return size > 0 ? (uint64_t)size : 0;
}

static void print_memory(const struct config *c, unsigned volumes)
{
    uint64_t *sizes = err_calloc(volumes + 1, sizeof *sizes);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    struct footprint f;
    unsigned n = 0;
    for (unsigned i = 0; i < c->group_count; i++)
        for (unsigned k = 0; k < c->groups[i].volume_count; k++)
            sizes[n++] = size_of(c->groups[i].volumes[k].path);
    footprint_of(c, c->workers ? c->workers : online > 0 ? (unsigned)online : 1, sizes, &f);
    (void)printf(
        "memory: at most %llu MiB, and up to %llu MiB more when most of the volumes is dirty\n",
        (unsigned long long)(f.total / MIB), (unsigned long long)(f.dirty_max / MIB));
    free(sizes);
}

/* What the hub keeps of its own accord beside the file that is checked. */
static int print_enrolled(const struct config *c, struct err *e)
{
    char path[CONFIG_PATH_MAX + 32];
    struct enrolled r;
    char *text = NULL;
    size_t len = 0;
    int res;
    (void)snprintf(path, sizeof path, "%s/" REGISTER_FILE, c->state_dir);
    res = setup_slurp(&text, &len, path, REGISTER_FILE_MAX, e);
    if (res == -ERR_NOENT)
        return 0;
    if (res == 0 && (res = register_parse(&r, text, len, e)) != 0)
        (void)err_prefix(e, "%s", path);
    free(text);
    if (res != 0)
        return res;
    for (unsigned i = 0; i < r.member_count; i++) {
        const struct register_member *m = &r.members[i];
        (void)printf("%s: %s, enrolled: %s\n", path, m->name, register_state_name(m->state));
        if (config_peer(c, m->name))
            (void)printf("warning: %s stands in %s too: its section there counts\n", m->name,
                         c->file);
    }
    register_free(&r);
    return 0;
}

static int check(const char *file, struct err *e)
{
    struct config *c = NULL;
    unsigned volumes = 0;
    int res = config_load(&c, file, true, report, (void *)(uintptr_t)file, e);
    if (res != 0)
        return res;
    for (unsigned i = 0; i < c->group_count; i++)
        volumes += c->groups[i].volume_count;
    (void)printf("%s: good: site %s, groups: %u, volumes: %u, peers: %u%s%s\n", file, c->name,
                 c->group_count, volumes, c->peer_count, c->has_hub ? ", hub on " : "",
                 c->has_hub ? c->store : "");
    print_memory(c, volumes);
    res = c->has_hub ? print_enrolled(c, e) : 0;
    config_free(c);
    return res;
}

/* Words for the shell's completion: a broken configuration completes nothing. */
static int groups(const char *file)
{
    struct config *c = NULL;
    struct err e = ERR_INIT;
    if (config_load(&c, file, false, NULL, NULL, &e) != 0)
        return 0;
    for (unsigned i = 0; i < c->group_count; i++)
        (void)puts(c->groups[i].name);
    config_free(c);
    return 0;
}

int cmd_config(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    const char *what;
    if (command_option(ctx, argc, argv, "", options, e) != -1)
        return -(int)e->code;
    if (argc - optind != 1)
        return command_misuse("config", e, "one argument is needed");
    what = argv[optind];
    if (strcmp(what, "check") == 0)
        return check(ctx->config_file, e);
    if (strcmp(what, "groups") == 0)
        return groups(ctx->config_file);
    if (strcmp(what, "reference") != 0)
        return command_misuse("config", e, "\"%.40s\" is not one of its arguments", what);
    config_print_reference();
    return 0;
}
