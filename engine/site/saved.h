/* saved.h: old content of sectors, kept for the cut under way because they are written again before
 * they were sealed. Pure.
 *
 * A hash table from sector to a page in memory, of which there are at most SAVED_MAX bytes, or to
 * the place where somebody else keeps the content (spill.h). */
#ifndef RELAIS_SAVED_H
#define RELAIS_SAVED_H

#include "dirty.h"

#include <stdbool.h>
#include <stdint.h>

struct saved;

struct saved *saved_new(uint64_t max_bytes);
void saved_free(struct saved *s);
void saved_clear(struct saved *s);
/* Whether n more pages fit. */
bool saved_room(const struct saved *s, uint32_t n);
uint32_t saved_count(const struct saved *s);
bool saved_has(const struct saved *s, uint32_t sector);
/* Keeps a copy of SECTOR_SIZE bytes. There is room, and the sector is not there yet. */
void saved_put(struct saved *s, uint32_t sector, const void *content);
/* Notes that it is kept elsewhere. The sector is not there yet. */
void saved_note(struct saved *s, uint32_t sector, uint32_t place);
/* Whether it is, and where. */
bool saved_place(const struct saved *s, uint32_t sector, uint32_t *place);
/* If it is there: copies it to dst, unless it is kept elsewhere, forgets it,
 * returns true. */
bool saved_take(struct saved *s, uint32_t sector, void *dst);
/* Which sectors there are. Stays the store's. */
const struct dirty *saved_map(const struct saved *s);

#endif
