/* indexes.h: the volumes of a group with what tells their changes, a hash index or a capture, and
 * the order of writes that keeps those true (scanned.h says why). All calls (wait). */
#ifndef RELAIS_INDEXES_H
#define RELAIS_INDEXES_H

#include "capture.h"
#include "config.h"
#include "dirty.h"
#include "hashindex.h"
#include "scanned.h"
#include "seal.h"

struct volume {
    const struct config_volume *config;
    uint16_t number; /* in the manifest's table: captured ones first, then by name, so that it does
                        not depend on the file's order */
    uint8_t id[SEAL_ID_LEN];
    struct capture *capture; /* NULL: by scan, with the index */
    struct hashindex index;
    struct dirty *dirty; /* of a scan; a capture has its own */
};

struct indexes {
    struct chain *chain;
    struct volume *volumes; /* by number */
    uint16_t count;
    uint8_t group_id[SEAL_ID_LEN];
    struct scanned scanned;
    bool trusted;         /* false: indexes_recover must come before the next scan */
    bool seeding;         /* something started over: the next scan ships (nearly) everything */
    bool scans, captures; /* whether it has such volumes */
};

/* Prepares memory only. */
void indexes_init(struct indexes *x, struct chain *chain, const struct config_group *config,
                  const struct key_secret *hash_key);
/* Puts the captured volumes into service; removes what is left of volumes' other lives: an index or
 * a log that was not kept up meanwhile. Once; the chain need not be
 * recovered yet. Errors: as capture_open. */
int indexes_open_captures(struct indexes *x, struct err *e);
/* Opens all indexes and makes them true: marks what an interrupted indexes_seal left doubtful,
 * starts over where nothing can be known. Errors: IO, SPACE. */
int indexes_recover(struct indexes *x, struct err *e);
/* A delta with these hashes is durable and is the chain's tip: writes them. On an error the indexes
 * are not trusted until recovered; the delta stays. */
int indexes_seal(struct indexes *x, const struct hashes *h, struct err *e);
/* Bytes of captured volumes that are in no delta. Does not wait. */
uint64_t indexes_captured_dirty(const struct indexes *x);
/* Nothing in them counts any more, durably: before the chain goes back or another way. */
int indexes_forget(struct indexes *x, struct err *e);
/* Nobody writes captured volumes any more: leaves as little as there is to do after a restart. */
void indexes_rest(struct indexes *x);
void indexes_done(struct indexes *x);

#endif
