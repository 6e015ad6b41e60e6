/* compact: what the hub folds and the site attests restores as before, takes less room, and nobody
 * gets a signature for anything else. */
#include "attest.h"
#include "compact.h"
#include "delta.h"
#include "reader.h"
#include "territory_fixture.h"
#include "verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VOLUME (24 * MIB)
#define RPS    24u
#define EACH   6u /* every sixth stays */

/* The volume at each RP, as its file was. */
struct story {
    struct territory_fixture *t;
    uint8_t *image[RPS + 1];
    size_t size[RPS + 1];
    uint64_t grows; /* at this RP the volume does; 0: never */
    bool stays[RPS + 1];
    unsigned pin; /* somebody pins this RP when the first is asked for; 0: nobody does */
};

static uint8_t *load(const char *path, size_t *len)
{
    struct err e = ERR_INIT;
    void *p = NULL;
    MUST(fio_load_file(path, 2 * VOLUME, &p, len, &e), &e);
    return p;
}

static int pin(struct territory_fixture *t, unsigned rp, struct err *e)
{
    uint64_t left;
    return verdict_pin(t->store, &t->hub_config, "bethune", "records", rp, true, "", &left, e);
}

static bool stays(void *arg, uint64_t rp)
{
    struct story *s = arg;
    if (s->pin > 0) {
        MUST(pin(s->t, s->pin, &s->t->e), &s->t->e);
        s->pin = 0;
    }
    return rp > RPS || s->stays[rp];
}

/* RP 1 is the seed. Then a hot place is written in each, and a place of its own. */
static void tell(struct story *s, struct territory_fixture *t)
{
    *s = (struct story){.t = t, .grows = s->grows};
    hub_up(t);
    site_up(t);
    for (unsigned rp = 1; rp <= RPS; rp++) {
        if (rp > 1) {
            fixture_fill(&t->f, 0, 2 * MIB, MIB, rp);
            fixture_fill(&t->f, 0, (rp % 5) * 64 * KIB, 24 * KIB, 100 + rp);
            fixture_fill(&t->f, 0, 12 * MIB + rp * 256 * KIB, 8 * KIB, 200 + rp);
        }
        if (rp == s->grows)
            fixture_resize(&t->f, 0, VOLUME + MIB);
        assert_int_equal(mark(t, "", true), rp);
        s->image[rp] = load(t->f.volumes[0].path, &s->size[rp]);
        s->stays[rp] = rp % EACH == 0 || rp > RPS - EACH; /* the head's run is left as it is */
    }
}

static void end(struct story *s)
{
    site_stop(s->t->site);
    hub_down(s->t);
    for (unsigned rp = 1; rp <= RPS; rp++)
        free(s->image[rp]);
}

static struct caller *connect_hub(struct territory_fixture *t)
{
    struct io_addr addr = {.port = t->hub_config.listen.port};
    struct caller *c = NULL;
    struct link *l = NULL;
    int fd;
    fixture_text(addr.host, sizeof addr.host, "%s", t->hub_config.listen.host);
    fd = fio_connect(&addr, PATIENCE);
    assert_true(fd >= 0);
    MUST(link_tls_connect(&l, fd, t->site_tls, "arras", PATIENCE, &t->e), &t->e);
    MUST(caller_new(&c, l, &t->e), &t->e);
    return c;
}

static void assert_restores(struct story *s, struct reader *r, unsigned rp)
{
    struct territory_fixture *t = s->t;
    struct key_secret *keys[] = {t->f.restore};
    struct restore_options options = {.keys = keys, .key_count = 1, .force = true};
    struct restore_progress done;
    char target[128];
    uint8_t *image;
    size_t len = 0;
    fixture_text(target, sizeof target, "%s/target", t->f.root);
    MUST(reader_restore(r, rp, "data", target, &options, &done, &t->e), &t->e);
    image = load(target, &len);
    if (len != s->size[rp] || memcmp(image, s->image[rp], len) != 0)
        fail_msg("RP %u is not what it was", rp);
    free(image);
}

