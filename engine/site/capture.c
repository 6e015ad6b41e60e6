#include "capture_own.h"

#include "fio.h"
#include "log.h"
#include "mend.h"
#include "rest.h"
#include "tap.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_size(const struct capture *c, uint64_t size, struct err *e)
{
    if (size > 0 && size <= VOLUME_MAX && size % 512 == 0)
        return 0;
    return err_set(e, ERR_LIMIT,
                   "volume %s: %s has %" PRIu64 " bytes; one that is served has a multiple of "
                   "512, and at most %llu",
                   c->name, c->path, size, (unsigned long long)VOLUME_MAX);
}

static void set_size(struct capture *c, uint64_t size)
{
    c->size = size;
    c->sectors = (size + SECTOR_SIZE - 1) >> SECTOR_SHIFT;
}

static int open_backing(struct capture *c, struct err *e)
{
    struct io_stat st;
    int res;
    c->fd = fio_open(c->path, O_RDWR | O_CLOEXEC, 0);
    res = c->fd < 0 ? c->fd : fio_fstat(c->fd, &st);
    if (res < 0)
        return err_os(e, res, "volume %s: %s", c->name, c->path);
    if (res == 0)
        res = check_size(c, st.size, e);
    if (res == 0)
        set_size(c, st.size);
    return res;
}

/* What is hot is dirty. */
static void recover(struct capture *c)
{
    const uint64_t per = REGION_SIZE >> SECTOR_SHIFT;
    uint32_t regions = actlog_regions(c->log), end;
    for (uint32_t r = actlog_next_hot(c->log, 0); r < regions; r = actlog_next_hot(c->log, end)) {
        uint64_t last;
        end = r + 1;
        while (end < regions && actlog_is_hot(c->log, end, 1))
            end++;
        last = end * per < c->sectors ? end * per : c->sectors;
        dirty_add_range(c->dirty, r * per, last);
    }
}

/* Whether somebody else wrote the volume since it was left. */
static int look_for_others(struct capture *c, bool *written, struct err *e)
{
    char why[ERR_TEXT_MAX];
    int res = rest_check(c->rest, c->fd, written, why, e);
    if (res == 0 && *written)
        log_warn("volume %s: %s was changed while relaisd did not run (%s): all of it counts as "
                 "written, and is read and shipped again",
                 c->name, c->path, why);
    return res;
}

/* After a start that was to be the remedy for a sync that failed, and is none, the volume is served
 * all the same: its guests can read what there is. */
static void mend(struct capture *c)
{
    bool mended;
    if (mend_volume(c->unsynced, c->name, c->fd, c->log, &mended, &c->failed) == 0)
        return;
    c->noted = true;
    log_error("%s", c->failed.text);
}

static int open_log(struct capture *c, const char *state_dir, const char *group, const char *volume,
                    bool all_dirty, struct err *e)
{
    char dir[PATH_CAP], path[PATH_CAP], size[UNITS_TEXT];
    bool written = false;
    int res;
    path_format(dir, "%s/%s", state_dir, group);
    res = fio_mkdirs(dir, 0700);
    if (res < 0)
        return err_os(e, res, "%s: making the state directory of group %s", dir, group);
    path_format(path, "%s/%s/%s.log", state_dir, group, volume);
    path_format(c->rest, "%s/%s/%s.rest", state_dir, group, volume);
    path_format(c->unsynced, "%s/%s/%s.unsynced", state_dir, group, volume);
    res = look_for_others(c, &written, e);
    if (res < 0)
        return res;
    res = actlog_open(&c->log, path, c->size, all_dirty || written, e);
    if (res == 0) /* the log has it now; and what we write from here on is not another's */
        res = rest_forget(c->rest, e);
    if (res < 0)
        return err_prefix(e, "volume %s: the activity log", c->name);
    mend(c);
    recover(c);
    log_info("volume %s: %" PRIu32 " of %" PRIu32 " regions may differ from the newest RP: %s to "
             "seal",
             c->name, actlog_hot_count(c->log), actlog_regions(c->log),
             units_size(size, dirty_bytes(c->dirty)));
    return 0;
}

int capture_open(struct capture **out, const struct config_volume *config, const char *state_dir,
                 const char *group, struct spool_share *share, bool all_dirty, struct err *e)
{
    struct capture *c = err_calloc(1, sizeof *c);
    size_t bits;
    int res;
    (void)snprintf(c->name, sizeof c->name, "%s/%s", group, config->name);
    (void)snprintf(c->path, sizeof c->path, "%s", config->path);
    c->dirty = dirty_new();
    c->pending = dirty_new();
    c->sealing = dirty_new();
    c->saved = saved_new(SAVED_MAX);
    spill_init(&c->spill, share, group, config->name);
    c->fd = -1;
    res = open_backing(c, e);
    if (res == 0)
        res = open_log(c, state_dir, group, config->name, all_dirty, e);
    if (res < 0) {
        capture_close(c);
        return res;
    }
    bits = actlog_regions(c->log) / 8 + 2;
    c->recent = err_calloc(bits, 1);
    c->before = err_calloc(bits, 1);
    *out = c;
    return 0;
}

void capture_close(struct capture *c)
{
    if (!c)
        return;
    ASSERT(!c->flights && !c->cutting);
    tap_free(c);
    fio_close_always(c->fd);
    actlog_close(c->log);
    dirty_free(c->dirty);
    dirty_free(c->pending);
    dirty_free(c->sealing);
    saved_free(c->saved);
    spill_clear(&c->spill);
    free(c->recent);
    free(c->before);
    free(c);
}

