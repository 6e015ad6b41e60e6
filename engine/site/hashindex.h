/* hashindex.h: what the newest RP holds of a volume, as keyed hashes: the scan's local index.
 *
 * The file: a header of 4 KiB, then 8 bytes for each 4 KiB sector, little-endian: SipHash-2-4 of
 * the sector's content under a key of this volume that never leaves the site, or one of three words
 * below. A file that is all holes is the index of a volume that is all zeroes: an empty image costs
 * nothing.
 *
 * A sector that changed is missed when both contents hash alike: 2^-64 for each changed sector,
 * which at 100,000 changed sectors every second is one in 5.8 million years. 128 bits would double
 * the file and what each scan reads of it, to guard against less than a disk's own undetected
 * errors; and nobody who can choose the content knows the key, so that it stays a matter of chance.
 *
 * Sizes do not matter here: entries behind the end of a volume that shrank stay, because a reader
 * that merges the deltas also still has that content; when the volume grows again, what differs
 * from it is found like any other change.
 *
 * INVARIANT: an entry is the hash of what the chain's newest RP holds at that sector, or UNKNOWN;
 * see scanned.h for how a crash keeps that true. All calls but the key (wait). */
#ifndef RELAIS_HASHINDEX_H
#define RELAIS_HASHINDEX_H

#include "err.h"
#include "hashes.h"
#include "key.h"
#include "paths.h"

#include <stdbool.h>

#define HASHINDEX_HEADER  4096u
#define HASHINDEX_KEY_LEN 16
#define REGION_SECTORS    ((uint32_t)(REGION_SIZE >> SECTOR_SHIFT))

enum {
    HASH_BASE = 0,    /* never written: zero, or unknown, as the header's base says */
    HASH_ZERO = 1,    /* the sector is zero */
    HASH_UNKNOWN = 2, /* differs from everything: ship it */
    HASH_FIRST = 3    /* hashes 0, 1, 2 are stored as 3, 4, 5 */
};

struct hashindex {
    int fd;
    bool base_zero;
    char path[PATH_CAP];
    uint8_t key[HASHINDEX_KEY_LEN];
    uint64_t extent; /* bytes of the file, for reads behind its end */
};

/* The volume's SipHash key: BLAKE2b under the site's hash key of the volume's full name. */
void hashindex_key(uint8_t dst[HASHINDEX_KEY_LEN], const struct key_secret *hash_key,
                   const char *site, const char *group, const char *volume);

/* Opens the index at path. When there is none, or it is damaged, or made with another key, a new
 * one takes its place: of a volume without history (fresh: all of it is zero at RP 0 by
 * definition), else with everything unknown; *made tells. Errors: IO, SPACE. */
int hashindex_open(struct hashindex *x, const char *path, const uint8_t key[HASHINDEX_KEY_LEN],
                   bool fresh, bool *made, struct err *e);
void hashindex_close(struct hashindex *x);
/* Starts over with an empty index, atomically. */
int hashindex_reset(struct hashindex *x, bool fresh, struct err *e);

/* The entries of a region, HASH_BASE resolved to HASH_ZERO or HASH_UNKNOWN. */
int hashindex_read(struct hashindex *x, uint32_t region, uint64_t entries[REGION_SECTORS],
                   struct err *e);
/* How many regions from this one on have no entry at all and are zero therefore: found in the
 * file's holes, nothing is read. 0 when the base is unknown. */
int hashindex_zero_regions(struct hashindex *x, uint32_t region, uint64_t *count, struct err *e);
/* Writes the hashes of one volume; runs ascend. Not synced. */
int hashindex_apply(struct hashindex *x, const struct hashes *h, uint16_t volume, struct err *e);
/* Marks a range unknown. Not synced. */
int hashindex_forget(struct hashindex *x, uint32_t sector, uint32_t sectors, struct err *e);
int hashindex_sync(struct hashindex *x, struct err *e);

#endif
