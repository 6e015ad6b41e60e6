/* slots.h: a small record that is rewritten where it stands: no byte of space is needed for it, so
 * that it can be written when its file system is full, and what it says can free space.
 *
 *   two slots of SLOT_LEN bytes, each: magic (8) | number u64 | length u32 | body | SHA-256 (32)
 *
 * A new record goes to the slot that does not hold the newest; the valid one with the greater
 * number counts. A slot is one write of less than a sector, so a crash leaves it as it was or as it
 * is to be; should it be torn all the same, the other holds what was before. All calls (wait). */
#ifndef RELAIS_SLOTS_H
#define RELAIS_SLOTS_H

#include "record.h"

#define SLOT_LEN      4096u
#define SLOT_BODY_MAX 400u

/* How the record stands on disk. Zero-initialised: there is none. */
struct slots {
    uint64_t number; /* of the newest; 0: the file must be made */
    bool decayed;    /* one slot holds neither a record nor nothing: perhaps it was the newest */
};

/* The newest record, durable from now on: *body views *file, which the caller frees. Errors: NOENT,
 * IO, CORRUPT (naming the path; the file will be made anew). */
int slots_load(struct slots *s, const char *path, const char magic[RECORD_MAGIC_LEN], void **file,
               struct bytes_in *body, struct err *e);
/* Durable when it returns 0; after an error the one before counts. Errors: IO; SPACE only while
 * there is no file yet. */
int slots_save(struct slots *s, const char *path, const char magic[RECORD_MAGIC_LEN],
               const struct bytes_out *body, struct err *e);

#endif
