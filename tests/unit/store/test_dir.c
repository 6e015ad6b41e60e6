/* store-dir: what a crash, decay or a second process leaves of a dir store's files. */
#include "fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPS f->store->ops

static struct store_head entry(uint64_t rp, const char *text)
{
    struct store_head h = {.rp = rp, .len = (uint16_t)strlen(text)};
    memcpy(h.value, text, h.len);
    return h;
}

static const char *path_of(struct fixture *f, const char *name)
{
    static char path[4][512];
    static unsigned next;
    char *p = path[next++ % 4];
    (void)snprintf(p, sizeof path[0], "%s/%s", f->root, name);
    return p;
}

static const char *head_path(struct fixture *f, const char *name)
{
    char tail[128];
    (void)snprintf(tail, sizeof tail, "sites/%s/heads/records/%s", f->site, name);
    return path_of(f, tail);
}

static size_t slurp(const char *path, uint8_t *buf, size_t cap)
{
    FILE *file = fopen(path, "rb");
    size_t n;
    assert_non_null(file);
    n = fread(buf, 1, cap, file);
    assert_int_equal(fclose(file), 0);
    return n;
}

static void spill(const char *path, const void *buf, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(buf, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void flip(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    int c;
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    c = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_not_equal(fputc(c ^ 0x40, file), EOF);
    assert_int_equal(fclose(file), 0);
}

static void reopen(struct fixture *f)
{
    struct err e = ERR_INIT;
    OPS->close(f->store);
    ok(store_dir_open(&f->store, f->root, &e), &e);
}

SPEC(a_store_that_is_open_is_refused_to_a_second)
{
    struct store *second = NULL;
    struct err e = ERR_INIT;
    fails(store_dir_open(&second, f->root, &e), AGAIN);
    assert_non_null(strstr(e.text, f->root));
    OPS->close(f->store);
    ok(store_dir_open(&f->store, f->root, &e), &e);
}

SPEC(an_unfinished_put_is_removed_and_never_an_object)
{
    struct store_names names;
    struct err e = ERR_INIT;
    spill(path_of(f, "tmp/0000000000000003"), "half", 4);
    reopen(f);
    assert_int_equal(access(path_of(f, "tmp/0000000000000003"), F_OK), -1);
    ok(OPS->list(f->store, f->site, "", "", &names, &e), &e);
    assert_int_equal(names.count, 0);
    free(names.names);
}

SPEC(a_crash_before_the_head_file_was_replaced_leaves_the_old_head_and_catalog)
{
    struct store_head none = {0}, one = entry(1, "one"), two = entry(2, "two"),
                      five = entry(5, "five");
    struct store_head h, got[4];
    struct err e = ERR_INIT;
    uint8_t old[2048];
    uint32_t count;
    size_t len;
    ok(OPS->move_head(f->store, f->site, "records", &none, &one, &e), &e);
    len = slurp(head_path(f, "head"), old, sizeof old);
    ok(OPS->move_head(f->store, f->site, "records", &one, &two, &e), &e);
    spill(head_path(f, "head"), old, len);
    spill(head_path(f, "head.tmp"), "torn", 4);
    reopen(f);
    ok(OPS->head(f->store, f->site, "records", &h, &e), &e);
    assert_int_equal(h.rp, 1);
    ok(OPS->catalog(f->store, f->site, "records", 0, got, 4, &count, &e), &e);
    assert_int_equal(count, 1);
    ok(OPS->move_head(f->store, f->site, "records", &one, &five, &e), &e);
    ok(OPS->catalog(f->store, f->site, "records", 0, got, 4, &count, &e), &e);
    assert_int_equal(count, 2);
    assert_int_equal(got[1].rp, 5);
    assert_memory_equal(got[1].value, "five", 4);
}

SPEC(a_crash_before_the_first_head_leaves_no_group)
{
    struct store_head none = {0}, one = entry(1, "one"), h;
    struct store_names names;
    struct err e = ERR_INIT;
    ok(OPS->move_head(f->store, f->site, "records", &none, &one, &e), &e);
    assert_int_equal(unlink(head_path(f, "head")), 0);
    reopen(f);
    ok(OPS->head(f->store, f->site, "records", &h, &e), &e);
    assert_int_equal(h.rp, 0);
    ok(OPS->groups(f->store, f->site, &names, &e), &e);
    assert_int_equal(names.count, 0);
    free(names.names);
    ok(OPS->move_head(f->store, f->site, "records", &none, &one, &e), &e);
}

SPEC(a_decayed_head_or_catalog_is_CORRUPT_and_named)
{
    struct store_head none = {0}, one = entry(1, "one"), two = entry(2, "two"), h, got[2];
    struct err e = ERR_INIT;
    uint32_t count;
    ok(OPS->move_head(f->store, f->site, "records", &none, &one, &e), &e);
    ok(OPS->move_head(f->store, f->site, "records", &one, &two, &e), &e);
    flip(head_path(f, "catalog"), 12);
    fails(OPS->catalog(f->store, f->site, "records", 0, got, 2, &count, &e), CORRUPT);
    assert_non_null(strstr(e.text, "catalog"));
    assert_int_equal(truncate(head_path(f, "catalog"), 1024), 0);
    fails(OPS->catalog(f->store, f->site, "records", 0, got, 2, &count, &e), CORRUPT);
    for (long at = 0; at < 60; at++) {
        flip(head_path(f, "head"), at);
        fails(OPS->head(f->store, f->site, "records", &h, &e), CORRUPT);
        fails(OPS->move_head(f->store, f->site, "records", &none, &one, &e), CORRUPT);
        flip(head_path(f, "head"), at);
    }
    ok(OPS->head(f->store, f->site, "records", &h, &e), &e);
    assert_int_equal(h.rp, 2);
}

SPEC(one_directory_serves_thousands_of_recovery_points)
{
    struct err e = ERR_INIT;
    char name[STORE_NAME_MAX], dir[128];
    struct stat st;
    for (unsigned rp = 1; rp <= 300; rp++) {
        (void)snprintf(name, sizeof name, "records/%016x/0123456789abcdef.0000", rp);
        ok(OPS->put(f->store, f->site, name, "1", 1, &e), &e);
    }
    (void)snprintf(dir, sizeof dir, "sites/%s/objects/records", f->site);
    assert_int_equal(stat(path_of(f, dir), &st), 0);
    assert_int_equal(st.st_nlink, 3); /* itself, its name, one below */
}

SPEC(more_directories_than_are_remembered_all_work)
{
    struct store_names names;
    struct err e = ERR_INIT;
    char name[STORE_NAME_MAX];
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "g%u/x", i % 150);
        ok(OPS->put(f->store, f->site, name, "1", 1, &e), &e);
    }
    ok(OPS->list(f->store, f->site, "", "", &names, &e), &e);
    assert_int_equal(names.count, 150);
    free(names.names);
}

