/* reply.h: replies of the transmission phase: "Simple reply message", "Structured reply chunk
 * message", "Structured reply types".
 *
 *     simple: 0x67446698:32 error:32 cookie:64, then for a READ that succeeded its data
 *     chunk:  0x668e33ef:32 flags:16 type:16 cookie:64 length:32, then length bytes by type:
 *       NONE 0          nothing
 *       OFFSET_DATA 1   offset:64, data
 *       OFFSET_HOLE 2   offset:64 length:32
 *       BLOCK_STATUS 5  context:32, then per extent length:32 flags:32
 *       ERROR 32769     error:32 length:16 text
 *
 * With structured replies a READ is answered by content chunks and one end, others by a simple
 * reply when they succeed, which is shorter, and by a chunk with a text when they fail. Each
 * function puts its bytes at dst and returns their number. */
#ifndef RELAIS_REPLY_H
#define RELAIS_REPLY_H

#include "request.h"

#define NBD_REPLY_SIMPLE_LEN          16u
#define NBD_REPLY_DATA_HEAD           28u /* most bytes before a READ's data */
#define NBD_REPLY_HOLE_LEN            32u
#define NBD_REPLY_END_MAX             160u /* most bytes of nbd_reply_end */
#define NBD_REPLY_STATUS_LEN(extents) (24u + 8u * (size_t)(extents))

/* What stands before length bytes of a READ's data, which are those at offset. last: no chunk and
 * no nbd_reply_end will follow; always so with simple replies, where the data are the whole
 * request's. */
size_t nbd_reply_data(uint8_t *dst, const struct nbd_session *s, uint64_t cookie, uint64_t offset,
                      uint32_t length, bool last);
/* How long that is. */
size_t nbd_reply_data_head(const struct nbd_session *s);
/* length > 0 zeroes at offset. With structured replies only. */
size_t nbd_reply_hole(uint8_t *dst, uint64_t cookie, uint64_t offset, uint32_t length, bool last);

struct nbd_extent {
    uint32_t length; /* > 0 */
    uint32_t flags;  /* NBD_STATE_* */
};
/* The reply to BLOCK_STATUS: 1 to NBD_EXTENTS_MAX extents of base:allocation, from the request's
 * offset on. */
size_t nbd_reply_status(uint8_t *dst, uint64_t cookie, const struct nbd_extent *extents,
                        unsigned count);

/* The reply that ends a request which has no data, or the last of one whose content chunks had
 * `last` false. text: for people, cut to what fits; used with error only. dst: NBD_REPLY_END_MAX.
 */
size_t nbd_reply_end(uint8_t *dst, const struct nbd_session *s, const struct nbd_request *r,
                     enum nbd_errno error, const char *text);

#endif
