#include "capture_own.h"

#include "fio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_CHUNK (4 * MIB)  /* of one backing write: what one write can have to save at most */
#define ZERO_CHUNK  (64 * MIB) /* where nothing is to be saved */
#define SAVE_CHUNK  64u        /* sectors read at once to be saved */
#define ZERO_BUFFER (1 * MIB)

static bool flying(const struct capture *c, uint64_t first, uint64_t end)
{
    for (const struct flight *f = c->flights; f; f = f->next)
        if (f->first < end && first < f->end)
            return true;
    return false;
}

void capture_break(struct capture *c)
{
    saved_clear(c->saved);
}

/* -- Copy before write -- */

static bool unsaved(const struct capture *c, uint64_t sector)
{
    return dirty_has(c->pending, (uint32_t)sector) && !saved_has(c->saved, (uint32_t)sector);
}

/* The first run of sectors in [first, end) that must be saved; 0 sectors: none. */
static uint32_t to_save(const struct capture *c, uint64_t first, uint64_t end, uint64_t *from)
{
    uint32_t n = 0, sector;
    if (!capture_saves(c))
        return 0;
    while (n == 0 && dirty_next(c->pending, first, end, &sector)) {
        *from = sector;
        while (n < SAVE_CHUNK && *from + n < end && unsaved(c, *from + n))
            n++;
        first = *from + 1;
    }
    return n;
}

/* There is no room for it: the guest does not wait for the sealer to make some. */
static void outrun(struct capture *c)
{
    (void)err_set(&c->broken, ERR_AGAIN,
                  "volume %s: more of it changed again before it was sealed than there is room for "
                  "the old content of (%llu MiB%s); the cut ends incomplete, the next complete RP "
                  "comes later",
                  c->name, (unsigned long long)(SAVED_MAX / MIB),
                  c->insists ? ", and what the spool's budget has left" : "");
    capture_break(c);
}

static bool outdated(const struct capture *c, uint64_t cut)
{
    return c->cut != cut || !capture_saves(c);
}

/* Rule 3: what was copied counts only if nothing has changed that it was copied for: another write
 * may have saved a sector and be writing it now, the sealer may have taken it, the cut may be over.
 * content: NULL: it is in the file, from `place` on. */
static void keep(struct capture *c, uint64_t first, uint32_t n, const uint8_t *content,
                 uint32_t place)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!unsaved(c, first + i))
            continue;
        if (content)
            saved_put(c->saved, (uint32_t)(first + i), content + (size_t)i * SECTOR_SIZE);
        else
            saved_note(c->saved, (uint32_t)(first + i), place + i);
        c->saves++;
    }
}

/* A few sectors: to memory or, when that is full, to the file. */
static int save_few(struct capture *c, uint64_t first, uint32_t n)
{
    uint64_t cut = c->cut;
    uint8_t *buf = err_malloc((size_t)n * SECTOR_SIZE);
    uint32_t place = 0;
    int res = capture_read_sectors(c, buf, first, n);
    if (res < 0 && res != -ECANCELED && !outdated(c, cut)) {
        (void)err_os(&c->broken, res,
                     "volume %s: %s: sectors from %llu on cannot be read to be kept for the cut",
                     c->name, c->path, (unsigned long long)first);
        capture_break(c);
    }
    if (res == 0 && !outdated(c, cut) && saved_room(c->saved, n)) {
        keep(c, first, n, buf, 0);
    } else if (res == 0 && !outdated(c, cut)) {
        res = c->insists ? spill_put(&c->spill, buf, n, &place) : -ENOSPC;
        if (res == 0 && !outdated(c, cut))
            keep(c, first, n, NULL, place);
        else if (res < 0 && res != -ECANCELED && !outdated(c, cut))
            outrun(c);
    }
    free(buf);
    return res == -ECANCELED ? res : 0;
}

/* From file to file, by a thread: the loop copies nothing, and memory is left to the small ones.
 * What fails that way is tried the other way, which finds out why. */
static int save(struct capture *c, uint64_t first, uint32_t n)
{
    uint64_t cut = c->cut, end = (first + n) << SECTOR_SHIFT;
    uint32_t place = 0;
    int res;
    if (!c->insists || n < SPILL_LARGE >> SECTOR_SHIFT)
        return save_few(c, first, n);
    res = spill_copy(&c->spill, c->fd, first << SECTOR_SHIFT, n,
                     end > c->size ? (uint32_t)(end - c->size) : 0, &place);
    if (res == -ECANCELED || outdated(c, cut))
        return res == -ECANCELED ? res : 0;
    if (res < 0)
        return save_few(c, first, n);
    keep(c, first, n, NULL, place);
    return 0;
}

/* -- Issuing -- */

static void touch(struct capture *c, uint32_t region, uint32_t count)
{
    for (uint32_t i = region; i < region + count; i++)
        c->recent[i / 8] = (uint8_t)(c->recent[i / 8] | 1u << (i % 8));
}

