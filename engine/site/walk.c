#include "walk.h"

#include "fio.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int open_volume(struct walk *w, uint16_t i, struct err *e)
{
    const struct config_volume *config = w->indexes->volumes[i].config;
    const char *group = w->indexes->chain->group;
    struct capture *capture = w->indexes->volumes[i].capture;
    struct walk_volume *v = &w->volumes[i];
    struct io_stat st;
    int res;
    if (capture) {
        v->size = w->sizes[i] = capture_size(capture);
        return 0;
    }
    v->fd = fio_open(config->path, O_RDONLY | O_CLOEXEC, 0);
    res = v->fd < 0 ? v->fd : fio_fstat(v->fd, &st);
    if (res < 0)
        return err_os(e, res, "volume %s/%s: %s", group, config->name, config->path);
    if (st.size > VOLUME_MAX)
        return err_set(e, ERR_LIMIT,
                       "volume %s/%s: %s has %" PRIu64 " bytes, more than the %llu a "
                       "volume may have",
                       group, config->name, config->path, st.size, (unsigned long long)VOLUME_MAX);
    v->size = w->sizes[i] = st.size;
    w->total += st.size;
    return 0;
}

int walk_open(struct walk *w, struct indexes *indexes, struct err *e)
{
    int res = 0;
    *w = (struct walk){.indexes = indexes, .from_nothing = chain_tip_rp(indexes->chain) == 0};
    w->volumes = err_calloc(indexes->count, sizeof *w->volumes);
    w->sizes = err_calloc(indexes->count, sizeof *w->sizes);
    for (uint16_t i = 0; i < indexes->count; i++)
        w->volumes[i].fd = -1;
    for (uint16_t i = 0; i < indexes->count && res == 0; i++)
        res = open_volume(w, i, e);
    if (res < 0)
        walk_close(w);
    return res;
}

void walk_close(struct walk *w)
{
    for (uint16_t i = 0; i < w->indexes->count; i++) {
        fio_close_always(w->volumes[i].fd);
        if (w->indexes->volumes[i].capture)
            capture_tidy(w->indexes->volumes[i].capture);
    }
    free(w->volumes);
    free(w->sizes);
    *w = (struct walk){0};
}

/* -- Captured volumes -- */

void walk_cut(struct walk *w, bool exact, bool insist)
{
    for (uint16_t i = 0; i < w->indexes->count; i++) {
        struct capture *c = w->indexes->volumes[i].capture;
        if (!c)
            continue;
        capture_insist(c, insist);
        capture_cut(c, exact);
        w->volumes[i].size = w->sizes[i] =
            capture_size(c); /* it may have grown since it was opened */
        w->total += capture_dirty_bytes(c);
    }
}

int walk_settle(struct walk *w, struct err *e)
{
    int res = 0;
    for (uint16_t i = 0; i < w->indexes->count && res == 0; i++)
        if (w->indexes->volumes[i].capture)
            res = capture_settle(w->indexes->volumes[i].capture, e);
    return res;
}

void walk_end(struct walk *w)
{
    for (uint16_t i = 0; i < w->indexes->count; i++)
        if (w->indexes->volumes[i].capture)
            capture_cut_end(w->indexes->volumes[i].capture);
}

const struct err *walk_broken(const struct walk *w)
{
    const struct err *broken = NULL;
    for (uint16_t i = 0; i < w->indexes->count && !broken; i++)
        if (w->indexes->volumes[i].capture)
            broken = capture_broken(w->indexes->volumes[i].capture);
    return broken;
}

static int next_captured(struct walk *w, struct walk_region *out, struct err *e)
{
    struct capture *c = w->indexes->volumes[w->volume].capture;
    struct walk_volume *v = &w->volumes[w->volume];
    struct capture_run_of_cut run;
    const struct err *broken = walk_broken(w);
    int res;
    if (broken) {
        *e = *broken;
        return -(int)e->code;
    }
    while ((res = capture_next(c, v->sector, &run, e)) > 0) {
        v->sector = run.first + run.sectors;
        if (run.hole)
            w->done += (uint64_t)run.sectors << SECTOR_SHIFT;
        if (run.hole && w->from_nothing) {
            capture_sealed(c, run.first, run.sectors);
            continue;
        }
        *out = (struct walk_region){.volume = w->volume, .hole = run.hole, .run = run};
        break;
    }
    return res;
}

static int read_captured(struct walk *w, const struct walk_region *at, struct slot *s,
                         enum io_work_class class, struct err *e)
{
    struct region *r = &s->region;
    int res = 0;
    r->captured = true;
    r->hole = at->hole;
    r->first = (uint32_t)at->run.first;
    r->sectors = at->run.sectors;
    if (!at->hole)
        res = capture_take(w->indexes->volumes[at->volume].capture, &at->run, class, s->plain,
                           r->taken, e);
    for (uint32_t i = 0; i < REGION_SECTORS / 64 && !at->hole; i++)
        w->done += (uint64_t)__builtin_popcountll(r->taken[i]) << SECTOR_SHIFT;
    return res;
}

/* -- */

