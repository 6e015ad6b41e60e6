#include "scenario_args.h"

#include "command.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

/* Installed, or beside the sources that the build was made of. */
static void find_scenario(char *dst, const char *name)
{
    static const char *const dirs[] = {RELAIS_SCENARIOS, RELAIS_SCENARIOS_SOURCE};
    (void)snprintf(dst, PATH_MAX, "%.2000s", name);
    if (strchr(name, '/') || strchr(name, '.'))
        return;
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        (void)snprintf(dst, PATH_MAX, "%s/%.200s.conf", dirs[i], name);
        if (access(dst, R_OK) == 0)
            return;
    }
}

static int set_by_hand(struct scenario *s, const char *command, const char *text, struct err *e)
{
    char copy[512], section[128];
    char *eq, *dot;
    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy || !(eq = strchr(copy, '=')))
        return bench_misuse(command, e, "--set %.60s: SECTION.NAME=VALUE is wanted", text);
    *eq = '\0';
    dot = strrchr(copy, '.');
    if (!dot)
        return bench_misuse(command, e, "--set %.60s: SECTION.NAME=VALUE is wanted", text);
    *dot = '\0';
    (void)snprintf(section, sizeof section, "%.100s", copy);
    if (strncmp(section, "workload.", 9) == 0)
        section[8] = ' ';
    if (scenario_set(s, section, dot + 1, eq + 1, e) != 0)
        return err_prefix(e, "--set %.60s", text);
    return 0;
}

int scenario_args_read(struct scenario *s, const char *command, const char *const *sets,
                       int set_count, char *const *files, struct err *e)
{
    char path[PATH_MAX];
    int rc = 0;
    for (; *files && rc == 0; files++) {
        find_scenario(path, *files);
        rc = scenario_load(s, path, e);
    }
    for (int i = 0; i < set_count && rc == 0; i++)
        rc = set_by_hand(s, command, sets[i], e);
    return rc;
}

int scenario_args_load(struct scenario *s, const char *command, const char *const *sets,
                       int set_count, char *const *files, struct err *e)
{
    int rc = scenario_args_read(s, command, sets, set_count, files, e);
    return rc == 0 ? scenario_complete(s, e) : rc;
}