/* Those that stay, and no others, can be found, and are what they were. */
static void assert_history(struct story *s, size_t deltas)
{
    struct territory_fixture *t = s->t;
    struct caller *c = connect_hub(t);
    struct reader *r;
    uint64_t rp;
    size_t count;
    char word[16];
    MUST(reader_open(&r, c, "bethune", "records", key_public(t->f.sign), NULL, NULL, &t->e), &t->e);
    (void)reader_points(r, &count);
    assert_int_equal(count, deltas);
    for (unsigned i = 1; i <= RPS; i++) {
        struct err e = ERR_INIT;
        fixture_text(word, sizeof word, "%u", i);
        int res = reader_find(r, word, 0, &rp, &e);
        if (s->stays[i] != (res == 0))
            fail_msg("RP %u: %s", i, res == 0 ? "is offered" : e.text);
        if (s->stays[i])
            assert_restores(s, r, i);
    }
    reader_close(r);
    caller_free(c);
}

static uint64_t generation(struct territory_fixture *t)
{
    uint64_t now;
    MUST(t->store->ops->generation(t->store, "bethune", "records", &now, &t->e), &t->e);
    return now;
}

static int compact_in(struct story *s, uint64_t from, struct compact_sums *sums, struct err *e)
{
    return compact_group(s->t->hub, "bethune", "records", from, stays, s, sums, e);
}

static struct compact_sums compact(struct story *s)
{
    struct territory_fixture *t = s->t;
    struct compact_sums sums = {0};
    MUST(compact_in(s, generation(t), &sums, &t->e), &t->e);
    MUST(orphans_remove(t->hub, "bethune", "records", &sums.orphans, &t->e), &t->e);
    return sums;
}

static size_t objects(struct territory_fixture *t)
{
    struct store_names names;
    MUST(t->store->ops->list(t->store, "bethune", "records/", "", &names, &t->e), &t->e);
    free(names.names);
    return names.count;
}

static void folded(void *arg)
{
    struct story s = {0};
    struct territory_fixture *t = arg;
    struct compact_sums out;
    tell(&s, t);
    size_t before = objects(t);
    out = compact(&s);
    assert_int_equal(out.waiting, 0);
    assert_int_equal(out.orphans, 0);
    assert_true(out.bytes_out * 2 < out.bytes_in);
    assert_true(objects(t) < before);
    assert_history(&s, 3 + EACH);
    /* What was done is not done again. */
    out = compact(&s);
    assert_int_equal(out.deltas_in + out.deltas_out + out.orphans, 0);
    /* One goes that was kept: its neighbour takes it in. */
    s.stays[6] = false;
    out = compact(&s);
    assert_true(out.deltas_in > 0);
    assert_history(&s, 2 + EACH);
    end(&s);
}
static void what_nobody_keeps_is_folded_and_what_stays_restores_as_before(void **state)
{
    (void)state;
    with_territory(folded);
}

/* ---- who comes in between ---- */

static void pinned(void *arg)
{
    struct story s = {0};
    struct territory_fixture *t = arg;
    struct compact_sums sums = {0};
    struct err e = ERR_INIT;
    uint64_t before;
    tell(&s, t);
    /* While a pass is at it that judged before. */
    s.pin = 3;
    assert_int_equal(compact_in(&s, generation(t), &sums, &e), -ERR_CONFLICT);
    assert_int_equal(sums.deltas_in, 0);
    /* Before a pass has read the catalog that it folds, but behind its judgement. */
    before = generation(t);
    MUST(pin(t, 4, &t->e), &t->e);
    assert_int_equal(compact_in(&s, before, &sums, &e), -ERR_CONFLICT);
    s.stays[3] = s.stays[4] = true;
    (void)compact(&s);
    assert_history(&s, 5 + EACH);
    /* What was let go is told, not pinned. */
    e = (struct err)ERR_INIT;
    assert_int_equal(pin(t, 2, &e), -ERR_NOENT);
    end(&s);
}
static void a_pin_wins_against_a_pass_that_judged_before_it(void **state)
{
    (void)state;
    with_territory(pinned);
}

/* The reader of a restore that is under way while the hub folds. */
struct passing {
    struct story *s;
    unsigned units;
};

static int connect_line(void *arg, struct caller **out, struct err *e)
{
    (void)e;
    *out = connect_hub(arg);
    return 0;
}

static void fold_now(void *arg, const struct restore_progress *p)
{
    struct passing *x = arg;
    (void)p;
    if (x->units++ == 0)
        (void)compact(x->s);
}

