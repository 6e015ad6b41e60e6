/* relais pin, relais unpin: a recovery point that stays whatever the rules say. */
#include "keeping.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

struct pin {
    struct keeping keeping;
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    uint64_t rp;
    bool unpin;
};

/* [SITE/]GROUP@RP */
static int parse(struct pin *p, const char *what, const char *command, struct err *e)
{
    const char *at = strrchr(what, '@'), *slash = strchr(what, '/');
    const char *group = slash ? slash + 1 : what;
    char *end = NULL;
    size_t site_len = slash ? (size_t)(slash - what) : 0;
    size_t group_len = at && at > group ? (size_t)(at - group) : 0;
    p->rp = at && at[1] >= '0' && at[1] <= '9' ? strtoull(at + 1, &end, 10) : 0;
    if (p->rp == 0 || !end || *end || group_len == 0 || group_len > NAME_MAX_LEN ||
        site_len > NAME_MAX_LEN)
        return command_misuse(command, e, "\"%.80s\" is no recovery point: write [SITE/]GROUP@RP",
                              what);
    memcpy(p->group, group, group_len);
    if (slash)
        memcpy(p->site, what, site_len);
    else
        (void)snprintf(p->site, sizeof p->site, "%s", p->keeping.config->name);
    return 0;
}

static int run(void *arg, struct err *e)
{
    struct pin *p = arg;
    Relais__PinSet q;
    struct call call;
    char left[UNITS_TEXT];
    relais__pin_set__init(&q);
    q.site = p->site;
    q.group = p->group;
    q.rp = p->rp;
    q.unpin = p->unpin;
    int res = keeping_connect(&p->keeping, e);
    if (res == 0)
        res = keeping_ask(&p->keeping, &call, FRAME_PinSet, FRAME_Pinned, &q.base, e);
    if (res == 0) {
        uint64_t ns = call.reply.pinned->left_ns;
        (void)printf("%s/%s RP %llu %s", p->site, p->group, (unsigned long long)p->rp,
                     ns == UINT64_MAX ? "is pinned: it stays until it is unpinned\n"
                     : ns == 0        ? "is not pinned any more: the rules decide\n"
                                      : "stays pinned for ");
        if (ns != UINT64_MAX && ns != 0)
            (void)printf("%s more, as the lock says; then the rules decide\n",
                         units_duration(left, ns));
        call_end(&call);
    }
    keeping_disconnect(&p->keeping);
    return res;
}

int cmd_pin(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    const char *name = argv[0];
    struct pin p = {.unpin = strcmp(name, "unpin") == 0};
    if (command_option(ctx, argc, argv, "", options, e) != -1)
        return -(int)e->code;
    if (argc - optind != 1)
        return command_misuse(name, e, "one [SITE/]GROUP@RP is needed");
    int res = keeping_prepare(&p.keeping, ctx, e);
    if (res == 0)
        res = parse(&p, argv[optind], name, e);
    if (res == 0)
        res = client_run(run, &p, e);
    keeping_close(&p.keeping);
    return res != 0 ? err_prefix(e, "%s", name) : 0;
}
