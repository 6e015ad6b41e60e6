/* Objects as files. */
#include "bulk.h"
#include "dir.h"
#include "store_name.h"
#include "store_pick.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MERGED 3u /* characters of the last directory that go into the file's name */

/* "G/D/F" is kept as "G/D-without-the-end+/end+F". '+' is in no name: it tells these directories
 * and files from others, and leads the way back (walk_file). */
void dir_object_path(const struct dir_store *s, const char *site, const char *name, char *dir,
                     char *path)
{
    const char *leaf = strrchr(name, '/'), *last;
    int stem = leaf ? (int)(leaf - name) : 0;
    (void)snprintf(dir, DIR_PATH_MAX, "%s/sites/%s/objects", s->root, site);
    if (!leaf) {
        (void)snprintf(path, DIR_PATH_MAX, "%s/%s", dir, name);
        return;
    }
    last = memrchr(name, '/', (size_t)stem);
    last = last ? last + 1 : name;
    if (leaf - last > (ptrdiff_t)MERGED) {
        stem -= (int)MERGED;
        (void)snprintf(dir, DIR_PATH_MAX, "%s/sites/%s/objects/%.*s+", s->root, site, stem, name);
        (void)snprintf(path, DIR_PATH_MAX, "%s/%.*s+%s", dir, (int)MERGED, leaf - MERGED, leaf + 1);
    } else {
        (void)snprintf(dir, DIR_PATH_MAX, "%s/sites/%s/objects/%.*s", s->root, site, stem, name);
        (void)snprintf(path, DIR_PATH_MAX, "%s/%s", dir, leaf + 1);
    }
}

