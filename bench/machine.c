#include "machine.h"

#include "units.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static void processor_name(char *dst, size_t cap)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    (void)snprintf(dst, cap, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (value) {
            (void)snprintf(dst, cap, "%s", value + 2);
            dst[strcspn(dst, "\n")] = '\0';
            break;
        }
    }
    if (f)
        (void)fclose(f);
}

void machine_look(struct machine *m)
{
    struct utsname u;
    struct timespec t;
    memset(m, 0, sizeof *m);
    processor_name(m->processor, sizeof m->processor);
    m->processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    m->memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (uname(&u) == 0)
        (void)snprintf(m->kernel, sizeof m->kernel, "%.60s %.80s", u.sysname, u.release);
    (void)clock_gettime(CLOCK_REALTIME, &t);
    (void)units_time(m->when, (int64_t)t.tv_sec * INT64_C(1000000000));
}
