/* sample.h: what repeats of a measurement say: median and spread. Pure. */
#ifndef RELAIS_SAMPLE_H
#define RELAIS_SAMPLE_H

#include <stddef.h>

struct sample {
    double median, min, max;
};
/* Of count > 0 values, which it sorts. The median of an even number is the mean of the middle two.
 */
struct sample sample_of(double *values, size_t count);
/* The value that a share q (0 to 1) of the sorted values does not exceed: nearest rank, so that it
 * is always one that was measured. */
double sample_quantile(const double *sorted, size_t count, double q);

#endif
