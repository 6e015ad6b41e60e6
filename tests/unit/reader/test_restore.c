/* restore: the bytes of a volume at a recovery point, or an error that names what is wrong. */
#include "hub_fixture.h"
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MEMORY  (16 * PART_SIZE)
#define SECTORS 3000u /* of the volume at most, in these tests */
#define POINTS  6u

/* The volume at each recovery point, as a plain array says it should be, and the deltas between. */
struct model {
    uint8_t *image[POINTS + 1]; /* SECTORS long each */
    uint64_t size[POINTS + 1];
    struct test_delta deltas[POINTS + 1];
    unsigned count;
};

struct world {
    struct hub_fixture f;
    struct model m;
    struct caller *c;
    struct reader *r;
    char target[128], part[160], state[160];
};

/* Adds a point: the extents put random or zero sectors into the image. */
static void model_add(struct model *m, uint64_t size, struct spec_extent *x, size_t n, bool stretch)
{
    unsigned rp = ++m->count;
    struct manifest_volume volumes[2] = {{"other", MIB}, {"data", size}};
    struct spec s = {.rp = rp,
                     .volumes = volumes,
                     .volume_count = 2,
                     .extents = x,
                     .extent_count = n,
                     .stretch = stretch};
    uint8_t *image = m->image[rp] = err_calloc(SECTORS, SECTOR_SIZE);
    if (rp > 1) {
        memcpy(image, m->image[rp - 1], SECTORS * SECTOR_SIZE);
        s.parent = m->deltas[rp - 1].digest;
    }
    m->size[rp] = size;
    memset(image + size, 0, SECTORS * SECTOR_SIZE - size);
    for (size_t i = 0; i < n; i++) {
        uint8_t *at = image + (size_t)x[i].sector * SECTOR_SIZE;
        size_t len = (size_t)x[i].sectors * SECTOR_SIZE;
        if (x[i].volume != 1)
            continue;
        if (x[i].plain)
            memcpy(at, x[i].plain, len);
        else
            memset(at, 0, len);
    }
    delta_make(&m->deltas[rp], &s);
}

static uint8_t noise[2 * EXTENT_MAX];

/* Half of it compresses. */
static const uint8_t *content(unsigned seed)
{
    fill_random(noise, sizeof noise, seed);
    for (size_t i = 0; i < sizeof noise; i += 16)
        memset(noise + i, (int)seed, 8);
    return noise;
}

/* Overlapping data, zero extents, a shrink into which nothing of before may shine when it grows
 * again, a size that is no multiple of a sector, and another volume in the same deltas. */
static void model_make(struct model *m)
{
    memset(m, 0, sizeof *m);
    const uint8_t *p = content(1);
    struct spec_extent a[12] = {{0, 5, 20, p}};
    size_t n = 1;
    for (uint32_t s = 0; s < 2560; s += 256)
        a[n++] = (struct spec_extent){1, s, 256, p + (s / 256 * 4096)};
    model_add(m, 2560 * SECTOR_SIZE, a, n, false);
    p = content(2);
    struct spec_extent b[] = {
        {1, 10, 1, p}, {1, 100, 256, p}, {1, 512, 300, NULL}, {1, 2559, 1, p}};
    model_add(m, 2560 * SECTOR_SIZE, b, 4, false);
    struct spec_extent c[] = {{0, 0, 256, NULL}, {1, 0, 11, NULL}};
    model_add(m, 1000 * SECTOR_SIZE, c, 2, false); /* shrinks */
    p = content(3);
    struct spec_extent d[] = {{1, 150, 4, p}, {1, 1500, 20, p}};
    model_add(m, 2000 * SECTOR_SIZE, d, 2, true); /* grows, and is a stretch of */
    struct spec_extent e[] = {{1, 151, 1, NULL}, {1, 1999, 2, p}};
    model_add(m, 2000 * SECTOR_SIZE + 512, e, 2, false);
    memset(m->image[5] + m->size[5], 0, SECTORS * SECTOR_SIZE - m->size[5]);
    model_add(m, 2000 * SECTOR_SIZE + 512, NULL, 0, false); /* nothing changed */
}

