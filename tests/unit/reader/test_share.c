/* share: a reader that comes later opens what was sealed before, by grace of one that can; nobody
 * else can add to it, and nonsense that somebody added harms no one. */
#include "reader_fixture.h"
#include "share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

static int restore_as(struct world *w, enum who who, struct err *e)
{
    struct key_secret *keys[] = {restore_key(who)};
    const struct restore_options options = {.keys = keys, .key_count = 1, .force = true};
    return reader_restore(w->r, POINTS, "data", w->target, &options, NULL, e);
}

static int grant(struct world *w, enum who from, enum who to, struct share_granted *out,
                 struct err *e)
{
    struct key_secret *keys[] = {restore_key(from)};
    return share_grant(w->r, keys, 1, key_public(restore_key(to)), out, e);
}

static void reopen(struct world *w)
{
    reader_close(w->r);
    w->r = NULL;
    world_open(w);
}

static const struct share_reader *row_of(const struct share_reader *rows, size_t n, enum who who)
{
    uint8_t fp[KEY_FP_LEN];
    key_fingerprint(fp, key_public(restore_key(who)));
    for (size_t i = 0; i < n; i++)
        if (memcmp(rows[i].fingerprint, fp, KEY_FP_LEN) == 0)
            return &rows[i];
    return NULL;
}

static void granting(void *arg)
{
    struct world w;
    struct share_reader *rows = err_calloc(SHARE_READERS_MAX, sizeof *rows);
    struct share_granted g;
    size_t n = 0;
    (void)arg;
    world_start(&w);
    world_open(&w);
    REFUSED(ERR_AUTH, "none of your restore keys opens it", restore_as(&w, DOUAI, err));
    REFUSED(ERR_AUTH, "none of your restore keys opens it", grant(&w, DOUAI, ARRAS, &g, err));
    assert_false(exists(w.target));
    MUST(grant(&w, BETHUNE, DOUAI, &g, err));
    assert_true(g.keys > 0);
    assert_int_equal(g.granted, g.keys);
    assert_int_equal(g.had + g.closed, 0);
    reopen(&w);
    MUST(restore_as(&w, DOUAI, err));
    assert_restored(&w, POINTS);
    /* Again: nothing is left to do; and who was let in can let in. */
    MUST(grant(&w, BETHUNE, DOUAI, &g, err));
    assert_int_equal(g.granted, 0);
    assert_int_equal(g.had, g.keys);
    MUST(grant(&w, DOUAI, ARRAS, &g, err));
    assert_int_equal(g.granted, g.keys);
    reopen(&w);
    MUST(restore_as(&w, ARRAS, err));
    MUST(share_list(w.r, rows, &n, err));
    assert_int_equal(n, 3);
    const struct share_reader *bethune = row_of(rows, n, BETHUNE), *douai = row_of(rows, n, DOUAI);
    assert_non_null(bethune);
    assert_non_null(douai);
    assert_int_equal(bethune->granted, 0);
    assert_int_equal(douai->granted, g.keys);
    assert_int_equal(douai->points, bethune->points);
    assert_int_equal(douai->first, 1);
    assert_int_equal(douai->last, POINTS);
    assert_true(douai->newest);
    free(rows);
    world_stop(&w);
}
static void who_can_read_lets_others_read(void **state)
{
    (void)state;
    hub_run(granting, NULL);
}

