/* manifest.h: what a delta says of itself, signed by the site and chained to its parent.
 *
 * A manifest takes a group from RP rp_first-1 to RP rp. rp_first < rp only in a delta that merged
 * neighbours. Its digest is over the whole encoded manifest, signature included. What a child names
 * as its parent is the manifest's *link*: its digest, or, of one that replaces others, that of the
 * manifest which RP rp had before. So merging leaves valid what was sealed after it. A
 * manifest without `complete` is one stretch of a longer change (seeding, catching up): its RP is
 * never offered for restore.
 *
 * A delta that replaces others lacks what newer ones up to RP good_from cover: no RP before that
 * may be opened through it. An RP is offered when it is complete and no manifest up to it has a
 * greater good_from (manifest_offers).
 *
 * Which keys opened the extents is in two tables (tables.h), which lie behind the index and are not
 * part of the manifest: a delta may merge thousands. Encoding in FORMAT.md. Pure. */
#ifndef RELAIS_MANIFEST_H
#define RELAIS_MANIFEST_H

#include "bytes.h"
#include "datakey.h"
#include "digest.h"
#include "err.h"
#include "key.h"

#define MANIFEST_SIG_LEN 64
enum { MANIFEST_COMPLETE = 1, MANIFEST_REPLACES = 2 };

struct manifest_volume {
    char name[NAME_MAX_LEN + 1];
    uint64_t size; /* bytes */
};

struct manifest_source {
    uint64_t rp;
    uint8_t salt[SEAL_SALT_LEN];
    uint16_t key; /* number in the key table */
};

struct manifest {
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    char label[LABEL_MAX_LEN + 1]; /* "" when none */
    uint64_t rp_first, rp;
    struct digest parent;     /* link of the manifest of RP rp_first-1; zero for RP 1 */
    struct digest stands_for; /* REPLACES: link of the last that it replaces; else zero */
    uint64_t good_from;       /* REPLACES: no RP before it may be opened through it; else 0 */
    int64_t cut_time;         /* ns UTC, the site's clock */
    uint32_t flags;
    uint32_t extents;      /* entries in the index */
    uint64_t plain_bytes;  /* of the extents that have bytes (not of zero extents) */
    uint64_t sealed_bytes; /* sum of sealed_len: exactly index_place - DELTA_HEADER_LEN */
    uint64_t frame_bytes;  /* sum of the bare zstd frames (or stored bytes) */
    uint64_t index_place;  /* sealed bytes lie in [DELTA_HEADER_LEN, index_place) */
    uint32_t index_len;    /* the index in [index_place, index_place + index_len) */
    uint32_t tables_len;   /* the tables behind it, up to the manifest */
    struct digest index_digest, tables_digest;
    uint16_t volume_count, source_count, key_count;
    struct manifest_volume *volumes;
    struct manifest_source *sources; /* NULL until tables_decode */
    struct datakey_wraps *keys;
    uint32_t part_count;
    struct digest *parts; /* of each PART_SIZE slice of [0, manifest_place) */
};

/* Allocates nothing but the arrays, each checked against its bound first. Errors: INPUT (what and
 * where), LIMIT. On success free with manifest_free. Does not check the signature. */
int manifest_decode(struct manifest *out, const void *p, size_t len, struct err *e);
void manifest_free(struct manifest *m);

/* Encodes and signs into out (empty, from bytes_out(MANIFEST_MAX)). Errors: INPUT when the fields
 * contradict each other or a bound: what would not be decoded is not signed. In two steps: what is
 * signed, then the signature behind it. */
int manifest_encode(struct bytes_out *out, const struct manifest *m, const struct key_secret *sign,
                    struct err *e);
int manifest_encode_unsigned(struct bytes_out *out, const struct manifest *m, struct err *e);
void manifest_sign(struct bytes_out *out, const struct key_secret *sign);
/* Checks the signature of the encoded form. Errors: AUTH. */
int manifest_verify(const void *p, size_t len, const struct key_public *signer, struct err *e);
/* SHA-256 of the whole encoded manifest. */
void manifest_digest(struct digest *out, const void *p, size_t len);

/* What a child names as its parent; own: the manifest's digest. */
const struct digest *manifest_link(const struct manifest *m, const struct digest *own);

/* Where the tables and the manifest lie in the delta. */
uint64_t manifest_tables_place(const struct manifest *m);
uint64_t manifest_place(const struct manifest *m);
/* Whether RP rp may be opened when it is complete: no manifest of the chain up to it may say
 * otherwise. *good_from: the greatest so far, 0 at first; call it for each, oldest first. */
bool manifest_offers(const struct manifest *m, uint64_t *good_from);

/* Number of parts that `len` bytes have. */
uint32_t manifest_parts_of(uint64_t len);
/* Bytes that part number n covers, from n * PART_SIZE. */
uint32_t manifest_part_len(const struct manifest *m, uint32_t n);

#endif
