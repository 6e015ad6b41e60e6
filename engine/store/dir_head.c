/* Heads and catalogs as files.
 *
 * The catalog is an array of slots of CATALOG_SLOT bytes: appending one never rewrites a disk
 * sector that holds another, and paging is a binary search by RP. The head file says how many slots
 * count. A move writes and syncs the next slot, then replaces the head file: a crash between the
 * two leaves a slot that does not count and is overwritten by the next move.
 *
 *   slot:  rp u64, len u16, value[STORE_ENTRY_MAX], zeroes, sum u64
 * A splice writes the whole catalog anew, as the file of the next generation, which the head then
 * names; what an earlier one left behind is overwritten.
 *
 *   head:  "RELAISH1", slots u64, generation u64, rp u64, len u16, value[STORE_ENTRY_MAX], sum u64
 *
 * Numbers are little-endian; sum is FNV-1a of what comes before it, against decay. */
#include "dir.h"

#include "bytes.h"
#include "fault.h"
#include "store_name.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CATALOG_SLOT  1024u
#define CATALOG_CHUNK 32u /* slots read at once */
#define BODY_LEN      (8u + 2u + STORE_ENTRY_MAX)
#define HEAD_BODY     24u
#define HEAD_LEN      (HEAD_BODY + BODY_LEN + 8u)
_Static_assert(BODY_LEN + 8u <= CATALOG_SLOT, "an entry fits its slot");

struct head_file {
    uint64_t slots, generation;
    struct store_head head;
};

static const char head_magic[8] = {'R', 'E', 'L', 'A', 'I', 'S', 'H', '1'};

