/* relais audit: what the hub remembers of who did what; and whether that was changed since. */
#include "client.h"
#include "command.h"
#include "trail.h"
#include "units.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FOLLOW_NS IO_S

struct audit {
    const struct config *config;
    struct client_hub *hub; /* NULL: this machine is the hub */
    bool verify, follow, json;
    int64_t since;
    const char *peer;
    enum trail_kind kind;
    struct trail_walk walk;
    struct trail_end known; /* seq 0: nothing */
    uint64_t shown;
    int64_t first_time, last_time;
};

/* ---- one entry ---- */

static int print_json(const struct trail_entry *t, const char *time, struct err *e)
{
    json_t *o =
        json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "entry", (json_int_t)t->seq, "time",
                  time, "hub", t->hub, "kind", trail_kind_word(t->kind), "peer", t->peer, "subject",
                  t->subject, "outcome", err_name(t->outcome), "detail", t->detail);
    int rc = o ? json_dumpf(o, stdout, JSON_COMPACT) : -1;
    json_decref(o);
    return rc != 0 ? err_set(e, ERR_OS, "no memory for an entry as JSON") : 0;
}

static int take(void *arg, const struct trail_entry *t)
{
    struct audit *a = arg;
    struct err e = ERR_INIT;
    char time[UNITS_TEXT];
    a->shown++;
    if (a->first_time == 0)
        a->first_time = t->time;
    a->last_time = t->time;
    if (a->verify || t->time < a->since || (a->kind && t->kind != a->kind) ||
        (a->peer && strcmp(a->peer, t->peer) != 0))
        return 0;
    units_time(time, t->time);
    if (a->json) {
        if (print_json(t, time, &e) < 0)
            return -(int)e.code;
        (void)puts("");
    } else {
        (void)printf("%s %6" PRIu64 " %-9s %-10s %-24s %s%s%s\n", time, t->seq,
                     trail_kind_word(t->kind), *t->peer ? t->peer : "-",
                     *t->subject ? t->subject : "-",
                     t->outcome == ERR_OK ? "" : err_name(t->outcome),
                     t->outcome == ERR_OK ? "" : ": ", t->detail);
    }
    return 0;
}

/* ---- pages ---- */

static int ask(struct caller *c, struct call *call, const struct audit *a, uint64_t *first,
               struct trail_end *said, struct err *e)
{
    Relais__AuditGet get;
    relais__audit_get__init(&get);
    get.after = a->walk.end.seq;
    get.since = a->verify || a->walk.end.seq > 0 ? 0 : a->since;
    int rc = call_start(c, call, FRAME_AuditGet, &get.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    rc = call_wait(call, e);
    if (rc == 0) {
        const Relais__AuditEntries *m = call->reply.audit_entries;
        *said = (struct trail_end){.seq = m->end};
        *first = m->first;
        if (m->digest.len == DIGEST_LEN)
            memcpy(said->link.b, m->digest.data, DIGEST_LEN);
    }
    call_end(call);
    return rc;
}

/* Up to the present end of the log. */
static int catch_up(struct caller *c, struct call *call, struct audit *a, struct err *e)
{
    struct trail_end said = {0};
    uint64_t first = 0;
    int rc;
    for (;;) {
        rc = ask(c, call, a, &first, &said, e);
        if (rc < 0)
            return rc;
        if (call->payload_len == 0)
            break;
        /* Who asks for a time begins in the middle, and believes what it begins with. */
        if (a->since && a->walk.end.seq == 0 && first > 1 && call->payload_len >= DIGEST_LEN) {
            a->walk.end.seq = first - 1;
            memcpy(a->walk.end.link.b, call->payload, DIGEST_LEN);
        }
        rc = trail_follow(&a->walk, call->payload, call->payload_len, e);
        if (rc < 0)
            return rc;
    }
    if (a->since && a->walk.end.seq == 0) /* nothing is as late as that */
        a->walk.end = said;
    return trail_check_end(&a->walk.end, &said, e);
}

static int tell_verified(const struct audit *a, struct err *e)
{
    char from[UNITS_TEXT], to[UNITS_TEXT], hex[DIGEST_HEX];
    if (a->known.seq > a->walk.end.seq)
        return err_set(e, ERR_CHAIN,
                       "the log ends with entry %" PRIu64 ", but entry %" PRIu64
                       " was there before: its end was cut off",
                       a->walk.end.seq, a->known.seq);
    digest_hex(hex, &a->walk.end.link);
    (void)printf("%" PRIu64 " entries, each continues the one before", a->walk.end.seq);
    if (a->shown > 0)
        (void)printf("; %" PRIu64 " of them may be seen here, of %s to %s", a->shown,
                     units_time(from, a->first_time), units_time(to, a->last_time));
    (void)puts("");
    if (a->known.seq > 0)
        (void)printf("what was told before, entry %" PRIu64 ", is among them unchanged\n",
                     a->known.seq);
    else
        (void)puts("nothing was told before: a log that was written anew as a whole would look the "
                   "same");
    (void)printf("the end, to be held against it later: --witness %" PRIu64 ":%s\n",
                 a->walk.end.seq, hex);
    return 0;
}

/* What this site's daemon has followed, when none was given. */
static int take_status(void *arg, const struct message *reply, struct err *e)
{
    struct audit *a = arg;
    const Relais__Status *st = reply->status;
    if (*st->audit_error)
        return err_set(e, ERR_CHAIN, "%s", st->audit_error);
    if (st->audit_link.len == DIGEST_LEN) {
        a->known.seq = st->audit_end;
        memcpy(a->known.link.b, st->audit_link.data, DIGEST_LEN);
    }
    return 0;
}

static int ask_daemon(struct audit *a, struct err *e)
{
    Relais__StatusGet get;
    struct err none = ERR_INIT;
    relais__status_get__init(&get);
    struct client_request r = {FRAME_StatusGet, FRAME_Status, &get.base, take_status, a};
    int rc = client_ask(a->config->control, &r, &none);
    if (rc < 0 && none.code == ERR_CHAIN) {
        *e = none;
        return rc;
    }
    if (rc < 0)
        (void)fprintf(stderr, "relais: audit: %s: held against nothing that was seen before\n",
                      none.text);
    return 0;
}

static int audit(void *arg, struct err *e)
{
    struct audit *a = arg;
    struct caller *c = NULL;
    struct call call = {.expect = FRAME_AuditEntries,
                        .payload = err_malloc(PAYLOAD_MAX),
                        .payload_cap = (uint32_t)PAYLOAD_MAX};
    int rc = a->verify && a->hub && a->known.seq == 0 ? ask_daemon(a, e) : 0;
    if (rc == 0)
        rc = a->hub ? client_hub_connect(&c, a->hub, e) : client_control(&c, a->config->control, e);
    a->walk.known = a->known.seq > 0 ? &a->known : NULL;
    a->walk.visit = take;
    a->walk.arg = a;
    while (rc == 0) {
        rc = catch_up(c, &call, a, e);
        if (rc < 0 || !a->follow)
            break;
        (void)fflush(stdout);
        if (fiber_sleep(FOLLOW_NS) < 0)
            break;
    }
    if (rc == 0 && a->verify)
        rc = tell_verified(a, e);
    if (c)
        caller_free(c);
    free(call.payload);
    return rc;
}

/* ---- the command line ---- */

/* "SEQ:64 hex digits" */
static int parse_witness(struct trail_end *out, const char *text, struct err *e)
{
    char *end;
    out->seq = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && out->seq > 0 && *end == ':' &&
        bytes_unhex(out->link.b, DIGEST_LEN, end + 1) == 0)
        return 0;
    return command_misuse(
        "audit", e, "--witness %.80s is not NUMBER:DIGEST, as relais audit verify prints it", text);
}

