#include "reader_fixture.h"

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

#define MEMORY (16 * PART_SIZE)

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

void world_start(struct world *w)
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

void world_open(struct world *w)
{
    MUST(reader_open(&w->r, w->c, "bethune", "records", key_public(sign_key(BETHUNE)), NULL, NULL,
                     err));
}

void world_stop(struct world *w)
{
    reader_close(w->r);
    caller_free(w->c);
    fixture_stop(&w->f);
    for (unsigned i = 1; i <= POINTS; i++) {
        delta_free(&w->m.deltas[i]);
        free(w->m.image[i]);
    }
}

int restore(struct world *w, uint64_t rp, const char *target, bool force,
            struct restore_progress *done, struct err *e)
{
    struct key_secret *keys[] = {restore_key(LENS), restore_key(BETHUNE)};
    struct restore_options options = {.keys = keys, .key_count = 2, .force = force};
    return reader_restore(w->r, rp, "data", target, &options, done, e);
}

bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

void assert_restored(const struct world *w, uint64_t rp)
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

void object_path(struct world *w, unsigned rp, unsigned part, char *dst, size_t cap)
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

void flip_byte(struct world *w, unsigned rp, uint64_t off)
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

bool device_make(struct world *w, unsigned mib, char *dst, size_t cap)
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

void device_free(const char *path)
{
    char command[160];
    (void)snprintf(command, sizeof command, "losetup -d %s", path);
    assert_int_equal(fio_command(command, 10 * IO_S), 0);
}

void assert_device(struct world *w, const char *path, unsigned rp, size_t device)
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
