/* freeze.h: the commands around a cut that make a group's volumes hold still. All (wait).
 *
 * STATE/GROUP/frozen is there from before the freeze until the thaw has succeeded: who is killed in
 * between leaves volumes that stand still, and thaws them first thing when started again. */
#ifndef RELAIS_FREEZE_H
#define RELAIS_FREEZE_H

#include "config.h"

#include <stdbool.h>

/* Runs the freeze command, if there is one; *frozen from before it starts: a freeze that failed may
 * have frozen something. state_dir: the group's. Errors: IO, with the command's exit status, or of
 * the state directory; SPACE; AGAIN when it took too long. */
int freeze_begin(const struct config_group *g, const char *state_dir, bool *frozen, struct err *e);
/* Runs the thaw command if *frozen, in a cancelled fiber too; failures are logged, loudly:
 * somebody's volumes stand still. */
void freeze_end(const struct config_group *g, const char *state_dir, bool *frozen);
/* Thaws what a daemon that ended in between left frozen. */
void freeze_recover(const struct config_group *g, const char *state_dir);

#endif
