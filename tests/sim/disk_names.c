#include "disk.h"
#include "disk_inode.h"
#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tables ---- */

static size_t place_of(const struct table *t, const char *name, bool *found)
{
    size_t lo = 0, hi = t->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strcmp(t->entries[mid].name, name);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *found = false;
    return lo;
}

static struct inode *table_get(const struct table *t, const char *name)
{
    bool found;
    size_t at = place_of(t, name, &found);
    return found ? t->entries[at].inode : NULL;
}

/* Sets or, with inode NULL, removes. links: whether the table is of the view. */
static void table_set(struct table *t, const char *name, struct inode *inode, bool links)
{
    bool found;
    size_t at = place_of(t, name, &found);
    if (inode) {
        inode_hold(inode);
        if (links)
            inode_relink(inode, 1, 0);
    }
    if (found) {
        struct inode *old = t->entries[at].inode;
        if (inode) {
            t->entries[at].inode = inode;
        } else {
            free(t->entries[at].name);
            t->count--;
            memmove(t->entries + at, t->entries + at + 1, (t->count - at) * sizeof *t->entries);
        }
        if (links)
            inode_relink(old, -1, 0);
        inode_drop(old);
    } else if (inode) {
        if (t->count == t->cap) {
            t->cap = t->cap ? 2 * t->cap : 8;
            t->entries = err_realloc(t->entries, t->cap * sizeof *t->entries);
        }
        memmove(t->entries + at + 1, t->entries + at, (t->count - at) * sizeof *t->entries);
        t->entries[at] = (struct entry){err_strdup(name), inode};
        t->count++;
    }
}

static void table_clear(struct table *t, bool links)
{
    while (t->count > 0)
        table_set(t, t->entries[t->count - 1].name, NULL, links);
}

void table_free(struct table *t)
{
    ASSERT(t->count == 0);
    free(t->entries);
}

/* ---- paths ---- */

struct place { /* where a path leads: the directory and the last name ("" for the root itself) */
    struct inode *dir;
    char name[DISK_NAME_MAX + 1];
};

static int walk(struct disk *d, const char *path, struct place *out)
{
    out->dir = d->root;
    out->name[0] = '\0';
    for (;;) {
        size_t n;
        while (*path == '/')
            path++;
        if (!*path)
            return 0;
        n = strcspn(path, "/");
        if (n > DISK_NAME_MAX)
            return -ENAMETOOLONG;
        if (n == 1 && path[0] == '.') {
            path += n;
            continue;
        }
        if (n == 2 && path[0] == '.' && path[1] == '.')
            return -EINVAL; /* no engine code needs it: refuse rather than model it */
        if (out->name[0]) {
            struct inode *next = table_get(&out->dir->names, out->name);
            if (!next)
                return -ENOENT;
            if (!next->is_dir)
                return -ENOTDIR;
            out->dir = next;
        }
        memcpy(out->name, path, n);
        out->name[n] = '\0';
        path += n;
    }
}

static int find(struct disk *d, const char *path, struct inode **out)
{
    struct place p;
    int rc = walk(d, path, &p);
    if (rc < 0)
        return rc;
    *out = p.name[0] ? table_get(&p.dir->names, p.name) : p.dir;
    return *out ? 0 : -ENOENT;
}

/* ---- changes ---- */

static void change_free(struct name_change *c)
{
    if (c->from_dir)
        inode_drop(c->from_dir);
    if (c->to_dir)
        inode_drop(c->to_dir);
    inode_drop(c->inode);
    free(c->from);
    free(c->to);
    free(c);
}

static void make_durable(struct name_change *c)
{
    if (c->from_dir && table_get(&c->from_dir->durable_names, c->from) == c->inode)
        table_set(&c->from_dir->durable_names, c->from, NULL, false);
    if (c->to_dir)
        table_set(&c->to_dir->durable_names, c->to, c->inode, false);
}

/* A file system commits on its own after a while. */
static void commit_old(struct disk *d)
{
    struct name_change *c = d->changes;
    if (!c || c->at + DISK_WRITE_BACK > d->w->now || d->lies.sync_dir)
        return;
    make_durable(c);
    d->changes = c->next;
    if (!d->changes)
        d->changes_end = &d->changes;
    change_free(c);
}