static void world_start(struct world *w)
{
    memset(w, 0, sizeof *w);
    fixture_start(&w->f, MEMORY, 8);
    model_make(&w->m);
    w->c = client(&w->f, BETHUNE);
    for (unsigned i = 1; i <= POINTS; i++)
        MUST(send_all(w->c, &w->m.deltas[i], err));
    (void)snprintf(w->target, sizeof w->target, "%s/target", w->f.dir);
    (void)snprintf(w->part, sizeof w->part, "%s.relais-part", w->target);
    (void)snprintf(w->state, sizeof w->state, "%s.relais-state", w->target);
}

static void world_open(struct world *w)
{
    MUST(reader_open(&w->r, w->c, "bethune", "records", key_public(sign_key(BETHUNE)), NULL, NULL,
                     err));
}

static void world_stop(struct world *w)
{
    reader_close(w->r);
    caller_free(w->c);
    fixture_stop(&w->f);
    for (unsigned i = 1; i <= POINTS; i++) {
        delta_free(&w->m.deltas[i]);
        free(w->m.image[i]);
    }
}

static int restore(struct world *w, uint64_t rp, const char *target, bool force,
                   struct restore_progress *done, struct err *e)
{
    struct key_secret *keys[] = {restore_key(LENS), restore_key(BETHUNE)};
    struct restore_options options = {.keys = keys, .key_count = 2, .force = force};
    return reader_restore(w->r, rp, "data", target, &options, done, e);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void assert_restored(const struct world *w, uint64_t rp)
{
    void *p = NULL;
    size_t len = 0;
    MUST(fio_load_file(w->target, SECTORS * SECTOR_SIZE, &p, &len, err));
    assert_int_equal(len, w->m.size[rp]);
    assert_memory_equal(p, w->m.image[rp], len);
    free(p);
    assert_false(exists(w->part));
    assert_false(exists(w->state));
}

static void all_points(void *arg)
{
    struct world w;
    struct restore_progress done;
    (void)arg;
    world_start(&w);
    world_open(&w);
    for (unsigned rp = 1; rp <= POINTS; rp++) {
        if (rp == 4)
            continue;
        MUST(restore(&w, rp, w.target, true, &done, err));
        assert_restored(&w, rp);
        assert_true(done.bytes_done == done.bytes_total && done.bytes_total > 0);
        MUST(restore(&w, rp, NULL, false, &done, err)); /* only verifies */
        assert_true(done.bytes_done == done.bytes_total && done.fetched > 0);
    }
    REFUSED(ERR_NOENT, "no complete recovery point", restore(&w, 4, NULL, false, NULL, err));
    world_stop(&w);
}
static void every_complete_point_is_restored_as_the_model_says(void **state)
{
    (void)state;
    hub_run(all_points, NULL);
}

static void existing(void *arg)
{
    struct world w;
    (void)arg;
    world_start(&w);
    world_open(&w);
    MUST(fio_replace_file(w.target, "precious", 8, 0600, err));
    REFUSED(ERR_EXISTS, "--force", restore(&w, 2, w.target, false, NULL, err));
    assert_false(exists(w.part));
    void *p = NULL;
    size_t len = 0;
    MUST(fio_load_file(w.target, 100, &p, &len, err));
    assert_true(len == 8 && memcmp(p, "precious", 8) == 0);
    free(p);
    MUST(restore(&w, 2, w.target, true, NULL, err));
    assert_restored(&w, 2);
    char in_nowhere[200];
    (void)snprintf(in_nowhere, sizeof in_nowhere, "%s/no/target", w.f.dir);
    REFUSED(ERR_NOENT, "directory", restore(&w, 2, in_nowhere, false, NULL, err));
    REFUSED(ERR_INPUT, "neither", restore(&w, 2, w.f.dir, true, NULL, err));
    world_stop(&w);
}
static void an_existing_target_is_left_alone_unless_forced(void **state)
{
    (void)state;
    hub_run(existing, NULL);
}

static void keys(void *arg)
{
    struct world w;
    (void)arg;
    world_start(&w);
    world_open(&w);
    struct key_secret *wrong[] = {restore_key(LENS)};
    struct restore_options options = {.keys = wrong, .key_count = 1};
    char word[2 * KEY_FP_LEN + 1];
    uint8_t fp[KEY_FP_LEN];
    key_fingerprint(fp, key_public(restore_key(BETHUNE)));
    bytes_hex(word, fp, sizeof fp);
    REFUSED(ERR_AUTH, word, reader_restore(w.r, 2, "data", w.target, &options, NULL, err));
    assert_false(exists(w.target) || exists(w.part));
    REFUSED(ERR_NOENT, "there are: other, data",
            reader_restore(w.r, 2, "date", w.target, &options, NULL, err));
    world_stop(&w);
}
static void a_wrong_key_is_refused_naming_the_right_one(void **state)
{
    (void)state;
    hub_run(keys, NULL);
}

/* ---- damage in the store ---- */

/* The file of a delta's object, wherever the store puts it. */
static void object_path(struct world *w, unsigned rp, unsigned part, char *dst, size_t cap)
{
    char command[400], list[160];
    void *p = NULL;
    size_t len = 0;
    char hex[17];
    bytes_hex(hex, w->m.deltas[rp].digest.b, 8);
    (void)snprintf(list, sizeof list, "%s/found", w->f.dir);
    (void)snprintf(command, sizeof command, "find %s/sites -type f -name '*%s.%04x' > %s", w->f.dir,
                   hex, part, list);
    assert_int_equal(fio_command(command, 10 * IO_S), 0);
    MUST(fio_load_file(list, 1000, &p, &len, err));
    assert_true(len > 1 && len < cap);
    memcpy(dst, p, len);
    dst[len - 1] = '\0';
    free(p);
}

static void flip_byte(struct world *w, unsigned rp, uint64_t off)
{
    uint8_t byte;
    char path[300];
    object_path(w, rp, (unsigned)(off / PART_SIZE), path, sizeof path);
    off %= PART_SIZE;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == EACCES) {
        assert_int_equal(chmod(path, 0600), 0);
        fd = open(path, O_RDWR | O_CLOEXEC);
    }
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)off), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
    close(fd);
}