static uint64_t sum_of(const uint8_t *p, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static void encode_body(uint8_t dst[BODY_LEN], const struct store_head *h)
{
    memset(dst, 0, BODY_LEN);
    bytes_set_le64(dst, h->rp);
    dst[8] = (uint8_t)h->len;
    dst[9] = (uint8_t)(h->len >> 8);
    memcpy(dst + 10, h->value, h->len);
}

/* 0, or -1 when it cannot be. */
static int decode_body(struct store_head *out, const uint8_t src[BODY_LEN])
{
    out->rp = bytes_le64(src);
    out->len = (uint16_t)(src[8] | src[9] << 8);
    if (out->rp == 0 || out->len > STORE_ENTRY_MAX)
        return -1;
    memcpy(out->value, src + 10, STORE_ENTRY_MAX);
    return 0;
}

static int load_head(const char *dir, struct head_file *out, struct err *e)
{
    char path[DIR_PATH_MAX + 8];
    void *text;
    size_t len;
    const uint8_t *p;
    int r;
    memset(out, 0, sizeof *out);
    (void)snprintf(path, sizeof path, "%s/head", dir);
    r = fio_load_file(path, HEAD_LEN, &text, &len, e);
    if (r == -(int)ERR_NOENT)
        return 0;
    if (r == -(int)ERR_LIMIT)
        return err_set(e, ERR_CORRUPT, "store: %s is damaged: it is longer than %u bytes", path,
                       HEAD_LEN);
    if (r)
        return r;
    p = text;
    if (len != HEAD_LEN || memcmp(p, head_magic, sizeof head_magic) != 0 ||
        bytes_le64(p + HEAD_LEN - 8) != sum_of(p, HEAD_LEN - 8) ||
        decode_body(&out->head, p + HEAD_BODY) != 0 || (out->slots = bytes_le64(p + 8)) == 0)
        r = err_set(e, ERR_CORRUPT,
                    "store: %s is damaged: restore that file from a backup of the store", path);
    else
        out->generation = bytes_le64(p + 16);
    free(text);
    return r;
}

/* Where everything starts: the group's node, locked, and its head, known to be durable. On an error
 * nothing is held. */
static int enter(struct dir_store *s, const char *site, const char *group, struct dir_node **node,
                 struct head_file *out, struct err *e)
{
    char dir[DIR_PATH_MAX];
    struct dir_node *n;
    int r = store_name_group(site, group, e);
    if (r)
        return r;
    (void)snprintf(dir, sizeof dir, "%s/sites/%s/heads/%s", s->root, site, group);
    n = dir_node_get(s, dir);
    r = fiber_lock(&n->mutex);
    if (r < 0) {
        dir_node_put(s, n);
        return dir_fail(e, r, "opening", dir);
    }
    r = load_head(dir, out, e);
    if (r == 0 && out->head.rp > 0) {
        r = dir_node_settle(n);
        r = r < 0 ? dir_fail(e, r, "syncing", dir) : 0;
    }
    if (r) {
        fiber_unlock(&n->mutex);
        dir_node_put(s, n);
        return r;
    }
    *node = n;
    return 0;
}

static void leave(struct dir_store *s, struct dir_node *n)
{
    fiber_unlock(&n->mutex);
    dir_node_put(s, n);
}

int dir_head(struct store *store, const char *site, const char *group, struct store_head *out,
             struct err *e)
{
    struct head_file f;
    struct dir_node *n;
    int r = enter(dir_of(store), site, group, &n, &f, e);
    if (r)
        return r;
    leave(dir_of(store), n);
    *out = f.head;
    return 0;
}

static int write_slot(const char *path, uint64_t slot, const struct store_head *h)
{
    uint8_t buf[CATALOG_SLOT] = {0};
    int r, fd = fio_open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fd;
    encode_body(buf, h);
    bytes_set_le64(buf + CATALOG_SLOT - 8, sum_of(buf, CATALOG_SLOT - 8));
    r = fio_write_all(fd, buf, sizeof buf, slot * CATALOG_SLOT);
    if (r >= 0)
        r = fio_sync(fd, true);
    fio_close_always(fd);
    return r < 0 ? r : 0;
}

static void catalog_path(char dst[DIR_PATH_MAX + 32], const struct dir_node *n, uint64_t generation)
{
    if (generation == 0)
        (void)snprintf(dst, DIR_PATH_MAX + 32, "%s/catalog", n->path);
    else
        (void)snprintf(dst, DIR_PATH_MAX + 32, "%s/catalog.%" PRIu64, n->path, generation);
}

static int write_head(struct dir_node *n, const struct head_file *f, struct err *e)
{
    char path[DIR_PATH_MAX + 8];
    uint8_t buf[HEAD_LEN];
    int r;
    memcpy(buf, head_magic, sizeof head_magic);
    bytes_set_le64(buf + 8, f->slots);
    bytes_set_le64(buf + 16, f->generation);
    encode_body(buf + HEAD_BODY, &f->head);
    bytes_set_le64(buf + HEAD_LEN - 8, sum_of(buf, HEAD_LEN - 8));
    (void)snprintf(path, sizeof path, "%s/head", n->path);
    /* Until this has succeeded, what head() reads may not be durable: it settles first. */
    n->asked++;
    r = fio_replace_file(path, buf, sizeof buf, 0600, e);
    if (r == 0)
        n->synced = n->asked;
    return r;
}

static int append(struct dir_node *n, const struct head_file *now, const struct store_head *to,
                  struct err *e)
{
    struct head_file next = {.slots = now->slots + 1, .generation = now->generation, .head = *to};
    char path[DIR_PATH_MAX + 32];
    int r;
    catalog_path(path, n, now->generation);
    r = write_slot(path, now->slots, to);
    /* The catalog's own name must be durable before a head that counts on it. */
    if (r == 0 && now->slots == 0) {
        n->asked++;
        r = dir_node_settle(n);
    }
    if (r < 0)
        return dir_fail(e, r, "writing", path);
    return write_head(n, &next, e);
}

int dir_move_head(struct store *store, const char *site, const char *group,
                  const struct store_head *from, const struct store_head *to, struct err *e)
{
    struct dir_store *s = dir_of(store);
    struct head_file now;
    struct dir_node *n;
    int r;
    ASSERT(to->rp > from->rp && to->len <= STORE_ENTRY_MAX && from->len <= STORE_ENTRY_MAX);
    r = enter(s, site, group, &n, &now, e);
    if (r)
        return r;
    if (now.head.rp != from->rp || now.head.len != from->len ||
        memcmp(now.head.value, from->value, from->len) != 0) {
        r = err_set(e, ERR_CONFLICT,
                    "store: the head of %s/%s is RP %" PRIu64 ", not the RP %" PRIu64
                    " that was to be followed: read it again",
                    site, group, now.head.rp, from->rp);
    } else {
        r = dir_node_make(s, n);
        r = r < 0 ? dir_fail(e, r, "making", n->path) : append(n, &now, to, e);
    }
    leave(s, n);
    return r;
}

/* Reads the slots [first, first + count). */
static int read_slots(int fd, const char *path, uint64_t first, uint32_t count,
                      struct store_head *out, struct err *e)
{
    uint8_t *buf = err_malloc((size_t)count * CATALOG_SLOT);
    int r = fio_read_all(fd, buf, (size_t)count * CATALOG_SLOT, first * CATALOG_SLOT);
    if (r < 0 && r != -ENODATA)
        r = dir_fail(e, r, "reading", path);
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        const uint8_t *p = buf + (size_t)i * CATALOG_SLOT;
        if (bytes_le64(p + CATALOG_SLOT - 8) != sum_of(p, CATALOG_SLOT - 8) ||
            decode_body(&out[i], p) != 0)
            r = -ENODATA;
    }
    if (r == -ENODATA)
        r = err_set(e, ERR_CORRUPT,
                    "store: %s is damaged between entries %" PRIu64 " and %" PRIu64
                    ": restore that file from a backup of the store",
                    path, first, first + count - 1);
    free(buf);
    return r;
}

