/* crash_disk.h: a disk that dies at a chosen step, and forgets names that were not synced.
 *
 * Steps are what changes files or names: creating, writing, syncing, renaming, removing. From the
 * chosen one on nothing is done any more and everything fails; or that one alone fails. Changes of
 * names since the last sync of their directory can be taken back, the newest first, as a
 * journalling file system would lose them. */
#ifndef RELAIS_CRASH_DISK_H
#define RELAIS_CRASH_DISK_H

#include "io.h"

#define CRASH_NAMES 256u

struct crash_name {
    bool removed; /* else renamed from `from` */
    bool replaced;
    char from[320], path[320], kept[64]; /* kept: another name of what was there */
};

struct crash_disk {
    struct io *io;
    const struct io_ops *real;
    struct io_ops ops;
    uint64_t step, at; /* at: 0 never */
    bool once;         /* only that step fails */
    bool hit;
    char side[48]; /* a directory for what may come back */
    struct crash_name names[CRASH_NAMES];
    unsigned name_count;
};

void crash_disk_begin(struct crash_disk *d, struct io *io, uint64_t at, bool once);
/* Back to the real disk. */
void crash_disk_end(struct crash_disk *d);
/* Takes back the newest `count` changes of names that no sync has covered. */
void crash_disk_forget(struct crash_disk *d, unsigned count);
void crash_disk_free(struct crash_disk *d);

#endif
