/* relais-bench compare: beside what one would use instead. The work is a script's, because it is
 * made of other programs; this finds it and becomes it. */
#include "command.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the script is: as RELAIS_BENCH_SCRIPTS says, installed, or in the source tree. */
static int find(char path[PATH_MAX], const char *name, struct err *e)
{
    const char *places[] = {getenv("RELAIS_BENCH_SCRIPTS"), RELAIS_BENCH_INSTALLED,
                            RELAIS_BENCH_SOURCE};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (!places[i] || snprintf(path, PATH_MAX, "%s/%s", places[i], name) >= PATH_MAX)
            continue;
        if (access(path, X_OK) == 0)
            return 0;
    }
    return err_set(e, ERR_NOENT,
                   "%s: neither in %s nor in %s; set RELAIS_BENCH_SCRIPTS to where it is", name,
                   RELAIS_BENCH_INSTALLED, RELAIS_BENCH_SOURCE);
}

int cmd_compare(int argc, char **argv, struct err *e)
{
    char path[PATH_MAX], self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    int rc = find(path, "compare", e);
    (void)argc;
    if (rc < 0)
        return rc;
    if (n > 0) { /* this very program is the one that emulates the link */
        self[n] = '\0';
        (void)setenv("RELAIS_BENCH", self, 1);
    }
    argv[0] = path;
    (void)execv(path, argv);
    return err_os(e, errno, "%s", path);
}
