#include "memory.h"

#include "err.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* The linker's names. */
void *__real_malloc(size_t n);                               // NOLINT
void *__real_calloc(size_t n, size_t size);                  // NOLINT
void *__real_realloc(void *p, size_t n);                     // NOLINT
void *__real_aligned_alloc(size_t align, size_t n);          // NOLINT
int __real_posix_memalign(void **p, size_t align, size_t n); // NOLINT
void __real_free(void *p);                                   // NOLINT
void *__wrap_malloc(size_t n);                               // NOLINT
void *__wrap_calloc(size_t n, size_t size);                  // NOLINT
void *__wrap_realloc(void *p, size_t n);                     // NOLINT
void *__wrap_aligned_alloc(size_t align, size_t n);          // NOLINT
int __wrap_posix_memalign(void **p, size_t align, size_t n); // NOLINT
void __wrap_free(void *p);                                   // NOLINT

struct piece { /* what somebody owns; p NULL: free place */
    void *p;
    size_t size;
    unsigned account;
};

struct account {
    uint64_t live, peak;
};

static struct piece *pieces; /* open addressing, at most half full */
static size_t slots, used;
static struct account *accounts;
static unsigned account_count = 1, current;

static size_t home(const void *p, size_t mask)
{
    uint64_t h = (uint64_t)(uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(h >> 32) & mask;
}

static struct piece *find(const void *p)
{
    size_t i;
    if (slots == 0)
        return NULL;
    for (i = home(p, slots - 1); pieces[i].p; i = (i + 1) & (slots - 1))
        if (pieces[i].p == p)
            return &pieces[i];
    return NULL;
}

static void insert(struct piece piece)
{
    size_t i = home(piece.p, slots - 1);
    while (pieces[i].p)
        i = (i + 1) & (slots - 1);
    pieces[i] = piece;
    used++;
}

static void grow(void)
{
    struct piece *old = pieces;
    size_t count = slots;
    slots = slots ? 2 * slots : 65536;
    pieces = __real_calloc(slots, sizeof *pieces);
    ASSERT(pieces);
    used = 0;
    for (size_t i = 0; i < count; i++)
        if (old[i].p)
            insert(old[i]);
    __real_free(old);
}

/* Its place becomes free, and those behind it move up where that is nearer to their home. */
static void erase(struct piece *gone)
{
    size_t hole = (size_t)(gone - pieces), i = hole, mask = slots - 1;
    accounts[gone->account].live -= gone->size;
    used--;
    for (;;) {
        size_t want;
        i = (i + 1) & mask;
        if (!pieces[i].p)
            break;
        want = home(pieces[i].p, mask);
        if (((i - want) & mask) < ((i - hole) & mask))
            continue;
        pieces[hole] = pieces[i];
        hole = i;
    }
    pieces[hole].p = NULL;
}

static void *take(void *p)
{
    struct piece *stale;
    struct account *a;
    if (!p || current == MEMORY_NOBODY)
        return p;
    stale = find(p); /* somebody freed it behind our back */
    if (stale)
        erase(stale);
    if (2 * used >= slots)
        grow();
    a = &accounts[current];
    insert((struct piece){p, malloc_usable_size(p), current});
    a->live += malloc_usable_size(p);
    if (a->live > a->peak)
        a->peak = a->live;
    return p;
}

static void give(void *p)
{
    struct piece *piece = p ? find(p) : NULL;
    if (piece)
        erase(piece);
}

void *__wrap_malloc(size_t n) // NOLINT
{
    return take(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size) // NOLINT
{
    return take(__real_calloc(n, size));
}

/* Stays whose it was. */
void *__wrap_realloc(void *p, size_t n) // NOLINT
{
    const struct piece *piece = p ? find(p) : NULL;
    unsigned was = current;
    if (p)
        current = piece ? piece->account : MEMORY_NOBODY;
    give(p);
    p = take(__real_realloc(p, n));
    current = was;
    return p;
}

void *__wrap_aligned_alloc(size_t align, size_t n) // NOLINT
{
    return take(__real_aligned_alloc(align, n));
}

int __wrap_posix_memalign(void **p, size_t align, size_t n) // NOLINT
{
    int r = __real_posix_memalign(p, align, n);
    if (r == 0)
        (void)take(*p);
    return r;
}

void __wrap_free(void *p) // NOLINT
{
    give(p);
    __real_free(p);
}

unsigned memory_open(void)
{
    if (account_count % 64 == 1) {
        struct account *more = __real_realloc(accounts, (account_count + 64) * sizeof *more);
        ASSERT(more);
        accounts = more;
    }
    accounts[account_count] = (struct account){0};
    return account_count++;
}

unsigned memory_enter(unsigned account)
{
    unsigned was = current;
    current = account;
    return was;
}

uint64_t memory_live(unsigned account)
{
    return account == MEMORY_NOBODY ? 0 : accounts[account].live;
}

uint64_t memory_peak(unsigned account)
{
    return account == MEMORY_NOBODY ? 0 : accounts[account].peak;
}
