/* The scan's comparison of a region that did not change, and digests. */
#include "digest.h"
#include "micro.h"
#include "region.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

struct hashing {
    struct region region;
    uint8_t key[HASHINDEX_KEY_LEN];
    uint8_t *copy;
    size_t len;
    uint64_t sum; /* so that nothing is left out for being of no use */
};

static void scan_ours(void *arg, uint64_t n)
{
    struct hashing *h = arg;
    for (uint64_t i = 0; i < n; i++) {
        ASSERT(region_process(&h->region) == 0 && h->region.run_count == 0);
        h->sum += h->region.fresh[0];
    }
}

static void siphash_alone(void *arg, uint64_t n)
{
    struct hashing *h = arg;
    uint8_t out[crypto_shorthash_BYTES];
    for (uint64_t i = 0; i < n; i++)
        for (size_t at = 0; at < h->len; at += SECTOR_SIZE) {
            (void)crypto_shorthash(out, h->region.plain + at, SECTOR_SIZE, h->key);
            h->sum += out[0];
        }
}

static void copy_alone(void *arg, uint64_t n)
{
    struct hashing *h = arg;
    for (uint64_t i = 0; i < n; i++) {
        memcpy(h->copy, h->region.plain, h->len);
        __asm__ volatile("" : : "r"(h->copy) : "memory");
    }
}

static void digest_ours(void *arg, uint64_t n)
{
    struct hashing *h = arg;
    struct digest d;
    for (uint64_t i = 0; i < n; i++) {
        digest_of(&d, h->region.plain, h->len);
        h->sum += d.b[0];
    }
}

static void sha256_alone(void *arg, uint64_t n)
{
    struct hashing *h = arg;
    uint8_t d[crypto_hash_sha256_BYTES];
    for (uint64_t i = 0; i < n; i++) {
        (void)crypto_hash_sha256(d, h->region.plain, h->len);
        h->sum += d[0];
    }
}

static void one(struct micro *m, struct hashing *h, const char *what, const char *beside,
                void (*ours)(void *, uint64_t), void (*bare)(void *, uint64_t))
{
    struct micro_case c = {.area = "hash", .bytes = h->len, .ours = ours, .bare = bare, .arg = h};
    (void)snprintf(c.what, sizeof c.what, "%s", what);
    (void)snprintf(c.beside, sizeof c.beside, "%s", beside);
    micro_run(m, &c);
}

int micro_hash(struct micro *m, struct err *e)
{
    struct hashing h = {.len = REGION_SIZE};
    struct region *r = &h.region;
    (void)e;
    randombytes_buf(h.key, sizeof h.key);
    h.copy = err_malloc(REGION_SIZE);
    *r = (struct region){.plain = err_malloc(REGION_SIZE),
                         .sectors = REGION_SECTORS,
                         .hash_key = h.key,
                         .known = err_calloc(REGION_SECTORS, sizeof *r->known),
                         .fresh = err_calloc(REGION_SECTORS, sizeof *r->fresh),
                         .runs = err_calloc(REGION_SECTORS, sizeof *r->runs)};
    memset(r->present, 0xff, sizeof r->present);
    micro_rows(r->plain, REGION_SIZE, 1);
    for (uint32_t i = 0; i < REGION_SECTORS; i++) { /* as the index has it after a first scan */
        uint8_t out[crypto_shorthash_BYTES];
        (void)crypto_shorthash(out, r->plain + (size_t)i * SECTOR_SIZE, SECTOR_SIZE, h.key);
        memcpy(&r->known[i], out, sizeof out);
        r->known[i] += r->known[i] < HASH_FIRST ? HASH_FIRST : 0;
    }
    one(m, &h, "scan a region of 4 MiB", "libsodium SipHash-2-4", scan_ours, siphash_alone);
    one(m, &h, "scan a region of 4 MiB", "memcpy", scan_ours, copy_alone);
    one(m, &h, "digest of a part of 4 MiB", "libsodium SHA-256", digest_ours, sha256_alone);
    h.len = SECTOR_SIZE;
    one(m, &h, "digest of 4 KiB", "libsodium SHA-256", digest_ours, sha256_alone);
    free(h.copy);
    free(r->plain);
    free(r->known);
    free(r->fresh);
    free(r->runs);
    return 0;
}
