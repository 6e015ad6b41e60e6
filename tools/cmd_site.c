/* relais site enrol: a member of a territory from nothing but an invitation: keys, an introduction
 * to the hub, relais.conf. */
#include "bytes.h"
#include "command.h"
#include "introduce.h"
#include "setup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#define READERS_GIVEN (READERS_MAX - 2)

struct enrol {
    struct setup setup;
    struct token token;
    const char *token_file, *passphrase_file, *restore_word, *escrow;
    const char *readers[READERS_GIVEN];
    unsigned reader_count;
    bool no_escrow, replace;
    bool escrow_accepted;
    struct introduction with;
};

/* ---- the invitation ---- */

static int read_file(char *dst, size_t cap, const char *path, struct err *e)
{
    ssize_t n;
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_os(e, errno, "%s", path);
    n = read(fd, dst, cap - 1);
    (void)close(fd);
    if (n < 0)
        return err_os(e, errno, "%s", path);
    dst[n] = '\0';
    return 0;
}

/* From words of the command line, a file, or the terminal: there it need not stay in a history. */
static int take_token(struct enrol *x, int argc, char **argv, struct err *e)
{
    char *text = sodium_malloc(TOKEN_TEXT_MAX);
    size_t n = 0;
    int res = 0;
    ASSERT(text);
    *text = '\0';
    if (x->token_file) {
        res = read_file(text, TOKEN_TEXT_MAX, x->token_file, e);
    } else if (argc > 0) {
        for (int i = 0; i < argc && n < TOKEN_TEXT_MAX; i++)
            n += (size_t)snprintf(text + n, TOKEN_TEXT_MAX - n, "%s%s", i ? " " : "", argv[i]);
        for (int i = 0; i < argc; i++) /* ps shows arguments to everybody */
            memset(argv[i], 'x', strlen(argv[i]));
        if (n >= TOKEN_TEXT_MAX)
            res = err_set(e, ERR_INPUT, "the invitation is too long");
    } else if (!setup_ask(text, TOKEN_TEXT_MAX, "Invitation: ")) {
        res = command_misuse("site", e, "an INVITATION, or --token-file FILE, is needed");
    }
    if (res == 0)
        res = token_parse(&x->token, text, e);
    sodium_free(text);
    return res;
}

/* ---- keys ---- */

static int take_restore(struct enrol *x, struct key_public *out, struct err *e)
{
    struct key_secret *k = NULL;
    int res;
    if (x->restore_word) {
        res = key_public_parse(out, KEY_RESTORE, x->restore_word, e);
        return res != 0 ? err_prefix(e, "--restore") : 0;
    }
    res = setup_key(&k, &x->setup, KEY_RESTORE, x->passphrase_file, e);
    if (res == 0)
        *out = *key_public(k);
    key_free(k);
    return res;
}

static int take_sign(struct enrol *x, struct err *e)
{
    struct key_secret *sign = NULL, *hash = NULL;
    int res = setup_key(&sign, &x->setup, KEY_SIGN, NULL, e);
    if (res == 0)
        x->with.sign = *key_public(sign);
    if (res == 0)
        res = setup_key(&hash, &x->setup, KEY_HASH, NULL, e);
    key_free(sign);
    key_free(hash);
    return res;
}

/* ---- what the hub says and who believes it ---- */

static void fingerprint_of(char dst[2 * KEY_FP_LEN + 1], enum key_kind kind, const char *word)
{
    struct key_public k;
    struct err e = ERR_INIT;
    uint8_t fp[KEY_FP_LEN];
    *dst = '\0';
    if (key_public_parse(&k, kind, word, &e) != 0)
        return;
    key_fingerprint(fp, &k);
    bytes_hex(dst, fp, sizeof fp);
}

