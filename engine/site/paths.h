/* paths.h: the files of the site role, named in one place.
 *
 *   SPOOL/GROUP/RP16.delta          a sealed delta (RP in 16 hex digits)
 *   SPOOL/GROUP/RP16.delta.tmp      one being written; removed at start
 *   SPOOL/GROUP/RP16.merged         several made one, before it takes the name of the last of them
 *   SPOOL/GROUP/damaged-RP16.delta  moved aside by recovery, for a person to look at
 *   SPOOL/GROUP/VOLUME.saved        old content that a cut needs (spill.h); nameless once open
 *   STATE/GROUP/committed           newest RP that the hub confirmed (chain.h)
 *   STATE/GROUP/scanned             how far the hash indexes can be trusted (scanned.h)
 *   STATE/GROUP/paused              relais pause: nothing is shipped (group.h)
 *   STATE/GROUP/frozen              the thaw command is due (freeze.h)
 *   STATE/HUB.audit                 how far its audit log was followed (witness.h)
 *   STATE/GROUP/VOLUME.index        hashes of a scanned volume's sectors (hashindex.h)
 *   STATE/GROUP/VOLUME.log          activity log of a captured volume (actlog.h)
 *   STATE/GROUP/VOLUME.unsynced     a sync of it failed (mend.h)
 *   STATE/GROUP/VOLUME.rest         what it looked like when it was left (rest.h) */
#ifndef RELAIS_PATHS_H
#define RELAIS_PATHS_H

#include "config.h"

#include <stddef.h>
#include <stdint.h>

#define PATH_CAP (CONFIG_PATH_MAX + 2 * NAME_MAX_LEN + 64)

/* Formats a path into dst of PATH_CAP bytes. Names and directories are bounded by the
 * configuration: one that does not fit is a defect. */
void path_format(char dst[PATH_CAP], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void path_delta(char dst[PATH_CAP], const char *dir, uint64_t rp);
void path_merged(char dst[PATH_CAP], const char *dir, uint64_t rp);
/* Where a delta goes that is damaged or does not continue history. */
void path_aside(char dst[PATH_CAP], const char *dir, uint64_t rp);

#endif