static void read_meanwhile(void *arg)
{
    struct story s = {0};
    struct territory_fixture *t = arg;
    struct passing x = {.s = &s};
    struct restore_options options = {
        .key_count = 1, .force = true, .parallel = 1, .progress = fold_now, .arg = &x};
    struct restore_progress done;
    struct line line;
    struct reader *r;
    struct err e = ERR_INIT;
    char target[128];
    tell(&s, t);
    s.stays[6] = false;
    struct key_secret *keys[] = {t->f.restore};
    options.keys = keys;
    fixture_text(target, sizeof target, "%s/target", t->f.root);
    line_init(&line, connect_hub(t), connect_line, t);
    MUST(reader_open_all(&r, &line, "bethune", "records", key_public(t->f.sign), NULL, NULL, NULL,
                         &t->e),
         &t->e);
    uint64_t began = io_now(fiber_io());
    int res = reader_restore(r, 12, "data", target, &options, &done, &e);
    assert_true(x.units > 0);
    if (res != -ERR_CONFLICT || io_now(fiber_io()) - began > 20 * IO_S)
        fail_msg("%s (%s) after %u s", e.text, err_name(e.code),
                 (unsigned)((io_now(fiber_io()) - began) / IO_S));
    reader_close(r);
    /* The same again, as relais restore does it: what the first attempt wrote is no matter. */
    options.progress = NULL;
    MUST(reader_open_all(&r, &line, "bethune", "records", key_public(t->f.sign), NULL, NULL, NULL,
                         &t->e),
         &t->e);
    assert_restores(&s, r, 12);
    reader_close(r);
    line_close(&line);
    end(&s);
}
static void a_restore_learns_at_once_that_a_delta_was_replaced_and_goes_on_exactly(void **state)
{
    (void)state;
    with_territory(read_meanwhile);
}

/* ---- what is damaged ---- */

/* A byte of what RP 11 was sealed to. */
static void rot(struct territory_fixture *t, const struct catalog_entry *x)
{
    const struct store_ops *ops = t->store->ops;
    char name[STORE_NAME_MAX];
    uint8_t *p = err_malloc(x->file_len);
    assert_true(x->file_len <= PART_SIZE);
    catalog_object_name(name, "records", x->rp, x->id, 0);
    MUST(ops->get(t->store, "bethune", name, 0, p, x->file_len, &t->e), &t->e);
    p[DELTA_HEADER_LEN] ^= 1;
    MUST(ops->remove(t->store, "bethune", name, &t->e), &t->e);
    MUST(ops->put(t->store, "bethune", name, p, x->file_len, &t->e), &t->e);
    free(p);
}

/* The volume grew at RP 3, so the run is folded to two deltas. */
static void rotten(void *arg)
{
    struct story s = {.grows = 3};
    struct territory_fixture *t = arg;
    struct compact_sums sums = {0};
    struct catalog_entry *x;
    uint64_t now;
    size_t count;
    struct err e = ERR_INIT;
    tell(&s, t);
    for (unsigned i = 1; i < 2 * EACH; i++)
        s.stays[i] = false;
    MUST(compact_load(t->hub, "bethune", "records", &now, &x, &count, &t->e), &t->e);
    rot(t, &x[10]);
    free(x);
    assert_int_equal(compact_in(&s, now, &sums, &e), -ERR_CORRUPT);
    assert_non_null(strstr(e.text, "RP 11"));
    /* RPs 1 and 2 of the same run, and the run behind. */
    assert_int_equal(sums.deltas_in, 2 + EACH);
    assert_int_equal(sums.deltas_out, 2);
    MUST(compact_load(t->hub, "bethune", "records", &now, &x, &count, &t->e), &t->e);
    assert_int_equal(count, 1 + 2 * EACH - 2 + 1 + EACH);
    free(x);
    end(&s);
}
static void what_is_damaged_keeps_nothing_else_from_being_folded(void **state)
{
    (void)state;
    with_territory(rotten);
}

/* ---- what the site does not sign ---- */

/* Reads the store as the hub does. */
struct source {
    struct territory_fixture *t;
    const struct catalog_entry *entries;
};

static int read_store(void *arg, size_t n, uint64_t off, void *buf, uint32_t len, struct err *e)
{
    const struct source *s = arg;
    return hub_read(s->t->hub, "bethune", "records", &s->entries[n], off, buf, len, e);
}

/* RPs 7 to 12, folded as the hub would: a request that the site signs, until it is spoiled. */
struct forgery {
    struct story s;
    struct source source;
    struct catalog_entry *entries;
    struct run_delta deltas[EACH];
    struct run run;
    struct run_built built;
    struct digest parts[8];
    struct caller *c;
    struct attest_request request;
};

