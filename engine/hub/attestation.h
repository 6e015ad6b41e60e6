/* attestation.h: a site is asked to sign what the hub made of its deltas.
 *
 * The site asks for work (AttestGet) on its connection and is answered when there is some, or after
 * a while that there is none; with the next question it tells what came of it. One proposal at a
 * time, whose owner is the fiber that compacts. */
#ifndef RELAIS_ATTESTATION_H
#define RELAIS_ATTESTATION_H

#include "session.h"

#define ATTEST_HOLD_NS (20 * IO_S)      /* a question is held back so long */
#define ATTEST_WAIT_NS (15 * 60 * IO_S) /* and a proposal waits so long for its answer */

struct proposal {
    const char *site, *group;
    uint64_t rp_first, rp; /* the run */
    struct digest inputs;
    const uint8_t *manifest; /* unsigned */
    size_t len;
    /* attestation.c's */
    uint64_t number;
    const struct session *sent_to; /* NULL: to nobody yet */
    bool done, is_signed;
    uint8_t signature[MANIFEST_SIG_LEN];
    struct err why;
    struct fiber_cond answered;
};

/* Whether a connection of the site takes proposals. */
bool attestation_possible(const struct hub *h, const char *site);
/* Asks and waits for the signature. Errors: AGAIN (the site is not there), CANCELED, and why the
 * site refused. (waits) */
int attestation_ask(struct hub *h, struct proposal *p, struct err *e);
/* An AttestGet came. */
int attestation_serve(struct session *s, uint32_t id, const Relais__AttestGet *m, struct err *e);
/* The connection ends: what it was asked, another may be. */
void attestation_leave(struct session *s);

#endif