static void watch(struct capture *c, uint64_t sectors)
{
    struct capture_watch *w = c->watch;
    if (!w || w->left <= 0)
        return;
    w->left -= (int64_t)(sectors << SECTOR_SHIFT);
    if (w->left <= 0)
        fiber_wake_all(w->wake);
}

/* Waits until the range may be written, then marks it: from the last check to the return, and on to
 * the caller's submitting the backing write, nothing else runs. */
static int takeoff(struct capture *c, struct flight *f, uint64_t off, uint64_t len)
{
    uint64_t first = off >> SECTOR_SHIFT;
    uint64_t end = (off + len + SECTOR_SIZE - 1) >> SECTOR_SHIFT;
    uint32_t region = capture_region(first), count = capture_region(end - 1) - region + 1;
    uint64_t from = 0;
    for (;;) {
        uint32_t n;
        int res = 0;
        touch(c, region, count);
        if (flying(c, first, end))
            res = fiber_wait(&c->landed, FIBER_FOREVER);
        else if (!actlog_is_hot(c->log, region, count))
            res = actlog_heat(c->log, region, count);
        else if ((n = to_save(c, first, end, &from)) > 0)
            res = save(c, from, n);
        else
            break;
        if (res < 0)
            return res;
    }
    if (fiber_cancelled())
        return -ECANCELED;
    dirty_add_range(c->dirty, first, end);
    watch(c, end - first);
    *f = (struct flight){.next = c->flights, .first = first, .end = end, .cut = c->cut};
    if (c->flights)
        c->flights->prev = f;
    c->flights = f;
    return 0;
}

static void land(struct capture *c, struct flight *f)
{
    if (f->prev)
        f->prev->next = f->next;
    else
        c->flights = f->next;
    if (f->next)
        f->next->prev = f->prev;
    fiber_wake_all(&c->landed);
}

static int check(const struct capture *c, uint32_t len, uint64_t off)
{
    return off > c->size || len > c->size - off ? -ENOSPC : 0;
}

static int finish(struct capture *c, int res, unsigned flags)
{
    return res == 0 && (flags & CAPTURE_FUA) ? capture_flush(c) : res;
}

int capture_write(struct capture *c, const void *buf, uint32_t len, uint64_t off, unsigned flags)
{
    const uint8_t *p = buf;
    int res = check(c, len, off);
    while (len > 0 && res == 0) {
        uint32_t n = len < WRITE_CHUNK ? len : (uint32_t)WRITE_CHUNK;
        struct flight f;
        res = takeoff(c, &f, off, n);
        if (res < 0)
            break;
        res = fio_write_all(c->fd, p, n, off);
        land(c, &f);
        p += n;
        off += n;
        len -= n;
    }
    return finish(c, res, flags);
}

static int write_zeroes(struct capture *c, uint32_t len, uint64_t off)
{
    size_t cap = len < ZERO_BUFFER ? len : (size_t)ZERO_BUFFER;
    uint8_t *zeroes = err_calloc(1, cap);
    int res = 0;
    while (len > 0 && res == 0) {
        uint32_t n = len < cap ? len : (uint32_t)cap;
        res = fio_write_all(c->fd, zeroes, n, off);
        off += n;
        len -= n;
    }
    free(zeroes);
    return res;
}

/* How much of the range at once: little where copies may have to be made first. */
static uint32_t zero_chunk(const struct capture *c, uint32_t len, uint64_t off)
{
    uint32_t n = len < ZERO_CHUNK ? len : (uint32_t)ZERO_CHUNK, sector;
    uint64_t end = (off + n + SECTOR_SIZE - 1) >> SECTOR_SHIFT;
    if (n > WRITE_CHUNK && capture_saves(c) &&
        dirty_next(c->pending, off >> SECTOR_SHIFT, end, &sector))
        n = (uint32_t)WRITE_CHUNK;
    return n;
}

int capture_zero(struct capture *c, uint32_t len, uint64_t off, unsigned flags)
{
    int res = check(c, len, off);
    if ((flags & CAPTURE_FAST) && (flags & CAPTURE_NO_HOLE))
        return -ENOTSUP;
    while (len > 0 && res == 0) {
        uint32_t n = zero_chunk(c, len, off);
        struct flight f;
        res = takeoff(c, &f, off, n);
        if (res < 0)
            break;
        res = flags & CAPTURE_NO_HOLE ? write_zeroes(c, n, off)
                                      : fio_punch(c->fd, off, n, (flags & CAPTURE_FAST) != 0);
        land(c, &f);
        off += n;
        len -= n;
    }
    return finish(c, res, flags);
}

int capture_trim(struct capture *c, uint32_t len, uint64_t off, unsigned flags)
{
    return capture_zero(c, len, off, flags & CAPTURE_FUA);
}
