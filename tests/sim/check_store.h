/* check_store.h: where the judge finds what hubs keep: the files of a dir store on a simulated
 * disk, with a walker of its own, or a simulated pool. Behind every engine's back. */
#ifndef SIM_CHECK_STORE_H
#define SIM_CHECK_STORE_H

#include "disk.h"
#include "pool.h"

#define CHECK_ID_LEN   8u
#define CHECK_BODY_LEN (10u + STORE_ENTRY_MAX) /* rp u64, length u16, value */

/* A byte of a file that the scenario has spoilt, as a disk does. The judge reads what was there:
 * it is the engine that must notice. */
struct check_rot {
    char path[256];
    uint64_t off;
    uint8_t was, is;
};
struct check_rots {
    struct check_rot *rots;
    size_t count;
};

struct check_store {
    struct disk *disk; /* NULL: it is a pool */
    const struct check_rots *rots;
    char root[128]; /* of a dir store */
    const struct pool *pool;
};

/* The bodies of a group's catalog entries, one after the other, and before them the head's:
 * malloc'd; *count: of the entries. NULL: there is no head; then *wrong says so if there should be
 * one, and is NULL otherwise. */
uint8_t *check_store_bodies(const struct check_store *s, const char *site, const char *group,
                            uint64_t *count, const char **wrong);
/* An object of a delta, malloc'd; NULL: there is none. */
uint8_t *check_store_object(const struct check_store *s, const char *site, const char *group,
                            uint64_t rp, const uint8_t id[CHECK_ID_LEN], unsigned part,
                            size_t *len);
/* Its length; 0: there is none. */
uint64_t check_store_object_len(const struct check_store *s, const char *site, const char *group,
                                uint64_t rp, const uint8_t id[CHECK_ID_LEN], unsigned part);

#endif
