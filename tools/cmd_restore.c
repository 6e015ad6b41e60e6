/* relais restore: a volume as it was, to a file or device, all of it verified. */
#include "history_args.h"
#include "seen.h"
#include "units.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct restore {
    struct history_args history;
    const char *volume, *target, *state;
    char default_state[PATH_MAX + 300];
    bool force, check;
    bool checking;
    uint64_t rp; /* that was found */
    struct restore_progress done;
};

static void on_progress(void *arg, const struct restore_progress *p)
{
    struct restore *r = arg;
    if (p->checking && !r->checking) {
        char title[64];
        (void)snprintf(title, sizeof title, "reading back %.40s", r->target);
        progress_end(&r->history.progress);
        r->checking = true;
        progress_start(&r->history.progress, title);
    }
    progress_update(&r->history.progress, p->checking ? p->bytes_checked : p->bytes_done,
                    p->bytes_total, true);
}

/* A device has no place beside it for its state, and the next attempt may be typed in another
 * directory: it is kept where states of programs belong, under a name that the same command makes
 * again. */
static int name_state(struct restore *r, struct err *e)
{
    char dir[SEEN_PATH_MAX], device[128];
    struct io_stat st = {0};
    int res = fio_stat(r->target, &st);
    if (r->state || res < 0 || !st.is_block)
        return 0; /* what is wrong with the target is told later */
    if (seen_dir(dir, e) != 0)
        return -(int)e->code;
    if (strlen(r->target) >= sizeof device)
        return err_set(e, ERR_USAGE,
                       "%.200s: its state's path would be too long: give --state FILE", r->target);
    (void)snprintf(device, sizeof device, "%s", r->target + (r->target[0] == '/'));
    for (char *at = device; (at = strchr(at, '/')) != NULL;)
        *at = '-';
    (void)snprintf(r->default_state, sizeof r->default_state, "%.3700s/%s.%s-%s-%s.relais-state",
                   dir, device, r->history.site, r->history.group, r->volume);
    res = fio_mkdirs(dir, 0700);
    if (res < 0)
        return err_os(e, res,
                      "%s: making a place for the state of the restore (--state FILE names "
                      "another)",
                      dir);
    r->state = r->default_state;
    return 0;
}

static void tell(const struct restore *r, uint64_t rp, const struct manifest *m, uint64_t took_ns)
{
    const struct restore_progress *d = &r->done;
    char cut[UNITS_TEXT], size[UNITS_TEXT], fetched[UNITS_TEXT], took[UNITS_TEXT],
        found[UNITS_TEXT], redone[UNITS_TEXT];
    (void)printf(
        "%s/%s@%llu %s: restored as of %s to %s: %s written, %s fetched in %s, all verified\n",
        r->history.site, r->history.group, (unsigned long long)rp, r->volume,
        units_time(cut, m->cut_time), r->target, units_size(size, d->bytes_done - d->found),
        units_size(fetched, d->fetched), units_duration(took, took_ns));
    if (d->found + d->redone > 0)
        (void)printf("of an interrupted restore %s were there and still good, %s had changed and "
                     "were written again\n",
                     units_size(found, d->found), units_size(redone, d->redone));
    if (r->check)
        (void)printf("read back: good: %s are on %s as they were verified\n",
                     units_size(size, d->bytes_checked), r->target);
}

static int restore_volume(struct restore *r, uint64_t rp, struct err *e)
{
    const struct restore_options options = {.keys = r->history.keys,
                                            .key_count = r->history.key_count,
                                            .parallel = r->history.parallel,
                                            .force = r->force,
                                            .check = r->check,
                                            .state = r->state,
                                            .progress = on_progress,
                                            .arg = r};
    char title[64];
    uint64_t began = io_now(fiber_io());
    int res;
    (void)snprintf(title, sizeof title, "%.24s@%llu %.24s", r->history.group,
                   (unsigned long long)rp, r->volume);
    progress_start(&r->history.progress, title);
    res = reader_restore(r->history.reader, rp, r->volume, r->target, &options, &r->done, e);
    progress_end(&r->history.progress);
    if (res == 0)
        tell(r, rp, reader_manifest(r->history.reader, rp), io_now(fiber_io()) - began);
    return res;
}

/* What a restore that broke off has left, and how to go on. */
static int tell_the_rest(const struct restore *r, uint64_t rp, struct err *e)
{
    struct err why = *e;
    if (why.code == ERR_CANCELED)
        (void)snprintf(why.text, sizeof why.text, "interrupted");
    if (r->done.bytes_total == 0)
        return err_set(e, why.code, "restore to %s: %.300s; nothing was written", r->target,
                       why.text);
    return err_set(e, why.code,
                   "restore to %.60s: %.280s; the same command, with %.40s@%llu, goes on where "
                   "this one stopped",
                   r->target, why.text, r->history.group, (unsigned long long)rp);
}

static bool can_go_on(enum err_code code)
{
    return code == ERR_CANCELED || code == ERR_NET || code == ERR_SPACE || code == ERR_IO;
}

static int restore_once(void *arg, struct err *e)
{
    struct restore *r = arg;
    int res;
    r->checking = false;
    r->done = (struct restore_progress){0};
    res = history_open(&r->history, e);
    if (res == 0)
        res = reader_find(r->history.reader, r->history.point, io_wall(fiber_io()), &r->rp, e);
    if (res == 0)
        res = name_state(r, e);
    if (res == 0)
        res = restore_volume(r, r->rp, e);
    history_close(&r->history);
    return res;
}

static int restore(void *arg, struct err *e)
{
    struct restore *r = arg;
    int res = history_attempt(restore_once, r, e);
    return res < 0 && can_go_on(e->code) ? tell_the_rest(r, r->rp, e) : res;
}

int cmd_restore(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {HISTORY_OPTIONS,
                                            {"force", no_argument, NULL, 'f'},
                                            {"state", required_argument, NULL, 's'},
                                            {"check", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct restore *r = err_calloc(1, sizeof *r);
    int c, res = 0;
    while (res == 0 && (c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            res = -(int)e->code;
        else if (c == 'f')
            r->force = true;
        else if (c == 'h')
            r->check = true;
        else if (c == 's')
            r->state = optarg;
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
