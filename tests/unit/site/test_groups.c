/* Many groups of one site share its slots and buffers; none may wait for what another keeps. */
#include "site.h"
#include "site_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define GROUPS   (CUTS_MAX + 4)
#define REGIONS  24u
#define PATIENCE (15 * IO_S)

struct town {
    struct fixture f;
    struct config_group groups[GROUPS];
    struct config_volume volumes[GROUPS];
    struct site *site;
    unsigned marked;
};

struct marker {
    struct town *town;
    unsigned group;
    struct fiber *fiber;
};

static void mark_one(void *arg)
{
    struct marker *m = arg;
    struct err e = ERR_INIT;
    bool committed;
    uint64_t rp;
    if (site_mark(m->town->site, m->town->groups[m->group].name, "", false, &rp, &committed, &e) ==
        0)
        m->town->marked++;
}

static void add_group(struct town *t, unsigned i)
{
    struct fixture *f = &t->f;
    f->group.volume_count = 0;
    fixture_text(f->volumes[0].name, sizeof f->volumes[0].name, "data");
    fixture_text(f->volumes[0].path, sizeof f->volumes[0].path, "%s/%u.img", f->root, i);
    /* A page here and there: the delta's buffer stays half full for as long as the scan goes on. */
    for (unsigned r = 0; r < REGIONS; r++)
        fixture_fill(f, 0, r * REGION_SIZE + i * SECTOR_SIZE, SECTOR_SIZE, i + r + 1);
    t->volumes[i] = f->volumes[0];
    t->groups[i] = f->group;
    t->groups[i].volumes = &t->volumes[i];
    t->groups[i].volume_count = 1;
    fixture_text(t->groups[i].name, sizeof t->groups[i].name, "group-%u", i);
}

static void all_at_once(void *arg)
{
    struct town *t = arg;
    struct site_keys keys = {.sign = t->f.sign, .hash = t->f.hash};
    struct marker markers[GROUPS];
    struct err e = ERR_INIT;
    for (unsigned i = 0; i < GROUPS; i++)
        add_group(t, i);
    t->f.config.groups = t->groups;
    t->f.config.group_count = GROUPS;
    t->f.config.spool_budget = 4 * GIB;
    t->f.config.delta_max = 16 * MIB;
    t->f.config.compression = 0;
    if (site_open(&t->site, &t->f.config, &keys, NULL, &e) < 0 || site_start(t->site, &e) < 0)
        fail_msg("%s", e.text);
    for (unsigned i = 0; i < GROUPS; i++) {
        markers[i] = (struct marker){.town = t, .group = i};
        markers[i].fiber = fiber_spawn(fiber_io(), "mark", mark_one, &markers[i]);
    }
    uint64_t end = io_now(fiber_io()) + PATIENCE;
    while (t->marked < GROUPS && io_now(fiber_io()) < end)
        (void)fiber_sleep(20 * IO_MS);
    if (t->marked < GROUPS)
        fail_msg("%u of %u groups were sealed, the others wait for ever", t->marked, GROUPS);
    for (unsigned i = 0; i < GROUPS; i++)
        fiber_join(markers[i].fiber);
    site_stop(t->site);
}

static void more_groups_than_buffers_are_sealed_at_once(void **state)
{
    struct town *t = err_calloc(1, sizeof *t);
    (void)state;
    fixture_init(&t->f);
    fixture_run(all_at_once, t);
    fixture_done(&t->f);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_groups_than_buffers_are_sealed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
