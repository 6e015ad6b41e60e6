#include "store_pick.h"

#include <stdlib.h>
#include <string.h>

struct store_pick store_pick(const char *prefix, const char *after)
{
    return (struct store_pick){.prefix = prefix, .after = after};
}

static void swap(struct store_pick *p, uint32_t a, uint32_t b)
{
    char t[STORE_NAME_MAX];
    memcpy(t, p->names[a], sizeof t);
    memcpy(p->names[a], p->names[b], sizeof t);
    memcpy(p->names[b], t, sizeof t);
}

static void sift_up(struct store_pick *p, uint32_t i)
{
    while (i > 0 && strcmp(p->names[i], p->names[(i - 1) / 2]) > 0) {
        swap(p, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

static void sift_down(struct store_pick *p)
{
    for (uint32_t i = 0;;) {
        uint32_t top = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < p->count; child++)
            if (strcmp(p->names[child], p->names[top]) > 0)
                top = child;
        if (top == i)
            return;
        swap(p, i, top);
        i = top;
    }
}

void store_pick_add(struct store_pick *p, const char *name)
{
    size_t len = strlen(name);
    if (len >= STORE_NAME_MAX || strncmp(name, p->prefix, strlen(p->prefix)) != 0 ||
        strcmp(name, p->after) <= 0)
        return;
    if (p->count == STORE_LIST_MAX) {
        if (strcmp(name, p->names[0]) >= 0)
            return;
        memcpy(p->names[0], name, len + 1);
        sift_down(p);
        return;
    }
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        if (p->cap > STORE_LIST_MAX)
            p->cap = STORE_LIST_MAX;
        p->names = err_realloc(p->names, p->cap * sizeof p->names[0]);
    }
    memcpy(p->names[p->count], name, len + 1);
    sift_up(p, p->count++);
}

bool store_pick_wants(const struct store_pick *p, const char *stem)
{
    size_t n = strlen(stem), m = strlen(p->prefix);
    if (strncmp(stem, p->prefix, n < m ? n : m) != 0)
        return false;
    if (strncmp(stem, p->after, n) < 0)
        return false;
    return p->count < STORE_LIST_MAX || strncmp(stem, p->names[0], n) <= 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

void store_pick_finish(struct store_pick *p, struct store_names *out)
{
    if (p->count)
        qsort(p->names, p->count, sizeof p->names[0], by_name);
    *out = (struct store_names){p->count, p->names};
    *p = (struct store_pick){0};
}

void store_pick_drop(struct store_pick *p)
{
    free(p->names);
    *p = (struct store_pick){0};
}
