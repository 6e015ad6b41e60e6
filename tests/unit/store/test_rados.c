/* store-rados: what can be wrong with a Ceph, and that each is told apart and leaves no wait
 * behind.
 *
 * Runs under tests/e2e/with-ceph, whose Ceph it stops, fills and gives further users. */
#include "fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPS f->store->ops

static const char *env(const char *name)
{
    const char *value = getenv(name);
    assert_non_null(value);
    return value;
}

#define CONF    env("RELAIS_TEST_CEPH_CONF")
#define USER    env("RELAIS_TEST_CEPH_USER")
#define KEYRING env("RELAIS_TEST_CEPH_KEYRING")
#define POOL    env("RELAIS_TEST_CEPH_POOL")

/* Runs the ceph program as the admin. */
static void admin(const char *command)
{
    char line[1024];
    (void)snprintf(line, sizeof line, "ceph -c '%s' %s >/dev/null 2>&1", CONF, command);
    assert_int_equal(fio_command(line, 60 * IO_S), 0);
}

static int try_open(const char *conf, const char *user, const char *keyring, const char *pool,
                    struct err *e)
{
    struct store *s = NULL;
    int r = store_rados_open(&s, conf, user, keyring, pool, e);
    if (r == 0)
        s->ops->close(s);
    return r;
}

