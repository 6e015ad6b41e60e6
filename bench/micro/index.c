/* A delta's index, encoded and decoded: an operation is an entry. */
#include "index.h"
#include "micro.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define ENTRIES 65536u

struct indexing {
    struct index_entry *entries, *copy;
    struct index_writer w;
    uint64_t data_end, sum;
};

static void encode_ours(void *arg, uint64_t n)
{
    struct indexing *x = arg;
    for (uint64_t i = 0; i < n; i++) {
        struct index_entry entry = x->entries[i % ENTRIES];
        if (i % ENTRIES == 0) {
            index_writer_free(&x->w);
            index_writer_init(&x->w, 4096, 1);
        }
        ASSERT(index_append(&x->w, &entry));
    }
}

static void decode_ours(void *arg, uint64_t n)
{
    struct indexing *x = arg;
    struct index_reader r;
    struct index_entry entry;
    struct err e = ERR_INIT;
    for (uint64_t i = 0; i < n; i++) {
        if (i % ENTRIES == 0)
            index_reader_init(&r, x->w.out.p, x->w.out.len, ENTRIES, 1, 1, 4096, x->data_end);
        ASSERT(index_next(&r, &entry, &e) == 1);
        x->sum += entry.place;
    }
}

static void copy_alone(void *arg, uint64_t n)
{
    struct indexing *x = arg;
    for (uint64_t i = 0; i < n; i += ENTRIES) {
        uint64_t take = n - i < ENTRIES ? n - i : ENTRIES;
        memcpy(x->copy, x->entries, take * sizeof *x->copy);
        __asm__ volatile("" : : "r"(x->copy) : "memory");
    }
}

static void one(struct micro *m, struct indexing *x, const char *what,
                void (*ours)(void *, uint64_t))
{
    struct micro_case c = {.area = "index", .ours = ours, .bare = copy_alone, .arg = x};
    (void)snprintf(c.what, sizeof c.what, "%s", what);
    (void)snprintf(c.beside, sizeof c.beside, "memcpy of the struct");
    micro_run(m, &c);
}

int micro_index(struct micro *m, struct err *e)
{
    struct indexing x = {.data_end = 4096};
    uint32_t sector = 0;
    (void)e;
    x.entries = err_calloc(ENTRIES, sizeof *x.entries);
    x.copy = err_calloc(ENTRIES, sizeof *x.copy);
    for (uint32_t i = 0; i < ENTRIES; i++) { /* scattered pages of a database */
        struct index_entry *entry = &x.entries[i];
        *entry = (struct index_entry){.sector = sector,
                                      .sectors = 1 + i % 4,
                                      .codec = CODEC_ZSTD,
                                      .sealed_len = 900 + i % 700};
        randombytes_buf(entry->tag, sizeof entry->tag);
        sector += entry->sectors + 1 + randombytes_uniform(60);
        x.data_end += entry->sealed_len;
    }
    index_writer_init(&x.w, 4096, 1);
    one(m, &x, "encode an entry", encode_ours);
    encode_ours(&x, ENTRIES);
    one(m, &x, "decode an entry", decode_ours);
    index_writer_free(&x.w);
    free(x.entries);
    free(x.copy);
    return 0;
}
