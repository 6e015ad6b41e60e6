/* scenario_args.h: a scenario as people name it on the command line: files that add to each other,
 * and single values on top. */
#ifndef RELAIS_SCENARIO_ARGS_H
#define RELAIS_SCENARIO_ARGS_H

#include "scenario.h"

/* Loads files (until NULL) into s, which was initialised, then sets each SECTION.NAME=VALUE
 * (run.duration=20s, both.rate=20mbit, workload.db.rate=1MiB). A name without slash or dot is that
 * of a file that comes with relais-bench. command: for misuse. Errors: USAGE, and as scenario_load.
 */
int scenario_args_read(struct scenario *s, const char *command, const char *const *sets,
                       int set_count, char *const *files, struct err *e);
/* The same, and complete. */
int scenario_args_load(struct scenario *s, const char *command, const char *const *sets,
                       int set_count, char *const *files, struct err *e);

#endif
