/* footprint: what is told to whoever sets a limit is enough for what may come. */
#include "footprint.h"
#include "level.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint64_t sealing_at(int level)
{
    static struct config_volume volume = {.source = CONFIG_NBD};
    struct config_group group = {.volumes = &volume, .volume_count = 1};
    static struct config c;
    uint64_t size = GIB;
    struct footprint f;
    c = (struct config){.groups = &group, .group_count = 1, .compression = level};
    footprint_of(&c, 4, &size, &f);
    return f.sealing;
}

static void a_level_that_follows_the_link_counts_as_its_highest(void **state)
{
    (void)state;
    assert_true(sealing_at(LEVEL_MOST) > sealing_at(LEVEL_LEAST));
    assert_int_equal(sealing_at(CONFIG_LEVEL_AUTO), sealing_at(LEVEL_MOST));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_level_that_follows_the_link_counts_as_its_highest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
