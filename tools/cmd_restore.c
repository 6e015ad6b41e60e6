/* relais restore: a volume as it was, to a file or device, all of it verified. */
#include "history_args.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

struct restore {
    struct history_args history;
    const char *volume, *target;
    bool force;
};

static void on_progress(void *arg, const struct restore_progress *p)
{
    struct restore *r = arg;
    progress_update(&r->history.progress, p->bytes_done, p->bytes_total, true);
}

static int restore_volume(struct restore *r, uint64_t rp, struct err *e)
{
    const struct restore_options options = {.keys = r->history.keys,
                                            .key_count = r->history.key_count,
                                            .parallel = r->history.parallel,
                                            .force = r->force,
                                            .progress = on_progress,
                                            .arg = r};
    const struct manifest *m = reader_manifest(r->history.reader, rp);
    struct restore_progress done = {0};
    char title[64], cut[UNITS_TEXT], size[UNITS_TEXT], fetched[UNITS_TEXT], took[UNITS_TEXT];
    int res;
    (void)snprintf(title, sizeof title, "%.24s@%llu %.24s", r->history.group,
                   (unsigned long long)rp, r->volume);
    progress_start(&r->history.progress, title);
    res = reader_restore(r->history.reader, rp, r->volume, r->target, &options, &done, e);
    progress_end(&r->history.progress);
    if (res != 0)
        return res;
    (void)printf(
        "%s/%s@%llu %s: restored as of %s to %s: %s written, %s fetched in %s, all verified\n",
        r->history.site, r->history.group, (unsigned long long)rp, r->volume,
        units_time(cut, m->cut_time), r->target, units_size(size, done.bytes_done),
        units_size(fetched, done.fetched),
        units_duration(took, progress_elapsed(&r->history.progress)));
    return 0;
}

static int restore(void *arg, struct err *e)
{
    struct restore *r = arg;
    uint64_t rp = 0;
    int res = history_open(&r->history, e);
    if (res == 0)
        res = reader_find(r->history.reader, r->history.point, io_wall(fiber_io()), &rp, e);
    if (res == 0)
        res = restore_volume(r, rp, e);
    history_close(&r->history);
    if (res == -ERR_CANCELED && rp == 0)
        return err_set(e, ERR_CANCELED, "restore to %s: interrupted; nothing was written",
                       r->target);
    if (res == -ERR_CANCELED)
        return err_set(e, ERR_CANCELED,
                       "restore to %s: interrupted; the same command, with %s@%llu, goes on where "
                       "this one stopped",
                       r->target, r->history.group, (unsigned long long)rp);
    return res;
}

int cmd_restore(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {
        HISTORY_OPTIONS, {"force", no_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
    struct restore *r = err_calloc(1, sizeof *r);
    int c, res = 0;
    while (res == 0 && (c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            res = -(int)e->code;
        else if (c == 'f')
            r->force = true;
        else
            res = history_option(&r->history, "restore", c, optarg, e);
    }
    if (res == 0 && argc - optind != 3)
        res = command_misuse("restore", e, "GROUP@POINT, VOLUME and TARGET are needed");
    if (res == 0 && !strchr(argv[optind], '@'))
        res = command_misuse("restore", e, "name a recovery point: %.50s@latest, %.50s@RP or @TIME",
                             argv[optind], argv[optind]);
    if (res == 0 && r->history.key_count == 0)
        res = command_misuse("restore", e,
                             "--key FILE is needed: a restore key; the daemon has none, by design");
    if (res == 0)
        res = history_prepare(&r->history, "restore", ctx, argv[optind], e);
    if (res == 0) {
        r->volume = argv[optind + 1];
        r->target = argv[optind + 2];
        res = client_run(restore, r, e);
    }
    history_free(&r->history);
    free(r);
    return res;
}
