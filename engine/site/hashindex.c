#include "hashindex.h"

#include "bytes.h"
#include "digest.h"
#include "fio.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC        "RELAISH1"
#define REGION_INDEX ((uint64_t)REGION_SECTORS * 8) /* bytes of a region's entries */

/* Header: magic, base u32, zero u32, key check 16, SHA-256 of the bytes before it. The key check is
 * a hash of the volume's key: an index made under another key, or of another volume, is not ours.
 */
#define HEADER_CHECKED 32u

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "entries are read and written in place");
_Static_assert(crypto_shorthash_KEYBYTES == HASHINDEX_KEY_LEN, "SipHash-2-4");

static uint64_t entry_place(uint32_t region)
{
    return HASHINDEX_HEADER + region * REGION_INDEX;
}

void hashindex_key(uint8_t dst[HASHINDEX_KEY_LEN], const struct key_secret *hash_key,
                   const char *site, const char *group, const char *volume)
{
    static const char domain[] = "relais sector hash";
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, key_secret_bytes(hash_key), KEY_LEN, HASHINDEX_KEY_LEN);
    (void)crypto_generichash_update(&state, (const uint8_t *)domain, sizeof domain);
    (void)crypto_generichash_update(&state, (const uint8_t *)site, strlen(site) + 1);
    (void)crypto_generichash_update(&state, (const uint8_t *)group, strlen(group) + 1);
    (void)crypto_generichash_update(&state, (const uint8_t *)volume, strlen(volume) + 1);
    (void)crypto_generichash_final(&state, dst, HASHINDEX_KEY_LEN);
    sodium_memzero(&state, sizeof state);
}

static void header_make(uint8_t dst[HASHINDEX_HEADER], const uint8_t key[HASHINDEX_KEY_LEN],
                        bool base_zero)
{
    struct digest sum;
    memset(dst, 0, HASHINDEX_HEADER);
    memcpy(dst, MAGIC, 8);
    bytes_set_le32(dst + 8, base_zero ? 0 : 1);
    (void)crypto_generichash(dst + 16, 16, (const uint8_t *)MAGIC, 8, key, HASHINDEX_KEY_LEN);
    digest_of(&sum, dst, HEADER_CHECKED);
    memcpy(dst + HEADER_CHECKED, sum.b, sizeof sum.b);
}

static int open_existing(struct hashindex *x, bool *valid, struct err *e)
{
    uint8_t found[HASHINDEX_HEADER], want[HASHINDEX_HEADER];
    struct io_stat st;
    int res;
    *valid = false;
    x->fd = fio_open(x->path, O_RDWR | O_CLOEXEC, 0);
    if (x->fd == -ENOENT)
        return 0;
    if (x->fd < 0)
        return err_os(e, x->fd, "%s", x->path);
    res = fio_fstat(x->fd, &st);
    if (res == 0)
        res = fio_read_all(x->fd, found, sizeof found, 0);
    if (res == 0) {
        x->base_zero = bytes_le32(found + 8) == 0;
        header_make(want, x->key, x->base_zero);
        *valid = memcmp(found, want, sizeof want) == 0;
        x->extent = st.size;
    }
    if (!*valid) {
        fio_close_always(x->fd);
        x->fd = -1;
    }
    if (res == -ECANCELED)
        return err_os(e, res, "%s", x->path);
    if (!*valid)
        log_warn("%s: not a hash index of this volume and key; starting a new one: the next scan "
                 "ships the whole volume again",
                 x->path);
    return 0;
}

int hashindex_reset(struct hashindex *x, bool fresh, struct err *e)
{
    uint8_t header[HASHINDEX_HEADER];
    int res;
    fio_close_always(x->fd);
    x->fd = -1;
    header_make(header, x->key, fresh);
    res = fio_replace_file(x->path, header, sizeof header, 0600, e);
    if (res < 0)
        return res;
    x->fd = fio_open(x->path, O_RDWR | O_CLOEXEC, 0);
    if (x->fd < 0) {
        res = x->fd;
        x->fd = -1;
        return err_os(e, res, "%s", x->path);
    }
    x->base_zero = fresh;
    x->extent = HASHINDEX_HEADER;
    return 0;
}

int hashindex_open(struct hashindex *x, const char *path, const uint8_t key[HASHINDEX_KEY_LEN],
                   bool fresh, bool *made, struct err *e)
{
    bool valid;
    int res;
    *x = (struct hashindex){.fd = -1};
    path_format(x->path, "%s", path);
    memcpy(x->key, key, sizeof x->key);
    res = open_existing(x, &valid, e);
    if (res < 0)
        return res;
    *made = !valid;
    return valid ? 0 : hashindex_reset(x, fresh, e);
}

void hashindex_close(struct hashindex *x)
{
    fio_close_always(x->fd);
    x->fd = -1;
    sodium_memzero(x->key, sizeof x->key);
}

