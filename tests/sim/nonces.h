/* nonces.h: watches that no data key and nonce ever seal two things, over all deltas ever seen, in
 * spools and at the hub, of history or of what was given up; and that no data key lives too long.
 *
 * A nonce is the salt of a source, the volume's number and the first sector; what was sealed under
 * it is known by its tag. The same extent may lie in several deltas (merged ones), but not another
 * one. */
#ifndef SIM_NONCES_H
#define SIM_NONCES_H

#include "key.h"
#include "world.h"

struct nonces;

/* restore: opens all keys; borrowed. */
struct nonces *nonces_new(struct world *w, struct key_secret *restore);
void nonces_free(struct nonces *n);
/* Whether this manifest has been taken in. */
bool nonces_known(const struct nonces *n, const uint8_t *manifest, size_t len);
/* Takes in a whole delta file of that site; one that is damaged says nothing. where: for failures.
 */
void nonces_take(struct nonces *n, const char *where, const struct key_public *signer,
                 const uint8_t *file, size_t len);

#endif
