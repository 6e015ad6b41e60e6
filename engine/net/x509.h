/* x509.h: TLS with clients that are known by certificates of a CA, where a link knows its peers by
 * pinned keys: for exports over TCP, whose clients (QEMU's tls-creds-x509, libnbd's nbds://,
 * nbd-client) have nothing else.
 *
 * The directory is theirs, too: ca-cert.pem, server-cert.pem, server-key.pem, and ca-crl.pem when
 * there is one. Both ends show certificates; TLS 1.3 only. What is renewed in the directory counts
 * from the next connection on; when it is broken, what was read before goes on. */
#ifndef RELAIS_X509_H
#define RELAIS_X509_H

#include "stream.h"

struct x509;

/* Errors: CONFIG, naming the file. (waits) */
int x509_open(struct x509 **out, const char *dir, struct err *e);
void x509_free(struct x509 *x);

/* Makes s, which has said nothing yet, a TLS stream, whose client has proven that the CA signed its
 * certificate. Within timeout_ns. The socket stays the caller's. Errors: AUTH, NET, PROTO. (waits)
 */
int x509_accept(struct x509 *x, struct stream *s, uint64_t timeout_ns, struct err *e);

/* Whether the client's certificate is for this name: a DNS subject alternative name, or, without
 * any, the common name. Wildcards in it count for nothing. */
bool x509_is(const struct stream *s, const char *name);
/* Its common name, or else its first DNS name, for people: fit to be logged. */
#define X509_NAME_TEXT 80
void x509_name(const struct stream *s, char dst[X509_NAME_TEXT]);

#endif
