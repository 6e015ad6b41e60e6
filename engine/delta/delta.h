/* delta.h: the file that a delta is.
 *
 *   header (16) | sealed extents ... | index | tables | manifest | trailer (16)
 *
 * header:  "RELAISD1", version u32, zero u32
 * trailer: manifest length u32, zero u32, "RELAISE1"
 *
 * Cut into PART_SIZE slices it is the objects of the store; the slices are what the link sends.
 * FORMAT.md draws every byte. Pure. */
#ifndef RELAIS_DELTA_H
#define RELAIS_DELTA_H

#include "manifest.h"

#define DELTA_HEADER_LEN  16
#define DELTA_TRAILER_LEN 16
#define DELTA_VERSION     1u

void delta_header(uint8_t dst[DELTA_HEADER_LEN]);
int delta_header_check(const uint8_t src[DELTA_HEADER_LEN], struct err *e);
void delta_trailer(uint8_t dst[DELTA_TRAILER_LEN], uint32_t manifest_len);
/* Given the last 16 bytes and the size of the file: where the manifest lies. Errors: INPUT. */
int delta_trailer_parse(const uint8_t src[DELTA_TRAILER_LEN], uint64_t file_len, uint64_t *place,
                        uint32_t *len, struct err *e);
/* Length of the whole file whose manifest this is. */
uint64_t delta_file_len(const struct manifest *m, uint32_t manifest_len);

#endif
