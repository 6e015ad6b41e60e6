/* catalog.h: how a hub names objects and describes a committed RP in the store. Pure.
 *
 * Objects of a delta: "GROUP/RP16/ID16.PPPP": RP in 16 hex digits; 8 bytes: of what a site shipped
 * the first of the manifest's digest, of what the hub compacted random ones; the part in 4 hex
 * digits. An object is a PART_SIZE slice of the delta file,
 * the last ones with manifest and trailer. */
#ifndef RELAIS_CATALOG_H
#define RELAIS_CATALOG_H

#include "manifest.h"
#include "store.h"

#define CATALOG_ID_LEN 8u

struct catalog_entry {
    uint64_t rp_first, rp;
    struct digest digest, parent;
    struct digest link; /* what a child names as its parent (manifest.h) */
    int64_t cut_time, committed_time;
    int64_t clock; /* the group's, by which its RPs grow older (retention.h) */
    /* Of all that was committed in the group, up to this one; what was removed since counts. */
    uint64_t total_bytes, total_objects, total_rps;
    uint32_t flags;             /* MANIFEST_* */
    uint64_t good_from;         /* manifest.h */
    uint8_t id[CATALOG_ID_LEN]; /* in the names of its objects */
    uint64_t file_len, plain_bytes;
    uint32_t manifest_len;
    char label[LABEL_MAX_LEN + 1];
};

void catalog_object_name(char dst[STORE_NAME_MAX], const char *group, uint64_t rp,
                         const uint8_t id[CATALOG_ID_LEN], uint32_t part);
/* Whether a name is one of an object of a delta of this group, and of which. */
bool catalog_parse_name(const char *name, const char *group, uint64_t *rp,
                        uint8_t id[CATALOG_ID_LEN]);
/* Whether the RP is offered for restore: as manifest_offers. */
bool catalog_offers(const struct catalog_entry *entry, uint64_t *good_from);
int catalog_encode(struct store_head *out, const struct catalog_entry *entry);
/* Objects that the delta's file has. */
uint32_t catalog_objects(const struct catalog_entry *entry);
/* Errors: CORRUPT. */
int catalog_decode(struct catalog_entry *out, const struct store_head *in, struct err *e);

#endif
