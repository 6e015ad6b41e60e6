/* unit.h: the pieces of a plan in portions of about 1 MiB that are fetched, opened and written at
 * once. Private to the reader. */
#ifndef RELAIS_UNIT_H
#define RELAIS_UNIT_H

#include "plan.h"
#include "state.h"
#include "target.h"

#define UNIT_SPAN    (1 * MIB) /* sealed bytes, gaps included; or one extent, if that is more */
#define UNIT_PLAIN   (2 * MIB) /* plain bytes of the extents */
#define UNIT_KEY_LEN 32
#define UNIT_GAP     (16 * KIB) /* unneeded bytes that are cheaper to fetch than another request */

struct unit {
    size_t first, count; /* pieces; all of one delta */
    uint64_t place;
    uint32_t span, plain_len;
};

/* Keys of the deltas that a plan draws on, one per source, by number of the point. */
struct unit_keys {
    size_t points;
    struct unit_source *(*of); /* NULL for points that are not needed */
    uint16_t *counts;
};
struct unit_source {
    struct seal_key key;
    uint64_t rp; /* 0: nothing of this source is needed */
};

/* What the units of one restore share. */
struct unit_job {
    struct reader *r;
    const char *volume;
    uint64_t rp;
    const struct plan *plan;
    struct unit_keys keys;
    struct target *target;
    uint8_t group_id[SEAL_ID_LEN], volume_id[SEAL_ID_LEN];
    uint8_t mac_key[UNIT_KEY_LEN];
    const struct reader_damage *damage; /* NULL: the first damage is the end */
    uint64_t damaged;                   /* extents */
};

/* Memory of one unit in flight. */
struct unit_slot {
    struct seal *seal;
    uint8_t *sealed, *plain; /* plain is aligned for reads past the page cache */
};

/* Cuts the plan into units; the caller frees. */
struct unit *units_make(const struct plan *p, size_t *count);
/* Opens the data keys. Errors: AUTH, naming who could open them. (waits) */
int unit_keys_open(struct unit_keys *k, struct reader *r, const struct plan *p,
                   struct key_secret *const *restore_keys, size_t count, struct err *e);
void unit_keys_wipe(struct unit_keys *k);
/* The key that what is written of this plan is hashed with: who cannot open the plan's data keys
 * cannot compute it. */
void unit_mac_key(uint8_t dst[UNIT_KEY_LEN], const struct unit_keys *k,
                  const struct digest *identity);

void unit_slot_init(struct unit_slot *s);
void unit_slot_free(struct unit_slot *s);
/* Fetches, opens and writes unit n; mac is the hash of the bytes that the target holds then. Errors
 * name the recovery point, the volume, the offset. (waits) */
int unit_run(struct unit_job *j, struct unit_slot *s, const struct unit *u, size_t n,
             uint8_t mac[STATE_MAC_LEN], struct err *e);
/* Reads unit n back: *holds is whether the target's bytes have this hash. (waits) */
int unit_check(struct unit_job *j, struct unit_slot *s, const struct unit *u, size_t n,
               const uint8_t mac[STATE_MAC_LEN], bool *holds, struct err *e);
/* First byte of the volume that it covers. */
uint64_t unit_start(const struct plan *p, const struct unit *u);

#endif
