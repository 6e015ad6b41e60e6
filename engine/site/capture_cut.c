#include "capture_own.h"

#include "fio.h"
#include "log.h"
#include "rest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PER_REGION  ((uint32_t)(REGION_SIZE >> SECTOR_SHIFT))
#define GAP         16u                           /* sectors read along rather than in two reads */
#define HANDED_OVER 16u                           /* sectors that a thread is asked to read */
#define HOLE_STEP   ((uint64_t)4096 * PER_REGION) /* looked at in one step of the loop */
#define COOL_PERIOD (60 * IO_S)
#define COOL_STEP   4096u /* regions looked at between two yields */

void capture_cut(struct capture *c, bool exact)
{
    struct dirty *empty = c->pending;
    ASSERT(!c->cutting && !dirty_any(empty) && !dirty_any(c->sealing));
    ASSERT(saved_count(c->saved) == 0);
    c->pending = c->dirty;
    c->dirty = empty;
    c->cut++;
    c->cutting = true;
    c->exact = exact;
    c->broken = (struct err)ERR_INIT;
    c->run = (struct io_run){0};
}

void capture_insist(struct capture *c, bool insist)
{
    c->insists = insist;
}

static bool old_flights(const struct capture *c)
{
    for (const struct flight *f = c->flights; f; f = f->next)
        if (f->cut < c->cut)
            return true;
    return false;
}

int capture_settle(struct capture *c, struct err *e)
{
    while (old_flights(c))
        if (fiber_wait(&c->landed, FIBER_FOREVER) == -ECANCELED)
            return err_os(e, -ECANCELED, "volume %s", c->name);
    return 0;
}

const struct err *capture_broken(const struct capture *c)
{
    return c->broken.code != ERR_OK ? &c->broken : NULL;
}

/* -- Taking -- */

/* How many sectors from `first` on, up to `end`, are all pending: galloping, then halving. */
static uint64_t pending_run(const struct capture *c, uint64_t first, uint64_t end)
{
    uint64_t len = 0, step = 1;
    bool grows = true;
    while (step > 0) {
        if (first + len + step <= end && dirty_full(c->pending, first + len, first + len + step)) {
            len += step;
            step = grows ? step * 2 : step;
        } else {
            grows = false;
            step /= 2;
        }
    }
    return len;
}

static void claim(struct capture *c, uint64_t first, uint64_t end)
{
    dirty_add_range(c->sealing, first, end);
    dirty_remove(c->pending, (uint32_t)first, (uint32_t)(end - first));
}

/* A hole of whole regions at a pending sector: zero, unless a copy was saved, that is, it was
 * written since (the run was asked for after the cut settled). */
static bool take_hole(struct capture *c, uint64_t first, struct capture_run_of_cut *out)
{
    uint64_t end = c->run.end >= c->size ? c->sectors : c->run.end >> SECTOR_SHIFT;
    uint32_t copy;
    if (c->run.data)
        return false;
    if (end > first + HOLE_STEP)
        end = first + HOLE_STEP;
    end = first + pending_run(c, first, end);
    if (dirty_next(saved_map(c->saved), first, end, &copy))
        end = copy;
    if (end < first + PER_REGION)
        return false;
    claim(c, first, end);
    *out = (struct capture_run_of_cut){first, (uint32_t)(end - first), true};
    return true;
}

int capture_next(struct capture *c, uint64_t from, struct capture_run_of_cut *out, struct err *e)
{
    uint64_t off, left;
    uint32_t first;
    ASSERT(c->cutting);
    if (c->broken.code != ERR_OK) {
        *e = c->broken;
        return -(int)e->code;
    }
    if (!dirty_next(c->pending, from, c->sectors, &first))
        return 0;
    off = (uint64_t)first << SECTOR_SHIFT;
    if (off < c->run.start || off >= c->run.end) {
        int res = fio_run(c->fd, off, &c->run);
        if (res < 0)
            return err_os(e, res, "volume %s: %s: at byte %" PRIu64, c->name, c->path, off);
    }
    if (take_hole(c, first, out))
        return 1;
    out->first = first / PER_REGION * PER_REGION;
    left = c->sectors - out->first;
    out->sectors = left < PER_REGION ? (uint32_t)left : PER_REGION;
    out->hole = false;
    return 1;
}

