/* state.h: what a restore has written so far, so that an interrupted one goes on where it was.
 *
 * The file: a header (magic, identity of the plan), then records that are only ever appended: the
 * number of a unit and a keyed hash of the plain bytes that were written for it. A record is no
 * promise, it is a question: the next attempt reads the unit back from the target, hashes, and
 * does it again when the two differ. So a record needs no checksum, a torn one costs one unit, and
 * whoever wrote to the target in between is found out. The key of the hashes comes from the data
 * keys (unit.h) and is not in the file: nobody can write a record that holds for other bytes, or
 * learn from one what the bytes were.
 * Private to the reader. */
#ifndef RELAIS_STATE_H
#define RELAIS_STATE_H

#include "digest.h"
#include "err.h"
#include "fio.h"

#define STATE_MAC_LEN  16u
#define STATE_PATH_MAX 4112u

struct state {
    char path[STATE_PATH_MAX]; /* "": kept in memory only */
    int fd;
    bool resumed; /* there was one of this very plan */
    uint64_t end; /* of the file */
    size_t units;
    uint8_t (*macs)[STATE_MAC_LEN]; /* by unit */
    uint8_t *known;                 /* a bit per unit */
    size_t *fresh;                  /* units whose record is not in the file yet */
    size_t fresh_count, fresh_cap;
};

/* Whether path (NULL: memory only) may hold a state: it does not exist, or it is one, whatever of.
 * Touches nothing. Errors: EXISTS, INPUT, IO. (waits) */
int state_check(struct state *s, const char *path, struct err *e);
/* After state_check: loads the records of the plan with this identity, or begins anew when there
 * are none. Errors: AGAIN (another restore holds it), NOENT (no such directory), SPACE, IO. A
 * failed one needs state_close, too. (waits) */
int state_open(struct state *s, const struct digest *identity, size_t units, struct err *e);
/* Drops all records: the target they tell of is gone. (waits) */
int state_reset(struct state *s, const struct digest *identity, struct err *e);
/* The hash on record for a unit, or NULL. */
const uint8_t *state_mac(const struct state *s, size_t unit);
void state_set(struct state *s, size_t unit, const uint8_t mac[STATE_MAC_LEN]);
/* Appends the first n of what was set since. (waits) */
int state_save(struct state *s, size_t n, struct err *e);
/* The restore is complete. (waits) */
void state_remove(struct state *s);
void state_close(struct state *s); /* (waits) */

#endif
