/* attest.h: signs what the hub made of deltas of this site, when it follows from them.
 *
 * A hub that compacts has no key, and a reader believes nothing but the site's signature. So the
 * hub computes what a run of deltas folds to and asks; the site reads the manifests and indexes of
 * the run from the hub, all under its own signature and chained, computes the same (engine/folding)
 * and signs only what is equal. What it takes from the hub are the digests of the parts: whether
 * the sealed bytes are right the tags in the index say. Nothing that the hub has not committed is
 * ever attested, and never anything that reaches behind what is known here to be committed. */
#ifndef RELAIS_ATTEST_H
#define RELAIS_ATTEST_H

#include "shipper.h"

/* A fiber: asks the hub for work as long as the connection lasts. arg: the shipper. (waits) */
void attest_main(void *arg);

/* What is asked for. */
struct attest_request {
    const char *group;
    uint64_t rp_first, rp;   /* the run */
    struct digest inputs;    /* run.h */
    const uint8_t *manifest; /* unsigned */
    uint32_t len;
};
/* Checks the request against the hub's history and signs. Errors: AUTH (it does not follow from the
 * deltas, or they are not this site's), AGAIN (history is another by now), CHAIN, NOENT (no such
 * group), those of the link. (waits) */
int attest_check(struct shipper *s, struct caller *c, const struct attest_request *q,
                 uint8_t signature[MANIFEST_SIG_LEN], struct err *e);

#endif
