#include "check_store.h"

#include "bytes.h"
#include "err.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* See the drawing in engine/store/dir_head.c. */
#define HEAD_LEN  (24u + CHECK_BODY_LEN + 8u)
#define HEAD_BODY 24u
#define SLOT_LEN  1024u

/* ---- dir ---- */

/* As it was before it rotted. */
static uint8_t *mended(const struct check_store *s, const char *path, uint8_t *content, size_t len)
{
    for (size_t i = s->rots ? s->rots->count : 0; content && i > 0; i--) {
        const struct check_rot *r = &s->rots->rots[i - 1];
        if (strcmp(r->path, path) == 0 && r->off < len && content[r->off] == r->is)
            content[r->off] = r->was;
    }
    return content;
}

static uint8_t *load(const struct check_store *s, size_t *len, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static uint8_t *load(const struct check_store *s, size_t *len, const char *fmt, ...)
{
    char path[512];
    uint8_t *content;
    int n = snprintf(path, sizeof path, "%s/sites/", s->root);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(path + n, sizeof path - (size_t)n, fmt, ap);
    va_end(ap);
    content = disk_peek(s->disk, path, len);
    return mended(s, path, content, *len);
}

static uint8_t *dir_bodies(const struct check_store *s, const char *site, const char *group,
                           uint64_t *count, const char **wrong)
{
    size_t head_len = 0, catalog_len = 0;
    uint8_t *head = load(s, &head_len, "%s/heads/%s/head", site, group), *out = NULL;
    uint64_t generation = head && head_len == HEAD_LEN ? bytes_le64(head + 16) : 0;
    uint8_t *catalog = generation == 0 ? load(s, &catalog_len, "%s/heads/%s/catalog", site, group)
                                       : load(s, &catalog_len, "%s/heads/%s/catalog.%" PRIu64, site,
                                              group, generation);
    if (head && head_len == HEAD_LEN)
        *count = bytes_le64(head + 8);
    if (head && head_len != HEAD_LEN) {
        *wrong = "the head file is damaged";
    } else if (head && catalog_len / SLOT_LEN < *count) {
        *wrong = "the catalog ends before its last slot";
    } else if (head) {
        out = err_malloc((*count + 1) * CHECK_BODY_LEN);
        memcpy(out, head + HEAD_BODY, CHECK_BODY_LEN);
        for (uint64_t i = 0; i < *count; i++)
            memcpy(out + (i + 1) * CHECK_BODY_LEN, catalog + i * SLOT_LEN, CHECK_BODY_LEN);
    }
    free(head);
    free(catalog);
    return out;
}

/* ---- pool ---- */

static void encode(uint8_t *dst, const struct store_head *h)
{
    memset(dst, 0, CHECK_BODY_LEN);
    bytes_set_le64(dst, h->rp);
    dst[8] = (uint8_t)h->len;
    dst[9] = (uint8_t)(h->len >> 8);
    memcpy(dst + 10, h->value, h->len);
}

static uint8_t *pool_bodies(const struct check_store *s, const char *site, const char *group,
                            uint64_t *count)
{
    const struct store_head *head = pool_head(s->pool, site, group), *entries;
    size_t n;
    uint8_t *out;
    if (!head)
        return NULL;
    entries = pool_catalog(s->pool, site, group, &n);
    out = err_malloc((n + 1) * CHECK_BODY_LEN);
    encode(out, head);
    for (size_t i = 0; i < n; i++)
        encode(out + (i + 1) * CHECK_BODY_LEN, &entries[i]);
    *count = n;
    return out;
}

/* ---- either ---- */

uint8_t *check_store_bodies(const struct check_store *s, const char *site, const char *group,
                            uint64_t *count, const char **wrong)
{
    *count = 0;
    *wrong = NULL;
    return s->disk ? dir_bodies(s, site, group, count, wrong) : pool_bodies(s, site, group, count);
}

/* Where it is in a dir store, below ROOT/sites; in a pool, its name. */
static void object_path(const struct check_store *s, char dst[STORE_NAME_MAX + 128],
                        const char *site, const char *group, uint64_t rp,
                        const uint8_t id[CHECK_ID_LEN], unsigned part)
{
    char hex[2 * CHECK_ID_LEN + 1];
    bytes_hex(hex, id, CHECK_ID_LEN);
    if (s->disk)
        (void)snprintf(dst, STORE_NAME_MAX + 128,
                       "%s/objects/%s/%013" PRIx64 "+/%03" PRIx64 "+%s.%04x", site, group, rp >> 12,
                       rp & 0xfff, hex, part);
    else
        (void)snprintf(dst, STORE_NAME_MAX + 128, "%s/%016" PRIx64 "/%s.%04x", group, rp, hex,
                       part);
}

uint8_t *check_store_object(const struct check_store *s, const char *site, const char *group,
                            uint64_t rp, const uint8_t id[CHECK_ID_LEN], unsigned part, size_t *len)
{
    char path[STORE_NAME_MAX + 128];
    const uint8_t *data;
    uint8_t *out;
    object_path(s, path, site, group, rp, id, part);
    if (s->disk)
        return load(s, len, "%s", path);
    data = pool_object(s->pool, site, path, len);
    if (!data)
        return NULL;
    out = err_malloc(*len + 1);
    memcpy(out, data, *len);
    return out;
}

uint64_t check_store_object_len(const struct check_store *s, const char *site, const char *group,
                                uint64_t rp, const uint8_t id[CHECK_ID_LEN], unsigned part)
{
    char path[STORE_NAME_MAX + 128], full[STORE_NAME_MAX + 300];
    struct io_stat st = {0};
    size_t len;
    object_path(s, path, site, group, rp, id, part);
    if (!s->disk) {
        (void)pool_object(s->pool, site, path, &len);
        return len;
    }
    (void)snprintf(full, sizeof full, "%s/sites/%s", s->root, path);
    return disk_stat(s->disk, full, &st) < 0 ? 0 : st.size;
}
