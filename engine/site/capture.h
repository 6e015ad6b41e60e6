/* capture.h: one volume in service: reads and writes go to the backing volume in place, and what
 * was written is known until a recovery point holds it.
 *
 * A write makes its region hot in the activity log (durably, before the first backing write to it),
 * marks its sectors dirty at the instant it is issued to the backing volume, and is acknowledged
 * when that backing write is done. A cut takes the dirty map as it is at one instant; sectors of
 * the cut that are written again before they were sealed are first saved (copy before write). The
 * backing volume is always a plain volume. Zeroes and trims both make the range read as zero,
 * exactly (a trim too: it is a zero that may release space), and become zero extents, without
 * payload.
 *
 * Several requests of several connections run at once, each in a fiber of its own; requests that
 * overlap in flight may be ordered either way, as NBD allows. All calls (wait) but those of which
 * it is said.
 *
 * -- Why an RP is the volume at one cut --
 *
 * Three maps: `dirty` (issued since the last cut), `pending` (of the cut under way, not sealed
 * yet), `sealing` (taken by the sealer, not durable yet). T is the instant of the cut: one step of
 * the loop, for all volumes of the group, in which `dirty` becomes `pending`. Four rules, each
 * checked and acted upon without a wait in between (takeoff and capture_take):
 *
 *  1. No two backing writes to one sector are in flight at once; the second waits.
 *  2. A write marks its sectors in `dirty` in the same step in which it is issued. So `pending` is
 *     exactly what was issued before T and is in no older RP.
 *  3. A write issued after T to a sector in `pending` is issued only when the sector's old content
 *     is in the saved store. By rule 1 that content is not in motion when it is read; if the
 *     sector left `pending` or a new cut began while it was read, it is not kept and the write
 *     looks again.
 *  4. The sealer begins when all writes issued before T have ended (capture_settle). It reads a
 *     region, and then, in one step, puts the saved copies over what it read and takes the region's
 *     sectors out of `pending`.
 *
 * So what the sealer takes of a sector is its content at the end of the writes issued before T: if
 * it was written after T and before that step, rule 3 has a copy; if not, it does not change
 * between settling and that step, and the reading is stable. What is read meanwhile of sectors in
 * motion is thrown away.
 *
 * Order: let B be issued after A was acknowledged, and B be in the RP. Then B was issued before T
 * (a later write is not in the RP: rule 3 where its sector is pending, and else the sector is not
 * taken at all), so A had ended before T, and its sectors were in `dirty` by then or in an older
 * RP: A is in. A write in flight at T was issued, so it is in, as a whole: it is waited for. A
 * write that was cancelled or failed in flight may be in by any part, as on any disk.
 *
 * Old content is kept in memory (saved.h) and, if the cut insists, in a file (spill.h). When it
 * cannot be kept (there is no room, or it cannot be read) the cut is broken: it ends early,
 * incomplete, and the write goes on. No guest waits for sealing. (Extents of a delta ascend, so the
 * sealer could not even take the region out of turn that a write would wait for; what is lost
 * instead is one complete RP, and the group catches up before it tries again.) A pass that is not
 * exact (it ends incomplete anyway) saves nothing: what changes under it is in `dirty` again.
 *
 * Why clean survives a crash: a region is cold on the disk only when (a) no sector of it is in any
 * of the three maps: all of it is in deltas that are durable in the spool; (b) the group's record
 * names those deltas, so that history that lost one of them makes everything dirty (scanned.h); (c)
 * the backing volume was synced after the last write to the region ended: else a power cut could
 * take the backing volume, but not the deltas, back to older content. Nothing else is kept: hot
 * regions are dirty after any crash.
 *
 * Old content comes from the page cache mostly; a cache of payloads of our own may come later.
 *
 * A volume may grow while it is in service (capture_resize). Its new part is dirty and hot from the
 * step on in which it comes to be; a cut has the size of its instant. */
#ifndef RELAIS_CAPTURE_H
#define RELAIS_CAPTURE_H

#include "config.h"
#include "err.h"
#include "fio.h"
#include "index.h"

struct capture;
struct spool_share;

enum {
    CAPTURE_FUA = 1,     /* durable when it returns */
    CAPTURE_NO_HOLE = 2, /* zeroes must stay allocated */
    CAPTURE_FAST = 4     /* zeroes only if that is faster than writing them: else -ENOTSUP */
};

/* Opens the backing volume and the activity log (STATE/GROUP/VOLUME.log); regions hot in it are
 * dirty (recovery after any crash; a volume without a log: seeding). all_dirty: everything is (a
 * history that does not continue). Errors: IO, NOENT, LIMIT, SPACE. */
