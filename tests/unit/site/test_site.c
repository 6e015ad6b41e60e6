/* site: what is sealed reaches the hub, in order, whatever happens to link, hub, spool and state.
 */
#include "territory_fixture.h"

#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void shell(const char *verb, const char *a, const char *b)
{
    char command[3 * PATH_CAP];
    fixture_text(command, sizeof command, "%s '%s' '%s'", verb, a, b);
    assert_int_equal(system(command), 0);
}

static void commits(void *arg)
{
    struct territory_fixture *t = arg;
    Relais__GroupStatus *g;
    hub_up(t);
    site_up(t);
    assert_int_equal(mark(t, "first", true), 1);
    assert_int_equal(store_head(t), 1);
    fixture_fill(&t->f, 0, 3 * MIB, 8192, 2);
    assert_int_equal(mark(t, "", true), 2);
    await_state(t, "idle");
    g = group_of(t);
    assert_int_equal(g->committed_rp, 2);
    assert_int_equal(g->complete_rp, 2);
    assert_int_equal(g->lag_bytes, 0);
    assert_int_equal(g->plain_bytes, 10 * MIB + 8192);
    await_empty_spool(t);
    site_stop(t->site);
    hub_down(t);
}

static void what_is_committed_has_left_the_spool(void **state)
{
    (void)state;
    with_territory(commits);
}

static void outage(void *arg)
{
    struct territory_fixture *t = arg;
    site_up(t);
    for (unsigned i = 1; i <= 12; i++) {
        fixture_fill(&t->f, 0, i * MIB, 4096 * i, i);
        assert_int_equal(mark(t, "", false), i);
    }
    assert_string_equal(group_of(t)->state, "offline");
    assert_int_equal(group_of(t)->lag_rps, 12);
    assert_int_equal(spooled(t), 12);
    site_stop(t->site); /* the power may fail meanwhile */
    site_up(t);
    hub_up(t);
    assert_int_equal(mark(t, "back", true), 13);
    assert_int_equal(store_head(t), 13);
    hub_down(t); /* and the hub may restart */
    hub_up(t);
    assert_int_equal(mark(t, "", true), 14);
    assert_int_equal(store_head(t), 14);
    site_stop(t->site);
    hub_down(t);
}

static void after_an_outage_every_rp_arrives_in_order(void **state)
{
    (void)state;
    with_territory(outage);
}