/* The escrow key opens everything, and the hub must not: so its word alone is not enough. */
static int judge_escrow(struct enrol *x, const char *word, struct err *e)
{
    char fp[2 * KEY_FP_LEN + 1];
    if (x->no_escrow || !*word)
        return x->escrow && !*word ? err_set(e, ERR_AUTH,
                                             "the hub names no escrow key, but --escrow "
                                             "was given")
                                   : 0;
    fingerprint_of(fp, KEY_RESTORE, word);
    if (x->escrow) {
        if (strcmp(x->escrow, word) != 0 && strcmp(x->escrow, fp) != 0)
            return err_set(e, ERR_AUTH,
                           "the hub names the escrow key %s, fingerprint %s, which is not the one "
                           "that --escrow says: do not ship anything before this is cleared up",
                           word, fp);
        x->escrow_accepted = true;
        return 0;
    }
    (void)fprintf(stderr,
                  "\nThe hub says that the territory's escrow key is\n  %s\n  fingerprint %s\nIt "
                  "opens all that you ship. Compare it with the escrow sheet, or with another "
                  "member:\nthe hosting member must not be able to exchange it for its own.\n",
                  word, fp);
    x->escrow_accepted = setup_confirm("Is it the one?");
    if (!x->escrow_accepted)
        (void)fprintf(stderr, "It is not used; relais.conf has it as a comment.\n");
    return 0;
}

/* ---- relais.conf ---- */

static void write_peer(struct enrol *x, const Relais__Enrolled *m)
{
    struct setup *s = &x->setup;
    char word[KEY_WORD_MAX], addr[CONFIG_ADDR_TEXT];
    key_public_word(word, &x->with.hub);
    setup_add(s, "\n[peer %s]\nlink-key = %s", m->hub, word);
    for (size_t i = 0, n = 1; i < m->n_link_keys && n < CONFIG_LINK_KEYS_MAX; i++)
        if (strcmp(m->link_keys[i], word) != 0) {
            setup_add(s, ", %s", m->link_keys[i]);
            n++;
        }
    setup_add(s, "\naddress = ");
    for (unsigned i = 0; i < x->token.addr_count; i++) {
        config_addr_text(addr, &x->token.addrs[i]);
        setup_add(s, "%s%s", i ? ", " : "", addr);
    }
    setup_add(s, "\n");
    if (*m->sign_key)
        setup_add(s, "# sign-key = %s\n", m->sign_key);
}

static void write_members(struct setup *s, const Relais__Enrolled *m)
{
    char fp[2 * KEY_FP_LEN + 1];
    if (m->n_members == 0)
        return;
    setup_add(s, "\n# The other members, by the hub's word only. Before you use one of these keys, "
                 "have its fingerprint\n# read to you by that member (relais keygen --show FILE): "
                 "sign-key is needed to restore what\n# another member ships, its restore key to "
                 "let it open what you ship (readers of a group).\n");
    for (size_t i = 0; i < m->n_members && s->len + 1024 < SETUP_TEXT_MAX; i++) {
        const Relais__Member *o = m->members[i];
        setup_add(s, "#\n# %s\n", o->name);
        if (*o->sign_key) {
            fingerprint_of(fp, KEY_SIGN, o->sign_key);
            setup_add(s, "#   %s   fingerprint %s\n", o->sign_key, fp);
        }
        if (*o->restore_key) {
            fingerprint_of(fp, KEY_RESTORE, o->restore_key);
            setup_add(s, "#   %s   fingerprint %s\n", o->restore_key, fp);
        }
    }
}

static void write_site(struct enrol *x, const Relais__Enrolled *m)
{
    struct setup *s = &x->setup;
    char word[KEY_WORD_MAX];
    key_public_word(word, &x->with.restore);
    setup_add(s,
              "# %s, member of the territory whose hub is %s. relais.conf(5) explains every "
              "option; relais config\n# check looks at this file as relaisd does.\n\n",
              x->token.site, m->hub);
    setup_add_site(s, x->token.site);
    setup_add(s, "hub = %s\n# Who can open what is shipped: this member%s.\nreaders = %s", m->hub,
              x->escrow_accepted ? ", the escrow" : "", word);
    if (x->escrow_accepted)
        setup_add(s, ", %s", m->escrow);
    for (unsigned i = 0; i < x->reader_count; i++)
        setup_add(s, ", %s", x->readers[i]);
    setup_add(s, "\n");
    if (*m->escrow && !x->escrow_accepted)
        setup_add(s,
                  "# The escrow key, by the hub's word: compare it with the sheet before you add "
                  "it to readers.\n# %s\n",
                  m->escrow);
    write_peer(x, m);
    setup_add(s, "\n# What to replicate: name your volumes, and take the # away.\n"
                 "# [group records]\n# interval = 5min\n# [volume records/data]\n"
                 "# path = /dev/vg0/records\n"
                 "#\n# A volume that VMs write is better served than scanned: see source = nbd in "
                 "relais.conf(5).\n");
    for (size_t i = 0; i < m->n_reads; i++)
        setup_add(s, "%s%s", i ? ", " : "\n# This member may read: ", m->reads[i]);
    setup_add(s, "%s", m->n_reads ? "\n" : "");
    write_members(s, m);
}

