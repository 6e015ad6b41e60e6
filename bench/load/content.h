/* content.h: bytes that look like a hospital's, from a seed. Pure: the same arguments give the same
 * bytes, so a volume can be checked without a copy.
 *
 * Each sector has a share of bytes that say nothing new (the text of records, the air around a
 * patient), and for the rest noise, as entropy coders and detectors leave it. */
#ifndef RELAIS_BENCH_CONTENT_H
#define RELAIS_BENCH_CONTENT_H

#include <stddef.h>
#include <stdint.h>

enum content_kind {
    CONTENT_RECORDS, /* pages of a database */
    CONTENT_IMAGES,  /* slices of CT studies, 512 KiB each with a header, 12 bits of 16 */
    CONTENT_CIPHER   /* what ransomware leaves: noise all through */
};

/* Fills buf with what stands at off of a volume after the version-th write there. off and len are
 * multiples of 512. */
void content_fill(void *buf, size_t len, enum content_kind kind, uint64_t seed, uint64_t off,
                  uint64_t version, double compressible);
/* The next of a sequence of numbers that is as good as random; state: any. */
uint64_t content_random(uint64_t *state);

#endif