/* The hub's objects cannot be written: a file is where their directory was. */
static void store_fails(struct territory_fixture *t, bool fails)
{
    char objects[160], away[170];
    (void)snprintf(objects, sizeof objects, "%s/sites/bethune/objects", t->store_dir);
    (void)snprintf(away, sizeof away, "%s-away", objects);
    if (!fails) {
        assert_int_equal(unlink(objects), 0);
        assert_int_equal(rename(away, objects), 0);
        return;
    }
    assert_int_equal(rename(objects, away), 0);
    int fd = open(objects, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
}

static void refused(void *arg)
{
    struct territory_fixture *t = arg;
    uint64_t end = io_now(fiber_io()) + PATIENCE;
    hub_up(t);
    site_up(t);
    (void)mark(t, "", true);
    store_fails(t, true);
    (void)mark(t, "", false);
    while (*group_of(t)->error == '\0' && io_now(fiber_io()) < end)
        (void)fiber_sleep(20 * IO_MS);
    assert_non_null(strstr(group_of(t)->error, "objects"));
    assert_int_equal(group_of(t)->committed_rp, 1);
    store_fails(t, false);
    await_state(t, "idle");
    assert_int_equal(group_of(t)->committed_rp, 2);
    assert_string_equal(group_of(t)->error, "");
    site_stop(t->site);
    hub_down(t);
}

static void the_status_says_why_the_hub_takes_nothing(void **state)
{
    (void)state;
    with_territory(refused);
}

static void lost_state(void *arg)
{
    struct territory_fixture *t = arg;
    hub_up(t);
    site_up(t);
    assert_int_equal(mark(t, "", true), 1);
    assert_int_equal(mark(t, "", true), 2);
    site_stop(t->site);
    shell("rm -rf", t->f.state_dir, t->f.spool_dir);
    site_up(t);
    await_state(t, "idle");
    assert_int_equal(group_of(t)->committed_rp, 2);
    assert_int_equal(mark(t, "", true), 3);
    assert_int_equal(group_of(t)->plain_bytes, 10 * MIB); /* all of it again: nothing is known */
    assert_int_equal(mark(t, "", true), 4);
    assert_int_equal(group_of(t)->plain_bytes, 10 * MIB);
    site_stop(t->site);
    hub_down(t);
}

static void a_site_that_lost_its_state_goes_on_from_the_hubs(void **state)
{
    (void)state;
    with_territory(lost_state);
}

static void old_state(void *arg)
{
    struct territory_fixture *t = arg;
    char copy[PATH_CAP];
    uint64_t rp;
    path_format(copy, "%s/backup", t->f.root);
    hub_up(t);
    site_up(t);
    assert_int_equal(mark(t, "", true), 1);
    site_stop(t->site);
    shell("cp -a", t->f.state_dir, copy);
    site_up(t);
    fixture_fill(&t->f, 0, 1 * MIB, 4096, 2);
    assert_int_equal(mark(t, "", true), 2);
    site_stop(t->site);
    hub_down(t);
    shell("rm -rf", t->f.state_dir, t->f.spool_dir);
    shell("mv", copy, t->f.state_dir);
    fixture_fill(&t->f, 0, 0, 10 * MIB, 1); /* the content of RP 1 again */
    site_up(t);
    assert_int_equal(mark(t, "", false), 2); /* another RP 2 than the hub's */
    hub_up(t);
    assert_true(mark(t, "", false) > 0);
    await_state(t, "idle");
    rp = mark(t, "", true);
    assert_int_equal(store_head(t), rp);
    assert_true(group_of(t)->committed_rp >= 3);
    assert_true(group_of(t)->plain_bytes >= 10 * MIB);
    site_stop(t->site);
    hub_down(t);
}

static void a_state_from_a_backup_goes_on_from_the_hubs(void **state)
{
    (void)state;
    with_territory(old_state);
}

static void rolled_back(void *arg)
{
    struct territory_fixture *t = arg;
    char copy[PATH_CAP];
    path_format(copy, "%s/old-store", t->f.root);
    hub_up(t);
    site_up(t);
    assert_int_equal(mark(t, "", true), 1);
    hub_down(t);
    shell("cp -a", t->store_dir, copy);
    hub_up(t);
    assert_int_equal(mark(t, "", true), 2);
    hub_down(t);
    shell("rm -rf", t->store_dir, t->store_dir);
    shell("mv", copy, t->store_dir);
    hub_up(t);
    await_state(t, "broken");
    assert_non_null(
        strstr(group_of(t)->error, "serves RP 1 of bethune/records but committed RP 2"));
    assert_int_equal(mark(t, "", false), 3); /* sealing goes on */
    assert_int_equal(store_head(t), 1);
    site_stop(t->site);
    hub_down(t);
}

static void a_hub_that_rolled_history_back_is_found_out(void **state)
{
    (void)state;
    with_territory(rolled_back);
}

static void damaged(void *arg)
{
    struct territory_fixture *t = arg;
    char path[PATH_CAP];
    char aside[PATH_CAP];
    uint8_t junk[64] = {0};
    uint64_t rp;
    int fd;
    site_up(t);
    assert_int_equal(mark(t, "", false), 1);
    fixture_fill(&t->f, 0, 1 * MIB, 4096, 9);
    assert_int_equal(mark(t, "", false), 2);
    path_format(path, "%s/records/0000000000000001.delta", t->f.spool_dir);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, junk, sizeof junk, 1000), sizeof junk);
    close(fd);
    hub_up(t);
    path_format(aside, "%s/records/damaged-0000000000000001.delta", t->f.spool_dir);
    while (access(aside, F_OK) != 0)
        (void)fiber_sleep(20 * IO_MS);
    rp = mark(t, "", true);
    assert_int_equal(store_head(t), rp);
    assert_int_equal(group_of(t)->plain_bytes, 2 * 10 * MIB + 4096);
    site_stop(t->site);
    hub_down(t);
}

static void a_damaged_delta_is_moved_aside_and_sealed_anew(void **state)
{
    (void)state;
    with_territory(damaged);
}

static void refused_marks(void *arg)
{
    struct territory_fixture *t = arg;
    bool committed;
    uint64_t rp;
    site_up(t);
    assert_int_equal(site_mark(t->site, "x", "", false, &rp, &committed, &t->e), -ERR_NOENT);
    assert_non_null(strstr(t->e.text, "no group \"x\""));
    assert_int_equal(site_mark(t->site, "records", "a\nb", false, &rp, &committed, &t->e),
                     -ERR_INPUT);
    assert_int_equal(unlink(t->f.volumes[0].path), 0);
    assert_int_equal(site_mark(t->site, "records", "", false, &rp, &committed, &t->e), -ERR_NOENT);
    assert_non_null(strstr(group_of(t)->error, "volume records/data"));
    fixture_resize(&t->f, 0, 4 * MIB);
    assert_int_equal(mark(t, "", false), 1);
    assert_string_equal(group_of(t)->error, "");
    site_stop(t->site);
}

static void a_mark_that_cannot_be_says_why(void **state)
{
    (void)state;
    with_territory(refused_marks);
}

static void interval(void *arg)
{
    struct territory_fixture *t = arg;
    t->f.group.interval_ns = 100 * IO_MS;
    hub_up(t);
    site_up(t);
    (void)fiber_sleep(1500 * IO_MS);
    assert_in_range(group_of(t)->committed_rp, 5, 16);
    site_stop(t->site);
    hub_down(t);
}

