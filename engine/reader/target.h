/* target.h: where a restore goes: a file that appears when it is whole, a block device, or nowhere.
 *
 * A file is written as PATH.relais-part and renamed when it is complete. What a part or a device
 * holds of an earlier attempt is not known here: see state.h. Private to the reader. */
#ifndef RELAIS_TARGET_H
#define RELAIS_TARGET_H

#include "bulk.h"
#include "err.h"

#define TARGET_PATH_MAX 4096u

struct target {
    char path[TARGET_PATH_MAX], part[TARGET_PATH_MAX + 16];
    bool nowhere, device;
    bool resumed; /* a part that is continued, and may hold anything; else it is one hole. Of a
                     device the caller's to set. */
    int fd;
    struct bulk bulk; /* for reading past the page cache; closed until target_read_from_disk */
    uint64_t size;
};

/* Whether path may become a target. path NULL: nowhere. Errors: EXISTS, NOENT (no such directory),
 * INPUT. Touches nothing. (waits) */
int target_check(struct target *t, const char *path, bool force, struct err *e);
/* After target_check: opens it. resume: a part of this size is kept as it is. Errors: AGAIN
 * (another restore is at it), SPACE, IO. A failed one needs target_close, too. (waits) */
int target_open(struct target *t, uint64_t size, bool resume, struct err *e);
/* Both cut at the size; a read past the end of the file fails. (wait) */
int target_write(struct target *t, const void *buf, size_t len, uint64_t off, struct err *e);
int target_read(struct target *t, void *buf, size_t len, uint64_t off, struct err *e);
/* Makes a range read as zeroes. Of a file only where it holds data. (waits) */
int target_zero(struct target *t, uint64_t off, uint64_t len, struct err *e);
/* Whether a range reads as zeroes: *zero_to is off+len, or where the first other byte is. (waits)
 */
int target_is_zero(struct target *t, uint64_t off, uint64_t len, uint64_t *zero_to, struct err *e);
/* Makes what was written durable. (waits) */
int target_sync(struct target *t, struct err *e);
/* From now on reads come from the disk and not from the page cache, where that can be had: aligned
 * buffers whose room is a multiple of BULK_ALIGN. After target_sync. (waits) */
int target_read_from_disk(struct target *t, struct err *e);
/* All of it is written and durable: it appears under its name, durably. (waits) */
int target_finish(struct target *t, struct err *e);
void target_close(struct target *t); /* (waits) */

#endif
