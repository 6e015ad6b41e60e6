#include "region.h"

#include "bytes.h"

#include <sodium.h>
#include <string.h>

static uint64_t sector_hash(const uint8_t *p, const uint8_t *key)
{
    uint8_t h[crypto_shorthash_BYTES];
    uint64_t v;
    (void)crypto_shorthash(h, p, SECTOR_SIZE, key);
    memcpy(&v, h, sizeof v);
    return v < HASH_FIRST ? v + HASH_FIRST : v;
}

static bool sector_zero(const uint8_t *p)
{
    uint64_t first;
    memcpy(&first, p, sizeof first); /* nearly every sector with content says so here */
    return first == 0 && bytes_zero(p, SECTOR_SIZE);
}

static void hash_all(struct region *r)
{
    for (uint32_t i = 0; i < r->sectors; i++) {
        const uint8_t *p = r->plain + (size_t)i * SECTOR_SIZE;
        r->fresh[i] =
            !region_present(r, i) || sector_zero(p) ? HASH_ZERO : sector_hash(p, r->hash_key);
    }
}

/* A sector that is to be sealed differs from what is known, by definition; others do not. */
static void compare_none(struct region *r)
{
    for (uint32_t i = 0; i < r->sectors; i++) {
        bool taken = r->taken[i / 64] >> (i % 64) & 1;
        r->known[i] = HASH_UNKNOWN;
        r->fresh[i] = !taken                                            ? HASH_UNKNOWN
                      : sector_zero(r->plain + (size_t)i * SECTOR_SIZE) ? HASH_ZERO
                                                                        : HASH_FIRST;
    }
}

/* Neighbouring changed sectors of one kind. */
static void find_runs(struct region *r)
{
    uint32_t i = 0;
    r->run_count = 0;
    while (i < r->sectors) {
        uint32_t start = i;
        bool zero;
        if (r->fresh[i] == r->known[i]) {
            i++;
            continue;
        }
        zero = r->fresh[i] == HASH_ZERO;
        while (i < r->sectors && r->fresh[i] != r->known[i] && (r->fresh[i] == HASH_ZERO) == zero)
            i++;
        r->runs[r->run_count++] = (struct region_run){r->first + start, i - start, zero};
    }
}

static void add_zero(struct region *r, const struct region_run *run)
{
    r->extents[r->extent_count++] = (struct index_entry){
        .volume = r->volume, .sector = run->sector, .sectors = run->sectors, .kind = EXTENT_ZERO};
}

static void add_data(struct region *r, uint32_t sector, uint32_t sectors)
{
    struct index_entry *x = &r->extents[r->extent_count++];
    struct seal_result result;
    struct seal_ad ad = {.rp = r->rp,
                         .volume = r->volume,
                         .sector = sector,
                         .sectors = sectors,
                         .kind = EXTENT_DATA};
    memcpy(ad.group_id, r->group_id, SEAL_ID_LEN);
    memcpy(ad.volume_id, r->volume_id, SEAL_ID_LEN);
    ASSERT(r->out_len + seal_bound(sectors) <= REGION_OUT);
    seal_extent(r->seal, r->seal_key, r->level, &ad,
                r->plain + (size_t)(sector - r->first) * SECTOR_SIZE, r->out + r->out_len, &result);
    *x = (struct index_entry){.volume = r->volume,
                              .sector = sector,
                              .sectors = sectors,
                              .kind = EXTENT_DATA,
                              .codec = result.codec,
                              .sealed_len = result.sealed_len};
    memcpy(x->tag, result.tag, SEAL_TAG_LEN);
    r->out_len += result.sealed_len;
    r->plain_bytes += (uint64_t)sectors * SECTOR_SIZE;
    r->frame_bytes += result.frame_len;
}

int region_process(void *arg)
{
    struct region *r = arg;
    r->extent_count = 0;
    r->out_len = 0;
    r->plain_bytes = r->frame_bytes = 0;
    if (r->hole) {
        r->runs[0] = (struct region_run){r->first, r->sectors, true};
        r->run_count = 1;
        add_zero(r, &r->runs[0]);
        return 0;
    }
    if (r->captured)
        compare_none(r);
    else
        hash_all(r);
    if (memcmp(r->fresh, r->known, r->sectors * sizeof *r->fresh) == 0) {
        r->run_count = 0;
        return 0;
    }
    find_runs(r);
    for (uint32_t i = 0; i < r->run_count; i++) {
        const struct region_run *run = &r->runs[i];
        if (run->zero) {
            add_zero(r, run);
            continue;
        }
        for (uint32_t at = 0; at < run->sectors; at += EXTENT_SECTORS) {
            uint32_t left = run->sectors - at;
            add_data(r, run->sector + at, left < EXTENT_SECTORS ? left : EXTENT_SECTORS);
        }
    }
    return 0;
}
