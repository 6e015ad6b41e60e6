/* seen.h: the newest recovery point of a group that a reader has verified, remembered, so that a
 * hub that shows less later, or another history, is found out.
 *
 * One small file for each site, group and signing key, in the user's state directory. It is no
 * secret, and worth as much as whoever may write there is trusted. */
#ifndef RELAIS_SEEN_H
#define RELAIS_SEEN_H

#include "reader.h"

#define SEEN_PATH_MAX 4096u

/* $XDG_STATE_HOME/relais, or ~/.local/state/relais. Errors: USAGE (too long). */
int seen_dir(char dst[SEEN_PATH_MAX], struct err *e);

/* Holds the history against what was seen before. Errors: CHAIN, naming both heads and the file;
 * INPUT (the file is damaged). 0 when nothing is remembered. (waits) */
int seen_check(const struct reader *r, const char *site, const char *group,
               const struct key_public *signer, struct err *e);
/* Remembers its head. What cannot be written is told in the log: it fails no restore. (waits) */
void seen_keep(const struct reader *r, const char *site, const char *group,
               const struct key_public *signer);

#endif
