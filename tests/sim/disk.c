#include "disk.h"

#include "disk_inode.h"
#include "err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A slot of the view that was punched although the durable image has a page there. */
static uint8_t hole[DISK_PAGE];

struct disk *disk_new(struct world *w, uint64_t capacity)
{
    struct disk *d = err_calloc(1, sizeof *d);
    d->w = w;
    d->changes_end = &d->changes;
    d->root = inode_hold(inode_new(d, true));
    inode_relink(d->root, 1, 0);
    disk_set_capacity(d, capacity);
    return d;
}

void disk_free(struct disk *d)
{
    if (!d)
        return;
    disk_names_free(d);
    inode_relink(d->root, -1, 0);
    inode_drop(d->root);
    ASSERT(!d->inodes); /* a handle was never released */
    free(d);
}

void disk_set_capacity(struct disk *d, uint64_t bytes)
{
    d->capacity = bytes / DISK_PAGE;
}

void disk_set_lies(struct disk *d, struct disk_lies lies)
{
    d->lies = lies;
}

uint64_t disk_used(const struct disk *d)
{
    return d->used * DISK_PAGE;
}

void disk_space(const struct disk *d, struct io_space *out)
{
    out->total = d->capacity * DISK_PAGE;
    out->available = d->used < d->capacity ? (d->capacity - d->used) * DISK_PAGE : 0;
}

/* ---- inodes ---- */

struct inode *inode_new(struct disk *d, bool is_dir)
{
    struct inode *i = err_calloc(1, sizeof *i);
    i->disk = d;
    i->is_dir = is_dir;
    i->changes_end = &i->changes;
    i->mtime = d->w->now;
    i->next = d->inodes;
    if (d->inodes)
        d->inodes->prev = i;
    d->inodes = i;
    return i;
}

struct inode *inode_hold(struct inode *i)
{
    i->holds++;
    return i;
}

static void drop_changes(struct inode *i)
{
    while (i->changes) {
        struct change *c = i->changes;
        i->changes = c->next;
        free(c);
    }
    i->changes_end = &i->changes;
}

void inode_drop(struct inode *i)
{
    ASSERT(i->holds > 0);
    if (--i->holds > 0)
        return;
    ASSERT(i->links == 0 && i->handles == 0);
    if (i->prev)
        i->prev->next = i->next;
    else
        i->disk->inodes = i->next;
    if (i->next)
        i->next->prev = i->prev;
    drop_changes(i);
    for (size_t s = 0; s < i->slots; s++) {
        free(i->durable[s]);
        if (i->view[s] != hole)
            free(i->view[s]);
    }
    free(i->durable);
    free(i->view);
    table_free(&i->names);
    table_free(&i->durable_names);
    free(i);
}

void inode_relink(struct inode *i, int links, int handles)
{
    bool was = i->links + i->handles > 0;
    i->links = (unsigned)((int)i->links + links);
    i->handles = (unsigned)((int)i->handles + handles);
    if (was && i->links + i->handles == 0)
        i->disk->used -= i->pages;
    else if (!was && i->links + i->handles > 0)
        i->disk->used += i->pages;
}

void disk_hold(struct inode *i)
{
    inode_hold(i);
    inode_relink(i, 0, 1);
}

void disk_release(struct inode *i)
{
    inode_relink(i, 0, -1);
    inode_drop(i);
}

/* Pages of the view were allocated or released. */
static void account(struct inode *i, uint64_t more, uint64_t less)
{
    i->pages = i->pages + more - less;
    if (i->links + i->handles > 0)
        i->disk->used = i->disk->used + more - less;
}

static bool allocated(const struct inode *i, uint64_t slot)
{
    if (slot >= i->slots)
        return false;
    return i->view[slot] ? i->view[slot] != hole : i->durable[slot] != NULL;
}

static const uint8_t *seen(const struct inode *i, uint64_t slot)
{
    if (slot >= i->slots)
        return hole;
    if (i->view[slot])
        return i->view[slot];
    return i->durable[slot] ? i->durable[slot] : hole;
}

