/* relais peers: who belongs to the territory, as the hub knows it; approval, revocation. */
#include "client.h"
#include "command.h"
#include "invitation.h"
#include "json_out.h"
#include "setup.h"
#include "table.h"
#include "token.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- listing ---- */

struct listing {
    struct table *table; /* NULL: JSON */
    json_t *json;
    const char *wanted; /* "": all; else fills fingerprint of this one */
    char state[16], fingerprint[TOKEN_FINGERPRINT];
    uint32_t count;
    bool more;
    int64_t since;
};

static void join(char *dst, size_t cap, char *const *words, size_t count)
{
    size_t n = 0;
    *dst = '\0';
    for (size_t i = 0; i < count && n < cap; i++)
        n += (size_t)snprintf(dst + n, cap - n, "%s%s", i ? " " : "", words[i]);
}

static int row(struct listing *l, const Relais__Peer *p, struct err *e)
{
    char seen[UNITS_TEXT], note[256], when[UNITS_TEXT], reads[512];
    const char *color = strcmp(p->state, "revoked") == 0                       ? "red"
                        : strcmp(p->state, "pending") == 0 || *p->state == 'i' ? "yellow"
                                                                               : NULL;
    join(reads, sizeof reads, p->reads, p->n_reads);
    *note = '\0';
    if (p->until)
        (void)snprintf(note, sizeof note, "until %s%s", units_time(when, p->until),
                       p->approved ? ", needs no approval" : "");
    else if (*p->reason)
        (void)snprintf(note, sizeof note, "%s", p->reason);
    else if (!p->enrolled)
        (void)snprintf(note, sizeof note, "in relais.conf");
    const char *cells[] = {p->name,
                           p->state,
                           *p->fingerprint ? p->fingerprint : "-",
                           p->connections ? "now"
                           : p->seen      ? units_time(seen, p->seen)
                                          : "-",
                           *p->address ? p->address : "-",
                           *reads ? reads : "-",
                           note};
    return table_row(l->table, cells, color, e);
}

static json_t *entry(const Relais__Peer *p)
{
    json_t *reads = json_array(), *o;
    for (size_t i = 0; i < p->n_reads; i++)
        (void)json_array_append_new(reads, json_string(p->reads[i]));
    o = json_pack("{s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:b, s:o}", "name", p->name,
                  "state", p->state, "enrolled", p->enrolled, "fingerprint", p->fingerprint,
                  "link_key", p->link_key, "sign_key", p->sign_key, "restore_key", p->restore_key,
                  "address", p->address, "connections", (int)p->connections, "reason", p->reason,
                  "auto", p->approved, "reads", reads);
    (void)json_object_set_new(o, "since",
                              p->since ? json_real((double)p->since / 1e9) : json_null());
    (void)json_object_set_new(o, "until",
                              p->until ? json_real((double)p->until / 1e9) : json_null());
    (void)json_object_set_new(o, "seen", p->seen ? json_real((double)p->seen / 1e9) : json_null());
    return o;
}

static int take_page(void *arg, const struct message *reply, struct err *e)
{
    struct listing *l = arg;
    const Relais__Peers *m = reply->peers;
    int res = 0;
    for (size_t i = 0; i < m->n_peers && res == 0; i++) {
        const Relais__Peer *p = m->peers[i];
        if (l->wanted && strcmp(p->name, l->wanted) == 0 && *p->state != 'i') {
            (void)snprintf(l->state, sizeof l->state, "%s", p->state);
            (void)snprintf(l->fingerprint, sizeof l->fingerprint, "%s", p->fingerprint);
        }
        if (l->json)
            res = json_array_append_new(l->json, entry(p));
        else if (l->table)
            res = row(l, p, e);
    }
    l->count += (uint32_t)m->n_peers;
    l->more = m->more && m->n_peers > 0;
    l->since = m->since;
    return res;
}

static int fetch(struct listing *l, const struct config *c, struct err *e)
{
    int res;
    do {
        Relais__PeersGet get;
        relais__peers_get__init(&get);
        get.after = l->count;
        res = client_ask_alone(
            c->control,
            &(struct client_request){FRAME_PeersGet, FRAME_Peers, &get.base, take_page, l}, e);
    } while (res == 0 && l->more);
    return res;
}

static int list(const struct config *c, bool json, struct err *e)
{
    static const struct table_column columns[] = {
        {"PEER", false}, {"STATE", false}, {"FINGERPRINT", false},
        {"SEEN", false}, {"FROM", false},  {"READS", false},
        {"", false}};
    struct listing l = {.json = json ? json_array() : NULL};
    int res = json ? 0 : table_new(&l.table, columns, sizeof columns / sizeof columns[0], e);
    if (res == 0)
        res = fetch(&l, c, e);
    if (res == 0 && json)
        return json_out(l.json, 2, e);
    if (res == 0)
        res = table_print(l.table, e);
    if (l.table)
        table_free(l.table);
    json_decref(l.json);
    return res;
}

/* ---- changes ---- */

