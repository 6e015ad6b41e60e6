#include "meter.h"

#include <string.h>

void meter_note(struct meter *m, uint64_t now, uint64_t value)
{
    unsigned old = 0;
    while (old < m->count && now - m->samples[old].at > METER_WINDOW)
        old++;
    m->count -= old;
    memmove(m->samples, m->samples + old, m->count * sizeof m->samples[0]);
    /* The newest is moved on until it is far enough from the one before: what is between costs
     * nothing, and the rate always reaches up to now. */
    if (m->count < 2 || now - m->samples[m->count - 2].at > METER_WINDOW / (METER_SAMPLES - 2))
        m->count++;
    m->samples[m->count - 1].at = now;
    m->samples[m->count - 1].value = value;
}

double meter_rate(const struct meter *m)
{
    unsigned last = m->count > 0 ? m->count - 1 : 0;
    uint64_t ns = m->samples[last].at - m->samples[0].at;
    if (m->count < 2 || ns < METER_LEAST)
        return 0;
    return ((double)m->samples[last].value - (double)m->samples[0].value) * 1e9 / (double)ns;
}

void meter_reset(struct meter *m)
{
    m->count = 0;
}

uint64_t meter_lasts(double left, double rate)
{
    double ns = rate > 0 ? left / rate * 1e9 : 0;
    if (ns <= 0)
        return 0;
    return ns < 1e18 ? (uint64_t)ns : UINT64_C(1000000000000000000);
}