static void record(struct disk *d, struct inode *inode, const struct place *from,
                   const struct place *to)
{
    struct name_change *c;
    for (unsigned n = 0; n < 2; n++) /* faster than they come: the list stays short */
        commit_old(d);
    c = err_calloc(1, sizeof *c);
    c->at = d->w->now;
    c->order = ++d->order;
    c->inode = inode_hold(inode);
    if (from) {
        c->from_dir = inode_hold(from->dir);
        c->from = err_strdup(from->name);
    }
    if (to) {
        c->to_dir = inode_hold(to->dir);
        c->to = err_strdup(to->name);
    }
    *d->changes_end = c;
    d->changes_end = &c->next;
}

static bool same_name(const struct inode *dir, const char *name, const struct name_change *c)
{
    return dir && ((c->from_dir == dir && strcmp(c->from, name) == 0) ||
                   (c->to_dir == dir && strcmp(c->to, name) == 0));
}

/* Makes durable what came earlier to the names that c touches: a name that is durably gone must not
 * come back through an older change. Returns where c hangs in the list. */
static struct name_change **promote_before(struct disk *d, const struct name_change *c)
{
    struct name_change **at = &d->changes;
    while (*at != c) {
        struct name_change *old = *at;
        if (same_name(c->from_dir, c->from, old) || same_name(c->to_dir, c->to, old)) {
            make_durable(old);
            *at = old->next;
            change_free(old);
        } else {
            at = &old->next;
        }
    }
    return at;
}

static void promote(struct disk *d, struct name_change *c, const struct inode *dir)
{
    struct name_change **at = promote_before(d, c);
    if (c->from_dir && c->from_dir != dir) {
        /* A rename from elsewhere: syncing where it led to makes the new name durable; the old one
         * may still be there after a crash. */
        table_set(&c->to_dir->durable_names, c->to, c->inode, false);
        inode_drop(c->to_dir);
        free(c->to);
        c->to_dir = NULL;
        c->to = NULL;
        return;
    }
    make_durable(c);
    *at = c->next;
    if (d->changes_end == &c->next)
        d->changes_end = at;
    change_free(c);
}

uint64_t disk_name_mark(const struct disk *d)
{
    return d->order;
}

/* Whether this is a rename on a disk that keeps them back. */
static bool lies_about(const struct disk *d, const struct name_change *c)
{
    return d->lies.rename && c->from_dir && c->to_dir;
}

int disk_sync_dir(struct disk *d, const char *path, uint64_t mark)
{
    struct inode *dir;
    int rc = find(d, path, &dir);
    if (rc < 0)
        return rc;
    if (!dir->is_dir)
        return -ENOTDIR;
    if (d->lies.sync_dir) {
        d->w->count[FAULT_LIE]++;
        return 0;
    }
    for (;;) { /* again from the start each time: promoting one may remove others */
        struct name_change *c = d->changes;
        while (c && c->order <= mark &&
               ((c->from_dir != dir && c->to_dir != dir) || lies_about(d, c)))
            c = c->next;
        if (!c || c->order > mark)
            return 0;
        promote(d, c, dir);
    }
}

/* The view of names becomes the durable one, directory by directory. */
static void settle_names(struct inode *dir)
{
    table_clear(&dir->names, true);
    for (size_t n = 0; n < dir->durable_names.count; n++) {
        const struct entry *e = &dir->durable_names.entries[n];
        table_set(&dir->names, e->name, e->inode, true);
    }
}

/* Directories that are reachable no more hold entries, which hold inodes: empty them. */
static void clear_lost(struct disk *d)
{
    for (struct inode *i = d->inodes; i;) {
        if (i->is_dir && i != d->root && i->links == 0 &&
            i->names.count + i->durable_names.count > 0) {
            inode_hold(i);
            table_clear(&i->names, true);
            table_clear(&i->durable_names, false);
            inode_drop(i);
            i = d->inodes; /* that may have freed others */
        } else {
            i = i->next;
        }
    }
}

/* So that no directory is freed before its tables are empty. */
static void hold_dirs(struct disk *d)
{
    for (struct inode *i = d->inodes; i; i = i->next)
        if (i->is_dir)
            inode_hold(i);
}

