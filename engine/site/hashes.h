/* hashes.h: the new hashes of one delta, kept in memory until it is durable. Pure.
 *
 * Runs ascend by (volume, sector), as the extents of the delta do. */
#ifndef RELAIS_HASHES_H
#define RELAIS_HASHES_H

#include <stddef.h>
#include <stdint.h>

#define HASHES_ALL_ZERO UINT64_MAX

struct hashes_run {
    uint16_t volume;
    uint32_t sector, sectors;
    uint64_t at; /* of its first value; HASHES_ALL_ZERO: a run of zero sectors */
};

struct hashes {
    struct hashes_run *runs;
    size_t run_count, run_cap;
    uint64_t *values;
    size_t value_count, value_cap;
};

void hashes_free(struct hashes *h);
/* values NULL: zero sectors. */
void hashes_add(struct hashes *h, uint16_t volume, uint32_t sector, uint32_t sectors,
                const uint64_t *values);
/* Bytes of memory it uses. */
size_t hashes_size(const struct hashes *h);

#endif