static void tampered(void *arg)
{
    struct world w;
    char path[300];
    (void)arg;
    world_start(&w);
    world_open(&w);
    MUST(fio_replace_file(w.target, "precious", 8, 0600, err));
    /* A sealed byte. */
    flip_byte(&w, 2, DELTA_HEADER_LEN + 3);
    REFUSED(ERR_AUTH, "bethune/records@2, volume data", restore(&w, 2, w.target, true, NULL, err));
    REFUSED(ERR_AUTH, "delta of RP 2", restore(&w, 2, NULL, false, NULL, err));
    MUST(restore(&w, 1, NULL, false, NULL, err)); /* which does not need it */
    flip_byte(&w, 2, DELTA_HEADER_LEN + 3);
    /* The index: its last byte lies before the manifest. */
    flip_byte(&w, 2, w.m.deltas[2].content_len - 1);
    REFUSED(ERR_CORRUPT, "bethune/records@2: the index", restore(&w, 3, w.target, true, NULL, err));
    flip_byte(&w, 2, w.m.deltas[2].content_len - 1);
    /* The manifest: nobody even opens the history. */
    struct reader *r = NULL;
    flip_byte(&w, 2, w.m.deltas[2].len - 30);
    REFUSED(
        ERR_AUTH, "manifest of RP 2",
        reader_open(&r, w.c, "bethune", "records", key_public(sign_key(BETHUNE)), NULL, NULL, err));
    flip_byte(&w, 2, w.m.deltas[2].len - 30);
    MUST(restore(&w, 2, NULL, false, NULL, err)); /* all flips are undone */
    void *p = NULL;
    size_t len = 0;
    MUST(fio_load_file(w.target, 100, &p, &len, err));
    assert_true(len == 8 && memcmp(p, "precious", 8) == 0);
    free(p);
    object_path(&w, 2, 0, path, sizeof path);
    assert_int_equal(unlink(path), 0);
    REFUSED(ERR_NOENT, "RP 2", restore(&w, 2, w.target, true, NULL, err));
    world_stop(&w);
}
static void a_flipped_byte_anywhere_is_found_and_named_and_the_target_untouched(void **state)
{
    (void)state;
    hub_run(tampered, NULL);
}

