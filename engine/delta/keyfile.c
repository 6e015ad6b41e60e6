/* The text of key files. Secrets pass through the caller's buffer, locked memory and nothing else;
 * no message ever quotes the secret line. */
#include "bounds.h"
#include "key_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#define FIRST_LINE "relais key 1"
#define BASE64_LEN 44 /* of 32 bytes, padded */

size_t key_file_text(char *dst, size_t cap, const struct key_secret *k)
{
    char word[KEY_WORD_MAX];
    int n;
    key_public_word(word, &k->pub);
    n = snprintf(dst, cap, FIRST_LINE "\nkind %s\npublic %s\nsecret ", key_kind_name(k->pub.kind),
                 word);
    ASSERT(n > 0 && (size_t)n + BASE64_LEN + 2 <= cap);
    (void)sodium_bin2base64(dst + n, cap - (size_t)n, k->secret, KEY_LEN,
                            sodium_base64_VARIANT_ORIGINAL);
    n += BASE64_LEN;
    dst[n++] = '\n';
    dst[n] = '\0';
    return (size_t)n;
}

struct lines {
    const char *name, *at, *end;
    int number;
};

/* The next line, which must start with `word` and a space (or be `word`, with no value wanted). */
static int line_take(struct lines *l, const char *word, const char **value, size_t *len,
                     struct err *e)
{
    size_t left = (size_t)(l->end - l->at), n = strlen(word);
    const char *eol = memchr(l->at, '\n', left);
    l->number++;
    if (!eol)
        return err_set(e, ERR_INPUT, "%s:%d: the file ends here, but a line \"%s%s\" should follow",
                       l->name, l->number, word, value ? " ..." : "");
    left = (size_t)(eol - l->at);
    if (left < n || memcmp(l->at, word, n) != 0 ||
        (value ? left == n || l->at[n] != ' ' : left != n))
        return err_set(e, ERR_INPUT,
                       "%s:%d: this line should be \"%s%s\"; is it a key file that \"relais "
                       "keygen\" wrote?",
                       l->name, l->number, word, value ? " ..." : "");
    if (value) {
        *value = l->at + n + 1;
        *len = left - n - 1;
    }
    l->at = eol + 1;
    return 0;
}

/* Copies a value to a string; -1 when it is too long or holds a NUL. */
static int value_copy(char *dst, size_t cap, const char *value, size_t len)
{
    if (len >= cap || memchr(value, '\0', len))
        return -1;
    memcpy(dst, value, len);
    dst[len] = '\0';
    return 0;
}

static int parse_kind(struct lines *l, enum key_kind want, struct err *e)
{
    const char *value = NULL;
    char word[16];
    size_t len = 0;
    enum key_kind kind;
    int rc = line_take(l, "kind", &value, &len, e);
    if (rc)
        return rc;
    if (value_copy(word, sizeof word, value, len) != 0 || key_kind_parse(word, &kind) != 0)
        return err_set(e, ERR_INPUT, "%s:%d: the kind should be link, sign, restore or hash",
                       l->name, l->number);
    if (kind != want)
        return err_set(e, ERR_INPUT, "%s:%d: this is a %s key, but here a %s key is needed",
                       l->name, l->number, word, key_kind_name(want));
    return 0;
}

static int parse_public(struct lines *l, enum key_kind want, struct key_public *out, struct err *e)
{
    const char *value = NULL;
    char word[KEY_WORD_MAX];
    size_t len = 0;
    int rc = line_take(l, "public", &value, &len, e);
    if (rc)
        return rc;
    if (value_copy(word, sizeof word, value, len) != 0)
        return err_set(e, ERR_INPUT, "%s:%d: the public key is too long or not text", l->name,
                       l->number);
    if (key_public_parse(out, want, word, e) != 0)
        return err_prefix(e, "%s:%d", l->name, l->number);
    return 0;
}

/* Fills k from the secret line, then holds it against the public line. */
static int parse_secret(struct lines *l, const struct key_public *pub, struct key_secret *k,
                        struct err *e)
{
    const char *value = NULL;
    size_t len = 0;
    uint8_t core[KEY_LEN];
    int rc = line_take(l, "secret", &value, &len, e);
    if (rc)
        return rc;
    rc = len == BASE64_LEN ? key_base64(core, value, len) : -1;
    if (rc == 0)
        key_secret_fill(k, core);
    sodium_memzero(core, sizeof core);
    if (rc)
        return err_set(e, ERR_INPUT,
                       "%s:%d: the secret should be 44 characters of base64 (32 bytes)", l->name,
                       l->number);
    if (l->at != l->end)
        return err_set(e, ERR_INPUT, "%s:%d: nothing may follow the secret line", l->name,
                       l->number + 1);
    if (memcmp(k->pub.b, pub->b, KEY_LEN) != 0)
        return err_set(e, ERR_INPUT,
                       "%s: the public and the secret line do not belong together; the file is "
                       "damaged or was edited",
                       l->name);
    return 0;
}

