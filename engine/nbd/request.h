/* request.h: requests of the transmission phase: "Request message", "Request types".
 *
 *     0x25609513:32 flags:16 command:16 cookie:64 offset:64 length:32, then for WRITE length bytes
 *
 * Every bound is checked here, so that who runs a request can rely on it: offset and length lie
 * within the export and are multiples of its block_min, READ and WRITE move at most NBD_PAYLOAD_MAX
 * bytes, flags are those that the command knows, nothing is written to a read-only export. A length
 * of 0 is allowed but for BLOCK_STATUS, whose reply could not be written. */
#ifndef RELAIS_REQUEST_H
#define RELAIS_REQUEST_H

#include "nbd.h"

#define NBD_REQUEST_LEN 28u

enum nbd_fate {
    NBD_RUN,
    NBD_REFUSE,     /* reply with error and text, having skipped the payload */
    NBD_DISCONNECT, /* the client goes: finish what runs, then close */
    NBD_DROP        /* the client is out of step, or sends too much to skip: close; see text */
};

struct nbd_request {
    uint16_t flags, command;
    uint64_t cookie, offset;
    uint32_t length;
    uint32_t payload;     /* bytes that follow the request: length of a WRITE, else 0 */
    enum nbd_errno error; /* NBD_REFUSE */
    const char *text;     /* why, static; NBD_REFUSE, NBD_DROP */
};

enum nbd_fate nbd_request_decode(struct nbd_request *out, const uint8_t p[NBD_REQUEST_LEN],
                                 const struct nbd_session *session);

/* "READ" and so on; never NULL. */
const char *nbd_command_name(uint16_t command);

#endif
