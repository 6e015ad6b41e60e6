/* shrink.c: a failing seed made small: whatever it does not need to fail is turned off. */
#include "trial.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

static double seconds_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Whether it still fails so; then it stays so. */
static bool still_fails(struct trial *t, const struct trial *less)
{
    if (trial_run(less, false, false))
        return false;
    *t = *less;
    return true;
}

static bool skipped(const struct trial *t, unsigned n)
{
    return t->knobs.skip[n / 8] >> (n % 8) & 1;
}

/* Troubles in [first, end) are left out. */
static bool leave_out(struct trial *t, unsigned first, unsigned end)
{
    struct trial less = *t;
    bool any = false;
    for (unsigned n = first; n < end; n++) {
        any = any || !skipped(t, n);
        less.knobs.skip[n / 8] = (uint8_t)(less.knobs.skip[n / 8] | 1u << (n % 8));
    }
    return any && still_fails(t, &less);
}

static void print_left(const struct trial *t, const struct verdict *v)
{
    unsigned troubles = 0;
    for (unsigned n = 0; n < v->troubles && n < KNOBS_TROUBLES; n++)
        troubles += !skipped(t, n);
    (void)printf("Shrunk to %u troubles, %" PRIu64
                 " events, %.3f simulated seconds; faults that it "
                 "needs:",
                 troubles, v->events, (double)v->virtual_ns / 1e9);
    for (unsigned f = 0; f < FAULT_KINDS; f++)
        if (v->count[f] > 0)
            (void)printf(" %s (%" PRIu64 ");", fault_text((enum fault)f), v->count[f]);
    (void)printf("\n  %s\n", v->failure);
}

void trial_shrink(struct trial *t, double seconds)
{
    double end = seconds_now() + seconds;
    unsigned troubles;
    (void)trial_run(t, false, false);
    troubles = (unsigned)trial_verdict(0)->troubles;
    if (troubles > KNOBS_TROUBLES)
        troubles = KNOBS_TROUBLES;
    for (unsigned f = 0; f < FAULT_KINDS && seconds_now() < end; f++) {
        struct trial less = *t;
        if (trial_verdict(0)->failed && trial_verdict(0)->count[f] == 0)
            continue;
        less.knobs.off[f] = true;
        (void)still_fails(t, &less);
    }
    for (unsigned step = (troubles + 1) / 2; step > 0 && seconds_now() < end; step /= 2)
        for (unsigned n = troubles; n > 0 && seconds_now() < end; n -= n > step ? step : n)
            (void)leave_out(t, n > step ? n - step : 0, n);
    (void)trial_run(t, false, false);
    print_left(t, trial_verdict(0));
}

void trial_print_options(const struct trial *t)
{
    const char *sep = " --skip ";
    (void)printf(" --scenario %s --seed %" PRIu64, t->scenario->name, t->seed);
    for (unsigned f = 0; f < FAULT_KINDS; f++)
        if (t->knobs.off[f])
            (void)printf(" --without %u", f);
    for (unsigned n = 0; n < KNOBS_TROUBLES; n++)
        if (skipped(t, n)) {
            (void)printf("%s%u", sep, n);
            sep = ",";
        }
}
