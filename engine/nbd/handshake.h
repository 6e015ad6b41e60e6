/* handshake.h: the server's side of the handshake: from the greeting to the transmission phase.
 *
 *     server: NBDMAGIC IHAVEOPT flags:16                                       (the greeting)
 *     client: flags:32
 *     client: IHAVEOPT option:32 length:32 data[length <= NBD_OPTION_MAX]      (up to
 *     server: 0x3e889045565a9 option:32 reply:32 length:32 data                 NBD_OPTIONS_MAX
 * times)
 *
 * and so on until NBD_OPT_GO or NBD_OPT_EXPORT_NAME begins the transmission phase. Options that are
 * known: EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED_REPLY, LIST_META_CONTEXT and
 * SET_META_CONTEXT for base:allocation. All others are answered with NBD_REP_ERR_UNSUP. An empty
 * name means the export, when there is exactly one.
 *
 * TLS is NBD's "FORCEDTLS" or "NOTLS": where it is required, nothing is said of exports and nothing
 * is agreed on before it: every option but STARTTLS and ABORT is answered with
 * NBD_REP_ERR_TLS_REQD, and EXPORT_NAME, which has no such answer, ends the connection. What a
 * client says in clear behind STARTTLS could have been slipped in by anybody: it ends the
 * connection, too.
 *
 * What breaks the protocol in a way that no reply can tell ends the connection. */
#ifndef RELAIS_HANDSHAKE_H
#define RELAIS_HANDSHAKE_H

#include "bytes.h"
#include "nbd.h"

#define NBD_GREETING_LEN 18u

enum nbd_next {
    NBD_MORE,     /* go on with the next bytes of the client */
    NBD_TRANSMIT, /* h->session holds from here on */
    NBD_STARTTLS, /* send what is in out, then do the TLS handshake, then nbd_handshake_secured */
    NBD_CLOSE     /* send what is in out, then close */
};

enum nbd_tls {
    NBD_TLS_NONE,     /* a unix socket: its mode is the guard */
    NBD_TLS_REQUIRED, /* and not there yet */
    NBD_TLS_ON
};

struct nbd_handshake {
    enum nbd_tls tls;
    const struct nbd_export *exports; /* borrowed */
    size_t count;
    bool greeted; /* the client's flags have come */
    bool fixed, no_zeroes, structured;
    const struct nbd_export *context_of; /* of which base:allocation is selected */
    unsigned options;                    /* taken so far */
    struct nbd_session session;
    const char *why; /* NBD_CLOSE: what the client did wrong; NULL when it said good-bye */
};

/* tls: NONE, or REQUIRED; then the exports may be given by nbd_handshake_secured. */
void nbd_handshake_init(struct nbd_handshake *h, enum nbd_tls tls, const struct nbd_export *exports,
                        size_t count);
/* TLS is up, and these exports are for whoever is at its other end. What follows is in TLS. */
void nbd_handshake_secured(struct nbd_handshake *h, const struct nbd_export *exports, size_t count);
void nbd_handshake_greeting(uint8_t out[NBD_GREETING_LEN]);

/* Takes the client's next message from the len bytes at p. *used: its length, or 0 when it is not
 * whole yet (which happens with less than NBD_HANDSHAKE_MAX bytes only). Answers are put in out,
 * which the caller made with bytes_out(NBD_ANSWER_MAX) and sends and empties after each call. */
enum nbd_next nbd_handshake_take(struct nbd_handshake *h, const uint8_t *p, size_t len,
                                 size_t *used, struct bytes_out *out);

#endif
