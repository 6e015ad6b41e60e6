#include "trace.h"

#include "bounds.h"
#include "workload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_LEN 256u
#define MAGIC        "relais-trace 1"

static const char verbs[LOAD_VERBS] = {
    [LOAD_WRITE] = 'W', [LOAD_ZERO] = 'Z', [LOAD_TRIM] = 'T', [LOAD_FLUSH] = 'F'};

static int add(struct trace *t, const struct trace_entry *entry, struct err *e)
{
    if (t->count == TRACE_ENTRIES_MAX)
        return err_set(e, ERR_LIMIT, "more than %u requests", TRACE_ENTRIES_MAX);
    if ((t->count & (t->count - 1)) == 0) /* full at powers of two */
        t->entries = err_realloc(t->entries, (t->count ? 2 * t->count : 1) * sizeof *t->entries);
    t->entries[t->count++] = *entry;
    return 0;
}

int trace_line(struct trace *t, const char *line, struct err *e)
{
    struct trace_entry entry = {0};
    uint64_t seconds, micros, len = 0;
    char verb = 0;
    int n = sscanf(line, "%10" SCNu64 ".%6" SCNu64 " %c %20" SCNu64 " %20" SCNu64, &seconds,
                   &micros, &verb, &entry.off, &len);
    entry.verb = LOAD_VERBS;
    for (uint8_t v = LOAD_WRITE; v < LOAD_VERBS; v++)
        if (n >= 3 && verb == verbs[v])
            entry.verb = v;
    if (entry.verb == LOAD_VERBS || n != (entry.verb == LOAD_FLUSH ? 3 : 5))
        return err_set(e, ERR_INPUT,
                       "\"%.60s\": wanted is SECONDS W|Z|T OFFSET LENGTH, or SECONDS F", line);
    entry.at = (seconds * 1000000 + micros) * 1000;
    if (t->count > 0 && entry.at < t->entries[t->count - 1].at)
        return err_set(e, ERR_INPUT, "\"%.60s\": before the line before it", line);
    if (entry.verb != LOAD_FLUSH &&
        (len == 0 || len > UINT32_MAX || len % 512 != 0 || entry.off % 512 != 0 ||
         entry.off > t->size || len > t->size - entry.off))
        return err_set(e, ERR_INPUT, "\"%.60s\": not in whole blocks of 512 within %llu bytes",
                       line, (unsigned long long)t->size);
    entry.len = (uint32_t)len;
    return add(t, &entry, e);
}

/* Returns 1 when the line belongs to the header. */
static int header_line(struct trace *t, const char *line, unsigned number, struct err *e)
{
    if (number == 1)
        return strcmp(line, MAGIC) == 0
                   ? 1
                   : err_set(e, ERR_INPUT, "no trace of relais record (\"" MAGIC "\")");
    if (strncmp(line, "volume ", 7) == 0)
        return 1;
    if (sscanf(line, "dropped %20" SCNu64, &t->dropped) == 1)
        return 1;
    if (sscanf(line, "size %20" SCNu64, &t->size) == 1)
        return t->size > 0 && t->size <= VOLUME_MAX && t->size % 512 == 0
                   ? 1
                   : err_set(e, ERR_INPUT, "%s: no size of a volume", line);
    return 0;
}

int trace_load(struct trace *t, const char *file, struct err *e)
{
    FILE *f = fopen(file, "re");
    char line[LINE_MAX_LEN];
    unsigned number = 0;
    int rc = 0;
    if (!f)
        return err_os(e, errno, "%s", file);
    while (rc >= 0 && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        number++;
        rc = t->count > 0 ? 0 : header_line(t, line, number, e);
        if (rc == 0)
            rc = trace_line(t, line, e);
        if (rc < 0)
            rc = err_prefix(e, "%s:%u", file, number);
    }
    if (rc >= 0 && ferror(f))
        rc = err_os(e, errno, "%s", file);
    if (rc >= 0 && t->size == 0)
        rc = err_set(e, ERR_INPUT, "%s: no trace of relais record: it has no size", file);
    (void)fclose(f);
    return rc < 0 ? rc : 0;
}

void trace_free(struct trace *t)
{
    free(t->entries);
    *t = (struct trace){.entries = NULL};
}
