#include "sample.h"

#include "err.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

struct sample sample_of(double *values, size_t count)
{
    ASSERT(count > 0);
    qsort(values, count, sizeof *values, ascending);
    return (struct sample){(values[(count - 1) / 2] + values[count / 2]) / 2, values[0],
                           values[count - 1]};
}

double sample_quantile(const double *sorted, size_t count, double q)
{
    double rank = ceil(q * (double)count);
    ASSERT(count > 0 && q >= 0 && q <= 1);
    return sorted[rank < 1 ? 0 : (size_t)rank - 1];
}