int capture_open(struct capture **out, const struct config_volume *config, const char *state_dir,
                 const char *group, struct spool_share *share, bool all_dirty, struct err *e);
/* No request may be under way. Leaves everything as it is, as a crash would. NULL is fine; works in
 * a cancelled fiber. */
void capture_close(struct capture *c);
/* Looks whether the backing volume has grown, and if so takes its new size: readers and writers may
 * go beyond the old one when it returns. One that shrank is refused: what clients believe to be
 * there is not. Errors: IO, SPACE, LIMIT, INPUT (shrank). */
int capture_resize(struct capture *c, struct err *e);
uint64_t capture_size(const struct capture *c); /* bytes; a multiple of 512; does not wait */

/* -- For the export. Results: 0, or a negative errno for the NBD client. -- */

int capture_read(struct capture *c, void *buf, uint32_t len, uint64_t off);
int capture_write(struct capture *c, const void *buf, uint32_t len, uint64_t off, unsigned flags);
int capture_zero(struct capture *c, uint32_t len, uint64_t off, unsigned flags);
int capture_trim(struct capture *c, uint32_t len, uint64_t off, unsigned flags);
int capture_flush(struct capture *c);
/* The run of data or hole at off, for base:allocation. */
int capture_run(struct capture *c, uint64_t off, struct io_run *out);

/* -- For the cut. Results: 0 (or as said), or a negative code. -- */

/* The instant: what is dirty now is the cut. Not exact: the pass ends incomplete. One at a time.
 * Does not wait. */
void capture_cut(struct capture *c, bool exact);
/* Of the cuts to come: whether old content that memory has no room for is kept in the spool, which
 * makes writes slower for a while, or the cut given up. Does not wait. */
void capture_insist(struct capture *c, bool insist);
/* Waits until all writes issued before the cut have ended. Errors: CANCELED. */
int capture_settle(struct capture *c, struct err *e);

/* A run of sectors that ascend. hole: all of them are in the cut and zero; they are taken. Else
 * some are; capture_take says which. */
struct capture_run_of_cut {
    uint64_t first;
    uint32_t sectors; /* at most a region, and in one, unless it is a hole */
    bool hole;
};
/* 1 and the first run at or behind `from`; 0: there is none. Errors: AGAIN (the cut is broken), IO.
 */
int capture_next(struct capture *c, uint64_t from, struct capture_run_of_cut *out, struct err *e);
/* Reads the cut's sectors of a run into plain (a region, by place; what is not in the cut is
 * undefined; zero behind the end of the volume) and takes them. class: whose work the reading is.
 * bits: a bit for each sector in the cut, by place. Errors: IO. */
int capture_take(struct capture *c, const struct capture_run_of_cut *run, enum io_work_class class,
                 uint8_t *plain, uint64_t *bits, struct err *e);
/* What was taken of this run is durable, by a delta that the group's record names. Does not wait.
 */
void capture_sealed(struct capture *c, uint64_t first, uint32_t sectors);
/* What is not sealed is dirty again. Does not wait. */
void capture_cut_end(struct capture *c);
/* After it: gives back the space that old content took. share, of capture_open: whose budget that
 * counts against; NULL: old content is kept in memory only. Works in a cancelled fiber. */
void capture_tidy(struct capture *c);
/* Why the cut is broken, or NULL. Does not wait. */
const struct err *capture_broken(const struct capture *c);

/* Cools regions that nobody has written to for a while; without `now`, only when it is time.
 * Errors: IO. */
int capture_cool(struct capture *c, bool now, struct err *e);
/* Nobody will write any more: cools all that may cool, so that the next start finds no more dirty
 * than there is, and remembers the backing file, so that it notices what others write (rest.h).
 * Errors: IO. */
int capture_rest(struct capture *c, struct err *e);
/* All of it is dirty, durably: history does not continue. Between two cuts. Errors: IO, SPACE. */
int capture_all_dirty(struct capture *c, struct err *e);
/* Wakes somebody once `left` more bytes were issued to be written, by all captures that share it.
 */
struct capture_watch {
    int64_t left; /* not positive: it has woken, and rests until this is set again */
    struct fiber_cond *wake;
};
/* Does not wait; the watch stays valid until capture_close. */
void capture_set_watch(struct capture *c, struct capture_watch *watch);
/* Why flushes fail, and all further ones will; or NULL. Does not wait. */
const struct err *capture_failed(const struct capture *c);
/* Bytes that are in no durable delta; what is so twice counts twice. Regions that are hot. Neither
 * waits. */
uint64_t capture_dirty_bytes(const struct capture *c);
uint32_t capture_hot_regions(const struct capture *c);

#endif
