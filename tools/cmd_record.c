/* relais record: what is written to a volume in service, as a list that relais-bench replays:
 * where, how much, when, and the flushes. No contents leave the volume. */
#include "bytes.h"
#include "client.h"
#include "command.h"
#include "progress.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define ENTRY_LEN   24u /* engine/site/tap.h */
#define LOOK_NS     (IO_S / 10)
#define FOR_DEFAULT (60 * IO_S)
#define FOR_MAX     (UINT64_C(86400) * IO_S)

struct record {
    const char *control, *name, *volume, *out;
    char group[NAME_MAX_LEN + 1];
    uint64_t lasts;
    FILE *file;
    uint64_t token, count, bytes, dropped;
};

/* The header has a fixed length: the number of dropped requests is known at the end. */
static void write_header(struct record *r, uint64_t size)
{
    (void)fprintf(r->file,
                  "relais-trace 1\nvolume %s\nsize %020" PRIu64 "\ndropped %020" PRIu64 "\n",
                  r->name, size, r->dropped);
}

static int write_entries(struct record *r, const Relais__Recorded *m, struct err *e)
{
    static const char verbs[] = "?WZTF";
    for (const uint8_t *p = m->entries.data, *end = p + m->entries.len; p + ENTRY_LEN <= end;
         p += ENTRY_LEN) {
        uint64_t at = bytes_le64(p), off = bytes_le64(p + 8);
        uint32_t len = bytes_le32(p + 16), verb = bytes_le32(p + 20);
        if (verb == 0 || verb >= sizeof verbs - 1)
            return err_set(e, ERR_PROTO, "relaisd recorded a request of kind %u; use its relais",
                           verb);
        (void)fprintf(r->file, "%" PRIu64 ".%06" PRIu64 " %c", at / IO_S, at % IO_S / 1000,
                      verbs[verb]);
        if (len > 0)
            (void)fprintf(r->file, " %" PRIu64 " %" PRIu32, off, len);
        (void)fputc('\n', r->file);
        r->count++;
        r->bytes += len;
    }
    return ferror(r->file) ? err_os(e, errno ? errno : EIO, "%s", r->out) : 0;
}

/* One request, and what came of it. */
static int take(struct record *r, struct caller *c, bool stop, bool *more, struct err *e)
{
    struct call call = {.expect = FRAME_Recorded};
    Relais__Record m;
    int res;
    relais__record__init(&m);
    m.group = r->group;
    m.volume = (char *)(uintptr_t)r->volume;
    m.token = r->token;
    m.stop = stop;
    res = call_start(c, &call, FRAME_Record, &m.base, NULL, 0, e);
    if (res != 0)
        return res;
    res = call_wait(&call, e);
    if (res == 0) {
        const Relais__Recorded *got = call.reply.recorded;
        if (r->token == 0)
            write_header(r, got->size);
        r->token = got->token;
        r->dropped = got->dropped;
        *more = got->more;
        res = write_entries(r, got, e);
    }
    call_end(&call);
    return res;
}

static int run(void *arg, struct err *e)
{
    struct record *r = arg;
    struct progress progress = {0};
    struct caller *c = NULL;
    uint64_t began = io_now(fiber_io()), now = began;
    bool more = false, over = false;
    int res = client_control(&c, r->control, e);
    if (res != 0)
        return res;
    progress_start(&progress, r->name);
    while (res == 0 && !over) {
        over = now - began >= r->lasts;
        res = take(r, c, over && !more, &more, e);
        over = over && !more;
        if (res == 0 && !more && !over && fiber_sleep(LOOK_NS) != 0)
            res = err_set(e, ERR_CANCELED, "interrupted; %s holds what was recorded until then",
                          r->out);
        now = io_now(fiber_io());
        progress_update(&progress,
                        now - began < r->lasts ? (now - began) / 1000000 : r->lasts / 1000000,
                        r->lasts / 1000000, true);
    }
    progress_end(&progress);
    caller_free(c);
    return res;
}

static int conclude(struct record *r, struct err *e)
{
    char size[UNITS_TEXT], head[128];
    int bad = fflush(r->file) != 0, n = snprintf(head, sizeof head, "%020" PRIu64, r->dropped);
    long at = (long)(strlen("relais-trace 1\nvolume \nsize 01234567890123456789\ndropped ") +
                     strlen(r->name));
    bad |= r->token != 0 && pwrite(fileno(r->file), head, (size_t)n, at) != n;
    if (bad)
        return err_os(e, errno ? errno : EIO, "%s", r->out);
    (void)printf("%s: %" PRIu64 " requests, %s written, in %s\n", r->name, r->count,
                 units_size(size, r->bytes), r->out);
    if (r->dropped > 0)
        (void)fprintf(stderr,
                      "relais: %" PRIu64 " requests came faster than they could be "
                      "recorded, and are not in %s\n",
                      r->dropped, r->out);
    return 0;
}

static int parse(struct record *r, struct command_context *ctx, int argc, char **argv,
                 struct err *e)
{
    static const struct option options[] = {{"out", required_argument, NULL, 'o'},
                                            {"for", required_argument, NULL, 'f'},
                                            {NULL, 0, NULL, 0}};
    const char *slash;
    int c;
    while ((c = command_option(ctx, argc, argv, "o:", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        if (c == 'o')
            r->out = optarg;
        else if (units_parse_duration(&r->lasts, optarg) < 0 || r->lasts == 0 || r->lasts > FOR_MAX)
            return command_misuse("record", e, "--for %.40s: wanted is a time like 60s, at most 1d",
                                  optarg);
    }
    if (argc - optind != 1 || !r->out)
        return command_misuse("record", e, "one GROUP/VOLUME and --out FILE are needed");
    r->name = argv[optind];
    slash = strchr(r->name, '/');
    if (!slash || (size_t)(slash - r->name) >= sizeof r->group || strlen(slash) > NAME_MAX_LEN + 1)
        return command_misuse("record", e, "\"%.100s\" is not GROUP/VOLUME", r->name);
    memcpy(r->group, r->name, (size_t)(slash - r->name));
    r->volume = slash + 1;
    return 0;
}

int cmd_record(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    struct record r = {.lasts = FOR_DEFAULT};
    struct config *config = NULL;
    struct err why = ERR_INIT;
    int fd, res = parse(&r, ctx, argc, argv, e);
    if (res == 0)
        res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    fd = open(r.out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    r.file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!r.file) {
        res = err_os(e, errno, "%s", r.out);
        config_free(config);
        return res;
    }
    r.control = config->control;
    res = client_run(run, &r, e);
    if (r.token == 0)
        (void)unlink(r.out); /* nothing was recorded */
    else if (conclude(&r, &why) != 0 && res == 0) {
        *e = why;
        res = -(int)e->code;
    }
    (void)fclose(r.file);
    config_free(config);
    return res != 0 ? err_prefix(e, "record %s", r.name) : 0;
}
