/* dirty.h: the dirty map: sectors of a volume known to differ from its newest sealed RP.
 *
 * The scan adds what it finds changed, capture what is written; the durable sealing of a delta
 * removes what is in it; what a cut that failed had found stays, so that status shows it and the
 * group knows that it is behind.
 * One 32-bit Roaring bitmap; its size follows what is in flight, not the volume. Pure. */
#ifndef RELAIS_DIRTY_H
#define RELAIS_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dirty;

struct dirty *dirty_new(void);
void dirty_free(struct dirty *d);
void dirty_add(struct dirty *d, uint32_t sector, uint32_t sectors);
void dirty_remove(struct dirty *d, uint32_t sector, uint32_t sectors);
void dirty_clear(struct dirty *d);
uint64_t dirty_bytes(const struct dirty *d);

/* Ranges [from, end) of sectors; a volume may have 2^32. The first in it: false when there is none.
 */
bool dirty_next(const struct dirty *d, uint64_t from, uint64_t end, uint32_t *sector);
bool dirty_full(const struct dirty *d, uint64_t from, uint64_t end);
bool dirty_has(const struct dirty *d, uint32_t sector);
bool dirty_any(const struct dirty *d);
void dirty_add_range(struct dirty *d, uint64_t from, uint64_t end);
/* Moves all of `from` into d. */
void dirty_merge(struct dirty *d, struct dirty *from);
/* Bytes that it takes, about. */
size_t dirty_memory(const struct dirty *d);

#endif
