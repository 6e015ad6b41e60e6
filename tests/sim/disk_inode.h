/* disk_inode.h: what disk.c and disk_names.c share; nobody else looks inside. */
#ifndef SIM_DISK_INODE_H
#define SIM_DISK_INODE_H

#include "disk.h"

/* What nobody synced is written back after so long (ns), as Linux does by default. */
#define DISK_WRITE_BACK UINT64_C(30000000000)

struct entry {
    char *name;
    struct inode *inode;
};
struct table { /* of a directory, sorted by name */
    struct entry *entries;
    size_t count, cap;
};

enum change_kind { CHANGE_WRITE, CHANGE_PUNCH, CHANGE_RESIZE };
struct change { /* of content, not yet durable */
    struct change *next;
    uint64_t order, at;
    enum change_kind kind;
    uint64_t off, len; /* RESIZE: off is the new size */
    uint8_t data[];
};

struct inode {
    struct disk *disk;
    struct inode *prev, *next; /* all of the disk */
    bool is_dir, stale;        /* stale: a failed sync lost changes that the view still shows */
    bool steady;               /* stale until the power fails */
    unsigned holds;            /* names in both trees, recorded name changes, handles */
    unsigned links, handles;   /* in the view: while either is there, its pages take space */
    uint64_t mtime;
    const void *locker;
    /* a file's */
    uint8_t **durable, **view; /* view NULL: as durable */
    size_t slots;
    uint64_t durable_size, size;
    uint64_t pages; /* allocated in the view */
    struct change *changes, **changes_end;
    uint64_t order;
    /* a directory's */
    struct table names, durable_names;
};

struct name_change { /* creation (from NULL), removal (to NULL), or rename; not yet durable */
    struct name_change *next;
    uint64_t order, at;
    struct inode *from_dir, *to_dir, *inode;
    char *from, *to;
};

struct disk {
    struct world *w;
    struct inode *inodes, *root;
    uint64_t capacity, used; /* pages */
    struct name_change *changes, **changes_end;
    uint64_t order;
    struct disk_lies lies;
};

struct inode *inode_new(struct disk *d, bool is_dir);
struct inode *inode_hold(struct inode *i);
void inode_drop(struct inode *i);
/* Its links or handles change: space follows. */
void inode_relink(struct inode *i, int links, int handles);
/* The halves of disk_crash. */
void inode_crash(struct inode *i);
void disk_names_crash(struct disk *d);
void disk_names_free(struct disk *d);
void table_free(struct table *t);

#endif