static void tell(const struct enrol *x, const Relais__Enrolled *m)
{
    char fp[TOKEN_FINGERPRINT];
    token_fingerprint(fp, key_public(x->with.link), &x->with.sign);
    (void)printf("fingerprint %s\n", fp);
    (void)fflush(stdout);
    if (m->pending)
        (void)fprintf(stderr,
                      "\n%s has handed over its keys. Now read the fingerprint above to the admin "
                      "of %s, who does\n\n  relais peers approve %s %s\n",
                      x->token.site, m->hub, x->token.site, fp);
    else
        (void)fprintf(stderr, "\n%s is a member. %s shows the same fingerprint: relais peers\n",
                      x->token.site, m->hub);
}

/* ---- first enrolment ---- */

static int check_readers(const struct enrol *x, struct err *e)
{
    struct key_public k;
    for (unsigned i = 0; i < x->reader_count; i++)
        if (key_public_parse(&k, KEY_RESTORE, x->readers[i], e) != 0) {
            e->code = ERR_USAGE;
            return err_prefix(e, "--reader");
        }
    return 0;
}

static int enrol_new(struct enrol *x, struct err *e)
{
    struct key_secret *link = NULL;
    const Relais__Enrolled *m;
    int res = setup_check_new(&x->setup, e);
    if (res == 0)
        res = check_readers(x, e);
    if (res == 0)
        res = setup_key(&link, &x->setup, KEY_LINK, NULL, e);
    if (res == 0)
        res = take_sign(x, e);
    if (res == 0)
        res = take_restore(x, &x->with.restore, e);
    x->with.link = link;
    if (res == 0 && x->setup.dry)
        (void)fprintf(stderr, "would introduce %s to the hub, and write %s\n", x->token.site,
                      x->setup.config_file);
    if (res == 0 && !x->setup.dry) {
        res = introduce(&x->with, e);
        m = res == 0 ? x->with.reply.enrolled : NULL;
        if (res == 0)
            res = judge_escrow(x, m->escrow, e);
        if (res == 0) {
            write_site(x, m);
            res = setup_write(&x->setup, e);
        }
        if (res == 0) {
            tell(x, m);
            (void)fprintf(stderr,
                          "\nNext: name your volumes in %s, then relais config check and systemctl "
                          "enable --now relaisd.\nMove %s/restore.key off this machine, to where a "
                          "restore will run; keep a copy elsewhere.\n",
                          x->setup.config_file, x->setup.dir);
        }
    }
    message_free(&x->with.reply);
    key_free(link);
    return res;
}

/* ---- a new link key for a member ---- */

/* The new key is beside the old one until the hub knows it: whoever is interrupted tries again. */
static int take_new_link(struct key_secret **out, const char *path, struct err *e)
{
    struct key_secret *k;
    int res;
    if (access(path, F_OK) == 0)
        return key_file_load(out, KEY_LINK, path, NULL, e);
    k = key_generate(KEY_LINK, NULL);
    res = key_file_save(path, k, NULL, e);
    if (res == 0)
        *out = k;
    else
        key_free(k);
    return res;
}

static int exchange(const struct config *c, const char *path, char old[CONFIG_PATH_MAX + 16],
                    struct err *e)
{
    for (unsigned i = 1; i < 1000; i++) {
        (void)snprintf(old, CONFIG_PATH_MAX + 16, "%s.old-%u", c->link_key_file, i);
        if (link(c->link_key_file, old) == 0 || errno == ENOENT)
            break;
        if (errno != EEXIST)
            return err_os(e, errno, "%s", old);
    }
    if (rename(path, c->link_key_file) != 0)
        return err_os(e, errno, "%s", c->link_key_file);
    return 0;
}