static void drop_dirs(struct disk *d)
{
    for (struct inode *i = d->inodes, *next; i; i = next) {
        next = i->next;
        if (i->is_dir)
            inode_drop(i);
    }
}

static void forget_changes(struct disk *d)
{
    while (d->changes) {
        struct name_change *c = d->changes;
        d->changes = c->next;
        change_free(c);
    }
    d->changes_end = &d->changes;
}

/* What a lying rename leaves: the new name with half of the file behind it. */
static void halve(struct disk *d, struct name_change *c)
{
    struct inode *i = c->inode;
    if (!d->lies.rename || !c->from_dir || !c->to_dir || i->is_dir || i->size < 2)
        return;
    (void)inode_truncate(i, i->size / 2);
    i->durable_size = i->durable_size > i->size ? i->size : i->durable_size;
    make_durable(c);
    d->w->count[FAULT_LIE]++;
}

void disk_names_crash(struct disk *d)
{
    uint64_t mood = rng_below(&d->w->rng, 4);
    uint32_t keep = mood == 0 ? 0 : mood == 1 ? 950000 : 500000;
    bool prefix = mood < 3, lost = false;
    for (struct name_change *c = d->changes; c; c = c->next) {
        lost = (prefix && lost) || !rng_chance(&d->w->rng, keep);
        if (!lost)
            make_durable(c);
        else
            d->w->count[FAULT_NAME_LOST]++;
        halve(d, c);
    }
    forget_changes(d);
    hold_dirs(d);
    for (struct inode *i = d->inodes; i; i = i->next)
        if (i->is_dir)
            settle_names(i);
    clear_lost(d);
    drop_dirs(d);
}

void disk_names_free(struct disk *d)
{
    forget_changes(d);
    hold_dirs(d);
    table_clear(&d->root->names, true);
    table_clear(&d->root->durable_names, false);
    clear_lost(d);
    drop_dirs(d);
}

/* ---- operations ---- */

static int create(struct disk *d, const struct place *p, bool is_dir, struct inode **out)
{
    struct inode *i;
    if (d->used >= d->capacity) {
        d->w->count[FAULT_DISK_FULL]++;
        return -ENOSPC;
    }
    i = inode_hold(inode_new(d, is_dir));
    table_set(&p->dir->names, p->name, i, true);
    record(d, i, NULL, p);
    inode_drop(i);
    *out = i;
    return 0;
}

