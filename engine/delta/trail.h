/* trail.h: the entries of a hub's audit log, and the chain that they are. Pure.
 *
 * An entry's *link* is SHA-256("relais audit" || 0x01 || link of the entry before ||
 * SHA-256(body)); the link before entry 1 is 32 zeroes. So a link stands for all entries up to its
 * own, and somebody who may not read an entry can still follow the chain with the body's digest
 * alone. Each record holds the link before it, too, so that the first entry that was changed can be
 * named.
 *
 *   batch (an object in the store):  "RLSAUDT1", records
 *   record:  link before (32), length of the body u16, body
 *   body:    version u8, sequence u64, time i64, kind u8, outcome u8, hub, peer, subject, detail
 *            (texts: length u8, bytes)
 *
 * Texts are printable ASCII: they hold words of strangers, and end on terminals and in
 * spreadsheets. */
#ifndef RELAIS_TRAIL_H
#define RELAIS_TRAIL_H

#include "bounds.h"
#include "bytes.h"
#include "digest.h"
#include "err.h"

/* Number, word, what is in it. Numbers are the store's. */
#define TRAIL_KINDS(X)                                                                             \
    X(1, START, "start", "a hub started")                                                          \
    X(2, STOP, "stop", "and stopped in good order")                                                \
    X(3, CONNECT, "connect", "a peer connected")                                                   \
    X(4, LEAVE, "leave", "its connection ended")                                                   \
    X(5, REFUSE, "refuse", "something that a peer asked for was refused")                          \
    X(6, STRANGERS, "strangers", "connections that came to nothing")                               \
    X(7, READ, "read", "a peer opened the history of a group, of its own or another's")            \
    X(8, FETCH, "fetch", "what it then fetched, told when its connection ends")                    \
    X(9, READERS, "readers", "data keys were wrapped for one more reader")                         \
    X(10, PEER, "peer", "a peer was enrolled, changed, or revoked")                                \
    X(11, RETENTION, "retention", "pins, locks, rules; what a pass dropped")                       \
    X(12, FOLD, "fold", "deltas were folded into one")                                             \
    X(13, DAMAGE, "damage", "what scrubbing found, and what was mended")                           \
    X(14, LOST, "lost", "so many entries were not written: too many came at once")                 \
    X(15, OPERATOR, "operator", "what somebody asked for on the hub's control socket")

enum trail_kind {
#define X(number, NAME, word, meaning) TRAIL_##NAME = number,
    TRAIL_KINDS(X)
#undef X
};

#define TRAIL_SUBJECT_MAX 120u /* "site/group@RP" and the like */
#define TRAIL_DETAIL_MAX  240u
#define TRAIL_BODY_MAX    512u
#define TRAIL_RECORD_MAX  (DIGEST_LEN + 2u + TRAIL_BODY_MAX)
#define TRAIL_MAGIC       "RLSAUDT1"
#define TRAIL_MAGIC_LEN   8u
#define TRAIL_BATCH_MAX   ((uint32_t)(64 * KIB)) /* bytes of one object */

struct trail_entry {
    uint64_t seq; /* 1, 2, 3... */
    int64_t time; /* ns UTC, the hub's clock */
    enum trail_kind kind;
    enum err_code outcome;                              /* OK, or why not */
    char hub[NAME_MAX_LEN + 1], peer[NAME_MAX_LEN + 1]; /* peer "": nobody that is known */
    char subject[TRAIL_SUBJECT_MAX + 1], detail[TRAIL_DETAIL_MAX + 1];
};

/* "connect"; NULL when it is none. The reverse: 0 when there is none. */
const char *trail_kind_word(enum trail_kind kind);
enum trail_kind trail_kind_parse(const char *word);

/* Copies what fits of src, with '?' for every byte that is not printable ASCII. */
void trail_text(char *dst, size_t cap, const char *src);
/* dst: TRAIL_BODY_MAX. Returns the length. */
size_t trail_encode(uint8_t *dst, const struct trail_entry *entry);
/* Errors: CORRUPT. */
int trail_decode(struct trail_entry *out, const uint8_t *body, size_t len, struct err *e);
/* The link of an entry from the one before and its body, or the body's digest. */
void trail_link(struct digest *link, const struct digest *before, const uint8_t *body, size_t len);
void trail_link_digest(struct digest *link, const struct digest *before, const struct digest *body);

/* The records of a batch, one by one. */
struct trail_record {
    struct digest before;
    const uint8_t *body; /* within the batch */
    size_t len;
};
int trail_batch_open(struct bytes_in *out, const void *batch, size_t len, struct err *e);
/* 1 and the next, 0 at the end. Errors: CORRUPT. */
int trail_batch_next(struct trail_record *out, struct bytes_in *b, struct err *e);

/* How far somebody has followed a log: from nothing, or from what it was told before. */
struct trail_end {
    uint64_t seq;
    struct digest link;
};

/* Follows a log from `end` on, which moves along. */
struct trail_walk {
    struct trail_end end;
    const struct trail_end *known; /* what was told before, to be met on the way; or NULL */
    /* Sees the entries that may be seen; what it returns but 0 ends the walk. Or NULL. */
    int (*visit)(void *arg, const struct trail_entry *entry);
    void *arg;
};

/* The form in which entries are sent, one after the other:
 *   link before (32), 0x01, length of the body u16, body     what may be seen
 *   link before (32), 0x00, SHA-256 of the body              what not
 * Checks that each continues the one before. Errors: CHAIN, naming the first entry that does
 * not fit; PROTO (not this form). */
int trail_follow(struct trail_walk *w, const void *page, size_t len, struct err *e);
/* What is said to be the log's newest entry is the one that was come to. */
int trail_check_end(const struct trail_end *end, const struct trail_end *said, struct err *e);

/* What may be shown to a member: what it did itself, and what was done with its own data. */
bool trail_concerns(const struct trail_entry *entry, const char *peer);

#endif
