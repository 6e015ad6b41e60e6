/* mend.h: a volume of which a sync failed, when it is opened again.
 *
 * The kernel reports once that it could not write something, and then forgets: its cache still
 * shows what was to be written, the disk does not have it, and the next sync succeeds without it.
 * So from the failure on every flush fails (capture.c), and a mark is left,
 * STATE/GROUP/VOLUME.unsynced, a record (record.h) with the reason. At the next start, before
 * anything is promised, what is hot is read and written back as it was read, which makes the kernel
 * write it once more; what is not hot was synced after its last write (actlog.h). The mark goes
 * when that is synced.
 *
 * What the kernel's cache has dropped meanwhile is gone, as it would be without us; guests were
 * told that their flush failed. A kill in the instant between failure and mark leaves none. All
 * calls (wait). */
#ifndef RELAIS_MEND_H
#define RELAIS_MEND_H

#include "actlog.h"

/* Leaves the mark. Errors: IO, SPACE. */
int mend_note(const char *path, const char *why, struct err *e);
/* If there is a mark: writes the volume's hot regions again, syncs, removes the mark; *mended says
 * whether. After an error the mark is still there, and no flush may succeed. Errors: IO, SPACE. */
int mend_volume(const char *path, const char *volume, int fd, const struct actlog *log,
                bool *mended, struct err *e);

#endif
