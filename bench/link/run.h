/* run.h: one run of a scenario: volumes, link, daemons, guests; measured, told of, and taken down
 * again, however it ends. */
#ifndef RELAIS_BENCH_RUN_H
#define RELAIS_BENCH_RUN_H

#include "daemons.h"

#include <jansson.h>

struct run_options {
    struct daemons_how daemons;
    const char *dir; /* where the run's directory is made; NULL: /var/tmp */
    bool anyway;     /* a result even if the machine could not keep up, marked so */
    bool quiet;      /* no progress on stderr */
    bool keep;       /* the run's directory stays */
};

/* Runs a complete scenario (scenario_complete). The result is as docs/BENCH-RESULT.md says. Errors:
 * AUTH (not root), NOENT, OS, IO, NET, SPACE, CANCELED (ctrl-C); AGAIN: the machine could not keep
 * up, so that what was measured says nothing of the link. Starts and runs a loop of its own. */
int bench_run(json_t **result, struct scenario *sc, const struct run_options *o, struct err *e);

#endif