static int told(void *arg, const struct message *reply, struct err *e)
{
    const Relais__PeerSet *x = arg;
    const Relais__PeerDone *d = reply->peer_done;
    (void)e;
    if (strcmp(x->action, "approve") == 0) {
        (void)printf("%s is a member\n", x->name);
    } else if (strcmp(x->action, "withdraw") == 0) {
        (void)printf("the invitation of %s holds no more\n", x->name);
    } else {
        (void)fprintf(stderr,
                      "%s is revoked: its key is refused from now on, %u of its connections were "
                      "broken.\n",
                      x->name, (unsigned)d->connections);
        if (d->groups > 0)
            (void)fprintf(stderr,
                          "What it shipped (%u groups) stays. What it could open with its restore "
                          "key it can still open\nwherever it has it: take that key out of the "
                          "readers of the other members.\n",
                          (unsigned)d->groups);
    }
    return 0;
}

static int set(const struct config *c, const char *action, const char *name,
               const char *fingerprint, const char *reason, struct err *e)
{
    Relais__PeerSet m;
    relais__peer_set__init(&m);
    m.name = (char *)(uintptr_t)name;
    m.action = (char *)(uintptr_t)action;
    m.fingerprint = (char *)(uintptr_t)fingerprint;
    m.reason = (char *)(uintptr_t)reason;
    return client_ask_alone(
        c->control, &(struct client_request){FRAME_PeerSet, FRAME_PeerDone, &m.base, told, &m}, e);
}

/* Without a fingerprint somebody must say that the member's admin reads the same one. */
static int approve(const struct config *c, const char *name, const char *fingerprint, struct err *e)
{
    struct listing l = {.wanted = name};
    char question[128];
    int res;
    if (fingerprint)
        return set(c, "approve", name, fingerprint, "", e);
    res = fetch(&l, c, e);
    if (res != 0)
        return res;
    if (strcmp(l.state, "pending") != 0)
        return err_set(e, ERR_NOENT,
                       "nobody waits for approval as %.60s%s%s; relais peers shows "
                       "who does",
                       name, *l.state ? ": it is " : "", l.state);
    (void)fprintf(stderr, "%s has enrolled with the fingerprint\n\n  %s\n\n", name, l.fingerprint);
    (void)snprintf(question, sizeof question, "Does the admin of %.48s read out the same?", name);
    if (!setup_confirm(question))
        return err_set(e, ERR_USAGE,
                       "%s is not approved: give the FINGERPRINT that its admin reads out, or say "
                       "yes on a terminal",
                       name);
    return set(c, "approve", name, l.fingerprint, "", e);
}

/* A new key for a member: the old one goes at once, whoever has it. */
static int replace(const struct config *c, const char *name, const char *reason, uint64_t valid_ns,
                   struct err *e)
{
    Relais__Invite m;
    int res = set(c, "revoke", name, "", reason, e);
    if (res != 0 && e->code != ERR_EXISTS) /* EXISTS: an attempt broke off in between */
        return res;
    relais__invite__init(&m);
    m.site = (char *)(uintptr_t)name;
    m.keep_reads = true;
    m.valid_s = valid_ns / UINT64_C(1000000000);
    res = client_ask_alone(
        c->control,
        &(struct client_request){FRAME_Invite, FRAME_Invited, &m.base, invitation_print, &m}, e);
    if (res == 0)
        (void)fprintf(stderr, "\nWhere its relais.conf still is: relais site enrol --replace.\n");
    return res;
}

struct arguments {
    bool json;
    const char *reason;
    uint64_t valid_ns;
};

static int run(const struct config *c, const struct arguments *a, int argc, char **argv,
               struct err *e)
{
    const char *what = argc > 0 ? argv[0] : "";
    if (argc == 0)
        return list(c, a->json, e);
    if (argc > 3 || argc < 2 || (argc == 3 && strcmp(what, "approve") != 0))
        return command_misuse("peers", e, "approve, revoke, replace or withdraw, and one SITE");
    if (strcmp(what, "approve") == 0)
        return approve(c, argv[1], argc == 3 ? argv[2] : NULL, e);
    if (strcmp(what, "replace") == 0)
        return replace(c, argv[1], a->reason, a->valid_ns, e);
    if (strcmp(what, "revoke") == 0 || strcmp(what, "withdraw") == 0)
        return set(c, what, argv[1], "", a->reason, e);
    return command_misuse("peers", e, "there is no \"%.40s\"", what);
}

int cmd_peers(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"reason", required_argument, NULL, 'r'},
                                            {"valid", required_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    struct arguments a = {.reason = "", .valid_ns = UINT64_C(86400000000000)};
    struct config *config = NULL;
    int c, res;
    while ((c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        if (c == 'v' && units_parse_duration(&a.valid_ns, optarg) != 0)
            return command_misuse("peers", e, "--valid %.20s: like 24h or 30min", optarg);
        a.json |= c == 'j';
        a.reason = c == 'r' ? optarg : a.reason;
    }
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    res = run(config, &a, argc - optind, argv + optind, e);
    config_free(config);
    return res != 0 ? err_prefix(e, "peers") : 0;
}
