#include "actlog.h"

#include "bounds.h"
#include "bytes.h"
#include "digest.h"
#include "fio.h"
#include "log.h"
#include "paths.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC         "RELAISA1"
#define VERSION       1u
#define BLOCK         512u
#define BLOCK_BITS    496u /* bytes of bits in a block */
#define BLOCK_REGIONS (BLOCK_BITS * 8)
#define BLOCK_SUM     16u
#define GAP_BLOCKS    128u /* unchanged ones that are written along: 64 KiB */
#define REGIONS_MAX   (VOLUME_MAX / REGION_SIZE)
#define LOG_MAX       (BLOCK * (1 + (REGIONS_MAX + BLOCK_REGIONS - 1) / BLOCK_REGIONS))

_Static_assert(BLOCK_BITS + BLOCK_SUM == BLOCK, "bits and their checksum fill a block");

/* Somebody who makes regions hot; until it is done they do not cool. */
struct heater {
    struct heater *next;
    uint32_t first, end;
};

/* Bits as in the file, block after block, without the checksums. */
struct actlog {
    char path[PATH_CAP];
    int fd;
    uint64_t size;
    uint32_t regions, blocks, hot_count;
    uint8_t *hot;     /* as it shall be */
    uint8_t *durable; /* hot, and on the disk as such */
    uint8_t *changed; /* a byte for each block: to be written */
    uint8_t *image;   /* the blocks as they were last written; only a round touches it */
    struct rounds rounds;
    struct heater *heaters;
    uint64_t grow_to; /* bytes; 0: it does not grow */
    int grow_error;   /* why it did not; how often it did not */
    unsigned grow_fails;
    void (*grown)(void *arg);
    void *grown_arg;
};

static bool bit(const uint8_t *map, uint32_t i)
{
    return map[i / 8] >> (i % 8) & 1;
}

static void set_bit(uint8_t *map, uint32_t i)
{
    map[i / 8] = (uint8_t)(map[i / 8] | 1u << (i % 8));
}

static void clear_bit(uint8_t *map, uint32_t i)
{
    map[i / 8] = (uint8_t)(map[i / 8] & ~(1u << (i % 8)));
}

static uint32_t regions_of(uint64_t size)
{
    return (uint32_t)((size + REGION_SIZE - 1) / REGION_SIZE);
}

static uint32_t blocks_of(uint32_t regions)
{
    return (regions + BLOCK_REGIONS - 1) / BLOCK_REGIONS;
}

static void block_sum(uint8_t dst[BLOCK_SUM], uint32_t number, const uint8_t *bits)
{
    uint8_t text[4 + BLOCK_BITS];
    struct digest d;
    bytes_set_le32(text, number);
    memcpy(text + 4, bits, BLOCK_BITS);
    digest_of(&d, text, sizeof text);
    memcpy(dst, d.b, BLOCK_SUM);
}

static void block_make(struct actlog *a, uint32_t number)
{
    uint8_t *dst = a->image + (size_t)number * BLOCK;
    memcpy(dst, a->hot + (size_t)number * BLOCK_BITS, BLOCK_BITS);
    block_sum(dst + BLOCK_BITS, number, dst);
}

static void header_make(uint8_t dst[BLOCK], uint64_t size)
{
    struct digest d;
    memset(dst, 0, BLOCK);
    memcpy(dst, MAGIC, 8);
    bytes_set_le32(dst + 8, VERSION);
    bytes_set_le64(dst + 16, size);
    digest_of(&d, dst, BLOCK - DIGEST_LEN);
    memcpy(dst + BLOCK - DIGEST_LEN, d.b, DIGEST_LEN);
}

static void heat_range(struct actlog *a, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        if (bit(a->hot, i))
            continue;
        set_bit(a->hot, i);
        a->hot_count++;
        a->changed[i / BLOCK_REGIONS] = 1;
    }
}

/* -- Opening -- */