static void grow_slots(struct inode *i, uint64_t slots)
{
    size_t want = i->slots ? i->slots : 4;
    if (slots <= i->slots)
        return;
    while (want < slots)
        want *= 2;
    i->durable = err_realloc(i->durable, want * sizeof *i->durable);
    i->view = err_realloc(i->view, want * sizeof *i->view);
    memset(i->durable + i->slots, 0, (want - i->slots) * sizeof *i->durable);
    memset(i->view + i->slots, 0, (want - i->slots) * sizeof *i->view);
    i->slots = want;
}

/* A page of the view that may be written. */
static uint8_t *own(struct inode *i, uint64_t slot)
{
    if (!i->view[slot] || i->view[slot] == hole) {
        uint8_t *p = err_malloc(DISK_PAGE);
        memcpy(p, seen(i, slot), DISK_PAGE);
        if (!allocated(i, slot))
            account(i, 1, 0);
        i->view[slot] = p;
    }
    return i->view[slot];
}

/* ---- the view ---- */

static void record(struct inode *i, enum change_kind kind, uint64_t off, uint64_t len,
                   const void *data)
{
    size_t n = kind == CHANGE_WRITE ? len : 0;
    struct change *c = err_malloc(sizeof *c + n);
    *c = (struct change){NULL, ++i->order, i->disk->w->now, kind, off, len};
    if (n)
        memcpy(c->data, data, n);
    *i->changes_end = c;
    i->changes_end = &c->next;
    i->mtime = i->disk->w->now;
    if (!i->disk->lies.sync && i->changes->at + DISK_WRITE_BACK < i->disk->w->now)
        inode_sync(i, i->changes->order + 1);
}

void inode_stat(const struct inode *i, struct io_stat *out)
{
    *out = (struct io_stat){.size = i->is_dir ? DISK_PAGE : i->size,
                            .allocated = i->pages * DISK_PAGE,
                            .mtime_ns = (int64_t)i->mtime,
                            .is_dir = i->is_dir,
                            .is_file = !i->is_dir};
}

int inode_read(const struct inode *i, void *buf, size_t len, uint64_t off)
{
    uint8_t *p = buf;
    if (i->is_dir)
        return -EISDIR;
    if (off >= i->size)
        return 0;
    if (len > i->size - off)
        len = (size_t)(i->size - off);
    for (size_t done = 0; done < len;) {
        size_t in = (size_t)((off + done) % DISK_PAGE), n = DISK_PAGE - in;
        if (n > len - done)
            n = len - done;
        memcpy(p + done, seen(i, (off + done) / DISK_PAGE) + in, n);
        done += n;
    }
    return (int)len;
}

int inode_write(struct inode *i, const void *buf, size_t len, uint64_t off)
{
    const uint8_t *p = buf;
    size_t done = 0;
    if (off > DISK_FILE_MAX || len > DISK_FILE_MAX - off)
        return -EFBIG;
    if (len == 0)
        return 0;
    grow_slots(i, (off + len + DISK_PAGE - 1) / DISK_PAGE);
    while (done < len) {
        uint64_t slot = (off + done) / DISK_PAGE;
        size_t in = (size_t)((off + done) % DISK_PAGE), n = DISK_PAGE - in;
        if (n > len - done)
            n = len - done;
        if (!allocated(i, slot) && i->disk->used >= i->disk->capacity)
            break;
        memcpy(own(i, slot) + in, p + done, n);
        done += n;
    }
    if (done < len)
        i->disk->w->count[FAULT_DISK_FULL]++;
    if (done == 0)
        return -ENOSPC;
    if (off + done > i->size)
        i->size = off + done;
    record(i, CHANGE_WRITE, off, done, buf);
    return (int)done;
}

