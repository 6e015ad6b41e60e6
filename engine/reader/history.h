/* history.h: what a reader holds: a group's verified chain of manifests, and ranges of its deltas.
 * Private to the reader. */
#ifndef RELAIS_HISTORY_H
#define RELAIS_HISTORY_H

#include "delta.h"
#include "reader.h"

#include <inttypes.h>

/* More than a year of 10 s intervals. */
#define HISTORY_MAX (UINT32_C(4) * 1024 * 1024)

struct history_link {
    struct digest digest, link; /* link: once verified; what the next must name as its parent */
    uint32_t manifest_len;
    bool gap;                 /* recovery points before it are missing, and told */
    bool bad;                 /* damaged, and told: nothing is held against it */
    uint8_t *raw;             /* the manifest, encoded: a tenth of the decoded form */
    uint8_t *tables;          /* sources and data keys, once somebody needed them */
    struct manifest *decoded; /* once somebody asked for it */
};

struct grants;

struct reader {
    struct line *line;
    struct line own; /* where the reader was opened on one connection */
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    struct key_public signer;
    uint64_t good_from; /* of the manifests that were verified, the greatest */
    size_t count, cap;
    struct reader_point *points;        /* ascending, gapless */
    struct history_link *links;         /* of the same number */
    const struct reader_damage *damage; /* NULL: the first damage is the end */
    size_t damaged;
    struct grants *grants; /* NULL until a data key is looked for there */
};

/* Lists the points, then fetches and verifies all manifests; again when deltas are replaced by
 * others meanwhile. (waits) */
int history_load(struct reader *r, void (*progress)(void *arg, uint64_t done, uint64_t total),
                 void *arg, struct err *e);
/* As if it had not been loaded. */
void history_forget(struct reader *r);
/* Number of the point with this RP, or -1. */
ssize_t history_find(const struct reader *r, uint64_t rp);
/* Decodes a verified manifest again, for the caller to free. */
void history_decode(const struct reader *r, size_t point, struct manifest *out);

/* The same with the tables of sources and data keys, which are fetched once. out is the caller's to
 * free, also after an error. (waits) */
int history_decode_tables(struct reader *r, size_t point, struct manifest *out, struct err *e);
/* Fetches the tables of all points, so that history_decode_tables does not wait. (waits) */
int history_load_tables(struct reader *r, struct err *e);

/* Reads [off, off+len) of a point's delta, in pieces that are in flight together. (waits) */
int fetch_range(struct reader *r, size_t point, uint64_t off, void *buf, uint32_t len,
                struct err *e);

/* One request for at most PAYLOAD_MAX bytes; what it borrows must live until fetch_one_end, which
 * must follow a start that returned 0. */
int fetch_one_start(struct reader *r, struct line_call *call, size_t point, uint64_t off, void *buf,
                    uint32_t len, struct err *e);
int fetch_one_end(struct reader *r, struct line_call *call, size_t point, uint64_t off,
                  uint32_t len, struct err *e);

/* pages.c: ranges of many small deltas, a page of them in one request. A range that cannot be had
 * is told in its own err, and the others are fetched all the same, unless nothing more can be (the
 * link is broken, cancelled): then that is the error. */
struct page_range {
    size_t point;
    uint64_t off;
    uint32_t len; /* at least 1 */
    void *buf;    /* of len; the caller's */
    bool have;
    struct err *err; /* NULL, or why not; the caller's to free */
};
/* One page: points ascend, at most FETCH_MANY_MAX of them, the sum of len at most PAYLOAD_MAX.
 * (waits) */
int page_fetch(struct reader *r, struct page_range *ranges, size_t n, struct err *e);
/* Any number of ranges, points ascending, each of at most PAYLOAD_MAX; several pages are in flight.
 * progress may be NULL. (waits) */
int pages_fetch(struct reader *r, struct page_range *ranges, size_t n,
                void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
                struct err *e);
/* Errors of one recovery point that leave the others as they are. */
bool history_is_damage(int rc);

#endif
