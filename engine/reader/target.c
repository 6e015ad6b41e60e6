#include "target.h"

#include "bounds.h"
#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_MAGIC     "RELAISR1"
#define STATE_MAGIC_LEN 8u
#define STATE_HEAD_LEN  (STATE_MAGIC_LEN + DIGEST_LEN + 8u)
#define ZERO_STEP       GIB /* punched at a time: a stop is heeded in between */

static size_t bitmap_len(const struct target *t)
{
    return (t->units + 7) / 8;
}

static void parent_of(char dst[TARGET_PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        (void)snprintf(dst, TARGET_PATH_MAX, ".");
    else
        (void)snprintf(dst, TARGET_PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

int target_check(struct target *t, const char *path, bool force, struct err *e)
{
    struct io_stat st = {0};
    char dir[TARGET_PATH_MAX];
    memset(t, 0, sizeof *t);
    t->fd = -1;
    t->nowhere = !path;
    if (!path)
        return 0;
    if (!path[0] || strlen(path) >= TARGET_PATH_MAX)
        return err_set(e, ERR_INPUT, "a target is a path of 1 to %u bytes", TARGET_PATH_MAX - 1);
    (void)snprintf(t->path, sizeof t->path, "%s", path);
    (void)snprintf(t->part, sizeof t->part, "%s.relais-part", path);
    (void)snprintf(t->state, sizeof t->state, "%s.relais-state", path);
    int res = fio_stat(path, &st);
    if (res == 0) {
        if (!st.is_file && !st.is_block)
            return err_set(e, ERR_INPUT, "%s is neither a file nor a block device", path);
        if (!force)
            return err_set(e, ERR_EXISTS,
                           "%s exists already: nothing was changed; --force overwrites it", path);
        t->device = st.is_block;
        return 0;
    }
    if (res != -ENOENT)
        return err_os(e, res, "%s", path);
    parent_of(dir, path);
    res = fio_stat(dir, &st);
    if (res < 0)
        return err_os(e, res, "%s: its directory %s", path, dir);
    return 0;
}

/* ---- state ---- */

static bool parse_state(struct target *t, const uint8_t *p, size_t len)
{
    struct digest sum;
    size_t want = STATE_HEAD_LEN + bitmap_len(t) + DIGEST_LEN;
    if (len != want || memcmp(p, STATE_MAGIC, STATE_MAGIC_LEN) != 0 ||
        memcmp(p + STATE_MAGIC_LEN, t->identity.b, DIGEST_LEN) != 0 ||
        bytes_le64(p + STATE_MAGIC_LEN + DIGEST_LEN) != t->units)
        return false;
    digest_of(&sum, p, len - DIGEST_LEN);
    if (memcmp(sum.b, p + len - DIGEST_LEN, DIGEST_LEN) != 0)
        return false;
    memcpy(t->done, p + STATE_HEAD_LEN, bitmap_len(t));
    return true;
}

/* Whether there is a state of this very plan. */
static bool load_state(struct target *t)
{
    struct err e = ERR_INIT;
    void *p = NULL;
    size_t len = 0;
    if (fio_load_file(t->state, STATE_HEAD_LEN + bitmap_len(t) + DIGEST_LEN, &p, &len, &e) < 0)
        return false;
    bool ours = parse_state(t, p, len);
    free(p);
    return ours;
}

int target_save(struct target *t, struct err *e)
{
    if (t->nowhere || t->device || !t->changed)
        return 0;
    /* The bits are copied first: units that end during the sync are not known to be in it. */
    size_t len = STATE_HEAD_LEN + bitmap_len(t) + DIGEST_LEN;
    uint8_t *p = err_calloc(1, len);
    struct digest sum;
    memcpy(p, STATE_MAGIC, STATE_MAGIC_LEN);
    memcpy(p + STATE_MAGIC_LEN, t->identity.b, DIGEST_LEN);
    bytes_set_le64(p + STATE_MAGIC_LEN + DIGEST_LEN, t->units);
    memcpy(p + STATE_HEAD_LEN, t->done, bitmap_len(t));
    digest_of(&sum, p, len - DIGEST_LEN);
    memcpy(p + len - DIGEST_LEN, sum.b, DIGEST_LEN);
    t->changed = false;
    int rc = fio_sync(t->fd, true);
    if (rc < 0)
        rc = err_os(e, rc, "%s: making it durable", t->part);
    else
        rc = fio_replace_file(t->state, p, len, 0600, e);
    free(p);
    return rc;
}

/* ---- open ---- */

static int open_device(struct target *t, struct err *e)
{
    struct io_stat st = {0};
    t->fd = fio_open(t->path, O_RDWR | O_EXCL | O_CLOEXEC, 0);
    if (t->fd < 0)
        return err_os(e, t->fd, "%s: opening (is it mounted?)", t->path);
    int res = fio_fstat(t->fd, &st);
    if (res < 0)
        return err_os(e, res, "%s", t->path);
    if (st.size < t->size)
        return err_set(e, ERR_SPACE,
                       "%s has %llu bytes, the volume %llu: use a device that is large enough",
                       t->path, (unsigned long long)st.size, (unsigned long long)t->size);
    return 0;
}

/* A part that is not continued is emptied, and its state goes first: a state never outlives what it
 * tells of. */
static int start_anew(struct target *t, struct err *e)
{
    memset(t->done, 0, bitmap_len(t));
    int res = fio_unlink(t->state);
    if (res < 0 && res != -ENOENT)
        return err_os(e, res, "%s: removing the state of another restore", t->state);
    res = fio_truncate(t->fd, 0);
    if (res == 0)
        res = fio_truncate(t->fd, t->size);
    return res < 0 ? err_os(e, res, "%s: making it %llu bytes large", t->part,
                            (unsigned long long)t->size)
                   : 0;
}

static int open_part(struct target *t, struct err *e)
{
    struct io_stat st = {0};
    bool was_there = fio_stat(t->part, &st) == 0 && st.is_file;
    t->fd = fio_open(t->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (t->fd < 0)
        return err_os(e, t->fd, "%s: creating", t->part);
    int res = fio_lock(t->fd);
    if (res < 0) {
        fio_close_always(t->fd);
        t->fd = -1;
        return err_set(e, ERR_AGAIN, "%s: another restore is writing it", t->part);
    }
    if (was_there && st.size == t->size && load_state(t))
        return 0;
    return start_anew(t, e);
}

int target_open(struct target *t, uint64_t size, size_t units, const struct digest *identity,
                struct err *e)
{
    t->size = size;
    t->units = units;
    t->identity = *identity;
    t->done = err_calloc(bitmap_len(t), 1);
    if (t->nowhere)
        return 0;
    return t->device ? open_device(t, e) : open_part(t, e);
}

bool target_is_done(const struct target *t, size_t unit)
{
    return (t->done[unit / 8] >> (unit % 8) & 1) != 0;
}

void target_set_done(struct target *t, size_t unit)
{
    t->done[unit / 8] = (uint8_t)(t->done[unit / 8] | 1u << (unit % 8));
    t->changed = true;
}

/* ---- writing ---- */

int target_write(struct target *t, const void *buf, size_t len, uint64_t off, struct err *e)
{
    if (t->nowhere || off >= t->size)
        return 0;
    if (len > t->size - off)
        len = (size_t)(t->size - off);
    int res = fio_write_all(t->fd, buf, len, off);
    if (res < 0)
        return err_os(e, res, "%s: writing %zu bytes at %llu", t->device ? t->path : t->part, len,
                      (unsigned long long)off);
    return 0;
}

static int write_zeroes(struct target *t, uint64_t off, uint64_t len, struct err *e)
{
    void *zeroes = err_calloc(1, EXTENT_MAX);
    int rc = 0;
    for (uint64_t at = 0; at < len && rc == 0; at += EXTENT_MAX) {
        uint64_t n = len - at < EXTENT_MAX ? len - at : EXTENT_MAX;
        rc = target_write(t, zeroes, n, off + at, e);
    }
    free(zeroes);
    return rc;
}

int target_zero(struct target *t, uint64_t off, uint64_t len, struct err *e)
{
    if (!t->device || off >= t->size)
        return 0;
    if (len > t->size - off)
        len = t->size - off;
    for (uint64_t at = 0; at < len; at += ZERO_STEP) {
        uint64_t n = len - at < ZERO_STEP ? len - at : ZERO_STEP;
        int res = fio_punch(t->fd, off + at, n);
        if (res == -ECANCELED)
            return err_os(e, res, "%s", t->path);
        /* Not every device can, or takes odd lengths: then zeroes are written. */
        int rc = res < 0 ? write_zeroes(t, off + at, n, e) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

int target_finish(struct target *t, struct err *e)
{
    char dir[TARGET_PATH_MAX];
    if (t->nowhere)
        return 0;
    int res = t->device ? 0 : fio_truncate(t->fd, t->size);
    if (res == 0)
        res = fio_sync(t->fd, false);
    if (res < 0)
        return err_os(e, res, "%s: making it durable", t->path);
    if (t->device)
        return 0;
    res = fio_rename(t->part, t->path);
    if (res < 0)
        return err_os(e, res, "%s: renaming to %s", t->part, t->path);
    parent_of(dir, t->path);
    res = fio_sync_dir(dir);
    if (res < 0)
        return err_os(e, res, "%s: making its name durable", t->path);
    /* A state without its part is ignored, so it may go last. */
    (void)fio_unlink_always(t->state);
    return 0;
}

void target_close(struct target *t)
{
    fio_close_always(t->fd);
    t->fd = -1;
    free(t->done);
    t->done = NULL;
}
