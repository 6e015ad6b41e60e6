/* Input: a byte that says what it is, then a file of a site's state as a crash, decay or somebody
 * left it: a record, a record in slots, an activity log, a hash index. Read by the code that reads
 * them, from a file in memory, on a real loop. With the byte's high bit the checksums are made to
 * fit, so that what is behind them is reached. */
#include "actlog.h"
#include "bounds.h"
#include "bytes.h"
#include "digest.h"
#include "fiber.h"
#include "fuzz.h"
#include "hashindex.h"
#include "log.h"
#include "slots.h"
#include "uring.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (64u << 10)
/* Two blocks of the activity log, one not full. */
#define VOLUME (UINT64_C(5000) * 4 * MIB + 4096)
#define MAGIC  "RELAISZ1"
#define BLOCK  512u
#define MENDED 0x80u

struct input {
    uint8_t kind;
    uint8_t file[FILE_MAX];
    size_t len;
};

static struct io *io;
static char path[64];

static void remove_file(void)
{
    (void)unlink(path);
}

static void store(const struct input *in)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && write(fd, in->file, in->len) == (ssize_t)in->len && close(fd) == 0);
}

/* ---- records ---- */

static void record(struct input *in)
{
    struct bytes_in body;
    struct err e = ERR_INIT;
    void *file;
    if (in->kind & MENDED && in->len >= RECORD_MAGIC_LEN + DIGEST_LEN) {
        struct digest sum;
        memcpy(in->file, MAGIC, RECORD_MAGIC_LEN);
        digest_of(&sum, in->file, in->len - DIGEST_LEN);
        memcpy(in->file + in->len - DIGEST_LEN, sum.b, DIGEST_LEN);
    }
    store(in);
    int rc = record_load(path, MAGIC, &file, &body, &e);
    if (rc == 0) {
        ASSERT(bytes_left(&body) == in->len - RECORD_MAGIC_LEN - DIGEST_LEN);
        free(file);
        return;
    }
    ASSERT((e.code == ERR_CORRUPT || e.code == ERR_LIMIT) && strstr(e.text, path));
    ASSERT(!(in->kind & MENDED) || in->len < RECORD_MAGIC_LEN + DIGEST_LEN || in->len > RECORD_MAX);
}

static void mend_slot(uint8_t *p)
{
    struct digest sum;
    uint32_t len = bytes_le32(p + 16);
    memcpy(p, MAGIC, 8);
    if (len > SLOT_BODY_MAX)
        return;
    digest_of(&sum, p, 20 + len);
    memcpy(p + 20 + len, sum.b, DIGEST_LEN);
}

/* Whatever was read, what is written then counts. */
static void slots(struct input *in)
{
    struct slots s;
    struct bytes_in body;
    struct bytes_out out = bytes_out(SLOT_BODY_MAX);
    struct err e = ERR_INIT;
    void *file;
    for (unsigned i = 0; in->kind & MENDED && (i + 1) * SLOT_LEN <= in->len; i++)
        mend_slot(in->file + (size_t)i * SLOT_LEN);
    store(in);
    int rc = slots_load(&s, path, MAGIC, &file, &body, &e);
    ASSERT(rc == 0 || e.code == ERR_CORRUPT || e.code == ERR_LIMIT);
    if (rc == 0) {
        ASSERT(s.number > 0 && bytes_left(&body) <= SLOT_BODY_MAX);
        free(file);
    }
    if (s.number < UINT64_MAX) { /* it takes longer than there is time */
        uint64_t number = rc == 0 ? s.number : 0;
        bytes_put_u64(&out, 4711);
        ASSERT(slots_save(&s, path, MAGIC, &out, &e) == 0);
        ASSERT(slots_load(&s, path, MAGIC, &file, &body, &e) == 0);
        ASSERT(s.number == number + 1 && bytes_get_u64(&body) == 4711);
        free(file);
    }
    bytes_free(&out);
}

/* ---- the activity log ---- */