/* In one step with the log: the new part, and the rest of the sector that was the last, are dirty.
 */
static void grown(void *arg)
{
    struct capture *c = arg;
    size_t had = (size_t)(c->size / REGION_SIZE / 8 + 2), has = actlog_regions(c->log) / 8 + 2;
    uint64_t first = c->size >> SECTOR_SHIFT;
    set_size(c, actlog_size(c->log));
    c->recent = err_realloc(c->recent, has);
    c->before = err_realloc(c->before, has);
    if (has > had) {
        memset(c->recent + had, 0, has - had);
        memset(c->before + had, 0, has - had);
    }
    dirty_add_range(c->dirty, first, c->sectors);
}

int capture_resize(struct capture *c, struct err *e)
{
    char was[UNITS_TEXT], is[UNITS_TEXT];
    uint64_t old = c->size;
    struct io_stat st;
    int res = fio_fstat(c->fd, &st);
    if (res < 0)
        return err_os(e, res, "volume %s: %s", c->name, c->path);
    res = check_size(c, st.size, e);
    if (res < 0)
        return res;
    units_size(was, old);
    units_size(is, st.size);
    if (st.size < old)
        return err_set(e, ERR_INPUT,
                       "volume %s: %s has shrunk from %s to %s while it is in service; make it as "
                       "large as it was, or, when nothing uses its end any more, restart relaisd",
                       c->name, c->path, was, is);
    if (st.size == old)
        return 0;
    res = actlog_grow(c->log, st.size, grown, c);
    if (res < 0)
        return err_os(e, res, "volume %s: growing the activity log", c->name);
    log_notice("volume %s: grown from %s to %s; clients see it when they connect anew", c->name,
               was, is);
    return 0;
}

uint64_t capture_size(const struct capture *c)
{
    return c->size;
}

/* How many bytes of the sectors there are; what is behind the end of the volume is zeroed. */
static size_t there(const struct capture *c, uint8_t *dst, uint64_t first, uint32_t sectors)
{
    uint64_t off = first << SECTOR_SHIFT;
    size_t want = (size_t)sectors << SECTOR_SHIFT;
    size_t len = want < c->size - off ? want : (size_t)(c->size - off);
    memset(dst + len, 0, want - len);
    return len;
}

int capture_read_sectors(struct capture *c, void *dst, uint64_t first, uint32_t sectors)
{
    return fio_read_all(c->fd, dst, there(c, dst, first, sectors), first << SECTOR_SHIFT);
}

int capture_read_sectors_as(struct capture *c, enum io_work_class class, void *dst, uint64_t first,
                            uint32_t sectors)
{
    size_t len = there(c, dst, first, sectors);
    return fio_read_all_as(class, c->fd, dst, len, first << SECTOR_SHIFT);
}

int capture_read(struct capture *c, void *buf, uint32_t len, uint64_t off)
{
    int res;
    if (off > c->size || len > c->size - off)
        return -EINVAL;
    res = fio_read_all(c->fd, buf, len, off);
    return res == -ENODATA ? -EIO : res;
}

/* So that the next start knows it (mend.h); tried again with each flush until it is there. */
static void note_failure(struct capture *c)
{
    struct err e = ERR_INIT;
    if (c->noted)
        return;
    c->noted = mend_note(c->unsynced, c->failed.text, &e) == 0;
    if (!c->noted)
        log_error("volume %s: that a sync failed could not be noted for the next start: %s",
                  c->name, e.text);
}

/* After a sync that failed the kernel may have dropped what it could not write, and the next sync
 * would succeed without it: so none is tried, until the volume is opened anew. Here, and not in
 * capture_flush: whoever waits for the round that fails is the next to begin one. */
static int sync_backing(void *arg)
{
    struct capture *c = arg;
    int res = c->failed.code != ERR_OK ? -EIO : fio_sync(c->fd, true);
    if (res < 0 && res != -ECANCELED && c->failed.code == ERR_OK) {
        (void)err_set(&c->failed, ERR_IO,
                      "volume %s: %s: syncing failed: %s; every flush fails from here on, because "
                      "what was lost is not known; check the disk and the volume's file system, "
                      "then restart relaisd",
                      c->name, c->path, strerror(-res));
        log_error("%s", c->failed.text);
    }
    if (c->failed.code != ERR_OK)
        note_failure(c);
    return res;
}

int capture_flush(struct capture *c)
{
    return rounds_join(&c->syncs, sync_backing, c);
}

const struct err *capture_failed(const struct capture *c)
{
    return c->failed.code != ERR_OK ? &c->failed : NULL;
}

void capture_set_watch(struct capture *c, struct capture_watch *watch)
{
    c->watch = watch;
}

int capture_run(struct capture *c, uint64_t off, struct io_run *out)
{
    if (off >= c->size)
        return -EINVAL;
    return fio_run(c->fd, off, out);
}

uint64_t capture_dirty_bytes(const struct capture *c)
{
    return dirty_bytes(c->dirty) + dirty_bytes(c->pending) + dirty_bytes(c->sealing);
}

uint32_t capture_hot_regions(const struct capture *c)
{
    return actlog_hot_count(c->log);
}
