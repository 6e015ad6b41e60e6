/* Which names are durable. */
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static void evict_idle(struct dir_store *s)
{
    while (s->node_count > DIR_NODES_KEPT) {
        struct dir_node **oldest = NULL, *n;
        for (struct dir_node **at = &s->nodes; *at; at = &(*at)->next)
            if ((*at)->refs == 0 && (!oldest || (*at)->used < (*oldest)->used))
                oldest = at;
        if (!oldest)
            return;
        n = *oldest;
        *oldest = n->next;
        s->node_count--;
        free(n);
    }
}

struct dir_node *dir_node_get(struct dir_store *s, const char *path)
{
    struct dir_node *n;
    size_t len = strlen(path) + 1;
    for (n = s->nodes; n; n = n->next)
        if (strcmp(n->path, path) == 0)
            break;
    if (!n) {
        n = err_calloc(1, sizeof *n + len);
        memcpy(n->path, path, len);
        n->asked = 1; /* what an earlier process left unsynced */
        n->next = s->nodes;
        s->nodes = n;
        s->node_count++;
    }
    n->refs++;
    n->used = ++s->clock;
    return n;
}

void dir_node_put(struct dir_store *s, struct dir_node *n)
{
    ASSERT(n->refs > 0);
    n->refs--;
    evict_idle(s);
}

void dir_nodes_free(struct dir_store *s)
{
    while (s->nodes) {
        struct dir_node *n = s->nodes;
        ASSERT(n->refs == 0);
        s->nodes = n->next;
        free(n);
    }
    s->node_count = 0;
}

static int make_one(struct dir_store *s, const char *path, const char *parent)
{
    struct dir_node *n = dir_node_get(s, path);
    int r = 0;
    if (!n->named) {
        r = fio_mkdir(path, 0700);
        if (r == 0 || r == -EEXIST)
            r = fio_sync_dir(parent);
        n->named = r == 0;
    }
    dir_node_put(s, n);
    return r;
}

int dir_node_make(struct dir_store *s, struct dir_node *n)
{
    char path[DIR_PATH_MAX], parent[DIR_PATH_MAX];
    size_t root = strlen(s->root), len = strlen(n->path);
    int r;
    if (n->named)
        return 0;
    r = fiber_lock(&s->naming);
    if (r < 0)
        return r;
    /* Existing is no proof of durable: each level is synced once by this process. */
    memcpy(parent, s->root, root + 1);
    for (size_t i = root + 1; r == 0 && i <= len; i++) {
        if (n->path[i] != '/' && n->path[i] != '\0')
            continue;
        memcpy(path, n->path, i);
        path[i] = '\0';
        r = make_one(s, path, parent);
        memcpy(parent, path, i + 1);
    }
    fiber_unlock(&s->naming);
    return r;
}

static int sync_until(struct dir_node *n, uint64_t ticket)
{
    while (n->synced < ticket) {
        uint64_t covers = n->asked;
        int r;
        if (n->syncing) {
            r = fiber_wait(&n->done, FIBER_FOREVER);
            if (r < 0)
                return r;
            continue;
        }
        n->syncing = true;
        r = fio_sync_dir(n->path);
        n->syncing = false;
        if (r >= 0)
            n->synced = covers;
        fiber_wake_all(&n->done);
        if (r < 0)
            return r;
    }
    return 0;
}

void dir_node_rename_begin(struct dir_node *n)
{
    n->renaming++;
}

int dir_node_rename_end(struct dir_node *n, int r)
{
    uint64_t ticket;
    ASSERT(n->renaming > 0);
    n->renaming--;
    /* Also after an error: it may have happened. */
    ticket = ++n->asked;
    if (r == -ENOENT)
        n->named = false; /* somebody removed the directory: make it again next time */
    return r < 0 ? r : sync_until(n, ticket);
}

int dir_node_settle(struct dir_node *n)
{
    /* A rename under way may be visible already, and a sync under way may have missed it. */
    if (n->renaming > 0)
        n->asked++;
    return sync_until(n, n->asked);
}
