/* relais verify: proves that a recovery point can be restored, by doing all of it but the writing.
 */
#include "history_args.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

#define TOLD_MAX 100u /* damages that are named; further ones are counted */

struct verify {
    struct history_args history;
    struct reader_damage damage;
    bool chain; /* only the history: needs no key */
    uint64_t damaged;
    struct err first;
};

static void on_damage(void *arg, const struct err *what)
{
    struct verify *v = arg;
    if (v->damaged++ == 0)
        v->first = *what;
    progress_end(&v->history.progress);
    if (v->damaged <= TOLD_MAX)
        (void)fprintf(stderr, "relais: damaged: %s\n", what->text);
    else if (v->damaged == TOLD_MAX + 1)
        (void)fprintf(stderr, "relais: there is more than these %u\n", TOLD_MAX);
}

static void on_progress(void *arg, const struct restore_progress *p)
{
    struct verify *v = arg;
    progress_update(&v->history.progress, p->bytes_done, p->bytes_total, true);
}

static int verify_volumes(struct verify *v, uint64_t rp, struct err *e)
{
    const struct restore_options options = {.keys = v->history.keys,
                                            .key_count = v->history.key_count,
                                            .parallel = v->history.parallel,
                                            .damage = &v->damage,
                                            .progress = on_progress,
                                            .arg = v};
    const struct manifest *m = reader_manifest(v->history.reader, rp);
    char cut[UNITS_TEXT], size[UNITS_TEXT];
    uint64_t total = 0, told = 0;
    for (unsigned i = 0; i < m->volume_count; i++) {
        struct restore_progress done = {0};
        char title[64];
        int res;
        (void)snprintf(title, sizeof title, "%.24s@%llu %.24s", v->history.group,
                       (unsigned long long)rp, m->volumes[i].name);
        progress_start(&v->history.progress, title);
        res = reader_restore(v->history.reader, rp, m->volumes[i].name, NULL, &options, &done, e);
        progress_end(&v->history.progress);
        /* The reader's errors name group, recovery point, volume and place. */
        if (res == -ERR_CORRUPT && v->damaged == told)
            on_damage(v, e); /* an index: nothing of the volume could be looked at */
        else if (res != 0 && res != -ERR_CORRUPT)
            return res;
        told = v->damaged;
        total += done.bytes_done;
    }
    if (v->damaged > 0)
        return err_set(e, v->first.code, "%s/%s@%llu is damaged in %llu places; the first: %.300s",
                       v->history.site, v->history.group, (unsigned long long)rp,
                       (unsigned long long)v->damaged, v->first.text);
    (void)printf("%s/%s@%llu, cut %s: good: %u volume%s, %s opened and verified\n", v->history.site,
                 v->history.group, (unsigned long long)rp, units_time(cut, m->cut_time),
                 m->volume_count, m->volume_count == 1 ? "" : "s", units_size(size, total));
    return 0;
}

static int verify_once(void *arg, struct err *e)
{
    struct verify *v = arg;
    uint64_t rp = 0;
    size_t count = 0;
    int res;
    v->damage = (struct reader_damage){on_damage, v};
    v->damaged = 0;
    v->history.damage = &v->damage;
    res = history_open(&v->history, e);
    if (res == 0) {
        (void)reader_points(v->history.reader, &count);
        (void)printf("%s/%s: good: the chain of %zu manifest%s, each signed by the site\n",
                     v->history.site, v->history.group, count, count == 1 ? "" : "s");
        if (v->history.own_asked)
            (void)printf("%s/%s: good: RP %llu, which this site knows committed, is in it\n",
                         v->history.site, v->history.group, (unsigned long long)v->history.own_rp);
        else if (strcmp(v->history.site, v->history.config->name) == 0)
            (void)fprintf(stderr,
                          "relais: the site's relaisd was not asked what it knows committed\n");
    }
    if (res == 0 && !v->chain)
        res = reader_find(v->history.reader, v->history.point, io_wall(fiber_io()), &rp, e);
    if (res == 0 && !v->chain)
        res = verify_volumes(v, rp, e);
    history_close(&v->history);
    return res;
}

static int verify(void *arg, struct err *e)
{
    return history_attempt(verify_once, arg, e);
}

int cmd_verify(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {
        HISTORY_OPTIONS, {"chain", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct verify *v = err_calloc(1, sizeof *v);
    int c, res = 0;
    while (res == 0 && (c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            res = -(int)e->code;
        else if (c == 'h')
            v->chain = true;
        else
            res = history_option(&v->history, "verify", c, optarg, e);
    }
    if (res == 0 && argc - optind != 1)
        res = command_misuse("verify", e, "one [SITE/]GROUP[@POINT] is needed");
    if (res == 0 && !v->chain && v->history.key_count == 0)
        res = command_misuse(
            "verify", e, "--key FILE is needed to open what was shipped; without one only --chain");
    if (res == 0)
        res = history_prepare(&v->history, "verify", ctx, argv[optind], e);
    if (res == 0)
        res = client_run(verify, v, e);
    history_free(&v->history);
    free(v);
    return res;
}
