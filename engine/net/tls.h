/* tls.h: the TLS half of link.h that does no I/O: certificate, pinning, OpenSSL's errors in words.
 * Private to engine/net. */
#ifndef RELAIS_TLS_H
#define RELAIS_TLS_H

#include "link.h"

#include <openssl/ssl.h>

/* What the check of the peer's certificate saw. Lives as long as the SSL made for it. */
struct tls_verdict {
    const struct tls_peer *expect; /* who must answer; NULL: any pinned peer */
    const struct tls_peer *peer;   /* whose key was shown; NULL: nobody's */
    bool shown, refused;           /* a key was shown; it was refused */
    struct key_public key;         /* the key shown, when it was one */

    /* Guests, who are not pinned: connecting to the key with this fingerprint (NULL: no guest);
     * accepting one who asked to be one. Their peer is the visitor, without a name. */
    const uint8_t *pin;
    size_t pin_len;
    bool guest;
    struct tls_peer visitor;
};

/* NULL when no such peer is pinned. */
const struct tls_peer *tls_peer(const struct tls *t, const char *name);

/* A new SSL for one connection, which takes over bio. Errors: INTERNAL (bio is freed then). */
int tls_open(SSL **out, struct tls *t, bool server, BIO *bio, struct tls_verdict *v, struct err *e);

/* Turns the failure that an SSL call just left in OpenSSL's queue into an error: AUTH when a key
 * was refused here or there, else PROTO. Clears the queue. */
int tls_error(const struct tls *t, const struct tls_verdict *v, bool server, struct err *e);

#endif
