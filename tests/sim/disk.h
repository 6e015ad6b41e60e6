/* disk.h: a simulated file system that forgets what was not synced.
 *
 * Each file has a durable image and a view; changes (writes, punches, resizes) go to the view and
 * to a list. inode_sync makes the changes up to a mark durable: the mark is taken when the sync is
 * submitted, so that writes in flight at that time gain nothing. Names likewise: creations, renames
 * and removals are in the view at once and durable after disk_sync_dir of every directory they
 * touch.
 *
 * disk_crash keeps any subset of the changes. A write is torn at 512-byte sectors; a sector holds a
 * prefix of the history of its writes, as write-back of a page cache does. Name changes survive
 * each on its own, or as a prefix of their order, or not at all.
 *
 * No events, no latency: that is node_disk.c. Results are >= 0 or a negative errno. Content is
 * sparse, 4 KiB pages; space is counted in pages of the view. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "io.h"
#include "world.h"

#define DISK_PAGE     4096u
#define DISK_SECTOR   512u
#define DISK_FILE_MAX (UINT64_C(64) << 30)
#define DISK_NAME_MAX 255u

struct disk;
struct inode;

/* A disk of that capacity with an empty root directory. */
struct disk *disk_new(struct world *w, uint64_t capacity);
void disk_free(struct disk *d);
void disk_set_capacity(struct disk *d, uint64_t bytes);
uint64_t disk_used(const struct disk *d);
void disk_space(const struct disk *d, struct io_space *out);

/* Loses what a power cut loses. No handles may be open (drop them first). */
void disk_crash(struct disk *d);

/* Ways in which a disk can lie, for the self-test: the judge must notice. */
struct disk_lies {
    bool sync;     /* inode_sync reports success and does nothing */
    bool sync_dir; /* the same for disk_sync_dir */
    bool rename;   /* renames are not synced, and a crash leaves half of the file */
};
void disk_set_lies(struct disk *d, struct disk_lies lies);

/* ---- names (disk_names.c) ---- */

/* open(2) with O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY. The inode is held until disk_release. */
int disk_open(struct disk *d, const char *path, int flags, struct inode **out);
/* One more hold, for a request in flight. */
void disk_hold(struct inode *i);
void disk_release(struct inode *i);
int disk_stat(struct disk *d, const char *path, struct io_stat *out);
int disk_rename(struct disk *d, const char *from, const char *to);
int disk_unlink(struct disk *d, const char *path);
int disk_mkdir(struct disk *d, const char *path);
int disk_list(struct disk *d, const char *path, struct io_names *out);
/* The order of the newest name change: what a sync_dir submitted now makes durable. */
uint64_t disk_name_mark(const struct disk *d);
int disk_sync_dir(struct disk *d, const char *path, uint64_t mark);

/* ---- content (disk.c) ---- */

void inode_stat(const struct inode *i, struct io_stat *out);
/* Bytes read; 0 at the end. */
int inode_read(const struct inode *i, void *buf, size_t len, uint64_t off);
/* Bytes written, fewer when the disk is nearly full; -ENOSPC, -EFBIG. */
int inode_write(struct inode *i, const void *buf, size_t len, uint64_t off);
int inode_truncate(struct inode *i, uint64_t size);
int inode_punch(struct inode *i, uint64_t off, uint64_t len);
/* -ENXIO when off is at or behind the end. */
int inode_run(const struct inode *i, uint64_t off, struct io_run *out);
uint64_t inode_mark(const struct inode *i);
void inode_sync(struct inode *i, uint64_t mark);
/* A sync that fails: each change up to the mark reached the medium or is lost for good, although
 * readers may still see it until a crash; a later sync does not bring it back. */
void inode_sync_failed(struct inode *i, uint64_t mark);
/* Exclusive lock for `owner`: 0 or -EWOULDBLOCK. Unlock is by the owner only. */
int inode_lock(struct inode *i, const void *owner);
void inode_unlock(struct inode *i, const void *owner);

/* ---- for scenarios and checkers: behind every engine's back, durable at once ---- */

/* Creates the file and its directories as needed. */
void disk_poke(struct disk *d, const char *path, uint64_t off, const void *buf, size_t len);
/* The whole file as readers see it, malloc'd; NULL when there is none. */
uint8_t *disk_peek(struct disk *d, const char *path, size_t *len);
/* What a failed sync loses of this file shows only after a power cut; and whether something is lost
 * so. For volumes: what guests see of one would otherwise go back while they live. */
void disk_set_steady(struct disk *d, const char *path);
bool disk_is_stale(struct disk *d, const char *path);
/* Part of a file; false when it does not reach so far. */
bool disk_peek_at(struct disk *d, const char *path, uint64_t off, void *buf, size_t len);
/* Removes everything below a directory, durably. */
void disk_wipe(struct disk *d, const char *path);
/* Flips one bit of the file's durable and visible content. */
void disk_rot(struct disk *d, const char *path, uint64_t off);

#endif
