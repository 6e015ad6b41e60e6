/* share.h: who can read a group's history, and one more reader for it. */
#ifndef RELAIS_SHARE_H
#define RELAIS_SHARE_H

#include "reader.h"

#define SHARE_READERS_MAX 256u

/* What one restore key opens. An RP counts when all data keys of its own delta are open to it; to
 * restore one takes the deltas before it as well. */
struct share_reader {
    uint8_t fingerprint[KEY_FP_LEN];
    uint64_t first, last;  /* RPs */
    uint64_t points, keys; /* RPs; data keys */
    uint64_t granted;      /* data keys that were wrapped for it later */
    bool newest;           /* it opens the newest RP: it reads what comes */
};
/* All there are, in the order of their first RP; at most SHARE_READERS_MAX (LIMIT). What was
 * granted is told by the hub and proven only to who opens it. (waits) */
int share_list(struct reader *r, struct share_reader out[SHARE_READERS_MAX], size_t *count,
               struct err *e);

struct share_granted {
    uint64_t keys;    /* data keys of the history */
    uint64_t had;     /* were open to the reader already */
    uint64_t granted; /* are now */
    uint64_t closed;  /* are open to none of the keys that were given */
};
/* Opens all data keys of the history with `keys`, wraps them for `to`, and leaves that at the hub.
 * Errors: AUTH when none can be opened; NET. (waits) */
int share_grant(struct reader *r, struct key_secret *const *keys, size_t count,
                const struct key_public *to, struct share_granted *out, struct err *e);

#endif