static const char *write_file(struct fixture *f, const char *name, const char *text)
{
    static char path[512];
    FILE *file;
    (void)snprintf(path, sizeof path, "%s/%s", f->root, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

SPEC_BARE(a_wrong_key_is_AUTH_and_names_user_and_keyring)
{
    struct err e = ERR_INIT;
    const char *keyring = write_file(
        f, "keyring", "[client.relais]\n\tkey = AQAAAAAAAAAAABAAMDEyMzQ1Njc4OTAxMjM0NQ==\n");
    fails(try_open(CONF, USER, keyring, POOL, &e), AUTH);
    assert_non_null(strstr(e.text, "client.relais"));
    assert_non_null(strstr(e.text, keyring));
}

SPEC_BARE(a_user_that_the_keyring_does_not_hold_is_AUTH)
{
    struct err e = ERR_INIT;
    fails(try_open(CONF, "nobody", KEYRING, POOL, &e), AUTH);
}

SPEC_BARE(a_keyring_that_is_none_is_AUTH)
{
    struct err e = ERR_INIT;
    const char *keyring = write_file(f, "keyring", "[client.relais]\n\tkey = 12345\n");
    fails(try_open(CONF, USER, keyring, POOL, &e), AUTH);
    assert_non_null(strstr(e.text, keyring));
    (void)write_file(f, "keyring", "not a keyring");
    fails(try_open(CONF, USER, keyring, POOL, &e), AUTH);
}

SPEC_BARE(a_configuration_without_monitors_is_CONFIG)
{
    struct err e = ERR_INIT;
    const char *conf = write_file(f, "ceph.conf", "[global]\n");
    fails(try_open(conf, USER, KEYRING, POOL, &e), CONFIG);
    assert_non_null(strstr(e.text, "mon host"));
}

SPEC_BARE(a_missing_file_is_NOENT_and_named)
{
    struct err e = ERR_INIT;
    fails(try_open("/nonexistent/ceph.conf", USER, KEYRING, POOL, &e), NOENT);
    assert_non_null(strstr(e.text, "/nonexistent/ceph.conf"));
    fails(try_open(CONF, USER, "/nonexistent/keyring", POOL, &e), NOENT);
    assert_non_null(strstr(e.text, "/nonexistent/keyring"));
}

SPEC_BARE(a_pool_that_does_not_exist_is_NOENT_and_named)
{
    struct err e = ERR_INIT;
    fails(try_open(CONF, USER, KEYRING, "no-such-pool", &e), NOENT);
    assert_non_null(strstr(e.text, "no-such-pool"));
}

SPEC_BARE(no_monitor_is_NET_within_the_timeout)
{
    struct err e = ERR_INIT;
    uint64_t begin = io_now(fiber_io());
    const char *conf = write_file(f, "ceph.conf", "[global]\nmon host = [v2:127.0.0.1:1/0]\n");
    fails(try_open(conf, USER, KEYRING, POOL, &e), NET);
    assert_in_range(io_now(fiber_io()) - begin, 0, 20 * IO_S);
    assert_non_null(strstr(e.text, conf));
}

SPEC_BARE(a_pool_that_may_not_be_written_is_AUTH)
{
    struct err e = ERR_INIT;
    char command[512], keyring[300];
    (void)snprintf(keyring, sizeof keyring, "%s/reader", f->root);
    (void)snprintf(
        command, sizeof command,
        "auth get-or-create client.reader mon 'profile simple-rados-client' osd 'allow r "
        "pool=%s' -o '%s'",
        POOL, keyring);
    admin(command);
    fails(try_open(CONF, "reader", keyring, POOL, &e), AUTH);
    assert_non_null(strstr(e.text, "allow rw pool="));
}

SPEC_BARE(the_capabilities_reach_no_other_pool)
{
    struct err e = ERR_INIT;
    admin("osd pool create other 1");
    fails(try_open(CONF, USER, KEYRING, "other", &e), AUTH);
}

struct waiter {
    struct fixture *f;
    struct store *store;
    int r;
};

static void put_one(void *arg)
{
    struct waiter *w = arg;
    struct err e = ERR_INIT;
    w->r = w->store->ops->put(w->store, w->f->site, "stopped", "1234", 4, &e);
}

static void signal_osds(int sig)
{
    char path[512];
    int pid, found = 0;
    for (int n = 0; n < 9; n++) {
        FILE *file;
        (void)snprintf(path, sizeof path, "%s/pids/osd.%d", env("RELAIS_TEST_CEPH_DIR"), n);
        file = fopen(path, "r");
        if (!file)
            continue;
        assert_int_equal(fscanf(file, "%d", &pid), 1); /* NOLINT: written by ceph-local */
        assert_int_equal(fclose(file), 0);
        assert_true(pid > 1);
        assert_int_equal(kill(pid, sig), 0);
        found++;
    }
    assert_int_not_equal(found, 0);
}

/* The test's Ceph, with a timeout that a test can wait for. */
static struct store *open_impatient(struct fixture *f)
{
    static char text[8192];
    struct store *s = NULL;
    struct err e = ERR_INIT;
    FILE *file = fopen(CONF, "r");
    size_t n;
    assert_non_null(file);
    n = fread(text, 1, sizeof text - 100, file);
    assert_int_equal(fclose(file), 0);
    (void)strcpy(text + n, "\n[client]\nrados osd op timeout = 2\n");
    ok(store_rados_open(&s, write_file(f, "impatient.conf", text), USER, KEYRING, POOL, &e), &e);
    return s;
}

SPEC_BARE(an_osd_that_hangs_is_AGAIN_and_the_repeated_call_succeeds)
{
    struct store_head none = {0}, one = {.rp = 1, .len = 1, .value = "1"}, h;
    struct store *s = open_impatient(f);
    struct waiter w = {.f = f, .store = s};
    struct err e = ERR_INIT;
    struct fiber *put;
    int first;
    ok(s->ops->put(s, f->site, "before", "1", 1, &e), &e);
    signal_osds(SIGSTOP);
    put = fiber_spawn(fiber_io(), "put", put_one, &w);
    first = s->ops->move_head(s, f->site, "records", &none, &one, &e);
    fiber_join(put);
    signal_osds(SIGCONT);
    fails(first, AGAIN);
    fails(w.r, AGAIN);
    assert_non_null(strstr(e.text, "ceph status"));
    put_one(&w);
    assert_int_equal(w.r, 0);
    /* It may have happened meanwhile. */
    ok(s->ops->head(s, f->site, "records", &h, &e), &e);
    if (h.rp == 0)
        ok(s->ops->move_head(s, f->site, "records", &none, &one, &e), &e);
    s->ops->close(s);
}

SPEC_BARE(a_cancelled_put_waits_for_ceph_to_let_go_of_its_buffer)
{
    struct store *s = open_impatient(f);
    struct waiter w = {.f = f, .store = s};
    struct err e = ERR_INIT;
    struct fiber *put;
    bool early;
    ok(s->ops->put(s, f->site, "before", "1", 1, &e), &e);
    signal_osds(SIGSTOP);
    put = fiber_spawn(fiber_io(), "put", put_one, &w);
    (void)fiber_sleep(200 * IO_MS);
    fiber_cancel(put);
    (void)fiber_sleep(200 * IO_MS);
    early = fiber_finished(put);
    signal_osds(SIGCONT);
    fiber_join(put);
    assert_false(early);
    s->ops->close(s);
}

/* Puts until one gives `want` or half a minute is over: Ceph takes a while to notice its quotas. */
static int put_until(struct fixture *f, enum err_code want, struct err *e)
{
    char name[64];
    int r = 0;
    for (unsigned i = 0; i < 150; i++) {
        (void)snprintf(name, sizeof name, "quota/%u", i);
        (void)OPS->remove(f->store, f->site, "quota/0", e);
        r = OPS->put(f->store, f->site, i ? name : "quota/0", "1", 1, e);
        if (r == -(int)want)
            return r;
        (void)fiber_sleep(200 * IO_MS);
    }
    return r;
}

SPEC(a_full_pool_is_SPACE_and_can_be_read_and_emptied)
{
    struct store *second;
    struct err e = ERR_INIT;
    char command[256], c;
    ok(OPS->put(f->store, f->site, "kept", "k", 1, &e), &e);
    (void)snprintf(command, sizeof command, "osd pool set-quota %s max_objects 1", POOL);
    admin(command);
    fails(put_until(f, ERR_SPACE, &e), SPACE);
    assert_non_null(strstr(e.text, "quota"));
    ok(OPS->get(f->store, f->site, "kept", 0, &c, 1, &e), &e);
    ok(OPS->remove(f->store, f->site, "kept", &e), &e);
    second = fixture_second(f); /* a hub can start on it */
    fixture_close_second(f, second);
    (void)snprintf(command, sizeof command, "osd pool set-quota %s max_objects 0", POOL);
    admin(command);
    ok(put_until(f, ERR_OK, &e), &e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_key_is_AUTH_and_names_user_and_keyring),
        cmocka_unit_test(a_user_that_the_keyring_does_not_hold_is_AUTH),
        cmocka_unit_test(a_keyring_that_is_none_is_AUTH),
        cmocka_unit_test(a_configuration_without_monitors_is_CONFIG),
        cmocka_unit_test(a_missing_file_is_NOENT_and_named),
        cmocka_unit_test(a_pool_that_does_not_exist_is_NOENT_and_named),
        cmocka_unit_test(no_monitor_is_NET_within_the_timeout),
        cmocka_unit_test(a_pool_that_may_not_be_written_is_AUTH),
        cmocka_unit_test(the_capabilities_reach_no_other_pool),
        cmocka_unit_test(an_osd_that_hangs_is_AGAIN_and_the_repeated_call_succeeds),
        cmocka_unit_test(a_cancelled_put_waits_for_ceph_to_let_go_of_its_buffer),
        cmocka_unit_test(a_full_pool_is_SPACE_and_can_be_read_and_emptied),
    };
    return cmocka_run_group_tests_name("store-rados", tests, NULL, NULL);
}
