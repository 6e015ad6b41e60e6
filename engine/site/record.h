/* record.h: a small file of state, replaced as a whole and checked when read:
 *
 *   magic (8) | body | SHA-256 of magic and body (32)
 *
 * After a crash it is the old one or the new one. Both calls (wait). */
#ifndef RELAIS_RECORD_H
#define RELAIS_RECORD_H

#include "bytes.h"
#include "err.h"

#define RECORD_MAGIC_LEN 8
#define RECORD_MAX       4096u

/* Errors: IO, SPACE, naming the path. */
int record_save(const char *path, const char magic[RECORD_MAGIC_LEN], const struct bytes_out *body,
                struct err *e);
/* *body views *file, which the caller frees. Errors: NOENT, IO, CORRUPT (naming the path). */
int record_load(const char *path, const char magic[RECORD_MAGIC_LEN], void **file,
                struct bytes_in *body, struct err *e);

#endif
