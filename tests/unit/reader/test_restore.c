/* restore: the bytes of a volume at a recovery point, or an error that names what is wrong. */
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

static uint8_t bytes_of[4][EXTENT_MAX];

/* RPs 7 to 9 came merged, and RP 10, sealed before that, continues RP 9. */
static void from_merged(void *arg)
{
    struct world w;
    struct test_delta m, child;
    struct manifest_volume volumes[2] = {{"other", MIB}, {"data", 2000 * SECTOR_SIZE + 512}};
    struct spec_extent x[] = {{1, 100, 256, bytes_of[0]}, {1, 600, 9, bytes_of[1]},
                              {1, 90, 20, NULL},          {1, 300, 200, bytes_of[2]},
                              {0, 0, 5, bytes_of[3]},     {1, 320, 2, bytes_of[3]},
                              {1, 605, 1, NULL}};
    static const uint16_t source_of[] = {0, 0, 1, 1, 2, 2, 2};
    struct spec s = {.rp_first = 7,
                     .rp = 9,
                     .sources = 3,
                     .volumes = volumes,
                     .volume_count = 2,
                     .extents = x,
                     .source_of = source_of,
                     .extent_count = 7};
    (void)arg;
    for (unsigned i = 0; i < 4; i++)
        fill_random(bytes_of[i], EXTENT_MAX, 70 + i);
    world_start(&w);
    s.parent = w.m.deltas[POINTS].digest;
    memset(s.stands_for.b, 9, DIGEST_LEN);
    delta_make(&m, &s);
    struct spec next = {.rp = 10, .parent = s.stands_for, .volumes = volumes, .volume_count = 2};
    delta_make(&child, &next);
    MUST(send_all(w.c, &m, err));
    MUST(send_all(w.c, &child, err));
    world_open(&w);
    for (size_t i = 0; i < 7; i++) { /* one after the other, each over what was before */
        uint8_t *at = w.m.image[POINTS] + (size_t)x[i].sector * SECTOR_SIZE;
        if (x[i].volume == 1 && x[i].plain)
            memcpy(at, x[i].plain, (size_t)x[i].sectors * SECTOR_SIZE);
        else if (x[i].volume == 1)
            memset(at, 0, (size_t)x[i].sectors * SECTOR_SIZE);
    }
    MUST(restore(&w, 9, w.target, true, NULL, err));
    assert_restored(&w, POINTS);
    MUST(restore(&w, 10, w.target, true, NULL, err));
    assert_restored(&w, POINTS);
    REFUSED(ERR_NOENT, "no complete recovery point", restore(&w, 8, NULL, false, NULL, err));
    world_stop(&w);
    delta_free(&m);
    delta_free(&child);
}
static void of_a_merged_delta_the_newest_source_wins(void **state)
{
    (void)state;
    hub_run(from_merged, NULL);
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

static void tampered(void *arg)
{
    struct world w;
    char path[300];
    (void)arg;
    world_start(&w);
    world_open(&w);
    MUST(fio_replace_file(w.target, "precious", 8, 0600, err));
    /* The tables of data keys: their last byte lies before the manifest. */
    uint64_t end = w.m.deltas[2].content_len;
    flip_byte(&w, 2, end - 1);
    REFUSED(ERR_CORRUPT, "delta of RP 2: the tables", restore(&w, 2, w.target, true, NULL, err));
    flip_byte(&w, 2, end - 1);
    /* A sealed byte. */
    flip_byte(&w, 2, DELTA_HEADER_LEN + 3);
    REFUSED(ERR_AUTH, "bethune/records@2, volume data", restore(&w, 2, w.target, true, NULL, err));
    REFUSED(ERR_AUTH, "delta of RP 2", restore(&w, 2, NULL, false, NULL, err));
    MUST(restore(&w, 1, NULL, false, NULL, err)); /* which does not need it */
    flip_byte(&w, 2, DELTA_HEADER_LEN + 3);
    /* The index: its last byte lies before the tables. */
    flip_byte(&w, 2, end - w.m.deltas[2].tables_len - 1);
    REFUSED(ERR_CORRUPT, "bethune/records@2: the index", restore(&w, 3, w.target, true, NULL, err));
    flip_byte(&w, 2, end - w.m.deltas[2].tables_len - 1);
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

/* ---- connections that break ---- */

struct breaking {
    struct world w;
    struct caller *last;
    unsigned connections, refusals;
};

/* The next connection, when the hub is there. */
static int connect_next(void *arg, struct caller **out, struct err *e)
{
    struct breaking *b = arg;
    if (b->refusals > 0) {
        b->refusals--;
        return err_set(e, ERR_NET, "nobody there");
    }
    b->last = *out = client(&b->w.f, BETHUNE);
    b->connections++;
    return 0;
}

/* Breaks the connection whenever something came over it. */
static void on_restored(void *arg, const struct restore_progress *p)
{
    struct breaking *b = arg;
    if (p->bytes_done == 0 || b->connections > 3)
        return;
    link_shutdown(caller_link(b->last));
    b->refusals = 2;
}

static void broken_off(void *arg)
{
    struct breaking b = {0};
    struct key_secret *keys[] = {restore_key(BETHUNE)};
    struct restore_options options = {
        .keys = keys, .key_count = 1, .parallel = 1, .progress = on_restored, .arg = &b};
    struct caller *first;
    struct line line;
    (void)arg;
    world_start(&b.w);
    MUST(connect_next(&b, &first, err));
    line_init(&line, first, connect_next, &b);
    MUST(reader_open_all(&b.w.r, &line, "bethune", "records", key_public(sign_key(BETHUNE)), NULL,
                         NULL, NULL, err));
    MUST(reader_restore(b.w.r, 3, "data", b.w.target, &options, NULL, err));
    assert_true(b.connections > 1);
    assert_restored(&b.w, 3);
    reader_close(b.w.r);
    b.w.r = NULL;
    line_close(&line);
    world_stop(&b.w);
}
static void a_restore_goes_on_over_the_next_connection(void **state)
{
    (void)state;
    hub_run(broken_off, NULL);
}

/* ---- devices ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restore_goes_on_over_the_next_connection),
        cmocka_unit_test(every_complete_point_is_restored_as_the_model_says),
        cmocka_unit_test(of_a_merged_delta_the_newest_source_wins),
        cmocka_unit_test(an_existing_target_is_left_alone_unless_forced),
        cmocka_unit_test(a_wrong_key_is_refused_naming_the_right_one),
        cmocka_unit_test(a_flipped_byte_anywhere_is_found_and_named_and_the_target_untouched),
        cmocka_unit_test(a_block_device_is_overwritten_whole_and_no_further),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
