/* relais territory: the hub's side of enrolment: a hub's configuration from nothing, invitations.
 */
#include "bytes.h"
#include "client.h"
#include "command.h"
#include "invitation.h"
#include "setup.h"
#include "sheets.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- init ---- */

struct init {
    struct setup setup;
    char name[NAME_MAX_LEN + 2], address[512], store[CONFIG_PATH_MAX], escrow[CONFIG_WORD_MAX];
    const char *listen;
    bool sheets, no_escrow;
    unsigned threshold, count;
};

static int need(char *dst, size_t cap, const char *option, const char *question, struct err *e)
{
    while (!*dst)
        if (!setup_ask(dst, cap, "%s: ", question))
            return command_misuse("territory", e, "%s is needed (there is no terminal to ask on)",
                                  option);
    return 0;
}

static int ask_escrow(struct init *x, struct err *e)
{
    char answer[CONFIG_WORD_MAX];
    if (*x->escrow || x->sheets || x->no_escrow)
        return 0;
    if (!setup_ask(answer, sizeof answer,
                   "The territory's escrow key opens what any member ships, when its own key is "
                   "lost.\nIts public word (restore:...), \"sheets\" to print a new one now, or "
                   "nothing for none: "))
        return command_misuse("territory", e,
                              "one of --escrow WORD, --escrow-sheets K/N, --no-escrow is needed");
    if (strcmp(answer, "sheets") == 0) {
        x->sheets = true;
        x->threshold = 2;
        x->count = 3;
    } else {
        (void)snprintf(x->escrow, sizeof x->escrow, "%s", answer);
    }
    return 0;
}

static int check_answers(struct init *x, struct err *e)
{
    char addrs[sizeof x->address], *next;
    struct config_addr addr;
    struct key_public key;
    if (!bytes_is_name(x->name))
        return command_misuse("territory", e, "--name %.60s: a-z, 0-9 and -, at most %u characters",
                              x->name, NAME_MAX_LEN);
    (void)snprintf(addrs, sizeof addrs, "%s", x->address);
    for (char *at = addrs; at; at = next) {
        next = strchr(at, ',');
        if (next)
            *next++ = '\0';
        if (config_addr_parse(&addr, at, e) != 0) {
            e->code = ERR_USAGE;
            return err_prefix(e, "--address %.80s", at);
        }
    }
    if (*x->escrow && key_public_parse(&key, KEY_RESTORE, x->escrow, e) != 0) {
        e->code = ERR_USAGE;
        return err_prefix(e, "--escrow");
    }
    return 0;
}

static int take_answers(struct init *x, struct err *e)
{
    int res = need(x->name, sizeof x->name, "--name", "Name of this member, as arras", e);
    if (res == 0)
        res = need(x->address, sizeof x->address, "--address",
                   "Where the other members reach this machine, as hub.arras.example:7440", e);
    if (res == 0)
        res = need(x->store, sizeof x->store, "--store",
                   "Where to store what they ship: dir:/PATH, or rados:POOL", e);
    if (res == 0)
        res = ask_escrow(x, e);
    return res == 0 ? check_answers(x, e) : res;
}

/* A new escrow key exists on its sheets only. */
static int make_escrow(struct init *x, struct err *e)
{
    struct key_secret *k;
    int res = 0;
    if (!x->sheets)
        return 0;
    k = key_generate(KEY_RESTORE, NULL);
    key_public_word(x->escrow, key_public(k));
    if (!x->setup.dry)
        res = sheets_print(k, x->threshold, x->count, e);
    key_free(k);
    return res;
}

static void write_hub(struct init *x, const struct key_secret *link, const struct key_secret *sign)
{
    struct setup *s = &x->setup;
    char link_word[KEY_WORD_MAX], sign_word[KEY_WORD_MAX];
    const char *port = strrchr(x->address, ':');
    key_public_word(link_word, key_public(link));
    key_public_word(sign_word, key_public(sign));
    setup_add(s, "# The hub of the territory. relais.conf(5) explains every option; relais config "
                 "check looks\n# at this file as relaisd does. Members enrol: relais territory "
                 "invite SITE.\n\n");
    setup_add_site(s, x->name);
    setup_add(s, "\n[hub]\nlisten = %s\naddress = %s\nstore = %s\n", x->listen ? x->listen : port,
              x->address, x->store);
    if (*x->escrow)
        setup_add(s, "escrow = %s\n", x->escrow);
    setup_add(s,
              "\n# This member's own volumes are shipped to its own hub. Add to [site]:\n"
              "#   hub = %s\n#   readers = restore:...    (relais keygen restore FILE "
              "--passphrase)%s%s\n# and say what to replicate:\n"
              "# [group records]\n# [volume records/data]\n# path = /dev/vg0/records\n",
              x->name, *x->escrow ? ", " : "", x->escrow);
    setup_add(s, "[peer %s]\nlink-key = %s\nsign-key = %s\naddress = %s\n", x->name, link_word,
              sign_word, x->address);
}

static void tell_next(const struct init *x)
{
    const char *file = x->setup.config_file;
    bool other = strcmp(file, CONFIG_DEFAULT_FILE) != 0;
    (void)fprintf(stderr, "\nNext:\n");
    if (x->sheets)
        (void)fprintf(stderr,
                      "  Print the sheets above, type them back once (relais escrow combine), and "
                      "keep them apart.\n");
    (void)fprintf(stderr,
                  "  relais%s%s config check\n"
                  "  systemctl enable --now relaisd\n"
                  "  relais%s%s territory invite SITE        for each member\n",
                  other ? " -c " : "", other ? file : "", other ? " -c " : "", other ? file : "");
}

