/* rest.h: what the backing file of a captured volume looked like when the daemon left it in good
 * order, so that the next start notices when somebody wrote it in between.
 *
 * STATE/GROUP/VOLUME.rest, a record (record.h): size u64, mtime i64, ctime i64, inode u64. It is
 * there only while nobody serves the volume: gone, durably, before the first write. So after a
 * crash there is none, and nothing is noticed then; nor with a block device, whose node has no time
 * of its content. All calls (wait). */
#ifndef RELAIS_REST_H
#define RELAIS_REST_H

#include "err.h"

#include <stdbool.h>

/* Remembers the file as it is. All that was written to it is synced. Errors: IO, SPACE. */
int rest_save(const char *path, int fd, struct err *e);
/* *changed: there is a record, and the file is not as it says; then why says what differs. Errors:
 * IO. */
int rest_check(const char *path, int fd, bool *changed, char why[ERR_TEXT_MAX], struct err *e);
/* Errors: IO. */
int rest_forget(const char *path, struct err *e);

#endif
