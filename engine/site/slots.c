#include "slots.h"

#include "digest.h"
#include "fio.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_LEN (RECORD_MAGIC_LEN + 8 + 4)

_Static_assert(HEAD_LEN + SLOT_BODY_MAX + DIGEST_LEN <= 512, "a slot must be within a sector");

/* The number of the record in a slot; 0: it holds none. */
static uint64_t slot_number(const uint8_t *p, const char *magic, struct bytes_in *body)
{
    struct bytes_in in = bytes_in(p, HEAD_LEN);
    uint8_t have[RECORD_MAGIC_LEN];
    struct digest sum;
    uint64_t number;
    uint32_t len;
    bytes_get(&in, have, sizeof have);
    number = bytes_get_u64(&in);
    len = bytes_get_u32(&in);
    if (memcmp(have, magic, sizeof have) != 0 || len > SLOT_BODY_MAX)
        return 0;
    digest_of(&sum, p, HEAD_LEN + len);
    if (memcmp(sum.b, p + HEAD_LEN + len, sizeof sum.b) != 0)
        return 0;
    *body = bytes_in(p + HEAD_LEN, len);
    return number;
}

static bool is_empty(const uint8_t *p)
{
    return p[0] == 0 && memcmp(p, p + 1, SLOT_LEN - 1) == 0;
}

/* What was read may be in the kernel's memory only, left by a daemon that was killed: whoever acts
 * on it must not find an older one after a power cut. */
static int settle(const char *path, struct err *e)
{
    int fd = fio_open(path, O_WRONLY | O_CLOEXEC, 0), res;
    if (fd < 0)
        return err_os(e, fd, "%s: opening", path);
    res = fio_sync(fd, true);
    fio_close_always(fd);
    return res < 0 ? err_os(e, res, "%s: syncing", path) : 0;
}

int slots_load(struct slots *s, const char *path, const char magic[RECORD_MAGIC_LEN], void **file,
               struct bytes_in *body, struct err *e)
{
    size_t len;
    int res = fio_load_file(path, 2 * SLOT_LEN, file, &len, e);
    *s = (struct slots){0};
    if (res < 0)
        return res;
    for (unsigned i = 0; i < 2 && len == (size_t)2 * SLOT_LEN; i++) {
        const uint8_t *p = (const uint8_t *)*file + (size_t)i * SLOT_LEN;
        struct bytes_in in;
        uint64_t number = slot_number(p, magic, &in);
        if (number > s->number) {
            s->number = number;
            *body = in;
        }
        s->decayed |= number == 0 && !is_empty(p);
    }
    res = s->number > 0 ? settle(path, e) : 0;
    if (s->number > 0 && res == 0)
        return 0;
    free(*file);
    *file = NULL;
    if (res < 0)
        return res;
    return err_set(e, ERR_CORRUPT,
                   "%s: none of its %zu bytes is a \"%.8s\" record that agrees with its checksum",
                   path, len, magic);
}

static void encode(uint8_t slot[SLOT_LEN], uint64_t number, const char *magic,
                   const struct bytes_out *body)
{
    struct bytes_out out = bytes_out(SLOT_LEN);
    struct digest sum;
    ASSERT(!body->bad && body->len <= SLOT_BODY_MAX);
    bytes_put(&out, magic, RECORD_MAGIC_LEN);
    bytes_put_u64(&out, number);
    bytes_put_u32(&out, (uint32_t)body->len);
    bytes_put(&out, body->p, body->len);
    digest_of(&sum, out.p, out.len);
    bytes_put(&out, sum.b, sizeof sum.b);
    memset(slot, 0, SLOT_LEN);
    memcpy(slot, out.p, out.len);
    bytes_free(&out);
}

static int rewrite(const char *path, const uint8_t slot[SLOT_LEN], uint64_t place, struct err *e)
{
    int fd = fio_open(path, O_WRONLY | O_CLOEXEC, 0), res;
    if (fd < 0)
        return err_os(e, fd, "%s: opening", path);
    res = fio_write_all(fd, slot, SLOT_LEN, place);
    if (res == 0)
        res = fio_sync(fd, true);
    fio_close_always(fd);
    return res < 0 ? err_os(e, res, "%s: writing", path) : 0;
}

int slots_save(struct slots *s, const char *path, const char magic[RECORD_MAGIC_LEN],
               const struct bytes_out *body, struct err *e)
{
    uint8_t file[2 * SLOT_LEN] = {0};
    uint64_t number = s->number + 1;
    uint64_t place = number % 2 * SLOT_LEN;
    int res;
    encode(file + place, number, magic, body);
    res = s->number > 0 ? rewrite(path, file + place, place, e) : -ERR_NOENT;
    if (res == -ERR_NOENT) /* or somebody removed it */
        res = fio_replace_file(path, file, sizeof file, 0600, e);
    if (res == 0)
        s->number = number;
    return res;
}
