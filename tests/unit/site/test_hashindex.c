/* hashindex: what is not known to be equal counts as changed, and an empty volume costs nothing. */
#include "site_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MUST(call, e)                                                                              \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, (e)->text);                                                  \
    } while (0)

struct place {
    struct fixture f;
    char path[PATH_CAP];
    uint8_t key[HASHINDEX_KEY_LEN];
    struct hashindex x;
    uint64_t entries[REGION_SECTORS];
    struct err e;
    bool made;
};

static void with_place(void (*fn)(void *arg))
{
    static struct place p;
    memset(&p, 0, sizeof p);
    fixture_init(&p.f);
    path_format(p.path, "%s/data.index", p.f.root);
    hashindex_key(p.key, p.f.hash, "bethune", "records", "data");
    fixture_run(fn, &p);
    fixture_done(&p.f);
}

static void open_index(struct place *p, bool fresh)
{
    MUST(hashindex_open(&p->x, p->path, p->key, fresh, &p->made, &p->e), &p->e);
}

static void read_region(struct place *p, uint32_t region)
{
    MUST(hashindex_read(&p->x, region, p->entries, &p->e), &p->e);
}

static void bases(void *arg)
{
    struct place *p = arg;
    open_index(p, true);
    assert_true(p->made);
    read_region(p, 1000000);
    assert_true(p->entries[0] == HASH_ZERO && p->entries[REGION_SECTORS - 1] == HASH_ZERO);
    hashindex_close(&p->x);
    open_index(p, false); /* what it was made as stays */
    assert_false(p->made);
    read_region(p, 0);
    assert_true(p->entries[5] == HASH_ZERO);
    MUST(hashindex_reset(&p->x, false, &p->e), &p->e);
    read_region(p, 0);
    assert_true(p->entries[5] == HASH_UNKNOWN);
    hashindex_close(&p->x);
}

static void a_new_index_is_all_zero_or_all_unknown(void **state)
{
    (void)state;
    with_place(bases);
}

static void runs(void *arg)
{
    struct place *p = arg;
    struct hashes h = {0};
    uint64_t values[3000];
    for (uint64_t i = 0; i < 3000; i++)
        values[i] = 100 + i;
    open_index(p, true);
    hashes_add(&h, 0, 7, 2, values);
    hashes_add(&h, 0, 9, 1, NULL);
    hashes_add(&h, 0, REGION_SECTORS - 1, 2, values + 10);
    hashes_add(&h, 0, 5 * REGION_SECTORS + 3, 3000, values);
    hashes_add(&h, 1, 0, 5, values); /* another volume's */
    MUST(hashindex_apply(&p->x, &h, 0, &p->e), &p->e);
    hashindex_close(&p->x);
    open_index(p, true);
    assert_false(p->made);
    read_region(p, 0);
    assert_true(p->entries[0] == HASH_ZERO && p->entries[6] == HASH_ZERO);
    assert_true(p->entries[7] == 100 && p->entries[8] == 101 && p->entries[9] == HASH_ZERO);
    assert_true(p->entries[REGION_SECTORS - 1] == 110);
    read_region(p, 1);
    assert_true(p->entries[0] == 111 && p->entries[1] == HASH_ZERO);
    read_region(p, 7);
    assert_true(p->entries[0] == 100 + 2 * REGION_SECTORS - 3);
    read_region(p, 5);
    assert_true(p->entries[2] == HASH_ZERO && p->entries[3] == 100);

    MUST(hashindex_forget(&p->x, 8, 1, &p->e), &p->e);
    read_region(p, 0);
    assert_true(p->entries[7] == 100 && p->entries[8] == HASH_UNKNOWN);
    hashindex_close(&p->x);
    hashes_free(&h);
}

static void entries_are_where_they_were_put_and_nowhere_else(void **state)
{
    (void)state;
    with_place(runs);
}

static void sparse(void *arg)
{
    struct place *p = arg;
    struct hashes h = {0};
    uint64_t value = 77, count;
    struct stat st;
    open_index(p, true);
    hashes_add(&h, 0, 1000 * REGION_SECTORS, 1, &value);
    MUST(hashindex_apply(&p->x, &h, 0, &p->e), &p->e);
    assert_int_equal(stat(p->path, &st), 0);
    assert_true(st.st_blocks * 512 <= 64 * 1024);
    MUST(hashindex_zero_regions(&p->x, 0, &count, &p->e), &p->e);
    assert_in_range(count, 999, 1000);
    MUST(hashindex_zero_regions(&p->x, 1000, &count, &p->e), &p->e);
    assert_int_equal(count, 0);
    MUST(hashindex_zero_regions(&p->x, 1001, &count, &p->e), &p->e);
    assert_true(count > 1000000);
    MUST(hashindex_reset(&p->x, false, &p->e), &p->e); /* unknown is never passed over */
    MUST(hashindex_zero_regions(&p->x, 0, &count, &p->e), &p->e);
    assert_int_equal(count, 0);
    hashindex_close(&p->x);
    hashes_free(&h);
}

static void an_empty_volume_costs_nothing(void **state)
{
    (void)state;
    with_place(sparse);
}

static void damage(struct place *p, off_t off)
{
    uint8_t b = 0xa5;
    int fd = open(p->path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, &b, 1, off), 1);
    close(fd);
}

static void foreign(void *arg)
{
    struct place *p = arg;
    static const off_t places[] = {0, 9, 20, 40};
    open_index(p, true);
    hashindex_close(&p->x);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        damage(p, places[i]);
        open_index(p, false);
        assert_true(p->made);
        read_region(p, 0);
        assert_true(p->entries[0] == HASH_UNKNOWN);
        hashindex_close(&p->x);
    }
    assert_int_equal(truncate(p->path, 100), 0);
    open_index(p, false);
    assert_true(p->made);
    hashindex_close(&p->x);
    hashindex_key(p->key, p->f.hash, "bethune", "records", "other");
    open_index(p, false); /* another volume's key */
    assert_true(p->made);
    hashindex_close(&p->x);
}

static void a_damaged_or_foreign_index_is_not_believed(void **state)
{
    (void)state;
    with_place(foreign);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_index_is_all_zero_or_all_unknown),
        cmocka_unit_test(entries_are_where_they_were_put_and_nowhere_else),
        cmocka_unit_test(an_empty_volume_costs_nothing),
        cmocka_unit_test(a_damaged_or_foreign_index_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
