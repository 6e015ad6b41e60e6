/* tap.h: what a guest asks of a captured volume, listed for relais record: when, where, how much;
 * no contents. Off it costs a look at a pointer. On, requests go to a ring of TAP_ENTRIES; those
 * that find it full are counted as dropped, and no guest ever waits. A tap that nobody takes from
 * for TAP_IDLE_NS gives up its ring. */
#ifndef RELAIS_TAP_H
#define RELAIS_TAP_H

#include "capture.h"

enum tap_verb { TAP_WRITE = 1, TAP_ZERO, TAP_TRIM, TAP_FLUSH };

#define TAP_ENTRY_LEN 24u /* encoded: time (ns), offset, length, verb; little-endian */
#define TAP_TAKE      2000u
#define TAP_IDLE_NS   (10 * IO_S)

/* Encoded entries, the oldest first; of the tap until the next tap_take. */
struct tap_taken {
    const uint8_t *entries;
    size_t len;
    uint64_t dropped; /* since the tap began */
    bool more;        /* than fit one take */
};

/* Does not wait. */
void capture_note(struct capture *c, enum tap_verb verb, uint64_t off, uint32_t len);
/* Times count from now on. Errors: AGAIN (it is being recorded already). */
int tap_start(struct capture *c, uint64_t *token, struct err *e);
/* Errors: NOENT (another record began, or this one was given up). */
int tap_take(struct capture *c, uint64_t token, struct tap_taken *out, struct err *e);
/* Of nobody else's record. */
void tap_stop(struct capture *c, uint64_t token);
void tap_free(struct capture *c);

#endif
