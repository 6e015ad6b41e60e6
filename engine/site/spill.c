#include "spill.h"

#include "bounds.h"
#include "fio.h"

#include <errno.h>
#include <fcntl.h>

#define STEP (64 * MIB) /* reserved at once, where there is as much */

_Static_assert(SPILL_MAX >> SECTOR_SHIFT <= UINT32_MAX, "places are 32 bits");

void spill_init(struct spill *s, struct spool_share *share, const char *group, const char *volume)
{
    *s = (struct spill){.share = share, .fd = -1};
    if (share)
        path_format(s->path, "%s/%s/%s.saved", share->spool->dir, group, volume);
}

static int reserve(struct spill *s, uint64_t end)
{
    while (s->reserved < end) {
        struct err ignored = ERR_INIT;
        uint64_t got;
        int res = spool_reserve(s->share, SPOOL_SEAL, STEP, end - s->reserved, &got, &ignored);
        if (res == -ERR_CANCELED)
            return -ECANCELED;
        if (res < 0)
            return -ENOSPC;
        s->reserved += got;
    }
    return 0;
}

/* Its name goes at once: nobody else is to find it, and a crash leaves nothing. Two may come here
 * together; neither writes before the name is gone, so that neither truncates what was written. */
static int open_file(struct spill *s)
{
    int fd;
    if (s->fd >= 0)
        return 0;
    fd = fio_open(s->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fd;
    (void)fio_unlink_always(s->path);
    if (s->fd >= 0)
        fio_close_always(fd);
    else
        s->fd = fd;
    return 0;
}

/* Room for so many sectors: *place is ours from then on; what fails leaves a gap. */
static int claim(struct spill *s, uint32_t sectors, uint32_t *place)
{
    uint64_t at = s->used, len = (uint64_t)sectors << SECTOR_SHIFT;
    int res;
    if (!s->share || at + len > SPILL_MAX)
        return -ENOSPC;
    s->used += len;
    *place = (uint32_t)(at >> SECTOR_SHIFT);
    res = reserve(s, at + len);
    return res == 0 ? open_file(s) : res;
}

int spill_put(struct spill *s, const void *content, uint32_t sectors, uint32_t *place)
{
    int res;
    s->putting++;
    res = claim(s, sectors, place);
    if (res == 0)
        res = fio_write_all(s->fd, content, (size_t)sectors << SECTOR_SHIFT,
                            (uint64_t)*place << SECTOR_SHIFT);
    s->putting--;
    return res;
}

int spill_copy(struct spill *s, int fd, uint64_t off, uint32_t sectors, uint32_t tail,
               uint32_t *place)
{
    static const uint8_t zeroes[SECTOR_SIZE];
    size_t len = ((size_t)sectors << SECTOR_SHIFT) - tail;
    int res;
    ASSERT(tail < SECTOR_SIZE);
    s->putting++;
    res = claim(s, sectors, place);
    if (res == 0)
        res = fio_copy_all(fd, off, s->fd, (uint64_t)*place << SECTOR_SHIFT, len);
    if (res == 0 && tail > 0)
        res = fio_write_all(s->fd, zeroes, tail, ((uint64_t)*place << SECTOR_SHIFT) + len);
    s->putting--;
    return res;
}

int spill_get(struct spill *s, enum io_work_class class, void *dst, uint32_t sectors,
              uint32_t place)
{
    size_t len = (size_t)sectors << SECTOR_SHIFT;
    uint64_t off = (uint64_t)place << SECTOR_SHIFT;
    return len < SPILL_LARGE ? fio_read_all(s->fd, dst, len, off)
                             : fio_read_all_as(class, s->fd, dst, len, off);
}

void spill_clear(struct spill *s)
{
    int fd = s->fd;
    if (s->putting > 0 || s->used == 0)
        return;
    if (s->reserved > 0)
        spool_settle(s->share, s->reserved, 0);
    s->used = s->reserved = 0;
    s->fd = -1;
    if (fd >= 0)
        (void)fio_truncate(fd, 0); /* on a thread: giving back gigabytes takes its time */
    fio_close_always(fd);
}
