/* Input: a scenario of the benchmark, a file as people write it; behind a NUL the lines of a trace.
 * Whatever is accepted is within the bounds of scenario.h and trace.h. */
#include "fuzz.h"
#include "scenario.h"
#include "trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *trimmed(char *text)
{
    size_t n;
    text += strspn(text, " \t");
    for (n = strlen(text); n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'); n--)
        text[n - 1] = '\0';
    return text;
}

static void scenario(char *text)
{
    struct scenario s;
    struct err e = ERR_INIT;
    char *line, section[64] = "";
    int rc = 0;
    scenario_init(&s);
    while (rc == 0 && (line = strsep(&text, "\n"))) {
        char *name = trimmed(strsep(&line, "="));
        size_t n = strlen(name);
        if (line)
            rc = scenario_set(&s, section, name, trimmed(line), &e);
        else if (name[0] == '[' && name[n - 1] == ']' && n - 2 < sizeof section)
            (void)snprintf(section, sizeof section, "%.*s", (int)n - 2, name + 1);
    }
    if (rc == 0)
        rc = scenario_complete(&s, &e);
    ASSERT(rc == 0 || ((e.code == ERR_CONFIG || e.code == ERR_LIMIT) && e.text[0]));
    ASSERT(s.workload_count <= SCENARIO_WORKLOADS);
    ASSERT(s.compress >= 1 && s.compress <= SCENARIO_COMPRESS);
    for (unsigned i = 0; rc == 0 && i < s.workload_count; i++) {
        const struct workload_spec *w = &s.workloads[i];
        ASSERT(w->name[0] && w->kind > WORKLOAD_NONE && w->kind < WORKLOAD_KINDS);
        ASSERT(w->skew >= 0 && w->skew <= 1 && w->reads >= 0 && w->reads <= 1);
        ASSERT(w->compressible >= 0 && w->compressible <= 1 && w->fill >= 0 && w->fill <= 1);
        ASSERT(w->at <= SCENARIO_LONGEST && w->block <= SCENARIO_BLOCK_MAX);
        ASSERT(w->depth <= SCENARIO_DEPTH_MAX);
    }
    scenario_free(&s);
}

static void trace(char *text)
{
    struct trace t = {.size = 1u << 20};
    struct err e = ERR_INIT;
    char *line;
    int rc = 0;
    while (rc == 0 && (line = strsep(&text, "\n")))
        rc = trace_line(&t, line, &e);
    ASSERT(rc == 0 || ((e.code == ERR_INPUT || e.code == ERR_LIMIT) && e.text[0]));
    for (size_t i = 0; i < t.count; i++) {
        ASSERT(t.entries[i].off <= t.size && t.entries[i].len <= t.size - t.entries[i].off);
        ASSERT(i == 0 || t.entries[i].at >= t.entries[i - 1].at);
    }
    trace_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = err_malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    size_t n = strlen(text);
    if (n < size)
        trace(text + n + 1);
    scenario(text);
    free(text);
    return 0;
}
