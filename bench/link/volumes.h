/* volumes.h: the disks of a run's guests, as files on its stage: made, and compared with what was
 * restored. */
#ifndef RELAIS_BENCH_VOLUMES_H
#define RELAIS_BENCH_VOLUMES_H

#include "scenario.h"
#include "stage.h"

/* DIR/NAME.img with what stands in the volume before the run; spec->size becomes that of the trace
 * when it had none. Errors: SPACE, IO, CANCELED. (waits) */
int volumes_make(const struct stage *s, struct workload_spec *spec, struct err *e);
/* Whether two files hold the same bytes. Errors: IO, CANCELED. (waits) */
int volumes_equal(bool *equal, const char *a, const char *b, struct err *e);
/* Serves DIR/NAME.img at a unix socket by a plain NBD server, whichever is installed; its name in
 * *server. -1: there is none, or e. Ends with child_end. (waits) */
pid_t volumes_serve_plain(const struct stage *s, const struct workload_spec *spec,
                          const char *socket, const char **server, struct err *e);

#endif
