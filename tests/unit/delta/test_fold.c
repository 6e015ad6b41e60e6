/* fold: what is planned can be made, whatever a site signed. */
#include "delta.h"
#include "fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SOURCES (DATA_KEYS_MAX + 1000u)

/* A delta of one volume, whose index is being written. */
struct draft {
    struct manifest m;
    struct manifest_volume volume;
    struct index_writer w;
    struct err e;
};

static void draft_begin(struct draft *d, uint16_t sources, uint16_t keys)
{
    *d = (struct draft){.volume = {.name = "data", .size = 64 * GIB}, .e = ERR_INIT};
    d->m = (struct manifest){.rp_first = 1,
                             .rp = sources,
                             .volume_count = 1,
                             .source_count = sources,
                             .key_count = keys};
    d->m.sources = err_calloc(sources, sizeof *d->m.sources);
    d->m.keys = err_calloc(keys, sizeof *d->m.keys);
    for (uint16_t i = 0; i < sources; i++)
        d->m.sources[i] = (struct manifest_source){.rp = i + 1u, .key = i % keys};
    for (uint16_t i = 0; i < keys; i++) {
        d->m.keys[i].count = 1;
        d->m.keys[i].id[0] = (uint8_t)i;
    }
    index_writer_init(&d->w, DELTA_HEADER_LEN, sources);
}

static void add(struct draft *d, uint16_t source, bool zero, uint32_t sector, uint32_t sectors)
{
    struct index_entry x = {.kind = zero ? EXTENT_ZERO : EXTENT_DATA,
                            .codec = CODEC_STORED,
                            .source = source,
                            .sector = sector,
                            .sectors = sectors,
                            .sealed_len = zero ? 0 : sectors << SECTOR_SHIFT};
    assert_true(index_append(&d->w, &x));
    fold_count(&d->m, &x);
}

static void draft_end(struct draft *d)
{
    struct bytes_out tables = bytes_out(TABLES_MAX);
    (void)fold_close(&d->m, &d->w, &tables, &d->e);
    bytes_free(&tables);
}

static void draft_free(struct draft *d)
{
    free(d->m.sources);
    free(d->m.keys);
    index_writer_free(&d->w);
}

/* Folded alone. */
static void weigh(struct fold *f, struct draft *d)
{
    fold_init(f, 1);
    f->inputs[0].m = d->m;
    f->inputs[0].m.volumes = &d->volume;
    if (fold_weigh(f, 0, d->w.out.p, &d->e) < 0)
        fail_msg("%s", d->e.text);
}

static void a_delta_that_is_mostly_dead_is_rewritten(void **state)
{
    (void)state;
    struct fold f;
    struct fold_output out;
    struct draft d;
    draft_begin(&d, 3, 2);
    for (uint32_t i = 0; i < 4; i++)
        add(&d, 0, false, i * 256, 256);
    add(&d, 1, true, 0, 1024);
    add(&d, 2, false, 4096, 1);
    draft_end(&d);
    weigh(&f, &d);
    assert_int_equal(f.inputs[0].extents, 2);
    assert_int_equal(fold_plan(&f, &out), 1);
    assert_true(out.rewrite);
    assert_true(fold_place(&f, &out));
    assert_int_equal(out.sources, 2);
    fold_free(&f, false);
    draft_free(&d);
}

/* Its sources take two data keys in turn, which no site does that merges: as many changes of keys
 * are counted as keys. */
static void one_that_does_not_fit_what_is_estimated_stays_as_it_is(void **state)
{
    (void)state;
    struct fold f;
    struct fold_output out;
    struct draft d;
    draft_begin(&d, SOURCES, 2);
    for (uint32_t i = 0; i < 4; i++)
        add(&d, 0, false, i * 256, 256);
    add(&d, 1, true, 0, 1024);
    for (uint16_t i = 2; i < SOURCES; i++)
        add(&d, i, true, 4096 + 2u * i, 1);
    draft_end(&d);
    weigh(&f, &d);
    assert_int_equal(f.inputs[0].extents, SOURCES - 1);
    assert_int_equal(fold_plan(&f, &out), 1);
    if (out.rewrite && !fold_place(&f, &out))
        fail_msg("what is planned breaks a bound");
    fold_free(&f, false);
    draft_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delta_that_is_mostly_dead_is_rewritten),
        cmocka_unit_test(one_that_does_not_fit_what_is_estimated_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
