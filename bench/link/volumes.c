#include "volumes.h"

#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define CHUNK ((size_t)(4 * MIB))

static void image(char *dst, const struct stage *s, const char *name)
{
    char file[NAME_MAX_LEN + 8];
    (void)snprintf(file, sizeof file, "%s.img", name);
    (void)stage_path(s, dst, file);
}

static int check_space(const char *dir, uint64_t bytes, struct err *e)
{
    struct statvfs v;
    if (statvfs(dir, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < bytes)
        return err_set(e, ERR_SPACE, "%s has room for %llu MiB, a volume takes %llu: give --dir",
                       dir, (unsigned long long)((uint64_t)v.f_bavail * v.f_frsize / MIB),
                       (unsigned long long)(bytes / MIB));
    return 0;
}

static int fill(int fd, const struct workload *w, const char *path, struct err *e)
{
    uint64_t end = workload_filled(w);
    void *buf = err_malloc(CHUNK);
    int rc = 0;
    for (uint64_t at = 0; at < end && rc == 0; at += CHUNK) {
        size_t len = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
        workload_before(w, buf, len, at);
        if (pwrite(fd, buf, len, (off_t)at) != (ssize_t)len)
            rc = err_os(e, errno, "%s", path);
        else if (child_pause(0) != 0)
            rc = err_set(e, ERR_CANCELED, "interrupted");
    }
    free(buf);
    return rc;
}

int volumes_make(const struct stage *s, struct workload_spec *spec, struct err *e)
{
    char path[STAGE_PATH];
    struct workload *w = NULL;
    int fd, rc = workload_new(&w, spec, e);
    if (rc < 0)
        return rc;
    spec->size = workload_size(w);
    image(path, s, spec->name);
    rc = check_space(s->dir, spec->size, e);
    fd = rc == 0 ? open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (rc == 0 && (fd < 0 || ftruncate(fd, (off_t)spec->size) < 0))
        rc = err_os(e, errno, "%s", path);
    if (rc == 0)
        rc = fill(fd, w, path, e);
    if (fd >= 0 && fsync(fd) < 0 && rc == 0)
        rc = err_os(e, errno, "%s", path);
    if (fd >= 0)
        (void)close(fd);
    workload_free(w);
    return rc;
}

int volumes_equal(bool *equal, const char *a, const char *b, struct err *e)
{
    uint8_t *buf = err_malloc(2 * CHUNK);
    int fa = open(a, O_RDONLY | O_CLOEXEC), fb = open(b, O_RDONLY | O_CLOEXEC), rc = 0;
    ssize_t na = 1, nb;
    *equal = true;
    if (fa < 0 || fb < 0)
        rc = err_os(e, errno, "%s", fa < 0 ? a : b);
    while (rc == 0 && *equal && na > 0) {
        na = read(fa, buf, CHUNK);
        nb = read(fb, buf + CHUNK, CHUNK);
        if (na < 0 || nb < 0)
            rc = err_os(e, errno, "%s", na < 0 ? a : b);
        else if (na != nb || memcmp(buf, buf + CHUNK, (size_t)na) != 0)
            *equal = false;
        if (rc == 0 && child_pause(0) != 0)
            rc = err_set(e, ERR_CANCELED, "interrupted");
    }
    if (fa >= 0)
        (void)close(fa);
    if (fb >= 0)
        (void)close(fb);
    free(buf);
    return rc;
}

pid_t volumes_serve_plain(const struct stage *s, const struct workload_spec *spec,
                          const char *socket, const char **server, struct err *e)
{
    char path[STAGE_PATH], log[STAGE_PATH], file[STAGE_PATH + 8];
    char *nbdkit[] = {(char[]){"nbdkit"},
                      (char[]){"-f"},
                      (char[]){"-U"},
                      (char *)(uintptr_t)socket,
                      (char[]){"file"},
                      file,
                      NULL};
    char *qemu[] = {(char[]){"qemu-nbd"},
                    (char[]){"-f"},
                    (char[]){"raw"},
                    (char[]){"-k"},
                    (char *)(uintptr_t)socket,
                    (char[]){"-t"},
                    (char[]){"-x"},
                    (char *)(uintptr_t)spec->name,
                    path,
                    NULL};
    char *const *const tried[] = {nbdkit, qemu};
    const struct child_how how = {.netns = -1, .log = stage_path(s, log, "plain.log"), .out = -1};
    image(path, s, spec->name);
    (void)snprintf(file, sizeof file, "file=%s", path);
    for (size_t i = 0; i < 2; i++) {
        pid_t pid = child_start(&how, tried[i], e);
        int status = 0;
        if (pid < 0)
            return -1;
        for (unsigned ms = 0; ms < 5000 && access(socket, F_OK) != 0; ms += 20) {
            if (child_pause(20) != 0) {
                child_end(pid, 0);
                (void)err_set(e, ERR_CANCELED, "interrupted");
                return -1;
            }
            if (child_ended(pid, &status)) {
                pid = -1;
                break;
            }
        }
        if (pid > 0) {
            *server = i == 0 ? "nbdkit" : "qemu-nbd";
            return pid;
        }
    }
    return -1;
}