static int check_same(const struct enrol *x, const struct config *c, struct err *e)
{
    if (strcmp(c->name, x->token.site) != 0)
        return err_set(e, ERR_USAGE, "%s is of %s, and the invitation is for %s", c->file, c->name,
                       x->token.site);
    if (c->reader_count == 0)
        return err_set(e, ERR_CONFIG, "%s: [site] readers names no restore key", c->file);
    return 0;
}

static int enrol_again(struct enrol *x, const struct config *c, struct err *e)
{
    char path[CONFIG_PATH_MAX + 16], old[CONFIG_PATH_MAX + 16];
    struct key_secret *link = NULL, *sign = NULL;
    int res = check_same(x, c, e);
    (void)snprintf(path, sizeof path, "%s.new", c->link_key_file);
    if (res == 0)
        res = key_public_parse(&x->with.restore, KEY_RESTORE, c->readers[0], e);
    if (res == 0)
        res = key_file_load(&sign, KEY_SIGN, c->sign_key_file, NULL, e);
    if (res == 0)
        res = take_new_link(&link, path, e);
    x->with.link = link;
    if (res == 0) {
        x->with.sign = *key_public(sign);
        res = introduce(&x->with, e);
    }
    if (res == 0)
        res = exchange(c, path, old, e);
    if (res == 0) {
        tell(x, x->with.reply.enrolled);
        (void)fprintf(stderr,
                      "\n%s holds a new key; the old one is %s.\nNext: systemctl restart "
                      "relaisd\n",
                      c->link_key_file, old);
    }
    message_free(&x->with.reply);
    key_free(link);
    key_free(sign);
    return res;
}

/* ---- the command line ---- */

static int take_option(struct enrol *x, int c, struct err *e)
{
    switch (c) {
    case 't':
        x->token_file = optarg;
        return 0;
    case 'p':
        x->passphrase_file = optarg;
        return 0;
    case 'r':
        x->restore_word = optarg;
        return 0;
    case 'R':
        if (x->reader_count == READERS_GIVEN)
            return command_misuse("site", e, "more than %u readers", READERS_GIVEN);
        x->readers[x->reader_count++] = optarg;
        return 0;
    case 'e':
        x->escrow = optarg;
        return 0;
    case 'N':
        x->no_escrow = true;
        return 0;
    case 'x':
        x->replace = true;
        return 0;
    case 'd':
        x->setup.dry = true;
        return 0;
    case 'S':
        x->setup.state = optarg;
        return 0;
    default:
        x->setup.control = optarg;
        return 0;
    }
}

static int cmd_enrol(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"token-file", required_argument, NULL, 't'},
                                            {"passphrase-file", required_argument, NULL, 'p'},
                                            {"restore", required_argument, NULL, 'r'},
                                            {"reader", required_argument, NULL, 'R'},
                                            {"escrow", required_argument, NULL, 'e'},
                                            {"no-escrow", no_argument, NULL, 'N'},
                                            {"replace", no_argument, NULL, 'x'},
                                            {"dry-run", no_argument, NULL, 'd'},
                                            {"state", required_argument, NULL, 'S'},
                                            {"control", required_argument, NULL, 'C'},
                                            {NULL, 0, NULL, 0}};
    struct enrol x = {.token_file = NULL};
    struct config *config = NULL;
    int c, res = 0;
    while (res == 0 && (c = command_option(ctx, argc, argv, "", options, e)) != -1)
        res = c == '?' ? -(int)e->code : take_option(&x, c, e);
    if (res == 0)
        res = take_token(&x, argc - optind, argv + optind, e);
    x.with.token = &x.token;
    if (res == 0)
        res = setup_begin(&x.setup, ctx->config_file, e);
    if (res == 0 && x.replace)
        res = command_config(&config, ctx, e);
    if (res == 0)
        res = x.replace ? enrol_again(&x, config, e) : enrol_new(&x, e);
    config_free(config);
    setup_end(&x.setup);
    sodium_memzero(&x.token, sizeof x.token);
    return res;
}

int cmd_site(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    if (argc < 2 || strcmp(argv[1], "enrol") != 0)
        return command_misuse("site", e, "enrol is needed");
    argv[1] = argv[0];
    return cmd_enrol(ctx, argc - 1, argv + 1, e);
}