/* A short one is copied sooner than handed to a thread. */
static int read_run(struct capture *c, enum io_work_class class, uint8_t *dst, uint64_t first,
                    uint32_t sectors)
{
    return sectors < HANDED_OVER ? capture_read_sectors(c, dst, first, sectors)
                                 : capture_read_sectors_as(c, class, dst, first, sectors);
}

/* The next sector in [at, end) that is to be read: of those with a copy, the copy counts. */
static bool next_unsaved(const struct capture *c, uint64_t at, uint64_t end, uint32_t *sector)
{
    while (dirty_next(c->pending, at, end, sector)) {
        if (!saved_has(c->saved, *sector))
            return true;
        at = (uint64_t)*sector + 1;
    }
    return false;
}

/* Reads what is pending in [first, end), and what lies between when that is little. */
static int read_pending(struct capture *c, enum io_work_class class, uint64_t first, uint64_t end,
                        uint8_t *plain)
{
    uint64_t at = first;
    uint32_t from, next;
    while (next_unsaved(c, at, end, &from)) {
        int res;
        at = from + 1;
        while (next_unsaved(c, at, end, &next) && next - at <= GAP)
            at = (uint64_t)next + 1;
        res = read_run(c, class, plain + ((from - first) << SECTOR_SHIFT), from,
                       (uint32_t)(at - from));
        if (res < 0)
            return res;
    }
    return 0;
}

/* The next run in [at, end) of copies in the file that have not been got: *from, and how many; 0:
 * there is none. */
static uint32_t next_spilled(const struct capture *c, const uint64_t *got, uint64_t first,
                             uint64_t at, uint64_t end, uint32_t *from, uint32_t *place)
{
    uint32_t n = 0, sector;
    while (at < end && dirty_next(saved_map(c->saved), at, end, &sector)) {
        uint64_t i = sector - first;
        uint32_t where;
        bool fits = saved_place(c->saved, sector, &where) && !(got[i / 64] >> (i % 64) & 1);
        if (n > 0 && (!fits || sector != *from + n || where != *place + n))
            break;
        if (fits && n++ == 0) {
            *from = sector;
            *place = where;
        }
        at = (uint64_t)sector + 1;
    }
    return n;
}

/* Puts the copies that are in the file over what was read. When it returns there is none that it
 * has not got: what is put while it waits is looked for again. A cut that breaks meanwhile has no
 * copies any more, and needs none. */
static int read_spilled(struct capture *c, enum io_work_class class, uint64_t first, uint64_t end,
                        uint8_t *plain, uint64_t *got)
{
    uint32_t from, place, n;
    bool any;
    do {
        any = false;
        for (uint64_t at = first; (n = next_spilled(c, got, first, at, end, &from, &place)) > 0;
             at = (uint64_t)from + n) {
            int res =
                spill_get(&c->spill, class, plain + ((from - first) << SECTOR_SHIFT), n, place);
            if (res < 0)
                return res;
            for (uint64_t i = from - first; i < from - first + n; i++)
                got[i / 64] |= UINT64_C(1) << (i % 64);
            any = true;
        }
    } while (any);
    return 0;
}

int capture_take(struct capture *c, const struct capture_run_of_cut *run, enum io_work_class class,
                 uint8_t *plain, uint64_t *bits, struct err *e)
{
    uint64_t first = run->first, end = first + run->sectors, at;
    uint64_t got[PER_REGION / 64] = {0};
    uint32_t sector;
    int res;
    ASSERT(c->cutting && !run->hole && run->sectors <= PER_REGION);
    res = read_pending(c, class, first, end, plain);
    if (res == 0)
        res = read_spilled(c, class, first, end, plain, got);
    if (res < 0)
        return err_os(e, res == -ENODATA ? -EIO : res, "volume %s: %s: reading near byte %" PRIu64,
                      c->name, c->path, first << SECTOR_SHIFT);
    /* Rule 4: from here on nothing waits. */
    memset(bits, 0, PER_REGION / 8);
    for (at = first; dirty_next(c->pending, at, end, &sector); at = (uint64_t)sector + 1) {
        uint64_t i = sector - first;
        uint32_t place;
        ASSERT(!saved_place(c->saved, sector, &place) || (got[i / 64] >> (i % 64) & 1));
        bits[i / 64] |= UINT64_C(1) << (i % 64);
        (void)saved_take(c->saved, sector, plain + (i << SECTOR_SHIFT));
        dirty_add(c->sealing, sector, 1);
    }
    dirty_remove(c->pending, (uint32_t)first, run->sectors);
    return 0;
}

