/* inspect_print.h: what inspect.c found, for people and as JSON. */
#ifndef RELAIS_INSPECT_PRINT_H
#define RELAIS_INSPECT_PRINT_H

#include "index.h"
#include "manifest.h"

#include <stdio.h>

struct inspection {
    const char *path;
    int fd;
    uint64_t file_len;
    const struct key_public *signer; /* NULL: not checked */
    uint8_t *manifest_bytes, *index;
    uint32_t manifest_len;
    struct manifest m;
    struct digest digest; /* of the manifest: names the delta */
    bool signature_ok, index_ok;
    uint32_t parts_ok;
    uint32_t data_extents, zero_extents; /* as the index counts them */
    uint64_t plain_bytes, zero_bytes, sealed_bytes, frame_bytes;
    const char *failure; /* NULL: all checks passed */
};

/* A reader over the index; it->index must be there. */
void inspect_reader(const struct inspection *it, struct index_reader *r);
/* Extents are printed only when the index is sound. */
void inspect_print_text(const struct inspection *it, bool all_extents, FILE *out);
void inspect_print_json(const struct inspection *it, bool all_extents, FILE *out);

#endif