/* ---- resuming ---- */

/* A loop device full of ones, as if it had been used before. */
static bool device_make(struct world *w, unsigned mib, char *dst, size_t cap)
{
    char command[600], out[160];
    void *p = NULL;
    size_t len = 0;
    (void)snprintf(out, sizeof out, "%s/device", w->f.dir);
    (void)snprintf(command, sizeof command,
                   "head -c %uM /dev/zero | tr '\\0' '\\377' > %s/disk && "
                   "losetup -f --show %s/disk > %s 2> /dev/null",
                   mib, w->f.dir, w->f.dir, out);
    if (fio_command(command, 10 * IO_S) != 0)
        return false;
    MUST(fio_load_file(out, 100, &p, &len, err));
    assert_true(len > 1 && len < cap);
    memcpy(dst, p, len);
    dst[len - 1] = '\0';
    free(p);
    return true;
}

static void device_free(const char *path)
{
    char command[160];
    (void)snprintf(command, sizeof command, "losetup -d %s", path);
    assert_int_equal(fio_command(command, 10 * IO_S), 0);
}

static void assert_device(struct world *w, const char *path, unsigned rp, size_t device)
{
    uint8_t *p = err_malloc(device);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, p, device, 0), device);
    close(fd);
    assert_memory_equal(p, w->m.image[rp], w->m.size[rp]);
    for (size_t i = w->m.size[rp]; i < device; i++)
        assert_int_equal(p[i], 0xff);
    free(p);
}

static bool no_devices;

static void onto_device(void *arg)
{
    struct world w;
    char path[100];
    (void)arg;
    world_start(&w);
    world_open(&w);
    no_devices = !device_make(&w, 12, path, sizeof path);
    if (!no_devices) {
        REFUSED(ERR_EXISTS, "--force", restore(&w, 5, path, false, NULL, err));
        /* Holes of the volume are zeroes on the device; what is behind the volume stays. */
        MUST(restore(&w, 5, path, true, NULL, err));
        assert_device(&w, path, 5, 12 * MIB);
        MUST(restore(&w, 2, path, true, NULL, err));
        assert_device(&w, path, 2, 12 * MIB);
        device_free(path);
        assert_true(device_make(&w, 2, path, sizeof path));
        REFUSED(ERR_SPACE, "large enough", restore(&w, 5, path, true, NULL, err));
        device_free(path);
    }
    world_stop(&w);
}
static void a_block_device_is_overwritten_whole_and_no_further(void **state)
{
    (void)state;
    hub_run(onto_device, NULL);
    if (no_devices) {
        print_message("no loop device to be had here (losetup needs root)\n");
        skip();
    }
}