SPEC(a_directory_removed_by_somebody_is_made_again)
{
    struct err e = ERR_INIT;
    char dir[128], to[128];
    ok(OPS->put(f->store, f->site, "abc/x", "1", 1, &e), &e);
    (void)snprintf(dir, sizeof dir, "sites/%s/objects/abc", f->site);
    (void)snprintf(to, sizeof to, "sites/%s/objects/moved", f->site);
    assert_int_equal(rename(path_of(f, dir), path_of(f, to)), 0);
    fails(OPS->put(f->store, f->site, "abc/x", "1", 1, &e), IO);
    ok(OPS->put(f->store, f->site, "abc/x", "1", 1, &e), &e);
}

SPEC_BARE(a_root_that_cannot_be_one_is_refused_with_its_name)
{
    struct store *s = NULL;
    struct err e = ERR_INIT;
    char longest[2000];
    spill(path_of(f, "file"), "", 0);
    fails(store_dir_open(&s, path_of(f, "file"), &e), IO);
    assert_non_null(strstr(e.text, "/file"));
    fails(store_dir_open(&s, path_of(f, "file/below"), &e), IO);
    assert_int_equal(mkdir(path_of(f, "newer"), 0700), 0);
    spill(path_of(f, "newer/format"), "relais store 2\n", 15);
    fails(store_dir_open(&s, path_of(f, "newer"), &e), IO);
    assert_non_null(strstr(e.text, "relais store 2"));
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    fails(store_dir_open(&s, longest, &e), IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_that_is_open_is_refused_to_a_second),
        cmocka_unit_test(an_unfinished_put_is_removed_and_never_an_object),
        cmocka_unit_test(a_crash_before_the_head_file_was_replaced_leaves_the_old_head_and_catalog),
        cmocka_unit_test(a_crash_before_the_first_head_leaves_no_group),
        cmocka_unit_test(a_decayed_head_or_catalog_is_CORRUPT_and_named),
        cmocka_unit_test(one_directory_serves_thousands_of_recovery_points),
        cmocka_unit_test(more_directories_than_are_remembered_all_work),
        cmocka_unit_test(a_directory_removed_by_somebody_is_made_again),
        cmocka_unit_test(a_root_that_cannot_be_one_is_refused_with_its_name),
    };
    return cmocka_run_group_tests_name("store-dir", tests, NULL, NULL);
}
