/* actlog.h: the activity log of a captured volume: which regions are hot, that is, may differ from
 * what the deltas of the group say.
 *
 * INVARIANT: a region that is cold on the disk holds, on the disk, what the newest RP says of it.
 * So a region is made hot durably before its first backing write is issued (actlog_heat), and
 * becomes cold only when all of it is in durable deltas and on the backing disk itself (capture.h
 * says how that is known). After any crash the hot regions are dirty, and nothing else is.
 *
 * The file, STATE/GROUP/VOLUME.log: a header of 512 bytes, then one bit for each region in blocks
 * of 512 bytes, each with a checksum:
 *
 *   header  "RELAISA1", version u32, zero u32, volume's bytes u64, zeroes, SHA-256 (32) of all
 * before block   496 bytes: region BLOCK * 3968 + i is bit i % 8 of byte i / 8; then the first 16
 * bytes of the SHA-256 over block number (u32) and those bits
 *
 * A bitmap by place, not a list of slots: a block that was torn or rotted leaves no doubt which
 * regions it spoke of, so exactly these are hot. 512 bytes are what a disk writes whole or not at
 * all; where it does not, the checksum tells. The log of 16 TiB is 530 KiB, that of 1 TiB 34 KiB.
 * The header is written as part of a whole new file, renamed over the old one; or in place when the
 * volume grows, after the blocks of the new part are durable: torn, it makes all regions hot.
 *
 * A missing log, a header that does not fit: all regions are hot. That is also how a volume is
 * seeded, and how it is known after a restart what of it is not seeded yet. A volume that grew: its
 * new part is hot. All calls marked (wait). */
#ifndef RELAIS_ACTLOG_H
#define RELAIS_ACTLOG_H

#include "err.h"
#include "rounds.h"

#include <stdbool.h>
#include <stdint.h>

struct actlog;

/* size: the volume's, in bytes. all_hot: forgets what the file says. On return the file is durable
 * and says what memory does. Errors: IO, SPACE, naming the path. (waits) */
int actlog_open(struct actlog **out, const char *path, uint64_t size, bool all_hot, struct err *e);
void actlog_close(struct actlog *a); /* NULL is fine; works in a cancelled fiber (waits) */

uint32_t actlog_regions(const struct actlog *a);
/* The open file, for tests that watch what is written to it. */
int actlog_fd(const struct actlog *a);
/* Regions in [first, first + count) are hot, durably. */
bool actlog_is_hot(const struct actlog *a, uint32_t first, uint32_t count);
/* The first region >= from that is hot or becoming so, or actlog_regions. */
uint32_t actlog_next_hot(const struct actlog *a, uint32_t from);
uint32_t actlog_hot_count(const struct actlog *a);

/* Makes them hot: on the disk when it returns 0; else a negative errno. Concurrent calls share
 * writes and sync. (waits) */
int actlog_heat(struct actlog *a, uint32_t first, uint32_t count);
/* Cold in memory at once; on the disk with the next sync of the log, whenever that is: a crash
 * before finds the region hot, which is true too. A region that somebody is heating stays hot. */
void actlog_cool(struct actlog *a, uint32_t region);
/* The volume has grown to size bytes: its new regions are hot, durably. grown(arg) is called in the
 * step in which they come to be, and does not wait. 0 or a negative errno: then all is as it was.
 * (waits) */
int actlog_grow(struct actlog *a, uint64_t size, void (*grown)(void *arg), void *arg);
uint64_t actlog_size(const struct actlog *a); /* bytes of the volume */
/* Writes and syncs what changed. 0 or a negative errno. (waits) */
int actlog_sync(struct actlog *a);

#endif