static void foreign_part(void *arg)
{
    struct world a, b;
    uint8_t byte = 0;
    (void)arg;
    world_start(&a);
    world_open(&a);
    const struct manifest *m = reader_manifest(a.r, 1);
    flip_byte(&a, 1, m->index_place - 1);
    REFUSED(ERR_AUTH, "@1, volume data", restore(&a, 1, a.target, false, NULL, err));
    assert_true(exists(a.part) && exists(a.state));
    /* The same volume, size and plan, but of another history: nothing in the part counts. */
    int fd = open(a.part, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 0), 1);
    close(fd);
    world_start(&b);
    world_open(&b);
    memcpy(b.target, a.target, sizeof b.target);
    MUST(restore(&b, 1, b.target, false, NULL, err));
    assert_restored(&b, 1);
    assert_false(exists(a.state));
    world_stop(&b);
    world_stop(&a);
}
static void a_part_of_another_history_is_not_continued(void **state)
{
    (void)state;
    hub_run(foreign_part, NULL);
}

struct interruption {
    struct world *w;
    struct fiber *fiber;
    unsigned units;
    struct err err;
    int rc;
};

static void interrupt(void *arg, const struct restore_progress *p)
{
    struct interruption *i = arg;
    (void)p;
    if (++i->units == 2)
        fiber_cancel(i->fiber);
}

static void interrupted_restore(void *arg)
{
    struct interruption *i = arg;
    struct key_secret *k[] = {restore_key(BETHUNE)};
    struct restore_options options = {
        .keys = k, .key_count = 1, .parallel = 1, .progress = interrupt, .arg = i};
    i->rc = reader_restore(i->w->r, 1, "data", i->w->target, &options, NULL, &i->err);
}

static void resuming(void *arg)
{
    struct world w;
    struct restore_progress whole, done;
    (void)arg;
    world_start(&w);
    world_open(&w);
    MUST(restore(&w, 1, NULL, false, &whole, err));
    /* The last extents are damaged, so that a restore ends in an error with most of it done. */
    const struct manifest *m = reader_manifest(w.r, 1);
    flip_byte(&w, 1, m->index_place - 1);
    REFUSED(ERR_AUTH, "@1, volume data", restore(&w, 1, w.target, false, NULL, err));
    flip_byte(&w, 1, m->index_place - 1);
    assert_true(exists(w.part) && exists(w.state));
    assert_false(exists(w.target));
    /* Another recovery point does not take the part for its own. */
    MUST(restore(&w, 5, w.target, false, NULL, err));
    assert_restored(&w, 5);
    flip_byte(&w, 1, m->index_place - 1);
    REFUSED(ERR_AUTH, "@1, volume data", restore(&w, 1, w.target, true, NULL, err));
    flip_byte(&w, 1, m->index_place - 1);
    MUST(restore(&w, 1, w.target, true, &done, err));
    assert_restored(&w, 1);
    assert_true(done.bytes_done == whole.bytes_done);
    assert_true(done.fetched > 0 && done.fetched < whole.fetched);
    world_stop(&w);
}
static void a_restore_that_failed_continues_where_it_was(void **state)
{
    (void)state;
    hub_run(resuming, NULL);
}

static void cancelling(void *arg)
{
    struct world w;
    struct interruption i = {.w = &w, .err = ERR_INIT};
    struct restore_progress whole, done;
    (void)arg;
    world_start(&w);
    world_open(&w);
    i.fiber = fiber_spawn(fiber_io(), "restore", interrupted_restore, &i);
    fiber_join(i.fiber);
    assert_int_equal(i.rc, -ERR_CANCELED);
    assert_false(exists(w.target));
    MUST(restore(&w, 1, NULL, false, &whole, err));
    MUST(restore(&w, 1, w.target, false, &done, err));
    assert_restored(&w, 1);
    assert_true(done.fetched > 0 && done.fetched < whole.fetched);
    world_stop(&w);
}
static void an_interrupted_restore_leaves_no_target_and_continues(void **state)
{
    (void)state;
    hub_run(cancelling, NULL);
}

/* ---- what somebody does to the target in between ---- */

static int restore_to(struct world *w, const char *target, const char *state, bool check,
                      struct restore_progress *done, struct err *e)
{
    struct key_secret *keys[] = {restore_key(BETHUNE)};
    struct restore_options options = {
        .keys = keys, .key_count = 1, .force = true, .check = check, .state = state};
    return reader_restore(w->r, 5, "data", target, &options, done, e);
}