static void view_zero(struct inode *i, uint64_t off, uint64_t end)
{
    if (end > i->slots * (uint64_t)DISK_PAGE)
        end = i->slots * (uint64_t)DISK_PAGE;
    while (off < end) {
        uint64_t slot = off / DISK_PAGE, in = off % DISK_PAGE, n = DISK_PAGE - in;
        if (n > end - off)
            n = end - off;
        if (n == DISK_PAGE) {
            if (allocated(i, slot))
                account(i, 0, 1);
            if (i->view[slot] != hole)
                free(i->view[slot]);
            i->view[slot] = hole; /* not NULL: an older write may become durable before it */
        } else if (allocated(i, slot)) {
            memset(own(i, slot) + in, 0, n);
        }
        off += n;
    }
}

int inode_truncate(struct inode *i, uint64_t size)
{
    if (size > DISK_FILE_MAX)
        return -EFBIG;
    if (size < i->size)
        view_zero(i, size, i->slots * (uint64_t)DISK_PAGE);
    i->size = size;
    record(i, CHANGE_RESIZE, size, 0, NULL);
    return 0;
}

int inode_punch(struct inode *i, uint64_t off, uint64_t len)
{
    if (off > DISK_FILE_MAX || len > DISK_FILE_MAX - off)
        return -EFBIG;
    view_zero(i, off, off + len);
    record(i, CHANGE_PUNCH, off, len, NULL);
    return 0;
}

int inode_run(const struct inode *i, uint64_t off, struct io_run *out)
{
    uint64_t slot = off / DISK_PAGE, last = (i->size + DISK_PAGE - 1) / DISK_PAGE;
    if (off >= i->size)
        return -ENXIO;
    *out = (struct io_run){off, 0, allocated(i, slot)};
    while (slot < last && allocated(i, slot) == out->data)
        slot++;
    out->end = slot * DISK_PAGE < i->size ? slot * DISK_PAGE : i->size;
    return 0;
}

int inode_lock(struct inode *i, const void *owner)
{
    if (i->locker && i->locker != owner)
        return -EWOULDBLOCK;
    i->locker = owner;
    return 0;
}

void inode_unlock(struct inode *i, const void *owner)
{
    if (i->locker == owner)
        i->locker = NULL;
}

/* ---- what lasts ---- */

static void durable_put(struct inode *i, uint64_t off, const uint8_t *p, size_t len)
{
    while (len > 0) {
        uint64_t slot = off / DISK_PAGE;
        size_t in = (size_t)(off % DISK_PAGE), n = DISK_PAGE - in < len ? DISK_PAGE - in : len;
        if (!i->durable[slot])
            i->durable[slot] = err_calloc(1, DISK_PAGE);
        memcpy(i->durable[slot] + in, p, n);
        off += n;
        p += n;
        len -= n;
        if (off > i->durable_size)
            i->durable_size = off;
    }
}

static void durable_zero(struct inode *i, uint64_t off, uint64_t end)
{
    if (end > i->slots * (uint64_t)DISK_PAGE)
        end = i->slots * (uint64_t)DISK_PAGE;
    while (off < end) {
        uint64_t slot = off / DISK_PAGE, in = off % DISK_PAGE, n = DISK_PAGE - in;
        if (n > end - off)
            n = end - off;
        if (n == DISK_PAGE) {
            free(i->durable[slot]);
            i->durable[slot] = NULL;
        } else if (i->durable[slot]) {
            memset(i->durable[slot] + in, 0, n);
        }
        off += n;
    }
}

static void make_durable(struct inode *i, const struct change *c)
{
    switch (c->kind) {
    case CHANGE_WRITE:
        durable_put(i, c->off, c->data, c->len);
        break;
    case CHANGE_PUNCH:
        durable_zero(i, c->off, c->off + c->len);
        break;
    case CHANGE_RESIZE:
        if (c->off < i->durable_size)
            durable_zero(i, c->off, i->slots * (uint64_t)DISK_PAGE);
        i->durable_size = c->off;
        break;
    }
}

/* Forgets the view: readers see the durable image. */
static void settle(struct inode *i)
{
    uint64_t pages = 0;
    for (size_t s = 0; s < i->slots; s++) {
        if (i->view[s] != hole)
            free(i->view[s]);
        i->view[s] = NULL;
        pages += i->durable[s] != NULL;
    }
    i->size = i->durable_size;
    account(i, pages, i->pages);
    i->stale = false;
}