static int init(struct init *x, struct err *e)
{
    struct key_secret *link = NULL, *sign = NULL, *hash = NULL;
    int res = setup_check_new(&x->setup, e);
    if (res == 0)
        res = take_answers(x, e);
    if (res == 0)
        res = setup_key(&link, &x->setup, KEY_LINK, NULL, e);
    if (res == 0)
        res = setup_key(&sign, &x->setup, KEY_SIGN, NULL, e);
    if (res == 0)
        res = setup_key(&hash, &x->setup, KEY_HASH, NULL, e);
    if (res == 0)
        res = make_escrow(x, e);
    if (res == 0) {
        write_hub(x, link, sign);
        res = setup_write(&x->setup, e);
    }
    if (res == 0 && !x->setup.dry)
        tell_next(x);
    key_free(link);
    key_free(sign);
    key_free(hash);
    return res;
}

static int copy_option(char *dst, size_t cap, const char *name, struct err *e)
{
    if (strlen(optarg) >= cap)
        return command_misuse("territory", e, "%s %.40s...: too long", name, optarg);
    memcpy(dst, optarg, strlen(optarg) + 1);
    return 0;
}

static int cmd_init(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"name", required_argument, NULL, 'n'},
                                            {"address", required_argument, NULL, 'a'},
                                            {"store", required_argument, NULL, 's'},
                                            {"listen", required_argument, NULL, 'l'},
                                            {"escrow", required_argument, NULL, 'e'},
                                            {"escrow-sheets", required_argument, NULL, 'E'},
                                            {"no-escrow", no_argument, NULL, 'N'},
                                            {"state", required_argument, NULL, 'S'},
                                            {"control", required_argument, NULL, 'C'},
                                            {"dry-run", no_argument, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    struct init x = {.listen = NULL};
    int c, res = 0;
    while (res == 0 && (c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            res = -(int)e->code;
        else if (c == 'n')
            res = copy_option(x.name, sizeof x.name, "--name", e);
        else if (c == 'a')
            res = copy_option(x.address, sizeof x.address, "--address", e);
        else if (c == 's')
            res = copy_option(x.store, sizeof x.store, "--store", e);
        else if (c == 'e')
            res = copy_option(x.escrow, sizeof x.escrow, "--escrow", e);
        else if (c == 'E' && sheets_parse(&x.threshold, &x.count, optarg, e) != 0)
            res = command_misuse("territory", e, "--escrow-sheets %.20s: %s", optarg, e->text);
        x.sheets |= c == 'E';
        x.no_escrow |= c == 'N';
        x.setup.dry |= c == 'd';
        x.listen = c == 'l' ? optarg : x.listen;
        x.setup.state = c == 'S' ? optarg : x.setup.state;
        x.setup.control = c == 'C' ? optarg : x.setup.control;
    }
    if (res == 0 && argc != optind)
        res = command_misuse("territory", e, "\"%.40s\" is one argument too many", argv[optind]);
    if (res == 0)
        res = setup_begin(&x.setup, ctx->config_file, e);
    if (res == 0)
        res = init(&x, e);
    setup_end(&x.setup);
    return res;
}

/* ---- invite ---- */

static int cmd_invite(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"reads", required_argument, NULL, 'r'},
                                            {"valid", required_argument, NULL, 'v'},
                                            {"auto", no_argument, NULL, 'a'},
                                            {NULL, 0, NULL, 0}};
    char *reads[CONFIG_READS_MAX], *word, *rest;
    uint64_t valid = UINT64_C(86400000000000);
    struct config *config = NULL;
    Relais__Invite m;
    int c, res;
    relais__invite__init(&m);
    m.reads = reads;
    m.keep_reads = true;
    while ((c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        if (c == 'v' && units_parse_duration(&valid, optarg) != 0)
            return command_misuse("territory", e, "--valid %.20s: like 24h or 30min", optarg);
        m.approved |= c == 'a';
        for (word = c == 'r' ? strtok_r(optarg, ", ", &rest) : NULL; word;
             word = strtok_r(NULL, ", ", &rest)) {
            if (m.n_reads == CONFIG_READS_MAX)
                return command_misuse("territory", e, "more than %u grants", CONFIG_READS_MAX);
            reads[m.n_reads++] = word;
            m.keep_reads = false;
        }
    }
    if (argc - optind != 1)
        return command_misuse("territory", e, "the name of one SITE is needed");
    m.site = argv[optind];
    m.valid_s = valid / UINT64_C(1000000000);
    res = command_config(&config, ctx, e);
    if (res != 0)
        return res;
    res = client_ask_alone(
        config->control,
        &(struct client_request){FRAME_Invite, FRAME_Invited, &m.base, invitation_print, &m}, e);
    config_free(config);
    return res != 0 ? err_prefix(e, "territory invite") : 0;
}

int cmd_territory(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "init") != 0 && strcmp(what, "invite") != 0)
        return command_misuse("territory", e, "init or invite is needed");
    argv[1] = argv[0];
    return strcmp(what, "init") == 0 ? cmd_init(ctx, argc - 1, argv + 1, e)
                                     : cmd_invite(ctx, argc - 1, argv + 1, e);
}
