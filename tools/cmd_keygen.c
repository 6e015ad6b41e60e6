/* relais keygen: makes key files; shows the public words that go into configurations. */
#include "command.h"
#include "passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

struct keygen {
    bool showing, changing, passphrase;
    const char *passphrase_file, *new_passphrase_file;
};

static void print_public(const struct key_secret *k)
{
    char word[KEY_WORD_MAX];
    if (key_kind(k) == KEY_HASH)
        return; /* it has no public half */
    key_public_word(word, key_public(k));
    (void)puts(word);
}

static int make(enum key_kind kind, const char *path, const struct key_passphrase *pass,
                struct err *e)
{
    struct key_secret *k = key_generate(kind, NULL);
    int res = key_file_save(path, k, pass, e);
    if (res == 0)
        print_public(k);
    key_free(k);
    return res;
}

/* All four, or none: a directory that holds one of them already is left alone. */
static int make_all(const char *dir, struct err *e)
{
    char path[4096];
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_os(e, errno, "%s", dir);
    for (int k = 0; k < KEY_KINDS; k++) {
        int n = snprintf(path, sizeof path, "%s/%s.key", dir, key_kind_name((enum key_kind)k));
        if (n < 0 || (size_t)n >= sizeof path)
            return err_set(e, ERR_USAGE, "%.60s...: the path is too long", dir);
        if (lstat(path, &st) == 0)
            return err_set(e, ERR_EXISTS, "%s exists; nothing was made. Keys are never overwritten",
                           path);
    }
    for (int k = 0; k < KEY_KINDS; k++) {
        int res;
        (void)snprintf(path, sizeof path, "%s/%s.key", dir, key_kind_name((enum key_kind)k));
        res = make((enum key_kind)k, path, NULL, e);
        if (res != 0)
            return res;
    }
    (void)fflush(stdout);
    (void)fprintf(
        stderr,
        "relais: restore.key opens what the site ships: move it off this machine, to where a "
        "restore will run\n");
    return 0;
}

/* The kind that a key file says it is of; KEY_LINK when it says nothing sensible: loading it then
 * explains what is wrong. */
static enum key_kind kind_of(const char *path)
{
    static const char before[] = "relais key N\nkind ";
    char text[64] = "";
    enum key_kind kind = KEY_LINK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        (void)close(fd);
    if (n > (ssize_t)sizeof before && memcmp(text, before, 11) == 0 &&
        memcmp(text + 12, before + 12, sizeof before - 13) == 0) {
        char *word = text + sizeof before - 1;
        word[strcspn(word, "\n")] = '\0';
        if (key_kind_parse(word, &kind) != 0)
            kind = KEY_LINK;
    }
    explicit_bzero(text, sizeof text);
    return kind;
}

static int show(const struct keygen *g, const char *path, struct err *e)
{
    struct passphrase_source source = {g->passphrase_file, "passphrase"};
    const struct key_asker asker = passphrase_asker(&source);
    struct key_secret *k = NULL;
    uint8_t fp[KEY_FP_LEN];
    int res = key_file_load(&k, kind_of(path), path, &asker, e);
    if (res != 0)
        return res;
    if (key_kind(k) == KEY_HASH) {
        (void)puts("hash: a secret without a public half");
    } else {
        print_public(k);
        key_fingerprint(fp, key_public(k));
        (void)printf("fingerprint ");
        for (size_t i = 0; i < sizeof fp; i++)
            (void)printf("%02x", fp[i]);
        (void)printf("\n");
    }
    key_free(k);
    return 0;
}

/* Runs with a new passphrase for path, from a file or typed. */
static int with_new(const char *path, const char *file, const char *use,
                    int (*run)(void *arg, const char *path, const struct key_passphrase *pass,
                               struct err *e),
                    void *arg, struct err *e)
{
    const struct passphrase_source source = {file, use};
    struct key_passphrase pass = {0};
    char *text = NULL;
    int res = passphrase_new(&text, &pass.len, &source, path, e);
    if (res != 0)
        return res;
    pass.text = text;
    res = run(arg, path, &pass, e);
    sodium_free(text);
    return res;
}

static int make_sealed(void *arg, const char *path, const struct key_passphrase *pass,
                       struct err *e)
{
    (void)arg;
    return make(KEY_RESTORE, path, pass, e);
}

static int replace(void *key, const char *path, const struct key_passphrase *pass, struct err *e)
{
    int res = key_file_replace(path, key, pass, e);
    if (res == 0)
        (void)printf("%s: its passphrase is a new one; copies of the old file still open with the "
                     "old one\n",
                     path);
    return res;
}

static int change(const struct keygen *g, const char *path, struct err *e)
{
    struct passphrase_source source = {g->passphrase_file, "present passphrase"};
    const struct key_asker asker = passphrase_asker(&source);
    struct key_secret *k = NULL;
    int res = key_file_load(&k, KEY_RESTORE, path, &asker, e);
    if (res == 0)
        res = with_new(path, g->new_passphrase_file, "new passphrase", replace, k, e);
    key_free(k);
    return res;
}

static int make_what(const struct keygen *g, char **argv, struct err *e)
{
    enum key_kind kind;
    if (strcmp(argv[0], "all") == 0 && !g->passphrase)
        return make_all(argv[1], e);
    if (strcmp(argv[0], "all") != 0 && key_kind_parse(argv[0], &kind) != 0)
        return command_misuse("keygen", e, "\"%.40s\" is no kind of key", argv[0]);
    if (!g->passphrase)
        return make(kind, argv[1], NULL, e);
    if (strcmp(argv[0], "all") == 0 || kind != KEY_RESTORE)
        return command_misuse("keygen", e,
                              "--passphrase is for restore keys: a daemon that starts by itself "
                              "can type none");
    return with_new(argv[1], g->passphrase_file, "new passphrase", make_sealed, NULL, e);
}

int cmd_keygen(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"show", no_argument, NULL, 's'},
                                            {"passphrase", no_argument, NULL, 'p'},
                                            {"change-passphrase", no_argument, NULL, 'h'},
                                            {"passphrase-file", required_argument, NULL, 'f'},
                                            {"new-passphrase-file", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    struct keygen g = {0};
    int c;
    while ((c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        g.showing |= c == 's';
        g.changing |= c == 'h';
        g.passphrase |= c == 'p';
        if (c == 'f')
            g.passphrase_file = optarg;
        if (c == 'n')
            g.new_passphrase_file = optarg;
    }
    argc -= optind;
    argv += optind;
    if (g.showing || g.changing)
        return argc != 1   ? command_misuse("keygen", e, "--%s needs one FILE",
                                          g.showing ? "show" : "change-passphrase")
               : g.showing ? show(&g, argv[0], e)
                           : change(&g, argv[0], e);
    if (argc != 2)
        return command_misuse("keygen", e, "two arguments are needed");
    return make_what(&g, argv, e);
}