uint64_t inode_mark(const struct inode *i)
{
    return i->order;
}

void inode_sync(struct inode *i, uint64_t mark)
{
    if (i->disk->lies.sync) {
        i->disk->w->count[FAULT_LIE]++;
        return;
    }
    while (i->changes && i->changes->order <= mark) {
        struct change *c = i->changes;
        make_durable(i, c);
        i->changes = c->next;
        if (!c->next)
            i->changes_end = &i->changes;
        free(c);
    }
    if (!i->changes && !i->stale)
        settle(i);
}

/* Keeps of a write what the write-back of single sectors had brought to the medium. `closed` has a
 * byte of sector bits per page: a sector that lost one write has lost the later ones too. */
static void tear(struct inode *i, const struct change *c, uint8_t *closed, uint32_t keep)
{
    struct world *w = i->disk->w;
    uint64_t kept = 0, off = c->off, end = c->off + c->len;
    while (off < end) {
        uint64_t n = DISK_SECTOR - off % DISK_SECTOR;
        uint8_t bit = (uint8_t)(1u << (off % DISK_PAGE / DISK_SECTOR));
        if (n > end - off)
            n = end - off;
        if (!(closed[off / DISK_PAGE] & bit) && rng_chance(&w->rng, keep)) {
            durable_put(i, off, c->data + (off - c->off), (size_t)n);
            kept += n;
        } else {
            closed[off / DISK_PAGE] |= bit;
        }
        off += n;
    }
    if (kept < c->len)
        w->count[kept > 0 ? FAULT_WRITE_TORN : FAULT_WRITE_LOST]++;
}

/* Any subset of the changes up to the mark reaches the medium; the rest of them is gone. */
static void keep_some(struct inode *i, uint64_t mark)
{
    static const uint32_t keeps[] = {0, 1000000, 500000, 900000, 100000};
    struct rng *r = &i->disk->w->rng;
    uint8_t *closed;
    uint32_t mood = (uint32_t)rng_below(r, 6);
    if (!i->changes)
        return;
    closed = err_calloc(i->slots + 1, 1);
    while (i->changes && i->changes->order <= mark) {
        struct change *c = i->changes;
        uint32_t keep = keeps[mood < 5 ? mood : rng_below(r, 5)];
        if (c->kind == CHANGE_WRITE)
            tear(i, c, closed, keep);
        else if (rng_chance(r, keep))
            make_durable(i, c);
        else
            i->disk->w->count[FAULT_WRITE_LOST]++;
        i->changes = c->next;
        free(c);
    }
    if (!i->changes)
        i->changes_end = &i->changes;
    free(closed);
}

void inode_sync_failed(struct inode *i, uint64_t mark)
{
    keep_some(i, mark);
    i->stale = true;
    if (!i->changes && !i->steady && rng_chance(&i->disk->w->rng, 500000))
        settle(i); /* the kernel evicted the pages: readers see the loss at once */
}

void inode_crash(struct inode *i)
{
    i->locker = NULL;
    if (i->is_dir)
        return;
    keep_some(i, UINT64_MAX);
    settle(i);
}

void disk_crash(struct disk *d)
{
    disk_names_crash(d);
    for (struct inode *i = d->inodes; i; i = i->next) {
        ASSERT(i->handles == 0);
        inode_crash(i);
    }
}

void disk_rot(struct disk *d, const char *path, uint64_t off)
{
    struct inode *i;
    uint64_t slot = off / DISK_PAGE;
    ASSERT(disk_open(d, path, 0, &i) == 0 && off < i->size && slot < i->slots);
    if (i->durable[slot])
        i->durable[slot][off % DISK_PAGE] ^= 0x10;
    if (i->view[slot] && i->view[slot] != hole)
        i->view[slot][off % DISK_PAGE] ^= 0x10;
    d->w->count[FAULT_BIT_ROT]++;
    disk_release(i);
}