static void take_block(struct actlog *a, uint32_t number, const uint8_t *file, size_t len)
{
    size_t at = BLOCK * ((size_t)number + 1);
    uint32_t first = number * BLOCK_REGIONS, end = first + BLOCK_REGIONS;
    uint8_t sum[BLOCK_SUM];
    if (end > a->regions)
        end = a->regions;
    if (at + BLOCK <= len) {
        block_sum(sum, number, file + at);
        if (memcmp(sum, file + at + BLOCK_BITS, BLOCK_SUM) == 0) {
            for (uint32_t i = first; i < end; i++)
                if (bit(file + at, i - first))
                    heat_range(a, i, i + 1);
            a->changed[number] = 0;
            return;
        }
    }
    log_warn("%s: block %" PRIu32 " was torn or is damaged: regions %" PRIu32 " to %" PRIu32
             " count as written",
             a->path, number, first, end - 1);
    heat_range(a, first, end);
    a->changed[number] = 1;
}

/* What the file knows of regions goes into memory; false: nothing could be known. */
static bool take_file(struct actlog *a, const uint8_t *file, size_t len, uint64_t *old_size)
{
    uint8_t header[BLOCK];
    uint32_t known;
    if (len < BLOCK)
        return false;
    *old_size = bytes_le64(file + 16);
    header_make(header, *old_size);
    if (memcmp(header, file, BLOCK) != 0 || *old_size > VOLUME_MAX)
        return false;
    known = blocks_of(regions_of(*old_size < a->size ? *old_size : a->size));
    for (uint32_t i = 0; i < known; i++)
        take_block(a, i, file, len);
    return true;
}

/* *fits: the file can stay. */
static int load(struct actlog *a, bool *fits, struct err *e)
{
    uint64_t old_size = 0;
    bool known = false;
    size_t len;
    void *file;
    int res = fio_load_file(a->path, LOG_MAX, &file, &len, e);
    if (res < 0 && res != -ERR_LIMIT && res != -ERR_NOENT)
        return res;
    if (res == 0) {
        known = take_file(a, file, len, &old_size);
        free(file);
    }
    if (!known) {
        if (res != -ERR_NOENT)
            log_warn("%s: not an activity log of this version; the whole volume counts as written",
                     a->path);
        old_size = 0;
    }
    if (old_size < a->size)
        heat_range(a, (uint32_t)(old_size / REGION_SIZE), a->regions);
    *fits = known && old_size == a->size;
    return 0;
}

/* A whole file for what memory says: the only way that a header comes to be. */
static int write_new(struct actlog *a, struct err *e)
{
    size_t len = BLOCK * ((size_t)a->blocks + 1);
    uint8_t *file = err_malloc(len);
    int res;
    header_make(file, a->size);
    for (uint32_t i = 0; i < a->blocks; i++)
        block_make(a, i);
    memcpy(file + BLOCK, a->image, len - BLOCK);
    res = fio_replace_file(a->path, file, len, 0600, e);
    free(file);
    memset(a->changed, 0, a->blocks);
    return res;
}

/* What was read came from the page cache: it counts only once it is known to be on the disk. */
static int settle(struct actlog *a, bool fits, struct err *e)
{
    int res = fits ? 0 : write_new(a, e);
    if (res < 0)
        return res;
    a->fd = fio_open(a->path, O_RDWR | O_CLOEXEC, 0);
    if (a->fd < 0) {
        res = a->fd;
        a->fd = -1;
        return err_os(e, res, "%s", a->path);
    }
    for (uint32_t i = 0; i < a->blocks && fits; i++)
        block_make(a, i);
    res = actlog_sync(a);
    if (res < 0)
        return err_os(e, res, "%s: syncing", a->path);
    memcpy(a->durable, a->hot, (size_t)a->blocks * BLOCK_BITS);
    return 0;
}

