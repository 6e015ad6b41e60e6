/* meter.h: how fast a number of bytes changes, over the last minutes: long enough that a delta more
 * or less does not show, short enough to follow the day. Pure; zero-initialised is ready. */
#ifndef RELAIS_METER_H
#define RELAIS_METER_H

#include "io.h"

#define METER_WINDOW  (10 * 60 * IO_S)
#define METER_LEAST   (10 * IO_S) /* before that nothing is said */
#define METER_SAMPLES 41u

struct meter {
    struct {
        uint64_t at, value;
    } samples[METER_SAMPLES]; /* oldest first */
    unsigned count;
};

/* The number is `value` now (monotonic). To be told every few seconds. */
void meter_note(struct meter *m, uint64_t now, uint64_t value);
/* Bytes a second, less than 0 when it shrinks; 0 too when too little is known. */
double meter_rate(const struct meter *m);
/* Forgets what was. */
void meter_reset(struct meter *m);
/* How long `left` bytes last at this rate, in ns; 0: for ever, or unknown. */
uint64_t meter_lasts(double left, double rate);

#endif
