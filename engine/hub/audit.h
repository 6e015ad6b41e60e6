/* audit.h: what a hub remembers of who did what: a log in its store, each entry chained to the one
 * before (trail.h).
 *
 * Notes are gathered for a moment and written as one object and one move of the log's head, by a
 * fiber of the audit's own, so that nobody who notes something waits for the store. Two hubs of one
 * name on one store write one log. What is noted is durable about AUDIT_GATHER_NS later; a hub that
 * is killed forgets what it noted since, and the missing "stop" before the next "start" says so.
 *
 * What it costs is bounded: AUDIT_QUEUE entries wait at most; of one kind and peer AUDIT_BURST a
 * minute are written, of the rest how many they were. When the store is away for so long that the
 * queue is full, one entry says how many are missing. */
#ifndef RELAIS_AUDIT_H
#define RELAIS_AUDIT_H

#include "fiber.h"
#include "store.h"
#include "trail.h"

#define AUDIT_GATHER_NS IO_S
#define AUDIT_QUEUE     1024u
#define AUDIT_BURST     30u /* entries of one kind and peer in AUDIT_WINDOW_NS */
#define AUDIT_STRANGERS 4u  /* of all strangers together */
#define AUDIT_WINDOW_NS (60 * IO_S)
#define AUDIT_STOP_NS   (5 * IO_S) /* what stopping waits for the store */

/* Objects are named AUDIT_OBJECTS, number of the first entry (16 hex digits), ".", digest (16). No
 * group can have this name. */
#define AUDIT_OBJECTS "audit.log/"

struct audit;

/* Starts the fiber that writes. store is borrowed. The log is of `hub`: it is kept under that name.
 * Never fails: what is wrong with the store is logged, and tried again. */
struct audit *audit_start(struct io *io, struct store *store, const char *hub);
/* Writes what is left, for AUDIT_STOP_NS at most, and frees. NULL: nothing. (waits) */
void audit_stop(struct audit *a);

/* Notes an entry. a NULL: nothing. peer: NULL or "" when nobody known did it. subject: what it was
 * done to, "" for the hub itself; where it is a member's data it starts with "SITE/GROUP", which
 * lets that member see the entry. outcome: ERR_OK or why it was not done. fmt: details for people,
 * one line. Never waits. */
void audit_note(struct audit *a, enum trail_kind kind, const char *peer, const char *subject,
                enum err_code outcome, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* The page of the log that follows entry `after`, in the form in which it is sent (trail_follow).
 * viewer: who may see only what concerns it; NULL sees all. Batches that ended before `since` are
 * left out at the beginning. after UINT64_MAX: only where the log ends. */
struct audit_page {
    uint64_t first; /* number of its first entry; 0: it is empty */
    uint32_t count, len;
    struct trail_end end; /* of the log when it was read */
    uint8_t *bytes;       /* PAYLOAD_MAX, the caller's */
};
/* Errors: CORRUPT, IO, AGAIN. (waits) */
int audit_read(struct audit *a, uint64_t after, int64_t since, const char *viewer,
               struct audit_page *out, struct err *e);

#endif
