/* Input: a configuration. It is accepted without a word, or refused with at least one problem, each
 * on a line that the file has; what is accepted keeps its bounds. */
#include "bytes.h"
#include "config.h"
#include "fuzz.h"

#include <string.h>

struct heard {
    unsigned count;
    int lines;
};

static void hear(void *arg, int line, const char *text)
{
    struct heard *h = arg;
    h->count++;
    ASSERT(line >= 0 && line <= h->lines && text[0]);
}

static void check_group(const struct config *c, const struct config_group *g)
{
    ASSERT(bytes_is_name(g->name) && config_group(c, g->name) == g);
    ASSERT(g->volume_count > 0 && g->volume_count <= VOLUMES_MAX);
    ASSERT(c->reader_count + g->reader_count > 0);
    ASSERT(c->reader_count + g->reader_count <= READERS_MAX);
    ASSERT(!*g->freeze == !*g->thaw);
    for (unsigned i = 0; i < g->volume_count; i++)
        ASSERT(bytes_is_name(g->volumes[i].name) && g->volumes[i].path[0] == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard h = {.lines = 1};
    struct err e = ERR_INIT;
    struct config *c = NULL;
    int res;
    for (size_t i = 0; i < size; i++)
        h.lines += data[i] == '\n';
    res = config_parse(&c, "fuzz", (const char *)data, size, hear, &h, &e);
    ASSERT((res == 0) == (h.count == 0) && (res == 0) == (c != NULL));
    if (res != 0) {
        ASSERT(e.code == ERR_CONFIG && strncmp(e.text, "fuzz:", 5) == 0);
        return 0;
    }
    ASSERT(bytes_is_name(c->name) && c->state_dir[0] == '/' && c->spool_dir[0] == '/');
    ASSERT(c->delta_max <= DELTA_MAX && c->spool_budget >= 4 * c->delta_max);
    ASSERT(c->compression >= CONFIG_LEVEL_AUTO && c->compression <= 19);
    ASSERT(c->group_count == 0 || config_peer(c, c->hub)->addr_count > 0);
    ASSERT(!c->has_hub || c->listen.port > 0);
    for (unsigned i = 0; i < c->group_count; i++)
        check_group(c, &c->groups[i]);
    config_free(c);
    return 0;
}