int actlog_open(struct actlog **out, const char *path, uint64_t size, bool all_hot, struct err *e)
{
    struct actlog *a;
    bool fits = false;
    int res = 0;
    if (size > VOLUME_MAX)
        return err_set(e, ERR_LIMIT, "%s: a volume of %" PRIu64 " bytes is too large", path, size);
    a = err_calloc(1, sizeof *a);
    a->fd = -1;
    a->size = size;
    a->regions = regions_of(size);
    a->blocks = blocks_of(a->regions);
    path_format(a->path, "%s", path);
    a->hot = err_calloc(a->blocks + 1, BLOCK_BITS);
    a->durable = err_calloc(a->blocks + 1, BLOCK_BITS);
    a->changed = err_calloc(a->blocks + 1, 1);
    a->image = err_calloc(a->blocks + 1, BLOCK);
    if (all_hot)
        heat_range(a, 0, a->regions);
    else
        res = load(a, &fits, e);
    if (res == 0)
        res = settle(a, fits, e);
    if (res < 0)
        actlog_close(a);
    else
        *out = a;
    return res;
}

void actlog_close(struct actlog *a)
{
    if (!a)
        return;
    fio_close_always(a->fd);
    free(a->hot);
    free(a->durable);
    free(a->changed);
    free(a->image);
    free(a);
}

/* -- In service -- */

uint32_t actlog_regions(const struct actlog *a)
{
    return a->regions;
}

int actlog_fd(const struct actlog *a)
{
    return a->fd;
}

uint32_t actlog_hot_count(const struct actlog *a)
{
    return a->hot_count;
}

bool actlog_is_hot(const struct actlog *a, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++)
        if (!bit(a->durable, i))
            return false;
    return true;
}

uint32_t actlog_next_hot(const struct actlog *a, uint32_t from)
{
    while (from < a->regions && !bit(a->hot, from))
        from = from % 8 == 0 && a->hot[from / 8] == 0 ? from + 8 : from + 1;
    return from < a->regions ? from : a->regions;
}

/* The run of blocks to be written from `first` on: with those between that did not change, when
 * they are few. Scattered writers of a large volume change blocks all over the log, and a write
 * costs more than the bytes do. */
static uint32_t run_end(const struct actlog *a, const uint8_t *mine, uint32_t first)
{
    uint32_t end = first + 1;
    for (uint32_t i = end; i < a->blocks && i - end <= GAP_BLOCKS; i++)
        if (mine[i])
            end = i + 1;
    return end;
}

/* Blocks that changed go out in runs; then one sync for all. Whatever fails is written again by the
 * next round: after a sync that failed nobody knows what the disk has. */
static int write_changed(void *arg)
{
    struct actlog *a = arg;
    uint8_t *mine = err_malloc((size_t)a->blocks + 1);
    int res = 0;
    memcpy(mine, a->changed, a->blocks);
    memset(a->changed, 0, a->blocks);
    for (uint32_t i = 0; i < a->blocks; i++)
        if (mine[i])
            block_make(a, i);
    for (uint32_t i = 0, end; i < a->blocks && res == 0; i = end) {
        end = i + 1;
        if (!mine[i])
            continue;
        end = run_end(a, mine, i);
        res = fio_write_all(a->fd, a->image + (size_t)i * BLOCK, (size_t)(end - i) * BLOCK,
                            BLOCK * ((uint64_t)i + 1));
    }
    if (res == 0)
        res = fio_sync(a->fd, true);
    for (uint32_t i = 0; i < a->blocks && res < 0; i++)
        a->changed[i] |= mine[i];
    free(mine);
    return res;
}

/* Grows the arrays, with the new regions hot in them; they do not count yet. Only in a round:
 * nobody else keeps pointers over a wait. */
static void make_room(struct actlog *a, uint64_t size)
{
    uint32_t regions = regions_of(size), blocks = blocks_of(regions);
    size_t had = a->blocks + 1, has = (size_t)blocks + 1;
    if (blocks > a->blocks) {
        a->hot = err_realloc(a->hot, has * BLOCK_BITS);
        a->durable = err_realloc(a->durable, has * BLOCK_BITS);
        a->changed = err_realloc(a->changed, has);
        a->image = err_realloc(a->image, has * BLOCK);
        memset(a->hot + had * BLOCK_BITS, 0, (has - had) * BLOCK_BITS);
        memset(a->durable + had * BLOCK_BITS, 0, (has - had) * BLOCK_BITS);
        memset(a->changed + had, 0, has - had);
        a->blocks = blocks;
    }
    for (uint32_t i = a->regions; i < regions; i++) {
        set_bit(a->hot, i);
        a->changed[i / BLOCK_REGIONS] = 1;
    }
}

