/* dirty.h: the dirty map: sectors of a volume known to differ from its newest sealed RP.
 *
 * The scan adds what it finds changed, the durable sealing of a delta removes what is in it; what a
 * cut that failed had found stays, so that status shows it and the group knows that it is behind.
 * One 32-bit Roaring bitmap; its size follows what is in flight, not the volume. Pure. */
#ifndef RELAIS_DIRTY_H
#define RELAIS_DIRTY_H

#include <stdint.h>

struct dirty;

struct dirty *dirty_new(void);
void dirty_free(struct dirty *d);
void dirty_add(struct dirty *d, uint32_t sector, uint32_t sectors);
void dirty_remove(struct dirty *d, uint32_t sector, uint32_t sectors);
void dirty_clear(struct dirty *d);
uint64_t dirty_bytes(const struct dirty *d);

#endif