/* The first slot whose rp is greater than `after`. */
static int find_slot(int fd, const char *path, uint64_t slots, uint64_t after, uint64_t *out,
                     struct err *e)
{
    uint64_t low = 0, high = slots;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct store_head h;
        int r = read_slots(fd, path, middle, 1, &h, e);
        if (r)
            return r;
        if (h.rp > after)
            high = middle;
        else
            low = middle + 1;
    }
    *out = low;
    return 0;
}

/* The slots [slot, slot + *count) of an open catalog, as many as there are. */
static int read_page(int fd, const char *path, uint64_t slots, uint64_t after,
                     struct store_head *out, uint32_t max, uint32_t *count, struct err *e)
{
    uint64_t slot = 0;
    int r = after > 0 ? find_slot(fd, path, slots, after, &slot, e) : 0;
    while (r == 0 && *count < max && slot < slots) {
        uint64_t want = slots - slot;
        uint32_t chunk = max - *count < CATALOG_CHUNK ? max - *count : CATALOG_CHUNK;
        if (want < chunk)
            chunk = (uint32_t)want;
        r = read_slots(fd, path, slot, chunk, out + *count, e);
        slot += chunk;
        *count += r == 0 ? chunk : 0;
    }
    return r;
}

int dir_catalog(struct store *store, const char *site, const char *group, uint64_t after,
                struct store_head *out, uint32_t max, uint32_t *count, struct err *e)
{
    char path[DIR_PATH_MAX + 32];
    struct head_file now;
    struct dir_node *n;
    int r = enter(dir_of(store), site, group, &n, &now, e), fd = -1;
    if (r)
        return r;
    *count = 0;
    catalog_path(path, n, now.generation);
    if (now.head.rp > after)
        fd = fio_open(path, O_RDONLY | O_CLOEXEC, 0);
    /* Slots that count never change, and a file that was replaced is there while it is open: no
     * need to hold up moves. */
    leave(dir_of(store), n);
    if (now.head.rp <= after)
        return 0;
    if (fd < 0)
        return dir_fail(e, fd, "opening", path);
    r = read_page(fd, path, now.slots, after, out, max, count, e);
    fio_close_always(fd);
    return r;
}

/* ---- replacing entries ---- */

int dir_generation(struct store *store, const char *site, const char *group, uint64_t *out,
                   struct err *e)
{
    struct head_file f;
    struct dir_node *n;
    int r = enter(dir_of(store), site, group, &n, &f, e);
    if (r)
        return r;
    leave(dir_of(store), n);
    *out = f.generation;
    return 0;
}

/* The catalog that is written: slots of the old one, and new ones. */
struct splicing {
    int from, to;
    const char *from_path, *to_path;
    uint64_t slots; /* written */
};

static int put_slots(struct splicing *s, const struct store_head *h, uint32_t count, struct err *e)
{
    uint8_t *buf = err_calloc(count, CATALOG_SLOT);
    int r;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *p = buf + (size_t)i * CATALOG_SLOT;
        encode_body(p, &h[i]);
        bytes_set_le64(p + CATALOG_SLOT - 8, sum_of(p, CATALOG_SLOT - 8));
    }
    r = fio_write_all(s->to, buf, (size_t)count * CATALOG_SLOT, s->slots * CATALOG_SLOT);
    free(buf);
    s->slots += count;
    return r < 0 ? dir_fail(e, r, "writing", s->to_path) : 0;
}

static int copy_slots(struct splicing *s, uint64_t slot, uint64_t end, struct err *e)
{
    struct store_head *page = err_calloc(CATALOG_CHUNK, sizeof *page);
    int r = 0;
    while (r == 0 && slot < end) {
        uint32_t n = end - slot < CATALOG_CHUNK ? (uint32_t)(end - slot) : CATALOG_CHUNK;
        r = read_slots(s->from, s->from_path, slot, n, page, e);
        if (r == 0)
            r = put_slots(s, page, n, e);
        slot += n;
    }
    free(page);
    return r;
}