static int write_header(struct actlog *a, uint64_t size)
{
    uint8_t header[BLOCK];
    int res;
    header_make(header, size);
    res = fio_write_all(a->fd, header, sizeof header, 0);
    return res == 0 ? fio_sync(a->fd, true) : res;
}

static void forget_heater(struct actlog *a, const struct heater *h)
{
    struct heater **link = &a->heaters;
    while (*link != h)
        link = &(*link)->next;
    *link = h->next;
}

/* The last region of the old size, which need not have been whole, becomes hot too, and may not
 * cool until all of it is there. */
static int grow(struct actlog *a, uint64_t size)
{
    struct heater edge = {a->heaters, (uint32_t)(a->size / REGION_SIZE), a->regions};
    uint32_t regions = regions_of(size);
    int res;
    make_room(a, size);
    heat_range(a, edge.first, edge.end);
    a->heaters = &edge;
    res = write_changed(a);
    if (res == 0)
        res = write_header(a, size);
    forget_heater(a, &edge);
    if (res < 0)
        return res;
    for (uint32_t i = edge.first; i < regions; i++)
        set_bit(a->durable, i);
    a->hot_count += regions - a->regions;
    a->regions = regions;
    a->size = size;
    a->grown(a->grown_arg);
    return 0;
}

/* Whoever heats in the same round, or later, must not pay for a growth that fails: the place of the
 * new blocks may be where the disk is full. */
static int one_round(void *arg)
{
    struct actlog *a = arg;
    int res;
    if (a->grow_to <= a->size)
        return write_changed(a);
    res = grow(a, a->grow_to);
    if (res == 0 || (res == -ECANCELED && fiber_cancelled()))
        return res;
    for (uint32_t i = blocks_of(a->regions); i < a->blocks; i++)
        a->changed[i] = 0;
    a->grow_to = 0;
    a->grow_error = res;
    a->grow_fails++;
    return write_changed(a);
}

int actlog_sync(struct actlog *a)
{
    return rounds_join(&a->rounds, one_round, a);
}

int actlog_grow(struct actlog *a, uint64_t size, void (*grown)(void *arg), void *arg)
{
    unsigned fails = a->grow_fails;
    int res = 0;
    ASSERT(size <= VOLUME_MAX);
    a->grown = grown;
    a->grown_arg = arg;
    /* A round that was under way already does not count. */
    while (res == 0 && a->size < size && a->grow_fails == fails) {
        if (size > a->grow_to) /* another's, which was cancelled, took it back */
            a->grow_to = size;
        res = actlog_sync(a);
    }
    if (a->grow_to == size)
        a->grow_to = 0;
    if (a->size >= size)
        return 0;
    return a->grow_fails != fails ? a->grow_error : res;
}

uint64_t actlog_size(const struct actlog *a)
{
    return a->size;
}

int actlog_heat(struct actlog *a, uint32_t first, uint32_t count)
{
    struct heater self = {a->heaters, first, first + count};
    int res;
    ASSERT(count > 0 && first < a->regions && count <= a->regions - first);
    if (actlog_is_hot(a, first, count))
        return 0;
    heat_range(a, first, self.end);
    a->heaters = &self;
    res = actlog_sync(a);
    forget_heater(a, &self);
    for (uint32_t i = first; i < self.end && res == 0; i++)
        set_bit(a->durable, i);
    return res;
}

void actlog_cool(struct actlog *a, uint32_t region)
{
    ASSERT(region < a->regions);
    if (!bit(a->hot, region))
        return;
    for (const struct heater *h = a->heaters; h; h = h->next)
        if (h->first <= region && region < h->end)
            return;
    clear_bit(a->hot, region);
    clear_bit(a->durable, region);
    a->hot_count--;
    a->changed[region / BLOCK_REGIONS] = 1;
}
