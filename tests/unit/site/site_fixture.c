#include "site_fixture.h"

#include "delta.h"
#include "index.h"
#include "tables.h"
#include "uring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define IMAGE_CAPACITY (64 * MIB)

void fixture_text(char *dst, size_t cap, const char *fmt, ...)
{
    va_list ap;
    int n;
    va_start(ap, fmt);
    n = vsnprintf(dst, cap, fmt, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < cap);
}

void fixture_init(struct fixture *f)
{
    struct err e = ERR_INIT;
    struct config_group *g = &f->group;
    memset(f, 0, sizeof *f);
    assert_int_equal(key_init(&e), 0);
    fixture_text(f->root, sizeof f->root, "%s", "/var/tmp/relais-site-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    fixture_text(f->spool_dir, sizeof f->spool_dir, "%s/spool", f->root);
    fixture_text(f->state_dir, sizeof f->state_dir, "%s/state", f->root);
    f->sign = key_generate(KEY_SIGN, NULL);
    f->hash = key_generate(KEY_HASH, NULL);
    f->restore = key_generate(KEY_RESTORE, NULL);
    fixture_text(f->config.name, sizeof f->config.name, "bethune");
    fixture_text(f->config.state_dir, sizeof f->config.state_dir, "%s", f->state_dir);
    fixture_text(f->config.spool_dir, sizeof f->config.spool_dir, "%s", f->spool_dir);
    f->config.spool_budget = 256 * MIB;
    f->config.delta_max = 64 * MIB;
    f->config.compression = 1;
    f->config.groups = g;
    f->config.group_count = 1;
    key_public_word(f->config.readers[0], key_public(f->restore));
    f->config.reader_count = 1;
    fixture_text(g->name, sizeof g->name, "records");
    g->freeze_timeout_ns = 5 * IO_S;
    g->priority = CONFIG_NORMAL;
    g->freeze_max_ns = 60 * IO_S;
    g->volumes = f->volumes;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void fixture_done(struct fixture *f)
{
    (void)nftw(f->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    key_free(f->sign);
    key_free(f->hash);
    key_free(f->restore);
}

static int open_volume(const struct fixture *f, unsigned volume)
{
    int fd = open(f->volumes[volume].path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

void fixture_volume(struct fixture *f, const char *name, uint64_t size)
{
    unsigned n = f->group.volume_count++;
    assert_true(n < FIXTURE_VOLUMES);
    fixture_text(f->volumes[n].name, sizeof f->volumes[n].name, "%s", name);
    fixture_text(f->volumes[n].path, sizeof f->volumes[n].path, "%s/%s.img", f->root, name);
    fixture_resize(f, n, size);
}

void fixture_captured(struct fixture *f, const char *name, uint64_t size)
{
    fixture_volume(f, name, size);
    f->volumes[f->group.volume_count - 1].source = CONFIG_NBD;
}

void fixture_write(const struct fixture *f, unsigned volume, uint64_t off, const void *p,
                   size_t len)
{
    int fd = open_volume(f, volume);
    assert_int_equal(pwrite(fd, p, len, (off_t)off), (ssize_t)len);
    close(fd);
}

void fixture_fill(const struct fixture *f, unsigned volume, uint64_t off, size_t len, unsigned seed)
{
    uint8_t *p = err_malloc(len);
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < len; i++) {
        if (i % 4 == 0) /* shrinks to about a third */
            x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        p[i] = (uint8_t)(x >> 59);
    }
    fixture_write(f, volume, off, p, len);
    free(p);
}

void fixture_resize(const struct fixture *f, unsigned volume, uint64_t size)
{
    int fd = open_volume(f, volume);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

void fixture_punch(const struct fixture *f, unsigned volume, uint64_t off, uint64_t len)
{
    int fd = open_volume(f, volume);
    assert_int_equal(
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len), 0);
    close(fd);
}

struct runner {
    void (*fn)(void *arg);
    void *arg;
    struct io *io;
};

static void runner_fiber(void *arg)
{
    struct runner *r = arg;
    r->fn(r->arg);
    uring_stop(r->io);
}

void fixture_run(void (*fn)(void *arg), void *arg)
{
    struct runner r = {.fn = fn, .arg = arg};
    struct err e = ERR_INIT;
    struct fiber *fiber;
    if (uring_new(&r.io, 2, &e) < 0)
        fail_msg("%s", e.text);
    fiber = fiber_spawn(r.io, "test", runner_fiber, &r);
    fiber_detach(fiber);
    uring_run(r.io);
    uring_free(r.io);
}

#define MUST(call, e)                                                                              \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, (e)->text);                                                  \
    } while (0)

void bench_open(struct bench *b, struct fixture *f)
{
    memset(b, 0, sizeof *b);
    b->f = f;
    spool_init(&b->spool, f->spool_dir, f->config.spool_budget, f->config.spool_reserve);
    workshop_init(&b->shop, &b->spool, f->sign, f->config.compression, f->config.delta_max, 4);
    MUST(keyring_init(&b->keyring, &f->config, &f->group, &b->err), &b->err);
    chain_init(&b->chain, &b->spool, f->group.spool_budget, f->state_dir, f->config.name,
               f->group.name, key_public(f->sign));
    MUST(chain_recover(&b->chain, &b->err), &b->err);
    indexes_init(&b->indexes, &b->chain, &f->group, f->hash);
    MUST(indexes_open_captures(&b->indexes, &b->err), &b->err);
    MUST(indexes_recover(&b->indexes, &b->err), &b->err);
}

void bench_close(struct bench *b)
{
    indexes_done(&b->indexes);
    chain_close(&b->chain);
    keyring_done(&b->keyring);
    workshop_done(&b->shop);
}

int bench_cut(struct bench *b, const char *label)
{
    struct cut_spec spec = {.shop = &b->shop,
                            .chain = &b->chain,
                            .indexes = &b->indexes,
                            .keyring = &b->keyring,
                            .config = &b->f->group,
                            .label = label,
                            .catching_up = b->catching_up,
                            .insist = b->insist,
                            .give_up = &b->give_up};
    return cut_run(&spec, &b->progress, &b->result, &b->err);
}

void replay_init(struct replay *r, uint64_t capacity)
{
    memset(r, 0, sizeof *r);
    for (unsigned i = 0; i < FIXTURE_VOLUMES; i++)
        r->images[i].bytes = err_calloc(1, capacity);
}

void replay_done(struct replay *r)
{
    for (unsigned i = 0; i < FIXTURE_VOLUMES; i++)
        free(r->images[i].bytes);
}

static uint8_t *load(const struct fixture *f, uint64_t rp, size_t *len)
{
    char path[PATH_CAP], dir[PATH_CAP];
    struct stat st;
    uint8_t *p;
    int fd;
    path_format(dir, "%s/records", f->spool_dir);
    path_delta(path, dir, rp);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s is missing", path);
    assert_int_equal(fstat(fd, &st), 0);
    *len = (size_t)st.st_size;
    p = err_malloc(*len);
    assert_int_equal(read(fd, p, *len), st.st_size);
    close(fd);
    return p;
}

static void check_parts(const struct manifest *m, const uint8_t *file)
{
    for (uint32_t i = 0; i < m->part_count; i++) {
        struct digest d;
        digest_of(&d, file + (size_t)i * PART_SIZE, manifest_part_len(m, i));
        assert_true(digest_equal(&d, &m->parts[i]));
    }
}

static void apply_extents(struct replay *r, const struct fixture *f, const struct manifest *m,
                          const uint8_t *file)
{
    struct key_secret *keys[] = {f->restore};
    struct seal_key *seal_keys = err_calloc(m->source_count + 1u, sizeof *seal_keys);
    uint8_t data_key[SEAL_KEY_LEN];
    struct seal *seal = seal_new();
    struct index_reader reader;
    struct index_entry x;
    struct err e = ERR_INIT;
    int more;
    for (uint16_t i = 0; i < m->source_count; i++) {
        MUST(datakey_unwrap(data_key, &m->keys[m->sources[i].key], keys, 1, &e), &e);
        seal_key_derive(&seal_keys[i], data_key, m->sources[i].salt);
    }
    index_reader_init(&reader, file + m->index_place, m->index_len, m->extents, m->volume_count,
                      m->source_count, DELTA_HEADER_LEN, m->index_place);
    while ((more = index_next(&reader, &x, &e)) > 0) {
        struct seal_ad ad = {.rp = m->sources[x.source].rp,
                             .volume = x.volume,
                             .sector = x.sector,
                             .sectors = x.sectors,
                             .kind = x.kind,
                             .codec = x.codec};
        uint8_t *dst = r->images[x.volume].bytes + (size_t)x.sector * SECTOR_SIZE;
        seal_group_id(ad.group_id, m->site, m->group);
        seal_volume_id(ad.volume_id, m->site, m->group, m->volumes[x.volume].name);
        r->extents++;
        if (x.kind == EXTENT_ZERO) {
            memset(dst, 0, (size_t)x.sectors * SECTOR_SIZE);
            r->zero_extents++;
            continue;
        }
        MUST(seal_open(seal, &seal_keys[x.source], &ad, file + x.place, x.sealed_len, x.tag, dst,
                       &e),
             &e);
    }
    MUST(more, &e);
    seal_free(seal);
    free(seal_keys);
}

void replay_apply(struct replay *r, const struct fixture *f, uint64_t rp)
{
    struct err e = ERR_INIT;
    struct manifest m;
    struct digest index;
    uint64_t place;
    uint32_t mlen;
    size_t len;
    uint8_t *file = load(f, rp, &len);
    MUST(delta_header_check(file, &e), &e);
    MUST(delta_trailer_parse(file + len - DELTA_TRAILER_LEN, len, &place, &mlen, &e), &e);
    MUST(manifest_verify(file + place, mlen, key_public(f->sign), &e), &e);
    MUST(manifest_decode(&m, file + place, mlen, &e), &e);
    assert_int_equal(m.rp, rp);
    assert_int_equal(delta_file_len(&m, mlen), len);
    digest_of(&index, file + m.index_place, m.index_len);
    assert_true(digest_equal(&index, &m.index_digest));
    MUST(tables_decode(&m, file + manifest_tables_place(&m), m.tables_len, &e), &e);
    check_parts(&m, file);
    for (uint16_t i = 0; i < m.volume_count; i++)
        r->images[i].size = m.volumes[i].size;
    r->last_extents = m.extents;
    apply_extents(r, f, &m, file);
    if (r->last_rp + 1 == m.rp_first && r->last_rp > 0)
        assert_true(digest_equal(&m.parent, &r->last_link));
    manifest_digest(&index, file + place, mlen);
    r->last_link = *manifest_link(&m, &index);
    r->last_rp = m.rp;
    r->rps += m.rp - m.rp_first + 1;
    r->deltas++;
    r->complete_rps += m.flags & MANIFEST_COMPLETE;
    r->frame_bytes += m.frame_bytes;
    r->file_bytes += len;
    fixture_text(r->last_label, sizeof r->last_label, "%s", m.label);
    manifest_free(&m);
    free(file);
}

static bool there(const struct fixture *f, uint64_t rp)
{
    char path[PATH_CAP], dir[PATH_CAP];
    path_format(dir, "%s/records", f->spool_dir);
    path_delta(path, dir, rp);
    return access(path, F_OK) == 0;
}

bool replay_upto(struct replay *r, const struct fixture *f, uint64_t rp)
{
    uint64_t complete = 0;
    while (r->rps < rp) {
        uint64_t next = r->rps + 1;
        complete = r->complete_rps;
        while (next < rp && !there(f, next)) /* merged into a later one */
            next++;
        replay_apply(r, f, next);
        assert_int_equal(r->rps, next);
    }
    return r->complete_rps > complete;
}

bool replay_equals(const struct replay *r, const struct fixture *f, unsigned volume,
                   unsigned number)
{
    const struct image *image = &r->images[number];
    struct stat st;
    uint8_t *p;
    bool equal;
    int fd = open_volume(f, volume);
    assert_int_equal(fstat(fd, &st), 0);
    p = err_malloc((size_t)st.st_size);
    assert_int_equal(pread(fd, p, (size_t)st.st_size, 0), st.st_size);
    equal = image->size == (uint64_t)st.st_size && memcmp(p, image->bytes, image->size) == 0;
    free(p);
    close(fd);
    return equal;
}