static int write_spliced(struct splicing *s, const struct head_file *now, uint64_t first,
                         uint64_t last, const struct store_head *to, uint32_t count, struct err *e)
{
    uint64_t low = now->slots, high = low;
    int r = 0;
    if (count > 0) {
        r = find_slot(s->from, s->from_path, now->slots, first - 1, &low, e);
        if (r == 0)
            r = find_slot(s->from, s->from_path, now->slots, last, &high, e);
    }
    if (r == 0)
        r = copy_slots(s, 0, low, e);
    if (r == 0 && count > 0)
        r = put_slots(s, to, count, e);
    if (r == 0)
        r = copy_slots(s, high, now->slots, e);
    if (r == 0 && (r = fio_sync(s->to, false)) < 0)
        r = dir_fail(e, r, "syncing", s->to_path);
    return r;
}

/* The group's node is locked. */
static int replace(struct dir_node *n, const struct head_file *now, uint64_t first, uint64_t last,
                   const struct store_head *to, uint32_t count, struct err *e)
{
    char from[DIR_PATH_MAX + 32], path[DIR_PATH_MAX + 32];
    struct splicing s = {.from_path = from, .to_path = path};
    struct head_file next = *now;
    int r;
    catalog_path(from, n, now->generation);
    catalog_path(path, n, ++next.generation);
    s.from = fio_open(from, O_RDONLY | O_CLOEXEC, 0);
    s.to = fio_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (s.from < 0 || s.to < 0)
        r = dir_fail(e, s.from < 0 ? s.from : s.to, "opening", s.from < 0 ? from : path);
    else
        r = write_spliced(&s, now, first, last, to, count, e);
    fio_close_always(s.from);
    fio_close_always(s.to);
    if (r)
        return r;
    fault_reached(FAULT_SPLICE_WRITTEN);
    next.slots = s.slots;
    n->asked++; /* its name must be durable before a head that counts on it */
    r = dir_node_settle(n);
    if (r < 0)
        return dir_fail(e, r, "syncing", n->path);
    r = write_head(n, &next, e);
    fault_reached(FAULT_SPLICE_MOVED);
    if (r == 0)
        (void)fio_unlink_always(from);
    return r;
}

int dir_splice(struct store *store, const char *site, const char *group, uint64_t from,
               uint64_t first, uint64_t last, const struct store_head *to, uint32_t count,
               struct err *e)
{
    struct dir_store *s = dir_of(store);
    struct head_file now;
    struct dir_node *n;
    int r = enter(s, site, group, &n, &now, e);
    if (r)
        return r;
    ASSERT(count == 0 ? last == 0 : first > 0 && first <= last && last < now.head.rp);
    ASSERT(count == 0 || (to[0].rp >= first && to[count - 1].rp == last));
    if (now.generation != from)
        r = err_set(e, ERR_CONFLICT,
                    "store: the catalog of %s/%s is of generation %" PRIu64 ", not %" PRIu64
                    ": read it again",
                    site, group, now.generation, from);
    else if (now.head.rp == 0)
        r = err_set(e, ERR_NOENT, "store: %s/%s has no head", site, group);
    else
        r = replace(n, &now, first, last, to, count, e);
    leave(s, n);
    return r;
}

int dir_groups(struct store *store, const char *site, struct store_names *out, struct err *e)
{
    struct dir_store *s = dir_of(store);
    char dir[DIR_PATH_MAX], path[DIR_PATH_MAX + 300];
    struct io_names names;
    struct io_stat st;
    int r = store_name_site(site, e);
    if (r)
        return r;
    *out = (struct store_names){0};
    (void)snprintf(dir, sizeof dir, "%s/sites/%s/heads", s->root, site);
    r = fio_list(dir, &names);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return dir_fail(e, r, "listing", dir);
    out->names = err_calloc(STORE_LIST_MAX, sizeof out->names[0]);
    for (size_t i = 0; i < names.count && out->count < STORE_LIST_MAX; i++) {
        if (!bytes_is_name(names.names[i]))
            continue;
        (void)snprintf(path, sizeof path, "%s/%s/head", dir, names.names[i]);
        r = fio_stat(path, &st);
        if (r >= 0)
            (void)snprintf(out->names[out->count++], STORE_NAME_MAX, "%s", names.names[i]);
        else if (r != -ENOENT)
            break;
        r = 0;
    }
    io_names_free(&names);
    if (r < 0) {
        free(out->names);
        *out = (struct store_names){0};
        return dir_fail(e, r, "looking at", path);
    }
    return 0;
}