/* An early extent of RP 1 is damaged, so that a restore of RP 5 ends in an error with the rest of
 * it done. */
static void restore_partly(struct world *w, const char *target, const char *state)
{
    flip_byte(w, 1, 300 * KIB);
    REFUSED(ERR_AUTH, "@5, volume data", restore_to(w, target, state, false, NULL, err));
    flip_byte(w, 1, 300 * KIB);
}

static void poke(const char *path, uint64_t off)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)off), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
    assert_int_equal(fsync(fd), 0);
    close(fd);
}

/* Where RP 5 has content that none but the delta of RP 5 (a small one, done for sure) or RP 4 has,
 * and where it has none at all. */
#define DONE_BYTE (UINT64_C(1999) * SECTOR_SIZE + 77)
#define GAP_BYTE  (UINT64_C(1700) * SECTOR_SIZE + 5)

static void poked_part(void *arg)
{
    struct world w;
    struct restore_progress done;
    (void)arg;
    world_start(&w);
    world_open(&w);
    restore_partly(&w, w.target, NULL);
    poke(w.part, DONE_BYTE);
    poke(w.part, GAP_BYTE);
    MUST(restore_to(&w, w.target, NULL, false, &done, err));
    assert_restored(&w, 5);
    assert_true(done.found > 0 && done.redone > 0);
    assert_true(done.bytes_done == done.bytes_total);
    world_stop(&w);
}
static void what_was_changed_in_a_part_in_between_is_done_again(void **state)
{
    (void)state;
    hub_run(poked_part, NULL);
}

static void poked_device(void *arg)
{
    struct world w;
    struct restore_progress done, whole;
    char path[100];
    (void)arg;
    world_start(&w);
    world_open(&w);
    no_devices = !device_make(&w, 12, path, sizeof path);
    if (!no_devices) {
        MUST(restore_to(&w, NULL, NULL, false, &whole, err));
        restore_partly(&w, path, w.state);
        assert_true(exists(w.state));
        poke(path, DONE_BYTE);
        poke(path, GAP_BYTE);
        MUST(restore_to(&w, path, w.state, true, &done, err));
        assert_device(&w, path, 5, 12 * MIB);
        assert_true(done.found > 0 && done.redone > 0);
        assert_true(done.fetched < whole.fetched);
        assert_true(done.bytes_checked == done.bytes_total);
        assert_false(exists(w.state));
        /* Another device under the same state: nothing on it holds, so all of it is written. */
        restore_partly(&w, path, w.state);
        device_free(path);
        assert_true(device_make(&w, 12, path, sizeof path));
        MUST(restore_to(&w, path, w.state, false, &done, err));
        assert_device(&w, path, 5, 12 * MIB);
        assert_true(done.found == 0 && done.redone > 0);
        device_free(path);
    }
    world_stop(&w);
}
static void a_restore_onto_a_device_continues_and_trusts_nothing_on_it(void **state)
{
    (void)state;
    hub_run(poked_device, NULL);
    if (no_devices) {
        print_message("no loop device to be had here (losetup needs root)\n");
        skip();
    }
}

struct poker {
    const char *path;
    uint64_t off;
};

static void poke_when_written(void *arg, const struct restore_progress *p)
{
    struct poker *poker = arg;
    if (p->bytes_done == p->bytes_total && !p->checking)
        poke(poker->path, poker->off);
}