static void forgery_make(struct forgery *f, struct territory_fixture *t)
{
    uint64_t generation;
    size_t count;
    tell(&f->s, t);
    f->c = connect_hub(t);
    MUST(compact_load(t->hub, "bethune", "records", &generation, &f->entries, &count, &t->e),
         &t->e);
    f->source = (struct source){t, f->entries + EACH};
    for (size_t i = 0; i < EACH; i++) {
        const struct catalog_entry *x = &f->entries[EACH + i];
        f->deltas[i] =
            (struct run_delta){x->rp_first, x->rp, x->file_len, x->manifest_len, x->digest};
    }
    f->run = (struct run){.site = "bethune",
                          .group = "records",
                          .deltas = f->deltas,
                          .count = EACH,
                          .read = read_store,
                          .arg = &f->source,
                          .signer = key_public(t->f.sign)};
    MUST(run_open(&f->run, &t->e), &t->e);
    assert_int_equal(f->run.output_count, 1);
    MUST(run_build(&f->run, 0, &f->built, &t->e), &t->e);
    assert_in_range(f->built.m.part_count, 1, 8);
    f->built.m.parts = f->parts;
    f->request = (struct attest_request){
        .group = "records", .rp_first = EACH + 1, .rp = 2 * EACH, .inputs = f->run.inputs};
}

static void forgery_free(struct forgery *f)
{
    caller_free(f->c);
    run_built_free(&f->built);
    run_close(&f->run);
    free(f->entries);
    end(&f->s);
}

/* What the site says to a request with this manifest. */
static int sign(struct forgery *f, const struct manifest *m, struct err *e)
{
    struct bytes_out raw = bytes_out(MANIFEST_MAX);
    struct attest_request q = f->request;
    uint8_t signature[MANIFEST_SIG_LEN];
    MUST(manifest_encode_unsigned(&raw, m, e), e);
    q.manifest = raw.p;
    q.len = (uint32_t)raw.len;
    int rc = attest_check(site_shipper(f->s.t->site), f->c, &q, signature, e);
    if (rc == 0) {
        bytes_put(&raw, signature, sizeof signature);
        MUST(manifest_verify(raw.p, raw.len, key_public(f->s.t->f.sign), e), e);
    }
    bytes_free(&raw);
    return rc;
}

#define REFUSES(f, m, words)                                                                       \
    do {                                                                                           \
        struct err e_ = ERR_INIT;                                                                  \
        if (sign(f, m, &e_) != -ERR_AUTH || !strstr(e_.text, words))                               \
            fail_msg("line %d: %s (%s)", __LINE__, e_.text, err_name(e_.code));                    \
    } while (0)

/* An index as the right one, but for one winner that is left out, as if it had been covered. */
static void drop_winner(struct forgery *f, struct manifest *m, struct index_writer *w,
                        struct bytes_out *tables)
{
    struct index_reader r;
    struct index_entry x;
    struct err e = ERR_INIT;
    *m = f->built.m;
    m->plain_bytes = m->frame_bytes = m->sealed_bytes = 0;
    index_writer_init(w, DELTA_HEADER_LEN, m->source_count);
    index_reader_init(&r, f->built.index.out.p, f->built.index.out.len, f->built.m.extents,
                      m->volume_count, m->source_count, DELTA_HEADER_LEN, f->built.m.index_place);
    for (unsigned i = 0; index_next(&r, &x, &e) > 0; i++) {
        if (i == 2)
            continue;
        assert_true(index_append(w, &x));
        fold_count(m, &x);
    }
    MUST(fold_close(m, w, tables, &e), &e);
}

