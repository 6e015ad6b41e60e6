/* inspect.h: `relais inspect FILE`: reads one delta file whole, checks all that can be checked
 * without a restore key, and says what is in it. Synchronous; memory is bounded by one part and the
 * index. */
#ifndef RELAIS_INSPECT_H
#define RELAIS_INSPECT_H

#include "err.h"
#include "key.h"

#include <stdio.h>

/* signer: the site's signing key; NULL: the signature is not checked, and the output says so.
 * all_extents: also one line (or JSON object) per extent. What could be read is printed also when a
 * check fails; the first failure is the error. Errors: NOENT, IO, INPUT (not a delta, or its
 * numbers contradict each other), AUTH (signature), CORRUPT (a digest differs). */
int inspect_file(const char *path, const struct key_public *signer, bool json, bool all_extents,
                 FILE *out, struct err *e);

#endif
