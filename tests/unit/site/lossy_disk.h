/* lossy_disk.h: a disk whose power can be cut: of what was written to chosen files and not synced
 * since, each 512 bytes are there or not, by chance. */
#ifndef RELAIS_LOSSY_DISK_H
#define RELAIS_LOSSY_DISK_H

#include "io.h"

struct lossy_undo;

struct lossy_disk {
    struct io *io;
    const struct io_ops *real;
    struct io_ops ops;
    unsigned seed;
    bool (*is_lossy)(void *arg, int fd);
    void *arg;
    struct lossy_undo *undo; /* newest first */
    uint64_t writes, lost;
};

void lossy_disk_begin(struct lossy_disk *d, struct io *io);
/* Nothing may be in flight. The files are still open under the same numbers. */
void lossy_disk_cut_power(struct lossy_disk *d);
void lossy_disk_end(struct lossy_disk *d);

#endif
