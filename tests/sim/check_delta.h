/* check_delta.h: one committed delta, opened and applied by other code than the engine's. */
#ifndef SIM_CHECK_DELTA_H
#define SIM_CHECK_DELTA_H

#include "check.h"
#include "manifest.h"

struct check_volume {
    char name[NAME_MAX_LEN + 1];
    uint64_t size;  /* it has by now */
    uint64_t shown; /* it had at the newest RP that was applied; 0: none was */
    uint64_t max;   /* it may ever have */
    bool captured;
    uint8_t *content; /* whole sectors, up to max; zeroes behind `shown` */
};

struct check_image {
    const char *site, *group;
    const struct key_public *signer;
    struct key_secret *restore;
    struct check_volume volumes[CHECK_VOLUMES];
    unsigned count;
};

/* What the catalog says of an RP. */
struct check_entry {
    uint64_t rp_first, rp, file_len;
    struct digest digest, parent, link;
    uint32_t flags, manifest_len;
    int64_t committed; /* by the hub's clock */
    uint64_t good_from;
    uint8_t id[CHECK_ID_LEN];
};

/* The body of a slot or of the head file. 0, or -1. */
int check_entry_decode(struct check_entry *out, const uint8_t *body);
/* Verifies the delta file against its entry and applies it. */
int check_delta_apply(struct check_image *image, const struct check_entry *entry,
                      const uint8_t *file, bool *complete, struct err *e);

#endif