int disk_open(struct disk *d, const char *path, int flags, struct inode **out)
{
    struct place p;
    struct inode *i;
    int rc = walk(d, path, &p);
    if (rc < 0)
        return rc;
    i = p.name[0] ? table_get(&p.dir->names, p.name) : p.dir;
    if (i && (flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (!i && !(flags & O_CREAT))
        return -ENOENT;
    if (!i && (rc = create(d, &p, false, &i)) < 0)
        return rc;
    if (i->is_dir && (flags & O_ACCMODE) != O_RDONLY)
        return -EISDIR;
    if (!i->is_dir && (flags & O_DIRECTORY))
        return -ENOTDIR;
    disk_hold(i);
    if ((flags & O_TRUNC) && i->size > 0)
        (void)inode_truncate(i, 0);
    *out = i;
    return 0;
}

int disk_stat(struct disk *d, const char *path, struct io_stat *out)
{
    struct inode *i;
    int rc = find(d, path, &i);
    if (rc == 0)
        inode_stat(i, out);
    return rc;
}

int disk_rename(struct disk *d, const char *from, const char *to)
{
    struct place a, b;
    struct inode *i, *old;
    int rc = walk(d, from, &a);
    if (rc == 0)
        rc = walk(d, to, &b);
    if (rc < 0)
        return rc;
    i = a.name[0] ? table_get(&a.dir->names, a.name) : NULL;
    if (!i || !b.name[0])
        return i ? -EBUSY : -ENOENT;
    old = table_get(&b.dir->names, b.name);
    if (old == i)
        return 0;
    if (old && old->is_dir)
        return -EEXIST; /* rename(2) allows an empty one; no engine code needs that */
    if (old && i->is_dir)
        return -ENOTDIR;
    inode_hold(i);
    table_set(&a.dir->names, a.name, NULL, true);
    table_set(&b.dir->names, b.name, i, true);
    record(d, i, &a, &b);
    inode_drop(i);
    return 0;
}

int disk_unlink(struct disk *d, const char *path)
{
    struct place p;
    struct inode *i;
    int rc = walk(d, path, &p);
    if (rc < 0)
        return rc;
    i = p.name[0] ? table_get(&p.dir->names, p.name) : p.dir;
    if (!i)
        return -ENOENT;
    if (i->is_dir)
        return -EISDIR;
    record(d, i, &p, NULL);
    table_set(&p.dir->names, p.name, NULL, true);
    return 0;
}

int disk_mkdir(struct disk *d, const char *path)
{
    struct place p;
    struct inode *i;
    int rc = walk(d, path, &p);
    if (rc < 0)
        return rc;
    if (!p.name[0] || table_get(&p.dir->names, p.name))
        return -EEXIST;
    return create(d, &p, true, &i);
}

int disk_list(struct disk *d, const char *path, struct io_names *out)
{
    struct inode *dir;
    int rc = find(d, path, &dir);
    *out = (struct io_names){0};
    if (rc < 0)
        return rc;
    if (!dir->is_dir)
        return -ENOTDIR;
    out->names = err_calloc(dir->names.count, sizeof *out->names);
    for (size_t n = 0; n < dir->names.count; n++)
        out->names[n] = err_strdup(dir->names.entries[n].name);
    out->count = dir->names.count;
    return 0;
}

/* ---- behind the engine's back ---- */

/* Does `each` to the root and every directory on the way to path. */
static void along(struct disk *d, const char *path, int (*each)(struct disk *, const char *))
{
    char *copy = err_strdup(path);
    (void)each(d, "/");
    for (char *slash = copy; *slash && (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        (void)each(d, copy);
        *slash = '/';
    }
    free(copy);
}

static int sync_all(struct disk *d, const char *path)
{
    return disk_sync_dir(d, path, UINT64_MAX);
}

void disk_poke(struct disk *d, const char *path, uint64_t off, const void *buf, size_t len)
{
    struct inode *i;
    struct disk_lies lies = d->lies;
    uint64_t capacity = d->capacity;
    d->capacity = UINT64_MAX / 2;
    d->lies = (struct disk_lies){0};
    along(d, path, disk_mkdir);
    ASSERT(disk_open(d, path, O_RDWR | O_CREAT, &i) == 0);
    ASSERT(inode_write(i, buf, len, off) == (int)len);
    inode_sync(i, UINT64_MAX);
    disk_release(i);
    along(d, path, sync_all);
    d->capacity = capacity;
    d->lies = lies;
}

void disk_wipe(struct disk *d, const char *path)
{
    struct io_names names;
    struct disk_lies lies = d->lies;
    if (disk_list(d, path, &names) < 0)
        return;
    for (size_t n = 0; n < names.count; n++) {
        char *child = err_malloc(strlen(path) + strlen(names.names[n]) + 2);
        (void)sprintf(child, "%s/%s", path, names.names[n]);
        if (disk_unlink(d, child) == -EISDIR)
            disk_wipe(d, child);
        free(child);
    }
    io_names_free(&names);
    d->lies = (struct disk_lies){0};
    (void)sync_all(d, path);
    d->lies = lies;
}

uint8_t *disk_peek(struct disk *d, const char *path, size_t *len)
{
    struct inode *i;
    uint8_t *p;
    if (find(d, path, &i) < 0 || i->is_dir)
        return NULL;
    p = err_malloc((size_t)i->size + 1);
    *len = (size_t)i->size;
    for (size_t done = 0; done < *len;)
        done +=
            (size_t)inode_read(i, p + done, *len - done > 1u << 30 ? 1u << 30 : *len - done, done);
    return p;
}

void disk_set_steady(struct disk *d, const char *path)
{
    struct inode *i;
    ASSERT(find(d, path, &i) == 0);
    i->steady = true;
}

bool disk_is_stale(struct disk *d, const char *path)
{
    struct inode *i;
    return find(d, path, &i) == 0 && i->stale;
}

bool disk_peek_at(struct disk *d, const char *path, uint64_t off, void *buf, size_t len)
{
    struct inode *i;
    return find(d, path, &i) == 0 && !i->is_dir && off + len <= i->size &&
           inode_read(i, buf, len, off) == (int)len;
}
