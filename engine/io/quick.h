/* quick.h: private to io: small buffered writes done by the loop's own thread.
 *
 * A write of some KiB into the page cache takes a microsecond or two. Where the file system takes
 * no buffered write that must not block (ext4), io_uring hands each to a kernel thread and back,
 * which takes longer than the write. But a write may block: when too much of the cache is dirty, on
 * a full journal, on a dying disk; and then the loop stands still for everybody. So the loop's
 * thread does it itself only as long as that is quick. After one that was not, all go to the
 * kernel's threads for a time, which doubles each time that the next try is slow as well: of a disk
 * that blocks for long the loop sees one write in QUICK_PAUSE_MAX. In one turn of the loop no more
 * than QUICK_TURN bytes are written so, that others get their turn. */
#ifndef RELAIS_QUICK_H
#define RELAIS_QUICK_H

#include "bounds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUICK_MAX       ((size_t)(64 * KIB)) /* of one write */
#define QUICK_TURN      ((size_t)(512 * KIB))
#define QUICK_SLOW_NS   UINT64_C(2000000) /* longer than being preempted, usually */
#define QUICK_PAUSE     UINT64_C(100000000)
#define QUICK_PAUSE_MAX UINT64_C(12800000000)

struct quick {
    size_t left;     /* of this turn's bytes */
    uint64_t resume; /* monotonic ns: not before */
    uint64_t pause;  /* how long the last pause was; 0: there was none */
};

/* A new turn of the loop. */
void quick_turn(struct quick *q);
/* True: the write was done, *res is its result (bytes or a negative errno). False: it is the
 * ring's. Files opened with O_DIRECT, which wait for the device, always are. */
bool quick_write(struct quick *q, int fd, const void *buf, size_t len, uint64_t off, int *res);
/* quick_write's judgement of a write from `began` to `ended` (monotonic ns). */
void quick_judge(struct quick *q, uint64_t began, uint64_t ended);
/* Whether a write may be tried now. */
bool quick_may(const struct quick *q, size_t len, uint64_t now);

#endif
