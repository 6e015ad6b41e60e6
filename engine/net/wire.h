/* wire.h: the two buffers between OpenSSL and the socket, and the BIO that OpenSSL sees of them.
 * The BIO never waits: it asks to be called again. Private to engine/net. */
#ifndef RELAIS_WIRE_H
#define RELAIS_WIRE_H

#include "bounds.h"
#include "frame.h"

#include <openssl/bio.h>

/* What the socket gave is decrypted straight to where it belongs. A whole frame, encrypted, fits
 * the other one: 22 bytes per record of 16 KiB, and what the reading side has to say (key updates,
 * alerts) in between. */
#define WIRE_IN  (128 * KIB)
#define WIRE_OUT (FRAME_HEADER_LEN + MESSAGE_MAX + PAYLOAD_MAX + 8 * KIB)

struct wire {
    uint8_t *in, *out;
    size_t in_at, in_end;   /* received and not yet taken */
    size_t out_at, out_end; /* to be sent; appending leaves what is there in its place */
};

void wire_init(struct wire *w);
void wire_free(struct wire *w);
/* Takes up to len of what was received; returns how much. */
size_t wire_take(struct wire *w, void *dst, size_t len);
/* Appends up to len bytes to what will be sent; returns how much fitted. */
size_t wire_put(struct wire *w, const void *src, size_t len);
/* w is borrowed. */
BIO *wire_bio(struct wire *w);

#endif
