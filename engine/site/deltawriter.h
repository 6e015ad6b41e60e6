/* deltawriter.h: writes one delta file into the spool.
 *
 * Sealed extents are gathered into buffers of PART_SIZE (one copy: extents are as small as a
 * sector, and a write for each would cost more); a full one is digested on a worker and written by
 * a fiber of its own while the next fills. The file grows under PATH.tmp and takes its name when
 * all of it is durable. All calls but the two of bookkeeping (wait). */
#ifndef RELAIS_DELTAWRITER_H
#define RELAIS_DELTAWRITER_H

#include "bufpool.h"
#include "index.h"
#include "manifest.h"
#include "paths.h"

struct deltawriter;

/* parts: buffers of PART_SIZE. sources: how many the manifest will list. Errors: IO, SPACE. */
int deltawriter_new(struct deltawriter **out, struct bufpool *parts, const char *path,
                    uint16_t sources, struct err *e);
/* Adds entries in index order, whose sealed bytes follow one another at `sealed`; sets their
 * places. Errors: IO, SPACE, LIMIT (bounds.h; the caller closes deltas before). */
int deltawriter_append(struct deltawriter *w, struct index_entry *entries, uint32_t count,
                       const uint8_t *sealed, struct err *e);
/* The same in two steps, for who has the bytes of an entry in pieces: an entry, then its
 * sealed_len bytes. */
int deltawriter_entry(struct deltawriter *w, struct index_entry *entry, struct err *e);
int deltawriter_bytes(struct deltawriter *w, const uint8_t *sealed, size_t len, struct err *e);
/* Bytes of the file so far, and those that index and manifest will add at most. Bytes of the
 * index, and entries, so far. */
uint64_t deltawriter_len(const struct deltawriter *w);
uint64_t deltawriter_index_len(const struct deltawriter *w);
uint32_t deltawriter_extents(const struct deltawriter *w);
/* Writes index, manifest and trailer, syncs, renames, syncs the directory `dir`. m: everything but
 * extents, sealed_bytes, index and parts, which are set here (parts stay the writer's). The encoded
 * manifest's digest and the file's length come back. Errors: IO, SPACE, LIMIT. On an error the file
 * is not there. Frees the writer in any case. */
int deltawriter_finish(struct deltawriter *w, struct manifest *m, const struct key_secret *sign,
                       const char *dir, struct digest *digest, uint64_t *file_len,
                       uint32_t *manifest_len, struct err *e);
/* Removes what was written; works in a cancelled fiber. Frees the writer. NULL is fine. */
void deltawriter_abort(struct deltawriter *w);

#endif
