/* nbd.h: the numbers of the NBD protocol as far as relais speaks it, and its errors.
 *
 * The protocol is "The NBD protocol", doc/proto.md of the NetworkBlockDevice project; sections are
 * named in quotes. All numbers on the wire are big-endian. This folder is the protocol alone: bytes
 * in, decisions and bytes out, no I/O, and no memory that grows with what a client says.
 *
 *   handshake.h  "Newstyle negotiation", "Fixed newstyle negotiation", "Option types"
 *   request.h    "Request message", "Request types", "Size constraints"
 *   reply.h      "Simple reply message", "Structured reply chunk message"
 *
 * Not spoken: the oldstyle negotiation, extended headers, TLS (a unix socket's access is its mode).
 */
#ifndef RELAIS_NBD_H
#define RELAIS_NBD_H

#include "bounds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "Transmission flags". */
enum {
    NBD_FLAG_HAS_FLAGS = 1 << 0,
    NBD_FLAG_READ_ONLY = 1 << 1,
    NBD_FLAG_SEND_FLUSH = 1 << 2,
    NBD_FLAG_SEND_FUA = 1 << 3,
    NBD_FLAG_SEND_TRIM = 1 << 5,
    NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6,
    NBD_FLAG_SEND_DF = 1 << 7,
    NBD_FLAG_CAN_MULTI_CONN = 1 << 8,
    NBD_FLAG_SEND_CACHE = 1 << 10,
    NBD_FLAG_SEND_FAST_ZERO = 1 << 11
};

/* "Request types". */
enum nbd_command {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_CACHE = 5,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7
};

/* "Command flags". */
enum {
    NBD_CMD_FLAG_FUA = 1 << 0,
    NBD_CMD_FLAG_NO_HOLE = 1 << 1,
    NBD_CMD_FLAG_DF = 1 << 2,
    NBD_CMD_FLAG_REQ_ONE = 1 << 3,
    NBD_CMD_FLAG_FAST_ZERO = 1 << 4
};

/* "Error values". */
enum nbd_errno {
    NBD_OK = 0,
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95,
    NBD_ESHUTDOWN = 108
};

/* "The `base:allocation` metadata context": the flags of an extent. */
enum { NBD_STATE_HOLE = 1 << 0, NBD_STATE_ZERO = 1 << 1 };

/* An export: what a client may choose. The strings are the caller's. */
struct nbd_export {
    const char *name;        /* at most NBD_STRING_MAX bytes */
    const char *description; /* for people; "" none */
    uint64_t size;           /* a multiple of block_min */
    uint16_t flags;          /* NBD_FLAG_*; HAS_FLAGS and SEND_DF are added by the handshake */
    uint32_t block_min, block_preferred; /* powers of two; "Size constraints" */
};

/* What a handshake agreed on: all that the transmission phase needs to know. */
struct nbd_session {
    const struct nbd_export *export;
    bool structured; /* structured replies */
    bool allocation; /* base:allocation is selected, as context NBD_CONTEXT_ALLOCATION */
};

#define NBD_CONTEXT_ALLOCATION 1u

/* The error value for a result of ours: 0, or a negative errno. The one place where they meet. */
enum nbd_errno nbd_error(int res);
/* "EINVAL" and so on; for logs and tests. Never NULL. */
const char *nbd_error_name(enum nbd_errno error);

#endif
