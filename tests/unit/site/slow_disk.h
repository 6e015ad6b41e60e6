/* slow_disk.h: a disk in front of the real one that takes its time: requests start late, end late,
 * pass each other, and reads and writes of chosen files are short. What depends on timing shows. */
#ifndef RELAIS_SLOW_DISK_H
#define RELAIS_SLOW_DISK_H

#include "io.h"

struct slow_disk {
    struct io *io;
    const struct io_ops *real;
    struct io_ops ops;
    unsigned seed;
    uint64_t usual_ns, rare_ns;          /* longest delay; and of one in 32 requests */
    bool (*is_short)(void *arg, int fd); /* whose transfers may be short */
    void *arg;
    bool hold_reads, hold_syncs; /* of those files: done, but not reported until released */
    unsigned overlaps; /* writes to a sector of those files that another was under way to */
    struct slow_request *requests;
};

/* In place of io's verbs read, write and sync, until slow_disk_end: nothing may be in flight then.
 */
void slow_disk_begin(struct slow_disk *d, struct io *io);
void slow_disk_end(struct slow_disk *d);
/* How many requests are held. Reports them, and holds no more. */
unsigned slow_disk_held(const struct slow_disk *d);
void slow_disk_release(struct slow_disk *d);

#endif