static void forged(void *arg)
{
    struct forgery f = {0};
    struct manifest m;
    struct index_writer w;
    struct bytes_out tables = bytes_out(TABLES_MAX);
    struct err e = ERR_INIT;
    forgery_make(&f, arg);
    MUST(sign(&f, &f.built.m, &e), &e);
    /* A winner dropped. */
    drop_winner(&f, &m, &w, &tables);
    REFUSES(&f, &m, "does not follow");
    index_writer_free(&w);
    bytes_free(&tables);
    /* Each field that a reader goes by. */
    m = f.built.m;
    m.index_digest.b[5] ^= 1;
    REFUSES(&f, &m, "does not follow");
    m = f.built.m;
    m.tables_digest.b[5] ^= 1;
    REFUSES(&f, &m, "does not follow");
    m = f.built.m;
    m.good_from++;
    REFUSES(&f, &m, "does not follow");
    m = f.built.m;
    m.cut_time--;
    REFUSES(&f, &m, "does not follow");
    m = f.built.m;
    m.stands_for.b[0] ^= 1;
    REFUSES(&f, &m, "does not follow");
    /* Another range than one that is to be put together. */
    m = f.built.m;
    m.rp_first++;
    REFUSES(&f, &m, "does not follow");
    /* A run that reaches up to the head, where the site knows more than the hub need tell. */
    f.request.rp = RPS;
    REFUSES(&f, &f.built.m, "known here to be committed");
    f.request.rp = 2 * EACH;
    /* Other deltas than the hub lists. */
    f.request.inputs.b[0] ^= 1;
    assert_int_equal(sign(&f, &f.built.m, &e), -ERR_AGAIN);
    f.request.inputs.b[0] ^= 1;
    /* Another group's. */
    f.request.group = "imaging";
    assert_int_equal(sign(&f, &f.built.m, &e), -ERR_NOENT);
    forgery_free(&f);
}
static void the_site_signs_nothing_but_what_follows_from_its_deltas(void **state)
{
    (void)state;
    with_territory(forged);
}

/* ---- what a reader does not open ---- */

/* A hub compacted; then it puts an original back that lies behind what was thinned. */
static void put_back(void *arg)
{
    struct story s = {.grows = 3}; /* what lies before cannot be put together with what is behind */
    struct territory_fixture *t = arg;
    struct catalog_entry *old, *now;
    struct store_head entries[RPS];
    struct caller *c;
    struct reader *r;
    uint64_t generation, rp;
    size_t count, kept;
    uint32_t n = 0;
    struct err e = ERR_INIT;
    char copy[256];
    tell(&s, t);
    MUST(compact_load(t->hub, "bethune", "records", &generation, &old, &count, &t->e), &t->e);
    fixture_text(copy, sizeof copy, "cp -r %s %s.old", t->store_dir, t->store_dir);
    assert_int_equal(fio_command(copy, PATIENCE), 0);
    for (unsigned i = 1; i < 2 * EACH; i++)
        s.stays[i] = false;
    (void)compact(&s);
    assert_int_equal(pin(t, 2, &e), -ERR_NOENT); /* which is there, but not to be opened */
    assert_non_null(strstr(e.text, "folded"));
    MUST(compact_load(t->hub, "bethune", "records", &generation, &now, &kept, &t->e), &t->e);
    /* The originals are there again, and the catalog names those behind the first that is not. */
    fixture_text(copy, sizeof copy, "cp -rn %s.old/sites/bethune/objects %s/sites/bethune/",
                 t->store_dir, t->store_dir);
    assert_int_equal(fio_command(copy, PATIENCE), 0);
    assert_true(now[0].good_from == 2 * EACH && now[0].rp < 2 * EACH);
    assert_int_equal(catalog_encode(&entries[n++], &now[0]), 0);
    for (size_t i = 0; old[i].rp <= 2 * EACH; i++)
        if (old[i].rp > now[0].rp)
            assert_int_equal(catalog_encode(&entries[n++], &old[i]), 0);
    MUST(t->store->ops->splice(t->store, "bethune", "records", generation, 1, 2 * EACH, entries, n,
                               &t->e),
         &t->e);
    c = connect_hub(t);
    MUST(reader_open(&r, c, "bethune", "records", key_public(t->f.sign), NULL, NULL, &t->e), &t->e);
    for (uint64_t i = now[0].rp; i < 2 * EACH; i++) {
        char word[16];
        fixture_text(word, sizeof word, "%u", (unsigned)i);
        if (reader_find(r, word, 0, &rp, &e) != -ERR_NOENT)
            fail_msg("RP %s is offered", word);
    }
    assert_restores(&s, r, 2 * EACH); /* which what is thinned is good for */
    reader_close(r);
    caller_free(c);
    free(old);
    free(now);
    end(&s);
}
static void an_original_behind_what_was_thinned_is_not_offered(void **state)
{
    (void)state;
    with_territory(put_back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_keeps_is_folded_and_what_stays_restores_as_before),
        cmocka_unit_test(a_pin_wins_against_a_pass_that_judged_before_it),
        cmocka_unit_test(a_restore_learns_at_once_that_a_delta_was_replaced_and_goes_on_exactly),
        cmocka_unit_test(what_is_damaged_keeps_nothing_else_from_being_folded),
        cmocka_unit_test(the_site_signs_nothing_but_what_follows_from_its_deltas),
        cmocka_unit_test(an_original_behind_what_was_thinned_is_not_offered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
