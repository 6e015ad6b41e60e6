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
        cmocka_unit_test(every_complete_point_is_restored_as_the_model_says),
        cmocka_unit_test(an_existing_target_is_left_alone_unless_forced),
        cmocka_unit_test(a_wrong_key_is_refused_naming_the_right_one),
        cmocka_unit_test(a_flipped_byte_anywhere_is_found_and_named_and_the_target_untouched),
        cmocka_unit_test(a_block_device_is_overwritten_whole_and_no_further),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