void capture_sealed(struct capture *c, uint64_t first, uint32_t sectors)
{
    dirty_remove(c->sealing, (uint32_t)first, sectors);
}

void capture_cut_end(struct capture *c)
{
    if (!c->cutting)
        return;
    c->cutting = false;
    dirty_merge(c->dirty, c->pending);
    dirty_merge(c->dirty, c->sealing);
    saved_clear(c->saved);
}

void capture_tidy(struct capture *c)
{
    if (!c->cutting)
        spill_clear(&c->spill);
}

/* -- Cooling -- */

static bool bit(const uint8_t *map, uint32_t i)
{
    return map[i / 8] >> (i % 8) & 1;
}

/* What is in flight is in one of the maps too: it was marked when it was issued, and what was
 * issued before a cut has ended before any of it is taken. */
static bool may_cool(const struct capture *c, uint32_t region, bool pressed)
{
    uint64_t first = (uint64_t)region * PER_REGION, end = first + PER_REGION;
    uint32_t sector;
    return !bit(c->recent, region) && (pressed || !bit(c->before, region)) &&
           !dirty_next(c->dirty, first, end, &sector) &&
           !dirty_next(c->pending, first, end, &sector) &&
           !dirty_next(c->sealing, first, end, &sector);
}

/* Marks in `out` what may cool; or, of what is marked there, cools what still may. */
static uint32_t each_region(struct capture *c, uint8_t *out, uint32_t regions, bool pressed,
                            bool cool)
{
    uint32_t found = 0, seen = 0;
    for (uint32_t r = actlog_next_hot(c->log, 0); r < regions; r = actlog_next_hot(c->log, r + 1)) {
        if (++seen % COOL_STEP == 0 && fiber_yield() < 0)
            break;
        if ((cool && !bit(out, r)) || !may_cool(c, r, pressed))
            continue;
        found++;
        out[r / 8] = (uint8_t)(out[r / 8] | 1u << (r % 8));
        if (cool)
            actlog_cool(c->log, r);
    }
    return found;
}

/* Writes that began after the first look are in `recent`, so what passes the second look was not
 * written to since before the sync. */
int capture_cool(struct capture *c, bool now, struct err *e)
{
    uint64_t time = io_now(fiber_io());
    bool pressed = actlog_hot_count(c->log) > HOT_REGIONS_MAX;
    uint32_t regions = actlog_regions(c->log); /* it may grow meanwhile */
    size_t bytes = regions / 8 + 1;
    uint8_t *marked;
    int res = 0;
    if (!now && !pressed && c->cooled > 0 && time - c->cooled < COOL_PERIOD)
        return 0;
    marked = err_calloc(bytes, 1);
    if (each_region(c, marked, regions, pressed || now, false) > 0) {
        res = capture_flush(c);
        if (res == 0 && each_region(c, marked, regions, pressed || now, true) > 0)
            res = actlog_sync(c->log);
    }
    free(marked);
    memcpy(c->before, c->recent, bytes);
    memset(c->recent, 0, bytes);
    c->cooled = time;
    return res < 0 ? err_os(e, res, "volume %s: cooling regions", c->name) : 0;
}

int capture_rest(struct capture *c, struct err *e)
{
    int res;
    ASSERT(!c->flights && !c->cutting);
    memset(c->recent, 0, actlog_regions(c->log) / 8 + 1);
    res = capture_cool(c, true, e);
    if (res == 0 && c->failed.code == ERR_OK)
        res = rest_save(c->rest, c->fd, e);
    return res;
}

int capture_all_dirty(struct capture *c, struct err *e)
{
    int res;
    ASSERT(!c->cutting);
    dirty_add_range(c->dirty, 0, c->sectors);
    res = actlog_heat(c->log, 0, actlog_regions(c->log));
    return res < 0 ? err_os(e, res, "volume %s: writing the activity log", c->name) : 0;
}