int key_file_parse(struct key_secret **out, enum key_kind want, const char *name, const char *text,
                   size_t len, struct err *e)
{
    struct lines l = {name, text, text + len, 0};
    struct key_public pub;
    struct key_secret *k;
    int rc;
    if (len > KEY_FILE_MAX)
        return err_set(e, ERR_INPUT, "%s: %zu bytes are too many for a key file (at most %u)", name,
                       len, KEY_FILE_MAX);
    if ((rc = line_take(&l, FIRST_LINE, NULL, NULL, e)) || (rc = parse_kind(&l, want, e)) ||
        (rc = parse_public(&l, want, &pub, e)))
        return rc;
    k = key_secret_alloc(want);
    rc = parse_secret(&l, &pub, k, e);
    if (rc) {
        key_free(k);
        return rc;
    }
    *out = k;
    return 0;
}

/* A new name is durable only once its directory is. */
static int sync_dir_of(const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char dir[4096] = ".";
    int fd, rc = 0;
    if (slash) {
        size_t n = slash == path ? 1 : (size_t)(slash - path);
        if (n >= sizeof dir)
            return err_os(e, ENAMETOOLONG, "%s", path);
        memcpy(dir, path, n);
        dir[n] = '\0';
    }
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_os(e, errno, "cannot open the directory %s to make %s durable", dir, path);
    if (fsync(fd) != 0)
        rc = err_os(e, errno, "cannot make %s durable in its directory", path);
    (void)close(fd);
    return rc;
}

static int write_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int key_file_save(const char *path, const struct key_secret *k, struct err *e)
{
    char *text = NULL;
    size_t len;
    int rc = 0, os = 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return err_set(e, ERR_EXISTS,
                       "%s exists and is not overwritten: a lost key cannot be made again; move "
                       "it away first",
                       path);
    if (fd < 0)
        return err_os(e, errno, "cannot create the key file %s", path);
    text = sodium_malloc(KEY_FILE_MAX);
    ASSERT(text);
    len = key_file_text(text, KEY_FILE_MAX, k);
    if (fchmod(fd, 0600) != 0)
        os = errno;
    if (!os)
        os = write_all(fd, text, len);
    if (!os && fsync(fd) != 0)
        os = errno;
    if (close(fd) != 0 && !os)
        os = errno;
    sodium_free(text);
    rc = os ? err_os(e, os, "cannot write the key file %s", path) : sync_dir_of(path, e);
    if (rc)
        (void)unlink(path);
    return rc;
}

/* What the file system says of the opened file, not of its name: a symbolic link from /etc is fine,
 * and nothing can be swapped between the check and the read. */
static int check_owner_and_mode(int fd, const char *path, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_os(e, errno, "cannot look at the key file %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_AUTH, "%s is not a regular file; a key file must be one", path);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return err_set(e, ERR_AUTH,
                       "the key file %s belongs to user %u; it must belong to root or to the user "
                       "that reads it (chown %u %s)",
                       path, (unsigned)st.st_uid, (unsigned)geteuid(), path);
    if (st.st_mode & 077)
        return err_set(e, ERR_AUTH,
                       "the key file %s may be used by others (mode %04o); do: chmod 600 %s", path,
                       (unsigned)(st.st_mode & 07777), path);
    return 0;
}

static int read_text(int fd, const char *path, char *dst, size_t cap, size_t *len, struct err *e)
{
    *len = 0;
    while (*len < cap) {
        ssize_t n = read(fd, dst + *len, cap - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_os(e, errno, "cannot read the key file %s", path);
        if (n == 0)
            break;
        *len += (size_t)n;
    }
    return 0;
}

int key_file_load(struct key_secret **out, enum key_kind want, const char *path, struct err *e)
{
    size_t len = 0;
    char *text;
    int rc;
    /* O_NONBLOCK: opening a FIFO by mistake must not hang. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return err_os(e, errno, "cannot open the key file %s", path);
    text = sodium_malloc(KEY_FILE_MAX + 1); /* one more, so that a longer file shows */
    ASSERT(text);
    rc = check_owner_and_mode(fd, path, e);
    if (!rc)
        rc = read_text(fd, path, text, KEY_FILE_MAX + 1, &len, e);
    if (!rc)
        rc = key_file_parse(out, want, path, text, len, e);
    sodium_free(text);
    (void)close(fd);
    return rc;
}
