/* Opening, locking and closing a dir store. */
#include "dir.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char format[] = "relais store 1\n";

int dir_fail(struct err *e, int os, const char *what, const char *path)
{
    int r = err_os(e, os, "store: %s %s", what, path);
    if (e->code == ERR_SPACE) {
        size_t n = strlen(e->text);
        (void)snprintf(e->text + n, sizeof e->text - n, "; free space there, or shorten retention");
    } else if (e->code == ERR_OS) { /* too many open files, no memory: it may pass */
        e->code = ERR_AGAIN;
        r = -(int)ERR_AGAIN;
    } else if (e->code != ERR_NOENT && e->code != ERR_CANCELED) {
        e->code = ERR_IO;
        r = -(int)ERR_IO;
    }
    return r;
}

static int lock_root(struct dir_store *s, struct err *e)
{
    char path[DIR_PATH_MAX];
    int r;
    (void)snprintf(path, sizeof path, "%s/lock", s->root);
    r = fio_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (r < 0)
        return dir_fail(e, r, "opening", path);
    s->lock_fd = r;
    r = fio_lock(s->lock_fd);
    if (r == -EWOULDBLOCK)
        return err_set(e, ERR_AGAIN,
                       "store: %s is open in another process (it holds %s, so that two hubs never "
                       "move one head); stop that one, or give this hub a store of its own",
                       s->root, path);
    return r < 0 ? dir_fail(e, r, "locking", path) : 0;
}

/* Knows a store by its format file; makes one where there is none. */
static int check_format(struct dir_store *s, struct err *e)
{
    char path[DIR_PATH_MAX];
    void *text;
    size_t len;
    int r;
    (void)snprintf(path, sizeof path, "%s/format", s->root);
    r = fio_load_file(path, 256, &text, &len, e);
    if (r == -(int)ERR_NOENT)
        return fio_replace_file(path, format, sizeof format - 1, 0600, e);
    if (r)
        return r;
    if (len != sizeof format - 1 || memcmp(text, format, len) != 0)
        r = err_set(
            e, ERR_IO,
            "store: %s says '%.40s', not '%.14s': it was written by another version of relais",
            path, (const char *)text, format);
    free(text);
    return r;
}

/* What was being put when an earlier process ended. */
static int clear_tmp(struct dir_store *s, struct err *e)
{
    char dir[DIR_PATH_MAX], path[DIR_PATH_MAX + 300];
    struct io_names names;
    int r;
    (void)snprintf(dir, sizeof dir, "%s/tmp", s->root);
    r = fio_mkdirs(dir, 0700);
    if (r < 0)
        return dir_fail(e, r, "making", dir);
    r = fio_list(dir, &names);
    if (r < 0)
        return dir_fail(e, r, "listing", dir);
    if (names.count)
        log_info("store %s: removing %zu unfinished objects", s->root, names.count);
    for (size_t i = 0; r >= 0 && i < names.count; i++) {
        (void)snprintf(path, sizeof path, "%s/%.255s", dir, names.names[i]);
        r = fio_unlink(path);
        if (r == -ENOENT)
            r = 0;
    }
    io_names_free(&names);
    return r < 0 ? dir_fail(e, r, "removing", path) : 0;
}

static void dir_close(struct store *store)
{
    struct dir_store *s = dir_of(store);
    ASSERT(s->gate.ops == 0 && s->reads.ops == 0);
    dir_nodes_free(s);
    fio_close_always(s->lock_fd);
    free(s);
}

static const struct store_ops dir_ops = {
    .put = dir_put,
    .get = dir_get,
    .size = dir_size,
    .list = dir_list,
    .remove = dir_remove,
    .head = dir_head,
    .move_head = dir_move_head,
    .catalog = dir_catalog,
    .generation = dir_generation,
    .splice = dir_splice,
    .groups = dir_groups,
    .claim = dir_claim,
    .move_claim = dir_move_claim,
    .close = dir_close,
};

int store_dir_open(struct store **out, const char *root, struct err *e)
{
    struct dir_store *s;
    size_t len = strlen(root);
    int r;
    while (len > 1 && root[len - 1] == '/')
        len--;
    if (len == 0 || len >= DIR_ROOT_MAX)
        return err_set(e, ERR_IO, "store: the path '%.80s' has %zu bytes; 1 to %u are possible",
                       root, len, DIR_ROOT_MAX - 1);
    s = err_calloc(1, sizeof *s);
    s->store.ops = &dir_ops;
    s->lock_fd = -1;
    s->gate.ops_max = DIR_PUTS_MAX;
    s->gate.bytes_max = DIR_PUTS_MAX * PART_SIZE;
    s->reads.ops_max = DIR_GETS_MAX;
    memcpy(s->root, root, len);
    r = fio_mkdirs(s->root, 0700);
    r = r < 0 ? dir_fail(e, r, "making", s->root) : 0;
    if (r == 0)
        r = lock_root(s, e);
    if (r == 0)
        r = check_format(s, e);
    if (r == 0)
        r = clear_tmp(s, e);
    if (r) {
        dir_close(&s->store);
        return r;
    }
    *out = &s->store;
    return 0;
}