/* Entries as they are in the file; behind its end there are only holes. */
static int read_raw(struct hashindex *x, uint32_t region, uint64_t *entries, struct err *e)
{
    uint64_t place = entry_place(region);
    size_t len = 0;
    if (place < x->extent)
        len = x->extent - place < REGION_INDEX ? (size_t)(x->extent - place) : REGION_INDEX;
    memset((uint8_t *)entries + len, 0, REGION_INDEX - len);
    if (len > 0) {
        int res = fio_read_all(x->fd, entries, len, place);
        if (res < 0)
            return err_os(e, res, "%s: reading %zu bytes at %llu", x->path, len,
                          (unsigned long long)place);
    }
    return 0;
}

int hashindex_read(struct hashindex *x, uint32_t region, uint64_t entries[REGION_SECTORS],
                   struct err *e)
{
    uint64_t base = x->base_zero ? HASH_ZERO : HASH_UNKNOWN;
    int res = read_raw(x, region, entries, e);
    if (res < 0)
        return res;
    for (uint32_t i = 0; i < REGION_SECTORS; i++)
        entries[i] = entries[i] == HASH_BASE ? base : entries[i];
    return 0;
}

int hashindex_zero_regions(struct hashindex *x, uint32_t region, uint64_t *count, struct err *e)
{
    uint64_t place = entry_place(region);
    struct io_run run;
    int res;
    *count = 0;
    if (!x->base_zero)
        return 0;
    if (place >= x->extent) {
        *count = UINT32_MAX;
        return 0;
    }
    res = fio_run(x->fd, place, &run);
    if (res < 0)
        return err_os(e, res, "%s: looking for holes", x->path);
    if (!run.data)
        *count = run.end >= x->extent ? UINT32_MAX : (run.end - place) / REGION_INDEX;
    return 0;
}

static int write_raw(struct hashindex *x, uint32_t region, const uint64_t *entries, uint32_t first,
                     uint32_t end, struct err *e)
{
    uint64_t place = entry_place(region) + (uint64_t)first * 8;
    size_t len = (size_t)(end - first) * 8;
    int res = fio_write_all(x->fd, entries + first, len, place);
    if (res < 0)
        return err_os(e, res, "%s: writing %zu bytes at %llu", x->path, len,
                      (unsigned long long)place);
    if (place + len > x->extent)
        x->extent = place + len;
    return 0;
}

static void fill(uint64_t *dst, uint64_t value, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        dst[i] = value;
}

/* Changes a region at a time: the runs of a scattered delta are short, and a write for each would
 * cost more than reading the 8 KiB around them. */
struct patch {
    uint64_t *entries;
    uint32_t region, first, end; /* first >= end: nothing to write */
};

static int patch_flush(struct hashindex *x, struct patch *p, struct err *e)
{
    int res = p->first < p->end ? write_raw(x, p->region, p->entries, p->first, p->end, e) : 0;
    p->first = REGION_SECTORS;
    p->end = 0;
    return res;
}

/* Sets a run to values, or to `word` when values is NULL. */
static int patch_set(struct hashindex *x, struct patch *p, uint32_t sector, uint32_t sectors,
                     const uint64_t *values, uint64_t word, struct err *e)
{
    while (sectors > 0) {
        uint32_t region = sector / REGION_SECTORS, at = sector % REGION_SECTORS;
        uint32_t n = REGION_SECTORS - at < sectors ? REGION_SECTORS - at : sectors;
        int res = 0;
        if (region != p->region || p->first >= p->end) {
            res = patch_flush(x, p, e);
            if (res == 0 && n < REGION_SECTORS)
                res = read_raw(x, region, p->entries, e);
            p->region = region;
        }
        if (res < 0)
            return res;
        if (values) {
            memcpy(p->entries + at, values, (size_t)n * sizeof *values);
            values += n;
        } else {
            fill(p->entries + at, word, n);
        }
        p->first = at < p->first ? at : p->first;
        p->end = at + n > p->end ? at + n : p->end;
        sector += n;
        sectors -= n;
    }
    return 0;
}

int hashindex_apply(struct hashindex *x, const struct hashes *h, uint16_t volume, struct err *e)
{
    struct patch p = {err_malloc(REGION_INDEX), 0, REGION_SECTORS, 0};
    int res = 0;
    for (size_t i = 0; i < h->run_count && res == 0; i++) {
        const struct hashes_run *r = &h->runs[i];
        const uint64_t *values = r->at == HASHES_ALL_ZERO ? NULL : h->values + r->at;
        if (r->volume == volume)
            res = patch_set(x, &p, r->sector, r->sectors, values, HASH_ZERO, e);
    }
    if (res == 0)
        res = patch_flush(x, &p, e);
    free(p.entries);
    return res;
}

int hashindex_forget(struct hashindex *x, uint32_t sector, uint32_t sectors, struct err *e)
{
    struct patch p = {err_malloc(REGION_INDEX), 0, REGION_SECTORS, 0};
    int res = patch_set(x, &p, sector, sectors, NULL, HASH_UNKNOWN, e);
    if (res == 0)
        res = patch_flush(x, &p, e);
    free(p.entries);
    return res;
}

int hashindex_sync(struct hashindex *x, struct err *e)
{
    int res = fio_sync(x->fd, true);
    return res < 0 ? err_os(e, res, "%s: syncing", x->path) : 0;
}
