/* grants.h: data keys of a history that were wrapped for readers later, as the hub keeps them.
 *
 * What the hub gives is believed by its fruit only: a wrap is right when the key in it is the one
 * that the manifest names (datakey.h). Private to the reader. */
#ifndef RELAIS_GRANTS_H
#define RELAIS_GRANTS_H

#include "history.h"

struct grant {
    uint8_t id[DATAKEY_ID_LEN];
    struct datakey_wrap wrap;
};
struct grants {
    struct grant *list; /* by id, then reader */
    size_t count, cap;
};

/* Fetches those of one reader; NULL: of all. Adds to g. Errors: LIMIT, PROTO, NET. (waits) */
int grants_fetch(struct grants *g, struct reader *r, const uint8_t *reader, struct err *e);
/* Adds a batch for one reader, as it came; grants_sort then puts all in order. Pure. Errors: PROTO.
 */
int grants_add(struct grants *g, const uint8_t *reader, size_t reader_len, const uint8_t *p,
               uint32_t len, struct err *e);
void grants_sort(struct grants *g);
void grants_free(struct grants *g);
/* The first one of a data key, those of all readers side by side; NULL: none. */
const struct grant *grants_find(const struct grants *g, const uint8_t id[DATAKEY_ID_LEN]);
bool grants_has(const struct grants *g, const uint8_t id[DATAKEY_ID_LEN],
                const uint8_t reader[KEY_FP_LEN]);

/* Opens a data key: by its wraps in the manifest, else by what was granted, which is fetched when
 * it is needed first. Errors: AUTH, naming who could open it. (waits) */
int grants_unwrap(uint8_t dst[SEAL_KEY_LEN], struct reader *r, const struct datakey_wraps *w,
                  struct key_secret *const *keys, size_t count, struct err *e);

#endif