static int write_tmp(const char *path, const void *data, size_t len)
{
    struct bulk file;
    int r = bulk_open(&file, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (r < 0)
        return r;
    r = bulk_write_all(&file, data, len, 0);
    if (r >= 0)
        r = bulk_sync(&file);
    bulk_close_always(&file);
    return r < 0 ? r : 0;
}

static int put_new(struct dir_store *s, struct dir_node *n, const char *path, const void *data,
                   size_t len, struct err *e)
{
    char tmp[DIR_PATH_MAX];
    int r;
    (void)snprintf(tmp, sizeof tmp, "%s/tmp/%016" PRIx64, s->root, s->next_tmp++);
    r = write_tmp(tmp, data, len);
    if (r < 0) {
        (void)fio_unlink_always(tmp);
        return dir_fail(e, r, "writing", path);
    }
    dir_node_rename_begin(n);
    r = fio_rename(tmp, path);
    if (r < 0)
        (void)fio_unlink_always(tmp);
    r = dir_node_rename_end(n, r);
    if (r == -ENOENT)
        return err_set(e, ERR_IO, "store: %s was removed while it was being written to", n->path);
    return r < 0 ? dir_fail(e, r, "naming", path) : 0;
}

int dir_put(struct store *store, const char *site, const char *name, const void *data, size_t len,
            struct err *e)
{
    struct dir_store *s = dir_of(store);
    char dir[DIR_PATH_MAX], path[DIR_PATH_MAX];
    struct io_stat st;
    struct dir_node *n;
    int r = store_name_object(site, name, e);
    if (r)
        return r;
    if (len > PART_SIZE)
        return err_set(e, ERR_LIMIT,
                       "store: object %s has %zu bytes; at most %" PRIu64 " are allowed", name, len,
                       PART_SIZE);
    dir_object_path(s, site, name, dir, path);
    r = store_gate_enter(&s->gate, len);
    if (r < 0)
        return dir_fail(e, r, "writing", path);
    n = dir_node_get(s, dir);
    r = dir_node_make(s, n);
    if (r < 0) {
        r = dir_fail(e, r, "making", dir);
        goto out;
    }
    r = fio_stat(path, &st);
    if (r >= 0 && st.is_file && st.size == len) {
        /* It is there, but maybe nobody has synced its name. */
        r = dir_node_settle(n);
        r = r < 0 ? dir_fail(e, r, "syncing", dir) : 0;
    } else if (r < 0 && r != -ENOENT) {
        r = dir_fail(e, r, "looking at", path);
    } else {
        r = put_new(s, n, path, data, len, e);
    }
out:
    dir_node_put(s, n);
    store_gate_leave(&s->gate, len);
    return r;
}

static int read_range(const char *path, uint64_t off, void *buf, size_t len)
{
    int fd = fio_open(path, O_RDONLY | O_CLOEXEC, 0), r;
    if (fd < 0)
        return fd;
    r = fio_read_all(fd, buf, len, off);
    fio_close_always(fd);
    return r;
}

int dir_get(struct store *store, const char *site, const char *name, uint64_t off, void *buf,
            size_t len, struct err *e)
{
    struct dir_store *s = dir_of(store);
    char dir[DIR_PATH_MAX], path[DIR_PATH_MAX];
    int r = store_name_object(site, name, e);
    if (r)
        return r;
    dir_object_path(s, site, name, dir, path);
    r = store_gate_enter(&s->reads, 0);
    if (r < 0)
        return dir_fail(e, r, "reading", path);
    r = read_range(path, off, buf, len);
    store_gate_leave(&s->reads, 0);
    if (r == -ENODATA)
        return err_set(e, ERR_CORRUPT,
                       "store: object %s of site %s ends before %zu bytes at %" PRIu64
                       ": it is damaged (%s)",
                       name, site, len, off, path);
    return r < 0 ? dir_fail(e, r, "reading", path) : 0;
}

int dir_size(struct store *store, const char *site, const char *name, uint64_t *out, struct err *e)
{
    struct dir_store *s = dir_of(store);
    char dir[DIR_PATH_MAX], path[DIR_PATH_MAX];
    struct io_stat st;
    struct dir_node *n;
    int r = store_name_object(site, name, e);
    if (r)
        return r;
    dir_object_path(s, site, name, dir, path);
    r = fio_stat(path, &st);
    if (r < 0)
        return dir_fail(e, r, "looking at", path);
    if (!st.is_file)
        return err_set(e, ERR_NOENT, "store: %s is no object but a directory", path);
    /* Whoever is told that it is there counts on it. */
    n = dir_node_get(s, dir);
    r = dir_node_make(s, n);
    if (r == 0)
        r = dir_node_settle(n);
    dir_node_put(s, n);
    if (r < 0)
        return dir_fail(e, r, "syncing", dir);
    *out = st.size;
    return 0;
}

int dir_remove(struct store *store, const char *site, const char *name, struct err *e)
{
    struct dir_store *s = dir_of(store);
    char dir[DIR_PATH_MAX], path[DIR_PATH_MAX];
    int r = store_name_object(site, name, e);
    if (r)
        return r;
    dir_object_path(s, site, name, dir, path);
    /* Not synced: after a power cut it may be back, and retention removes it again. */
    r = fio_unlink(path);
    return r < 0 && r != -ENOENT ? dir_fail(e, r, "removing", path) : 0;
}

/* A walk below objects/. path and name grow and shrink together as it descends, so that a level of
 * recursion costs little of the fiber's stack. */
struct walk {
    struct dir_store *s;
    struct store_pick *pick;
    char path[DIR_PATH_MAX];
    char name[STORE_NAME_MAX]; /* what the names of all objects below start with */
    int os;
};

static void walk_dir(struct walk *w, unsigned depth);

static void walk_file(struct walk *w, const char *file)
{
    char name[STORE_NAME_MAX + 256];
    const char *plus = strchr(file, '+');
    if (plus)
        (void)snprintf(name, sizeof name, "%s%.*s/%.250s", w->name, (int)(plus - file), file,
                       plus + 1);
    else
        (void)snprintf(name, sizeof name, "%s%.255s", w->name, file);
    store_pick_add(w->pick, name);
}

static void walk_entry(struct walk *w, const char *entry, unsigned depth)
{
    size_t path_len = strlen(w->path), name_len = strlen(w->name), len = strlen(entry);
    bool merged = entry[len - 1] == '+';
    struct io_stat st;
    int r;
    if (strchr(entry, '+') && !merged) { /* a file: spares a call for nearly all of them */
        walk_file(w, entry);
        return;
    }
    if (path_len + len + 2 > sizeof w->path || name_len + len + 2 > sizeof w->name)
        return; /* none of ours */
    (void)snprintf(w->path + path_len, sizeof w->path - path_len, "/%s", entry);
    r = fio_stat(w->path, &st);
    if (r < 0) {
        w->os = r == -ENOENT ? w->os : r;
    } else if (st.is_file) {
        walk_file(w, entry);
    } else if (st.is_dir && depth < STORE_NAME_DEPTH) {
        (void)snprintf(w->name + name_len, sizeof w->name - name_len, "%.*s%s",
                       (int)(merged ? len - 1 : len), entry, merged ? "" : "/");
        if (store_pick_wants(w->pick, w->name))
            walk_dir(w, depth + 1);
        w->name[name_len] = '\0';
    }
    w->path[path_len] = '\0';
}

static void walk_dir(struct walk *w, unsigned depth)
{
    struct io_names entries;
    struct dir_node *n;
    int r = fio_list(w->path, &entries);
    if (r < 0) {
        w->os = r == -ENOENT ? w->os : r;
        return;
    }
    for (size_t i = 0; w->os == 0 && i < entries.count; i++)
        walk_entry(w, entries.names[i], depth);
    io_names_free(&entries);
    if (w->os)
        return;
    n = dir_node_get(w->s, w->path);
    w->os = dir_node_make(w->s, n);
    if (w->os == 0)
        w->os = dir_node_settle(n);
    dir_node_put(w->s, n);
}

int dir_list(struct store *store, const char *site, const char *prefix, const char *after,
             struct store_names *out, struct err *e)
{
    struct dir_store *s = dir_of(store);
    struct store_pick pick = store_pick(prefix, after);
    struct walk w = {.s = s, .pick = &pick};
    int r = store_name_prefix(site, prefix, e);
    if (r)
        return r;
    (void)snprintf(w.path, sizeof w.path, "%s/sites/%s/objects", s->root, site);
    walk_dir(&w, 0);
    if (w.os < 0) {
        store_pick_drop(&pick);
        return dir_fail(e, w.os, "listing", w.path);
    }
    store_pick_finish(&pick, out);
    return 0;
}
