/* Key files: who may use them, and how they are replaced. What is in them is keytext.c's. Secrets
 * pass through locked memory and nothing else. */
#include "bounds.h"
#include "key_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

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

/* The text of the key, written to a file that was created for it; closes fd. */
static int fill(int fd, const char *path, const struct key_secret *k,
                const struct key_passphrase *pass, struct err *e)
{
    char *text = sodium_malloc(KEY_FILE_MAX);
    size_t len = 0;
    int rc, os = 0;
    ASSERT(text);
    rc = key_file_text(text, KEY_FILE_MAX, &len, k, pass, e);
    if (rc == 0 && fchmod(fd, 0600) != 0)
        os = errno;
    if (rc == 0 && !os)
        os = write_all(fd, text, len);
    if (rc == 0 && !os && fsync(fd) != 0)
        os = errno;
    if (close(fd) != 0 && !os)
        os = errno;
    sodium_free(text);
    return rc == 0 && os ? err_os(e, os, "cannot write the key file %s", path) : rc;
}

int key_file_save(const char *path, const struct key_secret *k, const struct key_passphrase *pass,
                  struct err *e)
{
    int rc, fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return err_set(e, ERR_EXISTS,
                       "%s exists and is not overwritten: a lost key cannot be made again; move "
                       "it away first",
                       path);
    if (fd < 0)
        return err_os(e, errno, "cannot create the key file %s", path);
    rc = fill(fd, path, k, pass, e);
    if (rc == 0)
        rc = sync_dir_of(path, e);
    if (rc)
        (void)unlink(path);
    return rc;
}

int key_file_replace(const char *path, const struct key_secret *k,
                     const struct key_passphrase *pass, struct err *e)
{
    char beside[4096];
    int fd, rc, n = snprintf(beside, sizeof beside, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof beside)
        return err_os(e, ENAMETOOLONG, "%.200s", path);
    fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return err_set(e, ERR_EXISTS,
                       "%s exists, of an attempt that broke off perhaps: remove it if %s still "
                       "holds the key",
                       beside, path);
    if (fd < 0)
        return err_os(e, errno, "cannot create %s", beside);
    rc = fill(fd, beside, k, pass, e);
    if (rc == 0 && rename(beside, path) != 0)
        rc = err_os(e, errno, "cannot replace the key file %s", path);
    if (rc)
        (void)unlink(beside);
    return rc ? rc : sync_dir_of(path, e);
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

int key_file_load(struct key_secret **out, enum key_kind want, const char *path,
                  const struct key_asker *asker, struct err *e)
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
        rc = key_file_parse(out, want, path, text, len, asker, e);
    sodium_free(text);
    (void)close(fd);
    return rc;
}
