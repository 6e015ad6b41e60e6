/* freeze.h: the commands around a cut that make a group's volumes hold still. Both (wait). */
#ifndef RELAIS_FREEZE_H
#define RELAIS_FREEZE_H

#include "config.h"

#include <stdbool.h>

/* Runs the freeze command, if there is one; *frozen from before it starts: a freeze that failed may
 * have frozen something. Errors: IO, with the command's exit status; AGAIN when it took too long.
 */
int freeze_begin(const struct config_group *g, bool *frozen, struct err *e);
/* Runs the thaw command if *frozen, in a cancelled fiber too; failures are logged, loudly:
 * somebody's volumes stand still. */
void freeze_end(const struct config_group *g, bool *frozen);

#endif