static void mend_actlog(struct input *in)
{
    struct digest sum;
    if (in->len < BLOCK)
        return;
    memset(in->file, 0, 16);
    memcpy(in->file, "RELAISA1", 8);
    bytes_set_le32(in->file + 8, 1);
    memset(in->file + 24, 0, BLOCK - 24);
    digest_of(&sum, in->file, BLOCK - DIGEST_LEN);
    memcpy(in->file + BLOCK - DIGEST_LEN, sum.b, DIGEST_LEN);
    for (uint32_t i = 0; (i + 2) * BLOCK <= in->len; i++) {
        uint8_t text[4 + 496], *p = in->file + (size_t)(i + 1) * BLOCK;
        bytes_set_le32(text, i);
        memcpy(text + 4, p, 496);
        digest_of(&sum, text, sizeof text);
        if (i != 1) /* one stays as it came: torn */
            memcpy(p + 496, sum.b, 16);
    }
}

/* A region that the file has as hot is hot; what was opened once says the same the next time. */
static void actlog(struct input *in)
{
    struct actlog *a;
    struct err e = ERR_INIT;
    uint32_t hot, known = 0;
    bool mended = in->kind & MENDED && in->len >= 2 * (size_t)BLOCK;
    if (mended)
        mend_actlog(in);
    store(in);
    ASSERT(actlog_open(&a, path, VOLUME, false, &e) == 0);
    hot = actlog_hot_count(a);
    ASSERT(hot <= actlog_regions(a) && (in->len >= BLOCK || hot == actlog_regions(a)));
    for (uint32_t i = 0; mended && i < 496 * 8; i++)
        if (in->file[BLOCK + i / 8] >> i % 8 & 1) {
            known++;
            ASSERT(actlog_is_hot(a, i, 1));
        }
    ASSERT(hot >= known);
    actlog_close(a);
    ASSERT(actlog_open(&a, path, VOLUME, false, &e) == 0);
    ASSERT(actlog_hot_count(a) == hot);
    actlog_close(a);
}

/* ---- the hash index ---- */

static void mend_index(struct input *in, const uint8_t *key)
{
    struct hashindex x;
    struct err e = ERR_INIT;
    uint8_t header[HASHINDEX_HEADER];
    bool made;
    (void)unlink(path);
    ASSERT(hashindex_open(&x, path, key, in->len % 2, &made, &e) == 0);
    ASSERT(pread(x.fd, header, sizeof header, 0) == (ssize_t)sizeof header);
    hashindex_close(&x);
    if (in->len >= sizeof header)
        memcpy(in->file, header, sizeof header);
}

static void hash_index(struct input *in)
{
    static const uint8_t key[HASHINDEX_KEY_LEN] = {9};
    static uint64_t entries[REGION_SECTORS];
    struct hashindex x;
    struct err e = ERR_INIT;
    uint64_t zero;
    bool made;
    if (in->kind & MENDED)
        mend_index(in, key);
    store(in);
    ASSERT(hashindex_open(&x, path, key, false, &made, &e) == 0);
    for (uint32_t region = 0; region < 9; region++) {
        ASSERT(hashindex_read(&x, region, entries, &e) == 0);
        ASSERT(hashindex_zero_regions(&x, region, &zero, &e) == 0 && (!made || zero == 0));
        for (uint32_t i = 0; i < REGION_SECTORS; i++)
            ASSERT(entries[i] != HASH_BASE && (!made || entries[i] == HASH_UNKNOWN));
    }
    ASSERT(hashindex_forget(&x, 3, 2, &e) == 0);
    ASSERT(hashindex_read(&x, 0, entries, &e) == 0);
    ASSERT(entries[3] == HASH_UNKNOWN && entries[4] == HASH_UNKNOWN);
    hashindex_close(&x);
}

static void look(void *arg)
{
    static void (*const kinds[])(struct input *) = {record, slots, actlog, hash_index};
    struct input *in = arg;
    kinds[(in->kind & 0x7f) % 4](in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct input in;
    struct err e = ERR_INIT;
    if (size == 0 || size - 1 > FILE_MAX)
        return 0;
    if (!io) {
        log_set_level(LOG_L_ERROR);
        (void)snprintf(path, sizeof path, "/dev/shm/relais-fuzz-state.%d", (int)getpid());
        (void)atexit(remove_file);
        ASSERT(uring_new(&io, 1, &e) == 0);
    }
    in.kind = data[0];
    in.len = size - 1;
    memcpy(in.file, data + 1, in.len);
    fiber_detach(fiber_spawn(io, "fuzz", look, &in));
    uring_run(io);
    return 0;
}
