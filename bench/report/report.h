/* report.h: a result as one HTML file that needs nothing else: figures in words, plots, the
 * machine. Light and dark, on screens and on paper. */
#ifndef RELAIS_BENCH_REPORT_H
#define RELAIS_BENCH_REPORT_H

#include "err.h"

#include <jansson.h>

/* path "-": standard output. Errors: IO, INPUT (no result of relais-bench link). */
int report_write(const json_t *result, const char *path, struct err *e);

#endif
