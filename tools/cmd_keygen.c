/* relais keygen: makes key files; shows the public words that go into configurations. */
#include "command.h"
#include "key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void print_public(const struct key_secret *k)
{
    char word[KEY_WORD_MAX];
    if (key_kind(k) == KEY_HASH)
        return; /* it has no public half */
    key_public_word(word, key_public(k));
    (void)puts(word);
}

static int make(enum key_kind kind, const char *path, struct err *e)
{
    struct key_secret *k = key_generate(kind, NULL);
    int res = key_file_save(path, k, e);
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
        res = make((enum key_kind)k, path, e);
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
    static const char before[] = "relais key 1\nkind ";
    char text[64] = "";
    enum key_kind kind = KEY_LINK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        (void)close(fd);
    if (n > (ssize_t)sizeof before && memcmp(text, before, sizeof before - 1) == 0) {
        char *word = text + sizeof before - 1;
        word[strcspn(word, "\n")] = '\0';
        if (key_kind_parse(word, &kind) != 0)
            kind = KEY_LINK;
    }
    explicit_bzero(text, sizeof text);
    return kind;
}

static int show(const char *path, struct err *e)
{
    struct key_secret *k = NULL;
    uint8_t fp[KEY_FP_LEN];
    int res = key_file_load(&k, kind_of(path), path, e);
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

int cmd_keygen(struct command_context *ctx, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"show", no_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    bool showing = false;
    enum key_kind kind;
    int c;
    while ((c = command_option(ctx, argc, argv, "", options, e)) != -1) {
        if (c == '?')
            return -(int)e->code;
        showing = true;
    }
    argc -= optind;
    argv += optind;
    if (showing)
        return argc == 1 ? show(argv[0], e) : command_misuse("keygen", e, "--show needs one FILE");
    if (argc != 2)
        return command_misuse("keygen", e, "two arguments are needed");
    if (strcmp(argv[0], "all") == 0)
        return make_all(argv[1], e);
    if (key_kind_parse(argv[0], &kind) != 0)
        return command_misuse("keygen", e, "\"%.40s\" is no kind of key", argv[0]);
    return make(kind, argv[1], e);
}
