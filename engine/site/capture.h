/* capture.h: one volume in service: reads and writes go to the backing volume in place, and what was
 * written is known until a recovery point holds it.
 *
 * A write marks its sectors dirty, makes its region hot in the activity log (durably, before the
 * first backing write to it), and is acknowledged when the backing write is done. A cut takes the
 * dirty map as it is at one instant; sectors of the cut that are written again before they were
 * sealed are first saved (copy before write). The backing volume is always a plain volume.
 *
 * Several requests of several connections run at once, each in a fiber of its own; requests that
 * overlap in flight may be ordered either way, as NBD allows. All calls but capture_cut (wait).
 * Results: 0 (or as said) or a negative errno, for the NBD client. */
#ifndef RELAIS_CAPTURE_H
#define RELAIS_CAPTURE_H

#include "config.h"
#include "err.h"
#include "fio.h"
#include "index.h"

struct capture;

enum {
    CAPTURE_FUA = 1,     /* durable when it returns */
    CAPTURE_NO_HOLE = 2, /* zeroes must stay allocated */
    CAPTURE_FAST = 4     /* zeroes only if that is faster than writing them: else -ENOTSUP */
};

/* Opens the backing volume and the activity log (STATE/GROUP/VOLUME.log); regions hot in it are dirty
 * (recovery after any crash). all_dirty: everything is (seeding, a history that does not continue).
 * Errors: IO, NOENT, LIMIT, CORRUPT. */
int capture_open(struct capture **out, const struct config_volume *config, const char *state_dir,
                 const char *group, bool all_dirty, struct err *e);
void capture_close(struct capture *c);
uint64_t capture_size(const struct capture *c); /* bytes; a multiple of 512 */

int capture_read(struct capture *c, void *buf, uint32_t len, uint64_t off);
int capture_write(struct capture *c, const void *buf, uint32_t len, uint64_t off, unsigned flags);
int capture_zero(struct capture *c, uint32_t len, uint64_t off, unsigned flags);
int capture_trim(struct capture *c, uint32_t len, uint64_t off, unsigned flags);
int capture_flush(struct capture *c);
/* The run of data or hole at off, for base:allocation. */
int capture_run(struct capture *c, uint64_t off, struct io_run *out);

#endif