static int io_error(const struct walk *w, uint16_t i, int res, uint64_t off, struct err *e)
{
    const struct config_volume *config = w->indexes->volumes[i].config;
    if (res == -ENODATA)
        return err_set(e, ERR_IO,
                       "volume %s/%s: %s ends before byte %" PRIu64 ", it shrank during the "
                       "scan",
                       w->indexes->chain->group, config->name, config->path, w->volumes[i].size);
    return err_os(e, res, "volume %s/%s: %s: reading at byte %" PRIu64, w->indexes->chain->group,
                  config->name, config->path, off);
}

static uint64_t region_end(const struct walk_volume *v, uint64_t off)
{
    return v->size - off < REGION_SIZE ? v->size : off + REGION_SIZE;
}

/* How many whole regions from this one on are holes of the volume; the last may be short. */
static uint64_t hole_regions(const struct walk_volume *v, uint64_t off)
{
    if (v->run.data)
        return 0;
    if (v->run.end >= v->size)
        return (v->size - off + REGION_SIZE - 1) / REGION_SIZE;
    return (v->run.end - off) / REGION_SIZE;
}

static void pass(struct walk *w, uint64_t regions)
{
    struct walk_volume *v = &w->volumes[w->volume];
    uint64_t off = w->region * REGION_SIZE, len = regions * REGION_SIZE;
    w->done += len < v->size - off ? len : v->size - off;
    w->region += (uint32_t)regions;
}

int walk_next(struct walk *w, struct walk_region *out, struct err *e)
{
    while (w->volume < w->indexes->count) {
        struct walk_volume *v = &w->volumes[w->volume];
        uint64_t off = w->region * REGION_SIZE, holes, zero = 0;
        int res = 0;
        if (w->indexes->volumes[w->volume].capture) {
            res = next_captured(w, out, e);
            if (res != 0)
                return res;
            w->volume++;
            continue;
        }
        if (off >= v->size) {
            w->volume++;
            w->region = 0;
            continue;
        }
        if (off >= v->run.end)
            res = fio_run(v->fd, off, &v->run);
        if (res < 0)
            return io_error(w, w->volume, res, off, e);
        holes = hole_regions(v, off);
        if (holes > 0)
            res =
                hashindex_zero_regions(&w->indexes->volumes[w->volume].index, w->region, &zero, e);
        if (res < 0)
            return res;
        if (zero > 0) {
            pass(w, holes < zero ? holes : zero);
            continue;
        }
        *out = (struct walk_region){.volume = w->volume,
                                    .region = w->region,
                                    .hole = holes > 0,
                                    .whole = v->run.data && v->run.end >= region_end(v, off)};
        pass(w, 1);
        return 1;
    }
    return 0;
}

/* Reads [start, end) of the volume, whole sectors of the region that begins at off; behind the end
 * of the volume it is zero. */
static int read_sectors(const struct walk_volume *v, struct slot *s, uint64_t off, uint64_t start,
                        uint64_t end)
{
    uint32_t first = (uint32_t)((start - off) / SECTOR_SIZE);
    uint32_t last = (uint32_t)((end - off + SECTOR_SIZE - 1) / SECTOR_SIZE);
    uint64_t stop = end < v->size ? end : v->size;
    memset(s->plain + (stop - off), 0, (size_t)(off + (uint64_t)last * SECTOR_SIZE - stop));
    for (uint32_t i = first; i < last; i++)
        s->region.present[i / 64] |= UINT64_C(1) << (i % 64);
    return fio_read_all(v->fd, s->plain + (start - off), (size_t)(stop - start), start);
}

/* Reads where there is data: a page here and there in a sparse volume costs a page. */
static int read_runs(const struct walk_volume *v, struct slot *s, uint64_t off, uint64_t end)
{
    uint64_t at = off;
    while (at < end) {
        struct io_run run;
        uint64_t stop;
        int res = fio_run(v->fd, at, &run);
        if (res < 0)
            return res;
        stop = run.end < end ? run.end : end;
        if (run.data) { /* file systems with small blocks: whole sectors all the same */
            uint64_t start = at / SECTOR_SIZE * SECTOR_SIZE;
            stop = (stop + SECTOR_SIZE - 1) / SECTOR_SIZE * SECTOR_SIZE;
            res = read_sectors(v, s, off, start, stop);
            if (res < 0)
                return res;
        }
        at = stop;
    }
    return 0;
}

int walk_read(struct walk *w, const struct walk_region *at, struct slot *s,
              enum io_work_class class, struct err *e)
{
    struct walk_volume *v = &w->volumes[at->volume];
    struct region *r = &s->region;
    uint64_t off = at->region * REGION_SIZE, end;
    int res = 0;
    if (w->indexes->volumes[at->volume].capture)
        return read_captured(w, at, s, class, e);
    end = region_end(v, off);
    r->captured = r->hole = false;
    r->first = at->region * REGION_SECTORS;
    r->sectors = (uint32_t)((end - off + SECTOR_SIZE - 1) / SECTOR_SIZE);
    memset(r->present, 0, sizeof r->present);
    if (at->whole)
        res = read_sectors(v, s, off, off, end);
    else if (!at->hole)
        res = read_runs(v, s, off, end);
    if (res < 0)
        return io_error(w, at->volume, res, off, e);
    return hashindex_read(&w->indexes->volumes[at->volume].index, at->region, s->known, e);
}
