#include "state.h"

#include "bounds.h"
#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC      "RELAISR2"
#define MAGIC_LEN  8u
#define MAGIC_ANY  7u /* the same in all versions */
#define HEAD_LEN   (MAGIC_LEN + DIGEST_LEN)
#define RECORD_LEN (8u + STATE_MAC_LEN)
#define LOAD_STEP  (4096u * RECORD_LEN)

static bool bit(const uint8_t *bits, size_t n)
{
    return (bits[n / 8] >> (n % 8) & 1) != 0;
}

/* A crash while the header is written leaves less of it, or zeroes. */
static bool looks_like_state(const uint8_t *p, size_t len)
{
    size_t n = len < MAGIC_ANY ? len : MAGIC_ANY;
    return memcmp(p, MAGIC, n) == 0 || bytes_zero(p, len);
}

int state_check(struct state *s, const char *path, struct err *e)
{
    uint8_t head[HEAD_LEN];
    struct io_stat st = {0};
    memset(s, 0, sizeof *s);
    s->fd = -1;
    if (!path)
        return 0;
    if (!path[0] || strlen(path) >= sizeof s->path)
        return err_set(e, ERR_INPUT, "a state file's path has 1 to %u bytes", STATE_PATH_MAX - 1);
    int res = fio_stat(path, &st);
    if (res == 0 && !st.is_file)
        return err_set(e, ERR_INPUT, "%s is no file: the state of a restore needs one", path);
    if (res == 0) {
        int fd = fio_open(path, O_RDONLY | O_CLOEXEC, 0);
        res = fd < 0 ? fd : fio_read(fd, head, sizeof head, 0);
        fio_close_always(fd);
        if (res >= 0 && !looks_like_state(head, (size_t)res))
            return err_set(e, ERR_EXISTS,
                           "%s exists and is not the state of a restore: nothing was changed; name "
                           "another file with --state",
                           path);
    }
    if (res < 0 && res != -ENOENT)
        return err_os(e, res, "state of the restore %s", path);
    (void)snprintf(s->path, sizeof s->path, "%s", path);
    return 0;
}

static void forget(struct state *s)
{
    memset(s->known, 0, s->units / 8 + 1);
    s->fresh_count = 0;
    s->resumed = false;
}

int state_reset(struct state *s, const struct digest *identity, struct err *e)
{
    uint8_t head[HEAD_LEN];
    forget(s);
    if (!s->path[0])
        return 0;
    memcpy(head, MAGIC, MAGIC_LEN);
    memcpy(head + MAGIC_LEN, identity->b, DIGEST_LEN);
    int res = fio_truncate(s->fd, 0);
    if (res == 0)
        res = fio_write_all(s->fd, head, sizeof head, 0);
    s->end = sizeof head;
    return res < 0 ? err_os(e, res, "%s: beginning the state of the restore", s->path) : 0;
}

/* What cannot be a record is as good as none. */
static void take_records(struct state *s, const uint8_t *p, size_t len)
{
    for (const uint8_t *end = p + len; p < end; p += RECORD_LEN) {
        uint64_t unit = bytes_le64(p);
        if (unit >= s->units)
            continue;
        memcpy(s->macs[unit], p + 8, STATE_MAC_LEN);
        s->known[unit / 8] = (uint8_t)(s->known[unit / 8] | 1u << (unit % 8));
    }
}

static int load_records(struct state *s, struct err *e)
{
    uint8_t *p = err_malloc(LOAD_STEP);
    size_t have = 0;
    int n;
    s->end = HEAD_LEN;
    while ((n = fio_read(s->fd, p + have, LOAD_STEP - have, s->end + have)) > 0) {
        have += (size_t)n;
        size_t whole = have / RECORD_LEN * RECORD_LEN;
        take_records(s, p, whole);
        have -= whole;
        memmove(p, p + whole, have);
        s->end += whole;
    }
    free(p);
    return n < 0 ? err_os(e, n, "%s: reading the state of the restore", s->path) : 0;
}

int state_open(struct state *s, const struct digest *identity, size_t units, struct err *e)
{
    uint8_t head[HEAD_LEN] = {0};
    s->units = units;
    s->macs = err_calloc(units + 1, sizeof *s->macs);
    s->known = err_calloc(units / 8 + 1, 1);
    if (!s->path[0])
        return 0;
    s->fd = fio_open(s->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->fd < 0)
        return err_os(e, s->fd, "%s: creating the state of the restore (--state names another)",
                      s->path);
    int res = fio_lock(s->fd);
    if (res == -EWOULDBLOCK)
        return err_set(e, ERR_AGAIN, "%s: another restore is writing it", s->path);
    if (res == 0)
        res = fio_read_all(s->fd, head, sizeof head, 0);
    s->resumed = res == 0 && memcmp(head, MAGIC, MAGIC_LEN) == 0 &&
                 memcmp(head + MAGIC_LEN, identity->b, DIGEST_LEN) == 0;
    if (s->resumed)
        return load_records(s, e);
    if (res < 0 && res != -ENODATA)
        return err_os(e, res, "%s: reading the state of the restore", s->path);
    return state_reset(s, identity, e);
}

const uint8_t *state_mac(const struct state *s, size_t unit)
{
    return bit(s->known, unit) ? s->macs[unit] : NULL;
}

void state_set(struct state *s, size_t unit, const uint8_t mac[STATE_MAC_LEN])
{
    /* A unit that is done again has its record already, for its content is the plan's. */
    if (bit(s->known, unit) && memcmp(s->macs[unit], mac, STATE_MAC_LEN) == 0)
        return;
    memcpy(s->macs[unit], mac, STATE_MAC_LEN);
    s->known[unit / 8] = (uint8_t)(s->known[unit / 8] | 1u << (unit % 8));
    if (!s->path[0])
        return;
    if (s->fresh_count == s->fresh_cap) {
        s->fresh_cap = s->fresh_cap ? s->fresh_cap * 2 : 64;
        s->fresh = err_realloc(s->fresh, s->fresh_cap * sizeof *s->fresh);
    }
    s->fresh[s->fresh_count++] = unit;
}

int state_save(struct state *s, size_t n, struct err *e)
{
    ASSERT(n <= s->fresh_count);
    uint8_t *p = err_malloc(n * RECORD_LEN);
    for (size_t i = 0; i < n; i++) {
        bytes_set_le64(p + i * RECORD_LEN, s->fresh[i]);
        memcpy(p + i * RECORD_LEN + 8, s->macs[s->fresh[i]], STATE_MAC_LEN);
    }
    int res = fio_write_all(s->fd, p, n * RECORD_LEN, s->end);
    if (res == 0)
        res = fio_sync(s->fd, true);
    free(p);
    if (res < 0)
        return err_os(e, res, "%s: saving the state of the restore", s->path);
    /* Units that were set meanwhile stand behind the first n. */
    s->end += n * RECORD_LEN;
    s->fresh_count -= n;
    memmove(s->fresh, s->fresh + n, s->fresh_count * sizeof *s->fresh);
    return 0;
}

void state_remove(struct state *s)
{
    if (s->path[0])
        (void)fio_unlink_always(s->path);
}

void state_close(struct state *s)
{
    fio_close_always(s->fd);
    s->fd = -1;
    free(s->macs);
    free(s->known);
    free(s->fresh);
    s->macs = NULL;
    s->known = NULL;
    s->fresh = NULL;
}