static void a_group_is_cut_at_its_interval(void **state)
{
    (void)state;
    with_territory(interval);
}

/* A kill between freeze and thaw leaves on the disk what a thaw that fails does. */
static void killed_frozen(void *arg)
{
    struct territory_fixture *t = arg;
    struct config_group *g = &t->f.group;
    uint64_t end = io_now(fiber_io()) + PATIENCE;
    char frozen[PATH_CAP];
    path_format(frozen, "%s/frozen", t->f.root);
    fixture_text(g->freeze, sizeof g->freeze, "test -e %s/records/frozen && touch %s",
                 t->f.state_dir, frozen);
    fixture_text(g->thaw, sizeof g->thaw, "false");
    site_up(t);
    uint64_t rp = mark(t, "", false);
    site_stop(t->site);
    assert_int_equal(access(frozen, F_OK), 0);
    fixture_text(g->thaw, sizeof g->thaw, "rm %s", frozen);
    site_up(t); /* nobody asks it for a cut */
    while (access(frozen, F_OK) == 0) {
        if (io_now(fiber_io()) > end)
            fail_msg("the volumes stand still");
        (void)fiber_sleep(20 * IO_MS);
    }
    site_stop(t->site);
    site_up(t); /* the thaw, which would fail, is not due any more */
    assert_int_equal(mark(t, "", false), rp + 1);
    site_stop(t->site);
    path_format(frozen, "%s/records/frozen", t->f.state_dir);
    assert_int_not_equal(access(frozen, F_OK), 0);
}

static void volumes_that_a_killed_daemon_left_frozen_are_thawed(void **state)
{
    (void)state;
    with_territory(killed_frozen);
}

/* A store that takes nothing of any group but the last. */
#define CROWD 4u
static struct {
    const struct store_ops *real;
    struct store_ops ops;
    bool open;
} narrow;

static int narrow_put(struct store *store, const char *site, const char *name, const void *data,
                      size_t len, struct err *e)
{
    while (!narrow.open && strncmp(name, "group-3/", 8) != 0)
        (void)fiber_sleep(20 * IO_MS);
    return narrow.real->put(store, site, name, data, len, e);
}

static void crowded(void *arg)
{
    struct territory_fixture *t = arg;
    struct config_group groups[CROWD];
    bool committed;
    uint64_t rp, end;
    for (unsigned i = 0; i < CROWD; i++) {
        groups[i] = t->f.group;
        fixture_text(groups[i].name, sizeof groups[i].name, "group-%u", i);
    }
    t->f.config.groups = groups;
    t->f.config.group_count = CROWD;
    t->f.config.spool_budget = 4 * GIB;
    t->f.config.delta_max = 8 * MIB;
    t->hub_config.hub_memory = 512 * MIB;
    site_up(t);
    for (unsigned i = 0; i < CROWD; i++)
        for (unsigned n = 0; n < 5; n++)
            MUST(site_mark(t->site, groups[i].name, "", false, &rp, &committed, &t->e), &t->e);
    site_stop(t->site);
    hub_up(t);
    narrow.real = t->store->ops;
    narrow.ops = *t->store->ops;
    narrow.ops.put = narrow_put;
    narrow.open = false;
    t->store->ops = &narrow.ops;
    site_up(t);
    (void)fiber_sleep(1 * IO_S); /* those that are stuck have taken what they get */
    MUST(site_mark(t->site, groups[CROWD - 1].name, "", false, &rp, &committed, &t->e), &t->e);
    for (end = io_now(fiber_io()) + PATIENCE;;) {
        Relais__Status status;
        relais__status__init(&status);
        site_status(t->site, &status);
        if (status.groups[CROWD - 1]->committed_rp == rp || io_now(fiber_io()) > end)
            break;
        (void)fiber_sleep(20 * IO_MS);
    }
    bool in_time = io_now(fiber_io()) <= end;
    narrow.open = true;
    site_stop(t->site);
    hub_down(t);
    assert_true(in_time);
}

static void groups_that_are_behind_leave_the_others_their_share_of_the_link(void **state)
{
    (void)state;
    with_territory(crowded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_committed_has_left_the_spool),
        cmocka_unit_test(after_an_outage_every_rp_arrives_in_order),
        cmocka_unit_test(the_status_says_why_the_hub_takes_nothing),
        cmocka_unit_test(a_site_that_lost_its_state_goes_on_from_the_hubs),
        cmocka_unit_test(a_state_from_a_backup_goes_on_from_the_hubs),
        cmocka_unit_test(a_hub_that_rolled_history_back_is_found_out),
        cmocka_unit_test(a_damaged_delta_is_moved_aside_and_sealed_anew),
        cmocka_unit_test(a_mark_that_cannot_be_says_why),
        cmocka_unit_test(a_group_is_cut_at_its_interval),
        cmocka_unit_test(groups_that_are_behind_leave_the_others_their_share_of_the_link),
        cmocka_unit_test(volumes_that_a_killed_daemon_left_frozen_are_thawed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