static void checking(void *arg)
{
    struct world w;
    struct key_secret *keys[] = {restore_key(BETHUNE)};
    static const uint64_t offs[] = {DONE_BYTE, GAP_BYTE};
    static const char *const words[] = {"not what was written", "is not zero"};
    (void)arg;
    world_start(&w);
    world_open(&w);
    for (unsigned i = 0; i < 2; i++) {
        struct poker poker = {w.part, offs[i]};
        struct restore_options options = {.keys = keys,
                                          .key_count = 1,
                                          .parallel = 1,
                                          .check = true,
                                          .progress = poke_when_written,
                                          .arg = &poker};
        REFUSED(ERR_CORRUPT, words[i],
                reader_restore(w.r, 5, "data", w.target, &options, NULL, err));
        assert_false(exists(w.target));
        /* Once nobody does that any more, the same restore ends well. */
        MUST(restore_to(&w, w.target, NULL, true, NULL, err));
        assert_restored(&w, 5);
        assert_int_equal(unlink(w.target), 0);
    }
    world_stop(&w);
}
static void a_target_that_is_not_what_was_written_fails_the_check(void **state)
{
    (void)state;
    hub_run(checking, NULL);
}

static void torn_state(void *arg)
{
    struct world w;
    struct restore_progress done;
    void *p = NULL;
    size_t len = 0;
    (void)arg;
    world_start(&w);
    world_open(&w);
    for (unsigned i = 0; i < 3; i++) {
        restore_partly(&w, w.target, NULL);
        MUST(fio_load_file(w.state, MIB, &p, &len, err));
        assert_true(len > 60);
        if (i == 0)
            assert_int_equal(truncate(w.state, (off_t)len - 7), 0); /* in a record */
        else if (i == 1)
            assert_int_equal(truncate(w.state, 12), 0); /* in the header */
        else
            poke(w.state, len - 3); /* a hash */
        free(p);
        MUST(restore_to(&w, w.target, NULL, false, &done, err));
        assert_restored(&w, 5);
        assert_true(done.found < done.bytes_total);
        assert_int_equal(unlink(w.target), 0);
    }
    world_stop(&w);
}
static void a_torn_or_wrong_state_costs_work_and_no_byte(void **state)
{
    (void)state;
    hub_run(torn_state, NULL);
}

static void foreign_state(void *arg)
{
    struct world w;
    void *p = NULL;
    size_t len = 0;
    (void)arg;
    world_start(&w);
    world_open(&w);
    MUST(fio_replace_file(w.state, "precious", 8, 0600, err));
    REFUSED(ERR_EXISTS, "not the state of a restore",
            restore_to(&w, w.target, w.state, false, NULL, err));
    REFUSED(ERR_INPUT, "both", restore_to(&w, w.target, w.target, false, NULL, err));
    REFUSED(ERR_INPUT, "no file", restore_to(&w, w.target, w.f.dir, false, NULL, err));
    MUST(fio_load_file(w.state, 100, &p, &len, err));
    assert_true(len == 8 && memcmp(p, "precious", 8) == 0);
    free(p);
    assert_false(exists(w.target) || exists(w.part));
    world_stop(&w);
}
static void a_file_that_is_no_state_is_not_overwritten(void **state)
{
    (void)state;
    hub_run(foreign_state, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_complete_point_is_restored_as_the_model_says),
        cmocka_unit_test(an_existing_target_is_left_alone_unless_forced),
        cmocka_unit_test(a_wrong_key_is_refused_naming_the_right_one),
        cmocka_unit_test(a_flipped_byte_anywhere_is_found_and_named_and_the_target_untouched),
        cmocka_unit_test(a_restore_that_failed_continues_where_it_was),
        cmocka_unit_test(a_block_device_is_overwritten_whole_and_no_further),
        cmocka_unit_test(a_part_of_another_history_is_not_continued),
        cmocka_unit_test(an_interrupted_restore_leaves_no_target_and_continues),
        cmocka_unit_test(what_was_changed_in_a_part_in_between_is_done_again),
        cmocka_unit_test(a_restore_onto_a_device_continues_and_trusts_nothing_on_it),
        cmocka_unit_test(a_target_that_is_not_what_was_written_fails_the_check),
        cmocka_unit_test(a_torn_or_wrong_state_costs_work_and_no_byte),
        cmocka_unit_test(a_file_that_is_no_state_is_not_overwritten),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