static int set_option(struct audit *a, int letter, struct err *e)
{
    switch (letter) {
    case 's':
        if (units_parse_time(&a->since, optarg, (int64_t)time(NULL) * (int64_t)IO_S) != 0)
            return command_misuse("audit", e,
                                  "--since %.40s: use \"2026-11-22 12:00\", or \"-90min\"", optarg);
        return 0;
    case 'p':
        a->peer = optarg;
        return 0;
    case 'k':
        a->kind = trail_kind_parse(optarg);
        return a->kind ? 0
                       : command_misuse("audit", e,
                                        "there is no kind \"%.40s\": relais(1) lists them", optarg);
    case 'f':
        a->follow = true;
        return 0;
    case 'j':
        a->json = true;
        return 0;
    default:
        return parse_witness(&a->known, optarg, e);
    }
}

static int run(struct audit *a, struct err *e)
{
    struct client_hub hub = {.key = NULL};
    int rc = 0;
    if (!a->config->has_hub) {
        rc = client_hub_open(&hub, a->config, e);
        a->hub = &hub;
    }
    if (rc == 0)
        rc = client_run(audit, a, e);
    client_hub_close(&hub);
    return rc;
}

int cmd_audit(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"since", required_argument, NULL, 's'},
                                            {"peer", required_argument, NULL, 'p'},
                                            {"kind", required_argument, NULL, 'k'},
                                            {"follow", no_argument, NULL, 'f'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"witness", required_argument, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    struct audit a = {0};
    struct config *config = NULL;
    int c, rc;
    while ((c = command_option(ctx, argc, argv, "fj", options, e)) != -1)
        if (c == '?' || set_option(&a, c, e) < 0)
            return -(int)e->code;
    if (optind < argc && strcmp(argv[optind], "verify") == 0) {
        a.verify = true;
        optind++;
    }
    if (optind < argc)
        return command_misuse("audit", e, "\"%.40s\" is one argument too many", argv[optind]);
    if (a.verify && (a.since || a.peer || a.kind || a.follow || a.json))
        return command_misuse("audit", e, "verify reads the whole log: no selection goes with it");
    if (!a.verify && a.known.seq)
        return command_misuse("audit", e, "--witness goes with verify");
    rc = command_config(&config, ctx, e);
    if (rc != 0)
        return rc;
    a.config = config;
    rc = run(&a, e);
    config_free(config);
    return rc != 0 ? err_prefix(e, "audit") : 0;
}
