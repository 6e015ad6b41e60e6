/* towns_spool.c: the spools of the sites, as somebody finds them who looks at the disk. */
#include "delta.h"
#include "err.h"
#include "towns.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* A delta is read whole only once. */
static bool known(struct towns *t, struct disk *d, const char *path, uint64_t size)
{
    uint8_t trailer[DELTA_TRAILER_LEN], *manifest;
    struct err e = ERR_INIT;
    uint64_t place;
    uint32_t len;
    bool yes;
    if (size < sizeof trailer ||
        !disk_peek_at(d, path, size - sizeof trailer, trailer, sizeof trailer) ||
        delta_trailer_parse(trailer, size, &place, &len, &e))
        return true; /* torn: nobody will ship it */
    manifest = err_malloc(len);
    yes = !disk_peek_at(d, path, place, manifest, len) || nonces_known(t->nonces, manifest, len);
    free(manifest);
    return yes;
}

static uint64_t look_at(struct towns *t, const struct place *site, const char *path)
{
    struct disk *d = node_disk(site->node);
    struct io_stat st = {0};
    uint8_t *file;
    size_t len;
    if (disk_stat(d, path, &st) < 0 || known(t, d, path, st.size))
        return st.size;
    file = disk_peek(d, path, &len);
    nonces_take(t->nonces, site->name, key_public(site->sign), file, len);
    free(file);
    return st.size;
}

void towns_check_spool(struct towns *t, const struct place *site)
{
    uint64_t bytes = 0;
    for (unsigned g = 0; g < site->group_count; g++) {
        char dir[64], path[160];
        struct io_names names;
        (void)snprintf(dir, sizeof dir, TOWNS_SPOOL "/%s", site->groups[g].name);
        if (disk_list(node_disk(site->node), dir, &names) < 0)
            continue;
        for (size_t i = 0; i < names.count; i++) {
            (void)snprintf(path, sizeof path, "%s/%.80s", dir, names.names[i]);
            if (ends_with(path, ".delta") || ends_with(path, ".tmp"))
                bytes += look_at(t, site, path);
        }
        io_names_free(&names);
    }
    if (bytes > TOWNS_SPOOL_MAX)
        world_fail(t->w, "%s: the spool has %" PRIu64 " bytes, its budget is %" PRIu64, site->name,
                   bytes, TOWNS_SPOOL_MAX);
}
