/* What a reader makes of the year. */
#include "year.h"

#include "plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define LIMIT 2.0 /* s, to open */

static double seconds(uint64_t since)
{
    return (double)(io_now(fiber_io()) - since) / 1e9;
}

/* The volume at an RP, by what was written. */
static uint8_t *expected(const struct year *y, uint64_t rp)
{
    uint8_t *image = err_malloc(YEAR_MIB * MIB);
    for (unsigned i = 0; i < YEAR_MIB; i++)
        year_fill(image + i * MIB, MIB, 1, YEAR_WRITES + i);
    for (uint64_t at = 2; at <= rp; at++)
        for (unsigned i = 0; i < YEAR_WRITES; i++)
            year_fill(image + (uint64_t)y->writes[at][i] * SECTOR_SIZE, SECTOR_SIZE, at, i);
    return image;
}

static void verify(const struct year *y, struct reader *r, uint64_t rp)
{
    struct key_secret *keys[] = {restore_key(BETHUNE)};
    struct restore_options options = {.keys = keys, .key_count = 1, .force = true};
    struct restore_progress done;
    char target[128];
    void *image;
    size_t len;
    uint8_t *want = expected(y, rp);
    (void)snprintf(target, sizeof target, "%s/target", y->f.dir);
    MUST(reader_restore(r, rp, "data", target, &options, &done, err));
    MUST(fio_load_file(target, YEAR_MIB * MIB + 1, &image, &len, err));
    if (len != YEAR_MIB * MIB || memcmp(image, want, len) != 0)
        fail_msg("RP %" PRIu64 " is not what it was", rp);
    free(image);
    free(want);
}

static double open_point(const struct year *y, struct reader *r, size_t i, double history)
{
    const struct verdict *v = &y->verdict;
    uint64_t rp = v->points[i].rp, since = io_now(fiber_io());
    char why[RETENTION_TEXT];
    struct plan plan;
    MUST(plan_make(&plan, r, (size_t)history_find(r, rp), "data", err));
    double planned = seconds(since);
    plan_free(&plan);
    since = io_now(fiber_io());
    verify(y, r, rp);
    printf("RP %" PRIu64
           " (%s): history %.2f s, plan %.2f s: opened in %.2f s; restored, verified, "
           "compared in %.2f s\n",
           rp, retention_text(why, v->why[i]), history, planned, history + planned, seconds(since));
    (void)fflush(stdout);
    return history + planned;
}

void year_open(struct year *y)
{
    const struct verdict *v = &y->verdict;
    struct caller *c = client(&y->f, BETHUNE);
    struct reader *r;
    size_t count, opened = 0, all = 0;
    double worst = 0;
    uint64_t since = io_now(fiber_io());
    MUST(reader_open(&r, c, "bethune", "records", key_public(sign_key(BETHUNE)), NULL, NULL, err));
    double history = seconds(since);
    (void)reader_points(r, &count);
    printf("history: %zu deltas in %.2f s\n", count, history);
    /* Each that stays is offered. */
    for (size_t i = 0; i < v->count; i++) {
        char word[24];
        uint64_t rp;
        (void)snprintf(word, sizeof word, "%" PRIu64, v->points[i].rp);
        if (v->why[i] == RETENTION_GOES)
            continue;
        MUST(reader_find(r, word, 0, &rp, err));
        all++;
    }
    /* The oldest, some of the middle, one in each tenth of what is dense, the newest. */
    for (size_t i = 0, at = 0; i < v->count; i++) {
        bool mine = at == 0 || at == 20 || at == 90 || at == 200 || at % (all / 4 + 1) == 0;
        if (v->why[i] == RETENTION_GOES)
            continue;
        if (mine || at == all - 1) {
            double took = open_point(y, r, i, history);
            worst = took > worst ? took : worst;
            opened++;
        }
        at++;
    }
    printf("opened %zu of %zu RPs, all right; the slowest in %.2f s (limit %.0f)\n", opened, all,
           worst, LIMIT);
    reader_close(r);
    caller_free(c);
    if (worst > LIMIT)
        fail_msg("opening took longer than %.0f s", LIMIT);
}
