/* relais resize: a volume has grown. */
#include "client.h"
#include "command.h"
#include "units.h"

#include <string.h>

struct resize {
    const char *name;
    char group[NAME_MAX_LEN + 1];
    const char *volume;
};

static int tell(void *arg, const struct message *reply, struct err *e)
{
    const struct resize *r = arg;
    const Relais__Resized *m = reply->resized;
    char was[UNITS_TEXT], is[UNITS_TEXT];
    (void)e;
    units_size(was, m->was);
    units_size(is, m->size);
    if (!m->captured)
        (void)printf("%s: %s; the next cut has it\n", r->name, is);
    else if (m->was == m->size)
        (void)printf("%s: %s, as before\n", r->name, is);
    else
        (void)printf("%s: grown from %s to %s; the next cut has it, clients that connect from now "
                     "on, and %u that are connected when they do so anew\n",
                     r->name, was, is, m->clients);
    return 0;
}

int cmd_resize(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    struct resize r = {0};
    Relais__Resize m;
    struct config *config = NULL;
    const char *slash;
    int res;
    if (command_option(ctx, argc, argv, "", options, e) != -1)
        return -(int)e->code;
    if (argc - optind != 1)
        return command_misuse("resize", e, "one GROUP/VOLUME is needed");
    r.name = argv[optind];
    slash = strchr(r.name, '/');
    if (!slash || (size_t)(slash - r.name) >= sizeof r.group)
        return command_misuse("resize", e, "\"%.100s\" is not GROUP/VOLUME", r.name);
    memcpy(r.group, r.name, (size_t)(slash - r.name));
    r.volume = slash + 1;
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    relais__resize__init(&m);
    m.group = r.group;
    m.volume = (char *)(uintptr_t)r.volume;
    res = client_ask_alone(config->control,
                           &(struct client_request){FRAME_Resize, FRAME_Resized, &m.base, tell, &r},
                           e);
    if (res != 0)
        res = err_prefix(e, "resize %s", r.name);
    config_free(config);
    return res;
}