static int put(struct caller *c, const char *group, enum who reader, const void *p, uint32_t len,
               uint32_t fp_len, struct err *e)
{
    struct call call = {.expect = FRAME_WrapsStored};
    char site[] = "bethune", name[NAME_MAX_LEN + 1];
    uint8_t fp[2 * KEY_FP_LEN] = {0};
    Relais__WrapsPut m;
    relais__wraps_put__init(&m);
    (void)snprintf(name, sizeof name, "%s", group);
    key_fingerprint(fp, key_public(restore_key(reader)));
    m.site = site;
    m.group = name;
    m.reader = (ProtobufCBinaryData){fp_len, fp};
    int rc = call_start(c, &call, FRAME_WrapsPut, &m.base, p, len, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    call_end(&call);
    return rc;
}

/* Wraps of a made-up key, of noise, and of the wrong reader come first; the right ones still work.
 */
static void nonsense(void *arg)
{
    struct world w;
    struct share_granted g;
    struct datakey_wrap wrap;
    uint8_t other[SEAL_KEY_LEN], *batch = err_calloc(3, WRAPS_ENTRY_LEN);
    (void)arg;
    world_start(&w);
    world_open(&w);
    randombytes_buf(other, sizeof other);
    datakey_wrap(&wrap, other, key_public(restore_key(DOUAI)));
    for (unsigned i = 0; i < 3; i++)
        memcpy(batch + i * WRAPS_ENTRY_LEN, w.m.deltas[1].key_id, DATAKEY_ID_LEN);
    memcpy(batch + DATAKEY_ID_LEN, wrap.sealed, DATAKEY_WRAP_LEN);
    randombytes_buf(batch + WRAPS_ENTRY_LEN + DATAKEY_ID_LEN, DATAKEY_WRAP_LEN);
    datakey_wrap(&wrap, other, key_public(restore_key(ARRAS)));
    memcpy(batch + 2 * WRAPS_ENTRY_LEN + DATAKEY_ID_LEN, wrap.sealed, DATAKEY_WRAP_LEN);
    MUST(put(w.c, "records", DOUAI, batch, 3 * WRAPS_ENTRY_LEN, KEY_FP_LEN, err));
    REFUSED(ERR_AUTH, "none of your restore keys opens it", restore_as(&w, DOUAI, err));
    reopen(&w);
    MUST(grant(&w, BETHUNE, ARRAS, &g, err));
    assert_int_equal(g.had, 0);
    reopen(&w);
    MUST(restore_as(&w, ARRAS, err));
    free(batch);
    world_stop(&w);
}
static void nonsense_from_those_who_may_append_harms_nobody(void **state)
{
    (void)state;
    hub_run(nonsense, NULL);
}

static void appending(void *arg)
{
    struct world w;
    uint8_t *batch = err_calloc(4, WRAPS_ENTRY_LEN);
    (void)arg;
    world_start(&w);
    world_open(&w);
    struct caller *douai = client(&w.f, DOUAI), *bethune = client(&w.f, BETHUNE);
    REFUSED(ERR_AUTH, "peer douai may not read bethune/records",
            put(douai, "records", DOUAI, batch, WRAPS_ENTRY_LEN, KEY_FP_LEN, err));
    caller_free(douai);
    MUST(put(bethune, "records", DOUAI, batch, WRAPS_ENTRY_LEN, KEY_FP_LEN, err));
    REFUSED(ERR_NOENT, "no such group",
            put(bethune, "imaging", DOUAI, batch, WRAPS_ENTRY_LEN, KEY_FP_LEN, err));
    caller_free(bethune);
    struct caller *c = client(&w.f, BETHUNE);
    REFUSED(ERR_PROTO, "a batch of wraps of 95 bytes",
            put(c, "records", DOUAI, batch, WRAPS_ENTRY_LEN - 1, KEY_FP_LEN, err));
    caller_free(c);
    c = client(&w.f, BETHUNE);
    REFUSED(ERR_PROTO, "a batch of wraps of 0 bytes",
            put(c, "records", DOUAI, NULL, 0, KEY_FP_LEN, err));
    caller_free(c);
    c = client(&w.f, BETHUNE);
    REFUSED(ERR_PROTO, "named by 8 bytes, not 16",
            put(c, "records", DOUAI, batch, WRAPS_ENTRY_LEN, 2 * KEY_FP_LEN, err));
    caller_free(c);
    free(batch);
    world_stop(&w);
}
static void only_who_may_read_may_append_and_only_wraps(void **state)
{
    (void)state;
    hub_run(appending, NULL);
}

static void flooding(void *arg)
{
    struct world w;
    uint32_t len = WRAPS_BATCH_MAX / WRAPS_ENTRY_LEN * WRAPS_ENTRY_LEN;
    uint8_t *batch = err_calloc(1, len);
    struct err e = ERR_INIT;
    unsigned n = 0;
    (void)arg;
    world_start(&w);
    world_open(&w);
    while (put(w.c, "records", DOUAI, batch, len, KEY_FP_LEN, &e) == 0) {
        memcpy(batch, &n, sizeof n); /* another object each time */
        assert_true(++n <= WRAPS_TOTAL_MAX / len);
    }
    assert_int_equal(e.code, ERR_LIMIT);
    assert_non_null(strstr(e.text, "as much as may be"));
    assert_int_equal(n, WRAPS_TOTAL_MAX / len);
    free(batch);
    world_stop(&w);
}
static void what_a_group_takes_of_them_is_bounded(void **state)
{
    (void)state;
    hub_run(flooding, NULL);
}

/* LENS may read, so it may append: as much as it can. */
static void filling(void *arg)
{
    struct world w;
    struct err e = ERR_INIT;
    uint32_t len = WRAPS_BATCH_MAX / WRAPS_ENTRY_LEN * WRAPS_ENTRY_LEN;
    uint8_t *batch = err_calloc(1, len);
    unsigned taken = 0;
    (void)arg;
    world_start(&w);
    world_open(&w);
    struct caller *lens = client(&w.f, LENS), *bethune = client(&w.f, BETHUNE);
    while (put(lens, "records", LENS, batch, len, KEY_FP_LEN, &e) == 0) {
        batch[0]++;
        taken++;
        assert_true(taken < WRAPS_BATCHES);
    }
    assert_int_equal(e.code, ERR_LIMIT);
    assert_true(taken > 0);
    MUST(put(bethune, "records", DOUAI, batch, len, KEY_FP_LEN, err));
    caller_free(lens);
    caller_free(bethune);
    free(batch);
    world_stop(&w);
}
static void a_reader_that_appends_without_end_leaves_room_for_the_site(void **state)
{
    (void)state;
    hub_run(filling, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_can_read_lets_others_read),
        cmocka_unit_test(nonsense_from_those_who_may_append_harms_nobody),
        cmocka_unit_test(only_who_may_read_may_append_and_only_wraps),
        cmocka_unit_test(a_reader_that_appends_without_end_leaves_room_for_the_site),
        cmocka_unit_test(what_a_group_takes_of_them_is_bounded),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
